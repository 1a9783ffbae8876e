//! Membership at 100, 1,000 and 10,000 members: what the hot paths cost must not follow the size (no path scans the members).
//!
//! The machine is the real one; everybody else is bytes written by the rules of `docs/protocol.md` §2.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc, Timestamp};
use chinwag_core::id::{Epoch, Fence, NodeId};
use chinwag_core::membership::{Config, Local, Membership, Metadata, Plane, StreamPeer, TimeoutReason};
use chinwag_core::time::{Instant, Now, WallTime};
use chinwag_core::wire::datagram::HEADER_LEN;
use chinwag_core::wire::put;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, measurement};

use crate::summary::{ALLOCATED, Summary};

const SIZES: [u64; 3] = [100, 1_000, 10_000];
/// Updates in one datagram, as many as a full one holds beside a ping.
const UPDATES: u64 = 20;
/// A day in 2026.
const TODAY: u64 = 1_790_000_000_000_000_000;
const CLUSTER: &str = "bench";
const EPOCH: u64 = 1_700_000_000_000;
const LOCAL: u64 = 1;
/// The member through which the node joins, and the first of those that it knows.
const SEED: u64 = 2;

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

type Group<'a> = BenchmarkGroup<'a, measurement::WallTime>;

pub(crate) fn benches(c: &mut Criterion, summary: &mut Summary) {
    let mut group = c.benchmark_group("membership");
    for size in SIZES {
        heap(summary, size);
    }
    for bench in [nothing_new, all_new, full_datagram, idle_second] {
        for size in SIZES {
            bench(&mut group, summary, size);
        }
    }
    group.finish();
}

/// Heap bytes by the difference: what a join adds to a node alone.
fn heap(summary: &mut Summary, size: u64) {
    let node = Node::alone(&Config::lan());
    let alone = ALLOCATED.current_usage();
    let node = node.join(size);
    let per_member = (ALLOCATED.current_usage() - alone) as f64 / size as f64;
    summary.add(&format!("heap bytes per known member, {size}"), per_member, Some(128.0));
    drop(node);
}

/// Updates that say what is known.
fn nothing_new(group: &mut Group<'_>, summary: &mut Summary, size: u64) {
    // One datagram after another, so that every member is heard of and caches help no more than they would.
    let datagrams: Vec<Vec<u8>> =
        (0..size / UPDATES).map(|at| updates(SEED + at * UPDATES, size, 0)).collect();
    let mut node = Node::alone(&Config::lan()).join(size);
    let mut at = 0;
    let name = "datagram of 20 updates, nothing new";
    group.bench_function(BenchmarkId::new(name, size), |b| {
        b.iter(|| {
            at = (at + 1) % datagrams.len();
            node.machine.handle_datagram(node.now(), addr(SEED), black_box(&datagrams[at]));
        });
    });
    summary.measured(
        &format!("ns per received update, nothing new, {size}"),
        "membership",
        name,
        size,
        UPDATES,
        Some(80.0),
    );
}

/// Updates that each change a record, and the events of it.
fn all_new(group: &mut Group<'_>, summary: &mut Summary, size: u64) {
    let (mut node, mut fresh) = (Node::alone(&Config::lan()).join(size), Fresh::new(size));
    let name = "datagram of 20 updates, all new";
    group.bench_function(BenchmarkId::new(name, size), |b| {
        b.iter_batched(
            || fresh.datagram(),
            |bytes| {
                node.hear(&bytes);
                bytes
            },
            BatchSize::SmallInput,
        );
    });
    summary.measured(
        &format!("ns per received update, all new, {size}"),
        "membership",
        name,
        size,
        UPDATES,
        Some(80.0),
    );
}

/// A datagram filled with rumours.
fn full_datagram(group: &mut Group<'_>, summary: &mut Summary, size: u64) {
    let builder = RefCell::new(Builder::new(size));
    let mut buf = Vec::with_capacity(2_048);
    let name = "build a full datagram";
    group.bench_function(BenchmarkId::new(name, size), |b| {
        b.iter_batched(
            || builder.borrow_mut().prepare(),
            |now| builder.borrow_mut().node.machine.poll_transmit(now, &mut buf),
            BatchSize::PerIteration,
        );
    });
    summary.measured(
        &format!("ns to build a datagram of {} bytes, {size}", buf.len()),
        "membership",
        name,
        size,
        1,
        None,
    );
}

/// A second in which nothing happens.
fn idle_second(group: &mut Group<'_>, summary: &mut Summary, size: u64) {
    let mut node = Node::alone(&Config::lan()).join(size);
    for _ in 0..60 {
        node.second();
    }
    let name = "idle node-second";
    group.bench_function(BenchmarkId::new(name, size), |b| b.iter(|| node.second()));
    let stats = node.machine.stats();
    assert_eq!((stats.probes_failed, stats.malformed), (0, 0), "the cluster was idle and well: {stats:?}");
    assert_eq!(node.machine.live_count() as u64, size, "nobody was lost");
    summary.measured(
        &format!("ns of CPU per idle node-second, {size}"),
        "membership",
        name,
        size,
        1,
        Some(2_000.0),
    );
}

/// One machine and the time; everybody else is played.
struct Node {
    machine: Membership,
    mono: u64,
    size: u64,
    seconds: u64,
    ping: Vec<u8>,
    answer: Vec<u8>,
    buf: Vec<u8>,
}

impl Node {
    fn alone(preset: &Config) -> Self {
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

    fn now(&self) -> Now {
        at(self.mono)
    }

    /// Joins through the seed, which answers with a table of `size` members, itself included.
    fn join(mut self, size: u64) -> Self {
        self.size = size;
        self.machine.handle_seeds(self.now(), &[addr(SEED)]);
        let transmit = self.machine.poll_transmit(self.now(), &mut self.buf).expect("the seed is asked");
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
    fn hear(&mut self, bytes: &[u8]) {
        self.machine.handle_datagram(self.now(), addr(SEED), black_box(bytes));
        while self.machine.poll_event().is_some() {}
    }

    /// One second in which nothing changes: what is due is done, every ping is answered after 300 us, the node is pinged
    /// once, and every table exchange finds the tables equal.
    fn second(&mut self) {
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
struct Fresh {
    size: u64,
    next: u64,
}

impl Fresh {
    fn new(size: u64) -> Self {
        Self { size, next: size }
    }

    fn datagram(&mut self) -> Vec<u8> {
        let incarnation = u32::try_from(self.next / self.size).expect("a bench does not run for so long");
        let bytes = updates(SEED + self.next % self.size, self.size, incarnation);
        self.next += UPDATES;
        bytes
    }
}

/// A node that always has more to tell than fits.
struct Builder {
    node: Node,
    fresh: Fresh,
    queued: usize,
}

impl Builder {
    fn new(size: u64) -> Self {
        let hour = Duration::from_secs(3_600);
        // Hardly anything but gossip is due.
        let quiet =
            Config { probe_interval: hour, sync_interval: hour, sync_interval_min: hour, ..Config::lan() };
        let mut builder = Self { node: Node::alone(&quiet).join(size), fresh: Fresh::new(size), queued: 0 };
        for _ in 0..size / UPDATES {
            let bytes = builder.fresh.datagram();
            builder.node.hear(&bytes);
        }
        builder
    }

    /// Goes on to where one poll gives one full datagram.
    fn prepare(&mut self) -> Now {
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

fn at(nanos: u64) -> Now {
    Now { mono: Instant::from_nanos(nanos), wall: WallTime::from_nanos(TODAY + nanos) }
}

fn addr(id: u64) -> SocketAddr {
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

/// A datagram about [`UPDATES`] members, from `first` on, of `size` in all.
fn updates(first: u64, size: u64, incarnation: u32) -> Vec<u8> {
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
