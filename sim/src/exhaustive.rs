//! Every order of deliveries and timeouts of a cluster of two or three, to a bounded depth.
//!
//! A step is one delivery of what is under way, one timer, one crash or one restart; which of those
//! that can happen next is asked of [`Choices`] like everything else, where 0 is what is usual.
//! There is no common time: a node's clock stands still until one of its own timers fires, so a
//! node may be any amount faster than another, and a payload any amount late. A breadth-first
//! search plays every prefix of choices up to the depth, and expands each state that it comes to
//! once.
//!
//! Two states are the same if a hash of 128 bits over everything says so: all that the machines
//! hold, private fields included, their clocks, what is under way, and what the oracles remember.
//! So nothing that can differ later is merged, but for a collision; what would not differ may be
//! counted twice.
//!
//! From the joined cluster on, at most `crashes`, `restarts` and `suspicions` happen; a branch that
//! begins another suspicion is cut and counted.

mod cluster;
#[cfg(feature = "cli")]
pub mod connections;

use std::collections::BTreeSet;
use std::time::Duration;

use chinwag_core::membership::Config;
use serde_json::{Value, json};

use crate::checker::{Check, Violation};
use crate::choices::{Choices, Key, Odds, Site};
use crate::mutant::Mutant;
use crate::world::TOLD;
use cluster::Cluster;

/// Steps in which a calm cluster of three has long joined.
const JOIN_STEPS_MAX: usize = 10_000;
/// A cluster heals within this time of its own clocks, once everything is usual: a reconnection or
/// two, and an exchange of tables.
const HEALS_WITHIN: u64 = 300_000_000_000;

/// What is searched.
#[derive(Clone, Debug)]
pub struct Search {
    /// Two or three nodes.
    pub nodes: usize,
    /// Steps from the joined cluster on.
    pub depth: usize,
    /// Processes that crash at most.
    pub crashes: u32,
    /// Of those, how many start again at most.
    pub restarts: u32,
    /// Lives that are suspected at most, by whomever.
    pub suspicions: usize,
    /// The search gives up at so many states.
    pub states_max: usize,
    /// Whether every state at the full depth is shown to heal.
    pub heals: bool,
    /// Of each node.
    pub config: Config,
    /// A defect put in on purpose.
    pub mutant: Option<Mutant>,
}

/// Three nodes, one suspicion, one crash and one restart. A suspicion lasts one round of probes, so
/// that its end is within the depth; a rumour is told once, and a table exchange that nothing calls
/// for is far away, so that the depth is not spent on them.
impl Default for Search {
    fn default() -> Self {
        let config = Config {
            suspicion_mult: 1,
            suspicion_max_mult: 1,
            retransmit_mult: 1,
            sync_interval_min: Duration::from_secs(30),
            ..Config::lan()
        };
        Self {
            nodes: 3,
            depth: 6,
            crashes: 1,
            restarts: 1,
            suspicions: 1,
            states_max: 5_000_000,
            heals: true,
            config,
            mutant: None,
        }
    }
}

/// A way to a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// What was violated.
    pub violation: Violation,
    /// The choices that lead there.
    pub order: Vec<u32>,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Distinct states by the least number of steps to them.
    pub states: Vec<usize>,
    /// Steps taken from them, and those of them that led to a state that was known.
    pub steps: u64,
    /// See `steps`.
    pub merged: u64,
    /// Steps that would have begun one suspicion too many.
    pub cut: u64,
    /// States that were shown to heal.
    pub healed: u64,
    /// Events told on the way, by name.
    pub told: Vec<(&'static str, u64)>,
    /// Whether all was searched that was asked for.
    pub is_complete: bool,
    /// The first violation, by the shortest way.
    pub failure: Option<Counterexample>,
}

/// What holds in every state that is reached.
pub const INVARIANTS: [&str; 13] = [
    "incarnation_lattice",
    "no_forged_incarnation",
    "self_is_alive",
    "own_life",
    "owners_word",
    "suspicion_time",
    "no_resurrection",
    "event_order",
    "events_fold",
    "poll_contract",
    "mtu",
    "resources",
    "awareness",
];

/// Searches every order.
pub fn search(search: &Search) -> Found {
    let mut found = Found { is_complete: true, ..Found::default() };
    let mut told = [0; TOLD.len()];
    let mut known = BTreeSet::new();
    let mut start = match joined(search, false) {
        Ok(start) => start,
        Err(violation) => return found.failed(violation, Vec::new()),
    };
    known.insert(start.digest());
    let mut frontier: Vec<Vec<u32>> = vec![Vec::new()];
    found.states.push(1);
    for depth in 1..=search.depth {
        let mut next = Vec::new();
        for order in &frontier {
            let (mut choice, mut choices) = (0, 1);
            while choice < choices {
                let longer: Vec<u32> = order.iter().copied().chain([choice]).collect();
                let (mut cluster, count, checked) = match play(search, &longer) {
                    Ok(played) => played,
                    Err(violation) => return found.failed(violation, longer),
                };
                choices = count;
                if count == 0 {
                    break;
                }
                found.steps += 1;
                if let Err(violation) = checked {
                    return found.failed(violation, longer);
                }
                told.iter_mut().zip(cluster.told).for_each(|(sum, told)| *sum += told);
                choice += 1;
                if cluster.suspected() > search.suspicions {
                    found.cut += 1;
                } else if !known.insert(cluster.digest()) {
                    found.merged += 1;
                } else {
                    if depth == search.depth && search.heals {
                        if let Err(violation) = cluster.heals(HEALS_WITHIN) {
                            return found.failed(violation, longer);
                        }
                        found.healed += 1;
                    }
                    next.push(longer);
                }
            }
            if known.len() >= search.states_max {
                found.is_complete = false;
                break;
            }
        }
        found.states.push(next.len());
        found.told = TOLD.into_iter().zip(told).collect();
        frontier = next;
        if !found.is_complete {
            break;
        }
    }
    found
}

impl Found {
    fn failed(mut self, violation: Violation, order: Vec<u32>) -> Self {
        self.failure = Some(Counterexample { violation, order });
        self.is_complete = false;
        self
    }

    /// Distinct states.
    pub fn state_count(&self) -> usize {
        self.states.iter().sum()
    }

    /// One JSON object.
    pub fn report(&self, search: &Search, wall_s: f64) -> Value {
        let told: serde_json::Map<String, Value> =
            self.told.iter().map(|&(name, count)| (name.to_owned(), count.into())).collect();
        json!({
            "nodes": search.nodes, "depth": search.depth, "crashes": search.crashes,
            "restarts": search.restarts,
            "suspicions": search.suspicions, "states": self.state_count(),
            "states_by_depth": self.states,
            "steps": self.steps, "merged": self.merged, "cut": self.cut, "healed": self.healed,
            "told": told,
            "is_complete": self.is_complete, "wall_s": wall_s,
            "invariants": if self.failure.is_none() { &INVARIANTS[..] } else { &[] },
            "failure": self.failure.as_ref().map(|failure| json!({
                "oracle": failure.violation.oracle, "detail": failure.violation.detail,
                "order": failure.order,
            })),
        })
    }
}

/// The choices of one order.
struct Order<'a>(&'a [u32]);

impl Choices for Order<'_> {
    fn choose(&mut self, key: Key, odds: Odds) -> u32 {
        self.0.get(key.nth as usize).map_or(0, |&choice| choice.min(odds.most))
    }
}

/// The cluster after all of `order`, how many choices its last step had, and what the oracles say
/// of that step.
fn play(search: &Search, order: &[u32]) -> Result<(Cluster, u32, Check), Violation> {
    let mut cluster = joined(search, false)?;
    let Some((last, before)) = order.split_last() else { return Ok((cluster, 0, Ok(()))) };
    let mut choices = Order(before);
    for nth in 0..before.len() {
        step(&mut cluster, nth, &mut choices)?;
    }
    let acts = cluster.acts();
    let count = u32::try_from(acts.len()).expect("a few");
    let checked = acts.get(*last as usize).map_or(Ok(()), |&act| cluster.act(act));
    Ok((cluster, count, checked))
}

fn step(cluster: &mut Cluster, nth: usize, choices: &mut dyn Choices) -> Check {
    let acts = cluster.acts();
    let Some(most) = acts.len().checked_sub(1) else { return Ok(()) };
    let nth = u32::try_from(nth).unwrap_or(u32::MAX);
    let odds = Odds::up_to(u32::try_from(most).expect("a few"));
    let choice = choices.choose(Key { site: Site::Order, who: 0, whom: 0, nth }, odds);
    cluster.act(acts[choice as usize])
}

/// A cluster in which all see all and nothing is under way.
fn joined(search: &Search, tells: bool) -> Result<Cluster, Violation> {
    let mut cluster = Cluster::new(search.nodes, &search.config, search.mutant)?;
    for nth in 0..JOIN_STEPS_MAX {
        if cluster.is_converged() {
            cluster.let_go(search.crashes, search.restarts, tells);
            return Ok(cluster);
        }
        step(&mut cluster, nth, &mut Order(&[]))?;
    }
    Err(Violation { oracle: "convergence", detail: "a calm cluster does not join".into() })
}

/// One order of `search.depth` steps out of `choices`, from the joined cluster on, and then the
/// calm; with what happened in words. Any depth: this is for replaying what a search has found, and
/// for longer walks by chance.
///
/// # Errors
/// The first [`Violation`].
pub fn walk(search: &Search, choices: &mut dyn Choices) -> (Vec<String>, Check) {
    let mut cluster = match joined(search, true) {
        Ok(cluster) => cluster,
        Err(violation) => return (Vec::new(), Err(violation)),
    };
    let mut walked = (0..search.depth).try_for_each(|nth| step(&mut cluster, nth, choices));
    if search.heals {
        walked = walked.and_then(|()| cluster.heals(HEALS_WITHIN));
    }
    (cluster.lines, walked)
}

/// [`walk`] by the choices of a counterexample.
///
/// # Errors
/// The first [`Violation`].
pub fn replay(search: &Search, order: &[u32]) -> (Vec<String>, Check) {
    walk(&Search { depth: order.len(), ..search.clone() }, &mut Order(order))
}

#[cfg(test)]
mod tests;
