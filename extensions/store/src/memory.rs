//! [`MemoryStorage`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chinwag::Bytes;

use crate::document::{Document, Entry, Version};
use crate::key::Key;
use crate::storage::Storage;

/// Documents in memory. A clone is the same storage, so whoever keeps one outlives the node that it
/// was given to; the process it does not outlive: as a replica's only storage, it is one that
/// starts empty each time.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    keyspaces: BTreeMap<String, BTreeMap<Key, Document>>,
    marks: BTreeMap<String, Bytes>,
}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing that holds the lock runs foreign code, so what it guards is whole even after a
        // panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    type Error = Infallible;

    async fn keyspaces(&self) -> Result<Vec<String>, Infallible> {
        Ok(self.held().keyspaces.keys().cloned().collect())
    }

    async fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, Infallible> {
        let held = self.held();
        let Some(documents) = held.keyspaces.get(keyspace) else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = documents.range::<Key, _>((from, Bound::Unbounded));
        Ok(range.take(max).map(|(key, document)| document.entry(key.clone())).collect())
    }

    async fn get(&self, keyspace: &str, keys: &[Key]) -> Result<Vec<Option<Document>>, Infallible> {
        let held = self.held();
        let documents = held.keyspaces.get(keyspace);
        Ok(keys.iter().map(|key| documents?.get(key).cloned()).collect())
    }

    async fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), Infallible> {
        if documents.is_empty() {
            return Ok(());
        }
        // What is dropped has bytes of users, whose owner may do anything: nothing is locked then.
        let mut dropped = Vec::new();
        let mut held = self.held();
        let stored = held.keyspaces.entry(keyspace.to_owned()).or_default();
        for (key, document) in documents {
            if stored.get(&key).is_none_or(|stored| stored.version < document.version) {
                dropped.extend(stored.remove_entry(&key));
                stored.insert(key, document);
            } else {
                dropped.push((key, document));
            }
        }
        drop(held);
        Ok(())
    }

    async fn purge(&self, keyspace: &str, entries: &[(Key, Version)]) -> Result<(), Infallible> {
        let mut dropped = Vec::new();
        let mut held = self.held();
        let Some(stored) = held.keyspaces.get_mut(keyspace) else { return Ok(()) };
        for (key, version) in entries {
            if stored.get(key).is_some_and(|stored| stored.version == *version) {
                dropped.extend(stored.remove_entry(key));
            }
        }
        if stored.is_empty() {
            held.keyspaces.remove(keyspace);
        }
        Ok(())
    }

    async fn load_mark(&self, name: &str) -> Result<Option<Bytes>, Infallible> {
        Ok(self.held().marks.get(name).cloned())
    }

    async fn save_mark(&self, name: &str, mark: Bytes) -> Result<(), Infallible> {
        let _replaced = { self.held().marks.insert(name.to_owned(), mark) };
        Ok(())
    }
}

/// How much is held: documents may be large.
impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held();
        let documents: usize = held.keyspaces.values().map(BTreeMap::len).sum();
        f.debug_struct("MemoryStorage").field("documents", &documents).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a storage in memory answers at once.
    fn now<T>(future: impl Future<Output = Result<T, Infallible>>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(done)) => done,
            Poll::Pending => panic!("it waits for nothing"),
        }
    }

    /// The owner of a value, whose drop looks into the storage.
    struct Owner(MemoryStorage, Arc<AtomicUsize>);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            b"value"
        }
    }

    impl Drop for Owner {
        fn drop(&mut self) {
            now(self.0.keyspaces());
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Under the lock it would wait for itself.
    #[test]
    fn values_are_dropped_while_nothing_is_locked() {
        let (storage, dropped) = (MemoryStorage::new(), Arc::<AtomicUsize>::default());
        let value = || Bytes::from_owner(Owner(storage.clone(), dropped.clone()));
        let key = Key::new(b"key".to_vec()).expect("short");
        let put = |at| {
            let version = version(at);
            let document = Document { version, value: Some(value()) };
            now(storage.merge("keys", vec![(key.clone(), document)]));
        };
        [2, 3, 1].into_iter().for_each(put);
        assert_eq!(dropped.load(Ordering::SeqCst), 2, "the older one, and one that came late");
        now(storage.purge("keys", &[(key.clone(), version(3))]));
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
        (0..2).for_each(|_| now(storage.save_mark("mark", value())));
        assert_eq!(dropped.load(Ordering::SeqCst), 4);
    }

    fn version(at: u64) -> Version {
        Version { stamp: chinwag::Timestamp::from_raw(at), node: 1.into() }
    }
}
