//! Since when: a moment that may lie before the origin of the node's clock.

use core::time::Duration;

use crate::rng::Rng;
use crate::time::{Instant, nanos};

/// Nanoseconds that [`Since`] is ahead of [`Instant`]: 146 years, more than the 136 years of the
/// longest age on the wire.
const BIAS: u64 = 1 << 62;

/// Since when a member is in its state. A peer may tell of a time before this node's clock began,
/// which an [`Instant`] cannot say: the age of a tombstone would begin again at every node younger
/// than it (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Since(u64);

impl Since {
    /// From `now` on.
    pub(crate) const fn at(now: Instant) -> Self {
        Self(now.as_nanos().saturating_add(BIAS))
    }

    /// For `age` at `now`.
    pub(crate) fn ago(now: Instant, age: Duration) -> Self {
        Self(Self::at(now).0.saturating_sub(nanos(age)))
    }

    /// How long at `now`.
    pub(crate) fn age(self, now: Instant) -> Duration {
        Duration::from_nanos(Self::at(now).0.saturating_sub(self.0))
    }

    /// When it will have been for `lifetime`; the clock's origin if that was before it.
    pub(crate) fn plus(self, lifetime: Duration) -> Instant {
        Instant::from_nanos(self.0.saturating_add(nanos(lifetime)).saturating_sub(BIAS))
    }
}

/// A span drawn uniformly from nothing to `most`.
pub(crate) fn jitter(rng: &mut Rng, most: Duration) -> Duration {
    Duration::from_nanos(rng.below_u64(nanos(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_age_is_kept_by_the_youngest_clock() {
        let now = Instant::from_nanos(5);
        let age = Duration::from_secs(u64::from(u32::MAX));
        let since = Since::ago(now, age);
        assert_eq!(since.age(now), age);
        assert_eq!(since.plus(age), now);
        assert_eq!(since.plus(Duration::from_secs(1)), Instant::ZERO);
        assert!(since < Since::at(Instant::ZERO));
    }
}
