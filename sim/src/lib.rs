//! chinwag's deterministic simulator.
#![forbid(unsafe_code)]

pub mod args;
pub mod checker;
pub mod choices;
pub mod clock;
pub mod explore;
pub mod fault;
mod host;
pub mod network;
pub mod queue;
pub mod run;
pub mod swarm;
pub mod trace;
pub mod world;
