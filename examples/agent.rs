//! One node as a process: `cargo run --release --example agent -- --id 1 --listen 127.0.0.1:8001`.
//!
//! What it prints and what it can be asked is told in `src/agent.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chinwag_examples::agent::main(std::env::args_os())
}
