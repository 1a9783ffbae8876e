//! `chinwag-sim exhaustive`.

#[path = "connections.rs"]
mod connections;

use chinwag_sim::exhaustive::{Found, INVARIANTS, Search, replay, search};
use clap::Args;
use serde_json::json;

use super::timed;

#[derive(Args)]
pub(super) struct ExhaustiveArgs {
    /// Nodes in the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=3))]
    nodes: u8,
    /// Steps from the joined cluster on
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    depth: u8,
    /// Processes that crash, at most
    #[arg(long, default_value_t = 1)]
    crashes: u32,
    /// Of those, how many start again, at most
    #[arg(long, default_value_t = 1)]
    restarts: u32,
    /// Lives that are suspected, at most
    #[arg(long, default_value_t = 1)]
    suspicions: usize,
    /// Gives up at so many states: each takes some hundred bytes
    #[arg(long, default_value_t = 5_000_000)]
    states_max: usize,
    /// Does not show that the states at the full depth heal
    #[arg(long)]
    unhealed: bool,
    /// Plays this one order, as a failure printed it: 0,3,1
    #[arg(long, value_delimiter = ',')]
    order: Vec<u32>,
    /// Two connections instead, and every order of what they and their applications may do. Of the
    /// options above `--states-max` holds, for each story
    #[arg(long)]
    connections: bool,
    /// With `--connections`: how often time passes before all else has happened
    #[arg(long, default_value_t = 1, requires = "connections")]
    hurries: u32,
    /// With `--connections`: calls that each end gives up, at most
    #[arg(long, default_value_t = 1, requires = "connections")]
    drops: u32,
    /// With `--connections`: the story of this number and no other
    #[arg(long, requires = "connections")]
    story: Option<usize>,
    /// With `--connections`: leaves out a rule of credit, and searches the story that needs it
    #[arg(long, requires = "connections", value_parser = connections::rule)]
    without: Option<connections::Defect>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Answers whether all that was searched holds, and nothing was left out.
pub(super) fn command(args: &ExhaustiveArgs) -> bool {
    if args.connections {
        return connections::command(args);
    }
    let wanted = Search {
        nodes: args.nodes.into(),
        depth: args.depth.into(),
        crashes: args.crashes,
        restarts: args.restarts,
        suspicions: args.suspicions,
        states_max: args.states_max,
        heals: !args.unhealed,
        ..Search::default()
    };
    if !args.order.is_empty() {
        let (lines, played) = replay(&wanted, &args.order);
        let violation = played.err().map(|violation| violation.to_string());
        if args.json {
            println!("{}", json!({ "order": args.order, "violation": violation, "lines": lines }));
        } else {
            lines.iter().for_each(|line| println!("{line}"));
            println!("{}", violation.as_deref().unwrap_or("it holds"));
        }
        return violation.is_none();
    }
    let (found, wall_s) = timed(|| search(&wanted));
    if args.json {
        println!("{}", found.report(&wanted, wall_s));
    } else {
        show(&wanted, &found, wall_s);
    }
    found.failure.is_none() && found.is_complete
}

fn show(wanted: &Search, found: &Found, wall_s: f64) {
    let Found { steps, merged, cut, healed, .. } = found;
    println!("{} states to depth {}, in {wall_s:.1} s", found.state_count(), wanted.depth);
    println!("  by depth: {:?}", found.states);
    println!("  {steps} steps, {merged} to a known state, {cut} cut at a suspicion too many");
    for (name, count) in &found.told {
        println!("  {name}: told {count} times");
    }
    match &found.failure {
        None => {
            println!("  held in every state: {}", INVARIANTS.join(", "));
            println!("  healed, of the states at the full depth: {healed}");
        }
        Some(failure) => {
            let order: Vec<String> = failure.order.iter().map(ToString::to_string).collect();
            eprintln!("FAILED: {}", failure.violation);
            let Search { nodes, .. } = wanted;
            eprintln!(
                "  replay: chinwag-sim exhaustive --nodes {nodes} --order {}",
                order.join(",")
            );
        }
    }
    if !found.is_complete {
        eprintln!("  not all was searched");
    }
}
