use super::*;

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_plan_is_read_as_people_write_it() {
    let json = r#"{ "faults": [
        { "at": "10s", "for": "1.5s", "fault": { "cut": { "from": [1, 0], "to": [2, 3, 4] } } },
        { "at": "0s", "fault": { "link": { "to": [3], "quality": { "loss": 0.05, "delay": "20ms" } } } },
        { "at": "20s", "for": "5s", "fault": { "crash": { "node": 3 } } },
        { "at": "3s", "for": "10s", "fault": { "full_pause": 2 } }
    ] }"#;
    let quality = Quality { loss: 50_000, delay: Duration::from_millis(20), ..Quality::default() };
    let of = |at, until, fault| Timed { at: at * SECOND, until, fault };
    let expected = vec![
        of(10, 11_500_000_000, Fault::Cut { from: vec![0, 1], to: vec![2, 3, 4], one_way: false }),
        of(0, u64::MAX, Fault::Link { from: vec![], to: vec![3], quality }),
        of(20, 25 * SECOND, Fault::Crash { node: 3, moves: false, keeps_clock: false }),
        of(3, 13 * SECOND, Fault::FullPause(2)),
    ];
    assert_eq!(Plan::parse(json, 5), Ok(Plan { faults: expected }));
}

#[test]
fn what_makes_no_sense_is_said() {
    let of = |fault: &str| format!(r#"{{ "faults": [ {{ "at": "1s", "fault": {fault} }} ] }}"#);
    for (fault, says) in [
        (r#"{ "full_pause": 5 }"#, "no node 5"),
        (r#"{ "cut": { "from": [], "to": [1] } }"#, "both sides"),
        (r#"{ "link": { "quality": { "losss": 0.1 } } }"#, "losss"),
        (r#"{ "link": { "quality": { "loss": 5 } } }"#, "not a share"),
        (r#"{ "link": { "quality": { "bandwidth": 0 } } }"#, "is a cut"),
        (r#"{ "flap": { "from": [0], "to": [1], "every": "0s" } }"#, "less than 1ms"),
        (r#"{ "take_over": { "node": 1, "by": 1 } }"#, "itself"),
        (r#"{ "take_over": { "node": 1, "by": 5 } }"#, "no node 5"),
        (r#"{ "addresses": { "node": 1, "odd": { "nat": "0s" } } }"#, "1ms"),
        (r#"{ "names": { "node": 1, "answers": "wrong" } }"#, "wrong"),
        (r#"{ "crash": { "node": 1, "soon": true } }"#, "soon"),
        (r#"{ "explode": 1 }"#, "explode"),
    ] {
        let error = Plan::parse(&of(fault), 5).expect_err(fault);
        assert!(error.contains(says), "{fault}: {error}");
    }
    assert!(Plan::parse(r#"{ "faults": [], "more": 1 }"#, 5).is_err());
}

#[test]
fn every_plan_of_the_swarm_is_the_same_after_writing_and_reading() {
    for seed in 0..200 {
        let plan = crate::swarm::plan(&mut crate::choices::Seeded::new(seed), 5, 60 * SECOND);
        let json = serde_json::to_string(&plan).expect("plans are JSON");
        assert_eq!(Plan::parse(&json, 5), Ok(plan), "{json}");
    }
}

#[test]
fn a_fault_shrinks_to_those_that_stay() {
    let cut = Fault::Cut { from: vec![0, 1], to: vec![2, 3], one_way: true };
    let kept = Fault::Cut { from: vec![1], to: vec![2, 3], one_way: true };
    assert_eq!(cut.among(|node| node != 0), Some(kept));
    assert_eq!(cut.among(|node| node > 1), None);
    let everywhere = Fault::Link { from: vec![], to: vec![2], quality: Quality::default() };
    assert_eq!(
        everywhere.among(|node| node == 2),
        Some(everywhere.clone()),
        "from all that are left"
    );
    assert_eq!(everywhere.among(|node| node != 2), None);
    assert_eq!(Fault::Leave(3).among(|node| node != 3), None);
}

#[test]
fn a_fault_is_told_in_few_words() {
    let quality = Quality { loss: 50_000, delay: Duration::from_millis(20), ..Quality::default() };
    let cut = |one_way| Fault::Cut { from: vec![0, 1, 2, 4], to: vec![3], one_way };
    for (fault, words) in [
        (cut(false), "0-2,4 | 3"),
        (cut(true), "0-2,4 → 3"),
        (Fault::Link { from: vec![], to: vec![1], quality }, "all → 1: loss 0.05, delay 20ms"),
        (Fault::Clock { node: 2, step_ms: -5, drift_ppm: 200 }, "clock of node 2 -5 ms, +200 ppm"),
    ] {
        assert_eq!(fault.to_string(), words);
    }
}

/// Every row of both tables of faults in `docs/simulation.md` has an example that is a plan, and
/// the example is of a family that the row names. Every family has a row.
#[test]
fn every_fault_has_an_example_in_the_document_that_is_read() {
    let doc = include_str!("../../docs/simulation.md");
    for (section, families) in [("## Faults", &FAMILIES[..]), ("### Odd faults", &ODD_FAMILIES)] {
        let section = doc.split(&format!("\n{section}\n")).nth(1).expect("the section");
        let rows = section.lines().skip_while(|line| !line.starts_with("| family |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|'));
        let named: Vec<&str> = rows.flat_map(families_of_a_row).collect();
        assert_eq!(named, families);
    }
}

fn families_of_a_row(row: &str) -> Vec<&str> {
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let &[_, families, _, example, ..] = &cells[..] else { panic!("too few cells: {row}") };
    let fault = example.trim_matches('`');
    let json = format!(r#"{{ "faults": [ {{ "at": "1s", "fault": {fault} }} ] }}"#);
    let plan = Plan::parse(&json, 5).unwrap_or_else(|error| panic!("{row}: {error}"));
    let families: Vec<&str> = families.split('`').skip(1).step_by(2).collect();
    assert!(families.contains(&plan.faults[0].fault.family()), "{row}");
    families
}
