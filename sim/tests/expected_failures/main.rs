//! Runs that fail because of a known defect: `list.txt` has them, with the rule that each breaks.
//! A run that passes fails this test, so that the list never holds what is mended.

use std::path::Path;

use chinwag_sim::fault::Plan;
use chinwag_sim::run::{Faults, Level, Scenario, run};
use chinwag_sim::swarm::NOT_DRAWN;

const LIST: &str = include_str!("list.txt");
const SECOND: u64 = 1_000_000_000;

/// A line of the list.
#[derive(Debug)]
struct Entry<'a> {
    plan: &'a str,
    level: Level,
    nodes: usize,
    seconds: u64,
    seeds: std::ops::Range<u64>,
    oracle: &'a str,
    reason: &'a str,
}

fn entries(list: &str) -> Vec<Entry<'_>> {
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let entry = |line| {
        let cells: Vec<&str> = str::split(line, '|').map(str::trim).collect();
        let &[plan, level, nodes, seconds, seeds, oracle, reason] = &cells[..] else {
            panic!("seven cells are wanted: {line}");
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let (from, to) = seeds.split_once("..").unwrap_or_else(|| panic!("no range: {line}"));
        Entry {
            plan,
            level: match level {
                "protocol" => Level::Protocol,
                "node" => Level::Node,
                _ => panic!("no level: {line}"),
            },
            nodes: usize::try_from(number(nodes)).expect("a few nodes"),
            seconds: number(seconds),
            seeds: number(from)..number(to),
            oracle,
            reason,
        }
    };
    lines.map(entry).collect()
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expected_failures"))
}

/// What is wrong with the list, as far as this entry goes.
fn wrong(entry: &Entry<'_>) -> Option<String> {
    let json = std::fs::read_to_string(folder().join(entry.plan)).expect("the plan is there");
    let plan = Plan::parse(&json, entry.nodes).expect("the plan is read");
    for seed in entry.seeds.clone() {
        let outcome = run(&Scenario {
            level: entry.level,
            nodes: entry.nodes,
            seed,
            span: entry.seconds * SECOND,
            faults: Faults::These(plan.clone()),
            ..Scenario::default()
        });
        let failed = outcome.failure.as_ref().map(|failure| failure.violation.oracle);
        if let Some(complaint) = complaint(entry, seed, failed) {
            return Some(complaint);
        }
    }
    None
}

/// What is wrong if a run of the entry fails in the oracle `failed`, or passes.
fn complaint(entry: &Entry<'_>, seed: u64, failed: Option<&str>) -> Option<String> {
    match failed {
        None => Some(format!("{} passes with seed {seed}: take it out", entry.plan)),
        Some(oracle) if oracle != entry.oracle => {
            Some(format!("{} fails otherwise with seed {seed}: {oracle}", entry.plan))
        }
        Some(_) => None,
    }
}

#[test]
fn what_is_listed_fails_and_nothing_else_is_kept() {
    let entries = entries(LIST);
    let wrong: Vec<String> = entries.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(entries.iter().all(|entry| entry.reason.contains("docs/protocol.md §")));
    let mut kept = Vec::new();
    for file in std::fs::read_dir(folder()).expect("the folder is there") {
        let name = file.expect("an entry").file_name().into_string().expect("plain names");
        kept.extend(Some(name).filter(|name| name.ends_with(".json")));
    }
    for name in kept {
        assert!(entries.iter().any(|entry| entry.plan == name), "{name} is not listed");
    }
    for family in NOT_DRAWN {
        let has_entry = entries.iter().any(|entry| entry.plan == format!("{family}.json"));
        assert!(has_entry, "{family} is not drawn, and no defect is listed that it finds");
    }
}

#[test]
fn a_listed_run_that_passes_or_fails_otherwise_is_reported() {
    let of = |oracle, level| Entry {
        plan: "../fixtures/calm.json",
        level,
        nodes: 3,
        seconds: 20,
        seeds: 0..1,
        oracle,
        reason: "",
    };
    let says = wrong(&of("convergence", Level::Protocol)).expect("it passes");
    assert!(says.contains("take it out"), "{says}");
    let says = complaint(&of("accuracy", Level::Node), 0, Some("convergence"));
    assert!(says.expect("another oracle").contains("otherwise"));
    assert_eq!(complaint(&of("accuracy", Level::Node), 0, Some("accuracy")), None);
}
