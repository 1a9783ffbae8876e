//! The seeded generator of core, pinned in-tree so that a seed means the same run in every version.
//!
//! xoshiro256++ (Blackman and Vigna, 2019), its state filled by SplitMix64 from one `u64`, as its
//! authors advise. Not for secrets: what needs to be unpredictable to an attacker is not drawn
//! here.

/// A seeded generator: the same seed gives the same numbers, for ever.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator with this seed.
    pub fn new(seed: u64) -> Self {
        let mut splitmix = seed;
        let mut next = || {
            splitmix = splitmix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(splitmix)
        };
        Self { state: [next(), next(), next(), next()] }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A number in `0..bound`, or 0 if `bound` is 0. Uniform to within 2^-32 (Lemire's
    /// multiply-shift).
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(bound) * (self.next_u64() >> 32)) >> 32) as u32
    }

    /// [`Rng::below`] for lengths and indices. Lengths past `u32::MAX` are treated as `u32::MAX`.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
    }

    /// A number in `0..bound`, or 0 if `bound` is 0, for spans wider than 32 bits.
    pub fn below_u64(&mut self, bound: u64) -> u64 {
        ((u128::from(bound) * u128::from(self.next_u64())) >> 64) as u64
    }
}

/// SplitMix64's finaliser: a bijection of `u64` in which every input bit moves every output bit.
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden values: a change here changes what every seed means.
    #[test]
    fn a_seed_means_the_same_run_for_ever() {
        let mut rng = Rng::new(1);
        let drawn = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
        assert_eq!(
            drawn,
            [14_971_601_782_005_023_387, 13_781_649_495_232_077_965, 1_847_458_086_238_483_744]
        );
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_every_value() {
        let mut rng = Rng::new(7);
        let mut seen = [0u32; 5];
        for _ in 0..1_000 {
            seen[rng.index(5)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below_u64(0), 0);
        assert!((0..1_000).all(|_| rng.below_u64(3) < 3));
    }
}
