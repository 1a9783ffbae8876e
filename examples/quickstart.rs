//! Three processes become a cluster, lose one to `kill -9`, take it back, and see one leave:
//! `cargo run --release --example quickstart`, and with `-- --runtime smol` or `-- --runtime
//! async-std` the same on those. With `-- --stay`, what is left of the cluster stays until ctrl-C,
//! for other programs to join.
//!
//! The agents are this very program, started again as `quickstart agent ..`: nothing else need be
//! built.

use std::process::ExitCode;

use chinwag_examples::process::Program;
use chinwag_examples::{agent, quickstart};

fn main() -> ExitCode {
    let mut args = std::env::args_os().peekable();
    let name = args.next();
    if args.next_if(|first| first == "agent").is_some() {
        return agent::main(std::iter::once("agent".into()).chain(args));
    }
    quickstart::main(Program::this_as("agent"), name.into_iter().chain(args))
}
