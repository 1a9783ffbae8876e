//! Connections: what a frame costs on its way out and on its way in, and what a whole call costs
//! both machines.

use std::cell::RefCell;
use std::hint::black_box;

use chinwag_benches::machines::rpc::{NOW, Pair, body, receive, request};
use chinwag_core::rpc::Event;
use criterion::{BenchmarkId, Criterion};

use crate::summary::{Shown, Summary};

const SIZES: [u64; 2] = [32, 1_024];

pub(crate) fn benches(c: &mut Criterion, summary: &mut Summary) {
    let mut group = c.benchmark_group("rpc");
    for size in SIZES {
        let body = body(size);
        let (mut pair, name) = (Pair::open(), "frame out, one-way");
        group.bench_function(BenchmarkId::new(name, size), |b| {
            b.iter(|| {
                pair.out.clear();
                pair.dialer.one_way(NOW, request(&body)).expect("there is room");
                black_box(pair.dialer.poll_transmit(NOW, &mut pair.out))
            });
        });
        summary.measured(
            &format!("ns per RPC frame out, {size} bytes"),
            "rpc",
            name,
            size,
            1,
            None,
        );
        summary.shown(Shown::Rpc, "frame out", &format!("{size} bytes"));

        let (mut pair, name) = (Pair::open(), "frame in, one-way");
        // The second frame, since the first brings the method's name along.
        pair.one_way(&body);
        let frame = pair.one_way(&body);
        group.bench_function(BenchmarkId::new(name, size), |b| {
            b.iter(|| {
                receive(&mut pair.acceptor, &mut pair.acceptor_reads, black_box(&frame));
                let event = pair.acceptor.poll_event();
                debug_assert!(matches!(event, Some(Event::OneWay { .. })), "a frame is a message");
                event
            });
        });
        assert!(!pair.acceptor.is_closed(), "the frames were taken");
        summary.measured(&format!("ns per RPC frame in, {size} bytes"), "rpc", name, size, 1, None);
        summary.shown(Shown::Rpc, "frame in", &format!("{size} bytes"));
    }
    for batch in [1, 64] {
        let (pair, body, name) = (
            RefCell::new(Pair::open()),
            body(32),
            "call of 32 bytes, both machines, in batches of",
        );
        group.bench_function(BenchmarkId::new(name, batch), |b| {
            b.iter(|| pair.borrow_mut().calls(batch, &body));
        });
        summary.measured(
            &format!("ns per call, both machines, batches of {batch}"),
            "rpc",
            name,
            batch,
            batch,
            None,
        );
        if batch > 1 {
            summary.shown(Shown::Rpc, "call, both machines, in batches of 64", "32 bytes");
        }
    }
    group.finish();
}
