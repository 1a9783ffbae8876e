//! The parts of a node's configuration that change what a claim or a passing second does to the
//! table.

use super::{Nanos, SECOND};

/// Names as in §4.5 and §4.12 of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// §4.5: of the shortest suspicion.
    pub suspicion_mult: u32,
    /// §4.5: the longest suspicion as a multiple of the shortest.
    pub suspicion_max_mult: u32,
    /// §4.3.
    pub probe_interval: Nanos,
    /// §4.3; here as the bound past which a late timer means a pause (§4.4.1).
    pub probe_timeout_max: Nanos,
    /// §4.5: how many confirmations make a suspicion as short as it gets.
    pub confirmations: usize,
    /// §4.5.1: off means that a gossiped death counts at once.
    pub told_deaths_doubted: bool,
    /// §4.4.1.
    pub pause_guard: bool,
    /// §4.1.
    pub tombstone_lifetime: Nanos,
    /// §4.1.
    pub tombstones_max: usize,
    /// How far from the formula of §4.5 a deadline may lie: the text does not say how it is
    /// rounded.
    pub tolerance: Nanos,
}

impl Config {
    /// The preset of §4.12. What the text gives no number for (lifetime and number of tombstones,
    /// confirmations) is this model's choice; copy the tested node's values.
    pub fn lan() -> Config {
        Config {
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            probe_interval: SECOND,
            probe_timeout_max: SECOND / 2,
            confirmations: 3,
            told_deaths_doubted: true,
            pause_guard: true,
            tombstone_lifetime: 86_400 * SECOND,
            tombstones_max: 1_024,
            tolerance: 1_000_000,
        }
    }
}
