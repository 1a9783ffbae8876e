//! [`InboundCalls`]: the handlers of one connection, from the request to the answer.
//!
//! A handler that is known to be short is polled once in place. Most are done then, and the answers
//! of a batch ride on one write; one that waits becomes a task. Others are tasks from the start
//! ([`Pace`](super::pace::Pace)), and so are those whose request takes long to validate.

use std::collections::VecDeque;
use std::future::Future;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::rpc::{Code, Event, InboundId, Shape, Status};
use chinwag_core::time::Now;

use super::tasks::{Begun, Dying, HandlerTask, Running};
use crate::base::limits::{LONG_BATCH, ONE_WAYS_MAX, VALIDATED_IN_PLACE_MAX};
use crate::link::handle::Link;
use crate::link::serve::{Inbound, Serve};
use crate::link::stream_halves::End;
use crate::link::streams::RemoteEnd;
use crate::message::answer::Response;
use crate::serve::begin;
use crate::serve::context::{Caller, InboundRequest};
use crate::serve::registry::{Endpoint, Known, shaped};
use crate::serve::shared::Shared;

struct InboundCalls {
    shared: Arc<Shared>,
    link: Arc<Link>,
    /// Methods of this node that the peer has named.
    known: Known,
    replies: Vec<Reply>,
    /// Methods whose handlers ran in place in this batch, by the peer's numbers. Few are in it
    /// twice.
    in_place: Vec<u16>,
    /// Of the batch, and not yet among the node's.
    calls_in: u64,
    /// Handlers that wait, by the slot of their call.
    running: Vec<Option<(InboundId, Arc<Running>)>>,
    /// Cancelled handlers whose tasks may not have come round to drop them.
    dying: Dying,
    /// Handlers of one-way messages that wait. They outlive the connection, but not the node.
    one_ways: Vec<Arc<Running>>,
}

/// The answer of a handler that did not wait.
struct Reply {
    id: InboundId,
    /// The method, if there was one to call.
    method_id: Option<u16>,
    response: Response,
}

impl Serve for Shared {
    fn inbound(self: Arc<Self>, link: &Arc<Link>) -> Box<dyn Inbound> {
        Box::new(InboundCalls::new(self, link.clone()))
    }
}

impl Inbound for InboundCalls {
    fn handle(&mut self, now: Now, events: &mut VecDeque<Event>) {
        self.begin_batch();
        for event in events {
            self.begin(now, event);
        }
        self.end_batch(now);
    }

    fn finish(&mut self) {
        self.running.drain(..).flatten().for_each(|(_, running)| running.cancel());
        self.shared.orphans.adopt(take(&mut self.one_ways));
    }
}

impl InboundCalls {
    fn new(shared: Arc<Shared>, link: Arc<Link>) -> Self {
        let (known, replies) = (Known::default(), Vec::new());
        Self {
            shared,
            link,
            known,
            replies,
            in_place: Vec::new(),
            calls_in: 0,
            running: Vec::new(),
            dying: Dying::default(),
            one_ways: Vec::new(),
        }
    }

    fn begin_batch(&mut self) {
        self.known.refresh(&self.shared.registry);
    }

    /// A request or a one-way message, whose contents are taken.
    fn begin(&mut self, now: Now, event: &mut Event) {
        match event {
            Event::Request {
                id,
                method_id,
                headers,
                deadline,
                stamp,
                body,
                attachments,
                shape,
                depth,
            } => {
                let request = InboundRequest {
                    deadline: *deadline,
                    headers: take(headers),
                    attachments: take(attachments),
                    stamp: *stamp,
                    is_one_way: false,
                    depth: *depth,
                    trace: None,
                };
                self.dispatch(now, Some((*id, *shape)), *method_id, request, take(body));
            }
            Event::OneWay { method_id, headers, deadline, stamp, body, attachments, depth } => {
                let request = InboundRequest {
                    deadline: *deadline,
                    headers: take(headers),
                    attachments: take(attachments),
                    stamp: *stamp,
                    is_one_way: true,
                    depth: *depth,
                    trace: None,
                };
                self.dispatch(now, None, *method_id, request, take(body));
            }
            Event::Cancelled(id) => self.cancel(*id),
            _ => {}
        }
    }

    /// A call that nobody waits for any more.
    fn cancel(&mut self, id: InboundId) {
        if let Some(Some((running_id, running))) = self.running.get(id.slot())
            && *running_id == id
        {
            self.dying.add(running.clone());
            self.running[id.slot()] = None;
        }
    }

    /// The answers of a batch are timed by one look at the clock.
    fn end_batch(&mut self, now: Now) {
        if self.calls_in > 0 {
            self.shared.links.counters.calls_in.add(take(&mut self.calls_in));
        }
        if self.in_place.is_empty() {
            self.respond(now, Duration::ZERO);
            return;
        }
        let took = self.shared.node.runtime.now().mono.since(now.mono);
        if took >= LONG_BATCH {
            let methods = self.in_place.iter().filter_map(|&id| self.known.get(id));
            methods.for_each(|endpoint| endpoint.pace().doubt());
        }
        self.in_place.clear();
        self.respond(now, took);
    }

    fn respond(&mut self, now: Now, took: Duration) {
        if self.replies.is_empty() {
            return;
        }
        for Reply { method_id, response, .. } in &self.replies {
            if let Some(meter) = method_id.and_then(|id| self.known.meter(id)) {
                meter.end(response.error(), took);
                meter.sent(response.len());
            }
        }
        let replies = self.replies.iter();
        self.link.respond_all(now, replies.map(|reply| (reply.id, &reply.response)));
        self.replies.clear();
    }

    fn dispatch(
        &mut self,
        now: Now,
        // Of a call; a one-way message has none.
        id: Option<(InboundId, Shape)>,
        method_id: u16,
        request: InboundRequest,
        body: Bytes,
    ) {
        let Some(peer) = self.link.peer() else { return };
        let caller = Caller { id: peer.id, epoch: peer.epoch, addr: peer.addr };
        self.calls_in += 1;
        let (id, shape) = id.map_or((None, Shape::UNARY), |(id, shape)| (Some(id), shape));
        if id.is_some() && self.dying.are_too_many() {
            let why = "too many cancelled handlers have not ended";
            return self.reply(id, None, Status::never_ran(Code::Overloaded, why).into());
        }
        if self.shared.node.life.is_leaving() {
            return self.reply(
                id,
                None,
                Status::never_ran(Code::Unavailable, "this node is leaving").into(),
            );
        }
        let found = self.known.get(method_id).map_or_else(|| self.look_up(method_id), Ok);
        let endpoint = match found.and_then(|endpoint| shaped(endpoint, shape)) {
            Ok(endpoint) => endpoint,
            Err(status) => {
                return self.reply(id, None, status.into());
            }
        };
        let meter = endpoint.meter();
        meter.received(body.len() + request.attachments.iter().map(Bytes::len).sum::<usize>());
        if id.is_some() {
            meter.begin();
        } else {
            meter.one_way();
        }
        let end = id.filter(|_| shape.is_streaming());
        let end = end.and_then(|id| RemoteEnd::of_inbound(&self.link, id)).map(End::Remote);
        let is_in_place = endpoint.pace().is_short()
            && (body.len() <= VALIDATED_IN_PLACE_MAX || !endpoint.is_validated());
        // One-way messages have no slots: more than are kept at once run in place.
        if !is_in_place && (id.is_some() || self.has_room_for_one_way()) {
            let unpolled = Some(endpoint.clone());
            let future = begin::begin(&self.shared, endpoint, caller, request, body, end);
            let meter = self.known.shared_meter(method_id).expect("the method was found above");
            return self.keep_running(Begun { future, id, meter, at: now.mono, unpolled });
        }
        if self.in_place.last() != Some(&method_id) {
            self.in_place.push(method_id);
        }
        let mut future = begin::begin(&self.shared, endpoint, caller, request, body, end);
        // A handler that waits is polled again as soon as it is a task, and registers that task's
        // waker then: this poll's waker is never needed, and waking the connection with it
        // would be for nothing.
        match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => {
                self.reply(id, Some(method_id), response);
            }
            Poll::Pending => {
                let meter = self.known.shared_meter(method_id).expect("the method was found above");
                self.keep_running(Begun { future, id, meter, at: now.mono, unpolled: None });
            }
        }
    }

    /// A method whose number is new, or that was not there the last time.
    fn look_up(&mut self, method_id: u16) -> Result<Arc<dyn Endpoint>, Status> {
        match self.link.method(method_id) {
            Some(call) => self.known.find(&self.shared.registry, method_id, call.name()),
            None => Err(Status::new(Code::UnknownMethod, "a method that was not named")),
        }
    }

    fn reply(&mut self, id: Option<InboundId>, method_id: Option<u16>, response: Response) {
        match (id, &response.result) {
            (Some(id), _) => self.replies.push(Reply { id, method_id, response }),
            (None, Ok(_)) => {}
            (None, Err(status)) => {
                if let Some(meter) = method_id.and_then(|id| self.known.meter(id)) {
                    meter.failed(status.code);
                }
                tracing::debug!(target: "chinwag::call", link = self.link.key, %status, "a one-way message failed");
            }
        }
    }

    fn has_room_for_one_way(&mut self) -> bool {
        if self.one_ways.len() >= ONE_WAYS_MAX / 2 {
            // The only holder of a handler that has ended is this list.
            self.one_ways.retain(|running| Arc::strong_count(running) > 1);
        }
        self.one_ways.len() < ONE_WAYS_MAX
    }

    fn keep_running(&mut self, begun: Begun) {
        let Some(id) = begun.id else {
            if self.has_room_for_one_way() {
                self.one_ways.push(HandlerTask::spawn(&self.shared, &self.link, begun));
            } else {
                tracing::debug!(
                    target: "chinwag::call", link = self.link.key,
                    "a one-way message was dropped: too many are being handled"
                );
            }
            return;
        };
        let running = HandlerTask::spawn(&self.shared, &self.link, begun);
        if self.running.len() <= id.slot() {
            self.running.resize_with(id.slot() + 1, || None);
        }
        self.running[id.slot()] = Some((id, running));
    }
}
