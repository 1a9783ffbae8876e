//! [`repair`]: a store that was poisoned is put right (docs/store.md §7).

use std::collections::BTreeSet;

use chinwag::Timestamp;
use chinwag::protocol::time::WallTime;

use crate::any_storage::StorageError;
use crate::claims::later;
use crate::document::{Document, Entry, Version};
use crate::key::Key;
use crate::limits::{BATCH_MAX, CLOCK_APART_MAX, STAMP_AHEAD_MAX};
use crate::replica::OpenError;
use crate::roster::{self, Roster};
use crate::storage::Storage;

/// What [`repair`] has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Documents and tombstones whose stamp was too far ahead, and that have a new one.
    pub restamped: usize,
    /// Whether what the replica remembers of the cluster held a time or a count that cannot be.
    pub roster: bool,
}

/// Puts a store right that holds stamps of an absurd clock, or remembers a floor, a horizon or a
/// generation that cannot be. `wall` is the time now, by a clock that is right. No document is
/// lost, and what is sound is not changed.
///
/// The store must not be open, and its file should be copied first: a process that is killed
/// in the middle can lose documents with absurd stamps. How to go about it in a cluster is in
/// `docs/operations.md`.
///
/// # Errors
/// [`OpenError::Storage`] if the storage failed, and [`OpenError::Mark`] if what it remembers of
/// the cluster cannot be read.
pub async fn repair(storage: &impl Storage, wall: WallTime) -> Result<Repaired, OpenError> {
    let failed = |error| OpenError::Storage(error);
    let mut repaired = Repaired::default();
    let mark = storage.load_mark(roster::MARK).await.map_err(StorageError::new).map_err(failed)?;
    if let Some(mark) = mark {
        let mut roster = Roster::from_mark(mark).ok_or(OpenError::Mark)?;
        if roster.put_right(later(wall, CLOCK_APART_MAX)) {
            let saved = storage.save_mark(roster::MARK, roster.to_mark()).await;
            saved.map_err(StorageError::new).map_err(failed)?;
            repaired.roster = true;
        }
    }
    let keyspaces = storage.keyspaces().await.map_err(StorageError::new).map_err(failed)?;
    for keyspace in keyspaces {
        repaired.restamped += restamp(storage, &keyspace, wall).await.map_err(failed)?;
    }
    Ok(repaired)
}

/// Gives documents with absurd stamps new ones, in the order of the old ones.
async fn restamp(
    storage: &impl Storage,
    keyspace: &str,
    wall: WallTime,
) -> Result<usize, StorageError> {
    let mut absurd = BTreeSet::<(Version, Key)>::new();
    let mut after = None;
    loop {
        let entries = storage.scan(keyspace, after.as_ref(), BATCH_MAX).await;
        let entries: Vec<Entry> = entries.map_err(StorageError::new)?;
        let is_last = entries.len() < BATCH_MAX;
        after = entries.last().map(|entry| entry.key.clone());
        let is_absurd = |entry: &Entry| entry.version.stamp > later(wall, STAMP_AHEAD_MAX);
        let found = entries.into_iter().filter(is_absurd);
        absurd.extend(found.map(|entry| (entry.version, entry.key)));
        if is_last {
            break;
        }
    }
    let count = absurd.len();
    let first = Timestamp::at(wall).get();
    for ((version, key), at) in absurd.into_iter().zip(1_u64..) {
        let got = storage.get(keyspace, std::slice::from_ref(&key)).await;
        let Some(document) = got.map_err(StorageError::new)?.into_iter().next().flatten() else {
            continue;
        };
        let stamp = Timestamp::from_raw(first.saturating_add(at)).min(Timestamp::MAX);
        let new = Version { stamp, ..version };
        storage.purge(keyspace, &[(key.clone(), version)]).await.map_err(StorageError::new)?;
        let document = Document { version: new, ..document };
        storage.merge(keyspace, vec![(key, document)]).await.map_err(StorageError::new)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
