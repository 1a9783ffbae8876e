//! [`Plan`]: which cells are measured, and in which order.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::report::{Metric, Report};
use super::{Contender, Kind, SIZES};

/// The small call and the large ones of [`Contender::behind`].
const BEHIND: (usize, usize) = (SIZES[0], SIZES[3]);

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Latency,
    One,
    Four,
    Behind,
    Allocations,
    Memory,
}

impl Part {
    const EVERY: [(&str, Self); 6] = [
        ("latency", Self::Latency),
        ("one", Self::One),
        ("four", Self::Four),
        ("behind", Self::Behind),
        ("allocations", Self::Allocations),
        ("memory", Self::Memory),
    ];

    /// Whether it is measured in this process, in rounds, for each size.
    fn is_of_size(self) -> bool {
        matches!(self, Self::Latency | Self::One | Self::Four)
    }
}

/// A choice among contenders, sizes and parts: of each sort all, unless it names some.
#[derive(Clone, Debug, Default)]
pub struct Only {
    kinds: Vec<Kind>,
    sizes: Vec<usize>,
    parts: Vec<Part>,
}

impl Only {
    /// Reads words such as `32,1k,typed,one`.
    ///
    /// # Errors
    /// The words there are, when one is none of them.
    pub fn parse(words: &str) -> Result<Self, String> {
        let mut only = Self::default();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let size =
                SIZES.into_iter().find(|size| short(*size) == word || size.to_string() == word);
            let part = Part::EVERY.into_iter().find(|(name, _)| *name == word);
            match (Kind::of_name(word), size, part) {
                (Some(kind), ..) => only.kinds.push(kind),
                (_, Some(size), _) => only.sizes.push(size),
                (.., Some((_, part))) => only.parts.push(part),
                _ => return Err(format!("{word:?} is none of: {}", Self::words().join(" "))),
            }
        }
        Ok(only)
    }

    fn words() -> Vec<String> {
        let kinds = Kind::EVERY.iter().map(|kind| kind.name().to_owned());
        let parts = Part::EVERY.into_iter().map(|(name, _)| name.to_owned());
        kinds.chain(SIZES.map(short)).chain(parts).collect()
    }

    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn sizes(&self) -> Vec<usize> {
        SIZES
            .into_iter()
            .filter(|size| self.sizes.is_empty() || self.sizes.contains(size))
            .collect()
    }
}

/// A size as the command line has it.
fn short(size: usize) -> String {
    match size {
        0..1_024 => size.to_string(),
        1_024..1_048_576 => format!("{}k", size >> 10),
        _ => format!("{}m", size >> 20),
    }
}

/// What to measure, how often and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds; in each of them every contender has its turn in every cell.
    pub rounds: usize,
    /// How long a cell is measured; three times as long with the largest payload.
    pub time: Duration,
    /// Which.
    pub only: Only,
    /// Without the floor, where there is something else: to look at one contender with a profiler.
    pub is_alone: bool,
    /// The program that measures one contender in a process of its own.
    pub child: PathBuf,
    /// Whether it says what it does.
    pub is_verbose: bool,
}

impl Plan {
    /// Measures.
    pub fn run(&self) -> Report {
        let kinds = self.kinds();
        let mut report = Report::new(&kinds, &self.only.sizes(), self.rounds);
        if Part::EVERY
            .into_iter()
            .any(|(_, part)| (part.is_of_size() || part == Part::Behind) && self.only.has(part))
        {
            let contenders: Vec<(Kind, Box<dyn Contender>)> =
                kinds.iter().map(|kind| (*kind, kind.start())).collect();
            for round in 0..self.rounds {
                self.round(round, &contenders, &mut report);
            }
        }
        for kind in kinds.into_iter().filter(|kind| kind.is_multiplexed()) {
            self.in_children(kind, &mut report);
        }
        report
    }

    fn kinds(&self) -> Vec<Kind> {
        let named = &self.only.kinds;
        let is_wanted = |kind: &Kind| match kind {
            Kind::Floor => !self.is_alone || named.is_empty() || named.contains(kind),
            kind => named.is_empty() || named.contains(kind),
        };
        Kind::EVERY.iter().copied().filter(is_wanted).collect()
    }

    /// Every cell once; who begins changes from round to round.
    fn round(&self, round: usize, contenders: &[(Kind, Box<dyn Contender>)], report: &mut Report) {
        self.say(&format!("round {} of {}", round + 1, self.rounds));
        let begin = round % contenders.len();
        let (before, after) = contenders.split_at(begin);
        for size in self.only.sizes() {
            let time = self.time(size);
            for (_, part) in Part::EVERY {
                for (kind, contender) in after.iter().chain(before) {
                    let is_wanted =
                        self.only.has(part) && (kind.is_multiplexed() || part == Part::Latency);
                    if is_wanted && part.is_of_size() {
                        measure(part, &**contender, size, time, &mut |metric, value| {
                            report.add(*kind, metric, size, value);
                        });
                    }
                }
            }
        }
        for (kind, contender) in after.iter().chain(before) {
            if kind.is_multiplexed() && self.only.has(Part::Behind) {
                let (small, large) = BEHIND;
                let (nanos, calls) = contender.behind(small, large, self.time(large));
                let (p50, p99) = percentiles(nanos);
                report.add(*kind, Metric::BehindP50, small, p50);
                report.add(*kind, Metric::BehindP99, small, p99);
                report.add(*kind, Metric::BehindCalls, large, calls);
            }
        }
    }

    fn time(&self, size: usize) -> Duration {
        if size == SIZES[3] { self.time * 3 } else { self.time }
    }

    fn in_children(&self, kind: Kind, report: &mut Report) {
        if self.only.has(Part::Allocations) {
            self.say(&format!("allocations of {}", kind.name()));
            for size in self.only.sizes() {
                // As many calls as take about as long at every size, and enough that what a warm
                // pool still needs does not show.
                let count =
                    (self.time.as_millis() as usize * 20 * SIZES[1] / size.max(SIZES[1])).max(20);
                let numbers = self.child(&[
                    "allocations",
                    kind.name(),
                    &size.to_string(),
                    &count.to_string(),
                ]);
                report.add(kind, Metric::Allocations, size, numbers[0]);
                report.add(kind, Metric::Allocated, size, numbers[1]);
            }
        }
        if self.only.has(Part::Memory) {
            self.say(&format!("memory of {}", kind.name()));
            let numbers =
                self.child(&["memory", kind.name(), &(self.time * 3).as_millis().to_string()]);
            for bytes in numbers {
                report.add(kind, Metric::Memory, SIZES[3], bytes);
            }
        }
    }

    /// What the child prints: numbers.
    fn child(&self, args: &[&str]) -> Vec<f64> {
        run(&self.child, args)
            .unwrap_or_else(|error| panic!("{} {args:?}: {error}", self.child.display()))
    }

    #[expect(clippy::print_stderr, reason = "a bench says what it does")]
    fn say(&self, what: &str) {
        if self.is_verbose {
            eprintln!("{what}");
        }
    }
}

fn run(program: &Path, args: &[&str]) -> Result<Vec<f64>, String> {
    let output = Command::new(program).args(args).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    text.split_whitespace()
        .map(|word| word.parse().map_err(|_| format!("printed {text:?}")))
        .collect()
}

fn measure(
    part: Part,
    contender: &dyn Contender,
    size: usize,
    time: Duration,
    add: &mut dyn FnMut(Metric, f64),
) {
    let (connections, calls, cpu) = match part {
        Part::Latency => {
            let (p50, p99) = percentiles(contender.sequential(size, time));
            add(Metric::P50, p50);
            add(Metric::P99, p99);
            return;
        }
        Part::One => (1, Metric::OneCalls, Metric::OneCpu),
        _ => (super::CONNECTIONS, Metric::FourCalls, Metric::FourCpu),
    };
    let throughput = contender.throughput(size, connections, time);
    add(calls, throughput.calls);
    add(cpu, throughput.cpu);
}

/// Microseconds: the 50th and the 99th of a hundred. Not empty.
fn percentiles(mut nanos: Vec<u64>) -> (f64, f64) {
    nanos.sort_unstable();
    let at = |hundredths: usize| nanos[(nanos.len() - 1) * hundredths / 100] as f64 / 1e3;
    (at(50), at(99))
}
