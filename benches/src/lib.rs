//! What chinwag costs; `benches/run` runs everything and writes `docs/benchmarks.md`, `cargo bench
//! -p chinwag-benches` one bench.
//!
//! ```text
//!   --bench core          the machines of core alone, by criterion                benches/core.rs
//!   --bench clock         stamps, beside other clocks                             benches/clock.rs
//!   --bench membership    machines, and clusters of them, beside other projects   benches/membership.rs, `membership`, `cluster`
//!   --bench rpc           calls over real sockets, beside a hand-written floor    benches/rpc.rs, `rpc`
//!   --bench sim           how fast virtual clusters run                           benches/sim.rs
//!   --bench store         writes to three replicas, beside datacake's store      benches/store.rs, `store`
//!   --bench instructions  instructions of single cases, counted by callgrind      benches/instructions.rs
//!
//!   args                  what every bench can be told
//!   machines              chinwag's machines, to which everybody else is played
//!   turns                 contenders measured in rounds that take turns
//!   table                 what every bench writes with `--json FILE`
//!   rpc-child, membership-child    one contender in a process of its own: allocations, memory
//!   benchmarks            makes the page and its plots of those files             src/bin/benchmarks
//! ```

pub mod args;
pub mod cluster;
pub mod machines;
pub mod membership;
pub mod rpc;
pub mod store;
pub mod table;
pub mod turns;
