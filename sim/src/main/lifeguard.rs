//! The command `lifeguard`.

use chinwag_sim::lifeguard::{self, Grid, Slowness};
use clap::Args;
use serde_json::json;

use super::timed;

#[derive(Args)]
pub(super) struct LifeguardArgs {
    /// A small grid: seconds instead of minutes
    #[arg(long)]
    quick: bool,
    /// Slow members stand still as a whole, timers too, instead of waiting for their I/O
    #[arg(long)]
    pause: bool,
    /// How many members are slow, instead of those of the grid
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    slow: Vec<u32>,
    /// Milliseconds that they are slow
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    spans: Vec<u64>,
    /// Milliseconds that they are well in between
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    gaps: Vec<u64>,
    /// Each combination with so many seeds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: Option<u64>,
    /// Threads; one world each
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Holds if the published order does.
pub(super) fn command(args: &LifeguardArgs) -> bool {
    let slowness = if args.pause { Slowness::FullPause } else { Slowness::IoBlock };
    let mut grid = if args.quick { Grid::quick(slowness) } else { Grid::full(slowness) };
    if !args.slow.is_empty() {
        grid.slow = args.slow.iter().map(|&slow| slow as usize).collect();
    }
    let given = |of: &[u64], else_: Vec<u64>| if of.is_empty() { else_ } else { of.to_vec() };
    grid.spans = given(&args.spans, grid.spans);
    grid.gaps = given(&args.gaps, grid.gaps);
    grid.seeds = args.seeds.unwrap_or(grid.seeds);
    let (rows, wall_s) = timed(|| lifeguard::experiment(&grid, args.jobs));
    let swim = rows.first().map(|(_, row)| row.clone()).unwrap_or_default();
    if args.json {
        let reports: Vec<_> = rows.iter().map(|(name, row)| row.report(name, &swim)).collect();
        println!("{}", json!({ "members": lifeguard::MEMBERS, "wall_s": wall_s, "rows": reports }));
    } else {
        println!("{}", lifeguard::table(&rows));
    }
    args.pause || lifeguard::is_published_order(&rows)
}
