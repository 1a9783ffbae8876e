//! Handlers that had to wait: each is a task of its own, which its connection can cancel.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use chinwag_core::rpc::{Code, InboundId};
use chinwag_core::time::Instant;

use crate::base::limits::CANCELLED_MAX;
use crate::base::sync::Bell;
use crate::link::handle::Link;
use crate::serve::registry::Answer;
use crate::serve::shared::{Alive, Shared};
use crate::stats::meter::Meter;

/// A handler's task as its connection sees it.
#[derive(Default)]
pub(crate) struct Running {
    is_cancelled: AtomicBool,
    bell: Bell,
}

impl Running {
    /// Has the task drop the handler, soon.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        self.bell.ring();
    }
}

/// Handlers that were cancelled, whose tasks may not have come round to drop them: a peer that
/// calls and cancels, over and over, must not fill memory with them.
#[derive(Default)]
pub(super) struct Dying {
    handlers: Vec<Arc<Running>>,
}

impl Dying {
    /// Cancels a handler.
    pub(super) fn add(&mut self, running: Arc<Running>) {
        running.cancel();
        self.handlers.push(running);
    }

    /// Whether so many of them live that no further handler may begin.
    pub(super) fn are_too_many(&mut self) -> bool {
        if self.handlers.len() >= CANCELLED_MAX {
            // The only holder of a handler that has ended is this list.
            self.handlers.retain(|running| Arc::strong_count(running) > 1);
        }
        self.handlers.len() >= CANCELLED_MAX
    }
}

/// A handler that has begun.
pub(super) struct Begun {
    pub(super) answer: Answer,
    /// `None` for a one-way message.
    pub(super) id: Option<InboundId>,
    pub(super) meter: Arc<Meter>,
    pub(super) at: Instant,
}

/// Runs a handler to its end, or until it is cancelled, and puts the result on the link.
pub(super) struct HandlerTask {
    begun: Begun,
    has_ended: bool,
    running: Arc<Running>,
    link: Arc<Link>,
    shared: Arc<Shared>,
    _alive: Alive,
}

impl HandlerTask {
    pub(super) fn spawn(shared: &Arc<Shared>, link: &Arc<Link>, begun: Begun) -> Arc<Running> {
        let running = Arc::new(Running::default());
        shared.counters.handlers_spawned.add(1);
        let task = Self {
            begun,
            has_ended: false,
            running: running.clone(),
            link: link.clone(),
            shared: shared.clone(),
            _alive: Alive::new(shared),
        };
        shared.runtime.spawn(Box::pin(task));
        running
    }
}

impl Future for HandlerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.running.bell.begin(cx.waker());
        if self.running.is_cancelled.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        let Poll::Ready(answered) = Pin::new(&mut self.begun.answer).poll(cx) else {
            return Poll::Pending;
        };
        let now = self.shared.runtime.now();
        self.has_ended = true;
        let Begun { id, meter, at, .. } = &self.begun;
        match id {
            Some(id) => {
                meter.end(answered.error(), now.mono.since(*at));
                meter.sent(answered.len());
                self.link.respond(now, *id, answered);
            }
            None => {
                if let Err(status) = &answered.result {
                    meter.failed(status.code);
                    tracing::debug!(link = self.link.key, %status, "a one-way message failed");
                }
            }
        }
        Poll::Ready(())
    }
}

/// Done, cancelled, or its runtime is gone.
impl Drop for HandlerTask {
    fn drop(&mut self) {
        if !self.has_ended && self.begun.id.is_some() {
            let took = self.shared.runtime.now().mono.since(self.begun.at);
            self.begun.meter.end(Some(Code::Cancelled), took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_handlers_count_until_their_tasks_are_gone() {
        let mut dying = Dying::default();
        let mut tasks: Vec<Arc<Running>> = (0..CANCELLED_MAX).map(|_| Arc::default()).collect();
        for task in &tasks {
            assert!(!dying.are_too_many());
            dying.add(task.clone());
            assert!(task.is_cancelled.load(Ordering::SeqCst));
        }
        assert!(dying.are_too_many());
        tasks.pop();
        assert!(!dying.are_too_many(), "one has ended");
        tasks.clear();
        assert!(!dying.are_too_many() && dying.handlers.len() < CANCELLED_MAX);
    }
}
