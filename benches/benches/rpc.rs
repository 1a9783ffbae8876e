//! `cargo bench -p chinwag-benches --bench rpc`: calls over loopback TCP beside a hand-written
//! floor and, with `--features peers`, other frameworks. About two minutes.
//!
//! `-- --quick` for half a minute; `-- --only 32,typed,one` for some sizes, contenders or parts of
//! it (`--alone` without the floor, for a profiler); `-- --json FILE` for every value.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use chinwag_benches::args::Common;
use chinwag_benches::rpc::{Only, Plan};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Calls over loopback TCP, beside a hand-written floor")]
struct Args {
    /// Rounds of all cells [default: 5; --quick: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Milliseconds a cell [default: 100; --quick: 40]
    #[arg(long)]
    time: Option<u64>,
    /// Only some contenders, sizes (32,1k,64k,1m) and parts
    /// (latency,one,four,behind,allocations,memory)
    #[arg(long, value_parser = Only::parse, default_value = "")]
    only: Only,
    /// Without the floor, unless it is named
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    common: Common,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints what it found")]
fn main() -> ExitCode {
    let args = Args::parse();
    let (rounds, time) = match (args.common.test, args.common.quick) {
        (true, _) => (1, 2),
        (_, true) => (3, 40),
        _ => (5, 100),
    };
    let plan = Plan {
        rounds: args.rounds.unwrap_or(rounds).max(1),
        time: Duration::from_millis(args.time.unwrap_or(time)),
        only: args.only,
        is_alone: args.alone,
        child: env!("CARGO_BIN_EXE_rpc-child").into(),
        is_verbose: !args.common.test,
    };
    let report = plan.run();
    if let Some(path) = args.common.json
        && let Err(error) = fs::write(&path, format!("{:#}\n", report.json()))
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if args.common.test {
        println!("rpc: every cell was measured; the figures of so short a run say nothing");
        return ExitCode::SUCCESS;
    }
    println!("{report}");
    let (aims, missed) = report.aims();
    if aims > 0 {
        println!("{} of {aims} aims hold", aims - missed);
    }
    ExitCode::SUCCESS
}
