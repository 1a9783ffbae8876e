//! The clock as a plain machine: what [`SharedHlc`](super::SharedHlc) does, one step at a time.

use core::num::NonZeroU32;
use core::time::Duration;

use super::{Limits, Timestamp, Timestamps, TooFarAhead, ahead};
use crate::time::WallTime;

/// A hybrid logical clock for one owner. Every step is total: no panic, no wait, no error on
/// [`Hlc::tick`].
#[derive(Clone, Debug)]
pub struct Hlc {
    last: Timestamp,
    limits: Limits,
    refused_count: u64,
    bound: Timestamp,
}

impl Hlc {
    /// A clock that has given no stamp yet. `drift_max` is how far ahead of the wall clock a peer's
    /// stamp may be ([`DRIFT_MAX_DEFAULT`](super::DRIFT_MAX_DEFAULT)); it counts in whole
    /// microseconds.
    /// With wall clocks this close to each other nothing is refused (`docs/protocol.md` §3.7).
    pub fn new(drift_max: Duration) -> Self {
        Self::resume(Timestamp::default(), drift_max)
    }

    /// A clock whose stamps are all past `bound`, which an earlier run persisted
    /// ([`Hlc::persist_bound`]).
    ///
    /// The bound is believed whatever it is: a damaged one leaves the clock ahead, which
    /// [`Hlc::ahead`] shows.
    /// Nothing sleeps (`docs/protocol.md` §3.8).
    pub fn resume(bound: Timestamp, drift_max: Duration) -> Self {
        let bound = bound.min(Timestamp::MAX);
        Self { last: bound, limits: Limits::new(drift_max), refused_count: 0, bound }
    }

    /// The stamp of a local event or of a message about to be sent: `max(last + 1, wall << 12)`
    /// (docs/protocol.md §3.3).
    pub fn tick(&mut self, wall: WallTime) -> Timestamp {
        self.last = self.last.saturating_add(1).max(Timestamp::at(wall));
        self.last
    }

    /// `count` stamps at once, as if by as many [`Hlc::tick`]s.
    pub fn reserve(&mut self, wall: WallTime, count: NonZeroU32) -> Timestamps {
        let first = self.tick(wall);
        self.last = first.saturating_add(u64::from(count.get() - 1));
        Timestamps::new(first, count.get())
    }

    /// Takes in the stamp of a message from a peer: every later [`Hlc::tick`] is past it
    /// (docs/protocol.md §3.4).
    ///
    /// # Errors
    /// [`TooFarAhead`] if `remote` is more than `drift_max` ahead of `wall`. The refusal is
    /// counted; nothing else has changed.
    pub fn observe(&mut self, wall: WallTime, remote: Timestamp) -> Result<(), TooFarAhead> {
        self.limits.check(wall, remote).inspect_err(|_| self.refused_count += 1)?;
        self.last = self.last.max(remote);
        Ok(())
    }

    /// The last stamp given or observed; 0 on a new clock.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// How far the clock is ahead of `wall`; zero if it is not.
    pub fn ahead(&self, wall: WallTime) -> Duration {
        ahead(self.last, wall)
    }

    /// How many stamps [`Hlc::observe`] has refused.
    pub fn refused_count(&self) -> u64 {
        self.refused_count
    }

    /// The bound to persist now, if one is due; see
    /// [`SharedHlc::persist_bound`](super::SharedHlc::persist_bound).
    pub fn persist_bound(&mut self, wall: WallTime) -> Option<Timestamp> {
        let next = self.limits.next_bound(wall, self.last, self.bound)?;
        self.bound = next;
        Some(next)
    }
}
