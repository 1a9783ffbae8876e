//! `cargo bench -p chinwag-benches --bench store`: 10,000 small documents put on three replicas that all acknowledge, in memory and durable; with
//! `--features peers` beside datacake's store. About a minute. `-- --quick` for fewer rounds and documents.

use std::process::ExitCode;

use chinwag_benches::store::{Plan, run};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Small documents put on three replicas on loopback, at `All`")]
struct Args {
    /// Rounds of all cells [default: 5; --quick: 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// One round of a tenth of the documents: whether it runs
    #[arg(long)]
    quick: bool,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let Args { rounds, quick, bench: _ } = Args::parse();
    let rounds = rounds.unwrap_or(if quick { 1 } else { 5 });
    match run(&Plan { rounds, is_quick: quick }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "store: {error}");
            ExitCode::FAILURE
        }
    }
}
