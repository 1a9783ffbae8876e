//! What chinwag costs; the figures come from `cargo bench -p chinwag-benches`.
//!
//! ```text
//!   --bench core     the machines of core alone, by criterion              benches/core.rs
//!   --bench rpc      calls over real sockets, beside a hand-written floor   benches/rpc.rs, and `rpc` here
//!   rpc-child        one contender in a process of its own: allocations, peak memory
//! ```

pub mod rpc;
