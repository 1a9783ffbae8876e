//! Every oracle against every kind of fault, with an end and without one; and the mild swarm, in
//! which nothing is excused.

use std::time::Duration;

use chinwag_sim::clock::nanos;
use chinwag_sim::explore::{Search, search};
use chinwag_sim::fault::{Addresses, Answers, Fault, ODD_FAMILIES, Plan, Quality, Timed};
use chinwag_sim::repeat::Twice;
use chinwag_sim::run::{Faults, Level, Scenario};

const SPAN: Duration = Duration::from_secs(40);

fn explore(faults: Faults, level: Level, nodes: usize, seeds: std::ops::Range<u64>) -> Search {
    let scenario = Scenario { level, nodes, span: nanos(SPAN), faults, ..Scenario::default() };
    search(&scenario, seeds, 2, Twice::Some, 1, &|_| {})
}

#[track_caller]
fn assert_holds(found: &Search, what: &dyn std::fmt::Debug) {
    if let Some((seed, outcome)) = found.failures.first() {
        panic!("seed {seed}, {what:?}: {}", outcome.failure.as_ref().expect("it failed"));
    }
}

/// One fault of every kind. Numbers are such that each would be noticed.
fn every_fault() -> Vec<Fault> {
    let everywhere = |quality| Fault::Link { from: vec![], to: vec![], quality };
    let (ms, none) = (Duration::from_millis, Quality::default());
    vec![
        everywhere(Quality { loss: 50_000, delay: ms(5), jitter: ms(10), ..none }),
        everywhere(Quality { loss: 300_000, ..none }),
        everywhere(Quality { burst: Some([20_000, 100_000, 800_000]), ..none }),
        everywhere(Quality { delay: ms(300), jitter: ms(300), ..none }),
        everywhere(Quality { duplicate: 300_000, ..none }),
        everywhere(Quality { reorder: 300_000, ..none }),
        everywhere(Quality { truncate: 100_000, ..none }),
        everywhere(Quality { mtu: Some(200), ..none }),
        everywhere(Quality { no_datagrams: true, ..none }),
        everywhere(Quality { bandwidth: Some(20_000), ..none }),
        everywhere(Quality { half_open: 200_000, ..none }),
        everywhere(Quality { reset: 200_000, ..none }),
        Fault::Cut { from: vec![0, 1], to: vec![2, 3, 4], one_way: false },
        Fault::Cut { from: vec![0, 1], to: vec![2, 3, 4], one_way: true },
        Fault::Cut { from: vec![0], to: vec![1], one_way: true },
        Fault::Flap { from: vec![0, 1], to: vec![2, 3, 4], one_way: false, every: ms(1_500) },
        Fault::FullPause(2),
        Fault::IoBlock(2),
        Fault::SlowReader { node: 2, every: ms(400) },
        Fault::Crash { node: 2, moves: false, keeps_clock: false },
        Fault::Crash { node: 2, moves: true, keeps_clock: true },
        Fault::Clock { node: 2, step_ms: -3_000, drift_ppm: 400 },
        Fault::LookupFails(2),
        Fault::EarlyTimers(2),
    ]
}

/// One of every odd kind.
fn every_odd_fault() -> Vec<Fault> {
    let everywhere = |quality| Fault::Link { from: vec![], to: vec![], quality };
    let (second, none) = (Duration::from_secs(1), Quality::default());
    let names = |answers| Fault::Names { node: 2, answers };
    let addresses = |odd| Fault::Addresses { node: 2, odd };
    let faults = vec![
        everywhere(Quality { no_streams: true, ..none }),
        everywhere(Quality { opens_lost: true, ..none }),
        everywhere(Quality { opens_refused: true, ..none }),
        everywhere(Quality { proxy: true, ..none }),
        names(Answers::Partial),
        names(Answers::Changing),
        names(Answers::Foreign),
        names(Answers::Slow(5 * second)),
        names(Answers::Never),
        addresses(Addresses::Nat(3 * second)),
        addresses(Addresses::Other),
        addresses(Addresses::Mapped),
        addresses(Addresses::Moves),
        Fault::TakeOver { node: 2, by: 3 },
        Fault::Ipv6(2),
        Fault::Suspend { node: 2, wall_stops: false },
        Fault::Suspend { node: 2, wall_stops: true },
        Fault::RestartBehind { node: 2, behind: 20 * second },
    ];
    let families: Vec<&str> = faults.iter().map(Fault::family).collect();
    assert_eq!(families, ODD_FAMILIES);
    faults
}

/// A fault that never ends goes on in the calm, in which nobody may be suspected without a cause.
#[test]
fn no_oracle_fails_for_a_fault_with_an_end_or_without() {
    for fault in every_fault().into_iter().chain(every_odd_fault()) {
        for until in [nanos(Duration::from_secs(30)), u64::MAX] {
            let timed = Timed { at: nanos(Duration::from_secs(5)), until, fault: fault.clone() };
            let pause = Timed {
                at: nanos(Duration::from_secs(20)),
                until: nanos(Duration::from_secs(22)),
                fault: Fault::FullPause(4),
            };
            let plan = Plan { faults: vec![timed, pause] };
            let found = explore(Faults::These(plan.clone()), Level::Protocol, 5, 0..6);
            assert_holds(&found, &plan);
        }
    }
}

/// Each fault alone at node level, until then. In two tests, so that they run side by side.
fn every_fault_at_node_level(until: u64) {
    for fault in every_fault().into_iter().chain(every_odd_fault()) {
        let timed = Timed { at: nanos(Duration::from_secs(5)), until, fault };
        let plan = Plan { faults: vec![timed] };
        let found = explore(Faults::These(plan.clone()), Level::Node, 5, 0..1);
        assert_holds(&found, &plan);
    }
}

#[test]
fn no_oracle_of_the_node_level_fails_for_a_fault_with_an_end() {
    every_fault_at_node_level(nanos(Duration::from_secs(30)));
}

#[test]
fn no_oracle_of_the_node_level_fails_for_a_fault_without_an_end() {
    every_fault_at_node_level(u64::MAX);
}

/// Loss that never ends made a suspicion that the oracle `rests` took for one without a cause: one
/// seed in about 860 failed.
#[test]
fn loss_that_never_ends_and_a_pause_excuse_nothing_and_fail_nothing() {
    let plan = r#"{ "faults": [
        { "at": "0s", "fault": { "link": { "from": [], "to": [], "quality":
            { "loss": 0.05, "delay": "5ms", "jitter": "10ms" } } } },
        { "at": "20s", "for": "2s", "fault": { "full_pause": 2 } }
    ] }"#;
    let plan = Plan::parse(plan, 7).expect("a plan");
    assert!(plan.is_mild() && plan.disturbs_for_ever() && !plan.parts_for_ever());
    let scenario = Scenario {
        nodes: 7,
        span: nanos(Duration::from_secs(60)),
        faults: Faults::These(plan.clone()),
        ..Scenario::default()
    };
    let found = search(&scenario, 862..863, 1, Twice::All, 1, &|_| {});
    assert_holds(&found, &plan);
    assert_eq!(found.false_deaths, 0);
}

#[test]
fn the_mild_swarm_holds_and_excuses_nothing() {
    for (level, seeds) in [(Level::Protocol, 0..200), (Level::Node, 0..8)] {
        let found = explore(Faults::Mild, level, 7, seeds);
        assert_holds(&found, &level);
        assert_eq!(found.false_deaths, 0, "{level:?}");
        assert!(found.excused.is_empty(), "{level:?}: {:?}", found.excused);
        for family in ["loss", "delay", "duplicate", "reorder", "clock", "full_pause"] {
            assert!(found.struck.contains_key(family), "{level:?} has no {family}");
        }
    }
}
