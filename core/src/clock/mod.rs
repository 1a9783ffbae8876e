//! One causal clock per node: hybrid logical time in a single `u64` (`docs/protocol.md` §3).
//!
//! ```text
//!  63                                          12 11         0
//! +----------------------------------------------+------------+
//! | microseconds since the UNIX epoch, 52 bits   | counter 12 |   Timestamp
//! +----------------------------------------------+------------+
//! ```
//!
//! [`tick`](SharedHlc::tick) is `max(last + 1, wall << 12)`: a full counter carries into the
//! microseconds, so there is no overflow to fail on, and comparing stamps is comparing integers.
//! [`observe`](SharedHlc::observe) moves the clock past a stamp that came from a peer, unless that
//! stamp is further ahead of the wall clock than `drift_max`. If event e is in the past of event f
//! then `stamp(e) < stamp(f)` (Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014, theorem
//! 1). The converse does not hold: a stamp resolves conflicts, it cannot detect concurrency.
//!
//! ```
//! use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc};
//! use chinwag_core::time::WallTime;
//!
//! let (ada, bob) = (SharedHlc::new(DRIFT_MAX_DEFAULT), SharedHlc::new(DRIFT_MAX_DEFAULT));
//! let sent = ada.tick(WallTime::from_nanos(5_000_000));
//! // Bob's wall clock is 3 ms behind Ada's; what he does after hearing her is stamped later all
//! // the same.
//! let wall = WallTime::from_nanos(2_000_000);
//! bob.observe(wall, sent)?;
//! assert!(bob.tick(wall) > sent);
//! # Ok::<(), chinwag_core::clock::TooFarAhead>(())
//! ```
//!
//! [`Hlc`] is the machine by itself, [`SharedHlc`] the same on one atomic word for all tasks of a
//! node. Neither reads a clock, waits, sleeps, or fails to give a stamp. What neither does: tell
//! concurrent events apart, or set anybody's wall clock.

mod hlc;
mod shared;
#[cfg(test)]
mod tests;
mod timestamp;

pub use hlc::Hlc;
pub use shared::SharedHlc;
pub use timestamp::{Stamp, Timestamp, Timestamps};

use core::fmt;
use core::time::Duration;

use crate::time::WallTime;

/// How far ahead of the local wall clock a peer's stamp may be: 500 ms.
///
/// The same number as uhlc's and CockroachDB's. It is far above what NTP leaves between machines
/// (1–50 ms) and bounds what a wrong clock can do to the others to half a second.
pub const DRIFT_MAX_DEFAULT: Duration = Duration::from_millis(500);

/// The shortest window of [`SharedHlc::persist_bound`], for clocks whose `drift_max` is next to
/// nothing: writing a bound more often than each half millisecond would cost more than the clock is
/// worth.
const PERSIST_WINDOW_MIN: Duration = Duration::from_millis(1);

/// A peer's stamp was further ahead of the local wall clock than `drift_max`. The clock has not
/// moved.
///
/// Either the peer's wall clock is wrong or the local one is. The caller knows which peer sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFarAhead {
    /// How far the stamp is ahead of the local wall clock, to the microsecond.
    pub by: Duration,
}

impl fmt::Display for TooFarAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stamp is {:?} ahead of the local wall clock", self.by)
    }
}

impl core::error::Error for TooFarAhead {}

/// What a clock may accept and how it is persisted: fixed at its creation.
#[derive(Clone, Copy, Debug)]
struct Limits {
    drift_max_micros: u64,
    /// How far past the clock a persisted bound lies, in raw units of [`Timestamp`].
    persist_window: u64,
}

impl Limits {
    fn new(drift_max: Duration) -> Self {
        // Half of `drift_max`: a clock that resumes at its bound the moment it stopped is ahead by
        // one window, and its peers must still accept its stamps (docs/protocol.md §3.9).
        let window = (drift_max / 2).max(PERSIST_WINDOW_MIN);
        Self {
            drift_max_micros: micros(drift_max),
            persist_window: Timestamp::from_micros(micros(window)).get(),
        }
    }

    /// Whether `remote` may move the clock (docs/protocol.md §3.5, §3.6).
    fn check(&self, wall: WallTime, remote: Timestamp) -> Result<(), TooFarAhead> {
        let ahead = remote.micros().saturating_sub(Timestamp::at(wall).micros());
        if ahead > self.drift_max_micros || remote > Timestamp::MAX {
            return Err(TooFarAhead { by: Duration::from_micros(ahead) });
        }
        Ok(())
    }

    /// The bound to persist next, or `None` while `bound` is good for another half window
    /// (docs/protocol.md §3.9).
    fn next_bound(&self, wall: WallTime, last: Timestamp, bound: Timestamp) -> Option<Timestamp> {
        let reached = last.max(Timestamp::at(wall));
        let next = reached.saturating_add(self.persist_window);
        let left = bound.get().saturating_sub(reached.get());
        (left <= self.persist_window / 2 && next > bound).then_some(next)
    }
}

/// How far `last` is ahead of `wall`, to the microsecond.
fn ahead(last: Timestamp, wall: WallTime) -> Duration {
    Duration::from_micros(last.micros().saturating_sub(Timestamp::at(wall).micros()))
}

/// `Duration` as whole microseconds, saturating after 584,000 years.
fn micros(of: Duration) -> u64 {
    u64::try_from(of.as_micros()).unwrap_or(u64::MAX)
}
