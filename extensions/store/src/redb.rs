//! [`RedbStorage`]: documents in one file.
//!
//! ```text
//!   merge, purge, save_mark --- jobs ---> writer thread: what waits becomes one transaction; then every answer
//!   get, scan, keyspaces, load_mark ----> the pool of `blocking`: a read transaction each
//!                                              |
//!                                        redb::Database, one file
//! ```
//!
//! A disk makes its caller wait, and a runtime's threads may not wait: so writes have a thread of
//! their own, and reads a thread of the pool. This is where the crate meets the outside world.

mod error;
mod layout;
mod writer;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, fs, io};

use async_channel::{Receiver, Sender};
use blocking::unblock;
use chinwag::Bytes;
use redb::{Builder, Database, DatabaseError};

use crate::document::{Document, Entry, Version};
use crate::key::Key;
use crate::storage::Storage;

pub use error::RedbError;
use layout::Reader;
use writer::{Job, Write};

/// Bytes of the file that redb keeps in memory, at most, unless [`RedbStorage::open_with`] says
/// otherwise: the inner nodes of a few million keys. Its own default, a gibibyte, is more than a
/// library may take.
pub const CACHE_LEN_DEFAULT: usize = 64 << 20;
/// Writes that wait for the thread. Whoever comes then waits for room, so what waits is bounded by
/// the callers' own batches.
const JOBS_MAX: usize = 256;

/// Documents in one file, by redb, an embedded database: feature `redb`.
///
/// What a write's future has said `Ok` to survives `kill -9` at any moment, and, as far as the disk
/// keeps its word about a sync, the loss of power. Writes that come while the disk is busy share
/// the next transaction, so a hundred writers pay for one sync, not for a hundred. The file belongs
/// to one storage at a time.
///
/// After an error of the disk (it is full, say) the storage does nothing more until it is opened
/// again, and every call says so: what the disk kept is known then, and not before.
///
/// A start reads the whole file once and checks it, so what is damaged is an error then, and not a
/// wrong answer later.
///
/// Dropping it waits, without a runtime, until the transaction that is open is done and the file is
/// closed.
pub struct RedbStorage {
    jobs: Option<Sender<Job>>,
    lease: Option<Lease>,
    /// Closed when nobody has the file any more.
    closed: Receiver<Infallible>,
    path: PathBuf,
}

/// A share of the open file.
#[derive(Clone)]
struct Lease {
    // In this order: who sees `closed` finds the file closed.
    database: Arc<Database>,
    _open: Sender<Infallible>,
}

impl RedbStorage {
    /// Opens the file, and creates it if there is none. Its directory has to be there.
    ///
    /// # Errors
    /// See [`RedbError`]. What a file that is no store's holds is not touched.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, RedbError> {
        Self::open_with(path, CACHE_LEN_DEFAULT).await
    }

    /// [`RedbStorage::open`] with so many bytes of the file in memory, at most.
    ///
    /// # Errors
    /// As [`RedbStorage::open`].
    pub async fn open_with(path: impl Into<PathBuf>, cache_len: usize) -> Result<Self, RedbError> {
        let path = path.into();
        unblock(move || {
            if !path.exists() {
                create(&path)?;
            }
            Self::start(builder(cache_len).open(&path), path)
        })
        .await
    }

    /// Takes a database into use, if it has opened.
    fn start(opened: Result<Database, DatabaseError>, path: PathBuf) -> Result<Self, RedbError> {
        let database = opened.map_err(RedbError::at_open)?;
        layout::prepare(&database)?;
        let (open, closed) = async_channel::bounded(1);
        let lease = Lease { database: Arc::new(database), _open: open };
        let jobs = writer::start(lease.clone(), JOBS_MAX)?;
        Ok(Self { jobs: Some(jobs), lease: Some(lease), closed, path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn write(&self, write: Write) -> Result<(), RedbError> {
        let (answers, answer) = async_channel::bounded(1);
        let jobs = self.jobs.as_ref().expect("taken by `drop` alone");
        jobs.send(Job { write, answers }).await.map_err(|_| RedbError::Stopped)?;
        answer.recv().await.map_err(|_| RedbError::Stopped)?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, RedbError> + Send + 'static,
    ) -> Result<T, RedbError> {
        let lease = self.lease.clone().expect("taken by `drop` alone");
        unblock(move || {
            // The transaction before the lease, which is to be the last of the file.
            let read = Reader::new(&lease.database).and_then(|reader| read(&reader));
            drop(lease);
            read
        })
        .await
    }
}

impl Storage for RedbStorage {
    type Error = RedbError;

    async fn keyspaces(&self) -> Result<Vec<String>, RedbError> {
        self.read(Reader::keyspaces).await
    }

    async fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, RedbError> {
        let (keyspace, after) = (keyspace.to_owned(), after.cloned());
        self.read(move |reader| reader.scan(&keyspace, after.as_ref(), max)).await
    }

    async fn get(&self, keyspace: &str, keys: &[Key]) -> Result<Vec<Option<Document>>, RedbError> {
        let (keyspace, keys) = (keyspace.to_owned(), keys.to_owned());
        self.read(move |reader| keys.iter().map(|key| reader.get(&keyspace, key)).collect()).await
    }

    async fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), RedbError> {
        self.write(Write::Merge { keyspace: keyspace.to_owned(), documents }).await
    }

    async fn purge(&self, keyspace: &str, entries: &[(Key, Version)]) -> Result<(), RedbError> {
        self.write(Write::Purge { keyspace: keyspace.to_owned(), entries: entries.to_owned() })
            .await
    }

    async fn load_mark(&self, name: &str) -> Result<Option<Bytes>, RedbError> {
        let name = name.to_owned();
        self.read(move |reader| reader.mark(&name)).await
    }

    async fn save_mark(&self, name: &str, mark: Bytes) -> Result<(), RedbError> {
        self.write(Write::Mark { name: name.to_owned(), mark }).await
    }
}

impl Drop for RedbStorage {
    fn drop(&mut self) {
        self.jobs = None;
        self.lease = None;
        // Nothing is ever sent: it ends when the last share is gone.
        let closed: Result<Infallible, _> = self.closed.recv_blocking();
        debug_assert!(closed.is_err());
    }
}

impl fmt::Debug for RedbStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStorage").field("path", &self.path).finish_non_exhaustive()
    }
}

fn builder(cache_len: usize) -> Builder {
    let mut builder = Database::builder();
    // All of the file is read at a start, and checked. Otherwise what is damaged shows as a wrong
    // answer later, or a panic.
    builder.set_cache_size(cache_len).set_check_integrity_on_open(true);
    builder
}

/// Makes an empty store beside `path`, and gives it that name when it is whole: a process that is
/// killed on the way leaves nothing there that the next start would stumble over.
fn create(path: &Path) -> Result<(), RedbError> {
    /// Makes names of one process differ.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    // Of an earlier process with the same number.
    ignore_missing(fs::remove_file(&new))?;
    let database = builder(0).create(&new).map_err(RedbError::at_open)?;
    layout::prepare(&database)?;
    drop(database);
    match fs::hard_link(&new, path) {
        Ok(()) => {}
        // Somebody else was faster; a rename would take the file from under them.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // Not every file system has links.
        Err(_) => fs::rename(&new, path)?,
    }
    ignore_missing(fs::remove_file(&new))?;
    sync_directory_of(path)
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A new file survives the loss of power only once its directory has been synced too.
#[cfg(unix)]
fn sync_directory_of(path: &Path) -> Result<(), RedbError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(fs::File::open(directory)?.sync_all()?)
}

/// Elsewhere a directory cannot be opened to be synced.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "it is what the other one returns")]
fn sync_directory_of(_: &Path) -> Result<(), RedbError> {
    Ok(())
}

#[cfg(test)]
mod tests;
