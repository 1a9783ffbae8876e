//! Tests of users' own services: a story in a virtual world, told under many seeds.
//!
//! ```
//! use chinwag::{AddServiceError, Node};
//! use chinwag_sim::check::{check, secs, step};
//!
//! check(0..3, |world| async move {
//!     let nodes = world.cluster(5, |_: &Node| Ok::<(), AddServiceError>(())).await;
//!     assert_eq!(nodes.len(), 5);
//!     world.at(secs(10)).partition([0, 1], [2, 3, 4]);
//!     world.at(secs(20)).clock(4, step(secs(5)).drift_ppm(200));
//!     world.run_for(secs(30)).await; // invariants hold at every step
//!     world.calm().converges_within(secs(60)).await;
//! });
//! ```
//!
//! Variables of the environment override the arguments: `SIM_SEEDS=A..B` chooses the seeds,
//! `SIM_JOBS=N` the number of threads, `SIM_TWICE=all` runs every seed twice to see that its runs
//! are the same, and `SIM_REPLAY=TOKEN` repeats one failing run from the token that it printed.

mod handles;
mod panics;
mod report;
mod seeds;
mod story;
mod token;
mod world;

pub use handles::Handles;
pub use seeds::{check, check_bytes};
pub use world::{At, Calm, ClockChange, World, millis, secs, step, step_back};
