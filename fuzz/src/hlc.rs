//! Target `hlc`: both clocks of `chinwag_core::clock` against one written from `docs/protocol.md`
//! §3 in wide integers.

use std::num::NonZeroU32;
use std::time::Duration;

use chinwag_core::clock::{Hlc, SharedHlc, Timestamp, Timestamps};
use chinwag_core::time::WallTime;

use crate::input::Input;

/// Steps of one input at most.
const STEPS_MAX: usize = 256;
/// The last stamp that a clock gives (§3.6).
const END: u128 = (1 << 64) - 1 - (1 << 48);

/// §3, as it says, in integers that do not end.
struct Naive {
    last: u128,
    bound: u128,
    drift_max: u128,
    window: u128,
    refused: u64,
}

impl Naive {
    fn new(bound: u128, drift_max: Duration) -> Self {
        let window = (drift_max / 2).max(Duration::from_millis(1)).as_micros();
        Self {
            last: bound.min(END),
            bound: bound.min(END),
            drift_max: drift_max.as_micros(),
            window: window << 12,
            refused: 0,
        }
    }

    /// §3.3, §3.6.
    fn tick(&mut self, wall: u128) -> u128 {
        self.last = (self.last + 1).max(wall << 12).min(END);
        self.last
    }

    /// §3.4, §3.5, §3.6: how far ahead the stamp is, if it is refused.
    fn observe(&mut self, wall: u128, stamp: u128) -> Option<u128> {
        let ahead = (stamp >> 12).saturating_sub(wall.min(END >> 12));
        if ahead > self.drift_max || stamp > END {
            self.refused += 1;
            return Some(ahead);
        }
        self.last = self.last.max(stamp);
        None
    }

    /// §3.9.
    fn persist_bound(&mut self, wall: u128) -> Option<u128> {
        let reached = self.last.max((wall << 12).min(END));
        let next = (reached + self.window).min(END);
        let is_due = self.bound.saturating_sub(reached) <= self.window / 2 && next > self.bound;
        is_due.then(|| {
            self.bound = next;
            next
        })
    }
}

/// One input: `drift_max`, a bound to resume at, and steps of ticks, stamps, bounds and restarts,
/// with the wall clock anywhere.
///
/// # Panics
/// If a clock differs from §3.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let drift_max = Duration::from_micros(input.uneven());
    let mut clocks = Clocks::new(input.uneven(), drift_max);
    let mut wall = WallTime::from_nanos(input.uneven());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        match input.u8() % 8 {
            0 => wall = WallTime::from_nanos(input.uneven()),
            1 => wall = WallTime::from_nanos(wall.as_nanos().wrapping_add(input.uneven())),
            2 => clocks.tick(wall),
            3 => clocks.reserve(wall, u32::try_from(input.uneven() & 0xffff_ffff).unwrap_or(1)),
            4 => clocks.observe(wall, input.uneven()),
            // Near what §3.5 draws the line at.
            5 => {
                let line = Timestamp::at(wall).get().wrapping_add(clocks.drift_max_raw());
                clocks.observe(wall, line.wrapping_add(input.uneven()));
            }
            6 => clocks.persist(wall),
            _ => clocks.resume(drift_max),
        }
        clocks.agree(wall);
    }
}

struct Clocks {
    plain: Hlc,
    shared: SharedHlc,
    naive: Naive,
    /// The last bound that was asked for, and the greatest stamp that this run gave.
    persisted: u64,
}

impl Clocks {
    fn new(bound: u64, drift_max: Duration) -> Self {
        let at = Timestamp::from_raw(bound);
        Self {
            plain: Hlc::resume(at, drift_max),
            shared: SharedHlc::resume(at, drift_max),
            naive: Naive::new(bound.into(), drift_max),
            persisted: bound,
        }
    }

    fn drift_max_raw(&self) -> u64 {
        u64::try_from(self.naive.drift_max << 12).unwrap_or(u64::MAX)
    }

    fn tick(&mut self, wall: WallTime) {
        let stamps =
            [self.plain.tick(wall), self.shared.tick(wall)].map(|stamp| u128::from(stamp.get()));
        let expected = self.naive.tick(micros(wall));
        assert_eq!(stamps, [expected; 2], "§3.3");
    }

    /// A range is as many ticks at one moment (§3.3).
    fn reserve(&mut self, wall: WallTime, count: u32) {
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let (plain, shared) = (self.plain.reserve(wall, count), self.shared.reserve(wall, count));
        let ends = |stamps: &Timestamps| (stamps.len(), stamps.clone().next());
        assert_eq!(ends(&plain), ends(&shared), "§3.3: one clock in two forms");
        let first = self.naive.tick(micros(wall));
        self.naive.last = (first + u128::from(count.get()) - 1).min(END);
        let mut stamps = plain.clone();
        assert_eq!(stamps.next().map(|stamp| u128::from(stamp.get())), Some(first), "§3.3");
        // The rest of a long range would only take time.
        let last = if count.get() <= 1_000 { plain.last() } else { None };
        assert!(
            last.is_none_or(|last| u128::from(last.get()) == self.naive.last),
            "§3.3: {last:?}"
        );
    }

    fn observe(&mut self, wall: WallTime, stamp: u64) {
        let remote = Timestamp::from_raw(stamp);
        let results = [self.plain.observe(wall, remote), self.shared.observe(wall, remote)];
        let expected = self.naive.observe(micros(wall), stamp.into());
        for result in results {
            let ahead = result.err().map(|error| error.by.as_micros());
            assert_eq!(ahead, expected, "§3.5: the stamp {stamp:#x} at {wall:?}");
        }
    }

    fn persist(&mut self, wall: WallTime) {
        let bounds = [self.plain.persist_bound(wall), self.shared.persist_bound(wall)];
        let expected = self.naive.persist_bound(micros(wall));
        assert_eq!(
            bounds.map(|bound| bound.map(|bound| u128::from(bound.get()))),
            [expected; 2],
            "§3.9"
        );
        if let Some(bound) = bounds[0] {
            self.persisted = bound.get();
        }
    }

    /// The process starts again from what it wrote down (§3.8).
    fn resume(&mut self, drift_max: Duration) {
        *self = Self::new(self.persisted, drift_max);
        let first = self.plain.clone().tick(WallTime::UNIX_EPOCH).get();
        let is_past = first > self.persisted || first == Timestamp::MAX.get();
        assert!(is_past, "§3.8: all stamps are past the bound");
    }

    fn agree(&self, wall: WallTime) {
        assert_eq!(u128::from(self.plain.last().get()), self.naive.last, "§3.3, §3.4");
        assert_eq!(self.plain.last(), self.shared.last(), "one clock in two forms");
        assert_eq!(self.plain.ahead(wall), self.shared.ahead(wall), "one clock in two forms");
        let refused = [self.plain.refused_count(), self.shared.refused_count()];
        assert_eq!(refused, [self.naive.refused; 2], "§3.5: refusals are counted");
    }
}

fn micros(wall: WallTime) -> u128 {
    u128::from(wall.as_nanos() / 1_000)
}
