//! [`LocalCall`]: a streaming call of the node to itself. No connection, the same handler, the same semantics.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chinwag_core::rpc::config::ATTACHMENTS_MAX;
use chinwag_core::rpc::{Code, Held, Status};
use chinwag_core::time::Instant;

use crate::base::owned_task::OwnedTask;
use crate::base::pipe::{Arrival, Pipe, too_large};
use crate::base::runtime::Alarm;
use crate::base::state::NodeState;
use crate::base::sync::{Bell, lock};
use crate::link::handle::Ended;
use crate::message::answer::{HandlerFuture, Response};
use crate::stats::meter::Meter;

/// What the caller, the handler's task, and both ends of both directions share.
pub(crate) struct LocalCall {
    node: Arc<NodeState>,
    to_callee: Pipe,
    to_caller: Pipe,
    /// Bytes of the largest chunk.
    chunk_len_max: usize,
    /// As much of one direction may wait to be taken.
    window: usize,
    bell: Bell,
    ending: Mutex<Ending>,
}

#[derive(Default)]
struct Ending {
    ended: Option<Ended>,
    is_over: bool,
    waker: Option<Waker>,
}

impl LocalCall {
    pub(crate) fn new(node: &Arc<NodeState>, chunk_len_max: u32) -> Arc<Self> {
        let window = usize::try_from(node.rpc.stream_window).unwrap_or(usize::MAX);
        Arc::new(Self {
            node: node.clone(),
            to_callee: Pipe::default(),
            to_caller: Pipe::default(),
            chunk_len_max: usize::try_from(chunk_len_max).unwrap_or(usize::MAX),
            window,
            bell: Bell::default(),
            ending: Mutex::default(),
        })
    }

    /// Runs the handler in a task of its own, until it is done, its time is over, or nobody waits.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        answer: HandlerFuture,
        meter: Arc<Meter>,
        deadline: Option<Instant>,
    ) {
        meter.begin();
        let runtime = &self.node.runtime;
        let (begun, alarm) = (runtime.now().mono, Alarm::new(&**runtime));
        let (call, answer) = (self.clone(), Some(answer));
        let task = LocalTask { call, answer, meter, deadline, begun, alarm };
        OwnedTask::spawn(&self.node, Box::pin(task));
    }

    /// How it ended.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Ended> {
        let waker = cx.waker().clone();
        let _replaced = {
            let mut ending = lock(&self.ending);
            match ending.ended.take() {
                Some(ended) => return Poll::Ready(ended),
                None => ending.waker.replace(waker),
            }
        };
        Poll::Pending
    }

    /// Nobody waits any more, or the caller's stream was dropped unfinished.
    pub(crate) fn give_up(&self) {
        let at = self.node.runtime.now().mono;
        self.end((at, Status::new(Code::Cancelled, "the caller gave up").into()));
        self.bell.ring();
    }

    /// The first end is the end.
    fn end(&self, ended: Ended) {
        let mut wakers = Vec::new();
        let status = ended.1.result.as_ref().err().cloned();
        // The answer is the user's, and is dropped, if it comes second, while nothing is locked.
        let mut ended = Some(ended);
        {
            let mut ending = lock(&self.ending);
            if std::mem::replace(&mut ending.is_over, true) {
                return;
            }
            ending.ended = ended.take();
            wakers.extend(ending.waker.take());
        }
        self.to_callee.end(status.as_ref(), &mut wakers);
        self.to_caller.end(status.as_ref(), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

struct LocalTask {
    call: Arc<LocalCall>,
    answer: Option<HandlerFuture>,
    meter: Arc<Meter>,
    deadline: Option<Instant>,
    begun: Instant,
    alarm: Alarm,
}

impl Future for LocalTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.call.bell.begin(cx.waker());
        let Some(answer) = &mut this.answer else { return Poll::Ready(()) };
        if lock(&this.call.ending).is_over {
            return Poll::Ready(());
        }
        let response = if let Poll::Ready(response) = Pin::new(answer).poll(cx) {
            response
        } else if this.alarm.poll(cx, this.deadline).is_ready() {
            Status::new(Code::DeadlineExceeded, "").into()
        } else {
            return Poll::Pending;
        };
        this.finish(response);
        Poll::Ready(())
    }
}

impl LocalTask {
    fn finish(&mut self, response: Response) {
        if self.answer.take().is_some() {
            let at = self.call.node.runtime.now().mono;
            self.meter.sent(response.len());
            self.meter.end(response.error(), at.since(self.begun));
            self.call.end((at, response));
        }
    }
}

/// Cancelled, or its runtime is gone.
impl Drop for LocalTask {
    fn drop(&mut self) {
        // Not `Unavailable`, which says that no handler has run: this one may have begun.
        let is_closed = self.call.node.life.is_closed();
        let why = if is_closed { "this node has shut down" } else { "the handler was dropped" };
        self.finish(Status::new(Code::Cancelled, why).into());
    }
}

/// One end of a local stream.
#[derive(Clone)]
pub(crate) struct LocalEnd {
    pub(crate) call: Arc<LocalCall>,
    pub(crate) is_caller: bool,
}

impl LocalEnd {
    pub(crate) fn incoming(&self) -> &Pipe {
        if self.is_caller { &self.call.to_caller } else { &self.call.to_callee }
    }

    fn outgoing(&self) -> &Pipe {
        if self.is_caller { &self.call.to_callee } else { &self.call.to_caller }
    }

    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        body: &Bytes,
        attachments: &[Bytes],
    ) -> Poll<Result<(), Status>> {
        let arrival =
            Arrival { body: body.clone(), attachments: attachments.to_vec(), held: Held::NOTHING };
        let len_max = self.call.chunk_len_max;
        if arrival.len() > len_max || attachments.len() > ATTACHMENTS_MAX {
            return Poll::Ready(Err(too_large(arrival.len(), len_max)));
        }
        let mut arrival = Some(arrival);
        self.outgoing().poll_push(cx, &mut arrival, self.call.window)
    }

    pub(crate) fn finish(&self) {
        let mut wakers = Vec::new();
        self.outgoing().finish(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}
