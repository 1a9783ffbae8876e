//! Membership at 100, 1,000 and 10,000 members: what the hot paths cost must not follow the size
//! (no path scans the members).
//!
//! The machine is the real one; everybody else is bytes.

use std::cell::RefCell;
use std::hint::black_box;

use chinwag_benches::machines::membership::{Builder, Fresh, Node, SEED, UPDATES, addr, updates};
use chinwag_benches::table::figure;
use chinwag_core::membership::Config;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, measurement};

use crate::summary::{ALLOCATED, Shown, Summary};

const SIZES: [u64; 3] = [100, 1_000, 10_000];

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
    // One datagram after another, so that every member is heard of and caches help no more than
    // they would.
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
    summary.shown(
        Shown::Membership,
        "an update, nothing new",
        &format!("{} members", figure(size as f64)),
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
    summary.shown(
        Shown::Membership,
        "an update, all new",
        &format!("{} members", figure(size as f64)),
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
    summary.shown(
        Shown::Membership,
        "a full datagram, built",
        &format!("{} members", figure(size as f64)),
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
    assert_eq!(
        (stats.probes_failed, stats.malformed),
        (0, 0),
        "the cluster was idle and well: {stats:?}"
    );
    assert_eq!(node.machine.live_count() as u64, size, "nobody was lost");
    summary.measured(
        &format!("ns of CPU per idle node-second, {size}"),
        "membership",
        name,
        size,
        1,
        Some(2_000.0),
    );
    summary.shown(
        Shown::Membership,
        "an idle node-second",
        &format!("{} members", figure(size as f64)),
    );
}
