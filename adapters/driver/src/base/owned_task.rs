//! [`OwnedTask`]: a task that ends with its node.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::base::life::Alive;
use crate::base::runtime::BoxFuture;
use crate::base::state::NodeState;

/// A future that is dropped when its node ends, at the wait that it is in. [`Node::shutdown`]
/// waits for that, so what the future holds is free when `shutdown` returns.
///
/// [`Node::shutdown`]: crate::Node::shutdown
pub(crate) struct OwnedTask {
    /// `None` once it has been dropped.
    future: Option<BoxFuture<()>>,
    /// The place in the list that the node's end wakes, and the waker that is there. The end comes
    /// once, so the place needs no renewal while the waker stays the same.
    key: Option<(u64, Waker)>,
    node: Arc<NodeState>,
    _alive: Alive,
}

impl OwnedTask {
    /// Runs `future` on the node's runtime until it is done or the node has ended.
    #[track_caller]
    pub(crate) fn spawn(node: &Arc<NodeState>, future: BoxFuture<()>) {
        let task = Self {
            future: Some(future),
            key: None,
            node: node.clone(),
            _alive: Alive::new(&node.life),
        };
        node.runtime.spawn_from(Box::pin(task), Location::caller());
    }

    /// Has the node's end wake the task that `waker` belongs to.
    fn register(&mut self, waker: &Waker) {
        if self.key.as_ref().is_some_and(|(_, known)| known.will_wake(waker)) {
            return;
        }
        let key = self.key.take().map(|(key, _)| key);
        let key = self.node.life.owned.insert(key, waker);
        self.key = Some((key, waker.clone()));
    }
}

impl Future for OwnedTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Registered before the node is looked at, so that its end is not missed.
        self.register(cx.waker());
        if self.node.life.is_closed() {
            self.future = None;
            return Poll::Ready(());
        }
        let Some(future) = &mut self.future else { return Poll::Ready(()) };
        std::task::ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(())
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        if let Some((key, _)) = self.key.take() {
            self.node.life.owned.remove(key);
        }
    }
}
