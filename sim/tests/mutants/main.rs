//! Clusters with a defect put in on purpose, and the oracle that is the first to catch each.
//! `docs/simulation.md` has the tables; the tests compare.

mod node;
mod protocol;

use chinwag_sim::mutant::{Defect, Mutant};
use chinwag_sim::run::{Outcome, Scenario, run};
use chinwag_sim::world::TOLD;

const SECOND: u64 = 1_000_000_000;
const DOC: &str = include_str!("../../../docs/simulation.md");

/// In words, the defect, whose from when (none: all from the start), and the oracle that catches
/// it.
type Case = (&'static str, Defect, Option<u64>, &'static str);

/// Runs the scenario without a defect: nothing is caught, and what a defect can show in is reached.
fn sound(scenario: &Scenario) -> Outcome {
    let outcome = run(scenario);
    assert_eq!(outcome.failure, None);
    for told in ["joined", "suspected", "recovered", "died", "updated"] {
        let at = TOLD.iter().position(|name| *name == told).expect("a known name");
        assert!(outcome.tally.told[at] > 0, "{told} is reached, so that a defect in it can show");
    }
    assert!(outcome.tally.broadcasts > 0);
    outcome
}

/// Each defect, put into node 1 or all, is caught by the oracle that its case and the document's
/// table name.
fn catch_all(cases: &[Case], scenario: impl Fn(Option<Mutant>) -> Scenario) {
    let mut wrong = Vec::new();
    for &(words, defect, from, oracle) in cases {
        let mutant = Mutant { defect, node: from.map(|_| 1), since: from.unwrap_or(0) * SECOND };
        let failure = run(&scenario(Some(mutant))).failure;
        if failure.as_ref().is_none_or(|failure| failure.violation.oracle != oracle) {
            wrong.push(format!("{words}, expected {oracle}: {failure:?}"));
        }
        let row = format!("| {words} | `{oracle}` |");
        assert!(DOC.contains(&row), "docs/simulation.md lacks: {row}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The oracles that the first table of them in `section` names: those in backticks in its first
/// column.
fn oracles_of(section: &str) -> Vec<&str> {
    let rows = section.lines().skip_while(|line| !line.starts_with("| oracle |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}
