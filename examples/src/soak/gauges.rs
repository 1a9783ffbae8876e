//! [`Sample`]: what a process holds, and [`faults`]: whether that grows.

use std::fmt;
use std::fs;
use std::io;

/// Rounds at the beginning that are not counted: pools fill, tables get their size.
const WARM_UP: usize = 1;
/// Samples after that, at least: two in each third.
const SAMPLES_MIN: usize = 6;

/// What the process held at the end of one round, and what the round had been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Since the start.
    pub(super) seconds: u64,
    /// Nodes that were started in the round, and those that ended in either way.
    pub(super) started: u64,
    pub(super) dropped: u64,
    pub(super) left: u64,
    /// Calls of the round that were answered, and that were not: their peer had gone.
    pub(super) calls: u64,
    pub(super) calls_failed: u64,
    pub(super) tasks: u64,
    pub(super) descriptors: u64,
    pub(super) threads: u64,
    pub(super) memory_kib: u64,
}

impl Sample {
    pub(super) const HEADER: &str = "      s  started  dropped  left    calls  failed | tasks  descriptors  threads  memory KiB";

    /// Takes in what the system knows of this process.
    pub(super) fn with_system(self) -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
            number.ok_or_else(|| io::Error::other(format!("/proc/self/status has no {name}")))
        };
        // The descriptor that reads the folder is one of those it lists.
        let descriptors = fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
        Ok(Self { descriptors, threads: field("Threads")?, memory_kib: field("VmRSS")?, ..self })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, started, dropped, left, calls, calls_failed, .. } = self;
        let Self { tasks, descriptors, threads, memory_kib, .. } = self;
        write!(
            f,
            "{seconds:>7}  {started:>7}  {dropped:>7}  {left:>4}  {calls:>7}  {calls_failed:>6} | "
        )?;
        write!(f, "{tasks:>5}  {descriptors:>11}  {threads:>7}  {memory_kib:>10}")
    }
}

/// One thing that is measured, and by how much its median may grow from `before`.
struct Gauge {
    name: &'static str,
    of: fn(&Sample) -> u64,
    may_grow: fn(before: u64) -> u64,
}

const GAUGES: [Gauge; 4] = [
    Gauge { name: "tasks", of: |sample| sample.tasks, may_grow: |_| 0 },
    Gauge { name: "descriptors", of: |sample| sample.descriptors, may_grow: |_| 0 },
    Gauge { name: "threads", of: |sample| sample.threads, may_grow: |_| 4 },
    Gauge {
        name: "memory in KiB",
        of: |sample| sample.memory_kib,
        may_grow: |before| before / 10 + 8 * 1_024,
    },
];

/// Why these samples are not flat, by the criterion that the module above states; none if they are.
pub(super) fn faults(samples: &[Sample]) -> Vec<String> {
    let counted = samples.get(WARM_UP..).unwrap_or_default();
    if counted.len() < SAMPLES_MIN {
        let (had, wanted) = (samples.len(), WARM_UP + SAMPLES_MIN);
        return vec![format!("too short to tell: {had} rounds of the {wanted} that it takes")];
    }
    let third = counted.len() / 3;
    let (first, last) = (&counted[..third], &counted[counted.len() - third..]);
    let mut faults = Vec::new();
    for Gauge { name, of, may_grow } in GAUGES {
        let (before, after) = (median(first, of), median(last, of));
        let limit = before + may_grow(before);
        if after > limit {
            faults.push(format!(
                "not flat: {name} grew from {before} to {after}; {limit} is the limit"
            ));
        }
    }
    if let Some(idle) = counted.iter().find(|sample| sample.calls == 0) {
        faults.push(format!("no call was answered in the round that ended at {} s", idle.seconds));
    }
    faults
}

/// The middle one, the higher of two.
fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
