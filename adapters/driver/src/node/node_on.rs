//! [`NodeOn`]: a [`Node`] whose builder need not be told the runtime.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;

use chinwag_core::id::NodeId;

use crate::base::runtime::Ambient;
use crate::node::builder::Builder;
use crate::node::handle::Node;

/// [`Node`], started on the runtime that the caller is on: it has all its methods, and a
/// [`builder`](NodeOn::builder) that need not be told the runtime. An adapter crate calls this its
/// `Node`. What runs on every runtime (services, extensions) takes a [`&Node`](Node),
/// which a reference to this turns into by itself.
pub struct NodeOn<R> {
    inner: Node,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Ambient> NodeOn<R> {
    /// As [`Node::builder`], and ends with [`start`](Builder::start).
    pub fn builder(id: impl Into<NodeId>, listen: SocketAddr) -> Builder<R> {
        Builder::new(id, listen)
    }

    /// The node, which does not say what it runs on.
    pub fn into_inner(self) -> Node {
        self.inner
    }
}

impl<R> Deref for NodeOn<R> {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.inner
    }
}

impl<R> Clone for NodeOn<R> {
    fn clone(&self) -> Self {
        self.inner.clone().into()
    }
}

impl<R> From<Node> for NodeOn<R> {
    fn from(inner: Node) -> Self {
        Self { inner, runtime: PhantomData }
    }
}

impl<R> From<NodeOn<R>> for Node {
    fn from(node: NodeOn<R>) -> Self {
        node.inner
    }
}

impl<R> fmt::Debug for NodeOn<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
