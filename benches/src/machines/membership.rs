//! A membership machine to which everybody else is played: bytes written by the rules of
//! `docs/protocol.md` §2.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc, Timestamp};
use chinwag_core::id::{Epoch, Fence, NodeId};
use chinwag_core::membership::{
    Config, Local, Membership, Metadata, Plane, StreamPeer, TimeoutReason,
};
use chinwag_core::time::{Instant, Now, WallTime};
use chinwag_core::wire::datagram::HEADER_LEN;
use chinwag_core::wire::put;

/// Updates in one datagram, as many as a full one holds beside a ping.
pub const UPDATES: u64 = 20;
/// The member through which the node joins, and the first of those that it knows.
pub const SEED: u64 = 2;
/// A day in 2026.
const TODAY: u64 = 1_790_000_000_000_000_000;
const CLUSTER: &str = "bench";
const EPOCH: u64 = 1_700_000_000_000;
const LOCAL: u64 = 1;

/// Message kinds and flags of `docs/protocol.md` §2.4 and §2.5.
mod wire {
    pub(super) const PING: u8 = 1;
    pub(super) const ACK: u8 = 3;
    pub(super) const UPDATE: u8 = 5;
    pub(super) const SYNC_REQUEST: u8 = 8;
    pub(super) const SYNC_CHUNK: u8 = 9;
    pub(super) const HAS_DETAILS: u8 = 1 << 2;
    pub(super) const IS_REPLY: u8 = 1;
    pub(super) const IS_LAST: u8 = 2;
    pub(super) const VERSIONS: u8 = 1 << 4 | 1;
}

/// One machine and the time; everybody else is played.
pub struct Node {
    /// The machine.
    pub machine: Membership,
    mono: u64,
    size: u64,
    seconds: u64,
    ping: Vec<u8>,
    answer: Vec<u8>,
    buf: Vec<u8>,
}

impl Node {
    /// One that knows nobody.
    pub fn alone(preset: &Config) -> Self {
        let config = Config { cluster: CLUSTER.into(), ..preset.clone() };
        let local = Local {
            id: NodeId::new(LOCAL),
            epoch: Epoch::new(EPOCH),
            addr: addr(LOCAL),
            metadata: Metadata::new(),
        };
        let clock = Arc::new(SharedHlc::new(DRIFT_MAX_DEFAULT));
        let machine = Membership::new(config, local, clock, 7, at(0)).expect("a preset is valid");
        let buf = Vec::with_capacity(65_536);
        Self { machine, mono: 0, size: 0, seconds: 0, ping: Vec::new(), answer: Vec::new(), buf }
    }

    /// Its time.
    pub fn now(&self) -> Now {
        at(self.mono)
    }

    /// Joins through the seed, which answers with a table of `size` members, itself included.
    #[must_use]
    pub fn join(mut self, size: u64) -> Self {
        self.size = size;
        self.machine.join(self.now());
        self.machine.handle_timeout(self.now());
        assert!(self.machine.poll_lookup());
        self.machine.handle_seeds(self.now(), &[addr(SEED)]);
        let transmit =
            self.machine.poll_transmit(self.now(), &mut self.buf).expect("the seed is asked");
        assert_eq!((transmit.plane, self.buf[HEADER_LEN]), (Plane::Stream, wire::SYNC_REQUEST));
        let exchange = number(&self.buf);
        let ids: Vec<u64> = (SEED..SEED + size).collect();
        let mut parts = ids.chunks(500).peekable();
        while let Some(part) = parts.next() {
            let mut chunk = header(SEED);
            let last = if parts.peek().is_none() { wire::IS_LAST } else { 0 };
            put_chunk(&mut chunk, exchange, wire::IS_REPLY | last, u64::MAX);
            for &id in part {
                put_update(&mut chunk, id, 0);
            }
            self.machine.handle_stream(self.now(), peer(SEED), &chunk);
            while self.machine.poll_event().is_some() {}
        }
        assert_eq!(self.machine.live_count() as u64, size, "all are known");
        self
    }

    /// A datagram comes, and the driver takes the events.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.machine.handle_datagram(self.now(), addr(SEED), black_box(bytes));
        while self.machine.poll_event().is_some() {}
    }

    /// The seed's datagram comes, and what it is answered with goes out; gives the bytes of that.
    pub fn answer(&mut self, bytes: &[u8]) -> usize {
        self.machine.handle_datagram(self.now(), addr(SEED), black_box(bytes));
        let mut sent = 0;
        while self.machine.poll_transmit(at(self.mono), &mut self.buf).is_some() {
            sent += self.buf.len();
        }
        while self.machine.poll_event().is_some() {}
        sent
    }

    /// One second in which nothing changes: what is due is done, every ping is answered after 300
    /// us, the node is pinged once, and every table exchange finds the tables equal.
    pub fn second(&mut self) {
        let end = self.mono + 1_000_000_000;
        self.seconds += 1;
        let member = SEED + self.seconds * 7 % self.size;
        restart(&mut self.ping, member);
        put_call(&mut self.ping, wire::PING, 9, LOCAL);
        self.machine.handle_datagram(self.now(), addr(member), &self.ping);
        self.answer_all();
        while let Some(due) = self.machine.poll_timeout().filter(|due| due.as_nanos() < end) {
            self.mono = self.mono.max(due.as_nanos());
            self.machine.handle_timeout(self.now());
            self.answer_all();
        }
        while self.machine.poll_event().is_some() {}
        self.mono = self.mono.max(end);
    }

    fn answer_all(&mut self) {
        while let Some(transmit) = self.machine.poll_transmit(at(self.mono), &mut self.buf) {
            let Some(id) = transmit.to.id.map(NodeId::get) else { continue };
            let kind = self.buf.get(HEADER_LEN).copied();
            if kind == Some(wire::PING) {
                restart(&mut self.answer, id);
                put_call(&mut self.answer, wire::ACK, number(&self.buf), id);
                self.mono += 300_000;
                self.machine.handle_datagram(at(self.mono), addr(id), &self.answer);
            } else if kind == Some(wire::SYNC_REQUEST) {
                restart(&mut self.answer, id);
                let exchange = number(&self.buf);
                put_chunk(&mut self.answer, exchange, wire::IS_REPLY | wire::IS_LAST, 0);
                self.machine.handle_stream(at(self.mono), peer(id), &self.answer);
            }
        }
    }
}

/// News of every member in turn, for ever.
pub struct Fresh {
    size: u64,
    next: u64,
}

impl Fresh {
    /// Of so many.
    pub fn new(size: u64) -> Self {
        Self { size, next: size }
    }

    /// The next.
    pub fn datagram(&mut self) -> Vec<u8> {
        let incarnation =
            u32::try_from(self.next / self.size).expect("a bench does not run for so long");
        let bytes = updates(SEED + self.next % self.size, self.size, incarnation);
        self.next += UPDATES;
        bytes
    }
}

/// A node that always has more to tell than fits.
pub struct Builder {
    /// The node.
    pub node: Node,
    fresh: Fresh,
    queued: usize,
}

impl Builder {
    /// One that knows so many.
    pub fn new(size: u64) -> Self {
        let hour = Duration::from_secs(3_600);
        // Hardly anything but gossip is due.
        let quiet = Config {
            probe_interval: hour,
            sync_interval: hour,
            sync_interval_min: hour,
            ..Config::lan()
        };
        let mut builder =
            Self { node: Node::alone(&quiet).join(size), fresh: Fresh::new(size), queued: 0 };
        for _ in 0..size / UPDATES {
            let bytes = builder.fresh.datagram();
            builder.node.hear(&bytes);
        }
        builder
    }

    /// Goes on to where one poll gives one full datagram.
    pub fn prepare(&mut self) -> Now {
        if self.queued == 0 {
            for _ in 0..5 {
                let bytes = self.fresh.datagram();
                self.node.hear(&bytes);
            }
            loop {
                self.node.answer_all();
                let reason = self.node.machine.timeout_reason();
                let due = self.node.machine.poll_timeout().expect("gossip is due");
                self.node.mono = self.node.mono.max(due.as_nanos());
                self.node.machine.handle_timeout(self.node.now());
                if reason == Some(TimeoutReason::Gossip) {
                    break;
                }
            }
            self.queued = self.node.machine.config().gossip_fanout;
        }
        self.queued -= 1;
        self.node.now()
    }
}

/// So long after the beginning.
pub fn at(nanos: u64) -> Now {
    Now { mono: Instant::from_nanos(nanos), wall: WallTime::from_nanos(TODAY + nanos) }
}

/// Where a member is.
pub fn addr(id: u64) -> SocketAddr {
    let [.., a, b, c] = id.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, a, b, c), 7_000))
}

fn peer(id: u64) -> StreamPeer {
    StreamPeer { id: NodeId::new(id), epoch: Epoch::new(EPOCH), addr: addr(id) }
}

fn header(sender: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_400);
    restart(&mut out, sender);
    out
}

/// §2.3: who speaks.
fn restart(out: &mut Vec<u8>, sender: u64) {
    out.clear();
    out.extend([1, 0]);
    put::u64(out, Fence::of(CLUSTER).get());
    put::u64(out, sender);
    put::u48(out, EPOCH);
    put::u32(out, 0);
    put::u64(out, Timestamp::at(WallTime::from_nanos(TODAY)).get());
    debug_assert_eq!(out.len(), HEADER_LEN, "the header is as §2.3 says");
}

/// A datagram from a member that pings the node.
pub fn ping(from: u64) -> Vec<u8> {
    let mut out = header(from);
    put_call(&mut out, wire::PING, 9, LOCAL);
    out
}

/// A ping of `id`, or its ack.
fn put_call(out: &mut Vec<u8>, kind: u8, seq: u32, id: u64) {
    out.push(kind);
    put::u16(out, 18);
    put::u32(out, seq);
    put::u64(out, id);
    put::u48(out, EPOCH);
}

fn put_chunk(out: &mut Vec<u8>, exchange: u32, flags: u8, mask: u64) {
    out.push(wire::SYNC_CHUNK);
    put::u16(out, 13);
    put::u32(out, exchange);
    out.push(flags);
    put::u64(out, mask);
}

/// §2.5: `id` is alive at its address.
fn put_update(out: &mut Vec<u8>, id: u64, incarnation: u32) {
    out.push(wire::UPDATE);
    let len_at = out.len();
    put::u16(out, 0);
    out.push(wire::HAS_DETAILS);
    put::u64(out, id);
    put::u48(out, EPOCH);
    put::varint(out, incarnation);
    out.push(wire::VERSIONS);
    put::addr(out, addr(id));
    put::slice(out, &[]);
    let len = u16::try_from(out.len() - len_at - 2).expect("an update is short");
    out[len_at..len_at + 2].copy_from_slice(&len.to_le_bytes());
}

/// A datagram from the seed that says that [`UPDATES`] members, from `first` on, of `size` in all,
/// are alive.
pub fn updates(first: u64, size: u64, incarnation: u32) -> Vec<u8> {
    let mut out = header(SEED);
    for id in first..first + UPDATES {
        put_update(&mut out, SEED + (id - SEED) % size, incarnation);
    }
    out
}

/// The number that the first message of a payload begins with.
fn number(payload: &[u8]) -> u32 {
    let at = HEADER_LEN + 3;
    u32::from_le_bytes(payload[at..at + 4].try_into().expect("four bytes"))
}
