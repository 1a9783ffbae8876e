//! Calls without room wait as data (`docs/protocol.md` §5.12.2): [`Room`] is their queues, and what
//! waits for the peer's hello beside them (§5.1.1).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::calls::{CallLimits, Class, Open, Progress};
use super::config::GOSSIP_OUT_LEN_MAX;
use super::connection::Connection;
use super::content::content_len;
use super::event::{CallId, Fingerprint, Request, RequestError};
use super::frame::{FrameHeader, Kind};
use super::headers::Headers;
use super::mutant::Defect;
use super::outbound::{Carried, are_fitting, exceeds, micros};
use super::status::Code;
use super::stream::{Shape, StreamRef};
use super::trash::Trash;
use crate::time::{Instant, Now};

/// What a call that waits counts against `waiting_len_max` beside its parts.
const WAITING_OVERHEAD: usize = 256;

/// A request or a one-way message that owns all it needs to be sent later.
#[derive(Debug)]
pub(super) struct WaitingCall {
    service: String,
    method: String,
    fingerprint: Fingerprint,
    headers: Headers,
    body: Bytes,
    attachments: Vec<Bytes>,
    shape: Shape,
    depth: u8,
    chunk_len_max: u32,
    deadline: Option<Instant>,
}

/// A call in its queue.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    call: CallId,
    since: Instant,
    /// When it is looked at because of what its request is charged; `None` once it was, or if it is
    /// charged nothing.
    asks_at: Option<Instant>,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Calls by class, each in the order in which they were made. Some may be over.
    calls: [VecDeque<Waiter>; Class::QUEUES],
    /// Calls that wait, and their bytes.
    count: usize,
    len: usize,
    /// One-way messages and gossip that wait for the peer's hello.
    one_ways: VecDeque<WaitingCall>,
    gossip: VecDeque<Vec<u8>>,
    gossip_len: usize,
}

impl Room {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len + self.gossip_len
    }

    /// Whether any call waits.
    pub(super) fn has_calls(&self) -> bool {
        self.count > 0
    }

    /// Whether a call of this class waits.
    fn has_calls_of(&self, class: Class) -> bool {
        !self.calls[class.index()].is_empty()
    }

    /// A call that waited is over, or begins.
    pub(super) fn leave(&mut self, waiting: &WaitingCall) {
        self.count -= 1;
        self.len -= waiting.len();
        if self.count == 0 {
            self.calls.iter_mut().for_each(VecDeque::clear);
        }
    }

    /// Entries of the queues, those that are over too.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.calls.iter().map(VecDeque::len).sum()
    }

    /// When the next call has waited for long enough, those with room being given up after
    /// `wait_max`. Some that are over may stand before it: then this is too early, and nothing
    /// happens at that time.
    fn next_at(&self, wait_max: Duration) -> Option<Instant> {
        let fronts = self.calls.iter().filter_map(VecDeque::front);
        fronts.map(|waiter| waiter.asks_at.unwrap_or(waiter.since + wait_max)).min()
    }

    /// Nothing waits any more. What its users gave goes to `trash`; calls have been ended.
    pub(super) fn clear(&mut self, trash: &mut Trash) {
        for waiting in core::mem::take(self).one_ways {
            waiting.discard(trash);
        }
    }
}

impl WaitingCall {
    pub(super) fn new(now: Now, request: Request<'_>) -> Self {
        Self {
            service: request.service.into(),
            method: request.method.into(),
            fingerprint: request.fingerprint,
            headers: request.headers,
            body: request.body.into_bytes(),
            attachments: request.attachments.to_vec(),
            shape: request.shape,
            depth: request.depth,
            chunk_len_max: request.chunk_len_max,
            deadline: request.deadline.map(|timeout| now.mono + timeout),
        }
    }

    /// What it counts against `waiting_len_max`.
    fn len(&self) -> usize {
        let names = self.service.len() + self.method.len();
        names
            + self.headers.encoded_len()
            + content_len(self.body.len(), &self.attachments)
            + WAITING_OVERHEAD
    }

    /// It will not be sent.
    pub(super) fn discard(self, trash: &mut Trash) {
        trash.put(self.body);
        trash.extend(self.attachments);
    }
}

/// Why a message that waited is not sent.
type Unsent = (Code, &'static str);

impl Connection {
    /// What both sides accept of the calls made here; `None` before the peer's hello.
    pub(super) fn call_limits(&self) -> Option<CallLimits> {
        let own = self.config.in_flight_max;
        self.peer().map(|peer| CallLimits {
            in_flight_max: own.min(peer.in_flight_max),
            request_budget: peer.request_budget,
        })
    }

    /// Whether a call of this class may begin now. Those of its class that wait go first.
    pub(super) fn has_room(&self, class: Class) -> bool {
        let limits = self.call_limits();
        limits.is_some_and(|limits| self.calls.has_room(limits, class))
            && !self.room.has_calls_of(class)
            && !self.is_socket_behind()
    }

    /// Keeps a request until there is room for it.
    pub(super) fn wait_for_room(
        &mut self,
        now: Now,
        class: Class,
        request: Request<'_>,
    ) -> Result<CallId, RequestError> {
        let waiting = WaitingCall::new(now, request);
        let (len, budget_wait_max) = (waiting.len(), self.budget_wait_max());
        let room = &mut self.room;
        if room.count >= self.config.waiting_calls_max
            || room.len() + len > self.config.waiting_len_max
        {
            waiting.discard(&mut self.outbox.trash);
            return Err(RequestError::Full);
        }
        let has_deadline = waiting.deadline.is_some();
        let progress = Progress::Waiting(Box::new(waiting));
        let call = self.calls.open(Open { has_deadline, class, progress });
        (room.count, room.len) = (room.count + 1, room.len + len);
        let queue = &mut room.calls[class.index()];
        let asks_at = (class.charge > 0).then(|| now.mono + budget_wait_max);
        queue.push_back(Waiter { call, since: now.mono, asks_at });
        if queue.len() > 2 * room.count + 64 {
            // An application that calls and gives up, over and over, must not fill memory.
            queue.retain(|waiter| self.calls.get(waiter.call).is_some());
        }
        Ok(call)
    }

    /// Keeps a one-way message until the peer's hello is in.
    pub(super) fn wait_for_hello(
        &mut self,
        now: Now,
        request: Request<'_>,
    ) -> Result<(), RequestError> {
        let waiting = WaitingCall::new(now, request);
        if self.room.len() + waiting.len() > self.config.waiting_len_max {
            waiting.discard(&mut self.outbox.trash);
            return Err(RequestError::Full);
        }
        self.room.len += waiting.len();
        self.room.one_ways.push_back(waiting);
        Ok(())
    }

    /// Keeps gossip until the peer's hello is in. Returns whether there is room for it.
    pub(super) fn keep_gossip(&mut self, payload: &[u8]) -> bool {
        let len = payload.len() + WAITING_OVERHEAD;
        let has_room = self.room.gossip_len + len <= GOSSIP_OUT_LEN_MAX;
        if has_room {
            self.room.gossip_len += len;
            self.room.gossip.push_back(payload.to_vec());
        }
        has_room
    }

    /// The peer's hello is in: what waited for nothing else goes out, and of the calls those that
    /// have room. Their wait for room begins now.
    pub(super) fn send_early(&mut self, now: Now) {
        self.room.gossip_len = 0;
        for payload in core::mem::take(&mut self.room.gossip) {
            self.send_gossip(&payload);
        }
        for waiting in core::mem::take(&mut self.room.one_ways) {
            self.room.len -= waiting.len();
            if self.send_waiting(now, None, waiting).is_err() {
                self.stats.one_way_dropped += 1;
            }
        }
        let asks_at = now.mono + self.budget_wait_max();
        for waiter in self.room.calls.iter_mut().flatten() {
            waiter.since = now.mono;
            waiter.asks_at = waiter.asks_at.map(|_| asks_at);
        }
        self.begin_waiting(now);
    }

    /// Begins the calls that wait and have room now, those that handlers make first.
    pub(super) fn begin_waiting(&mut self, now: Now) {
        let Some(limits) = self.call_limits().filter(|_| self.room.has_calls()) else { return };
        for at in 0..self.room.calls.len() {
            while let Some(waiter) = self.room.calls[at].front_mut() {
                waiter.asks_at.take_if(|at| *at <= now.mono);
                let (call, is_overdue) = (waiter.call, waiter.asks_at.is_none());
                if self.is_socket_behind() {
                    break;
                }
                let limits = if is_overdue { limits.whatever_is_held() } else { limits };
                let Some(open) = self.calls.get(call) else {
                    self.room.calls[at].pop_front();
                    continue;
                };
                if !self.calls.has_room(limits, open.class) || !self.reserve_stream(call) {
                    break;
                }
                self.room.calls[at].pop_front();
                self.begin_call(now, call, limits);
            }
        }
    }

    /// A call that waited has room.
    fn begin_call(&mut self, now: Now, call: CallId, limits: CallLimits) {
        let Some((_, waiting)) = self.calls.begin(call, limits) else { return };
        self.room.leave(&waiting);
        let is_streaming = waiting.shape.is_streaming();
        match self.send_waiting(now, Some(call), *waiting) {
            Ok(()) if is_streaming => self.begin_stream(now, call),
            Ok(()) => {}
            Err((code, why)) => self.end_call(call, code, why),
        }
    }

    /// Sends what was asked for before the peer's limits, or room for it, were known, or says why
    /// not.
    fn send_waiting(
        &mut self,
        now: Now,
        call: Option<CallId>,
        waiting: WaitingCall,
    ) -> Result<(), Unsent> {
        let timeout = waiting.deadline.map(|at| micros(at.since(now.mono)));
        let unsent = match self.peer() {
            _ if timeout == Some(0) => {
                Some((Code::DeadlineExceeded, "the deadline passed before there was room"))
            }
            Some(peer)
                if !are_fitting(waiting.body.len(), &waiting.attachments, peer.message_len_max)
                    || exceeds(waiting.headers.encoded_len(), peer.headers_len_max) =>
            {
                Some((Code::TooLarge, "the message is larger than the peer accepts"))
            }
            _ => None,
        };
        let WaitingCall { service, method, fingerprint, .. } = &waiting;
        let method = match unsent {
            Some(unsent) => Err(unsent),
            None => match self.method_id(service, method, *fingerprint) {
                Ok(Some(method)) => Ok(method),
                _ => Err((Code::Overloaded, "the peer's table of methods is full")),
            },
        };
        let method = match method {
            Ok(method) => method,
            Err(unsent) => {
                waiting.discard(&mut self.outbox.trash);
                return Err(unsent);
            }
        };
        let WaitingCall { headers, body, attachments, shape, depth, chunk_len_max, .. } = waiting;
        let body = Body::Owned(body);
        let carried = Carried {
            headers: &headers,
            body,
            attachments: &attachments,
            shape,
            depth,
            chunk_len_max,
        };
        self.send_message(now, call, method, timeout, carried);
        self.outbox.trash.extend(attachments);
        Ok(())
    }

    /// How long a large request waits because of what the caller's own calls are charged (§5.12.3).
    fn budget_wait_max(&self) -> Duration {
        self.config.room_wait_max / 4
    }

    /// When a call has waited for room for as long as it may, or only the peer can say whether it
    /// has room (§5.12.2, §5.12.3).
    pub(super) fn room_wait_at(&self) -> Option<Instant> {
        self.peer()?;
        self.room.next_at(self.config.room_wait_max)
    }

    /// Ends the calls that have waited for as long as they may. Returns whether there were any.
    pub(super) fn expire_waiting(&mut self, now: Instant) -> bool {
        let mut has_any = false;
        if self.room_wait_at().is_none_or(|at| now < at)
            || self.has_defect(Defect::RoomWaitHasNoEnd)
        {
            return has_any;
        }
        for at in 0..self.room.calls.len() {
            while let Some(&Waiter { call, since, .. }) = self.room.calls[at].front()
                && now >= since + self.config.room_wait_max
            {
                self.room.calls[at].pop_front();
                self.end_call(call, Code::Overloaded, "there was no room for the call in time");
                has_any = true;
            }
        }
        has_any
    }

    /// Ends all that waits, each call with its event.
    pub(super) fn end_waiting(&mut self, code: Code, message: &str) {
        for queue in core::mem::take(&mut self.room.calls) {
            queue.into_iter().for_each(|waiter| self.end_call(waiter.call, code, message));
        }
        self.stats.one_way_dropped += self.room.one_ways.len() as u64;
        self.stats.gossip_dropped += self.room.gossip.len() as u64;
        self.room.clear(&mut self.outbox.trash);
    }

    /// Puts a gossip frame into the outbox.
    pub(super) fn send_gossip(&mut self, payload: &[u8]) {
        let at = self.outbox.position();
        self.outbox.plain(FrameHeader::new(Kind::Gossip, 0), payload);
        self.outbox.count_gossip(at);
    }

    /// Whether the stream that this call opens towards this side has its reserve, or needs none.
    fn reserve_stream(&mut self, call: CallId) -> bool {
        self.streams.reserve(StreamRef::Call(call), &self.flow.reserves)
    }
}
