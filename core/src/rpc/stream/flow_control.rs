//! Streams on their way out, and credit: the verbs, and the grants that go to the peer
//! (`docs/protocol.md` §5.11, §5.12).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

use super::table::{Reserves, Sending};
use super::types::{Held, Shape, StreamError, StreamRef, What};
use crate::clock::Timestamp;
use crate::rpc::body::Body;
use crate::rpc::budget::{ALL_OF_IT, Budget, Charge};
use crate::rpc::config::{ATTACHMENTS_MAX, COPY_LEN_MAX, Config};
use crate::rpc::connection::Connection;
use crate::rpc::content::{Content, content_len};
use crate::rpc::credit::{Inflow, charge_of};
use crate::rpc::event::{CallId, Event};
use crate::rpc::flows::{Message, Owner};
use crate::rpc::frame::{FLAG_END, FLAG_FROM_CALLEE, FrameHeader, Kind, LANES};
use crate::rpc::headers::Headers;
use crate::rpc::mutant::Defect;
use crate::time::{Instant, Now};

/// How often the round trip is measured while grants are sent. It is a path's, and paths change
/// seldom.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// The number of the window of large answers (§5.12.7).
pub(in crate::rpc) const ANSWERS: u16 = 3;

/// What the connection's credit is about, at its receiver.
#[derive(Debug)]
pub(in crate::rpc) struct FlowControl {
    /// What requests and one-way messages of the peer hold (§5.12.3).
    pub(in crate::rpc) requests: Arc<Budget>,
    pub(in crate::rpc) reserves: Reserves,
    pub(in crate::rpc) answers: Inflow,
    /// What the window of answers is beyond its first size.
    answers_growth: Charge,
    /// Large answers that nobody has taken, oldest first. Some have been.
    untaken: VecDeque<Untaken>,
    serial: u64,
    /// Whose chunk comes in on each lane: its call's id may name another call by the time it is
    /// whole.
    pub(in crate::rpc) arriving: [Option<StreamRef>; LANES as usize],
    /// A grant is due, of the answers or of a stream.
    pub(in crate::rpc) is_due: bool,
    /// The shortest seen.
    round_trip: Option<Duration>,
    /// The last ping sent to measure it: its number, and when.
    probe: Option<(u32, Instant)>,
}

/// A large answer that the application has not taken.
#[derive(Debug)]
struct Untaken {
    serial: u64,
    call: CallId,
    since: Instant,
    /// 0 once it is taken, or dropped.
    charge: u32,
}

impl FlowControl {
    pub(in crate::rpc) fn new(config: &Config, node: Option<&Arc<Budget>>, now: Instant) -> Self {
        let growth = Budget::within(usize::MAX, node.cloned());
        let of = |max: u32| Budget::within(max as usize, node.cloned());
        Self {
            requests: of(config.request_budget),
            reserves: Reserves {
                reserves: of(config.stream_reserve_max),
                pool: of(config.stream_pool_max),
            },
            answers: Inflow::new(config.response_window, now),
            answers_growth: growth.draw(0, ALL_OF_IT).expect("nothing always fits"),
            untaken: VecDeque::new(),
            serial: 0,
            arriving: [None; LANES as usize],
            is_due: false,
            round_trip: None,
            probe: None,
        }
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

    /// A large answer is whole: what the application holds until it takes it.
    pub(in crate::rpc) fn hold_answer(&mut self, now: Instant, call: CallId, charge: u32) -> Held {
        self.serial += 1;
        let serial = self.serial;
        self.untaken.push_back(Untaken { serial, call, since: now, charge });
        Held(What::Answer { serial, charge })
    }

    /// A large answer has been taken, or dropped: what it was charged, if it was not before.
    fn take_answer(&mut self, serial: u64) -> u32 {
        let at = self.untaken.binary_search_by_key(&serial, |untaken| untaken.serial);
        let charge = at.map_or(0, |at| core::mem::take(&mut self.untaken[at].charge));
        while self.untaken.front().is_some_and(|untaken| untaken.charge == 0) {
            self.untaken.pop_front();
        }
        charge
    }

    /// The window of answers has room for as much again.
    pub(in crate::rpc) fn release_answer(&mut self, config: &Config, now: Instant, charge: u32) {
        if charge == 0 {
            return;
        }
        if self.answers.release(now, charge, self.round_trip) {
            let (old, max) = (self.answers.window(), u64::from(config.response_window_max));
            let wanted = (2 * old).min(max);
            if usize::try_from(wanted - old).is_ok_and(|more| self.answers_growth.add(more)) {
                self.answers.widen(wanted);
            }
        }
        self.is_due |= self.answers.is_shared_grant_due();
    }

    /// When the oldest answer that nobody takes is to be dropped, if others may wait for its room
    /// (§5.12.7).
    pub(in crate::rpc) fn drop_answer_at(&self, config: &Config) -> Option<Instant> {
        let oldest = self.untaken.front().filter(|_| self.answers.is_exhausted())?;
        Some(oldest.since + config.answer_wait_max)
    }

    /// Everything has ended: nothing is charged any more.
    pub(in crate::rpc) fn clear(&mut self) {
        self.untaken.clear();
        self.arriving = [None; LANES as usize];
        self.is_due = false;
    }
}

impl Connection {
    /// Draws what this connection holds for its peer on the budget of its node, too
    /// (`docs/protocol.md` §5.12.9). To be called before anything has come.
    pub fn draw_on(&mut self, node: &Arc<Budget>) {
        self.flow = FlowControl::new(&self.config, Some(node), self.started);
    }

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
        let sent = self.check_chunk(stream, content_len(body.len(), attachments), attachments);
        match sent {
            Ok(charge) => {
                if let Some(outflow) = self.streams.outflow(stream) {
                    outflow.begin(charge);
                }
                self.queue_data(now, stream, 0, body, attachments);
                Ok(())
            }
            Err(error) => {
                self.outbox.trash.put_body(body);
                Err(error)
            }
        }
    }

    /// What a chunk of `len` bytes is charged, if it may be sent now (§5.11.3, §5.12.6).
    fn check_chunk(
        &mut self,
        of: StreamRef,
        len: usize,
        attachments: &[Bytes],
    ) -> Result<u32, StreamError> {
        let has_room = self.has_room_for_chunks(of);
        let is_over = !self.is_call_open(of);
        let is_bounded = !self.has_defect(Defect::ChunkExceedsReserve);
        let Some(stream) = self.streams.get(of).filter(|_| !is_over) else {
            return Err(if is_over { StreamError::Ended } else { StreamError::Finished });
        };
        let len_max = stream.chunk_len_max as usize;
        let is_open = match &stream.sending {
            Sending::None | Sending::Finished => return Err(StreamError::Finished),
            Sending::Held { finishes: true } => return Err(StreamError::Finished),
            _ if len > len_max && is_bounded || attachments.len() > ATTACHMENTS_MAX => {
                return Err(StreamError::TooLarge { len, len_max });
            }
            Sending::Held { .. } => false,
            Sending::Open(outflow) => outflow.has_room(charge_of(len)),
        };
        if !is_open || !has_room {
            self.streams.block(of, charge_of(len));
            return Err(StreamError::Blocked);
        }
        Ok(charge_of(len))
    }

    /// Sends no more chunks of this stream; the peer is told after those sent before.
    ///
    /// # Errors
    /// `Ended` and `Finished`, as [`StreamError`] has them.
    pub fn finish(&mut self, now: Now, stream: StreamRef) -> Result<(), StreamError> {
        if !self.is_call_open(stream) {
            return Err(StreamError::Ended);
        }
        match self.streams.get(stream).map(|stream| &mut stream.sending) {
            Some(Sending::Held { finishes }) if !*finishes => *finishes = true,
            Some(sending @ Sending::Open(_)) => {
                *sending = Sending::Finished;
                self.queue_data(now, stream, FLAG_END, Body::EMPTY, &[]);
            }
            _ => return Err(StreamError::Finished),
        }
        Ok(())
    }

    /// Gives back what a message held, so that the peer may send as much again.
    #[expect(clippy::needless_pass_by_value, reason = "what is given back is gone")]
    pub fn release(&mut self, now: Now, held: Held) {
        if self.is_closed() {
            return;
        }
        match held.0 {
            What::Nothing => {}
            What::Answer { serial, .. } => {
                let charge = self.flow.take_answer(serial);
                self.flow.release_answer(&self.config, now.mono, charge);
            }
            What::Chunk { stream, charge, .. } => self.release_chunk(now, stream, charge),
        }
    }

    fn release_chunk(&mut self, now: Now, of: StreamRef, charge: u32) {
        let config = &self.config;
        let Some(reader) = self.streams.reader(of) else { return };
        if reader.inflow.release(now.mono, charge, self.flow.round_trip) {
            let old = reader.inflow.window();
            let max = config.stream_window_max.min(config.stream_pool_max / 4);
            let wanted = (2 * old).min(u64::from(max)).max(old);
            if reader.window.grow(wanted - old) {
                reader.inflow.widen(wanted);
            }
        }
        if reader.inflow.is_grant_due() {
            self.streams.owe_grant(of);
            self.flow.is_due = true;
        }
    }

    /// Drops answers that nobody takes while others wait for their room (§5.12.7).
    pub(in crate::rpc) fn drop_untaken(&mut self, now: Instant) {
        while !self.has_defect(Defect::UntakenStays)
            && self.flow.drop_answer_at(&self.config).is_some_and(|at| at <= now)
            && let Some(Untaken { serial, call, .. }) = self.flow.untaken.front()
        {
            let (serial, call) = (*serial, *call);
            let charge = self.flow.take_answer(serial);
            self.flow.release_answer(&self.config, now, charge);
            self.stats.answers_dropped += 1;
            self.events.push_back(Event::AnswerDropped(call));
        }
    }

    fn is_call_open(&self, stream: StreamRef) -> bool {
        match stream {
            StreamRef::Call(call) => self.calls.get(call).is_some(),
            StreamRef::Inbound(id) => self.inbound.is_open(id),
        }
    }

    /// Whether another chunk of this stream may wait for the socket: one may always (§5.7.4).
    fn has_room_for_chunks(&self, of: StreamRef) -> bool {
        !self.is_socket_behind()
            || !self.flows.has(owner_of(of)) && !self.has_defect(Defect::OneLimitForAll)
    }

    fn queue_data(
        &mut self,
        now: Now,
        stream: StreamRef,
        flags: u8,
        body: Body<'_>,
        attachments: &[Bytes],
    ) {
        let owner = owner_of(stream);
        let (number, flags) = match stream {
            StreamRef::Call(call) => {
                (self.calls.get(call).and_then(|open| open.number()).unwrap_or(0), flags)
            }
            StreamRef::Inbound(id) => (id.call, flags | FLAG_FROM_CALLEE),
        };
        self.stats.chunks_out += 1;
        let header = FrameHeader { flags, ..FrameHeader::new(Kind::Data, number) };
        // A little of what streams send may go among the small messages; more than that waits its
        // turn.
        let is_direct = self.outbox.len() < self.config.fragment_len && !self.flows.has(owner);
        if is_direct && body.is_small() && attachments.is_empty() {
            self.outbox.plain(header, &body);
            self.outbox.trash.put_body(body);
            return self.share(now);
        }
        let (stamp, content) =
            (Timestamp::default(), Content::new(body, attachments, &mut self.outbox.trash));
        let is_small = content.len() <= COPY_LEN_MAX;
        let mut message = Message {
            header,
            stamp,
            deadline: None,
            headers: Headers::new(),
            content,
            chunk_len_max: 0,
        };
        if is_direct && is_small {
            self.outbox.whole(now.mono, &mut message);
            return self.share(now);
        }
        self.flows.push(owner, message, self.outbox.position());
    }

    /// A streaming call of the peer opens. Whether there is room for it.
    pub(in crate::rpc) fn accept_stream(
        &mut self,
        now: Now,
        of: StreamRef,
        shape: Shape,
        declared: u32,
    ) -> bool {
        let has_room = self.streams.accept(of, shape, declared, &self.flow.reserves, now.mono);
        self.widen_unreserved(of);
        has_room
    }

    /// A streaming call of ours has a place on the wire: its chunks may come from now on, and go
    /// once the request has begun.
    pub(in crate::rpc) fn begin_stream(&mut self, now: Now, call: CallId) {
        let of = StreamRef::Call(call);
        self.streams.open_reader(of, &self.flow.reserves, now.mono);
        self.widen_unreserved(of);
        self.open_sender(now, call);
    }

    /// A mutant that promises nothing gives of the pool what that has.
    fn widen_unreserved(&mut self, of: StreamRef) {
        let window = self.config.stream_window;
        if self.has_defect(Defect::NoReserve)
            && let Some(reader) = self.streams.reader(of)
        {
            reader.widen_to(window);
            self.streams.owe_grant(of);
            self.flow.is_due = true;
        }
    }

    /// The request of this call has begun, if it was not before: its stream may follow.
    pub(in crate::rpc) fn open_sender(&mut self, now: Now, call: CallId) {
        let of = StreamRef::Call(call);
        if self.calls.get(call).is_none_or(|open| open.position().is_none()) {
            return;
        }
        let Some(stream) = self.streams.get(of) else { return };
        let Sending::Held { finishes } = stream.sending else { return };
        if finishes {
            stream.sending = Sending::Finished;
            self.queue_data(now, of, FLAG_END, Body::EMPTY, &[]);
        } else {
            let chunk_len_max = stream.chunk_len_max;
            let window = self.streams.first_window(chunk_len_max);
            if let Some(stream) = self.streams.get(of) {
                stream.open_sending(window);
            }
            self.unblock_one(of);
        }
    }

    /// Tells the streams that were refused and may try again.
    pub(in crate::rpc) fn unblock(&mut self) {
        if !self.streams.has_blocked() {
            return;
        }
        let is_behind = self.is_socket_behind();
        let is_strict = self.has_defect(Defect::OneLimitForAll);
        let Self { streams, events, flows, .. } = self;
        let has_room = |of| !is_behind || !is_strict && !flows.has(owner_of(of));
        streams.unblock_all(has_room, |of| events.push_back(Event::Sendable(of)));
    }

    /// Tells this stream, if it was refused and may try again.
    /// (`docs/protocol.md` §5.11.5)
    pub(in crate::rpc) fn unblock_one(&mut self, of: StreamRef) {
        if self.has_room_for_chunks(of) && self.streams.unblock(of) {
            self.events.push_back(Event::Sendable(of));
        }
    }

    /// Whether there is something for [`Connection::grant`] to send. Not once it is closed: half a
    /// frame may have been given out, whose other half a grant would be taken for.
    pub(in crate::rpc) fn is_grant_due(&self) -> bool {
        !self.is_closed() && self.flow.is_due
    }

    /// Sends the grants that are due, one a window at most (§5.12.8).
    pub(in crate::rpc) fn grant(&mut self, now: Now) {
        self.flow.is_due = false;
        while let Some((of, total)) = self.streams.pop_grant() {
            let (number, flags) = match of {
                StreamRef::Call(call) => {
                    (self.calls.get(call).and_then(|open| open.number()).unwrap_or(0), 0)
                }
                StreamRef::Inbound(id) => (id.call, FLAG_FROM_CALLEE),
            };
            let header = FrameHeader { flags, ..FrameHeader::new(Kind::Credit, number) };
            self.outbox.plain(header, &total.to_le_bytes());
        }
        if self.flow.answers.is_shared_grant_due() {
            let total = self.flow.answers.grant();
            let header = FrameHeader { code: ANSWERS, ..FrameHeader::new(Kind::Credit, 0) };
            self.outbox.plain(header, &total.to_le_bytes());
        }
        if let Some(number) = self.flow.next_probe(now.mono) {
            self.outbox.plain(FrameHeader::new(Kind::Ping, number), &[]);
        }
    }
}

/// Whose flow the chunks of a stream are in.
fn owner_of(stream: StreamRef) -> Owner {
    match stream {
        StreamRef::Call(call) => Owner::Call(call),
        StreamRef::Inbound(id) => Owner::Inbound(id.call),
    }
}
