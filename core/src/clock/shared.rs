//! The clock of a node, shared by all its tasks on one atomic word.

use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use super::{Limits, Timestamp, Timestamps, TooFarAhead, ahead};
use crate::time::WallTime;

/// A hybrid logical clock that any number of threads use at once, without a lock.
///
/// Used by one thread it is exactly [`Hlc`](super::Hlc). Used by many, every stamp is unique to one
/// call and every call's stamp is past all stamps whose calls returned before it began.
///
/// Why this holds: each call's stamp is the value that its own read-modify-write left in `last`,
/// and that operation raised `last`. `Relaxed` is enough: all operations are on one word, whose
/// modification order is total, and a call that happens after another cannot see an older value. A
/// lock or a 128-bit word (time and node together) would buy nothing, since the node never changes,
/// and cost three times as much.
#[derive(Debug)]
pub struct SharedHlc {
    /// The last stamp, raw. May pass [`Timestamp::MAX`] by what is under way when it gets there;
    /// never read without the cap.
    last: AtomicU64,
    limits: Limits,
    refused_count: AtomicU64,
    /// The last bound that [`SharedHlc::persist_bound`] gave, raw.
    bound: AtomicU64,
}

impl SharedHlc {
    /// A clock that has given no stamp yet. `drift_max` is how far ahead of the wall clock a peer's
    /// stamp may be ([`DRIFT_MAX_DEFAULT`](super::DRIFT_MAX_DEFAULT)); it counts in whole
    /// microseconds.
    pub fn new(drift_max: Duration) -> Self {
        Self::resume(Timestamp::default(), drift_max)
    }

    /// A clock whose stamps are all past `bound`, which an earlier run persisted
    /// ([`SharedHlc::persist_bound`]).
    ///
    /// The bound is believed whatever it is: a damaged one leaves the clock ahead, which
    /// [`SharedHlc::ahead`] shows.
    pub fn resume(bound: Timestamp, drift_max: Duration) -> Self {
        let bound = bound.min(Timestamp::MAX).get();
        Self {
            last: AtomicU64::new(bound),
            limits: Limits::new(drift_max),
            refused_count: AtomicU64::new(0),
            bound: AtomicU64::new(bound),
        }
    }

    /// The stamp of a local event or of a message about to be sent: `max(last + 1, wall << 12)`
    /// (docs/protocol.md §3.3). Never waits and never fails.
    #[inline]
    pub fn tick(&self, wall: WallTime) -> Timestamp {
        self.advance(wall, 1)
    }

    /// `count` stamps at once, as if by as many [`SharedHlc::tick`]s with no other call between
    /// them, for the price of one.
    #[inline]
    pub fn reserve(&self, wall: WallTime, count: NonZeroU32) -> Timestamps {
        Timestamps::new(self.advance(wall, count.get()), count.get())
    }

    /// Takes in the stamp of a message from a peer: every later [`SharedHlc::tick`] is past it
    /// (docs/protocol.md §3.4).
    ///
    /// # Errors
    /// [`TooFarAhead`] if `remote` is more than `drift_max` ahead of `wall`. The refusal is
    /// counted; nothing else has changed. Drop the message, or its sender.
    #[inline]
    pub fn observe(&self, wall: WallTime, remote: Timestamp) -> Result<(), TooFarAhead> {
        if let Err(refusal) = self.limits.check(wall, remote) {
            self.refused_count.fetch_add(1, Relaxed);
            return Err(refusal);
        }
        // Most stamps are old news; reading first keeps the word shared between the cores.
        if self.last.load(Relaxed) < remote.get() {
            self.last.fetch_max(remote.get(), Relaxed);
        }
        Ok(())
    }

    /// The last stamp given or observed; 0 on a new clock.
    pub fn last(&self) -> Timestamp {
        Timestamp::from_raw(self.last.load(Relaxed)).min(Timestamp::MAX)
    }

    /// How far the clock is ahead of `wall`; zero if it is not. Past `drift_max` this node's own
    /// stamps are refused by others: its wall clock has stepped back.
    pub fn ahead(&self, wall: WallTime) -> Duration {
        ahead(self.last(), wall)
    }

    /// How many stamps [`SharedHlc::observe`] has refused.
    pub fn refused_count(&self) -> u64 {
        self.refused_count.load(Relaxed)
    }

    /// The bound to persist now, if one is due: on the first call, and again each time the clock or
    /// the wall comes within half a window of the last bound given. The window is half of
    /// `drift_max`, at least 1 ms.
    ///
    /// Write it to disk and give it to [`SharedHlc::resume`] at the next start: no stamp of this
    /// run is given again, even if the wall clock has stepped back in between. That holds as
    /// long as this is called, and what it gives is on disk, more often than every half window.
    /// Nothing waits for the disk, so a stall there weakens the guarantee and not the node. Of
    /// several threads that call at once, one gets the bound.
    pub fn persist_bound(&self, wall: WallTime) -> Option<Timestamp> {
        let bound = self.bound.load(Relaxed);
        let next = self.limits.next_bound(wall, self.last(), Timestamp::from_raw(bound))?;
        self.bound.compare_exchange(bound, next.get(), Relaxed, Relaxed).is_ok().then_some(next)
    }

    /// Gives `count` stamps in a row and returns the first. `count` is at least 1.
    #[inline]
    fn advance(&self, wall: WallTime, count: u32) -> Timestamp {
        let count = u64::from(count);
        let now = Timestamp::at(wall).get();
        let mut last = self.last.load(Relaxed);
        if last < now {
            // `now` is at most `Timestamp::MAX`, so the sum stays in the room above it.
            match self.last.compare_exchange(last, now + (count - 1), Relaxed, Relaxed) {
                Ok(_) => return Timestamp::from_raw(now),
                // Whoever was first has most likely brought the clock to `now` or past it.
                Err(_) => last = self.last.fetch_max(now, Relaxed).max(now),
            }
        }
        if last >= Timestamp::MAX.get() {
            return Timestamp::MAX; // docs/protocol.md §3.6: stays at the end, never wraps.
        }
        // Each thread that passed the check adds at most 2^32 once: this cannot wrap (see
        // `Timestamp::MAX`).
        let first = self.last.fetch_add(count, Relaxed) + 1;
        Timestamp::from_raw(first).min(Timestamp::MAX)
    }
}
