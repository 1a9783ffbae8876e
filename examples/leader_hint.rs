//! An extension of one's own: who of those that run it has the lowest id. `cargo run --release
//! --example leader_hint`.
//!
//! `docs/extensions.md` walks through it.

fn main() -> std::process::ExitCode {
    chinwag_examples::leader_hint::main()
}
