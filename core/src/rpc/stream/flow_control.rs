//! Streams on their way out, and credit: the verbs, and the grants that go to the peer
//! (`docs/protocol.md` §5.11, §5.12).

use core::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::rpc::body::Body;
use crate::rpc::config::{COPY_LEN_MAX, Config};
use crate::rpc::connection::{Connection, Phase};
use crate::rpc::content::{Content, content_len};
use crate::rpc::credit::{Inflow, Overdrawn, cost};
use crate::rpc::event::{CallId, Event, InboundId};
use crate::rpc::flows::{Message, Owner};
use crate::rpc::frame::{FLAG_END, FLAG_FROM_CALLEE, FrameHeader, Kind, LANES};
use crate::rpc::headers::Headers;
use crate::rpc::outbound::are_fitting;
use crate::rpc::stream::{Held, Shape, StreamError, StreamRef, Window};
use crate::time::{Instant, Now};

/// How often the round trip is measured while grants are sent. It is a path's, and paths change
/// seldom.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// The connection's windows, as their receiver keeps them, and what their sizes follow from.
#[derive(Debug)]
pub(in crate::rpc) struct Inflows {
    data: Inflow,
    requests: Inflow,
    responses: Inflow,
    /// Whose chunk comes in on each lane: its call's id may name another call by the time it is
    /// whole.
    pub(in crate::rpc) arriving: [Option<StreamRef>; LANES as usize],
    /// A grant is due, of one of these or of a stream.
    pub(in crate::rpc) is_due: bool,
    /// The shortest seen.
    round_trip: Option<Duration>,
    /// The last ping sent to measure it: its number, and when.
    probe: Option<(u32, Instant)>,
}

impl Inflows {
    pub(in crate::rpc) fn new(config: &Config, now: Instant) -> Self {
        Self {
            data: Inflow::new(config.data_window, now),
            requests: Inflow::new(config.request_window, now),
            responses: Inflow::new(config.response_window, now),
            arriving: [None; LANES as usize],
            is_due: false,
            round_trip: None,
            probe: None,
        }
    }

    pub(in crate::rpc) fn of(&mut self, window: Window) -> &mut Inflow {
        match window {
            Window::Data => &mut self.data,
            Window::Requests => &mut self.requests,
            Window::Responses => &mut self.responses,
        }
    }

    /// A message that costs this much begins. What it takes of the window can make a grant due of
    /// what is released already: those who send to consumers that are not slow must not wait
    /// for the slow ones' next release (§5.12.7).
    pub(in crate::rpc) fn begin(&mut self, window: Window, cost: u32) -> Result<(), Overdrawn> {
        let inflow = self.of(window);
        inflow.begin(cost)?;
        self.is_due |= inflow.is_shared_grant_due();
        Ok(())
    }

    /// The number of the next ping that measures, if it is time for one.
    fn next_probe(&mut self, now: Instant) -> Option<u32> {
        let (number, at) = match self.probe {
            None => (0, None),
            Some((number, at)) => (number, Some(at)),
        };
        if at.is_some_and(|at| now.since(at) < MEASURE_INTERVAL) {
            return None;
        }
        let number = number.wrapping_add(1).max(1);
        self.probe = Some((number, now));
        Some(number)
    }

    /// A pong came.
    pub(in crate::rpc) fn measured(&mut self, now: Instant, number: u32) {
        if let Some((_, at)) = self.probe.filter(|&(probe, _)| probe == number) {
            let sample = now.since(at);
            self.round_trip = Some(self.round_trip.map_or(sample, |shortest| shortest.min(sample)));
        }
    }
}

impl Connection {
    /// Sends a chunk. It is taken only when the peer has room for it, so nothing is queued without
    /// bound; the order of a stream's chunks is kept.
    ///
    /// # Errors
    /// See [`StreamError`]; nothing changed. After `Blocked` an [`Event::Sendable`] says when to
    /// try again.
    pub fn send(
        &mut self,
        now: Now,
        stream: StreamRef,
        body: Body<'_>,
        attachments: &[Bytes],
    ) -> Result<(), StreamError> {
        self.check_open(stream)?;
        let len_max = match &self.phase {
            Phase::Open(peer) => peer.message_len_max,
            _ => self.config.message_len_max,
        };
        if !are_fitting(body.len(), attachments, len_max) {
            return Err(StreamError::TooLarge);
        }
        let has_room = self.has_room_for_chunks();
        let Some(sender) = self.streams.sender(stream) else {
            return Err(StreamError::Finished);
        };
        if !has_room || !sender.is_sendable() {
            self.streams.block(stream);
            return Err(StreamError::Blocked);
        }
        let len = content_len(body.len(), attachments);
        sender.outflow.begin(cost(len));
        self.queue_data(now, stream, 0, body, attachments);
        Ok(())
    }

    /// Sends no more chunks of this stream; the peer is told after those sent before.
    ///
    /// # Errors
    /// `Ended` and `Finished`, as [`StreamError`] has them.
    pub fn finish(&mut self, now: Now, stream: StreamRef) -> Result<(), StreamError> {
        self.check_open(stream)?;
        let Some(sender) = self.streams.sender(stream) else {
            return Err(StreamError::Finished);
        };
        sender.is_finished = true;
        if sender.is_open {
            self.queue_data(now, stream, FLAG_END, Body::EMPTY, &[]);
        }
        Ok(())
    }

    /// Gives back what a message held, so that the peer may send as much again.
    #[expect(clippy::needless_pass_by_value, reason = "what is given back is gone")]
    pub fn release(&mut self, now: Now, held: Held) {
        let Held { window, stream, cost } = held;
        if cost == 0 || self.is_closed() {
            return;
        }
        let (config, round_trip) = (&self.config, self.inflows.round_trip);
        if let Some(of) = stream
            && let Some(reader) = self.streams.reader(of)
        {
            if reader.inflow.release(now.mono, cost, round_trip) {
                let wanted = (2 * reader.inflow.window()).min(u64::from(config.stream_window_max));
                let all = (4 * wanted).min(u64::from(config.data_window_max));
                self.inflows.data.widen(all);
                reader.inflow.widen(wanted.min(self.inflows.data.window() / 4));
            }
            if reader.inflow.is_grant_due() {
                self.streams.owe_grant(of);
                self.inflows.is_due = true;
            }
        }
        let window_max = match window {
            Window::Data => config.data_window_max,
            Window::Requests => config.request_window_max,
            Window::Responses => config.response_window_max,
        };
        let inflow = self.inflows.of(window);
        if inflow.release(now.mono, cost, round_trip) {
            inflow.widen((2 * inflow.window()).min(u64::from(window_max)));
        }
        if inflow.is_shared_grant_due() {
            self.inflows.is_due = true;
        }
    }

    /// Gives back what the request of a call of the peer holds, before the call ends: for handlers
    /// that live long and are done with the request's bytes. A second time does nothing.
    pub fn release_request(&mut self, now: Now, id: InboundId) {
        let cost = self.inbound.release(id);
        self.release(now, Held { window: Window::Requests, stream: None, cost });
    }

    /// Whether this stream may be sent to as far as its state goes (§5.11.3).
    fn check_open(&mut self, stream: StreamRef) -> Result<(), StreamError> {
        let is_open = match stream {
            StreamRef::Call(call) => self.calls.get(call).is_some(),
            StreamRef::Inbound(id) => self.inbound.is_open(id),
        };
        if !is_open {
            return Err(StreamError::Ended);
        }
        match self.streams.sender(stream) {
            Some(sender) if !sender.is_finished => Ok(()),
            _ => Err(StreamError::Finished),
        }
    }

    fn has_room_for_chunks(&mut self) -> bool {
        self.outflows.data.has_room() && !self.is_full()
    }

    fn queue_data(
        &mut self,
        now: Now,
        stream: StreamRef,
        flags: u8,
        body: Body<'_>,
        attachments: &[Bytes],
    ) {
        let (call, flags, owner) = match stream {
            StreamRef::Call(call) => (call.0, flags, Owner::Call(call.0)),
            StreamRef::Inbound(id) => (id.call, flags | FLAG_FROM_CALLEE, Owner::Inbound(id.call)),
        };
        self.stats.chunks_out += 1;
        let header = FrameHeader { flags, ..FrameHeader::new(Kind::Data, call) };
        // A little of what streams send may go among the small messages; more than that waits its
        // turn.
        let is_direct = self.outbox.len() < self.config.fragment_len && !self.flows.has(owner);
        let window = (flags & FLAG_END == 0).then_some(Window::Data);
        let cost = if window.is_some() { cost(content_len(body.len(), attachments)) } else { 0 };
        if is_direct && body.is_small() && attachments.is_empty() {
            self.outflows.begin_chunk(cost);
            self.outbox.plain(header, &body);
            return self.share(now);
        }
        let (stamp, content) = (Timestamp::default(), Content::new(body, attachments));
        let is_small = content.len() <= COPY_LEN_MAX;
        let mut message =
            Message { header, stamp, deadline: None, headers: Headers::new(), content, window };
        if is_direct && is_small {
            self.outflows.begin_chunk(cost);
            self.outbox.whole(now.mono, &mut message);
            return self.share(now);
        }
        self.outflows.data.reserve(cost);
        self.flows.push(owner, message, self.outbox.position());
    }

    /// A streaming call opened. One of ours is held until its request begins.
    pub(in crate::rpc) fn open_stream(&mut self, now: Now, of: StreamRef, shape: Shape) {
        let outgoing = match of {
            StreamRef::Call(_) => None,
            StreamRef::Inbound(_) => self.peer().map(|peer| peer.stream_window),
        };
        self.streams.open(of, shape, self.config.stream_window, outgoing, now.mono);
    }

    /// The request of this call has begun, if it was not before: its stream may follow. Chunks of
    /// requests that wait for credit would take the room of those that running handlers wait
    /// for.
    pub(in crate::rpc) fn begin_stream(&mut self, now: Now, call: CallId) {
        let of = StreamRef::Call(call);
        let Some(window) = self.peer().map(|peer| peer.stream_window) else { return };
        if self.calls.get(call).is_none_or(|open| open.position.is_none()) {
            return;
        }
        let Some(sender) = self.streams.sender(of).filter(|sender| !sender.is_open) else {
            return;
        };
        sender.begin(window);
        if sender.is_finished {
            self.queue_data(now, of, FLAG_END, Body::EMPTY, &[]);
        } else {
            self.unblock_one(of);
        }
    }

    /// Tells the streams that were refused and may try again.
    pub(in crate::rpc) fn unblock(&mut self) {
        if self.streams.has_blocked() && self.has_room_for_chunks() {
            let events = &mut self.events;
            self.streams.unblock_all(|of| events.push_back(Event::Sendable(of)));
        }
    }

    /// Tells this stream, if it was refused and may try again.
    pub(in crate::rpc) fn unblock_one(&mut self, of: StreamRef) {
        if self.has_room_for_chunks() && self.streams.unblock(of) {
            self.events.push_back(Event::Sendable(of));
        }
    }

    /// Whether there is something for [`Connection::grant`] to look at: also what it passed over
    /// while answers waited. Not once it is closed: half a frame may have been given out, whose
    /// other half a grant would be taken for.
    pub(in crate::rpc) fn is_grant_due(&self) -> bool {
        let is_passed_over = || {
            self.inflows.requests.is_shared_grant_due()
                && self.answers_len() < self.config.outbound_len_max
        };
        !self.is_closed() && (self.inflows.is_due || is_passed_over())
    }

    /// Sends the grants that are due, one a window at most (§5.12.7).
    pub(in crate::rpc) fn grant(&mut self, now: Now) {
        self.inflows.is_due = false;
        while let Some((of, total)) = self.streams.pop_grant() {
            let (call, flags) = match of {
                StreamRef::Call(call) => (call.0, 0),
                StreamRef::Inbound(id) => (id.call, FLAG_FROM_CALLEE),
            };
            let header = FrameHeader { flags, ..FrameHeader::new(Kind::Credit, call) };
            self.outbox.plain(header, &total.to_le_bytes());
        }
        let are_answers_waiting = self.answers_len() >= self.config.outbound_len_max;
        for window in Window::ALL {
            if window == Window::Requests && are_answers_waiting {
                continue;
            }
            if self.inflows.of(window).is_shared_grant_due() {
                let total = self.inflows.of(window).grant();
                let header =
                    FrameHeader { code: window as u16, ..FrameHeader::new(Kind::Credit, 0) };
                self.outbox.plain(header, &total.to_le_bytes());
            }
        }
        if let Some(number) = self.inflows.next_probe(now.mono) {
            self.outbox.plain(FrameHeader::new(Kind::Ping, number), &[]);
        }
    }
}
