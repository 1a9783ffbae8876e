//! The tests that every [`Storage`] must pass, as a library.
//!
//! ```
//! use chinwag_store::{MemoryStorage, suite};
//! use std::collections::BTreeMap;
//!
//! #[derive(Default)]
//! struct Memory(BTreeMap<String, MemoryStorage>);
//! impl suite::Factory for Memory {
//!     type Storage = MemoryStorage;
//!     async fn open(&mut self, name: &str) -> MemoryStorage {
//!         self.0.entry(name.to_owned()).or_default().clone()
//!     }
//! }
//! futures_lite::future::block_on(suite::run(&mut Memory::default()));
//! ```
//!
//! A case that fails panics and names what does not hold. That the cases can fail is tested too:
//! `tests/suite.rs` breaks a storage in one way after the other.
//!
//! What it is not: a test of what survives the loss of power, which only the storage's own author
//! can pull.

mod contents;
mod merging;

use std::future::Future;

use chinwag::{Bytes, NodeId, Timestamp};

use crate::document::{Document, Version};
use crate::key::Key;
use crate::storage::Storage;

/// Opens storages for the suite.
pub trait Factory {
    /// What is tested.
    type Storage: Storage;

    /// Opens the storage `name`, as a process does that starts: empty the first time, and with all
    /// that was done to it afterwards. The suite has dropped what it had of `name` before it
    /// asks again.
    fn open(&mut self, name: &str) -> impl Future<Output = Self::Storage>;
}

/// Runs every case, each on a storage of its own, and opens each a second time to see that nothing
/// was lost.
///
/// # Panics
/// When something does not hold.
pub async fn run(factory: &mut impl Factory) {
    contents::an_empty_one_is_empty(factory).await;
    contents::what_is_merged_is_there(factory).await;
    contents::keyspaces_are_apart(factory).await;
    contents::a_scan_goes_through_all_in_order(factory).await;
    contents::keys_and_values_are_any_bytes(factory).await;
    contents::marks_are_kept_and_replaced(factory).await;
    merging::the_greater_version_stays(factory).await;
    merging::the_order_of_merges_does_not_matter(factory).await;
    merging::merges_at_once_lose_nothing(factory).await;
    merging::only_the_exact_version_is_purged(factory).await;
}

/// A write at `stamp` by `node`.
fn written(stamp: u64, node: u64, value: &[u8]) -> Document {
    let version = version(stamp, node);
    Document { version, value: Some(Bytes::copy_from_slice(value)) }
}

/// A delete at `stamp` by `node`.
fn deleted(stamp: u64, node: u64) -> Document {
    Document { version: version(stamp, node), value: None }
}

fn version(stamp: u64, node: u64) -> Version {
    Version { stamp: Timestamp::from_raw(stamp), node: NodeId::new(node) }
}

async fn merge(storage: &impl Storage, keyspace: &str, documents: Vec<(Key, Document)>) {
    storage.merge(keyspace, documents).await.unwrap_or_else(|error| panic!("merge: {error}"));
}

async fn purge(storage: &impl Storage, keyspace: &str, entries: &[(Key, Version)]) {
    storage.purge(keyspace, entries).await.unwrap_or_else(|error| panic!("purge: {error}"));
}

async fn get(storage: &impl Storage, keyspace: &str, keys: &[Key]) -> Vec<Option<Document>> {
    let documents =
        storage.get(keyspace, keys).await.unwrap_or_else(|error| panic!("get: {error}"));
    assert_eq!(documents.len(), keys.len(), "get gives as many as it is asked for");
    documents
}

async fn keyspaces(storage: &impl Storage) -> Vec<String> {
    storage.keyspaces().await.unwrap_or_else(|error| panic!("keyspaces: {error}"))
}

/// All documents of a keyspace by a scan in steps of `step`, and what is stored for each.
async fn contents(storage: &impl Storage, keyspace: &str, step: usize) -> Vec<(Key, Document)> {
    let mut all = Vec::new();
    let mut after: Option<Key> = None;
    loop {
        let scanned = storage.scan(keyspace, after.as_ref(), step).await;
        let entries = scanned.unwrap_or_else(|error| panic!("scan: {error}"));
        assert!(entries.len() <= step, "a scan gives at most what it is asked for");
        let is_last = entries.len() < step;
        let keys: Vec<Key> = entries.iter().map(|entry| entry.key.clone()).collect();
        for (entry, document) in entries.into_iter().zip(get(storage, keyspace, &keys).await) {
            let document = document.expect("what a scan gives is there");
            assert_eq!(document.entry(entry.key.clone()), entry, "a scan and a get agree");
            assert!(after.as_ref() < Some(&entry.key), "a scan goes up, and on from where it was");
            after = Some(entry.key.clone());
            all.push((entry.key, document));
        }
        if is_last {
            return all;
        }
    }
}
