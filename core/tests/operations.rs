//! The times in `docs/operations.md` are those of the presets.

use std::fs;
use std::path::Path;

use chinwag_core::membership::Config;

/// Returns the seconds that a suspicion lasts among `members`, at least and at most
/// (`docs/protocol.md` §4.5).
fn suspicion(config: &Config, members: u32) -> (f64, f64) {
    let scale = f64::from(members).log10().max(1.0);
    let min = config.probe_interval.as_secs_f64() * f64::from(config.suspicion_mult) * scale;
    (min, min * f64::from(config.suspicion_max_mult))
}

#[test]
fn the_table_of_suspicions_follows_from_the_presets() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let document = fs::read_to_string(path).expect("the document is in the repository");
    for (name, config) in
        [("local", Config::local()), ("lan", Config::lan()), ("wan", Config::wan())]
    {
        let cells = [10, 100, 1_000].map(|members| {
            let (min, max) = suspicion(&config, members);
            format!("{min:.0} to {max:.0}")
        });
        let row = format!("| `{name}` | {} |", cells.join(" | "));
        assert!(document.contains(&row), "docs/operations.md should have the row {row}");
    }
}

#[test]
fn the_table_of_presets_states_their_pings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let document = fs::read_to_string(path).expect("the document is in the repository");
    for (name, config) in
        [("local", Config::local()), ("lan", Config::lan()), ("wan", Config::wan())]
    {
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| `Config::{name}()`")))
            .unwrap_or_else(|| panic!("docs/operations.md has a row for {name}"));
        let seconds = format!("| {} s |", config.probe_interval.as_secs_f64());
        assert!(row.contains(&seconds), "{row}: should have {seconds}");
        let (min, max) = (config.probe_timeout_min, config.probe_timeout_max);
        let wait = if min.as_millis() < 500 {
            format!("| {} to {} ms |", min.as_millis(), max.as_millis())
        } else {
            format!("| {} to {} s |", min.as_secs_f64(), max.as_secs_f64())
        };
        assert!(row.ends_with(&wait), "{row}: should end with {wait}");
    }
}
