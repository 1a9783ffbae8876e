//! The `agent` example, where the tests find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    chinwag_examples::agent::main(std::env::args_os())
}
