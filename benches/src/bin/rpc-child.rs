//! What `cargo bench --bench rpc` measures of one contender in a process of its own: its
//! allocations, its peak memory.
//!
//! `rpc-child allocations KIND SIZE CALLS` prints allocations and bytes a call; `rpc-child memory
//! KIND MILLIS` prints bytes.

use std::alloc::System;
use std::time::Duration;

use chinwag_benches::rpc::{Kind, SIZES, peak_memory};
use clap::Parser;
use stats_alloc::{Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: StatsAlloc<System> = StatsAlloc::system();

#[derive(Parser)]
enum Args {
    /// Allocations of sequential calls, both sides, and their bytes; each a call.
    Allocations { kind: String, size: usize, calls: usize },
    /// The most memory that the process has, both sides in it, with 64 calls in flight, up to 1 MiB
    /// each.
    Memory { kind: String, millis: u64 },
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn main() {
    match Args::parse() {
        Args::Allocations { kind, size, calls } => {
            let contender = Kind::of_name(&kind).expect("a contender").start();
            contender.calls(size, calls);
            let region = Region::new(&ALLOCATOR);
            contender.calls(size, calls);
            let change = region.change();
            let of_a_call = |count: usize| count as f64 / calls as f64;
            let count = change.allocations + change.reallocations;
            println!("{} {}", of_a_call(count), of_a_call(change.bytes_allocated));
        }
        Args::Memory { kind, millis } => {
            let contender = Kind::of_name(&kind).expect("a contender").start();
            for size in SIZES {
                contender.throughput(size, 1, Duration::from_millis(millis));
            }
            if let Some(bytes) = peak_memory() {
                println!("{bytes}");
            }
        }
    }
}
