//! The node level: the driver that ships, users' services, clients and extensions, on virtual time
//! and a virtual network.
//!
//! ```text
//!   run         one run under the standard workload
//!   workload, streams, oddities, ledger   what users do, calls with chunks, users that are no
//!               help, and the books of all calls
//!   cluster     processes, the plan, the oracles that watch
//!   engine      runs tasks and events, one at a time, on one thread
//!   tasks       who was woken, and who runs next
//!   runtime     impl Runtime: what a process sees
//!   clear       since when nothing disturbs calls
//!   state       machines, timers, what happens next
//!   udp, tcp    sockets
//!   names       what look-ups find
//!   crypto      algorithms for encrypted streams that repeat
//!   faults      what goes wrong with machines
//! ```
//!
//! No runtime of the outside is entered, so what asks for one (a stray `tokio::time::sleep`) panics
//! instead of letting real time in.

mod clear;
mod cluster;
mod crypto;
mod engine;
mod faults;
mod ledger;
mod names;
mod oddities;
mod run;
mod runtime;
mod state;
mod streams;
mod tasks;
mod tcp;
mod told;
mod udp;
mod workload;

pub(crate) use cluster::{Boot, Cluster, Configure, Setup};
pub use engine::Engine;
pub(crate) use engine::{Inner, message};
pub use ledger::Calls;
pub use run::{run, run_with};
pub(crate) use runtime::VirtualTimer;
pub(crate) use tasks::{Unended, lock};

#[cfg(test)]
mod tests;
