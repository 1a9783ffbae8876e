//! Target `store_merge`: one history of writes, deletes and purges, taken in by three replicas of
//! the store, each in its own order, with its own batches and repetitions, and by a map written
//! from `docs/store.md` §2.1, §4.1 and §5.1.
//!
//! A history has rounds. What is written in a round reaches every replica before its end, and only
//! then tombstones are purged, as §5.1 requires of whoever purges. A write may come again in a
//! later round, then to every replica.

use std::collections::BTreeMap;

use chinwag::protocol::id::{NodeId, fnv1a};
use chinwag::protocol::rng::mix;
use chinwag::{Bytes, Timestamp};
use chinwag_store::fuzzing::Digest;
use chinwag_store::{Document, Entry, Key, MemoryStorage, Storage, Version};
use futures_lite::future::block_on;

use crate::input::Input;

/// Replicas that take in one history.
const REPLICAS: usize = 3;
/// Rounds of one input at most.
const ROUNDS_MAX: usize = 8;
/// Writes of one round at most: with 16 keys, most of them meet another one.
const WRITES_MAX: usize = 48;
/// Where all is kept.
const KEYSPACE: &str = "fuzzed";
/// As deep as sums go.
const DEPTH_MAX: u8 = 16;

/// One input: rounds of writes, how each replica takes them in, and what is purged after each.
///
/// # Panics
/// If a replica differs from the model, or from another one.
pub fn run(data: &[u8]) {
    run_on(data, MemoryStorage::new);
}

/// The same on storages of one's own, each of which is empty when it is opened.
///
/// # Panics
/// As [`run`], and if a storage fails.
pub fn run_on<S: Storage>(data: &[u8], open: impl FnMut() -> S) {
    let mut input = Input::new(data);
    let mut replicas: Vec<Replica<S>> =
        std::iter::repeat_with(open).take(REPLICAS).map(Replica::new).collect();
    let mut history = History::default();
    for _ in 0..ROUNDS_MAX {
        if input.is_empty() {
            break;
        }
        let writes = history.write(&mut input);
        for replica in &mut replicas {
            replica.take_all(&mut input, &writes);
            replica.agrees_with(&history.naive);
        }
        let purged = history.purge(&mut input);
        for replica in &mut replicas {
            replica.forget(&mut input, &purged);
            if input.bit() {
                replica.restart(1 + input.below(8));
            }
            replica.agrees_with(&history.naive);
        }
    }
}

type Write = (Key, Document);

/// What the text says is stored: of each key the write with the greatest version, until it is
/// purged.
type Naive = BTreeMap<Key, Document>;

#[derive(Default)]
struct History {
    naive: Naive,
    /// All that was ever written: a version is one write's alone (§2.1).
    written: BTreeMap<(Key, Version), Option<Bytes>>,
}

impl History {
    /// The writes of a round.
    fn write(&mut self, input: &mut Input<'_>) -> Vec<Write> {
        let count = input.below(WRITES_MAX + 1);
        let writes: Vec<Write> = (0..count).map_while(|_| self.one_write(input)).collect();
        for (key, document) in &writes {
            let is_newer = |stored: &Document| document.version > stored.version;
            if self.naive.get(key).is_none_or(is_newer) {
                self.naive.insert(key.clone(), document.clone());
            }
        }
        writes
    }

    /// Few keys, stamps and nodes, so that versions meet, and the stamps of one key tie.
    fn one_write(&mut self, input: &mut Input<'_>) -> Option<Write> {
        if input.is_empty() {
            return None;
        }
        let (what, when) = (input.u8(), input.u8());
        let key = Key::from(u64::from(what & 15));
        let stamp = if when == u8::MAX {
            Timestamp::MAX
        } else {
            Timestamp::from_raw(u64::from(when & 31))
        };
        let version = Version { stamp, node: NodeId::new(1 + u64::from(what >> 4 & 3)) };
        let value = (what >> 6 != 0).then(|| Bytes::copy_from_slice(&[what, when]));
        let value = self.written.entry((key.clone(), version)).or_insert(value).clone();
        Some((key, Document { version, value }))
    }

    /// Chooses tombstones to purge, forgets them, and answers with them and with versions that
    /// nobody holds any more: these change nothing.
    fn purge(&mut self, input: &mut Input<'_>) -> Vec<(Key, Version)> {
        let chosen = input.u16();
        let is_chosen = |key: &Key| key.as_u64().is_some_and(|key| chosen >> (key & 15) & 1 == 1);
        let named =
            self.written.iter().filter(|((key, _), value)| is_chosen(key) && value.is_none());
        let named: Vec<(Key, Version)> = named.map(|(named, _)| named.clone()).collect();
        for (key, version) in &named {
            if self.naive.get(key).is_some_and(|stored| stored.version == *version) {
                self.naive.remove(key);
            }
        }
        named
    }
}

/// A storage, and the index that a replica has of it.
struct Replica<S> {
    storage: S,
    digest: Digest,
}

impl<S: Storage> Replica<S> {
    fn new(storage: S) -> Self {
        Self { storage, digest: Digest::default() }
    }

    /// Every write at least once: in any order, in batches of any size, and some of them again.
    fn take_all(&mut self, input: &mut Input<'_>, writes: &[Write]) {
        let mut left = writes.to_vec();
        while !left.is_empty() {
            let size = 1 + input.below(left.len().min(16));
            let mut batch: Vec<Write> = Vec::with_capacity(size + 1);
            for _ in 0..size {
                batch.push(left.swap_remove(input.below(left.len())));
            }
            if input.bit() {
                batch.push(writes[input.below(writes.len())].clone());
            }
            self.take(batch);
        }
    }

    fn take(&mut self, batch: Vec<Write>) {
        let entries: Vec<Entry> =
            batch.iter().map(|(key, document)| document.entry(key.clone())).collect();
        block_on(self.storage.merge(KEYSPACE, batch)).expect("a storage that works");
        for entry in entries {
            self.digest.put(entry);
        }
    }

    /// Purges what is named, in parts and in an order of its own, and some of it twice.
    fn forget(&mut self, input: &mut Input<'_>, named: &[(Key, Version)]) {
        if named.is_empty() {
            return;
        }
        let mut named = named.to_vec();
        let turn = input.below(named.len().min(256));
        named.rotate_left(turn);
        let (first, second) = named.split_at(named.len() / 2);
        let again = if input.bit() { first } else { &[] };
        for part in [first, second, again] {
            block_on(self.storage.purge(KEYSPACE, part)).expect("a storage that works");
            for (key, version) in part {
                self.digest.purge(key, *version);
            }
        }
    }

    /// The index is read anew, in steps of `step` (§1.3).
    fn restart(&mut self, step: usize) {
        self.digest = Digest::default();
        for entry in self.scan(step) {
            self.digest.put(entry);
        }
    }

    fn scan(&self, step: usize) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.key.clone());
            let some = block_on(self.storage.scan(KEYSPACE, after.as_ref(), step))
                .expect("a storage that works");
            let is_last = some.len() < step;
            all.extend(some);
            if is_last {
                return all;
            }
        }
    }

    /// The documents are those of the model, and all sums are what they are from scratch.
    fn agrees_with(&self, naive: &Naive) {
        let stored = self.scan(usize::from(u8::MAX));
        let expected = naive.iter().map(|(key, document)| document.entry(key.clone()));
        assert_eq!(
            stored,
            expected.collect::<Vec<_>>(),
            "§2.1: the greater version wins, in any order"
        );
        let keys: Vec<Key> = naive.keys().cloned().collect();
        let got = block_on(self.storage.get(KEYSPACE, &keys)).expect("a storage that works");
        assert_eq!(
            got,
            naive.values().cloned().map(Some).collect::<Vec<_>>(),
            "values go with their versions"
        );
        let names = block_on(self.storage.keyspaces()).expect("a storage that works");
        assert_eq!(
            names.is_empty(),
            naive.is_empty(),
            "a keyspace is there while it holds anything"
        );
        self.sums_are_those_of(naive);
    }

    fn sums_are_those_of(&self, naive: &Naive) {
        let mut tombstones: Vec<(Version, Key)> = Vec::new();
        for (key, document) in naive.iter().filter(|(_, document)| document.is_tombstone()) {
            tombstones.push((document.version, key.clone()));
        }
        tombstones.sort();
        let counts = (naive.len() - tombstones.len(), tombstones.len());
        assert_eq!(self.digest.counts(), counts, "documents and tombstones");
        assert_eq!(self.digest.tombstones(), tombstones, "what may be purged, oldest first");
        let added: Vec<(u64, u64)> =
            naive.iter().map(|(key, document)| added_by(key, document.version)).collect();
        // Every key of the story, held or not, so that what was purged is looked for, too.
        for hash in (0..16).map(|number| hash_of(&Key::from(number))) {
            for depth in 0..=DEPTH_MAX {
                assert_eq!(
                    self.digest.sum(hash, depth),
                    naive_sum(&added, hash, depth),
                    "§4.1, depth {depth}"
                );
            }
        }
    }
}

/// A key's hash, and what its latest write adds to each sum that it is in.
fn added_by(key: &Key, version: Version) -> (u64, u64) {
    let hash = hash_of(key);
    (hash, mix(mix(hash ^ version.stamp.get()) ^ version.node.get()).max(1))
}

/// §4.1 from scratch: what all keys under a prefix add, and how many they are.
fn naive_sum(added: &[(u64, u64)], hash: u64, depth: u8) -> (u64, u64) {
    let prefix = |hash: u64| hash.checked_shr(64 - 4 * u32::from(depth)).unwrap_or(0);
    let within = added.iter().filter(|(of_key, _)| prefix(*of_key) == prefix(hash));
    within.fold((0, 0), |(sum, count), (_, more)| (sum.wrapping_add(*more), count + 1))
}

fn hash_of(key: &Key) -> u64 {
    mix(fnv1a(key.as_bytes()))
}
