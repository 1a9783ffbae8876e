//! What a peer says: numbers that cannot be used until they were checked (docs/store.md §6.2).
//!
//! Each claim is a number of a message with a private field. Its `check` methods are the only way
//! to the number. They compare it with the receiver's own clock and bounds, never with what another
//! peer has said.

use std::time::Duration;

use chinwag::protocol::time::WallTime;
use chinwag::{Epoch, Timestamp};
use rkyv::{Archive, Serialize};

use crate::limits::{CLOCK_APART_MAX, GENERATION_MAX, STAMP_AHEAD_MAX};
use crate::wire::{Invalid, Turn};

/// What the receiver's clock allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The latest stamp of a document that is taken.
    stamp: Timestamp,
    /// The latest horizon or floor that is taken.
    horizon: Timestamp,
}

impl Bounds {
    /// The bounds of a receiver whose wall clock reads `wall`.
    pub(crate) fn at(wall: WallTime) -> Self {
        Self { stamp: later(wall, STAMP_AHEAD_MAX), horizon: later(wall, CLOCK_APART_MAX) }
    }
}

/// The timestamp of the moment `time` after `wall`, at most the last one.
pub(crate) fn later(wall: WallTime, time: Duration) -> Timestamp {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::at(WallTime::from_nanos(wall.as_nanos().saturating_add(nanos)))
}

/// A stamp, a horizon, or a floor.
#[derive(Clone, Copy, Debug, Archive, Serialize)]
pub(crate) struct StampClaim(u64);

impl From<Timestamp> for StampClaim {
    fn from(stamp: Timestamp) -> Self {
        Self(stamp.get())
    }
}

#[cfg(test)]
impl From<u64> for StampClaim {
    fn from(raw: u64) -> Self {
        Self(raw)
    }
}

impl ArchivedStampClaim {
    /// The stamp of a document: not 0, and at most [`STAMP_AHEAD_MAX`] ahead of the receiver's
    /// wall clock.
    pub(crate) fn check(&self, bounds: &Bounds) -> Result<Timestamp, Invalid> {
        let stamp = Timestamp::from_raw(self.0.to_native());
        let is_allowed = stamp > Timestamp::default() && stamp <= bounds.stamp;
        if is_allowed { Ok(stamp) } else { Err(Invalid("a stamp")) }
    }

    /// As [`ArchivedStampClaim::check`], where 0 stands for no document.
    pub(crate) fn check_optional(&self, bounds: &Bounds) -> Result<Option<Timestamp>, Invalid> {
        if self.0.to_native() == 0 { Ok(None) } else { self.check(bounds).map(Some) }
    }

    /// A horizon or floor: at most [`CLOCK_APART_MAX`] ahead of the receiver's wall clock.
    pub(crate) fn check_horizon(
        &self,
        bounds: &Bounds,
        field: &'static str,
    ) -> Result<Timestamp, Invalid> {
        let stamp = Timestamp::from_raw(self.0.to_native());
        if stamp <= bounds.horizon { Ok(stamp) } else { Err(Invalid(field)) }
    }
}

/// The generation of an absence.
#[derive(Clone, Copy, Debug, Archive, Serialize)]
pub(crate) struct GenerationClaim(u64);

impl From<u64> for GenerationClaim {
    fn from(generation: u64) -> Self {
        Self(generation)
    }
}

impl ArchivedGenerationClaim {
    /// A generation: at most [`GENERATION_MAX`].
    pub(crate) fn check(&self, field: &'static str) -> Result<u64, Invalid> {
        let generation = self.0.to_native();
        if generation <= GENERATION_MAX { Ok(generation) } else { Err(Invalid(field)) }
    }
}

/// A turn.
#[derive(Clone, Copy, Debug, Archive, Serialize)]
pub(crate) struct TurnClaim {
    epoch: u64,
    count: u64,
}

impl From<Turn> for TurnClaim {
    fn from(turn: Turn) -> Self {
        Self { epoch: turn.epoch, count: turn.count }
    }
}

impl ArchivedTurnClaim {
    /// The turn of the sender itself, which must name the run that its connection was opened by.
    pub(crate) fn check_own(&self, epoch: Epoch) -> Result<Turn, Invalid> {
        let turn = self.of_answer();
        if turn.epoch == epoch.get() { Ok(turn) } else { Err(Invalid("the epoch of the turn")) }
    }

    /// The turn of whoever was asked: a statement about itself, compared with its own others.
    pub(crate) fn of_answer(&self) -> Turn {
        Turn { epoch: self.epoch.to_native(), count: self.count.to_native() }
    }

    /// The turn of a third node. It binds that node only until it has asked for a ticket
    /// (docs/store.md §5.2), so no number is too large.
    pub(crate) fn of_third(&self) -> Turn {
        self.of_answer()
    }
}

/// The reading of a wall clock, in microseconds. Only a majority of them counts
/// (docs/store.md §2.5).
#[derive(Clone, Copy, Debug, Archive, Serialize)]
pub(crate) struct ClockClaim(u64);

impl From<WallTime> for ClockClaim {
    fn from(wall: WallTime) -> Self {
        Self(wall.as_micros())
    }
}

impl ArchivedClockClaim {
    /// The reading, for a vote.
    pub(crate) fn for_vote(&self) -> WallTime {
        WallTime::from_nanos(self.0.to_native().saturating_mul(1_000))
    }
}
