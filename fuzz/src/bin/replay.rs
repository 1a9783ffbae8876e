//! Runs inputs of one target without a fuzzer: `replay TARGET FILE...`. What fails, panics.

use std::error::Error;

use chinwag_fuzz::TARGETS;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).ok_or("replay TARGET FILE...")?;
    for file in args {
        run(&std::fs::read(&file)?);
    }
    Ok(())
}
