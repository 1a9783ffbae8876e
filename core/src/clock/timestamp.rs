//! [`Timestamp`], its total order across nodes [`Stamp`], and a reserved range [`Timestamps`].

use core::fmt;
use core::iter::FusedIterator;
use core::str::FromStr;

use crate::id::NodeId;
use crate::time::WallTime;

/// Hybrid logical time: 52 bits of microseconds since the UNIX epoch, then 12 bits of counter.
///
/// Later is greater. Two nodes can give the same timestamp; [`Stamp`] tells these apart. The
/// default is 0, before every timestamp that a clock gives.
/// Its bits are in `docs/protocol.md` §3.1.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Bits of counter below the microseconds.
    pub const COUNTER_BITS: u32 = 12;

    /// The last timestamp that a clock gives, in the year 2112: 19 hours short of the end of the 52
    /// bits.
    ///
    /// A clock that reaches it stays there: it does not wrap and does not panic, but its stamps are
    /// no longer unique. The 2^48 values above are room for additions that are under way when
    /// it is reached: a `fetch_add` of at most 2^32 by each of 65,536 threads (docs/protocol.md
    /// §3.6).
    pub const MAX: Self = Self(u64::MAX - (1 << 48));

    /// The timestamp with the value `raw`, as read from the wire. Any value is a timestamp.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The first timestamp of the microsecond `wall` is in; at most [`Timestamp::MAX`].
    pub const fn at(wall: WallTime) -> Self {
        Self::from_micros(wall.as_micros())
    }

    /// The value on the wire.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Microseconds since the UNIX epoch, below 2^52.
    pub const fn micros(self) -> u64 {
        self.0 >> Self::COUNTER_BITS
    }

    /// The counter, below 4,096.
    pub const fn counter(self) -> u16 {
        (self.0 & ((1 << Self::COUNTER_BITS) - 1)) as u16
    }

    /// The wall-clock reading this timestamp stands for.
    pub const fn wall(self) -> WallTime {
        // 2^52 µs are 4.5e18 ns, which fits.
        WallTime::from_nanos(self.micros() * 1_000)
    }

    /// The first timestamp of a microsecond; at most [`Timestamp::MAX`].
    pub(super) const fn from_micros(micros: u64) -> Self {
        if micros > Self::MAX.micros() { Self::MAX } else { Self(micros << Self::COUNTER_BITS) }
    }

    /// `self` moved by `raw` units, at most to [`Timestamp::MAX`].
    pub(super) fn saturating_add(self, raw: u64) -> Self {
        Self(self.0.saturating_add(raw)).min(Self::MAX)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

/// `micros.counter`, the counter with all its four digits, so that text sorts as the timestamps do.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.micros(), self.counter())
    }
}

/// Reads what `Display` writes, and nothing else: digits, a dot, and four digits of counter.
///
/// ```
/// use chinwag_core::clock::Timestamp;
/// let stamp = Timestamp::from_raw(0x1234_5678);
/// assert_eq!(stamp.to_string().parse(), Ok(stamp));
/// ```
impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (micros, counter) = text.split_once('.').ok_or(ParseTimestampError)?;
        let is_canonical = micros == "0" || !micros.starts_with('0');
        if !is_digits(micros) || !is_digits(counter) || counter.len() != 4 || !is_canonical {
            return Err(ParseTimestampError);
        }
        let micros: u64 = micros.parse().map_err(|_| ParseTimestampError)?;
        let counter: u64 = counter.parse().map_err(|_| ParseTimestampError)?;
        if micros >> (64 - Self::COUNTER_BITS) != 0 || counter >> Self::COUNTER_BITS != 0 {
            return Err(ParseTimestampError);
        }
        Ok(Self(micros << Self::COUNTER_BITS | counter))
    }
}

/// The text is not a timestamp as [`Timestamp`] is displayed: microseconds below 2^52, a dot, and
/// a counter of four digits below 4,096.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseTimestampError;

impl fmt::Display for ParseTimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a timestamp is microseconds, a dot, and a counter of four digits below 4,096")
    }
}

impl core::error::Error for ParseTimestampError {}

/// When and where: the total order across nodes, time first (docs/protocol.md §3.2).
///
/// The node id stands beside the time and is never packed into it, so ids keep their 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When, by the clock of `node`.
    pub time: Timestamp,
    /// Whose clock it was.
    pub node: NodeId,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.time, self.node)
    }
}

/// Timestamps that a clock has reserved for its caller, rising, as many as were asked for.
///
/// What is not used is lost, which costs nothing: there are 4,096 to a microsecond.
#[derive(Clone, Debug)]
pub struct Timestamps {
    next: Timestamp,
    left: u32,
}

impl Timestamps {
    pub(super) const fn new(first: Timestamp, count: u32) -> Self {
        Self { next: first, left: count }
    }
}

impl Iterator for Timestamps {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        self.left = self.left.checked_sub(1)?;
        let next = self.next;
        self.next = next.saturating_add(1);
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Timestamps {}
impl FusedIterator for Timestamps {}

const _: () = {
    assert!(size_of::<Timestamp>() == 8 && size_of::<Stamp>() == 16);
    // The year 2112 is 142 years of 365.2425 days after 1970.
    assert!(Timestamp::MAX.micros() / 1_000_000 / 31_556_952 == 142);
};
