//! Calls without room wait as data (`docs/protocol.md` §5.12.2): [`Room`] is their queues, and what
//! waits for the peer's hello beside them (§5.1.1).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::calls::{CallLimits, Class, Open, Progress};
use super::config::{Config, GOSSIP_OUT_LEN_MAX};
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
use super::wait_queue::{WaitQueue, Waiter};
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
    /// Who makes the call.
    caller: u64,
}

/// What one caller has in the queues.
#[derive(Debug, Default)]
struct Usage {
    calls: usize,
    len: usize,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Calls by class.
    queues: [WaitQueue; Class::QUEUES],
    /// Which queue of each level is next.
    turns: [usize; Class::LEVELS],
    /// Calls that wait, and their bytes.
    count: usize,
    len: usize,
    /// The same for each caller that has any.
    usage: BTreeMap<u64, Usage>,
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
        !self.queues[class.index()].is_empty()
    }

    /// Whether a call of so many bytes may wait. No caller may have more in the queues than is
    /// left for all others.
    fn takes(&self, config: &Config, caller: u64, len: usize) -> bool {
        let calls_left = config.waiting_calls_max.saturating_sub(self.count);
        let len_left = config.waiting_len_max.saturating_sub(self.len());
        let is_within = |own: &Usage| own.calls < calls_left && own.len + len <= len_left;
        calls_left > 0 && len <= len_left && self.usage.get(&caller).is_none_or(is_within)
    }

    /// A call begins to wait.
    fn enter(&mut self, caller: u64, len: usize) {
        (self.count, self.len) = (self.count + 1, self.len + len);
        let own = self.usage.entry(caller).or_default();
        (own.calls, own.len) = (own.calls + 1, own.len + len);
    }

    /// A call that waited is over, or begins.
    pub(super) fn leave(&mut self, waiting: &WaitingCall) {
        let len = waiting.len();
        (self.count, self.len) = (self.count - 1, self.len - len);
        if let Some(own) = self.usage.get_mut(&waiting.caller) {
            (own.calls, own.len) = (own.calls - 1, own.len - len);
            if own.calls == 0 {
                self.usage.remove(&waiting.caller);
            }
        }
        if self.count == 0 {
            self.queues.iter_mut().for_each(|queue| drop(queue.take()));
        }
    }

    /// Entries of the queues, those that are over too.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queues.iter().map(WaitQueue::len).sum()
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
            caller: request.caller,
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
            && !self.is_socket_behind_for(class)
    }

    /// Keeps a request until there is room for it.
    pub(super) fn wait_for_room(
        &mut self,
        now: Now,
        class: Class,
        request: Request<'_>,
    ) -> Result<CallId, RequestError> {
        let waiting = WaitingCall::new(now, request);
        let (caller, len) = (waiting.caller, waiting.len());
        if !self.room.takes(&self.config, caller, len) {
            waiting.discard(&mut self.outbox.trash);
            return Err(RequestError::Full);
        }
        let has_deadline = waiting.deadline.is_some();
        let progress = Progress::Waiting(Box::new(waiting));
        let call = self.calls.open(Open { has_deadline, class, progress });
        self.room.enter(caller, len);
        let queue = &mut self.room.queues[class.index()];
        queue.push(Waiter { call, caller, since: now.mono });
        if queue.len() > 2 * self.room.count + 64 {
            // An application that calls and gives up, over and over, must not fill memory.
            queue.sweep(|call| self.calls.is_waiting(call));
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
        self.room.queues.iter_mut().for_each(|queue| queue.restart(now.mono));
        self.begin_waiting(now);
    }

    /// Begins the calls that wait and have room now, those that handlers make first. The queues of
    /// one level take turns, and so do the callers of one queue.
    pub(super) fn begin_waiting(&mut self, now: Now) {
        let Some(limits) = self.call_limits().filter(|_| self.room.has_calls()) else { return };
        for level in 0..Class::LEVELS {
            let (count, mut stuck) = (Class::QUEUES_OF_LEVEL, 0);
            while stuck < count {
                let nth = self.room.turns[level] % count;
                self.room.turns[level] = nth + 1;
                let has_begun = self.begin_next(now, limits, level * count + nth);
                stuck = if has_begun { 0 } else { stuck + 1 };
            }
        }
    }

    /// Begins a call of this queue. Returns whether there is one that has room.
    fn begin_next(&mut self, now: Now, limits: CallLimits, at: usize) -> bool {
        let queue = &mut self.room.queues[at];
        let Some((next, oldest)) = queue.next(|call| self.calls.is_waiting(call)) else {
            return false;
        };
        let wait_max = self.budget_wait_max();
        let is_overdue =
            |waiter: Waiter| Class::is_queue_charged(at) && waiter.since + wait_max <= now.mono;
        if is_overdue(oldest) {
            self.room.queues[at].has_asked();
        }
        let whatever = limits.whatever_is_held();
        let limits_of_next = if is_overdue(next) { whatever } else { limits };
        let (begins, limits) = if self.has_room_within(limits_of_next, next.call) {
            (next, limits_of_next)
        } else if is_overdue(oldest) && self.has_room_within(whatever, oldest.call) {
            (oldest, whatever)
        } else {
            return false;
        };
        if !self.reserve_stream(begins.call) {
            return false;
        }
        self.room.queues[at].begin(begins);
        self.begin_call(now, begins.call, limits);
        true
    }

    /// Whether there is room for an open call that waits.
    fn has_room_within(&self, limits: CallLimits, call: CallId) -> bool {
        let class = self.calls.get(call).map(|open| open.class);
        class.is_some_and(|class| {
            self.calls.has_room(limits, class) && !self.is_socket_behind_for(class)
        })
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
        let next_at = |(at, queue): (usize, &WaitQueue)| {
            let asks_after = Class::is_queue_charged(at).then(|| self.budget_wait_max());
            queue.next_at(asks_after, self.config.room_wait_max)
        };
        self.room.queues.iter().enumerate().filter_map(next_at).min()
    }

    /// Ends the calls that have waited for as long as they may. Returns whether there were any.
    pub(super) fn expire_waiting(&mut self, now: Instant) -> bool {
        let mut has_any = false;
        if self.room_wait_at().is_none_or(|at| now < at)
            || self.has_defect(Defect::RoomWaitHasNoEnd)
        {
            return has_any;
        }
        for at in 0..self.room.queues.len() {
            while let Some((_, oldest)) =
                self.room.queues[at].next(|call| self.calls.is_waiting(call))
                && now >= oldest.since + self.config.room_wait_max
            {
                self.room.queues[at].pop_oldest();
                let why = "there was no room for the call in time";
                self.end_call(oldest.call, Code::Overloaded, why);
                has_any = true;
            }
        }
        has_any
    }

    /// Ends all that waits, each call with its event.
    pub(super) fn end_waiting(&mut self, code: Code, message: &str) {
        for mut queue in core::mem::take(&mut self.room.queues) {
            for waiter in queue.take() {
                if self.calls.is_waiting(waiter.call) {
                    self.end_call(waiter.call, code, message);
                }
            }
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
