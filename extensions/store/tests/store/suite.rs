//! The suite of storages holds for `MemoryStorage`, and bites.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chinwag::Bytes;
use chinwag_store::{Document, Entry, Key, MemoryStorage, Storage, Version, suite};
use futures_lite::future::block_on;

#[derive(Default)]
struct Memory(BTreeMap<String, MemoryStorage>);

impl suite::Factory for Memory {
    type Storage = MemoryStorage;

    async fn open(&mut self, name: &str) -> MemoryStorage {
        self.0.entry(name.to_owned()).or_default().clone()
    }
}

#[test]
fn memory_storage_passes() {
    block_on(suite::run(&mut Memory::default()));
}

/// How a storage can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It keeps what comes last.
    LastComes,
    /// It looks, waits, and then writes what it has decided.
    Races,
    /// It does not look at who wrote.
    TiesByArrival,
    /// It purges whatever version there is.
    PurgesAny,
    /// It forgets marks.
    ForgetsMarks,
    /// Its scans begin with the key that they are to begin after.
    ScansAgain,
    /// It loses tombstones.
    NoTombstones,
    /// It has one keyspace.
    OneKeyspace,
    /// It loses what was merged last before it is opened again.
    NotDurable,
}

const FAULTS: [Fault; 9] = [
    Fault::LastComes,
    Fault::Races,
    Fault::TiesByArrival,
    Fault::PurgesAny,
    Fault::ForgetsMarks,
    Fault::ScansAgain,
    Fault::NoTombstones,
    Fault::OneKeyspace,
    Fault::NotDurable,
];

struct Broken {
    below: MemoryStorage,
    fault: Fault,
}

impl Broken {
    /// Puts `document` there, whatever is there.
    async fn replace(
        &self,
        keyspace: &str,
        key: Key,
        document: Document,
    ) -> Result<(), Infallible> {
        if let Some(stored) = self.below.get(keyspace, std::slice::from_ref(&key)).await?.remove(0)
        {
            self.below.purge(keyspace, &[(key.clone(), stored.version)]).await?;
        }
        self.below.merge(keyspace, vec![(key, document)]).await
    }

    fn keyspace<'a>(&self, keyspace: &'a str) -> &'a str {
        if self.fault == Fault::OneKeyspace { "one" } else { keyspace }
    }
}

impl Storage for Broken {
    type Error = Infallible;

    async fn keyspaces(&self) -> Result<Vec<String>, Infallible> {
        self.below.keyspaces().await
    }

    async fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, Infallible> {
        let mut entries = self.below.scan(self.keyspace(keyspace), after, max).await?;
        if let (Fault::ScansAgain, Some(after)) = (self.fault, after)
            && let Some(document) =
                self.below.get(keyspace, std::slice::from_ref(after)).await?.remove(0)
        {
            entries.insert(0, document.entry(after.clone()));
            entries.truncate(max);
        }
        Ok(entries)
    }

    async fn get(&self, keyspace: &str, keys: &[Key]) -> Result<Vec<Option<Document>>, Infallible> {
        self.below.get(self.keyspace(keyspace), keys).await
    }

    async fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), Infallible> {
        let keyspace = self.keyspace(keyspace);
        for (key, document) in documents {
            let stored = self.below.get(keyspace, std::slice::from_ref(&key)).await?.remove(0);
            match self.fault {
                Fault::LastComes => self.replace(keyspace, key, document).await?,
                Fault::Races => {
                    if stored.is_none_or(|stored| stored.version < document.version) {
                        futures_lite::future::yield_now().await;
                        self.replace(keyspace, key, document).await?;
                    }
                }
                Fault::TiesByArrival => {
                    if stored.is_none_or(|stored| stored.version.stamp <= document.version.stamp) {
                        self.replace(keyspace, key, document).await?;
                    }
                }
                Fault::NoTombstones if document.is_tombstone() => {}
                _ => self.below.merge(keyspace, vec![(key, document)]).await?,
            }
        }
        Ok(())
    }

    async fn purge(&self, keyspace: &str, entries: &[(Key, Version)]) -> Result<(), Infallible> {
        let keyspace = self.keyspace(keyspace);
        let mut entries = entries.to_vec();
        if self.fault == Fault::PurgesAny {
            for (key, version) in &mut entries {
                if let Some(stored) =
                    self.below.get(keyspace, std::slice::from_ref(key)).await?.remove(0)
                {
                    *version = stored.version;
                }
            }
        }
        self.below.purge(keyspace, &entries).await
    }

    async fn load_mark(&self, name: &str) -> Result<Option<Bytes>, Infallible> {
        let mark = self.below.load_mark(name).await?;
        Ok(mark.filter(|_| self.fault != Fault::ForgetsMarks))
    }

    async fn save_mark(&self, name: &str, mark: Bytes) -> Result<(), Infallible> {
        self.below.save_mark(name, mark).await
    }
}

struct Breaks(Memory, Fault);

impl suite::Factory for Breaks {
    type Storage = Broken;

    async fn open(&mut self, name: &str) -> Broken {
        let below = suite::Factory::open(&mut self.0, name).await;
        if self.1 == Fault::NotDurable {
            for keyspace in below.keyspaces().await.expect("infallible") {
                let last = below.scan(&keyspace, None, usize::MAX).await.expect("infallible").pop();
                let last = last.expect("a keyspace has entries");
                below.purge(&keyspace, &[(last.key, last.version)]).await.expect("infallible");
            }
        }
        Broken { below, fault: self.1 }
    }
}

#[test]
fn the_suite_catches_every_fault() {
    for fault in FAULTS {
        let mut factory = Breaks(Memory::default(), fault);
        let ran = catch_unwind(AssertUnwindSafe(|| block_on(suite::run(&mut factory))));
        assert!(ran.is_err(), "{fault:?} passes");
    }
}
