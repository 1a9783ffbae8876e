//! `cargo bench -p chinwag-benches --features peers --bench clock [-- --quick] [--json FILE]`:
//! stamps of chinwag's hybrid logical clock beside those of other projects and a bare atomic
//! addition, in rounds that take turns.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is where time is measured"
)]

#[cfg(feature = "peers")]
#[path = "clock/peers.rs"]
mod peers;

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chinwag_benches::args::Common;
use chinwag_benches::table::{Better, Role, Table};
use chinwag_benches::turns::{Entrant, Pace, measure};
use chinwag_core::clock::{DRIFT_MAX_DEFAULT, Hlc, SharedHlc, Timestamp};
use chinwag_core::time::WallTime;
use clap::Parser;

#[derive(Parser)]
#[command(about = "Stamps, beside other clocks")]
struct Args {
    #[command(flatten)]
    common: Common,
}

/// Rows that appear in more than one table.
mod names {
    pub(super) const FLOOR: &str = "floor: atomic add";
    pub(super) const GIVEN: &str = "chinwag, given time";
    pub(super) const READ: &str = "chinwag, reading the time";
    #[cfg(feature = "peers")]
    pub(super) const UHLC: &str = "uhlc";
    #[cfg(feature = "peers")]
    pub(super) const DATACAKE: &str = "datacake-crdt";
    #[cfg(feature = "peers")]
    pub(super) const ACTOR: &str = "datacake-node, actor";
}

const TICK: &str = "Nanoseconds a stamp, of one thread. chinwag's clock is given the time, which \
    its driver reads once for a batch of inputs: that row is what a stamp costs in chinwag. The \
    others read the system's clock for every stamp, which is most of their cost; the row that \
    reads it too shows the clocks alike. The one-owner clock is `Hlc`, the others `SharedHlc`, \
    which threads share without a lock. datacake's stamps have 65,535 numbers in 4 ms, so it \
    refuses a part of what is asked here; a refusal is tried again, as one that needs a stamp \
    would, and its time counts.";

const SHARED: &str = "Nanoseconds a stamp that each of two threads waits, when both take stamps of \
    one clock as fast as they can. uhlc has a mutex of its own; datacake-crdt's clock has one \
    owner, so it is behind a mutex here; datacake-node's is an actor, asked by two tasks on a \
    runtime of two threads.";

const OBSERVE: &str = "Nanoseconds to take in the stamp of a message that has come: an old one \
    changes nothing, a new one is ahead of all that the clock has seen, as after a message from a \
    node whose clock is a little ahead.";

fn main() {
    let Args { common } = Args::parse();
    let pace = common.pace();
    common.report(vec![tick(pace), shared(pace), observe(pace)]);
}

/// The system's time, as a node's driver reads it.
fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn tick(pace: Pace) -> Table {
    let mut table = Table::new("clock-tick", "A stamp", "ns a stamp", Better::Lower)
        .about(TICK)
        .base(names::GIVEN);
    let (floor, given, read, now) = (
        AtomicU64::new(0),
        SharedHlc::new(DRIFT_MAX_DEFAULT),
        SharedHlc::new(DRIFT_MAX_DEFAULT),
        wall(),
    );
    let mut owned = Hlc::new(DRIFT_MAX_DEFAULT);
    #[allow(unused_mut, reason = "peers may be left out")]
    let mut entrants = vec![
        Entrant::new(Role::Main, names::GIVEN, || {
            black_box(given.tick(black_box(now)));
        }),
        Entrant::new(Role::Chinwag, "chinwag, one owner, given time", move || {
            black_box(owned.tick(black_box(now)));
        }),
        Entrant::new(Role::Chinwag, names::READ, || {
            black_box(read.tick(wall()));
        }),
        Entrant::new(Role::Floor, names::FLOOR, || {
            black_box(floor.fetch_add(black_box(1), Relaxed));
        }),
    ];
    #[cfg(feature = "peers")]
    entrants.extend([peers::uhlc_tick(), peers::datacake_tick(), peers::actor_tick()]);
    measure(&mut table, "1 thread", entrants, pace, 1.0);
    table
}

fn shared(pace: Pace) -> Table {
    let mut table = Table::new(
        "clock-shared",
        "A stamp, two threads on one clock",
        "ns a stamp and thread",
        Better::Lower,
    );
    table = table.about(SHARED).base(names::GIVEN);
    let (floor, given, read, now) = (
        AtomicU64::new(0),
        SharedHlc::new(DRIFT_MAX_DEFAULT),
        SharedHlc::new(DRIFT_MAX_DEFAULT),
        wall(),
    );
    #[allow(unused_mut, reason = "peers may be left out")]
    let mut entrants = vec![
        contended(Role::Main, names::GIVEN, || {
            black_box(given.tick(black_box(now)));
        }),
        contended(Role::Chinwag, names::READ, || {
            black_box(read.tick(wall()));
        }),
        contended(Role::Floor, names::FLOOR, || {
            black_box(floor.fetch_add(black_box(1), Relaxed));
        }),
    ];
    #[cfg(feature = "peers")]
    entrants.extend([peers::uhlc_shared(), peers::datacake_shared(), peers::actor_shared()]);
    measure(&mut table, "2 threads", entrants, pace, 1.0);
    table
}

/// One that two threads run, each as often as it is asked.
fn contended<'a>(role: Role, name: &str, iteration: impl Fn() + Sync + 'a) -> Entrant<'a> {
    Entrant::timed(role, name, move |count| {
        let barrier = Barrier::new(2);
        let run = || {
            barrier.wait();
            let begun = Instant::now();
            for _ in 0..count {
                iteration();
            }
            begun.elapsed()
        };
        let (one, two) = thread::scope(|scope| {
            let other = scope.spawn(run);
            (run(), other.join().expect("an iteration does not panic"))
        });
        (one + two) / 2
    })
}

fn observe(pace: Pace) -> Table {
    let mut table = Table::new("clock-observe", "A stamp taken in", "ns a stamp", Better::Lower);
    table = table.about(OBSERVE).base(names::GIVEN);
    let [old, new, new_read] = std::array::from_fn(|_| SharedHlc::new(DRIFT_MAX_DEFAULT));
    let now = wall();
    let stale = Timestamp::at(now);
    old.tick(WallTime::from_nanos(now.as_nanos() + 1_000_000));
    #[allow(unused_mut, reason = "peers may be left out")]
    let mut entrants = vec![
        Entrant::new(Role::Main, names::GIVEN, || {
            black_box(old.observe(black_box(now), black_box(stale))).expect("it is old");
        }),
        Entrant::new(Role::Chinwag, names::READ, || {
            black_box(old.observe(wall(), black_box(stale))).expect("it is old");
        }),
    ];
    #[cfg(feature = "peers")]
    entrants.extend([peers::uhlc_observe(false), peers::datacake_observe(false)]);
    measure(&mut table, "old", entrants, pace, 1.0);
    let (next, next_read) = (RefCell::new(stale.get()), RefCell::new(stale.get()));
    #[allow(unused_mut, reason = "peers may be left out")]
    let mut entrants = vec![
        Entrant::new(Role::Main, names::GIVEN, || {
            let remote = following(&next);
            black_box(new.observe(remote.wall(), black_box(remote))).expect("it is not far ahead");
        }),
        Entrant::new(Role::Chinwag, names::READ, || {
            let remote = following(&next_read);
            black_box(new_read.observe(wall(), black_box(remote))).expect("it is not far ahead");
        }),
    ];
    #[cfg(feature = "peers")]
    entrants.extend([peers::uhlc_observe(true), peers::datacake_observe(true)]);
    measure(&mut table, "new", entrants, pace, 1.0);
    table
}

/// The stamp after the last.
fn following(last: &RefCell<u64>) -> Timestamp {
    let mut raw = last.borrow_mut();
    *raw += 1;
    Timestamp::from_raw(*raw)
}
