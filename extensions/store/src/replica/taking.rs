//! Taking documents in, and forgetting them: all that goes through the gate.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chinwag::protocol::time::WallTime;
use chinwag::{Bytes, NodeId, Timestamp};

use super::{Failure, Gate, Replica, lock};
use crate::any_storage::StorageError;
use crate::claims::later;
use crate::document::{Document, Version};
use crate::key::Key;
use crate::limits::{CLOCK_APART_MAX, CLOCK_LAST};
use crate::shelf::Shelf;
use crate::wire::{Origin, OriginClaim, Taken, Ticket, Turn};

/// What became of a write of this replica.
pub(crate) enum Written {
    /// These documents are durable here; what they say of their sender.
    Kept(OriginClaim, Vec<(Key, Document)>),
    /// One of the keys has no later version: nothing was written.
    Exhausted,
    /// There are too many keyspaces: nothing was written.
    Full,
    /// The wall clock is wrong: nothing was written.
    Clock,
    /// The storage failed: perhaps written, perhaps not.
    Unsure(StorageError),
}

impl Replica {
    /// Takes in documents of another replica (docs/store.md §5.2, §5.6), to the end even if the
    /// caller stops waiting.
    pub(crate) async fn take(
        self: &Arc<Self>,
        from: NodeId,
        origin: Origin,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<Taken, Failure> {
        let (replica, keyspace) = (self.clone(), keyspace.to_owned());
        let taken = async move { replica.take_in(from, origin, &keyspace, documents).await };
        Ok(self.to_the_end(taken).await??)
    }

    async fn take_in(
        &self,
        from: NodeId,
        origin: Origin,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<Taken, StorageError> {
        if !self.meet(from).await? {
            return Ok(Taken::Full);
        }
        let gate = self.enter(keyspace).await?;
        let epoch = self.node.upgrade().map_or(0, |node| node.epoch().get());
        if !gate.admits(from, &origin, epoch) {
            self.counters.stale.add(1);
            return Ok(Taken::Stale { ticket: Ticket { epoch, purges: gate.purges() } });
        }
        if origin.cleansed < self.roster().absence(from).generation {
            self.counters.forgotten.add(1);
            return Ok(Taken::Forgotten);
        }
        if !self.make_room(keyspace) {
            return Ok(Taken::Full);
        }
        let is_newer = |(key, document): &&(Key, Document)| {
            self.index(keyspace, |index| index.version(key))
                .is_some_and(|held| held > document.version)
        };
        let newer = u32::try_from(documents.iter().filter(is_newer).count()).unwrap_or(u32::MAX);
        self.store(keyspace, &documents).await?;
        Ok(Taken::Kept { newer })
    }

    /// Writes for a user of this node: chooses the versions, and keeps the documents durably
    /// (docs/store.md §2.2).
    pub(crate) async fn write(
        self: &Arc<Self>,
        keyspace: &str,
        values: Vec<(Key, Option<Bytes>)>,
    ) -> Result<Written, Failure> {
        let (replica, keyspace) = (self.clone(), keyspace.to_owned());
        self.to_the_end(async move { replica.write_down(&keyspace, values).await }).await?
    }

    async fn write_down(
        &self,
        keyspace: &str,
        values: Vec<(Key, Option<Bytes>)>,
    ) -> Result<Written, Failure> {
        let _gate = self.enter(keyspace).await?;
        // Under the gate, so that no purge lies between the turn and the look at what is held.
        let origin = self.origin(None)?;
        let wall = self.node()?.now().wall;
        if wall > CLOCK_LAST || self.is_clock_wrong()? {
            return Ok(Written::Clock);
        }
        if !self.make_room(keyspace) {
            return Ok(Written::Full);
        }
        let Some(documents) = self.shelf(keyspace, |shelf| self.choose(shelf, wall, values)) else {
            return Ok(Written::Exhausted);
        };
        let stored = self.store(keyspace, &documents).await;
        self.shelf(keyspace, |shelf| {
            documents.iter().for_each(|(key, document)| shelf.release(key, document.version));
        });
        Ok(match stored {
            Ok(()) => Written::Kept(origin, documents),
            Err(error) => Written::Unsure(error),
        })
    }

    fn choose(
        &self,
        shelf: &mut Shelf,
        wall: WallTime,
        values: Vec<(Key, Option<Bytes>)>,
    ) -> Option<Vec<(Key, Document)>> {
        let floor = self.roster().floor;
        let mut documents = Vec::with_capacity(values.len());
        for (key, value) in values {
            // The causal clock never runs back. After a jump of the wall clock far ahead and back
            // it is of no use until the node restarts, and the wall clock is (docs/store.md §2.5).
            let causal = self.clock.now();
            let now =
                if causal > later(wall, CLOCK_APART_MAX) { Timestamp::at(wall) } else { causal };
            let Some(version) = shelf.reserve(&key, now, floor, self.me) else {
                documents.iter().for_each(|(key, document): &(Key, Document)| {
                    shelf.release(key, document.version);
                });
                return None;
            };
            documents.push((key, Document { version, value }));
        }
        Some(documents)
    }

    /// Merges into the storage, then into the index. The gate is held for reading.
    async fn store(
        &self,
        keyspace: &str,
        documents: &[(Key, Document)],
    ) -> Result<(), StorageError> {
        let merged = self.storage.merge(keyspace.to_owned(), documents.to_vec()).await;
        if let Err(error) = self.counted(merged) {
            self.shelf(keyspace, |shelf| shelf.is_doubtful = true);
            return Err(error);
        }
        self.shelf(keyspace, |shelf| {
            documents
                .iter()
                .for_each(|(key, document)| shelf.index.put(document.entry(key.clone())));
        });
        Ok(())
    }

    /// Forgets tombstones that all have confirmed, and from now on refuses messages from before the
    /// confirmations (docs/store.md §5.3). Says how many, or `None` if there are too many nodes
    /// to remember: then nothing is forgotten.
    pub(crate) async fn purge(
        self: &Arc<Self>,
        keyspace: &str,
        tombstones: Vec<(Key, Version)>,
        turns: Vec<(NodeId, Turn)>,
    ) -> Result<Option<usize>, Failure> {
        let (replica, keyspace) = (self.clone(), keyspace.to_owned());
        let purged = async move {
            let mut gate = replica.gate.write().await;
            if !gate.require(turns, |node| replica.is_live(node)) {
                return Ok(None);
            }
            replica.purges.store(gate.purges(), Ordering::Release);
            let is_tombstone = |(key, version): &(Key, Version)| {
                replica.index(&keyspace, |index| index.is_tombstone(key, *version))
            };
            let purged = tombstones.into_iter().filter(is_tombstone).collect();
            let count = replica.forget(&keyspace, purged).await?;
            replica.counters.purged.add(count);
            Ok::<_, StorageError>(Some(count))
        };
        Ok(self.to_the_end(purged).await??)
    }

    /// Drops documents that were purged, or may have been, while this replica was forgotten
    /// (docs/store.md §5.6). Says how many.
    pub(crate) async fn cleanse(
        self: &Arc<Self>,
        keyspace: &str,
        documents: Vec<(Key, Version)>,
        horizon: Timestamp,
    ) -> Result<usize, Failure> {
        let (replica, keyspace) = (self.clone(), keyspace.to_owned());
        let dropped = async move {
            let _gate = replica.gate.write().await;
            let is_old = |(_, version): &(Key, Version)| version.stamp <= horizon;
            let old = documents.into_iter().filter(is_old).collect();
            let count = replica.forget(&keyspace, old).await?;
            replica.counters.dropped.add(count);
            Ok::<_, StorageError>(count)
        };
        Ok(self.to_the_end(dropped).await??)
    }

    /// Purges the storage, then the index. The gate is held for writing.
    async fn forget(
        &self,
        keyspace: &str,
        entries: Vec<(Key, Version)>,
    ) -> Result<usize, StorageError> {
        if entries.is_empty() {
            return Ok(0);
        }
        if let Err(error) =
            self.counted(self.storage.purge(keyspace.to_owned(), entries.clone()).await)
        {
            self.shelf(keyspace, |shelf| shelf.is_doubtful = true);
            return Err(error);
        }
        let is_purged = |index: &mut crate::index::Index, (key, version): &(Key, Version)| {
            index.purge(key, *version)
        };
        Ok(self.shelf(keyspace, |shelf| {
            entries.iter().filter(|entry| is_purged(&mut shelf.index, entry)).count()
        }))
    }

    /// Through the gate, with an index that is right.
    async fn enter(
        &self,
        keyspace: &str,
    ) -> Result<tokio::sync::RwLockReadGuard<'_, Gate>, StorageError> {
        loop {
            self.make_sure(keyspace).await?;
            let gate = self.gate.read().await;
            if !self.is_doubtful(keyspace) {
                return Ok(gate);
            }
        }
    }

    fn is_doubtful(&self, keyspace: &str) -> bool {
        lock(&self.shelves).get(keyspace).is_some_and(|shelf| shelf.is_doubtful)
    }

    /// Reads the index anew if it is doubtful (docs/store.md §1.3).
    pub(crate) async fn make_sure(&self, keyspace: &str) -> Result<(), StorageError> {
        if !self.is_doubtful(keyspace) {
            return Ok(());
        }
        let _gate = self.gate.write().await;
        if self.is_doubtful(keyspace) {
            let index = self.read_index(keyspace).await?;
            self.shelf(keyspace, |shelf| (shelf.index, shelf.is_doubtful) = (index, false));
        }
        Ok(())
    }

    fn shelf<T>(&self, keyspace: &str, act: impl FnOnce(&mut Shelf) -> T) -> T {
        act(lock(&self.shelves).entry(keyspace.to_owned()).or_default())
    }
}
