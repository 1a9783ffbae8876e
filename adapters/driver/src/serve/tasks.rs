//! Handlers that had to wait: each is a task of its own, which its connection can cancel.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use chinwag_core::rpc::{Code, InboundId, Status};
use chinwag_core::time::Instant;

use crate::base::life::Alive;
use crate::base::limits::CANCELLED_MAX;
use crate::base::sync::{Bell, lock};
use crate::link::handle::Link;
use crate::message::answer::{HandlerFuture, Response};
use crate::serve::registry::Endpoint;
use crate::serve::shared::Shared;
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

/// Handlers of one-way messages whose connection has ended. They end with the node.
#[derive(Default)]
pub(crate) struct Orphans {
    state: Mutex<OrphanState>,
}

#[derive(Default)]
struct OrphanState {
    running: Vec<Arc<Running>>,
    is_closed: bool,
}

impl Orphans {
    /// Keeps `handlers`, so that they end with the node, or cancels them if it has ended.
    pub(crate) fn adopt(&self, mut handlers: Vec<Arc<Running>>) {
        // With each goes its task's waker, which is user code: nothing is locked then.
        let _ended: Vec<_> = {
            let mut state = lock(&self.state);
            let mut ended = Vec::new();
            if !state.is_closed {
                // The only holder of a handler that has ended is this list.
                let is_over = |running: &Arc<Running>| Arc::strong_count(running) == 1;
                (ended, state.running) =
                    std::mem::take(&mut state.running).into_iter().partition(is_over);
                state.running.append(&mut handlers);
            }
            ended
        };
        handlers.iter().for_each(|running| running.cancel());
    }

    /// Cancels all of them, because the node ends, and those that are added from now on.
    pub(crate) fn close(&self) {
        let running = {
            let mut state = lock(&self.state);
            state.is_closed = true;
            std::mem::take(&mut state.running)
        };
        running.iter().for_each(|running| running.cancel());
    }
}

/// A handler that has begun.
pub(super) struct Begun {
    pub(super) future: HandlerFuture,
    /// `None` for a one-way message.
    pub(super) id: Option<InboundId>,
    pub(super) meter: Arc<Meter>,
    pub(super) at: Instant,
    /// The method, if nothing of the handler has run yet.
    pub(super) unpolled: Option<Arc<dyn Endpoint>>,
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
        shared.links.counters.handlers_spawned.add(1);
        let task = Self {
            begun,
            has_ended: false,
            running: running.clone(),
            link: link.clone(),
            shared: shared.clone(),
            _alive: Alive::new(&shared.node.life),
        };
        shared.node.runtime.spawn(Box::pin(task));
        running
    }
}

impl HandlerTask {
    /// The first poll of the handler, which shows how long the method's handlers take.
    fn poll_first(&mut self, cx: &mut Context<'_>, endpoint: &dyn Endpoint) -> Poll<Response> {
        let service = endpoint.service();
        if !self.shared.registry.has(service) {
            // It was removed meanwhile, so the call is refused like one that came after that.
            let why = format!("the service {service:?} was removed before the call began");
            return Poll::Ready(Status::never_ran(Code::UnknownService, why).into());
        }
        // A call of a short method is here for the length of its request alone, which says nothing
        // of the method.
        if endpoint.pace().is_short() {
            return Pin::new(&mut self.begun.future).poll(cx);
        }
        let began = self.shared.node.runtime.now().mono;
        let polled = Pin::new(&mut self.begun.future).poll(cx);
        endpoint.pace().polled(self.shared.node.runtime.now().mono.since(began));
        polled
    }
}

impl Future for HandlerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.running.bell.begin(cx.waker());
        if self.running.is_cancelled.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        let polled = match self.begun.unpolled.take() {
            Some(endpoint) => self.poll_first(cx, &*endpoint),
            None => Pin::new(&mut self.begun.future).poll(cx),
        };
        let Poll::Ready(response) = polled else { return Poll::Pending };
        let now = self.shared.node.runtime.now();
        self.has_ended = true;
        let Begun { id, meter, at, .. } = &self.begun;
        match id {
            Some(id) => {
                meter.end(response.error(), now.mono.since(*at));
                meter.sent(response.len());
                self.link.respond(now, *id, response);
            }
            None => {
                if let Err(status) = &response.result {
                    meter.failed(status.code);
                    tracing::debug!(target: "chinwag::call", link = self.link.key, %status, "a one-way message failed");
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
            let took = self.shared.node.runtime.now().mono.since(self.begun.at);
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

    #[test]
    fn orphans_end_with_the_node_also_those_that_come_late() {
        let is_cancelled = |running: &Arc<Running>| running.is_cancelled.load(Ordering::SeqCst);
        let orphans = Orphans::default();
        let (running, ended, late) = (Arc::<Running>::default(), Arc::default(), Arc::default());
        orphans.adopt(vec![running.clone(), ended]);
        assert_eq!(lock(&orphans.state).running.len(), 2);
        orphans.adopt(Vec::new());
        assert_eq!(lock(&orphans.state).running.len(), 1, "one has ended, and is forgotten");
        assert!(!is_cancelled(&running), "the node goes on");
        orphans.close();
        assert!(is_cancelled(&running));
        orphans.adopt(vec![Arc::clone(&late)]);
        assert!(is_cancelled(&late) && lock(&orphans.state).running.is_empty());
    }
}
