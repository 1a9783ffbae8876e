//! Many seeds, on several threads with one world each, until one fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chinwag_core::rng::mix;

use crate::fault::{FAMILIES, watched_by};
use crate::run::{Faults, Outcome, Scenario, run};
use crate::swarm::odd_families;
use crate::trace::digest;
use crate::world::TOLD;

/// So many seeds of the swarm reach every family of faults and every kind of event, or the search
/// was vacuous.
const REACHES_ALL_FROM: u64 = 200;
/// Events that a search need not reach: one needs a rival or a forgery, the other a small cluster.
const RARE: [&str; 2] = ["conflict", "isolated"];

/// The families that a swarm draws, all of them; none if it is not a whole swarm.
pub fn families(of: &Faults) -> Vec<&'static str> {
    match of {
        Faults::Swarm(None) => FAMILIES.to_vec(),
        Faults::Odd(None) => odd_families(),
        _ => Vec::new(),
    }
}

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
    /// In how many seeds each family of faults struck.
    pub struck_seeds: BTreeMap<&'static str, u64>,
    /// How often users were told of each kind of event.
    pub told: BTreeMap<&'static str, u64>,
    /// The longest and the mean calm, in nanoseconds, until a run's views were the truth.
    pub healed_max: u64,
    /// See `healed_max`.
    pub healed_sum: u64,
    /// Deaths of the living, all of them excused by faults.
    pub false_deaths: u64,
    /// The failing seeds, lowest first, with what failed.
    pub failures: Vec<(u64, Outcome)>,
}

/// Runs `scenario` under every seed of a range on `jobs` threads, until `failures_max` have failed.
pub fn search(
    scenario: &Scenario,
    seeds: Range<u64>,
    jobs: usize,
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
                    let outcome = run(&Scenario { seed, ..scenario.clone() });
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

impl Search {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.tally.events;
        self.hash =
            self.hash.wrapping_add(mix(mix(seed) ^ digest(outcome.hash.to_string().as_bytes())));
        for (&family, count) in &outcome.struck {
            *self.struck.entry(family).or_default() += count;
            *self.struck_seeds.entry(family).or_default() += 1;
        }
        for (name, count) in TOLD.iter().zip(outcome.tally.told) {
            *self.told.entry(name).or_default() += count;
        }
        let healed = outcome.healed.unwrap_or(0);
        self.healed_max = healed.max(self.healed_max);
        self.healed_sum += healed;
        self.false_deaths += outcome.false_deaths;
        if outcome.failure.is_some() {
            self.failures.push((seed, outcome));
        }
    }

    /// The rows of a table in Markdown: each of these families, in how many seeds it struck, and the
    /// oracles that watch.
    pub fn table(&self, families: &[&'static str]) -> String {
        let row = |family: &&'static str| {
            let seeds = self.struck_seeds.get(family).copied().unwrap_or(0);
            let oracles: Vec<String> =
                watched_by(family).iter().map(|oracle| format!("`{oracle}`")).collect();
            format!("| `{family}` | {seeds} | {} |\n", oracles.join(", "))
        };
        families.iter().map(row).collect()
    }

    /// What a search of a swarm of these families should have reached and did not; nothing is asked
    /// of few seeds.
    pub fn unreached(&self, families: &[&'static str]) -> Vec<&'static str> {
        if self.seeds < REACHES_ALL_FROM {
            return Vec::new();
        }
        let families = families.iter().filter(|family| !self.struck.contains_key(*family));
        let told = TOLD.iter().filter(|name| self.told.get(*name).is_none_or(|&count| count == 0));
        families.chain(told.filter(|name| !RARE.contains(name))).copied().collect()
    }
}
