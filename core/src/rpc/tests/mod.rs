//! Stories about two connections joined by byte pipes, and about one connection and a peer written
//! by hand.

mod calls;
mod close;
mod credit;
mod fairness;
mod fragments;
mod frames;
mod halves;
mod hello;
mod hostile;
mod limits;
mod node_budget;
mod progress;
mod races;
mod schedule;
mod scripts;
mod splits;
mod streams;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

use bytes::Bytes;

use super::frame::{Extension, FrameHeader, Kind, padded};
use super::*;
use crate::clock::{SharedHlc, Timestamp};
use crate::id::{Epoch, NodeId};
use crate::time::{Instant, Now, WallTime};

/// The number on the wire of the first call of a connection; the next calls have the next ones.
pub(super) const FIRST: u32 = 1 << 14;
pub(super) const MS: Duration = Duration::from_millis(1);
const WALL: u64 = 1_700_000_000_000_000_000;

/// A machine and the half of it that reads the stream.
pub(super) struct End {
    pub(super) machine: Connection,
    pub(super) receiver: Receiver,
}

impl End {
    pub(super) fn new(
        side: Side,
        config: Arc<Config>,
        hello: Hello,
        clock: Arc<SharedHlc>,
        now: Now,
    ) -> Self {
        let (machine, receiver) = Connection::new(side, config, hello, clock, now);
        Self { machine, receiver }
    }
}

impl Deref for End {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.machine
    }
}

impl DerefMut for End {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.machine
    }
}

/// Two connections, the pipes between them, and the time.
pub(super) struct Pair {
    pub(super) a: End,
    pub(super) b: End,
    pub(super) now: Now,
    /// Bytes handed over at once, at most.
    pub(super) chunk: usize,
    /// All that A and B have sent.
    pub(super) sent_by_a: Vec<u8>,
    pub(super) sent_by_b: Vec<u8>,
}

pub(super) fn start() -> Now {
    Now { mono: Instant::ZERO, wall: WallTime::from_nanos(WALL) }
}

pub(super) fn later(now: Now, by: Duration) -> Now {
    Now { mono: now.mono + by, wall: now.wall + by }
}

pub(super) fn hello(id: u64) -> Hello {
    let addr = format!("127.0.0.1:{}", 8000 + id).parse().expect("an address");
    Hello { cluster: "test".into(), id: NodeId::new(id), epoch: Epoch::new(7), addr }
}

pub(super) fn connection(id: u64, config: Config) -> End {
    let side = if id == 1 { Side::Dialer } else { Side::Acceptor };
    let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
    End::new(side, Arc::new(config), hello(id), clock, start())
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(Config::default(), Config::default())
    }

    pub(super) fn with(a: Config, b: Config) -> Self {
        Self {
            a: connection(1, a),
            b: connection(2, b),
            now: start(),
            chunk: usize::MAX,
            sent_by_a: Vec::new(),
            sent_by_b: Vec::new(),
        }
    }

    /// Greeted, and the `Connected` events taken.
    pub(super) fn connected() -> Self {
        Self::connected_with(Config::default(), Config::default())
    }

    pub(super) fn connected_with(a: Config, b: Config) -> Self {
        let mut pair = Self::with(a, b);
        pair.pump();
        assert!(matches!(events(&mut pair.a)[..], [Event::Connected(_)]));
        assert!(matches!(events(&mut pair.b)[..], [Event::Connected(_)]));
        pair
    }

    /// Carries bytes until nobody has any.
    pub(super) fn pump(&mut self) {
        while self.a_to_b() + self.b_to_a() > 0 {}
    }

    pub(super) fn a_to_b(&mut self) -> usize {
        let bytes = drain(&mut self.a, self.now);
        self.sent_by_a.extend_from_slice(&bytes);
        deliver(&mut self.b, self.now, &bytes, self.chunk);
        bytes.len()
    }

    pub(super) fn b_to_a(&mut self) -> usize {
        let bytes = drain(&mut self.b, self.now);
        self.sent_by_b.extend_from_slice(&bytes);
        deliver(&mut self.a, self.now, &bytes, self.chunk);
        bytes.len()
    }

    /// Time passes on both sides; nothing is carried.
    pub(super) fn pass(&mut self, by: Duration) {
        self.now = later(self.now, by);
        self.a.handle_timeout(self.now);
        self.b.handle_timeout(self.now);
    }

    /// A calls B with this body; the call, and the event at B.
    pub(super) fn call(&mut self, body: &[u8]) -> (CallId, InboundId) {
        let call = self.a.request(self.now, request(body)).expect("the call is taken");
        self.pump();
        let inbound = inbound_ids(&events(&mut self.b));
        assert_eq!(inbound.len(), 1, "one call arrived");
        (call, inbound[0])
    }
}

pub(super) fn drain(connection: &mut Connection, now: Now) -> Vec<u8> {
    let (mut all, mut out) = (Vec::new(), Transmit::new());
    loop {
        let len = connection.poll_transmit(now, &mut out);
        assert_eq!(len, out.len());
        if len == 0 {
            return all;
        }
        all.extend_from_slice(&write(&mut out));
    }
}

/// All that is in `out`, taken off as a driver does it.
pub(super) fn write(out: &mut Transmit) -> Vec<u8> {
    let mut all = Vec::new();
    while !out.is_empty() {
        let before = all.len();
        out.slices().for_each(|slice| all.extend_from_slice(slice));
        assert!(out.slices().all(|slice| !slice.is_empty()) && out.slices().count() <= SLICES_MAX);
        out.advance(all.len() - before);
    }
    all
}

pub(super) fn deliver(to: &mut End, now: Now, mut bytes: &[u8], chunk: usize) {
    while !bytes.is_empty() {
        let buffer = to.receiver.buffer();
        let len = buffer.len().min(bytes.len()).min(chunk);
        assert!(len > 0, "a receive buffer is never empty");
        buffer[..len].copy_from_slice(&bytes[..len]);
        bytes = &bytes[len..];
        to.machine.handle_received(now, &mut to.receiver, len);
    }
}

/// All events, each body checked for its alignment.
pub(super) fn events(connection: &mut Connection) -> Vec<Event> {
    let mut all = Vec::new();
    while let Some(event) = connection.poll_event() {
        let body = match &event {
            Event::Request { body, .. } | Event::OneWay { body, .. } | Event::Gossip(body) => {
                Some(body)
            }
            Event::Response { result: Ok(body), .. } => Some(body),
            _ => None,
        };
        assert!(
            body.is_none_or(|body| body.as_ptr().addr().is_multiple_of(16)),
            "a body is aligned: {event:?}"
        );
        all.push(event);
    }
    all
}

/// Nothing is charged for the peer, and nothing is open or waits.
pub(super) fn nothing_is_held(end: &mut End) {
    assert_eq!(end.flow.requests.held(), 0, "requests");
    assert_eq!(end.flow.reserves.reserves.held(), 0, "reserves of streams");
    assert_eq!(end.flow.reserves.pool.held(), 0, "the pool of streams");
    assert_eq!(end.flow.answers.held(), 0, "answers");
    assert_eq!((end.calls_open(), end.inbound_open(), end.queued_len()), (0, 0, 0));
}

pub(super) fn inbound_ids(events: &[Event]) -> Vec<InboundId> {
    events
        .iter()
        .filter_map(|event| if let Event::Request { id, .. } = event { Some(*id) } else { None })
        .collect()
}

/// The responses among events: the body as text, or the status.
pub(super) fn responses(events: Vec<Event>) -> Vec<(CallId, Result<String, Status>)> {
    let text = |body: Bytes| String::from_utf8_lossy(&body).into_owned();
    let one = |event| match event {
        Event::Response { call, result, .. } => Some((call, result.map(text))),
        _ => None,
    };
    events.into_iter().filter_map(one).collect()
}

/// The one response among events.
pub(super) fn response(connection: &mut Connection) -> (CallId, Result<String, Status>) {
    let mut all = responses(events(connection));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

pub(super) fn status(connection: &mut Connection) -> Status {
    response(connection).1.expect_err("the call failed")
}

pub(super) fn closed(connection: &mut Connection) -> Option<CloseReason> {
    match events(connection).pop() {
        Some(Event::Closed(reason)) => Some(reason),
        _ => None,
    }
}

pub(super) fn request(body: &[u8]) -> Request<'_> {
    Request {
        service: "echo",
        method: "say",
        fingerprint: Fingerprint::new(9),
        headers: Headers::new(),
        deadline: None,
        body: body.into(),
        attachments: &[],
        shape: Shape::UNARY,
        chunk_len_max: 1 << 20,
        depth: 0,
        caller: 0,
    }
}

pub(super) fn within(deadline: Duration, body: &[u8]) -> Request<'_> {
    Request { deadline: Some(deadline), ..request(body) }
}

/// A frame written by hand.
pub(super) fn frame(header: FrameHeader, extension: &[u8], body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        body_len: u32::try_from(body.len()).expect("small"),
        extension_len: u16::try_from(extension.len()).expect("small"),
        ..header
    };
    let mut out = header.encode().to_vec();
    for part in [extension, body] {
        out.extend_from_slice(part);
        out.resize(padded(out.len()), 0);
    }
    out
}

pub(super) fn bare(kind: Kind, call: u32) -> Vec<u8> {
    frame(FrameHeader::new(kind, call), &[], &[])
}

/// An extension with these fields and no headers.
pub(super) fn extension(stamp: u64, timeout: u64) -> Vec<u8> {
    [stamp.to_le_bytes(), timeout.to_le_bytes()].concat()
}

pub(super) fn intern(id: u16, service: &str, method: &str) -> Vec<u8> {
    let mut body = 9u64.to_le_bytes().to_vec();
    for name in [service, method] {
        body.push(u8::try_from(name.len()).expect("short"));
        body.extend_from_slice(name.as_bytes());
    }
    frame(FrameHeader { method: id, ..FrameHeader::new(Kind::Intern, 0) }, &[], &body)
}

/// One connection, past the hello, whose peer is written by hand and has named method 0.
pub(super) fn beside_a_hand_written_peer(config: Config) -> End {
    let mut connection = connection(1, config);
    let greeting = hello(2).encode(&Config::default());
    deliver(&mut connection, start(), &greeting, usize::MAX);
    deliver(&mut connection, start(), &intern(0, "echo", "say"), usize::MAX);
    assert!(matches!(events(&mut connection)[..], [Event::Connected(_)]));
    drain(&mut connection, start());
    connection
}

/// A `Request` written by hand.
pub(super) fn raw_request(call: u32, timeout: u64, body: &[u8]) -> Vec<u8> {
    frame(FrameHeader::new(Kind::Request, call), &extension(0, timeout), body)
}

/// The frames in `bytes`: header, extension, body.
pub(super) fn parse(mut bytes: &[u8]) -> Vec<(FrameHeader, Vec<u8>, Vec<u8>)> {
    let mut frames = vec![];
    while let Some(header) = bytes.first_chunk().map(FrameHeader::decode) {
        let extension = bytes[16..][..usize::from(header.extension_len)].to_vec();
        let body_at = 16 + header.extension_padded();
        let header_of_fragments = FrameHeader { body_len: 0, ..header };
        let here = if header.is_fragmented() { header_of_fragments } else { header };
        let body = bytes[body_at..][..here.body_len as usize].to_vec();
        bytes = &bytes[body_at + here.body_padded()..];
        frames.push((header, extension, body));
    }
    frames
}

pub(super) fn stamp_of(extension: &[u8]) -> Timestamp {
    Extension::decode(extension).expect("an extension").stamp
}
