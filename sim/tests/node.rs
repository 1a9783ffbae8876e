//! The node level as users of the crate meet it: determinism, a slice of the swarm, and runs whose
//! outcome is known.

use std::process::Command;
use std::time::Duration;

use chinwag_sim::args::parse_token;
use chinwag_sim::choices::{Recorder, Seeded};
use chinwag_sim::explore::search;
use chinwag_sim::fault::{Fault, Plan};
use chinwag_sim::repeat::Twice;
use chinwag_sim::run::{Faults, Level, Outcome, Scenario, run, run_with};

const SECOND: u64 = 1_000_000_000;

fn swarm(seed: u64, seconds: u64) -> Scenario {
    Scenario { level: Level::Node, seed, span: seconds * SECOND, ..Scenario::default() }
}

fn with(plan: Plan) -> Scenario {
    Scenario { faults: Faults::These(plan), ..swarm(1, 30) }
}

fn held(outcome: &Outcome) {
    assert_eq!(outcome.failure, None);
    let calls = outcome.calls.expect("there is a workload");
    assert!(calls.answered > 100, "{calls:?}");
}

#[test]
fn a_slice_of_the_swarm_holds_on_any_number_of_threads() {
    let quiet = |_: u64| {};
    let one = search(&swarm(0, 30), 0..12, 1, Twice::Some, 1, &quiet);
    let failure = one.failures.first().map(|(seed, outcome)| (seed, outcome.failure.clone()));
    assert_eq!(failure, None, "seed and what it violated");
    let two = search(&swarm(0, 30), 0..12, 2, Twice::All, 1, &quiet);
    assert_eq!((one.hash, one.events), (two.hash, two.events));
}

#[test]
fn a_seed_is_a_run_and_another_seed_another() {
    let of = |seed| run(&swarm(seed, 20)).hash.to_string();
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

#[test]
fn another_process_runs_a_seed_alike() {
    let args = ["replay", "n1.lan.5.4.20000.all", "--json"];
    let output =
        Command::new(env!("CARGO_BIN_EXE_chinwag-sim")).args(args).output().expect("it is built");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["trace_hash"], run(&swarm(4, 20)).hash.to_string());
}

#[test]
fn a_tape_replays_the_run_it_was_recorded_from() {
    let scenario = swarm(11, 15);
    let straight = run(&scenario);
    let recorded = run_with(&scenario, Box::new(Recorder::new(Seeded::new(11))));
    assert_eq!(straight.hash, recorded.hash);
    let again = run_with(&scenario, Box::new(recorded.tape.expect("recorded")));
    assert_eq!(straight.hash, again.hash);
}

#[test]
fn where_nothing_goes_wrong_calls_fail_only_as_their_users_have_it() {
    let outcome = run(&with(Plan::default()));
    held(&outcome);
    let calls = outcome.calls.expect("there is a workload");
    assert_eq!(calls.never_ran, calls.unknown, "a guest that was away: {calls:?}");
    assert_eq!((calls.peer_gone, outcome.false_suspicions, outcome.tally.told[0]), (0, 0, 20));
}

#[test]
fn a_crash_ends_the_calls_to_it_and_the_node_is_called_again_when_it_is_back() {
    let crash = Fault::Crash { node: 3, moves: true, keeps_clock: true };
    let outcome =
        run(&with(Plan::default().with(Duration::from_secs(8), Duration::from_secs(18), crash)));
    held(&outcome);
    assert_eq!(outcome.tally.told[3], 4, "the others bury it");
    assert!(
        outcome.calls.is_some_and(|calls| calls.peer_gone + calls.never_ran > 0),
        "{:?}",
        outcome.calls
    );
}

/// Kept: a handler that took all chunks of a call whose caller sends none waited for ever (found by
/// the swarm, and by no fault).
#[test]
fn kept_a_direction_without_chunks_ends_at_once() {
    for token in ["n1.lan.5.2.60000.none", "n1.lan.5.5.60000.none"] {
        let (scenario, _) = parse_token(token).expect("well-formed");
        let outcome = run(&scenario);
        assert_eq!(outcome.failure, None, "{token}");
        assert!(
            outcome.calls.is_some_and(|calls| calls.streams > 100 && calls.chunks > 1_000),
            "{token}"
        );
    }
}

/// Kept: a call of a node to itself was under way when the node shut down, and its status said that
/// no handler had run (found by the swarm).
#[test]
fn kept_a_local_call_that_a_shutdown_ends_may_have_run() {
    let (scenario, _) = parse_token("n1.lan.5.195.60000.all").expect("well-formed");
    assert_eq!(run(&scenario).failure, None);
}

/// Kept: a request that was still queued when its deadline passed was called never sent, left all
/// the same, and ran (§5.5.3, found by the swarm).
#[test]
fn kept_a_queued_request_that_expires_may_have_run() {
    for token in ["n1.lan.5.0.60000.all", "n1.lan.5.1.60000.all"] {
        let (scenario, _) = parse_token(token).expect("well-formed");
        assert_eq!(run(&scenario).failure, None, "{token}");
    }
}
