//! Membership machines with a defect.

use std::time::Duration;

use chinwag_sim::fault::{Fault, Plan};
use chinwag_sim::mutant::{Defect, Mutant};
use chinwag_sim::run::{Faults, Scenario};

use super::{Case, DOC, SECOND, catch_all, oracles_of, sound};

const CASES: [Case; 23] = [
    ("takes nothing in", Defect::Deaf, Some(10), "accuracy"),
    ("takes nothing in, all of them", Defect::Deaf, None, "vacuity"),
    ("takes nothing in, once all is over", Defect::Deaf, Some(50), "rests"),
    (
        "takes nothing more from a member that it has declared dead",
        Defect::NeverForgives,
        None,
        "one_cluster",
    ),
    ("shows metadata of before", Defect::ShowsOldDetails, Some(0), "convergence"),
    ("does not observe stamps", Defect::IgnoresStamps, Some(0), "hlc_causality"),
    ("sends the same stamp again", Defect::RepeatsStamp, Some(5), "hlc_rises"),
    ("sends stamps of ten seconds later", Defect::StampsAhead, Some(5), "hlc_bound"),
    (
        "tells a change under the incarnation before",
        Defect::ForgetsIncarnations,
        None,
        "incarnation_lattice",
    ),
    (
        "tells an incarnation that is not begun",
        Defect::InventsIncarnations,
        None,
        "no_forged_incarnation",
    ),
    ("tells other metadata than the owner's", Defect::AltersDetails, Some(0), "owners_word"),
    ("tells that a dead member is back", Defect::Revives, None, "no_resurrection"),
    ("tells new details as a new member", Defect::MistakesUpdates, None, "event_order"),
    ("declares dead as soon as it suspects", Defect::BuriesAtOnce, None, "suspicion_time"),
    ("does not tell of deaths", Defect::OmitsDeaths, None, "events_fold"),
    ("gives a broadcast out twice", Defect::RepeatsBroadcasts, Some(0), "broadcast_once"),
    ("holds itself suspect", Defect::DoubtsItself, Some(5), "self_is_alive"),
    ("thinks worse of itself than the score goes", Defect::Despairs, Some(0), "awareness"),
    ("raises its incarnation for nothing", Defect::RaisesItself, Some(5), "own_life"),
    ("sends longer datagrams than it may", Defect::TalksTooLong, Some(5), "mtu"),
    ("sends everything a thousand times", Defect::Chatters, Some(5), "resources"),
    ("does nothing when its timer fires", Defect::Oversleeps, Some(5), "poll_contract"),
    ("takes every wake-up for its timer", Defect::FiresEarly, Some(0), "poll_contract"),
];

/// Eight nodes, of which one crashes, two are cut off for a while, one sets metadata, one
/// broadcasts, and one wakes early: something for every defect to show in, and nothing that a sound
/// machine does not bear.
fn scenario(mutant: Option<Mutant>) -> Scenario {
    let secs = Duration::from_secs;
    let cut = Fault::Cut { from: vec![6, 7], to: vec![0, 1, 2, 3, 4, 5], one_way: false };
    let crash = Fault::Crash { node: 5, moves: false, keeps_clock: false };
    let mut plan = Plan::default()
        .with(secs(15), secs(10), Fault::Metadata(3))
        .with(secs(16), secs(10), Fault::Broadcast(4))
        .with(secs(0), secs(60), Fault::EarlyTimers(1));
    // Without these two, nothing excuses that the living are doubted.
    let is_quiet =
        mutant.is_some_and(|mutant| mutant.defect == Defect::Deaf && mutant.since < 40 * SECOND);
    if !is_quiet {
        plan = plan.with(secs(20), secs(12), crash).with(secs(20), secs(18), cut);
    }
    Scenario {
        nodes: 8,
        seed: 4,
        span: 40 * SECOND,
        faults: Faults::These(plan),
        mutant,
        ..Scenario::default()
    }
}

#[test]
fn without_a_defect_nothing_is_caught() {
    assert!(sound(&scenario(None)).struck.contains_key("early_timers"));
}

#[test]
fn every_defect_is_caught_by_the_oracle_that_the_table_names() {
    catch_all(&CASES, scenario);
}

#[test]
fn every_oracle_has_a_mutant() {
    let named = oracles_of(DOC);
    assert!(named.len() >= 20, "{named:?}");
    for oracle in named {
        assert!(CASES.iter().any(|case| case.3 == oracle), "no mutant for {oracle}");
    }
}
