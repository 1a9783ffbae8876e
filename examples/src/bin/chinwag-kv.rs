//! The node of the `kv` example, where the tests find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    chinwag_examples::kv::main(std::env::args_os())
}
