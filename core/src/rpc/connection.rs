//! [`Connection`]: the machine over one byte stream (`docs/protocol.md` §5).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::calls::Calls;
use super::charges::Charges;
use super::config::Config;
use super::credit::Outflow;
use super::deadlines::Deadlines;
use super::event::{CallId, CloseReason, Event, Flush};
use super::flows::Flows;
use super::hello::{Hello, PeerHello};
use super::inbound::Inbound;
use super::methods::{Method, MethodName, Named};
use super::outbox::Outbox;
use super::receive::Receiver;
use super::room::Room;
use super::stats::Stats;
use super::stream::{FlowControl, Streams};
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
    /// What the peer takes of large answers.
    pub(super) answers_out: Outflow,
    pub(super) flow: FlowControl,
    pub(super) charges: Charges,
    pub(super) events: VecDeque<Event>,
    /// What waits for room, or for the peer's hello (§5.1.1, §5.12.2).
    pub(super) room: Room,
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
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) defect: Option<super::mutant::Defect>,
    #[cfg(feature = "fuzzing")]
    pub(super) has_no_stamps: bool,
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
        let flow = FlowControl::new(&config, None, now.mono);
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
            answers_out: Outflow::default(),
            flow,
            charges: Charges::default(),
            events: VecDeque::new(),
            room: Room::default(),
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
            #[cfg(any(test, feature = "fuzzing"))]
            defect: None,
            #[cfg(feature = "fuzzing")]
            has_no_stamps: false,
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
        self.begin_waiting(now);
        if self.expire_waiting(now.mono) {
            // Those behind them may have waited for long enough to begin whatever is held.
            self.begin_waiting(now);
        }
        self.drop_untaken(now.mono);
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
        if moved > 0 {
            self.begin_waiting(now);
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
        let others = [self.room_wait_at(), self.flow.drop_answer_at(&self.config)];
        others.into_iter().flatten().chain([own, drain, calls]).min()
    }

    /// When what is queued should be written.
    pub fn flush(&self) -> Flush {
        let open = self.calls.begun_count() + self.inbound.open_count();
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

    /// Calls made here that are open, those that wait for room too.
    pub fn calls_open(&self) -> u32 {
        self.calls.open_count()
    }

    /// The number of an open call on the wire, once it has begun.
    pub fn number_of(&self, call: CallId) -> Option<u32> {
        self.calls.get(call)?.number()
    }

    /// Bytes of requests and one-way messages of the peer that are held, whoever holds them
    /// (`docs/protocol.md` §5.12.3).
    pub fn requests_held(&self) -> usize {
        self.flow.requests.held()
    }

    /// Calls of the peer that wait for an answer.
    pub fn inbound_open(&self) -> u32 {
        self.inbound.open_count()
    }

    /// Bytes that wait to be written.
    pub fn queued_len(&self) -> usize {
        self.outbox.len() + self.flows.len() + self.room.len()
    }

    /// Whether either side is going away, so that new calls belong elsewhere.
    pub fn is_going_away(&self) -> bool {
        self.went_away.is_some() || self.has_peer_gone_away
    }

    /// Whether this side has said that it goes away, and the peer has not: requests may be on their
    /// way here (`docs/protocol.md` §5.9.2).
    pub fn awaits_go_away(&self) -> bool {
        self.went_away.is_some() && !self.has_peer_gone_away && !self.is_closed()
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
