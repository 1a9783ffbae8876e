//! The protocol level as users of the crate meet it: determinism, a slice of the swarm, and runs
//! whose outcome is known.

use std::time::Duration;

use chinwag_sim::args::parse_token;
use chinwag_sim::case::{Case, shrink};
use chinwag_sim::choices::{Bytes, Recorder, Seeded};
use chinwag_sim::explore::search;
use chinwag_sim::fault::{Fault, Plan};
use chinwag_sim::minimise::Parts as _;
use chinwag_sim::repeat::Twice;
use chinwag_sim::run::{Faults, Outcome, Scenario, run, run_with};
use chinwag_sim::world::{Setup, World};

const SECOND: u64 = 1_000_000_000;

fn swarm(nodes: usize, seconds: u64) -> Scenario {
    Scenario { nodes, span: seconds * SECOND, ..Scenario::default() }
}

fn with(nodes: usize, seconds: u64, plan: Plan) -> Scenario {
    Scenario { faults: Faults::These(plan), ..swarm(nodes, seconds) }
}

#[test]
fn two_hundred_seeds_of_the_swarm_hold_and_reach_everything_on_any_number_of_threads() {
    let quiet = |_: u64| {};
    let one = search(&swarm(5, 60), 0..200, 1, Twice::Some, 1, &quiet);
    let failure = one.failures.first().map(|(seed, outcome)| (seed, outcome.failure.clone()));
    assert_eq!(failure, None, "seed and what it violated");
    assert_eq!(one.unreached(), Vec::<&str>::new());
    let two = search(&swarm(5, 60), 0..200, 2, Twice::Some, 1, &quiet);
    assert_eq!((one.hash, one.events), (two.hash, two.events));
}

#[test]
fn nodes_see_nobody_at_first_and_all_others_in_the_end() {
    let mut world = World::new(Setup::default(), Plan::default(), 1, Box::new(Seeded::new(1)));
    assert_eq!(world.sights(), 0);
    world.run_until(10 * SECOND).expect("a calm network violates nothing");
    assert_eq!((world.sights(), world.unconverged()), (5 * 4, None));
}

#[test]
fn a_seed_is_a_run_and_another_seed_another() {
    let of = |seed| run(&Scenario { seed, ..swarm(5, 30) }).hash.to_string();
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

#[test]
fn a_tape_replays_the_run_it_was_recorded_from() {
    let scenario = Scenario { seed: 11, ..swarm(4, 20) };
    let straight = run(&scenario);
    let recorded = run_with(&scenario, Box::new(Recorder::new(Seeded::new(11))));
    assert_eq!(straight.hash, recorded.hash);
    let tape = recorded.tape.expect("recorded");
    assert!(!tape.is_empty());
    let again = run_with(&scenario, Box::new(tape));
    assert_eq!(straight.hash, again.hash);
}

#[test]
fn any_bytes_are_a_schedule_and_none_are_calm() {
    let scenario = swarm(3, 10);
    for fuzz in [&[][..], &[1; 64], &[255; 300], b"any bytes at all, as a fuzzer would give them"] {
        let outcome = run_with(&scenario, Box::new(Bytes::new(fuzz)));
        assert_eq!(outcome.failure, None, "{fuzz:?}");
        assert!(!fuzz.is_empty() || outcome.plan == Plan::default());
    }
}

#[test]
fn a_crash_is_noticed_by_all_and_nobody_else_dies() {
    let crash = Fault::Crash { node: 3, moves: false, keeps_clock: false };
    let plan = Plan::default().with(Duration::from_secs(10), Duration::MAX, crash);
    let outcome = run(&with(8, 40, plan));
    assert_eq!(outcome.failure, None);
    assert_eq!((outcome.false_suspicions, outcome.false_deaths), (0, 0));
    let [detection] = outcome.detections[..] else { panic!("one crash: {:?}", outcome.detections) };
    assert!(
        detection.first.is_some_and(|first| (4 * SECOND..15 * SECOND).contains(&first)),
        "{detection:?}"
    );
    assert_eq!(outcome.tally.told[3], 7, "told by each of the seven others");
}

#[test]
fn a_partition_heals_with_no_help() {
    let cut = Fault::Cut { from: vec![0, 1], to: vec![2, 3, 4], one_way: false };
    let plan = Plan::default().with(Duration::from_secs(5), Duration::from_secs(55), cut);
    let outcome = run(&with(5, 60, plan));
    assert_eq!(outcome.failure, None);
    assert!(outcome.healed.is_some_and(|healed| healed < 15 * SECOND), "{:?}", outcome.healed);
}

/// Kept: a node whose sends were blocked told of its suspicions and its verdicts in one breath, and
/// the healthy buried the healthy (§4.5.1, found by the swarm).
#[test]
fn kept_a_blocked_node_takes_nobody_with_it() {
    for token in ["v1.lan.5.238.60000.0", "v1.lan.5.352.60000.all", "v1.lan.5.1911.60000.3"] {
        let (scenario, _) = parse_token(token).expect("well-formed");
        assert_eq!(run(&scenario).failure, None, "{token}");
    }
    let block = Fault::IoBlock(1);
    for lasts in [10, 20, 26, 30, 45] {
        let plan =
            Plan::default().with(Duration::from_secs(5), Duration::from_secs(lasts), block.clone());
        assert_eq!(run(&with(5, 60, plan)).failure, None, "blocked for {lasts} s");
    }
}

/// Kept: two nodes that had moved and thought each other dead never met again, for neither knew the
/// other's address as its own and an answer to a stranger says no more than its question (§4.8.2,
/// found by the swarm).
#[test]
fn kept_nodes_that_have_moved_meet_again() {
    let (scenario, _) = parse_token("v1.lan.5.9431.60000.3-7-8-9-12-13").expect("well-formed");
    let outcome = run(&scenario);
    assert_eq!(outcome.failure, None);
    assert!(outcome.healed.is_some_and(|healed| healed < 30 * SECOND), "{:?}", outcome.healed);
}

/// Kept: two nodes were left of five, one heard nothing of the other, and buried it: nobody was
/// there to ask, so that is excused.
#[test]
fn kept_a_blocked_link_between_the_last_two_is_an_excuse() {
    let (scenario, _) = parse_token("v1.lan.5.1542130.60000.all").expect("well-formed");
    let outcome = run(&scenario);
    assert_eq!(outcome.failure, None);
    assert!(outcome.false_deaths > 0, "it was one");
}

/// Kept: what a blocked node had said before it was paused for ever came out as the last fault
/// ended, in the moment in which all had agreed.
#[test]
fn kept_agreement_counts_after_what_was_held_back() {
    let (scenario, _) = parse_token("v1.lan.5.1598885.60000.all").expect("well-formed");
    assert_eq!(run(&scenario).failure, None);
}

/// Kept: every tape in `sim/tests/tapes`, as a failure left it, named for what was wrong.
/// `docs/simulation.md` says what it was.
#[test]
fn kept_tapes_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tapes");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|file| file.expect("readable").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let json = std::fs::read_to_string(&file).expect("readable");
        let (case, _) =
            Case::parse(&json).unwrap_or_else(|wrong| panic!("{}: {wrong}", file.display()));
        assert_eq!(case.run().failure, None, "{}", file.display());
    }
}

#[test]
fn a_run_is_made_small_and_stays_what_it_was() {
    let is_wrong = |outcome: &Outcome| outcome.false_deaths > 0;
    let (scenario, outcome) = (0..100)
        .map(|seed| Scenario { seed, ..swarm(5, 60) })
        .map(|scenario| (scenario.clone(), run(&scenario)))
        .find(|(_, outcome)| is_wrong(outcome) && outcome.plan.faults.len() > 5)
        .expect("some seed pauses a node for long enough");
    let small = shrink(&scenario, &outcome, is_wrong);
    assert!(
        is_wrong(&small.outcome) && small.scenario.plan().faults.len() < outcome.plan.faults.len()
    );
    assert_eq!(small.scenario.run().hash, small.outcome.hash, "the small one is repeatable");
    for number in 0..small.scenario.count(0) {
        let fewer = small.scenario.without(0, number..number + 1).expect("faults can always go");
        assert!(!is_wrong(&fewer.run()), "fault {number} is needed: {:#?}", small.scenario.plan());
    }
}
