//! Three processes become a cluster, lose one to `kill -9`, take it back, and see one leave:
//! `cargo run --release --example quickstart`.
//!
//! The agents are this very program, started again as `quickstart agent ..`: nothing else need be built.

use std::process::ExitCode;

use chinwag_examples::process::Program;
use chinwag_examples::{agent, quickstart};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.nth(1).is_some_and(|first| first == "agent") {
        return agent::main(std::iter::once("agent".into()).chain(args));
    }
    quickstart::main(Program::this_as("agent"))
}
