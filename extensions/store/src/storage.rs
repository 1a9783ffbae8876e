//! [`Storage`]: where one replica keeps its documents.

use std::future::Future;
use std::sync::Arc;

use chinwag::Bytes;

use crate::document::{Document, Entry, Version};
use crate::key::Key;

/// Where one replica keeps its documents: memory, a file, a database.
/// [`MemoryStorage`](crate::MemoryStorage) is one; `chinwag_store::suite` is the tests that every
/// other one must pass.
///
/// All methods take `&self` and may run at once. What the store asks of an implementation:
///
/// * **Durable.** When [`merge`](Self::merge), [`purge`](Self::purge) or
///   [`save_mark`](Self::save_mark) is ready with `Ok`, its effect survives the death of the
///   process, and whoever asks afterwards sees it. That is what a replica acknowledges.
/// * **Whole.** Each of them happens entirely or not at all, also when the process dies in the
///   middle.
/// * **Unsure errors.** After an error, or when the future is dropped, it may have happened or not;
///   the store looks. It must not happen later than that.
/// * **The maximum.** `merge` keeps the greater [`Version`] of each key, of what is stored and all
///   that is given. So neither order nor repetition matters, and no write is lost to a race.
pub trait Storage: Send + Sync + 'static {
    /// Why it failed: what the user is told, in `WriteError` and `ReadError`.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The names of the keyspaces that hold a document or a tombstone, in order.
    fn keyspaces(&self) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;

    /// The first `max` entries of a keyspace with a key after `after`, or from the start, in the
    /// order of their keys. Fewer than `max` are the last. Of a keyspace that is not there:
    /// none.
    fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, Self::Error>> + Send;

    /// The documents of `keys`, tombstones included, in the order asked: as many as keys. `None`:
    /// never written, or purged.
    fn get(
        &self,
        keyspace: &str,
        keys: &[Key],
    ) -> impl Future<Output = Result<Vec<Option<Document>>, Self::Error>> + Send;

    /// Keeps, for each key, the document with the greater version of what is stored and what is
    /// given, all of them in one step. A key may be given more than once. Of two documents with
    /// the same version the stored one stays.
    fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Forgets those of `entries` that are stored with exactly that version, documents and
    /// tombstones alike, all in one step. A keyspace that is empty afterwards is no longer
    /// there.
    fn purge(
        &self,
        keyspace: &str,
        entries: &[(Key, Version)],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// What the store has saved under `name` last; `None`: nothing yet. Marks have nothing to do
    /// with keyspaces: they are how the store remembers whom it has shared documents with, and
    /// what it has purged.
    fn load_mark(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Bytes>, Self::Error>> + Send;

    /// Replaces the mark `name`.
    fn save_mark(
        &self,
        name: &str,
        mark: Bytes,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A storage that is shared: whoever keeps a clone can look into what the store holds. It must not
/// be written to beside the store.
impl<S: Storage> Storage for Arc<S> {
    type Error = S::Error;

    async fn keyspaces(&self) -> Result<Vec<String>, Self::Error> {
        S::keyspaces(self).await
    }

    async fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, Self::Error> {
        S::scan(self, keyspace, after, max).await
    }

    async fn get(
        &self,
        keyspace: &str,
        keys: &[Key],
    ) -> Result<Vec<Option<Document>>, Self::Error> {
        S::get(self, keyspace, keys).await
    }

    async fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), Self::Error> {
        S::merge(self, keyspace, documents).await
    }

    async fn purge(&self, keyspace: &str, entries: &[(Key, Version)]) -> Result<(), Self::Error> {
        S::purge(self, keyspace, entries).await
    }

    async fn load_mark(&self, name: &str) -> Result<Option<Bytes>, Self::Error> {
        S::load_mark(self, name).await
    }

    async fn save_mark(&self, name: &str, mark: Bytes) -> Result<(), Self::Error> {
        S::save_mark(self, name, mark).await
    }
}
