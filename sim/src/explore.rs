//! Many seeds, on several threads with one world each, until one fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chinwag_core::rng::mix;

use crate::checker::Violation;
use crate::fault::FAMILIES;
use crate::repeat::{CAUSES, Twice};
use crate::run::{Failure, Outcome, Scenario, run};
use crate::trace::digest;
use crate::world::TOLD;

/// So many seeds of the swarm reach every family of faults and every kind of event, or the search
/// was vacuous.
const REACHES_ALL_FROM: u64 = 200;
/// Events that a search need not reach: one needs a rival or a forgery, the other a small cluster.
const RARE: [&str; 2] = ["conflict", "isolated"];

/// What a search over seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Seeds that were run.
    pub seeds: u64,
    /// Things that happened in them.
    pub events: u64,
    /// One hash over the hashes of all runs, whatever the order they ended in.
    pub hash: u64,
    /// How often each family of faults struck.
    pub struck: BTreeMap<&'static str, u64>,
    /// How often users were told of each kind of event.
    pub told: BTreeMap<&'static str, u64>,
    /// The longest and the mean calm, in nanoseconds, until a run's views were the truth.
    pub healed_max: u64,
    /// See `healed_max`.
    pub healed_sum: u64,
    /// Deaths of the living, all of them excused by faults.
    pub false_deaths: u64,
    /// The same by the family of faults that excused them.
    pub excused: BTreeMap<&'static str, u64>,
    /// The failing seeds, lowest first, with what failed.
    pub failures: Vec<(u64, Outcome)>,
}

/// Runs `scenario` under every seed of a range on `jobs` threads, until `failures_max` have failed.
/// Seeds that `twice` names run twice, and fail if the two runs are not the same.
pub fn search(
    scenario: &Scenario,
    seeds: Range<u64>,
    jobs: usize,
    twice: Twice,
    failures_max: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Search {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Search::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let scenario = Scenario { seed, ..scenario.clone() };
                    let mut outcome = run(&scenario);
                    if twice.holds(seed - seeds.start) && outcome.failure.is_none() {
                        outcome = compare(outcome, run(&scenario));
                    }
                    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    total.add(seed, outcome);
                    progress(total.seeds);
                    if total.failures.len() >= failures_max {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    total.failures.sort_by_key(|(seed, _)| *seed);
    total
}

/// Returns the outcome of two runs of one seed: the first, failed if the second is not the same.
fn compare(one: Outcome, other: Outcome) -> Outcome {
    if other.failure.is_some() {
        return other;
    }
    let has_parted = one.hash != other.hash;
    let failure = has_parted.then(|| Failure {
        violation: Violation {
            oracle: "determinism",
            detail: format!("two runs of this seed were not the same. {CAUSES}"),
        },
        at: one.virtual_nanos,
        event: one.tally.events,
    });
    Outcome { failure, ..one }
}

impl Search {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.tally.events;
        self.hash =
            self.hash.wrapping_add(mix(mix(seed) ^ digest(outcome.hash.to_string().as_bytes())));
        for (&family, count) in &outcome.struck {
            *self.struck.entry(family).or_default() += count;
        }
        for (name, count) in TOLD.iter().zip(outcome.tally.told) {
            *self.told.entry(name).or_default() += count;
        }
        let healed = outcome.healed.unwrap_or(0);
        self.healed_max = healed.max(self.healed_max);
        self.healed_sum += healed;
        self.false_deaths += outcome.false_deaths;
        for (&cause, count) in &outcome.excused {
            *self.excused.entry(cause).or_default() += count;
        }
        if outcome.failure.is_some() {
            self.failures.push((seed, outcome));
        }
    }

    /// What a search of the swarm should have reached and did not; nothing is asked of few seeds.
    pub fn unreached(&self) -> Vec<&'static str> {
        if self.seeds < REACHES_ALL_FROM {
            return Vec::new();
        }
        let families = FAMILIES.iter().filter(|family| !self.struck.contains_key(*family));
        let told = TOLD.iter().filter(|name| self.told.get(*name).is_none_or(|&count| count == 0));
        families.chain(told.filter(|name| !RARE.contains(name))).copied().collect()
    }
}
