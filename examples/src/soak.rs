//! Nodes in one process, on real sockets, that start, call each other, vanish and leave, round
//! after round; and what is left at the end of each round.
//!
//! ```text
//! soak --minutes M [--runtime tokio|smol|async-std] [--seed N]
//! ```
//!
//! A round is five seconds of churn under load. Node 1 is there all the time; the others live for a
//! second or a few, then are dropped or leave, and start again under the same id on another port. A
//! round ends with all but node 1 having left, and once it is at rest, what the process
//! holds is read: its tasks as the runtime's wrapper counts them, descriptors, threads and resident
//! memory from `/proc/self`. Since the state is the same each time, what is held must be the same.
//!
//! # Flat
//!
//! The first round warms up and is not counted. Of the rest, at least six, the median of the last
//! third is held against the median of the first third:
//!
//! | gauge | may grow by |
//! |---|---|
//! | tasks, descriptors | nothing |
//! | threads | 4: pools for blocking work let threads go when they please |
//! | memory | 10 % and 8 MiB: what an allocator keeps for later differs from round to round |
//!
//! And every round must have had calls that were answered: a soak without load shows nothing. If
//! all holds, the exit code is 0, otherwise 1, after a line for each gauge that grew.

mod gauges;
mod load;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chinwag::Runtime;
use clap::Parser;

use crate::runtime::Kind;
use gauges::{Sample, faults};
use load::Soak;

/// How long a round's churn lasts.
const ROUND: Duration = Duration::from_secs(5);

/// Nodes come and go under load for a while; exits with 1 if anything of them stays.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Args {
    /// How long, at least
    #[arg(long, value_name = "M", default_value = "20")]
    minutes: u64,
    /// What the nodes run on
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Kind,
    /// What decides who does what when
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

/// The soak with these arguments, the program's own name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = Args::parse_from(args);
    let ran = args
        .runtime
        .block_on(|runtime| run(runtime, args.seed, Duration::from_secs(args.minutes * 60)));
    match ran.and_then(|samples| samples) {
        Ok(samples) => judge(&samples),
        Err(error) => {
            let _ = writeln!(io::stderr(), "soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn judge(samples: &[Sample]) -> ExitCode {
    let faults = faults(samples);
    for fault in &faults {
        line(&format!("soak: {fault}"));
    }
    if faults.is_empty() {
        line("soak: flat");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

async fn run(runtime: Arc<dyn Runtime>, seed: u64, time: Duration) -> io::Result<Vec<Sample>> {
    line(Sample::HEADER);
    let end = runtime.now().mono + time;
    let mut soak = Soak::start(runtime.clone(), seed).await?;
    let mut samples = Vec::new();
    while runtime.now().mono < end {
        let sample = soak.round(ROUND).await?;
        line(&sample.to_string());
        samples.push(sample);
    }
    Ok(samples)
}

/// One line on stdout. Without a reader there is still the exit code.
fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
