//! The clocks of other projects.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chinwag_benches::table::Role;
use chinwag_benches::turns::{Entrant, cpu_time};
use datacake_crdt::HLCTimestamp;
use datacake_node::Clock;
use tokio::runtime::Builder;
use uhlc::{HLC, ID, NTP64, Timestamp};

use crate::{contended, names};

/// How far ahead of the time a new stamp is: less than anybody refuses.
const AHEAD: Duration = Duration::from_millis(200);

pub(crate) fn uhlc_tick<'a>() -> Entrant<'a> {
    let clock = HLC::default();
    Entrant::new(Role::Peer, names::UHLC, move || {
        black_box(clock.new_timestamp());
    })
}

pub(crate) fn uhlc_shared<'a>() -> Entrant<'a> {
    let clock = HLC::default();
    contended(Role::Peer, names::UHLC, move || {
        black_box(clock.new_timestamp());
    })
}

pub(crate) fn uhlc_observe<'a>(is_new: bool) -> Entrant<'a> {
    let clock = HLC::default();
    let other = ID::rand();
    Entrant::timed(Role::Peer, names::UHLC, move |count| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut time, step) =
            if is_new { (NTP64::from(since + AHEAD), 16) } else { (NTP64::from(since - AHEAD), 0) };
        let begun = cpu_time();
        for _ in 0..count {
            time += step;
            clock
                .update_with_timestamp(black_box(&Timestamp::new(time, other)))
                .expect("it is not far ahead");
        }
        cpu_time() - begun
    })
}

pub(crate) fn datacake_tick<'a>() -> Entrant<'a> {
    let mut clock = HLCTimestamp::now(0, 1);
    Entrant::new(Role::Peer, names::DATACAKE, move || {
        black_box(stamp(&mut clock));
    })
}

/// The next stamp, asked for again while its numbers for this time are used up.
fn stamp(clock: &mut HLCTimestamp) -> HLCTimestamp {
    loop {
        if let Ok(stamp) = clock.send() {
            return stamp;
        }
    }
}

pub(crate) fn datacake_shared<'a>() -> Entrant<'a> {
    let clock = Mutex::new(HLCTimestamp::now(0, 1));
    contended(Role::Peer, names::DATACAKE, move || {
        black_box(stamp(&mut clock.lock().unwrap_or_else(PoisonError::into_inner)));
    })
}

pub(crate) fn datacake_observe<'a>(is_new: bool) -> Entrant<'a> {
    let mut clock = HLCTimestamp::now(0, 1);
    Entrant::timed(Role::Peer, names::DATACAKE, move |count| {
        let now = HLCTimestamp::now(0, 2).datacake_timestamp();
        // Its numbers are above the node's eight bits, and carry into the time.
        let (time, step) = if is_new { (now + AHEAD, 1 << 8) } else { (now - AHEAD, 0) };
        let mut raw =
            HLCTimestamp::new(time, 0, 2).as_u64().max(if is_new { clock.as_u64() } else { 0 });
        raw = raw & !0xff | 2;
        let begun = cpu_time();
        for _ in 0..count {
            raw += step;
            while black_box(clock.recv(black_box(&HLCTimestamp::from_u64(raw)))).is_err() {
                raw += step;
            }
        }
        cpu_time() - begun
    })
}

pub(crate) fn actor_tick<'a>() -> Entrant<'a> {
    let runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime without sockets");
    let clock = runtime.block_on(async { Clock::new(1) });
    Entrant::timed(Role::Peer, names::ACTOR, move |count| {
        runtime.block_on(async {
            let begun = Instant::now();
            for _ in 0..count {
                black_box(clock.get_time().await);
            }
            begun.elapsed()
        })
    })
}

pub(crate) fn actor_shared<'a>() -> Entrant<'a> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("threads for a runtime");
    let clock = runtime.block_on(async { Clock::new(1) });
    Entrant::timed(Role::Peer, names::ACTOR, move |count| {
        let ask = |clock: Clock| async move {
            let begun = Instant::now();
            for _ in 0..count {
                black_box(clock.get_time().await);
            }
            begun.elapsed()
        };
        let (one, two) = (runtime.spawn(ask(clock.clone())), runtime.spawn(ask(clock.clone())));
        runtime.block_on(async { (one.await.expect("it ends") + two.await.expect("it ends")) / 2 })
    })
}
