//! The trace of a run: a rolling hash over everything that happens, and the last lines of it in
//! words.

pub mod record;
pub mod timeline;

use std::collections::VecDeque;
use std::fmt;

use chinwag_core::rng::mix;

/// A rolling 128-bit hash over every event of a run, in order. Two runs with the same hash did the
/// same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceHash {
    lanes: [u64; 2],
    count: u64,
}

impl TraceHash {
    /// Adds one event: when, what for and whom, and a digest of its contents.
    pub fn add(&mut self, at: u64, what: u64, contents: u64) {
        let word = mix(at ^ mix(what)).wrapping_add(contents);
        self.lanes[0] = mix(self.lanes[0] ^ word);
        self.lanes[1] = (self.lanes[1].rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.count += 1;
    }

    /// Events added.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.lanes[0], mix(self.lanes[1] ^ self.count))
    }
}

/// A digest of bytes, eight at a time: the same on every platform, and not against an adversary.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hash = mix(bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash =
            (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ u64::from_le_bytes(last))
}

/// 32 bits of [`digest`].
pub(crate) fn short_digest(bytes: &[u8]) -> u32 {
    let [a, b, c, d, ..] = digest(bytes).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The last lines of a run in words, kept only if asked for: what a failure shows.
#[derive(Debug, Default)]
pub struct Story {
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Story {
    /// Keeps the last `lines_max` lines; 0 keeps none and costs nothing.
    pub const fn of_last(lines_max: usize) -> Self {
        Self { lines: VecDeque::new(), lines_max }
    }

    /// Adds a line, written only if lines are kept.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.lines_max == 0 {
            return;
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(line());
    }

    /// The lines that are left.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_contents_show() {
        let of = |events: &[(u64, u64, u64)]| {
            let mut hash = TraceHash::default();
            events.iter().for_each(|&(at, what, contents)| hash.add(at, what, contents));
            hash.to_string()
        };
        let base = of(&[(1, 2, 3), (4, 5, 6)]);
        assert_eq!(base, of(&[(1, 2, 3), (4, 5, 6)]));
        assert_eq!(base.len(), 32);
        for other in [
            &[(4, 5, 6), (1, 2, 3)][..],
            &[(1, 2, 3)],
            &[(1, 2, 3), (4, 5, 7)],
            &[(1, 2, 3), (4, 5, 6), (0, 0, 0)],
        ] {
            assert_ne!(base, of(other));
        }
    }

    #[test]
    fn a_digest_sees_every_byte_and_the_length() {
        let bytes: Vec<u8> = (0..37).collect();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(digest(&bytes), digest(&other), "byte {at}");
        }
        assert_ne!(digest(&[0; 8]), digest(&[0; 9]));
        assert_ne!(digest(&[]), digest(&[0]));
    }

    #[test]
    fn a_story_keeps_its_end() {
        let mut story = Story::of_last(2);
        (0..5).for_each(|line| story.tell(|| format!("{line}")));
        assert_eq!(story.into_lines(), ["3", "4"]);
        let mut none = Story::of_last(0);
        none.tell(|| unreachable!("not written"));
        assert!(none.into_lines().is_empty());
    }
}
