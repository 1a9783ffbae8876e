//! [`WeakNode`]: a node for those who must not keep it alive.

use std::fmt;
use std::sync::Arc;

use crate::node::handle::Node;
use crate::serve::shared::Shared;

/// A [`Node`] that is not kept alive by it: for the tasks and services of an extension, which would
/// otherwise outlive their user's wish to end the node by dropping it. From [`Node::downgrade`].
///
/// Keep what [`upgrade`](Self::upgrade) gives for one step of work, not over a wait without a
/// bound.
#[derive(Clone)]
pub struct WeakNode {
    shared: Arc<Shared>,
}

impl WeakNode {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The node; `None` once it has ended, by the drop of its last handle or by [`Node::shutdown`].
    pub fn upgrade(&self) -> Option<Node> {
        if self.shared.node.life.is_closed() {
            return None;
        }
        self.shared.handle().map(Node::from_handle)
    }
}

impl fmt::Debug for WeakNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakNode").field("id", &self.shared.node.id).finish_non_exhaustive()
    }
}
