//! `chinwag-sim exhaustive --connections`.

use chinwag_sim::exhaustive::connections::{Found, Search, Story, search, stories};
use serde_json::{Value, json};

use super::super::timed;
use super::ExhaustiveArgs;

/// Answers whether no state of any story is stuck. A story that was not searched to its end is said
/// to be so.
pub(super) fn command(args: &ExhaustiveArgs) -> bool {
    let &ExhaustiveArgs { hurries, drops, states_max, .. } = args;
    let wanted = Search { hurries, drops, states_max, defect: None };
    let is_asked = |nth: usize| args.story.is_none_or(|story| story == nth);
    let (mut all, mut holds) = (Vec::new(), true);
    for (nth, story) in stories().iter().enumerate().filter(|(nth, _)| is_asked(*nth)) {
        let (found, wall_s) = timed(|| search(story, &wanted));
        holds &= found.stuck == 0;
        if args.json {
            all.push(report(nth, story, &found, wall_s));
        } else {
            show(nth, story, &found, wall_s);
        }
    }
    if args.json {
        println!("{}", json!({ "hurries": hurries, "drops": drops, "stories": all }));
    }
    holds
}

fn report(nth: usize, story: &Story, found: &Found, wall_s: f64) -> Value {
    json!({
        "story": nth, "name": story.name, "states": found.states, "steps": found.steps,
        "merged": found.merged, "ends": found.ends, "deepest": found.deepest,
        "is_complete": found.is_complete, "stuck": found.stuck, "wall_s": wall_s,
        "order": found.order.as_ref().map(|order| format!("{order:?}")),
    })
}

fn show(nth: usize, story: &Story, found: &Found, wall_s: f64) {
    let Found { states, steps, merged, ends, deepest, stuck, .. } = found;
    println!("{nth}: {}", story.name);
    println!("  {states} states in {steps} steps, {merged} of them to a known one; {wall_s:.1} s");
    println!("  {ends} ends, the longest way has {deepest} steps; {stuck} stuck");
    if !found.is_complete {
        println!("  not all was searched");
    }
    if let Some(order) = &found.order {
        eprintln!("STUCK: {order:?}");
    }
}
