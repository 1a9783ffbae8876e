//! Looking into what the local replica holds (docs/store.md §3.7).

use std::ops::{Bound, RangeBounds};

use super::Keyspace;
use crate::document::{Document, Entry};
use crate::error::ReadError;
use crate::key::Key;
use crate::limits::BATCH_MAX;

/// A part of a keyspace, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What was found. It can be empty although more follows.
    pub items: Vec<T>,
    /// The key after which the next page begins: ask for
    /// `(Bound::Excluded(next), end of the range)`. `None`: this is the last page.
    pub next: Option<Key>,
}

impl Keyspace {
    /// Returns the number of keys that have a document in the local replica.
    pub fn len(&self) -> usize {
        self.shared.replica.index(&self.name, |index| index.documents())
    }

    /// Returns whether no key has a document in the local replica.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns keys in `range` that have a document in the local replica, in their order, at most
    /// `max` of them and at most [`BATCH_MAX`]. [`Page::next`] is the cursor for the rest.
    ///
    /// ```
    /// # use std::ops::Bound;
    /// # use chinwag_store::{Key, Keyspace, ReadError};
    /// # async fn all(keyspace: &Keyspace) -> Result<Vec<Key>, ReadError> {
    /// let mut keys = Vec::new();
    /// let mut from = Bound::Unbounded;
    /// loop {
    ///     let page = keyspace.keys((from, Bound::Unbounded), 1_000).await?;
    ///     keys.extend(page.items);
    ///     let Some(next) = page.next else { return Ok(keys) };
    ///     from = Bound::Excluded(next);
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the local storage failed.
    pub async fn keys(
        &self,
        range: impl RangeBounds<Key>,
        max: usize,
    ) -> Result<Page<Key>, ReadError> {
        let (start, end) = (range.start_bound().cloned(), range.end_bound().cloned());
        let mut found = self.entries(start, &end, max).await?;
        found.items.retain(|entry| !entry.is_tombstone);
        let items = found.items.into_iter().map(|entry| entry.key).collect();
        Ok(Page { items, next: found.next })
    }

    /// Returns documents in `range` of the local replica, in the order of their keys, at most `max`
    /// of them and at most [`BATCH_MAX`]; fewer if their values are long. Deleted keys are left
    /// out. [`Page::next`] is the cursor for the rest, as with [`Keyspace::keys`].
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the local storage failed.
    pub async fn scan(
        &self,
        range: impl RangeBounds<Key>,
        max: usize,
    ) -> Result<Page<(Key, Document)>, ReadError> {
        let (start, end) = (range.start_bound().cloned(), range.end_bound().cloned());
        let Page { items, mut next } = self.entries(start, &end, max).await?;
        let keys: Vec<Key> = items.into_iter().map(|entry| entry.key).collect();
        let got = self.shared.replica.get_some(&self.name, &keys).await?;
        if got.len() < keys.len() {
            next = got.last().map(|(key, _)| key.clone());
        }
        let document = |(key, document): (Key, Option<Document>)| Some((key, document?));
        let held = got.into_iter().filter_map(document);
        let items = held.filter(|(_, document)| !document.is_tombstone()).collect();
        Ok(Page { items, next })
    }

    /// Entries in a range, tombstones included.
    async fn entries(
        &self,
        start: Bound<Key>,
        end: &Bound<Key>,
        max: usize,
    ) -> Result<Page<Entry>, ReadError> {
        let max = max.clamp(1, BATCH_MAX);
        let replica = &self.shared.replica;
        let (mut items, after) = match start {
            Bound::Unbounded => (Vec::new(), None),
            Bound::Excluded(key) => (Vec::new(), Some(key)),
            Bound::Included(key) => {
                let got = replica.get(&self.name, vec![key.clone()]).await?;
                let first = got.into_iter().flatten().map(|document| document.entry(key.clone()));
                (first.collect(), Some(key))
            }
        };
        let scanned = replica.scan(&self.name, after, max).await?;
        let is_last = scanned.len() < max;
        items.extend(scanned);
        let mut next = (!is_last || items.len() > max).then(|| items[max - 1].key.clone());
        items.truncate(max);
        let is_within = |key: &Key| match end {
            Bound::Unbounded => true,
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
        };
        if items.last().is_some_and(|entry| !is_within(&entry.key)) {
            items.retain(|entry| is_within(&entry.key));
            next = None;
        }
        Ok(Page { items, next })
    }
}
