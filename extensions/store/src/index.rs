//! [`Index`]: keys and versions of one keyspace in memory, with sums to compare by
//! (docs/store.md §4.1).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::document::{Entry, Version};
use crate::key::Key;
use crate::limits::{BATCH_MAX, LISTED_MAX};
use crate::range::{DEPTH_MAX, Range, hash_of, sum_of};

/// Sums are kept down to this depth: 65,536 ranges. Below it they are taken from the entries, of
/// which there are few until there are millions.
const KEPT_DEPTH: u8 = 4;

/// What is known of the keys of one keyspace without asking the storage.
///
/// Kept up to date write by write: one write changes one entry and the sums of five ranges.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: BTreeMap<(u64, Key), Held>,
    sums: BTreeMap<Range, Sum>,
    /// What may be purged, oldest first.
    tombstones: BTreeSet<(Version, Key)>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    version: Version,
    is_tombstone: bool,
}

/// Of a range: its entries' hashes added up, and their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) sum: u64,
    pub(crate) count: u64,
}

/// An entry as it is compared: which key, and which write of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) hash: u64,
    pub(crate) version: Version,
}

/// What an index says of a range that differs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// The sums of its children, in order.
    Children(Vec<u64>),
    /// All that is in it.
    Listed(Vec<Listed>),
}

impl Index {
    /// The version that the key has.
    pub(crate) fn version(&self, key: &Key) -> Option<Version> {
        self.entries.get(&(hash_of(key), key.clone())).map(|held| held.version)
    }

    /// Takes in that this is stored, unless something newer is.
    pub(crate) fn put(&mut self, entry: Entry) {
        let Entry { key, version, is_tombstone } = entry;
        if self.version(&key).is_some_and(|held| held >= version) {
            return;
        }
        self.remove(&key);
        let hash = hash_of(&key);
        self.add(hash, |sum| {
            sum.sum = sum.sum.wrapping_add(sum_of(hash, version));
            sum.count += 1;
        });
        if is_tombstone {
            self.tombstones.insert((version, key.clone()));
        }
        self.entries.insert((hash, key), Held { version, is_tombstone });
    }

    /// Forgets the key if it has exactly this version, and says whether it had.
    pub(crate) fn purge(&mut self, key: &Key, version: Version) -> bool {
        let is_it = self.version(key) == Some(version);
        if is_it {
            self.remove(key);
        }
        is_it
    }

    fn remove(&mut self, key: &Key) {
        let hash = hash_of(key);
        let Some(held) = self.entries.remove(&(hash, key.clone())) else { return };
        if held.is_tombstone {
            self.tombstones.remove(&(held.version, key.clone()));
        }
        self.add(hash, |sum| {
            sum.sum = sum.sum.wrapping_sub(sum_of(hash, held.version));
            sum.count -= 1;
        });
    }

    /// Changes the sums of all ranges around `hash`. One that has nothing left is not kept.
    fn add(&mut self, hash: u64, change: impl Fn(&mut Sum)) {
        for depth in 0..=KEPT_DEPTH {
            let range = Range::around(hash, depth);
            let sum = self.sums.entry(range).or_default();
            change(sum);
            if sum.count == 0 {
                self.sums.remove(&range);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many keys have a document.
    pub(crate) fn documents(&self) -> usize {
        self.entries.len() - self.tombstones.len()
    }

    /// How many keys have a tombstone.
    pub(crate) fn tombstones(&self) -> usize {
        self.tombstones.len()
    }

    /// Whether that is a tombstone that is held.
    pub(crate) fn is_tombstone(&self, key: &Key, version: Version) -> bool {
        self.tombstones.contains(&(version, key.clone()))
    }

    /// The oldest tombstones, at most `max`.
    pub(crate) fn oldest_tombstones(&self, max: usize) -> impl Iterator<Item = &(Version, Key)> {
        self.tombstones.iter().take(max)
    }

    /// The sum over `range`.
    pub(crate) fn sum(&self, range: Range) -> Sum {
        if range.depth <= KEPT_DEPTH {
            return self.sums.get(&range).copied().unwrap_or_default();
        }
        let mut sum = Sum::default();
        for (hash, _, held) in self.within(range, None) {
            sum.sum = sum.sum.wrapping_add(sum_of(hash, held.version));
            sum.count += 1;
        }
        sum
    }

    /// What a peer is told of a range that differs: its entries if they are few, else sums one
    /// level down (docs/store.md §4.2).
    pub(crate) fn contents(&self, range: Range) -> Contents {
        if range.depth >= DEPTH_MAX || self.sum(range).count <= LISTED_MAX as u64 {
            let mut list = self.list(range);
            // Only keys that were made to collide are so many: what is left out of them is not
            // compared.
            list.truncate(BATCH_MAX);
            return Contents::Listed(list);
        }
        Contents::Children(range.children().map(|child| self.sum(child).sum).collect())
    }

    /// All that is in a range, in the order of hashes.
    pub(crate) fn list(&self, range: Range) -> Vec<Listed> {
        self.within(range, None)
            .map(|(hash, _, held)| Listed { hash, version: held.version })
            .collect()
    }

    /// The keys in a range after the place `after`, at most `max`, in the order of hashes.
    pub(crate) fn keys(&self, range: Range, after: Option<&(u64, Key)>, max: usize) -> Vec<Entry> {
        let entry = |(_, key, held): (u64, &Key, Held)| Entry {
            key: key.clone(),
            version: held.version,
            is_tombstone: held.is_tombstone,
        };
        self.within(range, after).take(max).map(entry).collect()
    }

    fn within(
        &self,
        range: Range,
        after: Option<&(u64, Key)>,
    ) -> impl Iterator<Item = (u64, &Key, Held)> {
        // No key is less than that of one zero byte.
        let first = (range.start, Key::LEAST);
        let from = match after {
            Some(place) if *place >= first => Bound::Excluded(place.clone()),
            _ => Bound::Included(first),
        };
        let entries = self.entries.range((from, Bound::Unbounded));
        entries
            .take_while(move |((hash, _), _)| *hash <= range.end())
            .map(|((hash, key), held)| (*hash, key, *held))
    }
}

#[cfg(test)]
mod tests;
