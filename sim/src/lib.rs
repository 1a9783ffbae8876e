//! chinwag's deterministic simulator: whole clusters in one thread, under a seed, with faults on
//! purpose and oracles at every step.
//!
//! ```text
//!   run, explore        a scenario and its outcome; many seeds, until one fails
//!   minimise, case      making a failing scenario small; what is left of it, as files
//!   exhaustive          every order of two or three nodes, to a bounded depth
//!   swarm, fault        what goes wrong: drawn from a seed, or written down
//!   world, queue        nodes, clocks, the order of what happens
//!   network, clock      what becomes of a payload; what a node reads
//!   choices             chance, keyed, with 0 meaning benign
//!   checker             what must hold
//!   trace               the hash that tells two runs apart; records as JSON lines, and the timeline
//!                       drawn from them
//!   mutant              machines with a defect, for the oracles to catch
//!   node                the driver that ships, on virtual time and sockets
//!   check, history      tests of users' own services, and what their clients saw
//! ```
#![doc = include_str!("../docs/simulation.md")]
#![forbid(unsafe_code)]

pub mod args;
pub mod case;
pub mod check;
pub mod checker;
pub mod choices;
pub mod clock;
pub mod exhaustive;
pub mod explore;
pub mod fault;
pub mod history;
mod host;
pub mod lifeguard;
pub mod minimise;
pub mod mutant;
pub mod network;
pub mod node;
pub mod progress;
pub mod queue;
pub mod run;
pub mod swarm;
pub mod trace;
pub mod world;

pub use check::{World, check, check_bytes, millis, secs, step, step_back};
