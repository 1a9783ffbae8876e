//! The figures of one run in one table, beside their aims.

use std::fs;
use std::path::{Path, PathBuf};

use chinwag_benches::table::{Better, Role, Table, Tables};
use criterion::Criterion;
use peak_alloc::PeakAlloc;

/// Counts the bytes that are allocated.
#[global_allocator]
pub(crate) static ALLOCATED: PeakAlloc = PeakAlloc;

const MEMBERSHIP: &str = "One machine that knows so many members; everybody else is played to it. \
    What the hot paths cost must not follow the size: no path scans the members. An idle \
    node-second is all timers, probes, answers and exchanges of a second in which nothing changes. \
    Measured by criterion; samples do not take turns.";

const RPC: &str = "A frame on its way out of a connection's machine, on its way in, and a whole \
    call with both machines, for each call of a batch; no sockets.";

const SELECT: &str =
    "One selection from 1,000 members in ten data centres, into picks that are used again.";

enum Value {
    Known(f64),
    /// Criterion's samples, in the file it writes, divided.
    Measured {
        samples: PathBuf,
        by: f64,
    },
}

/// Which table of the page of benchmarks a figure is shown in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Membership,
    Rpc,
    Select,
}

/// What is to be told at the end.
pub(crate) struct Summary {
    folder: PathBuf,
    rows: Vec<(String, Value, Option<f64>)>,
    /// Those of `rows` that are shown on the page: in which table, row and column.
    shown: Vec<(usize, Shown, String, String)>,
}

impl Summary {
    /// A summary of what criterion is going to measure, and the criterion for it: short
    /// measurements, all in a folder of its own.
    pub(crate) fn with_criterion() -> (Self, Criterion) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion-core");
        let millis = core::time::Duration::from_millis;
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(millis(200))
            .measurement_time(millis(600));
        let criterion = criterion.without_plots().output_directory(&folder).configure_from_args();
        // What an earlier run has measured must not pass for this one's.
        forget(&folder);
        (Self { folder, rows: Vec::new(), shown: Vec::new() }, criterion)
    }

    /// A figure that is known.
    pub(crate) fn add(&mut self, what: &str, value: f64, aim: Option<f64>) {
        self.rows.push((what.into(), Value::Known(value), aim));
    }

    /// The figure of the bench `name` with parameter `of` in `group`, divided by `by`.
    pub(crate) fn measured(
        &mut self,
        what: &str,
        group: &str,
        name: &str,
        of: u64,
        by: u64,
        aim: Option<f64>,
    ) {
        let folder = self.folder.join(group).join(name).join(of.to_string());
        self.measured_in(what, &folder, by, aim);
    }

    /// The figure of the bench `name` in `group`.
    pub(crate) fn measured_plain(&mut self, what: &str, group: &str, name: &str, aim: Option<f64>) {
        self.measured_in(what, &self.folder.join(group).join(name), 1, aim);
    }

    fn measured_in(&mut self, what: &str, folder: &Path, by: u64, aim: Option<f64>) {
        let samples = folder.join("new/sample.json");
        self.rows.push((what.into(), Value::Measured { samples, by: by as f64 }, aim));
    }

    /// The last figure is shown on the page, in this row and column.
    pub(crate) fn shown(&mut self, table: Shown, row: &str, column: &str) {
        self.shown.push((self.rows.len() - 1, table, row.into(), column.into()));
    }

    /// What is shown on the page, each with all its samples.
    pub(crate) fn tables(&self) -> Tables {
        let table = |which: Shown, id: &str, title: &str, about: &str| {
            let mut table = Table::new(id, title, "ns", Better::Lower).about(about);
            for (at, shown, row, column) in &self.shown {
                let Value::Measured { samples, by } = &self.rows[*at].1 else { continue };
                if let Some(times) = per_iteration(samples).filter(|_| *shown == which) {
                    table.add(
                        Role::Chinwag,
                        row,
                        column,
                        times.iter().map(|time| time / by).collect(),
                    );
                }
            }
            table
        };
        Tables {
            tables: vec![
                table(Shown::Membership, "core-membership", "Membership", MEMBERSHIP),
                table(Shown::Rpc, "core-rpc", "Connections", RPC),
                table(Shown::Select, "core-select", "Selection", SELECT),
            ],
        }
    }

    /// Prints every figure that this run has: the fastest sample, which a busy machine disturbs
    /// least, and the median. The fastest is what the aim is for.
    #[expect(clippy::print_stdout, reason = "a bench prints what it found")]
    pub(crate) fn print(&self) {
        println!("{:<64} {:>10} {:>10}  aim", "figure", "fastest", "median");
        for (what, value, aim) in &self.rows {
            let (fastest, median) = match value {
                Value::Known(value) => (*value, *value),
                Value::Measured { samples, by } => match per_iteration(samples) {
                    Some(times) => (times[0] / by, times[times.len() / 2] / by),
                    None => continue,
                },
            };
            let aim = aim.map_or(String::new(), |aim| {
                format!("<= {aim}{}", if fastest <= aim { "" } else { "  MISSED" })
            });
            println!("{what:<64} {fastest:>10.1} {median:>10.1}  {aim}");
        }
    }
}

/// Nanoseconds an iteration of each sample, ascending; not empty.
fn per_iteration(samples: &Path) -> Option<Vec<f64>> {
    let samples: serde_json::Value = serde_json::from_slice(&fs::read(samples).ok()?).ok()?;
    let numbers =
        |key: &str| Some(samples[key].as_array()?.iter().filter_map(serde_json::Value::as_f64));
    let mut times: Vec<f64> =
        numbers("times")?.zip(numbers("iters")?).map(|(time, iters)| time / iters).collect();
    times.sort_by(f64::total_cmp);
    (!times.is_empty()).then_some(times)
}

/// Deletes every `new` under `folder`; criterion keeps its `base` to compare with.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.ends_with("new") {
            let _ = fs::remove_dir_all(&path);
        } else if path.is_dir() {
            forget(&path);
        }
    }
}
