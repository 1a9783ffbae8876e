//! [`AnyStorage`]: a [`Storage`] whose type is forgotten, so that stores have no type parameter.

use std::fmt;
use std::sync::Arc;

use chinwag::Bytes;
use chinwag::runtime::BoxFuture;

use crate::document::{Document, Entry, Version};
use crate::key::Key;
use crate::storage::Storage;

/// What a [`Storage`] said when it failed.
#[derive(Clone)]
pub struct StorageError(Arc<dyn std::error::Error + Send + Sync>);

impl StorageError {
    pub(crate) fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the storage failed: {}", self.0)
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

type Future<T> = BoxFuture<Result<T, StorageError>>;

/// As [`Storage`], with futures that own what they need.
pub(crate) trait AnyStorage: Send + Sync {
    fn keyspaces(&self) -> Future<Vec<String>>;
    fn scan(&self, keyspace: String, after: Option<Key>, max: usize) -> Future<Vec<Entry>>;
    fn get(&self, keyspace: String, keys: Vec<Key>) -> Future<Vec<Option<Document>>>;
    fn merge(&self, keyspace: String, documents: Vec<(Key, Document)>) -> Future<()>;
    fn purge(&self, keyspace: String, entries: Vec<(Key, Version)>) -> Future<()>;
    fn load_mark(&self, name: &'static str) -> Future<Option<Bytes>>;
    fn save_mark(&self, name: &'static str, mark: Bytes) -> Future<()>;
}

impl<S: Storage> AnyStorage for Arc<S> {
    fn keyspaces(&self) -> Future<Vec<String>> {
        let storage = self.clone();
        Box::pin(async move { Storage::keyspaces(&*storage).await.map_err(StorageError::new) })
    }

    fn scan(&self, keyspace: String, after: Option<Key>, max: usize) -> Future<Vec<Entry>> {
        let storage = self.clone();
        Box::pin(async move {
            Storage::scan(&*storage, &keyspace, after.as_ref(), max)
                .await
                .map_err(StorageError::new)
        })
    }

    fn get(&self, keyspace: String, keys: Vec<Key>) -> Future<Vec<Option<Document>>> {
        let storage = self.clone();
        Box::pin(async move {
            let documents =
                Storage::get(&*storage, &keyspace, &keys).await.map_err(StorageError::new)?;
            if documents.len() == keys.len() {
                Ok(documents)
            } else {
                Err(StorageError::new(WrongCount))
            }
        })
    }

    fn merge(&self, keyspace: String, documents: Vec<(Key, Document)>) -> Future<()> {
        let storage = self.clone();
        Box::pin(async move {
            Storage::merge(&*storage, &keyspace, documents).await.map_err(StorageError::new)
        })
    }

    fn purge(&self, keyspace: String, entries: Vec<(Key, Version)>) -> Future<()> {
        let storage = self.clone();
        Box::pin(async move {
            Storage::purge(&*storage, &keyspace, &entries).await.map_err(StorageError::new)
        })
    }

    fn load_mark(&self, name: &'static str) -> Future<Option<Bytes>> {
        let storage = self.clone();
        Box::pin(
            async move { Storage::load_mark(&*storage, name).await.map_err(StorageError::new) },
        )
    }

    fn save_mark(&self, name: &'static str, mark: Bytes) -> Future<()> {
        let storage = self.clone();
        Box::pin(async move {
            Storage::save_mark(&*storage, name, mark).await.map_err(StorageError::new)
        })
    }
}

/// A storage gave another number of documents than it was asked for keys.
#[derive(Debug)]
struct WrongCount;

impl fmt::Display for WrongCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it gave another number of documents than it was asked for keys")
    }
}

impl std::error::Error for WrongCount {}
