//! What the crash test kills: `chinwag_examples::crash`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chinwag_examples::crash::main(std::env::args_os())
}
