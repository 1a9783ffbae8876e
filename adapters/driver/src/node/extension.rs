//! [`ClusterExtension`]: something bigger than a service that plugs into a running node.

use std::future::Future;

use crate::node::handle::Node;

/// A part that is added to a running node with [`Node::add_extension`]: it adds services, watches
/// the members, and spawns tasks, all through the public [`Node`]. How to write one, with its life
/// and its tests: `docs/extensions.md`.
///
/// What it keeps in tasks and services is a [`WeakNode`](crate::WeakNode), clients, clocks and
/// watches: none of them keeps the node alive.
///
/// ```
/// use chinwag::{AddServiceError, ClusterExtension, Node};
///
/// struct Hear;
///
/// impl ClusterExtension for Hear {
///     type Output = ();
///     type Error = AddServiceError;
///
///     async fn init(self, node: &Node) -> Result<(), AddServiceError> {
///         let mut changes = node.watch(); // which does not keep the node alive
///         node.spawn(async move {
///             while let Some(event) = changes.next().await {
///                 let _ = event;
///             }
///         });
///         Ok(())
///     }
/// }
/// ```
pub trait ClusterExtension: Send {
    /// What the user gets: the extension's handle.
    type Output;
    /// Why it could not start.
    type Error;

    /// Starts the extension on `node`.
    fn init(self, node: &Node) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}
