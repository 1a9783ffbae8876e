//! A fixed hasher for the integer keys of core's maps.

use core::hash::Hasher;

use crate::rng::mix;

/// SplitMix64's finaliser over the written integers: no seed, so the same on every run. Keys are
/// slots or the ids of members, whose number is bounded, so a flood of colliding keys costs at most
/// a bounded scan.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0 ^ value);
    }
}
