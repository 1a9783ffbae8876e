//! Handlers that had to wait: each is a task of its own, which its connection can cancel.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use chinwag_core::rpc::InboundId;

use super::Link;
use crate::service::Answer;
use crate::shared::Shared;
use crate::sync::Bell;

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

/// Runs `answer` to its end, or until it is cancelled, and puts the result on the link.
pub(super) struct HandlerTask {
    answer: Answer,
    /// `None` for a one-way message.
    id: Option<InboundId>,
    running: Arc<Running>,
    link: Arc<Link>,
    shared: Arc<Shared>,
}

impl HandlerTask {
    pub(super) fn spawn(
        shared: &Arc<Shared>,
        link: &Arc<Link>,
        id: Option<InboundId>,
        answer: Answer,
    ) -> Arc<Running> {
        let running = Arc::new(Running::default());
        shared.counters.handlers_spawned.add(1);
        let task = Self { answer, id, running: running.clone(), link: link.clone(), shared: shared.clone() };
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
        let Poll::Ready(result) = Pin::new(&mut self.answer).poll(cx) else {
            return Poll::Pending;
        };
        if let Some(id) = self.id {
            self.link.respond(self.shared.runtime.now(), id, result);
        }
        Poll::Ready(())
    }
}
