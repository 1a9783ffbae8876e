//! Nodes come and go under load, for as long as one likes, and nothing of them may stay:
//! `cargo run --release -p chinwag-examples --example soak -- --minutes 20`.
//!
//! What is measured and what counts as flat is told in `src/soak.rs`.

use std::process::ExitCode;

use chinwag_examples::soak;

fn main() -> ExitCode {
    soak::main(std::env::args_os())
}
