//! [`Latency`]: how long calls took, as a histogram.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets to an octave, as a power of two: with 8, a bucket is at most an eighth wide of where it
/// begins.
const STEPS_LOG2: u32 = 3;
const STEPS: usize = 1 << STEPS_LOG2;

/// What is shorter falls into the first bucket: 1.024 µs, of the order of what a clock resolves
/// between two tasks.
const SHORTEST_LOG2: u32 = 10;

/// Octaves above the shortest: up to 2^42 ns, 73 minutes. What is longer falls into the last
/// bucket.
const OCTAVES: usize = 32;

const BUCKETS: usize = 1 + OCTAVES * STEPS;

/// A histogram that any thread adds to.
///
/// A table of atomics instead of the crate hdrhistogram: that one is written through `&mut`, or
/// through a recorder for each thread that is merged now and then, and at three digits it takes a
/// hundred kilobytes a method where this takes two.
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
}

impl Histogram {
    pub(crate) const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }

    pub(crate) fn record(&self, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Latency {
        let counts: Vec<u64> =
            self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let used = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        Latency { counts: counts[..used].into() }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// How long calls took: a histogram with 8 buckets to each doubling, from 1 µs to 73 minutes. So
/// what it says of a duration is at most an eighth too long.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// Up to the last one that is not empty.
    counts: Box<[u64]>,
}

impl Latency {
    /// How many calls.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration that a share `q` of the calls did not pass: 0.5 is the median, 1.0 the longest.
    /// `q` outside of 0..=1 is moved into it. Zero without calls.
    ///
    /// It is the end of the bucket that the call is in: at most an eighth too long, and never too
    /// short.
    pub fn quantile(&self, q: f64) -> Duration {
        let count = self.count();
        if count == 0 {
            return Duration::ZERO;
        }
        // The rank of the call that is meant, from 1. Counts are far below 2^52, which a float
        // holds exactly.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within 1..=count"
        )]
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let is_reached = |&count: &u64| {
            seen += count;
            seen >= rank
        };
        let at = self.counts.iter().position(is_reached).unwrap_or(BUCKETS - 1);
        end_of(at)
    }

    /// The calls of both.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let (longer, shorter) =
            if self.counts.len() >= other.counts.len() { (self, other) } else { (other, self) };
        let mut counts = longer.counts.clone();
        counts.iter_mut().zip(&shorter.counts).for_each(|(count, more)| *count += more);
        Self { counts }
    }

    /// Each bucket that is not empty: the duration that no call in it passes, and how many calls.
    /// In order; for exporters.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.iter().enumerate();
        counts.filter(|(_, count)| **count > 0).map(|(at, &count)| (end_of(at), count))
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.quantile(1.0))
            .finish()
    }
}

/// Log-linear: the octave is the position of the highest bit, the step the bits below it.
fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let octave = match nanos.checked_ilog2() {
        Some(log2) if log2 >= SHORTEST_LOG2 => log2 - SHORTEST_LOG2,
        _ => return 0,
    };
    let step = nanos >> (octave + SHORTEST_LOG2 - STEPS_LOG2) & (STEPS as u64 - 1);
    let bucket = 1 + u64::from(octave) * STEPS as u64 + step;
    usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The first duration that is past the bucket.
fn end_of(bucket: usize) -> Duration {
    let (octave, step) = (bucket / STEPS, bucket % STEPS);
    let first = 1_u64 << (SHORTEST_LOG2 - STEPS_LOG2);
    Duration::from_nanos(((STEPS + step) as u64 * first) << octave)
}

#[cfg(test)]
mod tests;
