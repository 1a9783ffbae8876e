//! What the examples are made of.
//!
//! ```text
//!   quickstart.rs ---- quickstart: the story, step by step, each with a bound
//!                          |
//!                      story: steps with bounds, an exit code
//!                          |
//!                      process: an agent as a child process, by its lines   ---- tests/
//!                          |
//!   agent.rs --------- agent: one node, its events on stdout, its commands on stdin
//!                          |
//!                      runtime: tokio, smol or async-std
//!                          |
//!                      chinwag::Node
//!
//!   hedged.rs -------- hedged: calls that do not wait for the slowest replica
//!   leader_hint.rs --- leader_hint: an extension of one's own, walked through in docs/extensions.md
//!   kv.rs ------------ kv: an agent with a replicated store; kv::story: three of them, through kill -9 of one and of all
//!   soak.rs ---------- soak: nodes that come and go under load in one process, and what is left of them
//! ```
//!
//! [`crash`] is a process for a test: it writes to a file until it is killed. `custom_driver.rs`
//! stands alone: the core without all this.
//!
//! To see how chinwag is used, read [`agent`]: it is a whole program. What this is not: a tool for
//! running clusters.

pub mod agent;
pub mod crash;
pub mod hedged;
pub mod kv;
pub mod leader_hint;
pub mod process;
pub mod quickstart;
pub mod runtime;
pub mod soak;
pub mod story;

/// The code after, in the document, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/from-datacake.md")]
struct FromDatacake;
