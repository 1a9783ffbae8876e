//! What the benches ran on, and the versions of what they ran.

use std::fs;
use std::process::Command;
use std::thread;

/// Whose versions are told, as far as they take part.
const PACKAGES: [&str; 14] = [
    "async-std",
    "chitchat",
    "criterion",
    "datacake-crdt",
    "datacake-node",
    "datacake-rpc",
    "foca",
    "kinship-core",
    "rkyv",
    "smol",
    "tarpc",
    "tokio",
    "tonic",
    "uhlc",
];

/// Rows of a table: what, and which.
pub(crate) fn describe(began: &str, load: f64) -> Vec<(&'static str, String)> {
    vec![
        ("when", began.to_owned()),
        ("load before", format!("{load:.2}")),
        ("CPU", cpu()),
        (
            "cores",
            thread::available_parallelism().map_or_else(|_| unknown(), |count| count.to_string()),
        ),
        ("system", format!("{} {}", std::env::consts::OS, kernel())),
        (
            "compiler",
            said("rustc", &["--version"]).map_or_else(unknown, |version| version.trim().to_owned()),
        ),
        (
            "chinwag",
            said("git", &["rev-parse", "--short", "HEAD"])
                .map_or_else(unknown, |commit| commit.trim().to_owned()),
        ),
        ("others", packages().join(", ")),
    ]
}

fn unknown() -> String {
    "unknown".into()
}

/// As Linux tells it.
fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// `name version` of each of [`PACKAGES`], as `Cargo.lock` has them.
fn packages() -> Vec<String> {
    let args = [
        "tree",
        "--locked",
        "--package",
        "chinwag-benches",
        "--all-features",
        "--edges",
        "normal,dev",
    ];
    let tree = said("cargo", &[&args[..], &["--prefix", "none", "--format", "{p}"]].concat())
        .unwrap_or_default();
    let mut packages: Vec<String> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, version) = (words.next()?, words.next()?);
            PACKAGES.contains(&name).then(|| format!("{name} {}", version.trim_start_matches('v')))
        })
        .collect();
    packages.sort();
    packages.dedup();
    packages
}

/// What a program prints.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
