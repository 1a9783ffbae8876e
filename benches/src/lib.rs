//! What chinwag costs; the figures come from `cargo bench -p chinwag-benches`.
//!
//! ```text
//!   --bench core     the machines of core alone, by criterion              benches/core.rs
//!   --bench rpc      calls over real sockets, beside a hand-written floor   benches/rpc.rs, and `rpc` here
//!   --bench store    writes to three replicas, beside datacake's store      benches/store.rs, and `store` here
//!   rpc-child        one contender in a process of its own: allocations, peak memory
//! ```

pub mod rpc;
pub mod store;
