#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::disallowed_types, missing_docs)]
use chinwag_core::membership::Config;
use chinwag_sim::run::{Faults, Scenario};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (from, to): (u64, u64) = (args[1].parse().unwrap(), args[2].parse().unwrap());
    let story: usize = args.get(3).map_or(0, |n| n.parse().unwrap());
    let begun = std::time::Instant::now();
    let faults = match args.get(4).map(|s| s.as_str()) { Some("none") => Faults::Swarm(Some(vec![])), Some("all")|None => Faults::Swarm(None), Some(l) => Faults::Swarm(Some(l.split('-').map(|n| n.parse().unwrap()).collect())) };
    let mut fails = 0;
    for seed in from..to {
        let scenario = Scenario { nodes: 5, seed, span: 60_000_000_000, config: Config::lan(), faults: faults.clone(), calms: true, checks: true, story_lines: story };
        let t = std::time::Instant::now();
        let out = chinwag_sim::node::run(&scenario);
        if story > 0 { for line in &out.outcome.story { println!("{line}"); } }
        if let Some(f) = &out.outcome.failure { fails += 1; println!("seed {seed}: {f}\n   faults {}", out.outcome.plan.faults.len()); }
        if to - from <= 3 || t.elapsed().as_secs_f64() > 2.0 { println!("seed {seed} {:?} {} {:?} told {:?} healed {:?} events {}", t.elapsed(), out.outcome.hash, out.calls, out.outcome.tally.told, out.outcome.healed, out.outcome.tally.events); }
    }
    println!("{} seeds, {fails} failures in {:?}", to - from, begun.elapsed());
}
