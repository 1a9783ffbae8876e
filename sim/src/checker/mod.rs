//! The oracles: what must hold at every step, checked at a cost that follows what changed.
//!
//! | oracle | what it holds to | invariant |
//! |---|---|---|
//! | `incarnation_lattice` | a view of a member never goes back in (epoch, incarnation, state) | I1 |
//! | `no_forged_incarnation` | nobody tells of a life that its owner has not begun | I2 |
//! | `self_is_alive` | a node that has not left holds itself alive, and its own life only rises | I4 |
//! | `own_life` | a node raises its incarnation to refute or for other metadata, and never after it left | I3, I4 |
//! | `owners_word` | address and metadata told of a life are those that its owner has had in it | R4, one value a life |
//! | `suspicion_time` | nobody dies who was not suspected, by the same node, for at least the minimum | C4, C5, D11 |
//! | `no_resurrection` | the dead come back only in a later life | R1 |
//! | `event_order` | joined, then suspected and recovered by turns, then died or left | E1 |
//! | `events_fold` | folded events are the snapshot, `get`, and `live_count` | E2 |
//! | `hlc_rises`, `hlc_causality`, `hlc_bound` | stamps rise, follow cause, and stay near the wall clock | H1-H3 |
//! | `poll_contract` | deadlines move on, early timers do nothing, draining ends | B8 |
//! | `mtu`, `resources` | payloads keep to their lengths, nothing is shed, rates are bounded | B2, B4, B7 |
//! | `broadcast_once` | a broadcast is given out at most once a run, and only if it was made | §4.10 |
//! | `accuracy` | the living are not declared dead without a fault that excuses it | C8, C9, C10 |
//! | `rests` | once all agree and no fault is left, nobody is doubted | no flapping |
//! | `awareness` | the score keeps to its range | C7 |
//! | `convergence` | once faults are over all views are the truth, within a computed bound and with no help | C1, V1, V2 |
//!
//! The letters are those of the list of invariants in `docs/simulation.md`. Each oracle is a value
//! of its own that takes observations in, so that a test can show it a broken stream and see it
//! bite.

pub mod clocks;
pub mod deaths;
pub mod groups;
pub mod machine;
pub mod suspicions;
pub mod views;

use std::fmt;

/// What an oracle has caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which oracle.
    pub oracle: &'static str,
    /// What it saw.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.oracle, self.detail)
    }
}

impl std::error::Error for Violation {}

/// What a check answers.
pub type Check = Result<(), Violation>;

/// Ok if `holds`, else the violation; `detail` is only written then.
pub(crate) fn ensure(holds: bool, oracle: &'static str, detail: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Violation { oracle, detail: detail() }) }
}

#[cfg(test)]
mod tests;
