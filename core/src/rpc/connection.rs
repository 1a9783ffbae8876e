//! [`Connection`]: the machine over one byte stream (`docs/protocol.md` §5).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::body::Body;
use super::calls::{Calls, Open};
use super::config::{Config, GOSSIP_LEN_MAX};
use super::deadlines::{Deadlines, Due};
use super::event::{
    CallId, CloseReason, Event, Flush, GossipError, InboundId, Request, RequestError, RespondError,
};
use super::flows::{Flows, Outflows};
use super::frame::{FrameHeader, Kind};
use super::headers::Headers;
use super::hello::{Hello, PeerHello};
use super::inbound::Inbound;
use super::methods::{Method, MethodName, Named};
use super::receive::Receiver;
use super::send::Outbox;
use super::sending::{Carried, WAITING_OVERHEAD, Waiting, are_fitting, exceeds, micros};
use super::stats::Stats;
use super::status::{Code, Status};
use super::stream::{Shape, StreamRef};
use super::streaming::Inflows;
use super::streams::Streams;
use super::transmit::Transmit;
use crate::clock::SharedHlc;
use crate::time::{Instant, Now};

/// Bytes queued from which on waiting for a larger batch gains nothing: what the peer reads at once
/// by default.
const FLUSH_LEN: usize = 128 * 1024;

/// Which end of the stream this is. The protocol is the same for both; the driver tells connections
/// apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node connected.
    Dialer,
    /// The peer connected.
    Acceptor,
}

/// The machine over one byte stream: calls, one-way messages and gossip, both ways.
///
/// Its methods are of four families: `handle_*` take the world in, `poll_*` give out what it wants,
/// the verbs ([`request`](Self::request), [`respond`](Self::respond), [`cancel`](Self::cancel), …)
/// are the user's, the rest are getters. A driver does, for ever:
///
/// ```text
/// read into receiver.buffer()  -> handle_received(now, &mut receiver, len)   (end or error of the stream: handle_closed(now))
/// poll_event() until None      -> dispatch, wake callers        (after each handle_*; Closed is the last event)
/// poll_transmit(now, &mut out) -> write out.slices()            (after each call; until it returns 0)
/// wait for readable, writable, a verb, or poll_timeout()        -> handle_timeout(now)
/// ```
///
/// A driver that was held up reads before it calls `handle_timeout`, so that its own pause is not
/// taken for the peer's silence. It reads on while a write is blocked. A peer can make the machine
/// end this connection and nothing worse; what it holds is bounded by its [`Config`] whatever the
/// peer does.
pub struct Connection {
    pub(super) side: Side,
    /// Within its ranges.
    pub(super) config: Arc<Config>,
    pub(super) hello: Hello,
    pub(super) clock: Arc<SharedHlc>,
    pub(super) phase: Phase,
    pub(super) outbox: Outbox,
    /// What must not hold up what is in the outbox.
    pub(super) flows: Flows,
    pub(super) streams: Streams,
    pub(super) outflows: Outflows,
    pub(super) inflows: Inflows,
    pub(super) events: VecDeque<Event>,
    /// What was asked for before the peer's hello came (§5.1.1).
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) waiting_len: usize,
    pub(super) calls: Calls,
    pub(super) inbound: Inbound,
    pub(super) deadlines: Deadlines,
    pub(super) named: Named,
    /// The methods the peer has named.
    pub(super) methods: Vec<Method>,
    pub(super) started: Instant,
    pub(super) last_received: Instant,
    pub(super) ping_sent: Option<Instant>,
    /// Where in the stream the last pong begins.
    pub(super) pong_at: Option<u64>,
    /// When this side went away.
    pub(super) went_away: Option<Instant>,
    pub(super) has_peer_gone_away: bool,
    /// The go-away is to be said when no request waits any more.
    pub(super) owes_go_away: bool,
    /// The last frame was a keepalive, and no call was open.
    pub(super) is_resting: bool,
    pub(super) stats: Stats,
}

/// Where the connection is (§5, the table).
#[derive(Debug)]
pub(super) enum Phase {
    Greeting,
    Open(PeerHello),
    Closed,
}

impl Connection {
    /// A connection over a stream that has just opened, and the half of it that reads the stream.
    /// Its hello is ready to be transmitted.
    pub fn new(
        side: Side,
        config: Arc<Config>,
        hello: Hello,
        clock: Arc<SharedHlc>,
        now: Now,
    ) -> (Self, Receiver) {
        let config = if config.validate().is_ok() { config } else { Arc::new(config.clamped()) };
        let mut outbox = Outbox::default();
        outbox.raw(&hello.encode(&config));
        let receiver = Receiver::new(&config);
        let flows = Flows::new(config.fragment_len, config.interleaved_max);
        let inflows = Inflows::new(&config, now.mono);
        let connection = Self {
            side,
            inbound: Inbound::new(config.in_flight_max),
            config,
            hello,
            clock,
            phase: Phase::Greeting,
            outbox,
            flows,
            streams: Streams::default(),
            outflows: Outflows::default(),
            inflows,
            events: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_len: 0,
            calls: Calls::default(),
            deadlines: Deadlines::default(),
            named: Named::default(),
            methods: Vec::new(),
            started: now.mono,
            last_received: now.mono,
            ping_sent: None,
            pong_at: None,
            went_away: None,
            has_peer_gone_away: false,
            owes_go_away: false,
            is_resting: false,
            stats: Stats::default(),
        };
        (connection, receiver)
    }

    // ---- the world in ----

    /// `len` bytes of the stream were put at the front of [`Receiver::buffer`]; more than it holds
    /// counts as all of it. The receiver is the one that was made with this connection.
    pub fn handle_received(&mut self, now: Now, receiver: &mut Receiver, len: usize) {
        if self.is_closed() {
            return receiver.close();
        }
        if len == 0 {
            return;
        }
        self.stats.bytes_in += receiver.filled(len) as u64;
        self.last_received = now.mono;
        self.ping_sent = None;
        self.is_resting = false;
        if let Err(reason) = self.read(now, receiver) {
            self.close(reason);
        }
        if self.is_closed() {
            receiver.close();
        } else if self.is_resting {
            receiver.rest();
        }
        self.close_if_drained();
    }

    /// The stream ended or was reset. Every call ends (§5.9.4).
    pub fn handle_closed(&mut self, _now: Now) {
        self.close(CloseReason::Lost);
    }

    /// Membership declared the peer dead or restarted: every call ends as `PeerGone`, and so does
    /// the connection.
    pub fn handle_peer_gone(&mut self, _now: Now) {
        self.close(CloseReason::PeerGone);
    }

    /// Time passed. Early calls are no-ops.
    pub fn handle_timeout(&mut self, now: Now) {
        self.expire_calls(now);
        self.expire_timers(now.mono);
        self.close_if_drained();
    }

    // ---- what the machine wants ----

    /// Adds at most [`Config::transmit_len_max`] bytes to `out`, to be written in order, and
    /// returns how many; 0 when there is nothing to write. What is in `out` cannot be overtaken
    /// any more, so a driver asks again when it has written all of it.
    ///
    /// After [`Event::Closed`] there is nothing more, except for a hello that the peer may need to
    /// name a mismatch. Bytes given out earlier are still to be written before the stream is
    /// closed.
    pub fn poll_transmit(&mut self, now: Now, out: &mut Transmit) -> usize {
        if self.is_grant_due() {
            self.grant(now);
        }
        if self.flows.is_ready() {
            self.compose(now);
        }
        let moved = self.outbox.transmit(out, self.config.transmit_len_max);
        if self.streams.has_blocked() {
            self.unblock();
        }
        self.close_if_drained();
        moved
    }

    /// All events, oldest first, into `events` if that is empty; if not, it changes nothing. What
    /// it held is kept for further events.
    pub fn take_events(&mut self, events: &mut VecDeque<Event>) {
        if events.is_empty() {
            core::mem::swap(&mut self.events, events);
        }
    }

    /// Whether an event waits to be taken: what was written may have made one.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Connection::handle_timeout`] has something to do; `None` once closed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Closed => return None,
            Phase::Greeting => self.started + self.config.hello_timeout,
            Phase::Open(_) => self.keepalive_at(),
        };
        let drain = self.drain_at().unwrap_or(Instant::FAR_FUTURE);
        let calls = self.deadlines.next().unwrap_or(Instant::FAR_FUTURE);
        Some(own.min(drain).min(calls))
    }

    /// When what is queued should be written.
    pub fn flush(&self) -> Flush {
        let open = self.calls.open_count() + self.inbound.open_count();
        let (ready, len) = (self.flows.ready_count(), self.outbox.len());
        if self.is_grant_due() {
            Flush::Now
        } else if len == 0 && !self.flows.is_ready() {
            Flush::Nothing
        } else if len + self.flows.len() >= FLUSH_LEN || self.outbox.batch() + ready >= open {
            Flush::Now
        } else {
            Flush::AfterTurn
        }
    }

    // ---- verbs ----

    /// Calls the peer. The call's one [`Event::Response`] follows, unless it is cancelled.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing changed.
    pub fn request(&mut self, now: Now, request: Request<'_>) -> Result<CallId, RequestError> {
        self.check(&request)?;
        let limit = match &self.phase {
            Phase::Open(peer) => self.config.in_flight_max.min(peer.in_flight_max),
            _ => self.config.in_flight_max,
        };
        if self.calls.open_count() >= limit {
            return Err(RequestError::Overloaded);
        }
        let is_expired = request.deadline.is_some_and(|timeout| micros(timeout) == 0);
        let method = match is_expired {
            true => None,
            false => self.method_id(request.service, request.method, request.fingerprint)?,
        };
        let is_streaming = request.shape.is_streaming();
        let open = Open { has_deadline: request.deadline.is_some(), is_streaming, position: None };
        let call = self.calls.open(limit, open).ok_or(RequestError::Overloaded)?;
        if is_streaming {
            self.open_stream(now, StreamRef::Call(call), request.shape);
        }
        self.stats.calls_out += 1;
        if let Some(timeout) = request.deadline {
            self.deadlines.insert(now.mono + timeout, Due::Call(call));
        }
        if is_expired {
            self.end_call(
                call,
                Code::DeadlineExceeded,
                "the deadline had passed when the call was made",
            );
            return Ok(call);
        }
        match method {
            Some(method) => {
                let timeout = request.deadline.map(micros);
                let Request { ref headers, body, attachments, shape, .. } = request;
                let carried = Carried { headers, body, attachments, shape };
                self.send_message(now, Some(call), method, timeout, carried);
                if is_streaming {
                    self.begin_stream(now, call);
                }
            }
            None => self.wait(now, Some(call), request),
        }
        Ok(call)
    }

    /// Sends a message that wants no answer. Whether it arrives cannot be known.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing changed. A deadline that has passed is no error: the message
    /// is dropped and counted.
    pub fn one_way(&mut self, now: Now, request: Request<'_>) -> Result<(), RequestError> {
        self.check(&request)?;
        if request.deadline.is_some_and(|timeout| micros(timeout) == 0) {
            self.stats.one_way_dropped += 1;
            return Ok(());
        }
        match self.method_id(request.service, request.method, request.fingerprint)? {
            Some(method) => {
                let timeout = request.deadline.map(micros);
                let Request { ref headers, body, attachments, .. } = request;
                let carried = Carried { headers, body, attachments, shape: Shape::UNARY };
                self.send_message(now, None, method, timeout, carried);
            }
            None => self.wait(now, None, request),
        }
        Ok(())
    }

    /// Answers a call of the peer.
    ///
    /// # Errors
    /// See [`RespondError`].
    pub fn respond(
        &mut self,
        now: Now,
        id: InboundId,
        result: Result<Body<'_>, Status>,
    ) -> Result<(), RespondError> {
        self.respond_with(now, id, &Headers::new(), &[], result)
    }

    /// Answers a call of the peer, with headers, and with bytes beside the body of a success. It
    /// ends the call in both directions; chunks sent before it arrive before it.
    ///
    /// # Errors
    /// See [`RespondError`].
    pub fn respond_with(
        &mut self,
        now: Now,
        id: InboundId,
        headers: &Headers,
        attachments: &[Bytes],
        result: Result<Body<'_>, Status>,
    ) -> Result<(), RespondError> {
        let Phase::Open(peer) = &self.phase else {
            return Err(RespondError::Ended);
        };
        let (headers_len_max, message_len_max) = (peer.headers_len_max, peer.message_len_max);
        if !self.close_inbound(now, id) {
            return Err(RespondError::Ended);
        }
        let is_too_large = exceeds(headers.encoded_len(), headers_len_max)
            || result
                .as_ref()
                .is_ok_and(|body| !are_fitting(body.len(), attachments, message_len_max));
        if is_too_large {
            let status =
                Status::new(Code::TooLarge, "the response is larger than the caller accepts");
            self.send_response(now, id.call, &Headers::new(), &[], Err(status));
        } else {
            self.send_response(now, id.call, headers, attachments, result);
        }
        self.close_if_drained();
        if is_too_large { Err(RespondError::TooLarge) } else { Ok(()) }
    }

    /// Gives a call up; its handler is told. No event follows but chunks that are in the queue.
    /// Returns whether the call was open: if not, its [`Event::Response`] is in the queue or
    /// was given out.
    pub fn cancel(&mut self, _now: Now, call: CallId) -> bool {
        let Some(open) = self.calls.end(call) else {
            return false;
        };
        self.forget_call(call, open);
        self.close_if_drained();
        true
    }

    /// Sends a gossip frame.
    ///
    /// # Errors
    /// See [`GossipError`]; nothing changed.
    pub fn gossip(&mut self, now: Now, payload: &[u8]) -> Result<(), GossipError> {
        if payload.len() > GOSSIP_LEN_MAX {
            return Err(GossipError::TooLarge);
        }
        match self.phase {
            Phase::Closed => return Err(GossipError::Closed),
            _ if self.is_full() => return Err(GossipError::Full),
            Phase::Open(_) => {
                self.outbox.plain(FrameHeader::new(Kind::Gossip, 0), payload);
                self.share(now);
            }
            Phase::Greeting => {
                self.waiting_len += payload.len() + WAITING_OVERHEAD;
                self.waiting.push_back(Waiting::Gossip(payload.to_vec()));
            }
        }
        Ok(())
    }

    /// Takes no new calls from either side, lets the open ones finish, then closes (§5.9). A second
    /// call changes nothing.
    pub fn go_away(&mut self, now: Now) {
        if self.is_closed() || self.went_away.is_some() {
            return;
        }
        self.went_away = Some(now.mono);
        if matches!(self.phase, Phase::Open(_)) {
            self.say_go_away();
        } else {
            self.end_waiting(Code::Unavailable, "this node is going away");
        }
    }

    // ---- getters ----

    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats {
            bytes_out: self.outbox.bytes_left(),
            frames_out: self.outbox.frames(),
            ..self.stats
        }
    }

    /// Which end this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// What the peer's hello said; `None` before it was accepted and once the connection has ended.
    pub fn peer(&self) -> Option<&PeerHello> {
        match &self.phase {
            Phase::Open(peer) => Some(peer),
            _ => None,
        }
    }

    /// The method that the peer calls by this number.
    pub fn method(&self, method_id: u16) -> Option<MethodName<'_>> {
        let Method { service, method, fingerprint } = self.methods.get(usize::from(method_id))?;
        Some(MethodName { service, method, fingerprint: *fingerprint })
    }

    /// Calls made here that are open.
    pub fn calls_open(&self) -> u32 {
        self.calls.open_count()
    }

    /// Calls of the peer that wait for an answer.
    pub fn inbound_open(&self) -> u32 {
        self.inbound.open_count()
    }

    /// Bytes that wait to be written.
    pub fn queued_len(&self) -> usize {
        self.outbox.len() + self.flows.len() + self.waiting_len
    }

    /// Whether either side is going away, so that new calls belong elsewhere.
    pub fn is_going_away(&self) -> bool {
        self.went_away.is_some() || self.has_peer_gone_away
    }

    /// Whether the connection has ended. [`Event::Closed`] is or was in the queue.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side)
            .field("phase", &self.phase)
            .field("calls_open", &self.calls.open_count())
            .field("inbound_open", &self.inbound.open_count())
            .field("queued_len", &self.queued_len())
            .finish_non_exhaustive()
    }
}
