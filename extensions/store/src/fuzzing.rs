//! For fuzzing alone: the index of a keyspace without a replica around it (docs/store.md §4.1).

use crate::document::{Entry, Version};
use crate::index::Index;
use crate::key::Key;
use crate::range::Range;

/// Versions and sums of one keyspace, as a replica has them in memory.
#[derive(Debug, Default)]
pub struct Digest(Index);

impl Digest {
    /// Takes in that this is stored, unless something newer is.
    pub fn put(&mut self, entry: Entry) {
        self.0.put(entry);
    }

    /// Forgets the key if it has exactly this version, and says whether it had.
    pub fn purge(&mut self, key: &Key, version: Version) -> bool {
        self.0.purge(key, version)
    }

    /// How many keys have a document, and how many a tombstone.
    pub fn counts(&self) -> (usize, usize) {
        (self.0.documents(), self.0.tombstones())
    }

    /// Sum and count of all hashes that agree with `hash` in their first `4 * depth` bits; `depth`
    /// is at most 16.
    pub fn sum(&self, hash: u64, depth: u8) -> (u64, u64) {
        let sum = self.0.sum(Range::around(hash, depth));
        (sum.sum, sum.count)
    }

    /// All keys that have a tombstone, oldest first.
    pub fn tombstones(&self) -> Vec<(Version, Key)> {
        self.0.oldest_tombstones(usize::MAX).cloned().collect()
    }
}
