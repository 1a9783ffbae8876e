//! Stand-in with the contract's signatures only, until the `clock` branch is merged (which replaces this file).

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use crate::time::WallTime;

/// A stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From the wire.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
    /// On the wire.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFarAhead {
    /// How far.
    pub by: Duration,
}

impl fmt::Display for TooFarAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too far ahead by {:?}", self.by)
    }
}

/// A shared clock.
#[derive(Debug)]
pub struct SharedHlc {
    last: AtomicU64,
    drift_max: u64,
}

impl SharedHlc {
    /// New.
    pub fn new(drift_max: Duration) -> Self {
        let micros = u64::try_from(drift_max.as_micros()).unwrap_or(u64::MAX >> 12);
        Self { last: AtomicU64::new(0), drift_max: micros << 12 }
    }
    /// The next stamp.
    pub fn tick(&self, wall: WallTime) -> Timestamp {
        let wall = wall.as_micros() << 12;
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some((last + 1).max(wall)));
        Timestamp((before.unwrap_or(0) + 1).max(wall))
    }
    /// A stamp was seen.
    pub fn observe(&self, wall: WallTime, remote: Timestamp) -> Result<(), TooFarAhead> {
        let limit = (wall.as_micros() << 12).saturating_add(self.drift_max);
        if remote.0 > limit {
            return Err(TooFarAhead { by: Duration::from_micros((remote.0 - limit) >> 12) });
        }
        self.last.fetch_max(remote.0, Ordering::Relaxed);
        Ok(())
    }
    /// The last stamp.
    pub fn last(&self) -> Timestamp {
        Timestamp(self.last.load(Ordering::Relaxed))
    }
}
