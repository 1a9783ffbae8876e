//! [`PowerOfTwo`]: the less busy of two.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Consistency, NodeSelector, Picks, SelectError, Topology, feasible};
use crate::rng::mix;

/// Of two members drawn at random, the one with fewer calls outstanding ([`Load`](super::Load)):
/// who should answer.
///
/// Two choices bring the longest queue from log n / log log n down to log log n (Mitzenmacher,
/// 1996), where taking the least busy of all would send every caller to the same member.
///
/// For k members, the members stand in a ring by data centre, which is cut at a random place into k
/// parts as equal as can be; each part gives the less busy of two. So picks are distinct without a
/// search, and spread over data centres by their sizes. `LocalQuorum` and `EachQuorum` do the same
/// within each data centre.
#[derive(Debug)]
pub struct PowerOfTwo {
    /// A SplitMix64 state: a draw is one atomic addition.
    state: AtomicU64,
}

impl PowerOfTwo {
    /// A selector whose draws follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// Adds `count` of `members`. `count` is at most their number.
    fn take(&self, on: &Topology, members: &Range<usize>, count: usize, out: &mut Picks) {
        if count == 0 {
            return;
        }
        let len = members.len();
        let cut = if count == 1 { 0 } else { below(self.draw(), len).0 };
        let member =
            |at: usize| members.start + if at + cut >= len { at + cut - len } else { at + cut };
        // Part sizes differ by one at most: the first `longer` parts have one more.
        // Most calls want one, and a division costs as much as the rest of a draw.
        let (size, longer) = if count == 1 { (len, 0) } else { (len / count, len % count) };
        let mut start = 0;
        for part in 0..count {
            let size = size + usize::from(part < longer);
            let pick = if size == 1 { start } else { self.better(on, start, size, member) };
            out.push(on.id_at(member(pick)));
            start += size;
        }
    }

    /// The less busy of two distinct places of `start..start + size`; of equals the first drawn.
    /// `size` is at least 2.
    fn better(
        &self,
        on: &Topology,
        start: usize,
        size: usize,
        member: impl Fn(usize) -> usize,
    ) -> usize {
        let (first, rest) = below(self.draw(), size);
        // The second is drawn from the others, by its distance from the first.
        let second = first + 1 + below(rest, size - 1).0;
        let second = if second >= size { second - size } else { second };
        let (first, second) = (start + first, start + second);
        if on.load_at(member(second)) < on.load_at(member(first)) { second } else { first }
    }

    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        mix(self.state.fetch_add(STEP, Relaxed).wrapping_add(STEP))
    }
}

impl NodeSelector for PowerOfTwo {
    fn select(
        &self,
        on: &Topology,
        level: Consistency,
        out: &mut Picks,
    ) -> Result<(), SelectError> {
        out.clear();
        match level {
            Consistency::LocalQuorum => {
                self.take(on, &on.zone(on.local_zone()), on.zone_quorum(on.local_zone()), out);
            }
            Consistency::EachQuorum => {
                on.zones()
                    .for_each(|zone| self.take(on, &on.zone(zone), on.zone_quorum(zone), out));
            }
            Consistency::All => out.extend(on.iter()),
            _ => self.take(on, &(0..on.len()), feasible(on, level.required(on))?, out),
        }
        Ok(())
    }
}

/// A number in `0..bound` from the random `bits`, and the bits it left over for another (Lemire's
/// multiply-shift). `bound` is at most 2^32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the high half of the product is below `bound`, the low half is the rest"
)]
fn below(bits: u64, bound: usize) -> (usize, u64) {
    let product = u128::from(bits) * bound as u128;
    ((product >> 64) as usize, product as u64)
}
