//! Two machines, their applications, and the bytes between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chinwag::Bytes;
use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc};
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::rpc::{
    Body, CallId, Connection, Event, Fingerprint, Flush, Headers, Held, Hello, InboundId, Receiver,
    Request, Shape, Side, StreamError, StreamRef, Transmit,
};
use chinwag_core::time::{Instant, Now};

use super::super::cluster::Digest;
use super::Search;
use super::stories::{Ask, Story};
use crate::clock::HostClock;

/// Bytes on their way from one end beyond which it writes nothing more: a socket's buffer.
const PIPE_LEN: usize = 32 * 1024;
/// Time after which nothing moves any more.
const HORIZON: Duration = Duration::from_secs(3_600);
/// How often a stubborn caller asks: more often than its calls can have waited for room until then.
const ASKS_MAX: u8 = 6;

/// What can happen next, at one end or at both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The end writes once.
    Write(usize),
    /// It reads once.
    Read(usize),
    /// Its application hears one event.
    Hear(usize),
    /// The handler that has run for longest answers.
    Answer(usize),
    /// The oldest answer that waits for its caller is taken.
    Take(usize),
    /// The oldest call is given up.
    Drop(usize),
    /// Time passes until the next timer.
    Pass,
}

/// Every act.
pub(super) const ACTS: [Act; 13] = [
    Act::Write(0),
    Act::Write(1),
    Act::Read(0),
    Act::Read(1),
    Act::Hear(0),
    Act::Hear(1),
    Act::Answer(0),
    Act::Answer(1),
    Act::Take(0),
    Act::Take(1),
    Act::Drop(0),
    Act::Drop(1),
    Act::Pass,
];

/// What an application has under way at one end.
#[derive(Debug, Default)]
struct App {
    /// Calls of its own, with what they ask, for the how-manieth time.
    own: BTreeMap<CallId, (Ask, u8)>,
    /// Calls of handlers: whose, and the request that the handler holds.
    nested: BTreeMap<CallId, (InboundId, Bytes)>,
    /// Handlers that need nothing more to answer: the request that each holds, and its answer.
    running: VecDeque<(InboundId, Bytes, usize)>,
    /// Chunks that are to be sent, in order, of the streams here, and whether the end follows.
    sending: BTreeMap<StreamRef, (VecDeque<Bytes>, bool)>,
    /// Answers that wait to be taken, and those that nobody takes.
    held: VecDeque<(CallId, Held)>,
    untaken: Vec<(CallId, Held)>,
    drops_left: u32,
}

struct End {
    machine: Connection,
    receiver: Receiver,
    app: App,
    /// Bytes on their way here.
    pipe: Vec<u8>,
}

/// See the [module](self).
pub(super) struct Pair {
    ends: [End; 2],
    now: Now,
    hurries_left: u32,
}

fn body(first: u8, len: usize) -> Bytes {
    let mut body = vec![b'.'; len];
    body[0] = first;
    body.into()
}

fn request(body: Bytes) -> Request<'static> {
    Request {
        service: "s",
        method: "m",
        fingerprint: Fingerprint::new(9),
        headers: Headers::new(),
        deadline: None,
        body: body.into(),
        attachments: &[],
        shape: Shape::UNARY,
        chunk_len_max: 0,
        depth: 0,
        caller: 0,
    }
}

impl End {
    fn new(at: usize, story: &Story, search: &Search, now: Now) -> Self {
        let (side, id) = [(Side::Dialer, 1), (Side::Acceptor, 2)][at];
        let addr = crate::host::first_addr(id);
        let id = NodeId::new(id.into());
        let hello = Hello { cluster: "c".into(), id, epoch: Epoch::new(7), addr };
        let clock = Arc::new(SharedHlc::new(DRIFT_MAX_DEFAULT));
        let config = Arc::new(story.config.clone());
        let (mut machine, receiver) = Connection::new(side, config, hello, clock, now);
        machine.stop_stamps();
        search.defect.into_iter().for_each(|defect| machine.make_mutant(defect));
        let app = App { drops_left: search.drops, ..App::default() };
        Self { machine, receiver, app, pipe: Vec::new() }
    }

    fn read(&mut self, now: Now) {
        let buffer = self.receiver.buffer();
        let len = buffer.len().min(self.pipe.len());
        buffer[..len].copy_from_slice(&self.pipe[..len]);
        self.pipe.drain(..len);
        self.machine.handle_received(now, &mut self.receiver, len);
    }

    fn write(&mut self, now: Now, to: &mut Vec<u8>) {
        let mut out = Transmit::new();
        self.machine.poll_transmit(now, &mut out);
        while !out.is_empty() {
            let before = to.len();
            out.slices().for_each(|slice| to.extend_from_slice(slice));
            out.advance(to.len() - before);
        }
    }

    fn ask(&mut self, now: Now, ask: Ask, nth: u8) {
        let (bytes, shape, declared) = match ask {
            Ask::Hops { count, len } => (body(count, len), Shape::UNARY, 0),
            Ask::Stubborn { len } => (body(0, len), Shape::UNARY, 0),
            // How long the answer is to be.
            Ask::Fetch { thousands, .. } => (vec![0, thousands].into(), Shape::UNARY, 0),
            Ask::Echo { declared, .. } => (body(0, 1), Shape::BIDIRECTIONAL, declared),
        };
        let request = Request { shape, chunk_len_max: declared, ..request(bytes) };
        let Ok(call) = self.machine.request(now, request) else { return };
        self.app.own.insert(call, (ask, nth));
        if let Ask::Echo { chunks, len, .. } = ask {
            let chunks = (0..chunks).map(|_| body(b'.', len)).collect();
            self.app.sending.insert(StreamRef::Call(call), (chunks, true));
            self.send(now, StreamRef::Call(call));
        }
    }

    fn hear(&mut self, now: Now) {
        let Some(event) = self.machine.poll_event() else { return };
        match event {
            Event::Request { shape, .. } if shape.is_streaming() => {}
            Event::Request { id, body, depth, .. } => self.handle(now, id, body, depth),
            Event::Response { call, result, held, .. } => {
                self.answered(now, call, result.is_ok(), held);
            }
            Event::AnswerDropped(call) => {
                self.app.held.retain(|(of, _)| *of != call);
                self.app.untaken.retain(|(of, _)| *of != call);
            }
            Event::Chunk { stream, body, held, .. } => {
                self.machine.release(now, held);
                // The handler gives it back; the caller has had what it sent.
                if matches!(stream, StreamRef::Inbound(_)) {
                    self.app.sending.entry(stream).or_default().0.push_back(body);
                    self.send(now, stream);
                }
            }
            Event::Finished(stream @ StreamRef::Inbound(_)) => {
                self.app.sending.entry(stream).or_default().1 = true;
                self.send(now, stream);
            }
            Event::Cancelled(id) => {
                self.app.running.retain(|(of, ..)| *of != id);
                self.app.sending.remove(&StreamRef::Inbound(id));
                // The calls of a handler end with it.
                let mine = |of: &(&CallId, &(InboundId, Bytes))| of.1.0 == id;
                let calls: Vec<_> = self.app.nested.iter().filter(mine).map(|of| *of.0).collect();
                for call in calls {
                    self.app.nested.remove(&call);
                    self.machine.cancel(now, call);
                }
            }
            Event::Sendable(stream) => self.send(now, stream),
            _ => {}
        }
    }

    fn handle(&mut self, now: Now, id: InboundId, bytes: Bytes, depth: u8) {
        if bytes[0] == 0 {
            let len = if bytes.len() == 2 { usize::from(bytes[1]) * 1_000 } else { 1 };
            return self.app.running.push_back((id, bytes, len));
        }
        let further = body(bytes[0] - 1, bytes.len());
        match self.machine.request(now, Request { depth: depth + 1, ..request(further) }) {
            Ok(call) => drop(self.app.nested.insert(call, (id, bytes))),
            Err(_) => self.app.running.push_back((id, bytes, 1)),
        }
    }

    fn answered(&mut self, now: Now, call: CallId, is_ok: bool, held: Held) {
        self.app.sending.remove(&StreamRef::Call(call));
        if let Some((id, bytes)) = self.app.nested.remove(&call) {
            self.machine.release(now, held);
            return self.app.running.push_back((id, bytes, 1));
        }
        match self.app.own.remove(&call) {
            Some((Ask::Fetch { is_taken: false, .. }, _)) if is_ok => {
                self.app.untaken.push((call, held));
            }
            Some((ask @ Ask::Stubborn { .. }, nth)) if !is_ok && nth < ASKS_MAX => {
                self.ask(now, ask, nth + 1);
            }
            _ if held.is_nothing() => {}
            _ => self.app.held.push_back((call, held)),
        }
    }

    fn answer(&mut self, now: Now) {
        let Some((id, _request, len)) = self.app.running.pop_front() else { return };
        let _ = self.machine.respond(now, id, Ok(Body::Owned(body(b'.', len))));
    }

    /// Sends what a stream may send now. A chunk that is too large ends its call.
    fn send(&mut self, now: Now, stream: StreamRef) {
        let Some((chunks, is_last)) = self.app.sending.get_mut(&stream) else { return };
        while let Some(chunk) = chunks.front() {
            match self.machine.send(now, stream, Body::Owned(chunk.clone()), &[]) {
                Ok(()) => drop(chunks.pop_front()),
                Err(StreamError::Blocked) => return,
                Err(_) => {
                    self.app.sending.remove(&stream);
                    if let StreamRef::Call(call) = stream {
                        self.machine.cancel(now, call);
                        self.app.own.remove(&call);
                    }
                    return;
                }
            }
        }
        if std::mem::take(is_last) {
            let _ = match stream {
                StreamRef::Call(_) => self.machine.finish(now, stream).is_ok(),
                StreamRef::Inbound(id) => self.machine.respond(now, id, Ok(Body::EMPTY)).is_ok(),
            };
        }
    }

    fn give_up(&mut self, now: Now) {
        let Some((call, _)) = self.app.own.pop_first() else { return };
        self.app.drops_left -= 1;
        self.app.sending.remove(&StreamRef::Call(call));
        self.machine.cancel(now, call);
    }

    fn has_ended(&self) -> bool {
        let App { own, nested, running, held, .. } = &self.app;
        own.is_empty()
            && nested.is_empty()
            && running.is_empty()
            && held.is_empty()
            && self.machine.calls_open() + self.machine.inbound_open() == 0
            && !self.machine.is_closed()
    }
}

impl Pair {
    /// Both have said hello, and each has asked all that it asks.
    pub(super) fn new(story: &Story, search: &Search) -> Self {
        let now = HostClock::right().read(0);
        let ends = [0, 1].map(|at| End::new(at, story, search, now));
        let mut pair = Self { ends, now, hurries_left: search.hurries };
        for at in [0, 1, 0, 1] {
            pair.act(Act::Write(at));
            while !pair.ends[1 - at].pipe.is_empty() {
                pair.act(Act::Read(1 - at));
            }
            pair.act(Act::Hear(1 - at));
        }
        for (end, asks) in pair.ends.iter_mut().zip(story.asks) {
            asks.iter().for_each(|&ask| end.ask(now, ask, 1));
        }
        pair
    }

    pub(super) fn act(&mut self, act: Act) {
        let now = self.now;
        match act {
            Act::Write(at) => {
                let [one, other] = &mut self.ends;
                let (from, to) = if at == 0 { (one, other) } else { (other, one) };
                from.write(now, &mut to.pipe);
            }
            Act::Read(at) => self.ends[at].read(now),
            Act::Hear(at) => self.ends[at].hear(now),
            Act::Answer(at) => self.ends[at].answer(now),
            Act::Take(at) => {
                if let Some((_, held)) = self.ends[at].app.held.pop_front() {
                    self.ends[at].machine.release(now, held);
                }
            }
            Act::Drop(at) => self.ends[at].give_up(now),
            Act::Pass => {
                self.hurries_left -= u32::from(!self.is_at_rest());
                let by = self.next_timer().map_or(Duration::ZERO, |at| at.since(now.mono));
                self.now = Now { mono: now.mono + by, wall: now.wall + by };
                let now = self.now;
                self.ends.iter_mut().for_each(|end| end.machine.handle_timeout(now));
            }
        }
        for end in &mut self.ends {
            drop(end.machine.take_trash());
        }
    }

    /// One that is due and has done nothing does not count.
    fn next_timer(&self) -> Option<Instant> {
        let timers = self.ends.iter().filter_map(|end| end.machine.poll_timeout());
        timers.filter(|&at| at > self.now.mono && at < Instant::ZERO + HORIZON).min()
    }

    /// Nothing but time can pass, or a call be given up.
    fn is_at_rest(&self) -> bool {
        let acts = ACTS.iter().filter(|act| !matches!(act, Act::Pass | Act::Drop(_)));
        !acts.into_iter().any(|&act| self.can(act))
    }

    fn can(&self, act: Act) -> bool {
        match act {
            Act::Write(at) => {
                let is_open = self.ends[1 - at].pipe.len() < PIPE_LEN;
                is_open && !matches!(self.ends[at].machine.flush(), Flush::Nothing)
            }
            Act::Read(at) => !self.ends[at].pipe.is_empty(),
            Act::Hear(at) => self.ends[at].machine.has_events(),
            Act::Answer(at) => !self.ends[at].app.running.is_empty(),
            Act::Take(at) => !self.ends[at].app.held.is_empty(),
            Act::Drop(at) => {
                let App { own, drops_left, .. } = &self.ends[at].app;
                *drops_left > 0 && !own.is_empty()
            }
            Act::Pass => {
                self.next_timer().is_some() && (self.hurries_left > 0 || self.is_at_rest())
            }
        }
    }

    /// Nothing can happen any more, but that a call is given up.
    pub(super) fn is_over(&self) -> bool {
        self.is_at_rest() && !self.can(Act::Pass)
    }

    /// What may happen, as bits of [`ACTS`].
    pub(super) fn enabled(&self) -> u16 {
        ACTS.iter().enumerate().fold(0, |all, (nth, &act)| all | u16::from(self.can(act)) << nth)
    }

    /// Every call has ended, and nothing is on its way.
    pub(super) fn is_done(&self) -> bool {
        self.ends.iter().all(End::has_ended) && self.is_at_rest()
    }

    /// Of all that can matter later.
    pub(super) fn digest(&self) -> u128 {
        let mut all = Digest::default();
        all.add(&format_args!("{:?} {}", self.now.mono, self.hurries_left));
        for End { machine, receiver, app, pipe } in &self.ends {
            all.add(&format_args!("{:?}|{:?}|{app:?}", machine.state(), receiver.state()));
            all.add(&format_args!("|{:016x} {}", crate::trace::digest(pipe), pipe.len()));
        }
        all.value()
    }
}
