//! The command `families`: which fault struck in how many seeds, and which oracles watch it.

use std::collections::BTreeMap;

use chinwag_sim::clock::nanos;
use chinwag_sim::explore::{Search, search};
use chinwag_sim::fault::{FAMILIES, ODD_FAMILIES, watched_by};
use chinwag_sim::progress::Progress;
use chinwag_sim::repeat::Twice;
use chinwag_sim::run::{Faults, Level, Scenario};
use clap::Args;

use super::timed;

#[derive(Args)]
pub(super) struct FamiliesArgs {
    /// Seeds of each swarm at protocol level, from 0
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Seeds of each swarm at node level, from 0
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    node_seeds: u64,
    /// Nodes in each cluster
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    nodes: u32,
    /// Threads; one world each
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// Runs both swarms at both levels and prints the table; a seed that fails is named, and makes the
/// command fail.
pub(super) fn command(args: &FamiliesArgs) -> bool {
    let mut struck: BTreeMap<(bool, &str), u64> = BTreeMap::new();
    let mut has_failed = false;
    for level in [Level::Protocol, Level::Node] {
        for (name, faults) in [("swarm", Faults::Swarm(None)), ("odd", Faults::Odd(None))] {
            let is_node = level == Level::Node;
            let seeds = if is_node { args.node_seeds } else { args.seeds };
            let (found, wall_s) = timed(|| explore(args, level, faults, seeds));
            let level = if is_node { "node" } else { "protocol" };
            eprintln!("{level} level, {name}: {} seeds in {wall_s:.1} s", found.seeds);
            for (seed, outcome) in &found.failures {
                has_failed = true;
                let what = outcome.failure.as_ref().map(ToString::to_string).unwrap_or_default();
                eprintln!("seed {seed} FAILED: {what}");
            }
            for (family, count) in found.struck_seeds {
                if ODD_FAMILIES.contains(&family) == (name == "odd") {
                    struck.insert((is_node, family), count);
                }
            }
        }
    }
    println!("| fault | protocol level | node level | watched by |");
    println!("|---|---|---|---|");
    for family in FAMILIES.into_iter().chain(ODD_FAMILIES) {
        let of = |is_node| struck.get(&(is_node, family)).copied().unwrap_or(0);
        let oracles: Vec<String> =
            watched_by(family).iter().map(|oracle| format!("`{oracle}`")).collect();
        println!("| `{family}` | {} | {} | {} |", of(false), of(true), oracles.join(", "));
    }
    !has_failed
}

fn explore(args: &FamiliesArgs, level: Level, faults: Faults, seeds: u64) -> Search {
    let scenario = Scenario {
        level,
        nodes: args.nodes as usize,
        span: nanos(std::time::Duration::from_secs(60)),
        faults,
        ..Scenario::default()
    };
    let progress = Progress::new(seeds);
    let told = |done| progress.done(done);
    let found = search(&scenario, 0..seeds, args.jobs, Twice::Some, usize::MAX, &told);
    progress.end();
    found
}
