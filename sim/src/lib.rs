//! chinwag's deterministic simulator: whole clusters in one thread, under a seed, with faults on purpose and oracles at every step.
//!
//! ```text
//!   run, explore        a scenario and its outcome; many seeds, and making a failing one small
//!   swarm, fault        what goes wrong: drawn from a seed, or written down
//!   world, queue        nodes, clocks, the order of what happens
//!   network, clock      what becomes of a payload; what a node reads
//!   choices             chance, keyed, with 0 meaning benign
//!   checker             what must hold
//!   trace               the hash that tells two runs apart
//! ```
//!
#![doc = include_str!("../../docs/simulation.md")]
#![forbid(unsafe_code)]

pub mod args;
pub mod checker;
pub mod choices;
pub mod clock;
pub mod explore;
pub mod fault;
mod host;
pub mod network;
pub mod node;
pub mod queue;
pub mod run;
pub mod swarm;
pub mod trace;
pub mod world;
