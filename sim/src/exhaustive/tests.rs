//! What a search finds, and that it finds something.

use super::*;
use crate::choices::Seeded;
use crate::mutant::Defect;

#[test]
fn every_order_of_two_nodes_holds_and_reaches_a_death_and_a_return() {
    let found = search(&Search { nodes: 2, depth: 7, ..Search::default() });
    assert_eq!(found.failure, None);
    assert!(found.is_complete && found.merged > 100 && found.healed > 100, "{found:?}");
    let told = |name| found.told.iter().find(|told| told.0 == name).map_or(0, |told| told.1);
    assert!(told("suspected") > 0 && told("died") > 0 && told("joined") > 0, "{:?}", found.told);
    assert_eq!(found.states.len(), 8);
    assert_eq!(search(&Search { nodes: 2, depth: 7, ..Search::default() }).states, found.states);
}

#[test]
fn every_order_of_three_nodes_holds() {
    let found = search(&Search { depth: 4, ..Search::default() });
    assert_eq!(found.failure, None);
    assert!(found.is_complete && found.state_count() > 100, "{found:?}");
}

#[test]
fn long_orders_by_chance_hold_and_heal() {
    for seed in 0..20 {
        let walked = walk(&Search { depth: 300, ..Search::default() }, &mut Seeded::new(seed));
        assert_eq!(walked.1, Ok(()), "seed {seed}");
        assert!(walked.0.len() > 100);
    }
}

#[test]
fn a_defect_is_found_by_the_shortest_order_and_replayed() {
    for (defect, oracle) in [
        (Defect::Revives, "no_resurrection"),
        (Defect::BuriesAtOnce, "suspicion_time"),
        (Defect::OmitsDeaths, "events_fold"),
    ] {
        let mutant = Some(Mutant { defect, node: None, since: 0 });
        let broken = Search { nodes: 2, depth: 12, heals: false, mutant, ..Search::default() };
        let failure = search(&broken).failure.expect("found");
        assert_eq!(failure.violation.oracle, oracle, "{defect:?}: {failure:?}");
        let (lines, replayed) = replay(&broken, &failure.order);
        assert_eq!(replayed, Err(failure.violation), "{lines:?}");
        let shorter = Search { depth: failure.order.len() - 1, ..broken };
        assert_eq!(search(&shorter).failure, None, "{defect:?}: no shorter order shows it");
    }
}

#[test]
fn one_that_hears_nothing_does_not_heal() {
    let mutant = Some(Mutant { defect: Defect::NeverForgives, node: Some(0), since: 0 });
    let broken = Search { nodes: 2, depth: 10, mutant, ..Search::default() };
    let failure = search(&broken).failure.expect("found");
    assert_eq!(failure.violation.oracle, "convergence", "{failure:?}");
}
