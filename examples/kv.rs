//! Three processes keep the same documents, through kill -9 of one and of all: `cargo run --release
//! --example kv -- --demo`, and with `--runtime smol` or `--runtime async-std` the same on those.
//! Without `--demo` it is one node to play with; its commands are at the head of
//! `examples/src/kv.rs`.

use std::process::ExitCode;

use chinwag_examples::kv;
use chinwag_examples::process::Program;

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    // The demo starts this very program again, as `kv node ..`.
    if args.get(1).is_some_and(|first| first == "node") {
        args.remove(1);
        return kv::main(args);
    }
    let count = args.len();
    args.retain(|arg| arg != "--demo");
    if args.len() == count {
        kv::main(args)
    } else {
        kv::story::main(Program::this_as("node"), args)
    }
}
