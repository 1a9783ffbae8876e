//! chinwag turns Rust programs into a cluster: the nodes in them find each other, know who is
//! alive, share one causal clock, and call each other's services. There is no server to run and no
//! coordinator.
//!
//! A program adds one adapter, which re-exports this crate: `chinwag-tokio`, `chinwag-smol` or
//! `chinwag-async-std`. A library of services or extensions depends on this crate alone, and then
//! runs on every runtime, and in the simulator.
//!
//! ```rust
//! use std::time::Duration;
//!
//! use chinwag_tokio::rkyv::{self, Archive, Serialize};
//! use chinwag_tokio::{
//!     Consistency, Context, Handler, Message, Methods, Node, Service, Status, View,
//! };
//!
//! #[derive(Archive, Serialize)]
//! #[rkyv(crate = rkyv)]
//! struct Hello {
//!     name: String,
//! }
//!
//! impl Message for Hello {
//!     type Reply = String;
//!     const NAME: &'static str = "hello";
//! }
//!
//! struct Greeter;
//!
//! impl Service for Greeter {
//!     const NAME: &'static str = "greeter";
//!
//!     fn methods(methods: &mut Methods<Self>) {
//!         methods.add::<Hello>();
//!     }
//! }
//!
//! impl Handler<Hello> for Greeter {
//!     async fn handle(&self, _: &Context, hello: View<Hello>) -> Result<String, Status> {
//!         Ok(format!("Hello, {}!", hello.name)) // read in place, not copied
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Two nodes in one program. Usually each is in a program, and on a host, of its own.
//!     let one = Node::builder(1, "127.0.0.1:0".parse()?).cluster("demo").start().await?;
//!     one.add_service(Greeter)?;
//!     let two = Node::builder(2, "127.0.0.1:0".parse()?)
//!         .cluster("demo")
//!         .seeds([one.local_addr().to_string()])
//!         .start() // binds a port; joins in the background
//!         .await?;
//!
//!     two.wait_for(|view| view.live() >= 2, Duration::from_secs(10)).await?;
//!     let peer = two.select(Consistency::One)?[0];
//!     let reply = two.client::<Greeter>(peer).call(&Hello { name: "Ada".into() }).await?;
//!     assert_eq!(*reply, *"Hello, Ada!");
//!     println!("node {peer} says: {}", *reply);
//!
//!     two.leave().await?;
//!     one.leave().await?;
//!     Ok(())
//! }
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the start of a node, and its settings | [`Node::builder`], [`Builder`], [`Config`], [`StartError`] |
//! | who is in the cluster | [`Node::members`], [`Node::watch`], [`Node::wait_for`], [`Event`] |
//! | seeds | [`Builder::seeds`], [`SeedProvider`], [`Node::add_seed`], [`Node::remove_seed`] |
//! | services | [`Service`], [`Handler`], [`StreamHandler`], [`Message`], [`Context`], [`View`] |
//! | calls | [`Node::client`], [`Node::balanced`], [`Node::fan_out`], [`Status`], [`Code`] |
//! | the choice of members | [`Node::select`], [`Consistency`], [`NodeSelector`] |
//! | timestamps | [`Node::clock`], [`Clock`], [`Stamp`] |
//! | extensions | [`ClusterExtension`], [`Node::add_extension`], [`WeakNode`] |
//! | counters | [`Node::stats`], [`Stats`] |
//! | encryption | [`Builder::secret`], [`Secret`], [`Node::security`], [the guide][security] |
//! | a runtime of your own | [`Runtime`], [`runtime`] |
//!
//! Guides: [services and calls][rpc], [running nodes][operations],
//! [what error messages mean][troubleshooting], [extensions], [testing under faults][simulation],
//! [from datacake][from-datacake].
//!
//! [security]: https://github.com/chinwag-rs/chinwag/blob/main/docs/security.md
//! [rpc]: https://github.com/chinwag-rs/chinwag/blob/main/docs/rpc.md
//! [operations]: https://github.com/chinwag-rs/chinwag/blob/main/docs/operations.md
//! [troubleshooting]: https://github.com/chinwag-rs/chinwag/blob/main/docs/troubleshooting.md
//! [extensions]: https://github.com/chinwag-rs/chinwag/blob/main/docs/extensions.md
//! [simulation]: https://github.com/chinwag-rs/chinwag/blob/main/docs/simulation.md
//! [from-datacake]: https://github.com/chinwag-rs/chinwag/blob/main/docs/from-datacake.md
//!
//! The feature `secure` brings encryption, [`Builder::secret`]; the adapters have it on by default.
//! Status: before 0.1. The API and the wire format still change. Rust 1.88 or newer.
//!
//! What it is not: it has no server of its own and no coordinator, it gives no consensus, and it
//! stores nothing. During a partition both sides keep running.
//!
//! # How it is built
//!
//! ```text
//!            your services, clients, extensions
//!                        |
//!                      Node                        cheap to clone; its last drop is its end
//!                        |
//!    NodeTask ----- Shared: registry, board, links ----- LinkTask, one for each connection
//!        |                                                   |
//!   Membership                                          rpc::Connection       (chinwag-core)
//!        |                                                   |
//!        +------------------- dyn Runtime -------------------+
//! ```
//!
//! This crate is the part of chinwag that is asynchronous and the same on every runtime. The
//! protocol is in [`protocol`]; a runtime is behind [`runtime::Runtime`].

mod base;
mod call;
mod link;
mod message;
mod node;
mod serve;
mod stats;

pub use base::{limits, runtime};
pub use bytes::Bytes;
pub use chinwag_core as protocol;
pub use chinwag_core::clock::{ParseTimestampError, Stamp, Timestamp};
pub use chinwag_core::id::{Epoch, Incarnation, NodeId};
pub use chinwag_core::membership::{
    BroadcastError, Config, Event, Member, Metadata, MetadataError, Planes, SendError, Snapshot,
    State,
};
pub use chinwag_core::rpc::{Code, Fingerprint, Headers, HeadersError, Status};
pub use chinwag_core::select::{
    Consistency, LocalFirst, NodeSelector, Picks, PowerOfTwo, Rendezvous, SelectError, Spread,
    Topology,
};
/// The archive format of messages, in the version that chinwag uses. With it a program needs no
/// dependency of its own on rkyv: a derive names it by `#[rkyv(crate = chinwag::rkyv)]`.
pub use rkyv;
/// TLS, in the version that chinwag uses: for [`Builder::crypto_provider`].
#[cfg(feature = "secure")]
pub use rustls;

pub use base::life::LeaveReport;
pub use base::runtime::{Ambient, Runtime};
#[cfg(feature = "secure")]
pub use base::secure::{CertificateFault, Certificates, Secret, SecretError};
pub use base::seeds::{SeedError, SeedProvider};
pub use base::watch::{Members, Watch};
pub use call::balanced::Balanced;
pub use call::client::{Client, Reply, Request};
pub use call::fan_out::{Answer, Calls, FanOut, FanOutError};
pub use call::stream_call::{CallReader, StreamCall};
#[cfg(feature = "secure")]
pub use chinwag_core::seal::Mode as SecurityMode;
pub use chinwag_core::seal::{KeyError, KeyId};
pub use link::stream_halves::{Chunk, Incoming, Outgoing};
pub use message::method::{Body, Message, Method, Never, Payload, Raw, Received, Streaming};
pub use message::view::{Malformed, View};
pub use node::builder::{Builder, OnRuntime, StartError};
pub use node::clock::Clock;
pub use node::extension::ClusterExtension;
pub use node::handle::{LeaveError, Node, WaitError};
pub use node::node_on::NodeOn;
#[cfg(feature = "secure")]
pub use node::security::{RemoveKeyError, RequireError, Security};
pub use node::weak_node::WeakNode;
pub use serve::context::{Caller, Context};
pub use serve::service::{AddServiceError, Handler, Methods, Service, StreamHandler};
pub use stats::counters::{MethodStats, Role, Stats};
pub use stats::interceptor::{CallInfo, Interceptor};
pub use stats::latency::Latency;
pub use stats::trace::{TRACEPARENT, TraceContext};
