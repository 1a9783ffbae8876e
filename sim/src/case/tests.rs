use super::*;
use crate::mutant::{Defect, Mutant};
use crate::run::run;

/// A machine that takes nothing any more from one that it has ever buried, in clusters of five
/// under the swarm.
fn planted() -> (Scenario, Outcome) {
    let mutant = Some(Mutant { defect: Defect::NeverForgives, node: None, since: 0 });
    let of = |seed| Scenario { seed, mutant, ..Scenario::default() };
    let failing = (0..50).map(|seed| (of(seed), run(&of(seed)))).find(|(_, outcome)| {
        let faults = outcome.plan.faults.len();
        faults > 8
            && outcome
                .failure
                .as_ref()
                .is_some_and(|failure| failure.violation.oracle == "one_cluster")
    });
    failing.expect("under the swarm somebody is buried who lives")
}

#[test]
fn a_planted_defect_is_left_with_what_it_needs_and_repeats_from_its_file() {
    let (scenario, outcome) = planted();
    let small = shrink_failure(&scenario, &outcome);
    let case = &small.scenario;
    let plan = case.plan();
    assert!(
        plan.faults.len() <= 2,
        "{} of {}: {:#?}",
        plan.faults.len(),
        outcome.plan.faults.len(),
        plan.faults
    );
    assert!(plan.faults.iter().all(|timed| !timed.fault.is_operation()), "{:#?}", plan.faults);
    assert!(case.present().len() <= 3, "{} nodes are needed", case.present().len());
    assert!(case.scenario.span < 60 * SECOND, "{} ns", case.scenario.span);
    let choices = case.tape.as_ref().map_or(usize::MAX, Tape::len);
    assert!(choices <= 40, "{choices} choices: {:?}", case.tape);

    let (again, name) = Case::parse(&case.to_json("lan")).expect("its own format");
    assert_eq!(name, "lan");
    let again = Case { scenario: Scenario { mutant: scenario.mutant, ..again.scenario }, ..again };
    let repeated = again.run();
    assert_eq!((repeated.hash, repeated.failure), (small.outcome.hash, small.outcome.failure));
}

#[test]
fn a_failure_leaves_its_files() {
    let cut = Fault::Cut { from: vec![0], to: vec![1, 2], one_way: false };
    let plan = Plan::default().with(Duration::from_secs(3), Duration::from_secs(4), cut);
    let scenario =
        Scenario { nodes: 3, span: 8 * SECOND, faults: Faults::These(plan), ..Scenario::default() };
    let folder = std::env::temp_dir().join(format!("chinwag-sim-case-{}", std::process::id()));
    let files = leave(&Case::new(&scenario), "lan", &folder).expect("a folder of its own");
    let read = |path: &Path| fs::read_to_string(path).expect("written just now");
    let (case, _) = Case::parse(&read(&files.tape)).expect("its own format");
    assert_eq!(case.run().hash, run(&scenario).hash);
    let trace = read(&files.trace);
    for kind in ["start", "send", "arrive", "drop", "view", "clock", "begin", "end"] {
        assert!(trace.contains(&format!(r#""kind":"{kind}""#)), "{kind}");
    }
    assert!(trace.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert!(read(&files.timeline).contains(r#""partition",[0],[1,2]"#));
    fs::remove_dir_all(folder).expect("its own");
}

#[test]
fn files_that_are_no_case_are_refused() {
    let good =
        Case::new(&Scenario { faults: Faults::These(Plan::default()), ..Scenario::default() })
            .to_json("lan");
    assert!(Case::parse(&good).is_ok());
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("\"lan\"", "\"far\""),
        ("\"nodes\": 5", "\"nodes\": 0"),
        ("\"seed\"", "\"sead\""),
        ("\"1m\"", "\"sixty\""),
        ("\"60s\"", "\"sixty\""),
        ("\"faults\": []", "\"faults\": [{\"at\": \"1s\", \"fault\": {\"leave\": 7}}]"),
    ] {
        let bad = good.replace(from, to);
        assert!(bad == good || Case::parse(&bad).is_err(), "{bad}");
    }
    assert!(Case::parse("").is_err());
}
