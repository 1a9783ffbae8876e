//! `cargo bench -p chinwag-benches --bench store`: 10,000 small documents put on three replicas
//! that all acknowledge, in memory and durable; with `--features peers` beside datacake's store.
//! About a minute. `-- --quick` for one round of fewer documents; `-- --json FILE` for every value.

use std::error::Error;

use chinwag_benches::args::Common;
use chinwag_benches::store::{Plan, run};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Small documents put on three replicas on loopback, at `All`")]
struct Args {
    /// Rounds of all cells [default: 5; --quick: 1]
    #[arg(long)]
    rounds: Option<usize>,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let Args { rounds, common } = Args::parse();
    let is_quick = common.quick || common.test;
    let rounds = rounds.unwrap_or(if is_quick { 1 } else { 5 }).max(1);
    common.report(vec![run(&Plan { rounds, is_quick })?]);
    Ok(())
}
