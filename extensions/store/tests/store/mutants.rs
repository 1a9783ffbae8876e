//! That the oracle bites: stores that are wrong in one way each, under the same faults.
//!
//! What is wrong is beneath the store, in its storage: the rules of §2.1, §5.1 and the promise to
//! be durable are kept or broken there, and the store has no switch that could be left on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chinwag::{Bytes, WeakNode};
use chinwag_sim::{World, check, millis};
use chinwag_store::{Document, Entry, Key, MemoryStorage, Storage, Version};

use crate::cluster::{Disk, contents};
use crate::swarm::{Scene, power_failure, swarm, users_write_and_things_go_wrong};

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Of two writes with one stamp, that which comes later stays.
    TiesByArrival,
    /// Tombstones are gone after a second.
    PurgesByAge,
    /// What is merged is on the disk half a second later, and in memory until then.
    AcknowledgesFirst,
}

struct Mutant {
    wrong: Wrong,
    disk: Disk,
    /// What the process sees, if that is not what is on the disk.
    memory: Arc<MemoryStorage>,
}

impl Mutant {
    fn new(wrong: Wrong, disk: Disk) -> Self {
        let memory = MemoryStorage::new();
        for ((keyspace, key), document) in contents(&disk.below) {
            let merged = memory.merge(&keyspace, vec![(key, document)]);
            futures_lite::future::block_on(merged).expect("infallible");
        }
        Self { wrong, disk, memory: Arc::new(memory) }
    }

    fn seen(&self) -> &MemoryStorage {
        if self.wrong == Wrong::AcknowledgesFirst { &self.memory } else { &self.disk.below }
    }

    /// Forgets tombstones for their age alone.
    async fn age(&self, keyspace: &str) -> Result<(), Infallible> {
        let Some(node) = self.disk.node.upgrade() else { return Ok(()) };
        let before = node.now().wall.as_micros().saturating_sub(1_000_000);
        let entries = self.disk.below.scan(keyspace, None, usize::MAX).await?;
        let old =
            entries.into_iter().filter(|it| it.is_tombstone && it.version.stamp.micros() < before);
        let old: Vec<(Key, Version)> = old.map(|it| (it.key, it.version)).collect();
        self.disk.below.purge(keyspace, &old).await
    }
}

fn later(node: &WeakNode, work: impl Future<Output = ()> + Send + 'static) {
    if let Some(node) = node.upgrade() {
        let sleep = node.sleep(millis(500));
        node.spawn(async move {
            sleep.await;
            work.await;
        });
    }
}

impl Storage for Mutant {
    type Error = Infallible;

    async fn keyspaces(&self) -> Result<Vec<String>, Infallible> {
        self.seen().keyspaces().await
    }

    async fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, Infallible> {
        if self.wrong == Wrong::PurgesByAge {
            self.age(keyspace).await?;
        }
        self.seen().scan(keyspace, after, max).await
    }

    async fn get(&self, keyspace: &str, keys: &[Key]) -> Result<Vec<Option<Document>>, Infallible> {
        self.seen().get(keyspace, keys).await
    }

    async fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), Infallible> {
        match self.wrong {
            Wrong::TiesByArrival => {
                let stored: BTreeMap<Key, Version> = {
                    let entries = self.disk.below.scan(keyspace, None, usize::MAX).await?;
                    entries.into_iter().map(|entry| (entry.key, entry.version)).collect()
                };
                let ties = documents.iter().filter_map(|(key, document)| {
                    let stored = stored.get(key)?;
                    (stored.stamp == document.version.stamp && *stored > document.version)
                        .then(|| (key.clone(), *stored))
                });
                self.disk.below.purge(keyspace, &ties.collect::<Vec<_>>()).await?;
            }
            Wrong::PurgesByAge => self.age(keyspace).await?,
            Wrong::AcknowledgesFirst => {
                self.memory.merge(keyspace, documents.clone()).await?;
                let (below, keyspace) = (self.disk.below.clone(), keyspace.to_owned());
                later(&self.disk.node, async move {
                    below.merge(&keyspace, documents).await.expect("infallible");
                });
                return Ok(());
            }
        }
        self.disk.merge(keyspace, documents).await
    }

    async fn purge(&self, keyspace: &str, entries: &[(Key, Version)]) -> Result<(), Infallible> {
        if self.wrong == Wrong::AcknowledgesFirst {
            self.memory.purge(keyspace, entries).await?;
            let (below, keyspace, entries) =
                (self.disk.below.clone(), keyspace.to_owned(), entries.to_vec());
            // In the order of what was merged.
            later(&self.disk.node, async move {
                below.purge(&keyspace, &entries).await.expect("infallible");
            });
            return Ok(());
        }
        self.disk.purge(keyspace, entries).await
    }

    async fn load_mark(&self, name: &str) -> Result<Option<Bytes>, Infallible> {
        self.disk.load_mark(name).await
    }

    async fn save_mark(&self, name: &str, mark: Bytes) -> Result<(), Infallible> {
        self.disk.save_mark(name, mark).await
    }
}

/// What the search says that finds it.
fn found(trouble: fn(&World), open: fn(Disk) -> Mutant) -> String {
    let search = || {
        check(0..200, |world| async move {
            // Only what users see: that tombstones are gone too soon is no harm by itself.
            let looked_at = |document: &Document| !document.is_tombstone();
            users_write_and_things_go_wrong(
                &world,
                Scene { trouble, open, loses_disks: false, looked_at },
            )
            .await;
        });
    };
    let failed = catch_unwind(AssertUnwindSafe(search)).expect_err("it is found");
    failed.downcast_ref::<String>().expect("words").clone()
}

#[test]
fn ties_by_arrival_are_found() {
    let text = found(swarm, |disk| Mutant::new(Wrong::TiesByArrival, disk));
    assert!(text.contains("replicas differ") || text.contains("a write is lost"), "{text}");
}

#[test]
fn tombstones_purged_by_age_are_found() {
    let text = found(swarm, |disk| Mutant::new(Wrong::PurgesByAge, disk));
    let says = ["replicas differ", "a delete undone", "a write is lost"];
    assert!(says.iter().any(|words| text.contains(words)), "{text}");
}

#[test]
fn acknowledging_before_it_is_durable_is_found() {
    let text = found(power_failure, |disk| Mutant::new(Wrong::AcknowledgesFirst, disk));
    assert!(text.contains("a write is lost"), "{text}");
}
