//! Contenders measured in rounds in which they take turns, so that what disturbs the machine for a
//! while hurts all alike, and the ratio of two numbers of one round says more than either.
//! (Criterion measures one after the other.)
//!
//! What one thread does is measured in its CPU time: what others do meanwhile does not count, but
//! for the caches.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::table::{Role, Table};

/// How often and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Turns of each contender.
    pub rounds: usize,
    /// About how long each takes.
    pub time: Duration,
}

impl Pace {
    /// That of a full run, of one that is quick, or of one that only shows whether it runs.
    pub fn new(is_quick: bool, is_test: bool) -> Self {
        let (rounds, millis) = match (is_test, is_quick) {
            (true, _) => (1, 1),
            // Turns that fit a slice of a busy machine's scheduler, and enough of them for a
            // median.
            (_, true) => (25, 2),
            _ => (75, 4),
        };
        Self { rounds, time: Duration::from_millis(millis) }
    }
}

/// One that takes part.
pub struct Entrant<'a> {
    name: String,
    role: Role,
    /// Runs so many iterations; gives how long they took, without what prepared them.
    run: Box<dyn FnMut(u64) -> Duration + 'a>,
}

impl<'a> Entrant<'a> {
    /// One whose iterations are timed together, by the CPU time of this thread.
    pub fn new(role: Role, name: &str, mut iteration: impl FnMut() + 'a) -> Self {
        Self::timed(role, name, move |count| {
            let begun = cpu_time();
            for _ in 0..count {
                iteration();
            }
            cpu_time() - begun
        })
    }

    /// One that runs and times so many iterations itself.
    pub fn timed(role: Role, name: &str, run: impl FnMut(u64) -> Duration + 'a) -> Self {
        Self { name: name.into(), role, run: Box::new(run) }
    }
}

/// Adds to `table`, for `group`, the nanoseconds of an iteration of each entrant, divided by `by`.
pub fn measure(
    table: &mut Table,
    group: &str,
    mut entrants: Vec<Entrant<'_>>,
    pace: Pace,
    by: f64,
) {
    let counts: Vec<u64> =
        entrants.iter_mut().map(|entrant| calibrate(entrant, pace.time)).collect();
    let mut rounds = vec![Vec::with_capacity(pace.rounds); entrants.len()];
    for round in 0..pace.rounds {
        // Who begins changes, so that nobody is always the one after whom it is.
        for turn in 0..entrants.len() {
            let at = (round + turn) % entrants.len();
            let took = (entrants[at].run)(counts[at]);
            rounds[at].push(took.as_nanos() as f64 / counts[at] as f64 / by);
        }
    }
    for (entrant, rounds) in entrants.iter().zip(rounds) {
        table.add(entrant.role, &entrant.name, group, rounds);
    }
}

/// CPU time of this thread, user and system.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// How many iterations take about so long; warms up on the way.
fn calibrate(entrant: &mut Entrant<'_>, time: Duration) -> u64 {
    let mut count = 1;
    loop {
        let took = (entrant.run)(count);
        if took * 4 >= time {
            let count = count as f64 * time.as_secs_f64() / took.as_secs_f64();
            #[expect(
                clippy::cast_possible_truncation,
                reason = "at most the billions of the shortest iterations"
            )]
            return (count as u64).max(1);
        }
        count *= 2;
    }
}

/// Times `iteration`, which is given what `prepare` makes; what prepares it does not count.
pub fn prepared<T>(
    count: u64,
    mut prepare: impl FnMut() -> T,
    mut iteration: impl FnMut(&T),
) -> Duration {
    // So many that reading the clock does not show, so few that they stay in the cache.
    const BATCH: u64 = 64;
    let mut took = Duration::ZERO;
    let mut left = count;
    let mut batch = Vec::new();
    while left > 0 {
        batch.clear();
        batch.extend((0..left.min(BATCH)).map(|_| prepare()));
        left -= batch.len() as u64;
        let begun = cpu_time();
        batch.iter().for_each(&mut iteration);
        took += cpu_time() - begun;
    }
    took
}
