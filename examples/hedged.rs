//! Calls that do not wait for the slowest replica: `cargo run --release --example hedged`.
//!
//! Ask one replica; if it has not answered within the time that most answers take, ask a second one
//! too, and take whichever answer comes first; the other call is cancelled, which its handler
//! feels. The rare slow answer then costs one more call instead of its whole delay. All of it is
//! [`hedged`](chinwag_examples::hedged::hedged), some twenty lines over `Node::fan_out`.

fn main() -> std::process::ExitCode {
    chinwag_examples::hedged::main()
}
