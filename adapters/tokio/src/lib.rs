//! chinwag on tokio: the one dependency to add. Everything of [`chinwag`] is here too.
//!
//! ```
//! use chinwag_tokio::{Consistency, Context, Handler, Message, Methods, Node, Service, Status, View};
//!
//! #[derive(rkyv::Archive, rkyv::Serialize)]
//! struct Hello { name: String }
//! impl Message for Hello {
//!     type Reply = String;
//!     const NAME: &'static str = "hello";
//! }
//!
//! struct Greeter;
//! impl Service for Greeter {
//!     const NAME: &'static str = "greeter";
//!     fn methods(methods: &mut Methods<Self>) {
//!         methods.add::<Hello>();
//!     }
//! }
//! impl Handler<Hello> for Greeter {
//!     async fn handle(&self, _: &Context, hello: View<Hello>) -> Result<String, Status> {
//!         Ok(format!("Hello, {}!", hello.name))
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder(1, "127.0.0.1:8000".parse()?)
//!     .cluster("demo").data_center("eu-west").seeds(["127.0.0.1:8001"])
//!     .start().await?;                       // binds; joins in the background
//! node.add_service(Greeter)?;                // and remove_service::<Greeter>()
//! let peer = node.select(Consistency::One)?[0];
//! let reply = node.client::<Greeter>(peer).call(&Hello { name: "Ada".into() }).await?;
//! assert_eq!(*reply, *"Hello, Ada!");
//! let stamp = node.clock().now();
//! let mut changes = node.watch();            // events; node.members() is the snapshot
//! node.leave().await?;
//! # Ok(())
//! # }
//! ```

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

mod adapter;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;

pub use adapter::Tokio;
pub use chinwag;
pub use chinwag::*;

/// [`chinwag::Node`], started on tokio: it has all its methods, and a [`builder`](Node::builder) that need not be told the
/// runtime. What runs on every runtime (services, extensions) takes a `&chinwag::Node`, which `&Node` turns into by itself.
#[derive(Clone)]
pub struct Node {
    inner: chinwag::Node,
}

impl Node {
    /// As [`chinwag::Node::builder`], and ends with [`start`](Builder::start).
    pub fn builder(id: impl Into<NodeId>, listen: SocketAddr) -> Builder<Tokio> {
        Builder::new(id, listen)
    }

    /// The node, which does not say what it runs on.
    pub fn into_inner(self) -> chinwag::Node {
        self.inner
    }
}

impl Deref for Node {
    type Target = chinwag::Node;

    fn deref(&self) -> &chinwag::Node {
        &self.inner
    }
}

impl From<chinwag::Node> for Node {
    fn from(inner: chinwag::Node) -> Self {
        Self { inner }
    }
}

impl From<Node> for chinwag::Node {
    fn from(node: Node) -> Self {
        node.inner
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
