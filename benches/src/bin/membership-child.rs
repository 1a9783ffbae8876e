//! What `cargo bench --bench membership` measures in a process of its own, where a counting
//! allocator does not slow what is timed.
//!
//! `membership-child MAKE MEMBERS` prints the heap bytes that a machine holds for each member it
//! knows.

use std::alloc::System;

use chinwag_benches::membership::Make;
use clap::Parser;
use stats_alloc::{Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: StatsAlloc<System> = StatsAlloc::system();

#[derive(Parser)]
struct Args {
    make: String,
    members: u64,
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn main() {
    let args = Args::parse();
    let make = Make::of_name(&args.make).expect("a make");
    // One that knows next to nobody, so that what a machine has of its own does not count.
    let few = held(make, 20);
    println!("{}", (held(make, args.members) - few) / (args.members - 20) as f64);
}

/// Heap bytes of a machine that knows so many members.
fn held(make: Make, members: u64) -> f64 {
    let region = Region::new(&ALLOCATOR);
    let machine = make.know(members);
    let change = region.change();
    drop(machine);
    // Both count what a reallocation has changed, too.
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}
