//! The hybrid logical clocks against true causality (`docs/protocol.md` §3).

use chinwag_core::clock::Timestamp;
use chinwag_core::time::WallTime;

use super::{Check, ensure};

/// Counters past 4,096 stamps a microsecond carry into the microseconds; no run is near so many.
const SLACK_MICROS: u64 = 1_000;

/// What one node took in.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    /// The stamp of the payload.
    pub stamp: Timestamp,
    /// The receiver's wall clock.
    pub wall: WallTime,
    /// Its last stamp afterwards.
    pub after: Timestamp,
    /// It refused the stamp as too far ahead.
    pub was_refused: bool,
    /// It dropped the payload before it looked at its stamp.
    pub was_dropped: bool,
}

/// Every node's clock as seen from outside.
#[derive(Debug)]
pub struct Clocks {
    drift_max_micros: u64,
    sent: Vec<Timestamp>,
    wall_max: Vec<u64>,
    /// Those that began from a bound they had written down, which lies a window past the clock
    /// (§3.9).
    is_resumed: Vec<bool>,
}

impl Clocks {
    /// Clocks that have given nothing, which refuse what is further ahead than this.
    pub fn new(nodes: usize, drift_max_micros: u64) -> Self {
        Self {
            drift_max_micros,
            sent: vec![Timestamp::default(); nodes],
            wall_max: vec![0; nodes],
            is_resumed: vec![false; nodes],
        }
    }

    /// `node` runs anew; if it kept its clock's bound, its stamps go on rising.
    pub fn started(&mut self, node: u32, kept_clock: bool) {
        if !kept_clock {
            self.sent[node as usize] = Timestamp::default();
        }
        self.is_resumed[node as usize] = kept_clock;
    }

    /// The wall clock of `node` shows this.
    pub fn shows(&mut self, node: u32, wall: WallTime) {
        let max = &mut self.wall_max[node as usize];
        *max = wall.as_micros().max(*max);
    }

    /// `node` sends a payload with this stamp.
    ///
    /// # Errors
    /// `hlc_rises`, `hlc_bound`.
    pub fn sent(&mut self, node: u32, wall: WallTime, stamp: Timestamp) -> Check {
        let before = std::mem::replace(&mut self.sent[node as usize], stamp);
        ensure(before < stamp, "hlc_rises", || {
            format!("node {node} stamped {before}, then {stamp}")
        })?;
        self.is_near(node, wall, stamp)
    }

    /// `node` takes a payload in.
    ///
    /// # Errors
    /// `hlc_causality`, `hlc_bound`.
    pub fn received(&mut self, node: u32, receipt: &Receipt) -> Check {
        let Receipt { stamp, wall, after, was_refused, was_dropped } = *receipt;
        let is_far = stamp.micros() > wall.as_micros() + self.drift_max_micros;
        ensure(!was_refused || is_far, "hlc_bound", || {
            format!("node {node} refused {stamp} at {wall:?}, which is near enough")
        })?;
        ensure(was_refused || was_dropped || stamp <= after, "hlc_causality", || {
            format!("node {node} received {stamp} and stands at {after}")
        })?;
        self.is_near(node, wall, after)
    }

    fn is_near(&mut self, node: u32, wall: WallTime, stamp: Timestamp) -> Check {
        self.shows(node, wall);
        let max = self.wall_max[node as usize];
        let window = if self.is_resumed[node as usize] { self.drift_max_micros / 2 } else { 0 };
        let most = max + self.drift_max_micros + window + SLACK_MICROS;
        ensure(stamp.micros() <= most, "hlc_bound", || {
            format!("node {node} is at {stamp}, its wall clock was never past {max}")
        })
    }
}
