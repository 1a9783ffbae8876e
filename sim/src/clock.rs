//! One node's own clocks, as a map of true time: offset, drift, steps.

use std::time::Duration;

use chinwag_core::time::{Instant, Now, WallTime};

/// True wall time at the start of every run: 2023-11-14.
pub const WALL_START: WallTime = WallTime::from_nanos(1_700_000_000_000_000_000);

/// A clock that runs wrong. Its monotonic side drifts and never steps; its wall side drifts with
/// it, is off, and is stepped.
///
/// The monotonic side is exact integer arithmetic, so that it can be turned round:
/// [`HostClock::true_time`] is the first true instant at which the node reads a given instant or
/// later.
#[derive(Clone, Copy, Debug)]
pub struct HostClock {
    /// True nanoseconds at which the present rate began, and what the node read then.
    since: u64,
    read_then: u64,
    /// Parts per million that the node is fast.
    drift_ppm: i64,
    /// Nanoseconds that the wall clock is ahead of `WALL_START` + what the monotonic side reads.
    wall_offset: i64,
    /// True nanoseconds at which the monotonic side stopped, and whether the wall side did.
    stopped: Option<(u64, bool)>,
}

const MILLION: u128 = 1_000_000;

impl HostClock {
    /// A clock that is right.
    pub const fn right() -> Self {
        Self { since: 0, read_then: 0, drift_ppm: 0, wall_offset: 0, stopped: None }
    }

    /// What the node reads at true nanosecond `at`.
    pub fn read(&self, at: u64) -> Now {
        let mono = self.mono(at);
        let slept = self.stopped.filter(|(_, wall_stops)| !wall_stops);
        let slept = slept.map_or(0, |(stopped_at, _)| at.saturating_sub(stopped_at));
        let wall = (WALL_START.as_nanos() + slept)
            .saturating_add(mono)
            .saturating_add_signed(self.wall_offset);
        Now { mono: Instant::from_nanos(mono), wall: WallTime::from_nanos(wall) }
    }

    /// The first true nanosecond at which the node reads `local` or later.
    pub fn true_time(&self, local: Instant) -> u64 {
        let Some(ahead) = local.as_nanos().checked_sub(self.read_then) else { return self.since };
        if self.stopped.is_some() {
            return if ahead == 0 { self.since } else { u64::MAX };
        }
        if self.drift_ppm == 0 {
            return ahead.saturating_add(self.since);
        }
        let span = (u128::from(ahead) * MILLION).div_ceil(self.rate());
        u64::try_from(span).unwrap_or(u64::MAX).saturating_add(self.since)
    }

    /// From true nanosecond `at` on, the clock is `ppm` parts per million fast, at most 100,000
    /// either way.
    pub fn drift(&mut self, at: u64, ppm: i64) {
        if self.stopped.is_none() {
            (self.read_then, self.since) = (self.mono(at), at);
        }
        self.drift_ppm = ppm.clamp(-100_000, 100_000);
    }

    /// The wall clock is set forward, or back, by so many milliseconds.
    pub fn step(&mut self, millis: i64) {
        self.wall_offset = self.wall_offset.saturating_add(millis.saturating_mul(1_000_000));
    }

    /// The host is suspended at true nanosecond `at`: the monotonic side stands still, and the wall
    /// side too if `wall_stops`.
    pub fn stop(&mut self, at: u64, wall_stops: bool) {
        (self.read_then, self.since) = (self.mono(at), at);
        self.stopped = Some((at, wall_stops));
    }

    /// It goes on at true nanosecond `at`.
    pub fn go_on(&mut self, at: u64) {
        let Some((stopped_at, wall_stops)) = self.stopped.take() else { return };
        self.since = at;
        if !wall_stops {
            let slept = i64::try_from(at.saturating_sub(stopped_at)).unwrap_or(i64::MAX);
            self.wall_offset = self.wall_offset.saturating_add(slept);
        }
    }

    /// Parts per million that it is fast at present.
    pub const fn drift_ppm(&self) -> i64 {
        self.drift_ppm
    }

    fn rate(&self) -> u128 {
        u128::try_from(1_000_000 + self.drift_ppm).expect("drift is clamped to a tenth")
    }

    fn mono(&self, at: u64) -> u64 {
        if self.stopped.is_some() {
            return self.read_then;
        }
        // Most clocks are right, and a division of 128 bits would be a good part of what an event
        // costs.
        if self.drift_ppm == 0 {
            return self.read_then.saturating_add(at.saturating_sub(self.since));
        }
        let span = u128::from(at.saturating_sub(self.since)) * self.rate() / MILLION;
        self.read_then.saturating_add(u64::try_from(span).unwrap_or(u64::MAX))
    }
}

/// Nanoseconds of a span of at most 584 years.
pub fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_turned_round_to_the_nanosecond() {
        for ppm in [-100_000, -333, -1, 0, 1, 333, 100_000] {
            let mut clock = HostClock::right();
            clock.drift(5_000, ppm);
            for local in (5_000..20_000).step_by(7) {
                let at = clock.true_time(Instant::from_nanos(local));
                assert!(clock.read(at).mono.as_nanos() >= local, "{ppm} {local}");
                assert!(
                    at == 5_000 || clock.read(at - 1).mono.as_nanos() < local,
                    "{ppm} {local}: the first"
                );
            }
        }
    }

    #[test]
    fn a_suspended_host_has_a_monotonic_clock_that_stands_still() {
        let second = 1_000_000_000;
        for (wall_stops, wall_shows) in [(false, 5), (true, 0)] {
            let mut clock = HostClock::right();
            clock.stop(10 * second, wall_stops);
            assert_eq!(clock.true_time(Instant::from_nanos(11 * second)), u64::MAX);
            let asleep = clock.read(15 * second);
            assert_eq!(asleep.mono.as_nanos(), 10 * second);
            let wall = Duration::from_nanos(asleep.wall.as_nanos() - WALL_START.as_nanos());
            assert_eq!(wall.as_secs(), 10 + wall_shows);
            clock.go_on(15 * second);
            assert_eq!(clock.read(15 * second), asleep, "nothing jumps as it goes on");
            assert_eq!(clock.read(17 * second).mono.as_nanos(), 12 * second);
            let due = clock.true_time(Instant::from_nanos(11 * second));
            assert_eq!(due, 16 * second, "a timer comes after what was left of it");
        }
    }

    #[test]
    fn a_change_of_rate_and_a_step_leave_the_monotonic_side_whole() {
        let mut clock = HostClock::right();
        let before = clock.read(1_000_000);
        clock.drift(1_000_000, 200);
        clock.step(-5_000);
        let after = clock.read(1_000_000);
        assert_eq!(after.mono, before.mono);
        assert_eq!(after.wall + Duration::from_secs(5), before.wall);
        assert_eq!(
            clock.read(1_001_000_000).mono.as_nanos() - after.mono.as_nanos(),
            1_000_200_000
        );
    }
}
