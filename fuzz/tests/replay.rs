//! Everything that is kept is told again: seeds, and inputs that have failed once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chinwag_fuzz::TARGETS;

fn files(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}

/// Held by each test of this program: `connection_bytes` counts what the whole process allocates.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One test for all targets and not one for each, because each needs the process for itself.
#[test]
fn what_is_kept_is_survived() {
    let _alone = alone();
    for (target, run) in TARGETS {
        let seeds = files("seeds", target);
        assert!(!seeds.is_empty(), "{target} has seeds");
        for file in seeds.into_iter().chain(files("crashes", target)) {
            let input = fs::read(&file).expect("a readable file");
            // Shown if it fails.
            println!("{}", file.display());
            run(&input);
        }
    }
}

/// A target that is not in the list is not replayed, and one without a program is not fuzzed.
#[test]
fn every_target_has_a_program() {
    let _alone = alone();
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let named = |target: &str| programs.join(format!("{target}.rs")).is_file();
    assert!(TARGETS.iter().all(|(target, _)| named(target)));
    // Beside them there is `counters`, which two of them share.
    assert_eq!(fs::read_dir(&programs).expect("a readable folder").count(), TARGETS.len() + 1);
}
