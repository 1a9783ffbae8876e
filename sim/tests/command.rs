//! The command line as its users meet it: one JSON object, exit codes, files that are left and
//! read.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chinwag-sim"))
        .args(args)
        .output()
        .expect("the binary is built with its tests")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1, "one object on one line: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("chinwag-sim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the system's folder for it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn two_processes_run_one_seed_alike_and_leave_what_happened() {
    let folder = Folder::new("run");
    let (trace, timeline) = (folder.file("trace.jsonl"), folder.file("timeline.html"));
    let args = ["run", "--nodes", "5", "--seed", "9", "--for", "30s", "--crash", "3@10s", "--json"];
    let plain = json(&sim(&args));
    let kept = sim(&[&args[..], &["--trace", &trace, "--timeline", &timeline]].concat());
    assert!(kept.status.success());
    assert_eq!(plain["trace_hash"], json(&kept)["trace_hash"]);
    assert_eq!(plain["false_deaths"], 0);
    let read = |path: &str| std::fs::read_to_string(path).expect("written");
    let died = r#""kind":"view","peer":3,"state":"dead""#;
    assert_eq!(
        read(&trace).lines().filter(|line| line.contains(died)).count(),
        4,
        "told by the four others"
    );
    assert!(read(&timeline).starts_with("<!doctype html>"));
}

#[test]
fn a_plan_from_a_file_is_explored_and_strikes() {
    let folder = Folder::new("plan");
    let plan = folder.file("plan.json");
    let text = r#"{ "faults": [ { "at": "5s", "for": "3s", "fault": { "cut": { "from": [0], "to": [1, 2] } } } ] }"#;
    std::fs::write(&plan, text).expect("written");
    let args =
        ["explore", "--seeds", "0..5", "--nodes", "3", "--for", "10s", "--json", "--faults", &plan];
    let output = sim(&args);
    let report = json(&output);
    assert!(output.status.success(), "{report}");
    assert_eq!(report["seeds"], 5);
    let families: Vec<&String> =
        report["faults"].as_object().into_iter().flat_map(serde_json::Map::keys).collect();
    assert_eq!(families, ["partition"]);
    assert!(report["faults"]["partition"].as_u64() > Some(0));
}

#[test]
fn the_node_level_is_explored_and_replayed_alike() {
    let args = ["explore", "--seeds", "3..4", "--for", "10s", "--level", "node", "--json"];
    let (once, again) = (json(&sim(&args)), json(&sim(&args)));
    assert_eq!(
        (&once["trace_hash"], &once["failures"]),
        (&again["trace_hash"], &serde_json::json!([]))
    );
    let replayed = json(&sim(&["replay", "n1.lan.5.3.10000.all", "--json"]));
    assert_eq!(replayed["events"], once["events"]);
}

#[test]
fn a_tape_and_a_token_are_replayed() {
    let tape =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tapes/seeds_away_starve_exchanges.json");
    for what in
        [tape.to_str().expect("a plain path"), "v1.lan.5.42.20000.all", "v1.lan.3.7.20000.none"]
    {
        let output = sim(&["replay", what, "--json"]);
        assert!(output.status.success(), "{what}");
        assert_eq!(json(&output)["failure"], Value::Null);
    }
}

#[test]
fn what_makes_no_sense_ends_with_two_and_says_so() {
    for (args, says) in [
        (&["replay", "v1.lan.5.42"][..], "not a replay token"),
        (&["replay", "no/such/file"], "no/such/file"),
        (&["run", "--crash", "9@1s"], "are not nodes"),
        (&["run", "--loss", "2"], "a share"),
        (&["explore", "--faults", "no/such/plan"], "no/such/plan"),
        (&["explore", "--seeds", "5..5"], "5..5"),
    ] {
        let output = sim(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(says), "{args:?}: {told}");
    }
}
