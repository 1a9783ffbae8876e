//! A failing run of either level as files: the tape that repeats it, its trace, its timeline; and
//! how it is made small.

use std::fs;
use std::io::{self, BufWriter};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::args::{PRESETS, preset};
use crate::choices::{Choices, Recorder, Seeded, Tape};
use crate::fault::{Addresses, Answers, Fault, Plan, Quality, text};
use crate::minimise::{Minimised, Parts, minimise};
use crate::run::{Faults, Level, Outcome, Scenario, plan_of, run_with};
use crate::trace::record::{Record, write_lines};
use crate::trace::timeline::{Heading, page};

/// Runs that minimising takes at most, before and after its choices are written down: a run of five
/// nodes takes about two milliseconds.
const RUNS_MAX: usize = 600;
/// A cluster of fewer is none.
const NODES_MIN: usize = 2;
const SECOND: u64 = 1_000_000_000;

/// A scenario whose faults are written out, with its choices if they are, too.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its faults are [`Faults::These`].
    pub scenario: Scenario,
    /// The choices other than 0; without, the seed chooses.
    pub tape: Option<Tape>,
}

impl Case {
    /// The scenario with its plan written out.
    pub fn new(scenario: &Scenario) -> Self {
        let plan = plan_of(scenario, &mut Seeded::new(scenario.seed));
        Self { scenario: Scenario { faults: Faults::These(plan), ..scenario.clone() }, tape: None }
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        let choices: Box<dyn Choices> = match &self.tape {
            Some(tape) => Box::new(tape.clone()),
            None => Box::new(Seeded::new(self.scenario.seed)),
        };
        run_with(&self.scenario, choices)
    }

    /// Runs it and keeps a trace.
    pub fn traced(&self) -> Outcome {
        let scenario = Scenario { traces: true, ..self.scenario.clone() };
        Self { scenario, tape: self.tape.clone() }.run()
    }

    /// The faults.
    pub fn plan(&self) -> &Plan {
        match &self.scenario.faults {
            Faults::These(plan) => plan,
            Faults::Swarm(_) | Faults::Odd(_) | Faults::Mild => {
                unreachable!("a case has its plan written out, by `new` and `parse`")
            }
        }
    }

    fn with(&self, faults: Plan) -> Self {
        Self {
            scenario: Scenario { faults: Faults::These(faults), ..self.scenario.clone() },
            tape: self.tape.clone(),
        }
    }

    /// The same with the choices of its seed written down.
    fn recorded(&self) -> Self {
        let outcome =
            run_with(&self.scenario, Box::new(Recorder::new(Seeded::new(self.scenario.seed))));
        Self { scenario: self.scenario.clone(), tape: outcome.tape }
    }

    /// Numbers of the faults of the plan that are operations of users, or that are not.
    fn faults(&self, are_operations: bool) -> Vec<usize> {
        let faults = self.plan().faults.iter().enumerate();
        faults
            .filter(|(_, timed)| timed.fault.is_operation() == are_operations)
            .map(|(at, _)| at)
            .collect()
    }

    fn present(&self) -> Vec<u32> {
        let nodes = u32::try_from(self.scenario.nodes).unwrap_or(u32::MAX);
        (0..nodes).filter(|node| !self.scenario.absent.contains(node)).collect()
    }

    fn without_nodes(&self, gone: &[u32]) -> Self {
        let mut case = self.clone();
        case.scenario.absent.extend(gone);
        case.scenario.absent.sort_unstable();
        // The last ones need not even be absent.
        while case
            .scenario
            .absent
            .last()
            .is_some_and(|&last| last as usize + 1 == case.scenario.nodes)
        {
            case.scenario.absent.pop();
            case.scenario.nodes -= 1;
        }
        let stays = |node: u32| {
            (node as usize) < case.scenario.nodes && !case.scenario.absent.contains(&node)
        };
        let mut plan = self.plan().clone();
        plan.faults.retain_mut(|timed| {
            let Some(fault) = timed.fault.among(stays) else { return false };
            timed.fault = fault;
            true
        });
        case.with(plan)
    }

    /// The faults end by `span`, and the run, or its calm begins.
    fn within(&self, span: u64) -> Self {
        let mut plan = self.plan().clone();
        plan.faults.retain(|timed| timed.at < span);
        for timed in plan.faults.iter_mut().filter(|timed| timed.until != u64::MAX) {
            timed.until = timed.until.min(span);
        }
        let mut case = self.with(plan);
        case.scenario.span = span;
        case
    }
}

const FAULTS: usize = 0;
const NODES: usize = 1;
const OPERATIONS: usize = 2;

impl Parts for Case {
    type Outcome = Outcome;
    const GROUPS: &'static [&'static str] = &["faults", "nodes", "operations", "choices"];

    fn count(&self, group: usize) -> usize {
        match group {
            FAULTS | OPERATIONS => self.faults(group == OPERATIONS).len(),
            NODES => self.present().len(),
            _ => self.tape.as_ref().map_or(0, Tape::len),
        }
    }

    fn without(&self, group: usize, parts: Range<usize>) -> Option<Self> {
        match group {
            FAULTS | OPERATIONS => {
                let gone = &self.faults(group == OPERATIONS)[parts];
                let mut plan = self.plan().clone();
                let mut number = 0;
                plan.faults.retain(|_| {
                    number += 1;
                    !gone.contains(&(number - 1))
                });
                Some(self.with(plan))
            }
            NODES => {
                let present = self.present();
                let is_left = present.len() - parts.len() >= NODES_MIN;
                is_left.then(|| self.without_nodes(&present[parts]))
            }
            _ => {
                let mut case = self.clone();
                let mut number = 0;
                case.tape.as_mut()?.retain(|_| {
                    number += 1;
                    !parts.contains(&(number - 1))
                });
                Some(case)
            }
        }
    }

    fn simpler(&self, outcome: &Outcome) -> Vec<Self> {
        let mut simpler = self.shorter(outcome);
        for number in 0..self.plan().faults.len() {
            let mut push = |change: &dyn Fn(&mut crate::fault::Timed)| {
                let mut plan = self.plan().clone();
                change(&mut plan.faults[number]);
                if plan != *self.plan() {
                    simpler.push(self.with(plan));
                }
            };
            let timed = &self.plan().faults[number];
            // Round times are read more easily; a step down, so that there is an end to it.
            push(&|timed| timed.at -= timed.at % SECOND);
            if timed.until != u64::MAX {
                let lasts = timed.until.saturating_sub(timed.at);
                push(&|timed| {
                    timed.until -= if lasts > 2 * SECOND { timed.until % SECOND } else { 0 }
                });
                push(&|timed| {
                    timed.until = timed.at + if lasts > 20_000_000 { lasts / 2 } else { lasts }
                });
            }
            for weaker in weaker(&timed.fault) {
                push(&|timed| timed.fault.clone_from(&weaker));
            }
        }
        simpler
    }
}

impl Case {
    fn shorter(&self, outcome: &Outcome) -> Vec<Self> {
        let span = self.scenario.span;
        let failed_at = outcome.failure.as_ref().map_or(u64::MAX, |failure| failure.at + 1);
        let last = self
            .plan()
            .faults
            .iter()
            .map(|timed| if timed.until == u64::MAX { timed.at + 1 } else { timed.until });
        let spans =
            [failed_at, last.max().unwrap_or(SECOND), span / 2, span / 4 * 3, span - span % SECOND];
        let shorter = spans.into_iter().filter(|&shorter| (1..span).contains(&shorter));
        shorter.map(|shorter| self.within(shorter)).collect()
    }
}

/// The same fault, less of it.
pub(crate) fn weaker(fault: &Fault) -> Vec<Fault> {
    let mut weaker = Vec::new();
    match fault {
        Fault::Link { from, to, quality } => {
            let with = |quality| Fault::Link { from: from.clone(), to: to.clone(), quality };
            let half = |of: u32| if of > 2_000 { of / 2 } else { of };
            let half_span = |of: Duration| if of > Duration::from_millis(2) { of / 2 } else { of };
            let Quality {
                loss,
                delay,
                jitter,
                duplicate,
                reorder,
                corrupt,
                truncate,
                half_open,
                reset,
                ..
            } = *quality;
            weaker.push(with(Quality {
                loss: half(loss),
                duplicate: half(duplicate),
                reorder: half(reorder),
                corrupt: half(corrupt),
                truncate: half(truncate),
                half_open: half(half_open),
                reset: half(reset),
                ..*quality
            }));
            weaker.push(with(Quality { delay: half_span(delay), ..*quality }));
            weaker.push(with(Quality { jitter: half_span(jitter), ..*quality }));
        }
        Fault::Clock { node, step_ms, drift_ppm } => {
            let of = |step_ms, drift_ppm| Fault::Clock { node: *node, step_ms, drift_ppm };
            weaker.extend([
                of(0, *drift_ppm),
                of(*step_ms, 0),
                of(step_ms / 2, *drift_ppm),
                of(*step_ms, drift_ppm / 2),
            ]);
        }
        &Fault::Addresses { node, odd: Addresses::Nat(every) }
            if every < Duration::from_secs(30) =>
        {
            weaker.push(Fault::Addresses { node, odd: Addresses::Nat(every * 2) });
        }
        &Fault::Names { node, answers: Answers::Slow(after) }
            if after > Duration::from_millis(2) =>
        {
            weaker.push(Fault::Names { node, answers: Answers::Slow(after / 2) });
        }
        Fault::Offset { node, ms } => weaker.push(Fault::Offset { node: *node, ms: ms / 2 }),
        Fault::Crash { node, moves, keeps_clock } => {
            weaker.push(Fault::Crash { node: *node, moves: false, keeps_clock: *keeps_clock });
            weaker.push(Fault::Crash { node: *node, moves: *moves, keeps_clock: false });
        }
        other => weaker.extend(restarts_less_behind(other)),
    }
    // One node fewer on either side.
    let (from, to) = fault.sides();
    if from.len() + to.len() > 1 {
        weaker.extend(from.iter().filter_map(|&gone| fault.among(|node| node != gone)));
        weaker.extend(
            to.iter()
                .filter(|gone| !from.contains(gone))
                .filter_map(|&gone| fault.among(|node| node != gone)),
        );
    }
    weaker
}

/// A restart on a clock that is less behind, or not at all.
fn restarts_less_behind(fault: &Fault) -> Vec<Fault> {
    let &Fault::RestartBehind { node, behind } = fault else { return Vec::new() };
    let mut weaker = vec![Fault::Crash { node, moves: true, keeps_clock: false }];
    if behind > Duration::from_millis(2) {
        weaker.push(Fault::RestartBehind { node, behind: behind / 2 });
    }
    weaker
}

/// Makes a failing run small: its faults, nodes, operations, duration, magnitudes, and last its
/// choices. `holds` says whether what is left still fails in the way that is looked for.
pub fn shrink(
    scenario: &Scenario,
    outcome: &Outcome,
    holds: impl Fn(&Outcome) -> bool,
) -> Minimised<Case, Outcome> {
    let fails = |case: &Case| {
        let outcome = case.run();
        holds(&outcome).then_some(outcome)
    };
    let seeded = minimise(Case::new(scenario), outcome.clone(), RUNS_MAX, fails);
    let recorded = seeded.scenario.recorded();
    let Some(outcome) = fails(&recorded) else { return seeded };
    let taped = minimise(recorded, outcome, RUNS_MAX, fails);
    Minimised { runs: seeded.runs + taped.runs, ..taped }
}

/// [`shrink`], where the failure is that the same oracle bites.
pub fn shrink_failure(scenario: &Scenario, outcome: &Outcome) -> Minimised<Case, Outcome> {
    let oracle_of =
        |outcome: &Outcome| outcome.failure.as_ref().map(|failure| failure.violation.oracle);
    let oracle = oracle_of(outcome);
    shrink(scenario, outcome, |tried| oracle.is_some() && oracle_of(tried) == oracle)
}

/// A case as it stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    /// Of this format.
    version: u32,
    #[serde(default, skip_serializing_if = "text::is_default")]
    level: Level,
    preset: String,
    /// Without any part of Lifeguard.
    #[serde(default, skip_serializing_if = "text::is_default")]
    swim: bool,
    /// The nodes have a secret.
    #[serde(default, skip_serializing_if = "text::is_default")]
    encrypted: bool,
    nodes: usize,
    #[serde(default, skip_serializing_if = "text::is_default")]
    absent: Vec<u32>,
    seed: u64,
    #[serde(rename = "for", with = "text::span")]
    span: Duration,
    calms: bool,
    plan: Plan,
    /// One choice a line: site, who, whom, nth, answer.
    #[serde(default, skip_serializing_if = "text::is_default")]
    choices: Option<Vec<String>>,
}

impl Case {
    /// As JSON, for [`Case::parse`]. `preset` is the name of the configuration.
    pub fn to_json(&self, preset: &str) -> String {
        let Scenario { level, nodes, seed, span, calms, absent, config, is_encrypted, .. } =
            &self.scenario;
        let file = CaseText {
            version: 1,
            level: *level,
            preset: preset.to_owned(),
            swim: config.awareness_max == 0,
            encrypted: *is_encrypted,
            nodes: *nodes,
            absent: absent.clone(),
            seed: *seed,
            span: Duration::from_nanos(*span),
            calms: *calms,
            plan: self.plan().clone(),
            choices: self
                .tape
                .as_ref()
                .map(|tape| tape.to_text().lines().map(str::to_owned).collect()),
        };
        serde_json::to_string_pretty(&file).expect("a case is numbers, strings and lists") + "\n"
    }

    /// A case from its JSON, and the name of its preset.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(json: &str) -> Result<(Self, &'static str), String> {
        let file: CaseText = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let name = PRESETS.into_iter().find(|known| *known == file.preset);
        let (Some(name), 1) = (name, file.version) else {
            return Err("another version, or no such preset".into());
        };
        let span = crate::clock::nanos(file.span);
        if !(1..=65_536).contains(&file.nodes) || span > 365 * 24 * 3_600 * SECOND {
            return Err("1 to 65536 nodes, and at most a year".into());
        }
        let mut plan = file.plan;
        plan.settle(file.nodes)?;
        let tape = file
            .choices
            .map(|lines| lines.join("\n").parse().map_err(|error| format!("{error}")))
            .transpose()?;
        let config = preset(name).ok_or("no such preset")?;
        let scenario = Scenario {
            level: file.level,
            nodes: file.nodes,
            seed: file.seed,
            span,
            config: if file.swim { config.without_lifeguard() } else { config },
            faults: Faults::These(plan),
            calms: file.calms,
            absent: file.absent,
            is_encrypted: file.encrypted,
            ..Scenario::default()
        };
        Ok((Self { scenario, tape }, name))
    }
}

/// Where the files of a failure are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// What repeats it.
    pub tape: PathBuf,
    /// What happened, as JSON lines.
    pub trace: PathBuf,
    /// What happened, as a picture.
    pub timeline: PathBuf,
}

/// Writes the tape, the trace and the timeline of a case into `folder`, which is made if it is not
/// there.
///
/// # Errors
/// Those of the file system.
pub fn leave(case: &Case, preset: &str, folder: &Path) -> io::Result<Files> {
    fs::create_dir_all(folder)?;
    let of = |name: &str| folder.join(name);
    let files =
        Files { tape: of("tape.json"), trace: of("trace.jsonl"), timeline: of("timeline.html") };
    fs::write(&files.tape, case.to_json(preset))?;
    let outcome = case.traced();
    write_trace(&outcome.trace, &files.trace)?;
    let replay = format!(
        "cargo run --release -p chinwag-sim --features cli -- replay {}",
        files.tape.display()
    );
    write_timeline(&heading(&case.scenario, Some(replay)), &outcome.trace, &files.timeline)?;
    Ok(files)
}

/// Writes a trace as JSON lines.
///
/// # Errors
/// Those of the file system.
pub fn write_trace(records: &[Record], path: &Path) -> io::Result<()> {
    write_lines(records, &mut BufWriter::new(fs::File::create(path)?))
}

/// Writes a timeline.
///
/// # Errors
/// Those of the file system.
pub fn write_timeline(heading: &Heading, records: &[Record], path: &Path) -> io::Result<()> {
    fs::write(path, page(heading, records))
}

/// What stands over the timeline of a scenario.
pub fn heading(scenario: &Scenario, replay: Option<String>) -> Heading {
    let Scenario { nodes, seed, span, absent, .. } = scenario;
    let present = nodes - absent.len();
    Heading {
        title: format!(
            "chinwag-sim: {present} nodes, seed {seed}, {}",
            text::span_text(Duration::from_nanos(*span))
        ),
        nodes: (0..*nodes).map(|node| format!("node {node}")).collect(),
        replay,
    }
}

#[cfg(test)]
mod tests;
