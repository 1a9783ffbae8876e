//! Calls over loopback TCP: the contenders, and how they are measured.
//!
//! ```text
//!   Setup            servers, and so many connections to them            floor, pingpong, node, peers
//!     Caller         one caller's call: an echo of so many bytes, whose answer is checked
//!   Contender        a setup that runs, type forgotten                    contender
//!   measure          latency, throughput, CPU of one contender for a while
//!   plan, report     rounds of all of them in turns; medians, ratios, aims
//!   tables           what of it is shown on the page of benchmarks
//! ```
//!
//! Clients and servers share the process and the runtime's threads, two but where a contender says
//! otherwise: what is compared is the work of a call on both sides, in the same minute on the same
//! machine.

mod aims;
mod contender;
mod floor;
mod measure;
mod node;
#[cfg(feature = "peers")]
mod peers;
mod pingpong;
mod pingpong_smol;
mod plan;
mod report;
mod tables;

pub use contender::{Contender, Kind};
pub use measure::{Throughput, peak_memory};
pub use plan::{Only, Plan};
pub use report::Report;

/// Bytes of a small payload, of one that still fits a small frame, of a large one, and of a very
/// large one.
pub const SIZES: [usize; 4] = [32, 1_024, 64 * 1_024, 1_024 * 1_024];

/// Connections of every setup: cells on one connection use the first.
pub const CONNECTIONS: usize = 4;

/// Calls in flight on each connection, less where that would be more than 64 MiB of payload on all
/// of them.
pub fn in_flight(size: usize, connections: usize) -> usize {
    64.min((64 << 20) / size / connections)
}
