//! The published experiment of Lifeguard (arXiv 1707.00788 §V), at protocol level: what slow
//! members do to failure detectors.
//!
//! 128 members, of which some are slow. In the *interval* runs they are slow and well by turns for
//! two minutes, and every healthy member that anybody declares dead is a false positive. In the
//! *threshold* runs they are slow once, for longer than any suspicion lasts, and what counts is how
//! soon the first and the last healthy member declares them dead.
//!
//! The paper names the sets of durations; which were combined and how often is not stated where we
//! could read it, so the grid here is our own, and only orders and ratios compare.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chinwag_core::membership::Config;
use chinwag_core::rng::Rng;
use serde_json::{Value, json};

use crate::checker::deaths::seconds;
use crate::choices::Seeded;
use crate::fault::{Fault, Plan};
use crate::world::{Burial, Setup, World};

/// Members, as in the paper.
pub const MEMBERS: usize = 128;
/// Seconds from the start until the first member is slow: all have joined, and rumours of that are
/// spent.
const SETTLES_FOR: u64 = 30;
/// Seconds that the members are slow and well by turns.
const LASTS: u64 = 120;
/// Seconds of a threshold run after the members are slow, and so long they are: longer than the
/// longest suspicion.
const THRESHOLD: u64 = 80;

/// How a member is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowness {
    /// Timers run, what is sent and received waits: the paper's.
    IoBlock,
    /// Nothing runs, as in a long collection or a suspended machine.
    FullPause,
}

/// Which runs are made, of every configuration.
#[derive(Clone, Debug)]
pub struct Grid {
    /// How many members are slow.
    pub slow: Vec<usize>,
    /// Milliseconds that they are slow.
    pub spans: Vec<u64>,
    /// Milliseconds that they are well in between.
    pub gaps: Vec<u64>,
    /// Each combination with so many seeds.
    pub seeds: u64,
    /// In which way.
    pub slowness: Slowness,
}

impl Grid {
    /// The grid of the table in `docs/simulation.md`: 108 interval runs and 12 threshold runs.
    pub fn full(slowness: Slowness) -> Self {
        Self {
            slow: vec![1, 8, 16, 32],
            spans: vec![512, 8_192, 32_768],
            gaps: vec![4, 256, 4_096],
            seeds: 3,
            slowness,
        }
    }

    /// One interval run and one threshold run: seconds.
    pub fn quick(slowness: Slowness) -> Self {
        Self { slow: vec![8], spans: vec![32_768], gaps: vec![4_096], seeds: 1, slowness }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (&slow, seed) in
            self.slow.iter().flat_map(|slow| (1..=self.seeds).map(move |seed| (slow, seed)))
        {
            cases.push(Case { slow, seed, turns: None, slowness: self.slowness });
            for (&span, &gap) in
                self.spans.iter().flat_map(|span| self.gaps.iter().map(move |gap| (span, gap)))
            {
                cases.push(Case { slow, seed, turns: Some((span, gap)), slowness: self.slowness });
            }
        }
        cases
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Case {
    slow: usize,
    seed: u64,
    /// Milliseconds slow and well by turns; `None` for slow once.
    turns: Option<(u64, u64)>,
    slowness: Slowness,
}

/// The configurations compared, with their names.
pub fn configurations() -> Vec<(&'static str, Config)> {
    let swim = paper().without_lifeguard();
    let probe = |config: Config| Config { awareness_max: 8, nacks: true, ..config };
    let suspicion = |config: Config| Config { suspicion_max_mult: 6, ..config };
    let buddy = |config: Config| Config { buddy: true, ..config };
    vec![
        ("SWIM", swim.clone()),
        ("Buddy", buddy(swim.clone())),
        ("LHA-Probe", probe(swim.clone())),
        ("LHA-Suspicion", suspicion(swim.clone())),
        ("Lifeguard", probe(suspicion(buddy(swim)))),
        ("chinwag", Config::lan()),
    ]
}

/// The settings of the paper, which are memberlist's of its time.
fn paper() -> Config {
    Config {
        suspicion_mult: 5,
        retransmit_mult: 4,
        // The paper's timeout is fixed.
        probe_timeout_min: Config::lan().probe_timeout_max,
        ..Config::lan()
    }
}

/// What all runs of one configuration have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Interval runs.
    pub runs: u64,
    /// Deaths of healthy members, each member that declares one counted.
    pub false_positives: u64,
    /// Those of them that a healthy member declared.
    pub at_healthy: u64,
    /// Healthy members declared dead, each word of theirs counted once.
    pub distinct: u64,
    /// Payloads sent in the interval runs, and their bytes.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Nanoseconds until the first healthy member has declared a slow one dead, rising; threshold
    /// runs.
    pub first: Vec<u64>,
    /// And until the last has.
    pub last: Vec<u64>,
    /// Slow members of threshold runs that were not declared dead by all.
    pub missed: u64,
}

impl Row {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.false_positives += other.false_positives;
        self.at_healthy += other.at_healthy;
        self.distinct += other.distinct;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.missed += other.missed;
        self.first.extend(other.first);
        self.last.extend(other.last);
    }

    /// The row as one JSON object; shares are of `swim`.
    pub fn report(&self, name: &str, swim: &Self) -> Value {
        let share = |count: u64, of: u64| (of > 0).then(|| round(100.0 * real(count) / real(of)));
        let times = |times: &[u64]| json!({ "p50": at(times, 50).map(round), "p99": at(times, 99).map(round) });
        json!({
            "config": name,
            "runs": self.runs,
            "false_positives": self.false_positives,
            "false_positives_percent": share(self.false_positives, swim.false_positives),
            "false_positives_at_healthy": self.at_healthy,
            "false_positives_at_healthy_percent": share(self.at_healthy, swim.at_healthy),
            "members_falsely_dead": self.distinct,
            "first_detection_s": times(&self.first),
            "full_dissemination_s": times(&self.last),
            "undetected": self.missed,
            "messages": self.messages,
            "messages_percent": share(self.messages, swim.messages),
            "bytes": self.bytes,
            "bytes_percent": share(self.bytes, swim.bytes),
        })
    }
}

/// A percentile of rising times, in seconds.
pub fn at(times: &[u64], percent: usize) -> Option<f64> {
    times.get(times.len().saturating_sub(1) * percent / 100).map(|&at| seconds(at))
}

/// Makes all runs of `grid` with every configuration, on `jobs` threads with one world each. The
/// result does not depend on `jobs`.
pub fn experiment(grid: &Grid, jobs: usize) -> Vec<(&'static str, Row)> {
    let configurations = configurations();
    let rows = Mutex::new(vec![Row::default(); configurations.len()]);
    let work: Vec<(usize, Case)> = grid
        .cases()
        .into_iter()
        .flat_map(|case| (0..configurations.len()).map(move |at| (at, case)))
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(&(row, case)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = case.run(&configurations[row].1);
                    rows.lock().expect("no run panics")[row].add(result);
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no run panics");
    for row in &mut rows {
        row.first.sort_unstable();
        row.last.sort_unstable();
    }
    configurations.iter().map(|(name, _)| *name).zip(rows).collect()
}

impl Case {
    fn run(self, config: &Config) -> Row {
        let slow = self.draw();
        let setup = Setup {
            nodes: MEMBERS,
            config: config.clone(),
            start_every: 1_000_000,
            checks: false,
            ..Setup::default()
        };
        let mut world =
            World::new(setup, self.plan(&slow), self.seed, Box::new(Seeded::new(self.seed)));
        let begins = SETTLES_FOR * 1_000_000_000;
        let lasts = if self.turns.is_some() { LASTS } else { THRESHOLD } * 1_000_000_000;
        world.run_until(begins).expect("nothing is checked");
        world.record_burials();
        let before = world.tally();
        world.run_until(begins + lasts).expect("nothing is checked");
        let (burials, after) = (world.take_burials(), world.tally());
        if self.turns.is_none() {
            return detection(&burials, &slow, begins);
        }
        let healthy = |node: u32| !slow.contains(&node);
        let false_ones: Vec<&Burial> =
            burials.iter().filter(|burial| healthy(burial.subject)).collect();
        let lives: BTreeSet<_> =
            false_ones.iter().map(|burial| (burial.subject, burial.life)).collect();
        Row {
            runs: 1,
            false_positives: false_ones.len() as u64,
            at_healthy: false_ones.iter().filter(|burial| healthy(burial.observer)).count() as u64,
            distinct: lives.len() as u64,
            messages: after.datagrams + after.streams - before.datagrams - before.streams,
            bytes: after.datagram_bytes + after.stream_bytes
                - before.datagram_bytes
                - before.stream_bytes,
            ..Row::default()
        }
    }

    /// The slow members: the same for every configuration.
    fn draw(self) -> BTreeSet<u32> {
        let mut rng = Rng::new(self.seed);
        let mut slow = BTreeSet::new();
        while slow.len() < self.slow {
            slow.insert(rng.below(u32::try_from(MEMBERS).expect("128")));
        }
        slow
    }

    fn plan(self, slow: &BTreeSet<u32>) -> Plan {
        let mut plan = Plan::default();
        let (begins, ends) =
            (Duration::from_secs(SETTLES_FOR), Duration::from_secs(SETTLES_FOR + LASTS));
        for &node in slow {
            let fault = match self.slowness {
                Slowness::IoBlock => Fault::IoBlock(node),
                Slowness::FullPause => Fault::FullPause(node),
            };
            let Some((span, gap)) = self.turns else {
                plan = plan.with(begins, Duration::from_secs(THRESHOLD + 1), fault);
                continue;
            };
            let mut at = begins;
            while at < ends {
                plan = plan.with(at, Duration::from_millis(span), fault.clone());
                at += Duration::from_millis(span + gap);
            }
        }
        plan
    }
}

/// Whether false positives fall in the published order, from SWIM over Buddy, LHA-Probe and
/// LHA-Suspicion to Lifeguard, and Lifeguard has at most 3 % of those of SWIM.
pub fn is_published_order(rows: &[(&'static str, Row)]) -> bool {
    let of = |wanted: &str| {
        rows.iter()
            .find(|(name, _)| *name == wanted)
            .map_or(u64::MAX, |(_, row)| row.false_positives)
    };
    let falling = ["SWIM", "Buddy", "LHA-Probe", "LHA-Suspicion", "Lifeguard"].map(of);
    falling.is_sorted_by(|a, b| a > b) && of("Lifeguard") * 100 <= of("SWIM") * 3
}

/// The rows as a table for people, in Markdown.
pub fn table(rows: &[(&'static str, Row)]) -> String {
    let mut text = String::from(
        "| config | FP | % | FP at healthy | % | first detection s, median/p99 | full \
            dissemination s | messages M | GB |\n|---|---|---|---|---|---|---|---|---|",
    );
    let swim = rows.first().map(|(_, row)| row.clone()).unwrap_or_default();
    let percent = |count: u64, of: u64| 100.0 * real(count) / real(of.max(1));
    let pair = |times: &[u64]| match (at(times, 50), at(times, 99)) {
        (Some(p50), Some(p99)) => format!("{p50:.1} / {p99:.1}"),
        _ => "-".to_owned(),
    };
    for (name, row) in rows {
        let Row { false_positives, at_healthy, messages, bytes, .. } = row;
        let line = format!(
            "\n| {name} | {false_positives} | {:.2} | {at_healthy} | {:.2} | {} | {} | {:.2} | \
                {:.2} |",
            percent(*false_positives, swim.false_positives),
            percent(*at_healthy, swim.at_healthy),
            pair(&row.first),
            pair(&row.last),
            real(*messages) / 1e6,
            real(*bytes) / 1e9,
        );
        text.push_str(&line);
    }
    text
}

/// How soon slow members were declared dead by the healthy.
fn detection(burials: &[Burial], slow: &BTreeSet<u32>, since: u64) -> Row {
    let mut row = Row::default();
    for &subject in slow {
        let mut seen = BTreeSet::new();
        let mut first = None;
        let mut last = since;
        for burial in burials
            .iter()
            .filter(|burial| burial.subject == subject && !slow.contains(&burial.observer))
        {
            first.get_or_insert(burial.at - since);
            if seen.insert(burial.observer) {
                last = burial.at;
            }
        }
        row.first.extend(first);
        if seen.len() + slow.len() == MEMBERS {
            row.last.push(last - since);
        } else {
            row.missed += 1;
        }
    }
    row
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn real(count: u64) -> f64 {
    count as f64
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
