//! How much the node trusts itself (Lifeguard's local health multiplier), and how long answers
//! take.

use core::time::Duration;

use crate::time::nanos;

/// A saturating score in `0..=max`: 0 is healthy. Interval and timeouts stretch by `score + 1`
/// (`docs/protocol.md` §4.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awareness {
    score: u8,
    max: u8,
}

impl Awareness {
    pub(crate) const fn new(max: u8) -> Self {
        Self { score: 0, max }
    }

    pub(crate) const fn score(self) -> u8 {
        self.score
    }

    pub(crate) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(crate) fn worse(&mut self) {
        self.score = self.score.saturating_add(1).min(self.max);
    }

    pub(crate) fn scale(self, duration: Duration) -> Duration {
        duration.saturating_mul(u32::from(self.score) + 1)
    }
}

/// Smoothed round-trip time and its deviation, as TCP keeps them (RFC 6298 §2: gains 1/8 and 1/4,
/// four deviations).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrip {
    smoothed: u64,
    deviation: u64,
    is_known: bool,
}

impl RoundTrip {
    pub(crate) fn observe(&mut self, sample: Duration) {
        let sample = nanos(sample);
        if !self.is_known {
            *self = Self { smoothed: sample, deviation: sample / 2, is_known: true };
            return;
        }
        let error = self.smoothed.abs_diff(sample);
        self.deviation = self.deviation - self.deviation / 4 + error / 4;
        self.smoothed = self.smoothed - self.smoothed / 8 + sample / 8;
    }

    /// The smoothed round trip; zero until there is a sample.
    pub(crate) const fn smoothed(&self) -> Duration {
        Duration::from_nanos(self.smoothed)
    }

    /// How long to wait for an answer, between `min` and `max`; `max` until there is a sample.
    pub(crate) fn timeout(&self, min: Duration, max: Duration) -> Duration {
        if !self.is_known {
            return max;
        }
        let wait = self.smoothed.saturating_add(self.deviation.saturating_mul(4));
        Duration::from_nanos(wait).clamp(min, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// D3: the score reaches its maximum, so the stretch is max + 1 and not max.
    #[test]
    fn d3_the_score_saturates_at_its_maximum() {
        let mut awareness = Awareness::new(8);
        awareness.better();
        assert_eq!(awareness.score(), 0);
        (0..20).for_each(|_| awareness.worse());
        assert_eq!(awareness.score(), 8);
        assert_eq!(awareness.scale(MS), 9 * MS);
        let mut off = Awareness::new(0);
        off.worse();
        assert_eq!(off.scale(MS), MS);
    }

    #[test]
    fn the_timeout_follows_round_trips_within_its_bounds() {
        let mut trip = RoundTrip::default();
        assert_eq!(trip.timeout(MS, 500 * MS), 500 * MS);
        (0..100).for_each(|_| trip.observe(10 * MS));
        assert!(trip.timeout(MS, 500 * MS) < 12 * MS);
        assert_eq!(trip.timeout(50 * MS, 500 * MS), 50 * MS);
        (0..100).for_each(|_| trip.observe(Duration::from_secs(9)));
        assert_eq!(trip.timeout(MS, 500 * MS), 500 * MS);
    }
}
