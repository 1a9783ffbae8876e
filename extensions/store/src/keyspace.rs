//! [`Keyspace`]: documents of one name, and what users do with them.

mod looking;
mod reading;
mod writing;

use std::fmt;
use std::sync::Arc;

use chinwag::{Bytes, Consistency, Status};

use crate::document::Document;
use crate::error::{LimitError, ReadError, WriteError};
use crate::key::IntoKey;
use crate::limits::BATCH_MAX;
use crate::store::Shared;

pub use looking::Page;
pub use writing::Written;

/// The documents of one name on all replicas. Cheap to clone.
///
/// The levels are [`Consistency`]'s: the local replica always takes part and counts as one, so
/// `One` is the local replica and one other, and `None` the local one alone.
#[derive(Clone)]
pub struct Keyspace {
    shared: Arc<Shared>,
    name: Arc<str>,
}

impl Keyspace {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        Self { shared, name: name.into() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`WriteError`], which says whether the write may be seen all the same.
    pub async fn put(
        &self,
        key: impl IntoKey,
        value: impl Into<Bytes>,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        let key = key.into_key().map_err(LimitError::from)?;
        self.write(vec![(key, Some(value.into()))], level).await
    }

    /// Writes several values, which the local replica keeps all or none; on others some may be seen
    /// before others.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub async fn put_many<K: IntoKey, V: Into<Bytes>>(
        &self,
        values: impl IntoIterator<Item = (K, V)>,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        let values =
            values.into_iter().map(|(key, value)| Ok((key.into_key()?, Some(value.into()))));
        self.write(limited(values)?, level).await
    }

    /// Deletes a key. That nothing was there is no error: who else writes it is not known.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub async fn delete(
        &self,
        key: impl IntoKey,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        let key = key.into_key().map_err(LimitError::from)?;
        self.write(vec![(key, None)], level).await
    }

    /// Deletes several keys, as [`Keyspace::put_many`].
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub async fn delete_many<K: IntoKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        let keys = keys.into_iter().map(|key| Ok((key.into_key()?, None)));
        self.write(limited(keys)?, level).await
    }

    /// The value of a key; `None` if there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn get(
        &self,
        key: impl IntoKey,
        level: Consistency,
    ) -> Result<Option<Bytes>, ReadError> {
        let key = key.into_key().map_err(LimitError::from)?;
        let documents = self.read(vec![key], level).await?;
        Ok(documents.into_iter().flatten().find_map(|document| document.value))
    }

    /// The values of several keys, in the order asked.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn get_many<K: IntoKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        level: Consistency,
    ) -> Result<Vec<Option<Bytes>>, ReadError> {
        let documents = self.documents(keys, level).await?;
        Ok(documents.into_iter().map(|document| document?.value).collect())
    }

    /// The latest writes of several keys, tombstones included, in the order asked. `None`: never
    /// written, or purged.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn documents<K: IntoKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        level: Consistency,
    ) -> Result<Vec<Option<Document>>, ReadError> {
        let keys = limited(keys.into_iter().map(|key| key.into_key().map_err(LimitError::from)))?;
        self.read(keys, level).await
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.name).finish_non_exhaustive()
    }
}

fn refused(why: &str) -> Status {
    Status::new(chinwag::Code::AppError, why)
}

/// No more than a batch, whatever the iterator gives.
fn limited<T>(items: impl Iterator<Item = Result<T, LimitError>>) -> Result<Vec<T>, LimitError> {
    let items: Vec<T> = items.take(BATCH_MAX + 1).collect::<Result<_, _>>()?;
    if items.len() > BATCH_MAX { Err(LimitError::Batch(items.len())) } else { Ok(items) }
}
