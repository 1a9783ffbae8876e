//! [`Range`]: all hashes of keys that begin with the same bits, and the hashes themselves.

use chinwag::protocol::id::fnv1a;
use chinwag::protocol::rng::mix;

use crate::document::Version;
use crate::key::Key;

/// Children of a range: one for each value of the next four bits.
pub(crate) const CHILDREN: usize = 16;
/// How deep ranges go: at 16 times four bits a range is one hash.
pub(crate) const DEPTH_MAX: u8 = 16;

/// The hashes that agree with `start` in their first `4 * depth` bits. Its other bits are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) depth: u8,
    pub(crate) start: u64,
}

impl Range {
    /// All hashes.
    pub(crate) const ALL: Self = Self { depth: 0, start: 0 };

    /// One hash.
    pub(crate) const fn one(hash: u64) -> Self {
        Self { depth: DEPTH_MAX, start: hash }
    }

    /// The range of that depth that `hash` is in; `depth` is at most [`DEPTH_MAX`].
    pub(crate) const fn around(hash: u64, depth: u8) -> Self {
        Self { depth, start: hash & !below(depth) }
    }

    /// The range as a peer gives it, if it is one.
    pub(crate) fn from_wire(depth: u8, start: u64) -> Option<Self> {
        (depth <= DEPTH_MAX && start & below(depth) == 0).then_some(Self { depth, start })
    }

    /// The last hash in it.
    pub(crate) const fn end(self) -> u64 {
        self.start | below(self.depth)
    }

    /// Its sixteen parts, in order; none if it is one hash.
    pub(crate) fn children(self) -> impl Iterator<Item = Self> {
        let depth = self.depth + 1;
        let shift = 64 - 4 * u32::from(depth.min(DEPTH_MAX));
        let count = if self.depth < DEPTH_MAX { CHILDREN as u64 } else { 0 };
        (0..count).map(move |child| Self { depth, start: self.start | child << shift })
    }
}

/// The bits that a range of that depth leaves open.
const fn below(depth: u8) -> u64 {
    if depth >= DEPTH_MAX { 0 } else { u64::MAX >> (4 * depth as u32) }
}

/// Where a key is in the index. Mixed, so that similar keys are spread over all ranges.
pub(crate) fn hash_of(key: &Key) -> u64 {
    mix(fnv1a(key.as_bytes()))
}

/// What a key's latest write adds to the sums of the ranges that it is in. Never 0, the sum of
/// nothing.
pub(crate) fn sum_of(hash: u64, version: Version) -> u64 {
    mix(mix(hash ^ version.stamp.get()) ^ version.node.get()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_part_their_range() {
        for range in
            [Range::ALL, Range::around(u64::MAX, 3), Range::around(0x1234_5678_9abc_def0, 15)]
        {
            let children: Vec<Range> = range.children().collect();
            assert_eq!(children.len(), CHILDREN);
            assert_eq!((children[0].start, children[15].end()), (range.start, range.end()));
            for pair in children.windows(2) {
                assert_eq!(pair[0].end() + 1, pair[1].start);
            }
            for child in children {
                assert_eq!(Range::from_wire(child.depth, child.start), Some(child));
                assert_eq!(Range::around(child.end(), range.depth), range);
            }
        }
        assert_eq!(Range::one(7).children().count(), 0);
        assert_eq!((Range::one(7).start, Range::one(7).end()), (7, 7));
    }

    #[test]
    fn a_range_from_the_wire_is_checked() {
        for (depth, start) in [(0, 1), (1, 1 << 59), (17, 0), (255, 0), (15, 1)] {
            assert_eq!(Range::from_wire(depth, start), None, "{depth} {start}");
        }
        assert_eq!(Range::from_wire(1, 0xf << 60), Some(Range::around(u64::MAX, 1)));
    }
}
