//! Nodes with a defect, or with users that have one.

use std::time::Duration;

use chinwag_sim::fault::{Fault, Plan};
use chinwag_sim::mutant::{Defect, Mutant};
use chinwag_sim::run::{Faults, Level, Scenario};

use super::{Case, DOC, SECOND, catch_all, oracles_of, sound};

const CASES: [Case; 27] = [
    ("hears nothing, and no fault excuses it", Defect::Deaf, Some(3), "accuracy"),
    (
        "never again hears a member that it has declared dead",
        Defect::NeverForgives,
        None,
        "one_cluster",
    ),
    ("shows metadata of before", Defect::ShowsOldDetails, Some(0), "convergence"),
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
    ("does not tell of deaths", Defect::OmitsDeaths, None, "events_fold"),
    ("gives a broadcast out twice", Defect::RepeatsBroadcasts, Some(0), "broadcast_once"),
    ("holds itself suspect", Defect::DoubtsItself, Some(0), "self_is_alive"),
    ("raises its incarnation for nothing", Defect::RaisesItself, Some(5), "own_life"),
    ("has a clock that goes back", Defect::ClockGoesBack, Some(5), "hlc_rises"),
    ("has a clock ten seconds ahead", Defect::StampsAhead, Some(5), "hlc_bound"),
    ("asks under a stamp of later", Defect::AsksFromTomorrow, Some(0), "hlc_causality"),
    ("answers under a stamp of later", Defect::AnswersFromTomorrow, Some(0), "hlc_causality"),
    ("answers with a byte more than it was asked", Defect::GarblesAnswers, Some(0), "rpc_answer"),
    ("never answers, all of them", Defect::NeverAnswers, None, "vacuity"),
    ("never answers", Defect::NeverAnswers, Some(0), "progress"),
    ("says that another run of it answers", Defect::ForgetsItsRun, Some(0), "who_is_reached"),
    ("hangs up when it begins to leave", Defect::HangsUp, Some(0), "leave"),
    ("cannot be called once all is over", Defect::StopsServing, Some(0), "rpc_heals"),
    ("loses a service that nobody removed", Defect::LosesGuests, Some(0), "services"),
    ("offers a service twice", Defect::OffersTwice, Some(0), "start"),
    ("has a task that panics", Defect::BreaksDown, Some(0), "panic"),
    ("does not end when it is shut down", Defect::StaysUp, Some(0), "shutdown"),
    ("leaves a task when it is shut down", Defect::LeavesTasks, Some(0), "leaks"),
];

/// Four nodes, of which one is cut off for a while, one sets metadata, and one broadcasts:
/// something for every defect to show in, and nothing that a sound node does not bear.
fn scenario(mutant: Option<Mutant>) -> Scenario {
    let secs = Duration::from_secs;
    let cut = Fault::Cut { from: vec![3], to: vec![0, 1, 2], one_way: false };
    let mut plan = Plan::default().with(secs(4), secs(10), Fault::Metadata(2)).with(
        secs(5),
        secs(10),
        Fault::Broadcast(0),
    );
    // Without it, nothing excuses that the living are doubted, or that calls stand still.
    let is_quiet = mutant.is_some_and(|mutant| match mutant.defect {
        Defect::Deaf | Defect::HangsUp => true,
        Defect::NeverAnswers => mutant.node.is_some(),
        _ => false,
    });
    if !is_quiet {
        plan = plan.with(secs(6), secs(18), cut);
    }
    if mutant.is_some_and(|mutant| mutant.defect == Defect::HangsUp) {
        plan = plan.with(secs(12), secs(100), Fault::Leave(1));
    }
    Scenario {
        level: Level::Node,
        nodes: 4,
        seed: 4,
        span: 20 * SECOND,
        faults: Faults::These(plan),
        mutant,
        ..Scenario::default()
    }
}

#[test]
fn without_a_defect_nothing_is_caught() {
    sound(&scenario(None));
}

#[test]
fn every_defect_is_caught_by_the_oracle_that_the_table_names() {
    catch_all(&CASES, scenario);
}

/// Those of the table of the node level that are not rules of the books of calls, which are broken
/// one by one in `sim/src/node/ledger/tests.rs`.
#[test]
fn every_oracle_of_the_node_level_has_a_mutant() {
    let section = DOC.split("### At node level").nth(1).expect("the section");
    let named = oracles_of(section);
    assert!(named.len() >= 12, "{named:?}");
    let of_books = include_str!("../../src/node/ledger/tests.rs");
    for oracle in named {
        let is_broken = CASES.iter().any(|case| case.3 == oracle)
            || of_books.contains(&format!("\"{oracle}\""));
        assert!(is_broken, "no mutant for {oracle}");
    }
}
