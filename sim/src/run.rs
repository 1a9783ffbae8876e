//! One run from its seed to its report.

use std::collections::BTreeMap;
use std::fmt;

use chinwag_core::membership::Config;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checker::Violation;
use crate::checker::deaths::{Detection, converges_within, seconds};
use crate::choices::{Choices, Seeded, Tape};
use crate::clock::nanos;
use crate::fault::Plan;
use crate::mutant::Mutant;
use crate::node::Calls;
use crate::swarm;
use crate::trace::TraceHash;
use crate::trace::record::Record;
use crate::world::{Setup, TOLD, Tally, World};

const SECOND: u64 = 1_000_000_000;
/// How often convergence is looked for, nanoseconds.
const LOOK_EVERY: u64 = 100_000_000;
/// So long a cluster must stay as it is once it has converged, in the calm after the faults: the
/// longest round of a node that thinks the worst of itself, and a few more of the others.
const STAYS_FOR: u64 = 15 * SECOND;

/// What goes wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faults {
    /// What the seed draws; of those only the ones with these numbers, if given.
    Swarm(Option<Vec<usize>>),
    /// The same of the odd swarm ([`swarm::odd`]).
    Odd(Option<Vec<usize>>),
    /// What the seed draws of the mild faults alone ([`swarm::mild`]), which excuse nothing.
    Mild,
    /// This.
    These(Plan),
}

/// How deep a run goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// [`Membership`](chinwag_core::membership::Membership) machines and nothing else, for large
    /// clusters and many seeds.
    #[default]
    Protocol,
    /// The driver that ships, under a workload of calls.
    Node,
}

/// Everything a run follows from.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How deep it goes.
    pub level: Level,
    /// How many nodes.
    pub nodes: usize,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Nanoseconds of virtual time with faults; the calm comes after.
    pub span: u64,
    /// Of each node.
    pub config: Config,
    /// What goes wrong.
    pub faults: Faults,
    /// Whether a calm phase follows in which the cluster must converge.
    pub calms: bool,
    /// Whether the oracles look.
    pub checks: bool,
    /// Lines of the story to keep.
    pub story_lines: usize,
    /// Whether a trace is kept.
    pub traces: bool,
    /// Nodes that never start.
    pub absent: Vec<u32>,
    /// Whether the nodes have a secret. At node level alone: the protocol level has no bytes to
    /// encrypt.
    pub is_encrypted: bool,
    /// A defect put in on purpose.
    pub mutant: Option<Mutant>,
}

/// Five nodes for a minute of the swarm of seed 0, with all oracles.
impl Default for Scenario {
    fn default() -> Self {
        Self {
            level: Level::Protocol,
            nodes: 5,
            seed: 0,
            span: 60 * SECOND,
            config: Config::lan(),
            faults: Faults::Swarm(None),
            calms: true,
            checks: true,
            story_lines: 0,
            traces: false,
            absent: Vec::new(),
            is_encrypted: false,
            mutant: None,
        }
    }
}

/// Where and how a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was violated.
    pub violation: Violation,
    /// At which true nanosecond.
    pub at: u64,
    /// At the how-manieth event.
    pub event: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { violation, at, event } = self;
        write!(f, "{violation}\n  at {:.6} s, event {event}", seconds(*at))
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The hash of everything that happened.
    pub hash: TraceHash,
    /// Virtual nanoseconds.
    pub virtual_nanos: u64,
    /// The failure, if there was one.
    pub failure: Option<Failure>,
    /// When all first saw all.
    pub converged: Option<u64>,
    /// How long the calm took until all views were the truth.
    pub healed: Option<u64>,
    /// Counts.
    pub tally: Tally,
    /// How each crash was noticed.
    pub detections: Vec<Detection>,
    /// Suspicions of the living, each observer counted.
    pub false_suspicions: u64,
    /// Deaths of the living, each observer counted.
    pub false_deaths: u64,
    /// The same by the family of faults that excused them.
    pub excused: BTreeMap<&'static str, u64>,
    /// The living that were doubted and are believed again.
    pub flaps: u64,
    /// The plan.
    pub plan: Plan,
    /// How calls ended, at node level.
    pub calls: Option<Calls>,
    /// What was chosen other than 0, if the choices are recorded.
    pub tape: Option<Tape>,
    /// How often each family of faults has struck.
    pub struck: BTreeMap<&'static str, u64>,
    /// What happened, if a trace was asked for.
    pub trace: Vec<Record>,
    /// The last lines of what happened.
    pub story: Vec<String>,
}

/// The choices and the plan of a scenario.
pub fn plan_of(scenario: &Scenario, choices: &mut dyn Choices) -> Plan {
    match &scenario.faults {
        Faults::These(plan) => plan.clone(),
        Faults::Mild => swarm::mild(choices, scenario.nodes, scenario.span),
        Faults::Swarm(kept) | Faults::Odd(kept) => {
            let is_odd = matches!(scenario.faults, Faults::Odd(_));
            let draw = if is_odd { swarm::odd } else { swarm::plan };
            let mut plan = draw(choices, scenario.nodes, scenario.span);
            if let Some(kept) = kept {
                let mut number = 0;
                plan.faults.retain(|_| {
                    number += 1;
                    kept.contains(&(number - 1))
                });
            }
            plan
        }
    }
}

/// Runs a scenario under its seed.
pub fn run(scenario: &Scenario) -> Outcome {
    run_with(scenario, Box::new(Seeded::new(scenario.seed)))
}

/// Runs a scenario with other choices than those of its seed.
pub fn run_with(scenario: &Scenario, mut choices: Box<dyn Choices>) -> Outcome {
    if scenario.level == Level::Node {
        return crate::node::run_with(scenario, choices);
    }
    let plan = plan_of(scenario, &mut *choices);
    let setup = Setup {
        nodes: scenario.nodes,
        config: scenario.config.clone(),
        start_every: if scenario.nodes <= 64 { 10_000_000 } else { 1_000_000 },
        story_lines: scenario.story_lines,
        checks: scenario.checks,
        traces: scenario.traces,
        absent: scenario.absent.clone(),
        mutant: scenario.mutant,
    };
    let mut world = World::new(setup, plan.clone(), scenario.seed, choices);
    let mut times = Times::default();
    let ended = drive(scenario, &mut world, &mut times);
    if let Err(violation) = &ended {
        world.tell_failure(violation);
    }
    let failure = ended.err().map(|violation| Failure {
        violation,
        at: world.now(),
        event: world.tally().events,
    });
    Outcome {
        hash: world.hash(),
        virtual_nanos: world.now(),
        failure,
        converged: times.converged,
        healed: times.healed,
        tally: world.tally(),
        detections: world.deaths.detections().collect(),
        false_suspicions: world.deaths.false_suspicions,
        false_deaths: world.deaths.false_deaths,
        excused: world.deaths.excused.clone(),
        flaps: world.deaths.flaps,
        struck: world.struck(),
        trace: std::mem::take(&mut world.trace).into_records(),
        story: world.take_story(),
        tape: world.take_tape(),
        calls: None,
        plan,
    }
}

#[derive(Default)]
struct Times {
    converged: Option<u64>,
    healed: Option<u64>,
}

fn drive(scenario: &Scenario, world: &mut World, times: &mut Times) -> Result<(), Violation> {
    while times.converged.is_none() && world.now() < scenario.span {
        world.run_until((world.now() + LOOK_EVERY).min(scenario.span))?;
        if world.unconverged().is_none() {
            times.converged = Some(world.now());
        }
    }
    world.run_until(scenario.span)?;
    if scenario.checks && scenario.nodes > 1 && world.tally().told[0] == 0 {
        return Err(Violation { oracle: "vacuity", detail: "nobody ever joined".into() });
    }
    let within = nanos(converges_within(&scenario.config, scenario.nodes));
    if scenario.checks
        && world.is_faultless()
        && scenario.span >= within
        && times.converged.is_none()
    {
        let reason = world.unconverged().unwrap_or_default();
        return Err(Violation {
            oracle: "convergence",
            detail: format!("{reason}, and nothing ever went wrong"),
        });
    }
    let can_converge = !world.forges() && !world.parts_for_ever() && world.can_meet();
    if scenario.calms && scenario.checks && can_converge {
        times.healed = Some(calm(scenario, world)?);
    }
    Ok(())
}

/// No more faults, and no help: all views must become the truth, and stay so.
fn calm(scenario: &Scenario, world: &mut World) -> Result<u64, Violation> {
    let within = nanos(converges_within(&scenario.config, scenario.nodes));
    // What a fault held back arrives now, perhaps from a process that will not say anything again:
    // agreement counts after that.
    world.run_until(world.now() + LOOK_EVERY)?;
    while let Some(reason) = world.unconverged() {
        if world.now() - scenario.span > within {
            return Err(unhealed(&reason, &world.groups(), within));
        }
        world.run_until(world.now() + LOOK_EVERY)?;
    }
    let healed = world.now() - scenario.span;
    stay(scenario, world)?;
    match world.unconverged() {
        None => Ok(healed),
        Some(reason) => {
            let detail =
                format!("{reason}, although all had agreed {} s before", STAYS_FOR / SECOND);
            Err(Violation { oracle: "convergence", detail })
        }
    }
}

/// The views are not the truth so many nanoseconds after the last fault. `groups` do not see each
/// other.
pub(crate) fn unhealed(reason: &str, groups: &[Vec<u32>], within: u64) -> Violation {
    let after = format!("{:.0} s after the last fault", seconds(within));
    if groups.len() > 1 {
        let detail = format!("{after} there are several clusters: {groups:?}");
        return Violation { oracle: "one_cluster", detail };
    }
    Violation { oracle: "convergence", detail: format!("{reason}, {after}") }
}

/// Once the rounds that had begun before are over, nobody may be doubted. A round is stretched by
/// the awareness that it begins with, which may yet have grown by one.
fn stay(scenario: &Scenario, world: &mut World) -> Result<(), Violation> {
    let until = world.now() + STAYS_FOR;
    let score = (world.awareness_max() + 1).min(scenario.config.awareness_max);
    let rounds = scenario.config.probe_interval * (u32::from(score) + 1);
    let rests_at = world.now() + nanos(rounds);
    if rests_at < until && !world.disturbs_for_ever() {
        world.run_until(rests_at)?;
        world.rest();
    }
    world.run_until(until)
}

impl Outcome {
    /// The report as one JSON object; `wall_s` is how long the run took.
    pub fn report(&self, scenario: &Scenario, wall_s: f64) -> Value {
        let virtual_s = seconds(self.virtual_nanos);
        let node_seconds = virtual_s * f64::from(u32::try_from(scenario.nodes).unwrap_or(u32::MAX));
        let per =
            |count: u64, of: f64| if of > 0.0 { round(seconds(count) * 1e9 / of) } else { 0.0 };
        let told = TOLD
            .iter()
            .zip(self.tally.told)
            .map(|(name, count)| ((*name).to_owned(), json!(count)));
        let of = |pick: fn(&Detection) -> Option<u64>| {
            let mut values: Vec<u64> = self.detections.iter().filter_map(pick).collect();
            values.sort_unstable();
            let at = |percent: usize| {
                values
                    .get(values.len().saturating_sub(1) * percent / 100)
                    .map(|&at| round(seconds(at)))
            };
            json!({ "p50": at(50), "p99": at(99) })
        };
        json!({
            "seed": scenario.seed,
            "nodes": scenario.nodes,
            "virtual_s": round(virtual_s),
            "wall_s": round(wall_s),
            "events": self.tally.events,
            "events_per_s": per(self.tally.events, wall_s),
            "node_seconds_per_s": if wall_s > 0.0 { round(node_seconds / wall_s) } else { 0.0 },
            "trace_hash": self.hash.to_string(),
            "converged_s": self.converged.map(|at| round(seconds(at))),
            "healed_s": self.healed.map(|at| round(seconds(at))),
            "first_suspect_s": of(|detection| detection.suspect),
            "first_death_s": of(|detection| detection.first),
            "all_deaths_s": of(|detection| detection.last),
            "false_suspicions": self.false_suspicions,
            "false_deaths": self.false_deaths,
            "flaps": self.flaps,
            "datagrams_per_node_s": per(self.tally.datagrams, node_seconds),
            "bytes_per_node_s": per(self.tally.datagram_bytes + self.tally.stream_bytes, node_seconds),
            "events_told": Value::Object(told.collect()),
            "calls": self.calls.as_ref().map(Calls::report),
            "faults": self.struck,
            "failure": self.failure.as_ref().map(|failure| json!({
                "oracle": failure.violation.oracle,
                "detail": failure.violation.detail,
                "at_s": seconds(failure.at),
                "event": failure.event,
            })),
        })
    }
}

fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_its_fields_by_name_and_a_trace_changes_nothing() {
        let scenario = Scenario { span: 20 * SECOND, ..Scenario::default() };
        let outcome = run(&scenario);
        let report = outcome.report(&scenario, 0.5);
        for name in [
            "seed",
            "nodes",
            "virtual_s",
            "wall_s",
            "events",
            "events_per_s",
            "node_seconds_per_s",
            "trace_hash",
            "converged_s",
            "first_suspect_s",
            "first_death_s",
            "all_deaths_s",
            "false_suspicions",
            "false_deaths",
            "flaps",
            "datagrams_per_node_s",
            "bytes_per_node_s",
        ] {
            assert!(report.get(name).is_some(), "{name}");
        }
        for name in ["first_suspect_s", "first_death_s", "all_deaths_s"] {
            let keys: Vec<&String> =
                report[name].as_object().into_iter().flat_map(serde_json::Map::keys).collect();
            assert_eq!(keys, ["p50", "p99"], "{name}");
        }
        let traced = run(&Scenario { traces: true, ..scenario });
        assert_eq!((traced.hash, traced.tally), (outcome.hash, outcome.tally));
        assert!(outcome.trace.is_empty() && traced.trace.len() > 100);
    }
}
