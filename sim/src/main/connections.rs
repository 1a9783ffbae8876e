//! `chinwag-sim exhaustive --connections`.

pub(super) use chinwag_sim::exhaustive::connections::Defect;
use chinwag_sim::exhaustive::connections::{Found, Search, Story, search, stories};
use serde_json::{Value, json};

use super::super::timed;
use super::ExhaustiveArgs;

/// A rule by its name.
pub(super) fn rule(text: &str) -> Result<Defect, String> {
    let name = |defect: &Defect| format!("{defect:?}");
    let found = Defect::ALL.into_iter().find(|defect| name(defect) == text);
    found.ok_or_else(|| format!("the rules are {:?}", Defect::ALL))
}

/// Answers whether no state of any story is stuck. A story that was not searched to its end is said
/// to be so.
pub(super) fn command(args: &ExhaustiveArgs) -> bool {
    let &ExhaustiveArgs { hurries, drops, states_max, .. } = args;
    let wanted = Search { hurries, drops, states_max, defect: args.without };
    let is_needed = |story: &Story| args.without.is_none_or(|rule| story.needs == Some(rule));
    let (mut all, mut holds) = (Vec::new(), true);
    for (nth, story) in stories().iter().enumerate() {
        if args.story.is_some_and(|asked| asked != nth) || !is_needed(story) {
            continue;
        }
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
