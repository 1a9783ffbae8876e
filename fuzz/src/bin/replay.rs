//! Runs inputs of one target without a fuzzer: `replay TARGET FILE...`. What fails, panics;
//! `membership_ops` says what it does.

use std::error::Error;

use chinwag_fuzz::{IS_TOLD, TARGETS};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let (_, run) =
        TARGETS.iter().find(|(target, _)| *target == name).ok_or("replay TARGET FILE...")?;
    IS_TOLD.store(true, std::sync::atomic::Ordering::Relaxed);
    for file in args {
        run(&std::fs::read(&file)?);
    }
    Ok(())
}
