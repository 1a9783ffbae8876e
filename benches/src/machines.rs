//! Chinwag's machines, to which everybody else is played: what benches of one machine run.

pub mod membership;
pub mod rpc;
