//! [`Shelf`]: what a replica has in memory of one keyspace.

use std::collections::BTreeMap;

use chinwag::{NodeId, Timestamp};

use crate::document::Version;
use crate::index::Index;
use crate::key::Key;

/// The index of a keyspace, and what is under way in it.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) index: Index,
    /// The storage failed, and what it has done is not known: the index is to be read anew
    /// (docs/store.md §1.3).
    pub(crate) is_doubtful: bool,
    /// Stamps of writes of this replica that are on their way into the storage: the next one of
    /// the key is past them.
    reserved: BTreeMap<Key, Timestamp>,
}

impl Shelf {
    pub(crate) fn of(index: Index) -> Self {
        Self { index, ..Self::default() }
    }

    /// The version of a new write of `key` by `node`, reserved until [`Shelf::release`]
    /// (docs/store.md §2.2). `None` if there is none left (§2.3).
    pub(crate) fn reserve(
        &mut self,
        key: &Key,
        now: Timestamp,
        floor: Timestamp,
        node: NodeId,
    ) -> Option<Version> {
        let held = self.index.version(key).map(|version| version.stamp);
        let reserved = self.reserved.get(key).copied();
        let past = held.into_iter().chain(reserved).fold(floor, Timestamp::max);
        let stamp = now.max(Timestamp::from_raw(past.get().saturating_add(1)));
        if stamp > Timestamp::MAX {
            return None;
        }
        self.reserved.insert(key.clone(), stamp);
        Some(Version { stamp, node })
    }

    /// The write is in the storage, or is not going to be.
    pub(crate) fn release(&mut self, key: &Key, version: Version) {
        if self.reserved.get(key) == Some(&version.stamp) {
            self.reserved.remove(key);
        }
    }

    /// Nothing is held and nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty() && self.reserved.is_empty() && !self.is_doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Entry;

    fn stamp(raw: u64) -> Timestamp {
        Timestamp::from_raw(raw)
    }

    #[test]
    fn a_write_is_past_all_that_the_replica_knows_of() {
        let (key, node) = (Key::from(1), NodeId::new(1));
        let mut shelf = Shelf::default();
        // Clock, floor, and what comes of it.
        for (now, floor, want) in
            [(10, 0, 10), (10, 0, 11), (5, 0, 12), (20, 30, 31), (20, 30, 32), (99, 0, 99)]
        {
            let version = shelf.reserve(&key, stamp(now), stamp(floor), node);
            assert_eq!(version, Some(Version { stamp: stamp(want), node }), "{now} {floor}");
        }
        let held = Version { stamp: stamp(500), node: NodeId::new(9) };
        shelf.index.put(Entry { key: key.clone(), version: held, is_tombstone: true });
        assert_eq!(
            shelf.reserve(&key, stamp(1), stamp(0), node).map(|it| it.stamp),
            Some(stamp(501))
        );
        let other = Key::from(2);
        assert_eq!(
            shelf.reserve(&other, stamp(3), stamp(2), node).map(|it| it.stamp),
            Some(stamp(3)),
            "by key"
        );
    }

    #[test]
    fn a_key_at_the_end_of_time_takes_no_more() {
        let (key, node) = (Key::from(1), NodeId::new(1));
        let mut shelf = Shelf::default();
        let last = Version { stamp: Timestamp::MAX, node };
        assert_eq!(shelf.reserve(&key, Timestamp::MAX, stamp(0), node), Some(last));
        assert_eq!(shelf.reserve(&key, stamp(7), stamp(0), node), None);
        shelf.release(&key, last);
        assert!(shelf.is_empty());
        shelf.index.put(Entry { key: key.clone(), version: last, is_tombstone: false });
        assert_eq!(shelf.reserve(&key, stamp(7), stamp(0), node), None);
        assert!(shelf.reserve(&Key::from(2), stamp(7), stamp(0), node).is_some(), "other keys do");
    }
}
