//! What the examples are made of.
//!
//! ```text
//!   quickstart.rs ---- quickstart: the story, step by step, each with a bound
//!                          |
//!                      process: an agent as a child process, by its lines   ---- tests/
//!                          |
//!   agent.rs --------- agent: one node, its events on stdout, its commands on stdin
//!                          |
//!                      chinwag_tokio::Node
//!                          |
//!   hedged.rs -------- hedged: calls that do not wait for the slowest replica
//! ```
//!
//! To see how chinwag is used, read [`agent`]: it is a whole program. What this is not: a tool for running clusters.

pub mod agent;
pub mod hedged;
pub mod process;
pub mod quickstart;
