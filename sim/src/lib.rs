#![doc = include_str!("../docs/simulation.md")]
//!
//! # The modules
//!
//! ```text
//!   run, explore        a scenario and its outcome; many seeds, until one fails
//!   minimise, case      making a failing scenario small; what is left of it, as files
//!   exhaustive          every order of two or three nodes, to a bounded depth; of two connections
//!   swarm, fault        what goes wrong: drawn from a seed, or written down
//!   world, queue        nodes, clocks, the order of what happens
//!   network, clock      what becomes of a payload; what a node reads
//!   choices             chance, keyed, with 0 meaning benign
//!   checker             what must hold
//!   trace               the hash that tells two runs apart; records as JSON lines, and the
//!                       timeline drawn from them
//!   mutant              machines with a defect, for the oracles to catch
//!   node                the driver that ships, on virtual time and sockets
//!   check, history      tests of users' own services, and what their clients saw
//! ```
//!
//! Users need `check`, `history` and `fault`; the other modules are hidden from the documentation.
#![forbid(unsafe_code)]

pub mod check;
pub mod fault;
pub mod history;

mod host;

// Public for the program, and for the tests and benchmarks of chinwag itself. They are hidden
// because nothing about them is promised.
#[doc(hidden)]
pub mod args;
#[doc(hidden)]
pub mod case;
#[doc(hidden)]
pub mod checker;
#[doc(hidden)]
pub mod choices;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod exhaustive;
#[doc(hidden)]
pub mod explore;
#[doc(hidden)]
pub mod lifeguard;
#[doc(hidden)]
pub mod minimise;
#[doc(hidden)]
pub mod mutant;
#[doc(hidden)]
pub mod network;
#[doc(hidden)]
pub mod node;
#[doc(hidden)]
pub mod progress;
#[doc(hidden)]
pub mod queue;
#[doc(hidden)]
pub mod repeat;
#[doc(hidden)]
pub mod run;
#[doc(hidden)]
pub mod swarm;
#[doc(hidden)]
pub mod trace;
#[doc(hidden)]
pub mod world;

pub use check::{Handles, World, check, check_bytes, millis, secs, step, step_back};
