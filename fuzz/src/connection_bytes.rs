//! Target `connection_bytes`: a peer that may say anything, to one
//! [`Connection`](chinwag_core::rpc::Connection).
//!
//! It may end the connection and nothing worse: no panic, no timer that spins, every call ended
//! once, and never more memory than `docs/protocol.md` §5.7.7 says, whatever the application holds
//! on to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::rpc::{
    CallId, Code, Config, Event, Fingerprint, Headers, Held, InboundId, Request, Shape, Status,
    StreamRef,
};
use chinwag_core::time::Now;

use crate::input::Input;
use crate::stream::{
    End, FLAG_MORE, Greeting, Head, KINDS, NO_TIMEOUT, extension, frame, header, hello, intern,
    later, pad, start,
};

/// Steps of one input at most, times that a frame is repeated, and bytes of the stream in all: what
/// fills every window several times.
const STEPS_MAX: usize = 200;
const REPEATS_MAX: usize = 400;
const STREAM_LEN_MAX: usize = 8 << 20;
/// What the application of this side asks to be sent, each time, takes at most this much beside its
/// body: names, and what is kept about a call.
const ASKED_OVERHEAD: usize = 2_048;

const SHAPES: [Shape; 4] =
    [Shape::UNARY, Shape::CLIENT_STREAMING, Shape::SERVER_STREAMING, Shape::BIDIRECTIONAL];

/// One input: what the peer says and what the application does. `allocated` says how many bytes the
/// process has allocated.
///
/// # Panics
/// If an invariant does not hold.
pub fn run(data: &[u8], allocated: fn() -> usize) {
    let mut input = Input::new(data);
    let mut story = Story::new(&mut input, allocated);
    for _ in 0..STEPS_MAX {
        if input.is_empty() || story.received > STREAM_LEN_MAX {
            break;
        }
        story.step(&mut input);
        story.check();
    }
    story.end();
}

/// The least of everything, so that a short input can reach it.
fn config() -> Config {
    Config {
        in_flight_max: 4,
        message_len_max: 40_000,
        headers_len_max: 256,
        request_budget: 100_000,
        stream_reserve_max: 200_000,
        stream_pool_max: 128 << 10,
        stream_window: 16 << 10,
        stream_window_max: 32 << 10,
        response_window: 16 << 10,
        response_window_max: 32 << 10,
        waiting_calls_max: 8,
        waiting_len_max: 64 << 10,
        answers_out_max: 64 << 10,
        methods_max: 4,
        outbound_len_max: 64 << 10,
        events_max: 16,
        recv_len: 32 << 10,
        transmit_len_max: 4 << 10,
        fragment_len: 16 << 10,
        ..Config::default()
    }
}

/// §5.7.7.
fn holds_max(config: &Config) -> usize {
    config.held_max()
}

struct Story {
    end: End,
    now: Now,
    chunk: usize,
    received: usize,
    last: Vec<u8>,
    /// What the application has not released.
    held: Vec<(Held, Bytes, Vec<Bytes>)>,
    inbound: BTreeMap<InboundId, Bytes>,
    open: BTreeSet<CallId>,
    begun: u64,
    ended: u64,
    is_closed: bool,
    allocated: fn() -> usize,
    before: usize,
    /// Bytes that this side's application has asked to be sent.
    asked: usize,
}

impl Story {
    fn new(input: &mut Input<'_>, allocated: fn() -> usize) -> Self {
        let before = allocated();
        let mut story = Self {
            end: End::new(1, config()),
            now: start(),
            chunk: usize::MAX,
            received: 0,
            last: Vec::new(),
            held: Vec::new(),
            inbound: BTreeMap::new(),
            open: BTreeSet::new(),
            begun: 0,
            ended: 0,
            is_closed: false,
            allocated,
            before,
            asked: 0,
        };
        if !input.u8().is_multiple_of(8) {
            story.say(hello(&Greeting::default()));
            story.say(intern(0, "echo", "say"));
        }
        story
    }

    fn say(&mut self, bytes: Vec<u8>) {
        self.received += bytes.len();
        self.end.receive(self.now, &bytes, self.chunk);
        self.last = bytes;
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 20 {
            0 => self.say(input.slice().to_vec()),
            1 => {
                let mut greeting = Greeting::default();
                greeting.limits[input.below(8)] = input.u32();
                greeting.versions = [input.u8(), input.u8()];
                self.say(hello(&greeting));
            }
            2..=5 => {
                let bytes = any_frame(input);
                self.say(bytes);
            }
            6 => {
                let bytes = header(head(input), u16::from(input.u8()), input.u32());
                self.say(bytes);
            }
            7 => {
                let bytes = fragmented(input);
                self.say(bytes);
            }
            8 | 9 => self.repeat(input),
            10 => self.chunk = [usize::MAX, 1, 15, 16, 17, 1_000, 4_096, 20_000][input.below(8)],
            11 => self.respond(input),
            12 => self.release(input),
            13 | 14 => self.ask(input),
            15 => {
                let by = Duration::from_millis(u64::from(input.u16()));
                self.now = later(self.now, by);
                self.end.tell_time(self.now);
            }
            16 => {
                if let Some(due) = self.end.machine.poll_timeout() {
                    self.now = later(self.now, due.since(self.now.mono));
                    self.end.tell_time(self.now);
                }
            }
            17 => self.take_events(),
            18 => {
                self.end.transmit(self.now, &mut Vec::new());
            }
            _ => drop(self.end.drain(self.now)),
        }
    }

    /// The last frame again and again, the same or of the next calls.
    fn repeat(&mut self, input: &mut Input<'_>) {
        let (count, moves) = (1 + usize::from(input.u16()) % REPEATS_MAX, input.bit());
        let mut bytes = std::mem::take(&mut self.last);
        for _ in 0..count {
            if self.received > STREAM_LEN_MAX {
                break;
            }
            if let Some(call) = bytes.get_mut(4..8).filter(|_| moves) {
                let number = u32::from_le_bytes([call[0], call[1], call[2], call[3]]);
                call.copy_from_slice(&number.wrapping_add(1).to_le_bytes());
            }
            self.received += bytes.len();
            self.end.receive(self.now, &bytes, self.chunk);
        }
        self.last = bytes;
    }

    fn respond(&mut self, input: &mut Input<'_>) {
        let at = usize::from(input.u8());
        let Some(id) = self.inbound.keys().nth(at % self.inbound.len().max(1)).copied() else {
            return;
        };
        self.inbound.remove(&id);
        let body = vec![7; usize::from(input.u8()) * 16];
        self.asked += body.len() + ASKED_OVERHEAD;
        let result =
            if input.bit() { Err(Status::new(Code::AppError, "no")) } else { Ok(body.into()) };
        // The machine may have ended the call by its deadline, which is an event that was not taken
        // yet.
        let _is_over = self.end.machine.respond(self.now, id, result);
    }

    fn release(&mut self, input: &mut Input<'_>) {
        let count = usize::from(input.u8()).min(self.held.len());
        for (held, ..) in self.held.drain(..count) {
            self.end.machine.release(self.now, held);
        }
    }

    /// The application of this side asks for something.
    fn ask(&mut self, input: &mut Input<'_>) {
        let (now, what, shape) = (self.now, input.u8() % 8, input.one_of(&SHAPES));
        let body = vec![5; usize::from(input.u8()) * 64];
        let stream = match (self.open.first(), self.inbound.keys().next()) {
            (Some(&call), _) if what.is_multiple_of(2) => Some(StreamRef::Call(call)),
            (_, Some(&id)) => Some(StreamRef::Inbound(id)),
            _ => None,
        };
        let machine = &mut self.end.machine;
        self.asked += body.len() + ASKED_OVERHEAD;
        let request = Request {
            service: "echo",
            method: "say",
            fingerprint: Fingerprint::new(9),
            headers: Headers::new(),
            deadline: input.bit().then(|| Duration::from_millis(u64::from(input.u8()))),
            body: (&body[..]).into(),
            attachments: &[],
            shape,
            chunk_len_max: 0,
            depth: 0,
            caller: 0,
        };
        match (what, stream) {
            (0 | 1, _) => {
                if let Ok(call) = machine.request(now, request) {
                    assert!(self.open.insert(call), "§5.4.1: an open call's id is not given out");
                    self.begun += 1;
                }
            }
            (2, _) => drop(machine.one_way(now, request)),
            (3, _) => drop(machine.gossip(now, &body)),
            (4, _) => {
                let call = self.open.iter().next().copied();
                if let Some(call) = call.filter(|&call| machine.cancel(now, call)) {
                    self.open.remove(&call);
                    self.begun -= 1;
                }
            }
            (5, Some(stream)) => drop(machine.finish(now, stream)),
            (6, Some(stream)) => drop(machine.send(now, stream, (&body[..]).into(), &[])),
            (7, _) if input.u8() == 255 => machine.go_away(now),
            _ => {}
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.end.event() {
            assert!(!self.is_closed, "§5.9.4: Closed is the last event, not {event:?}");
            match event {
                Event::Request { id, body, .. } => {
                    let before = self.inbound.insert(id, body);
                    assert!(before.is_none(), "§5.4: an id of the peer's calls is given out once");
                }
                Event::Cancelled(id) => drop(self.inbound.remove(&id)),
                Event::Response { call, result, attachments, held, .. } => {
                    assert!(self.open.remove(&call), "§5.4.2: {call:?} ends once");
                    self.ended += 1;
                    self.hold(held, result.unwrap_or_default(), attachments);
                }
                // What is charged to the request budget, whoever holds it.
                Event::OneWay { body, attachments, .. } if is_charged(&body, &attachments) => {
                    self.held.push((Held::NOTHING, body, attachments));
                }
                Event::Chunk { body, attachments, held, .. } => self.hold(held, body, attachments),
                Event::Closed(_) => {
                    self.is_closed = true;
                    self.inbound.clear();
                    assert!(self.open.is_empty(), "§5.9.4: every call ends with the connection");
                }
                _ => {}
            }
        }
    }

    /// The application keeps what counts against a window; what does not is its own.
    fn hold(&mut self, held: Held, body: Bytes, attachments: Vec<Bytes>) {
        if !held.is_nothing() {
            self.held.push((held, body, attachments));
        }
    }

    fn check(&mut self) {
        let config = config();
        assert!(
            self.end.machine.inbound_open() <= config.in_flight_max,
            "§5.4.5: calls of the peer"
        );
        let calls_max = config.in_flight_max as usize + config.waiting_calls_max;
        assert!(self.end.machine.calls_open() as usize <= calls_max, "§5.12.2: own calls");
        let holds = (self.allocated)().saturating_sub(self.before);
        // The last bytes of the stream are the peer's, and only kept here to be said again.
        let max = holds_max(&config) + self.asked + self.last.capacity();
        assert!(holds <= max, "§5.7.7: {holds} bytes are held, {max} at most");
    }

    fn end(mut self) {
        self.end.machine.handle_closed(self.now);
        self.take_events();
        assert!(self.is_closed, "§5.9.4: the end is told");
        assert_eq!(self.begun, self.ended, "§5.4.2: every call has ended once");
        assert_eq!(self.end.machine.poll_timeout(), None, "nothing is due after the end");
    }
}

fn head(input: &mut Input<'_>) -> Head {
    let kind = if input.u8() % 16 == 1 { input.u8() } else { input.one_of(&KINDS) };
    let (slot, generation) = (u32::from(input.u8() % 6), u32::from(input.u8() % 4));
    let flags = if input.u8() % 4 == 1 { input.u8() } else { input.u8() & 3 };
    let method = if input.u8() % 8 == 1 { input.u16() } else { 0 };
    Head { kind, flags, call: generation << 14 | slot, method, code: u16::from(input.u8() % 5) }
}

fn any_extension(input: &mut Input<'_>) -> Vec<u8> {
    let timeout = if input.u8() % 4 == 1 { input.uneven() } else { NO_TIMEOUT };
    let plain = extension(0, timeout);
    match input.u8() % 8 {
        0 => Vec::new(),
        1 => {
            let block = input.slice();
            let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
            [&plain, &len.to_le_bytes()[..], block].concat()
        }
        2 => {
            let parts: Vec<u8> =
                (0..=input.below(16)).flat_map(|_| u32::from(input.u16()).to_le_bytes()).collect();
            let count = u8::try_from(parts.len() / 4 - 1).unwrap_or(u8::MAX);
            [&plain, &[0, 0, count][..], &parts].concat()
        }
        3 => input.slice().to_vec(),
        4 => vec![input.u8(); usize::from(input.u16() % 4_096)],
        _ => plain,
    }
}

fn any_frame(input: &mut Input<'_>) -> Vec<u8> {
    let (head, extension) = (head(input), any_extension(input));
    match input.u8() % 4 {
        0 => frame(head, &extension, input.slice()),
        1 => frame(head, &extension, &vec![3; usize::from(input.u8())]),
        2 => frame(head, &extension, &vec![3; usize::from(input.u16())]),
        _ => frame(head, &extension, &input.u64().to_le_bytes()),
    }
}

/// A message in fragments, whole or not.
fn fragmented(input: &mut Input<'_>) -> Vec<u8> {
    let (mut first, extension) = (head(input), any_extension(input));
    let lane = (input.u8() % 4) << 5;
    first.flags |= FLAG_MORE | lane;
    let total = u32::from(input.u16());
    let mut bytes = header(first, u16::try_from(extension.len()).unwrap_or(u16::MAX), total);
    bytes.extend_from_slice(&extension[..extension.len().min(usize::from(u16::MAX))]);
    pad(&mut bytes);
    let mut left = total as usize;
    for _ in 0..input.below(6) {
        let piece = match input.u8() {
            255 => usize::from(input.u16()),
            byte => left.min(usize::from(byte) * 256),
        };
        let flags = lane | u8::from(input.u8() % 16 == 1);
        bytes.extend(frame(Head { kind: 17, flags, ..Head::default() }, &[], &vec![4; piece]));
        left = left.saturating_sub(piece);
    }
    bytes
}

fn is_charged(body: &Bytes, attachments: &[Bytes]) -> bool {
    body.len() + attachments.iter().map(Bytes::len).sum::<usize>() > 8 << 10
}
