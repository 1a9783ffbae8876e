//! The thread that writes: whatever waits becomes one transaction.

use std::thread;

use async_channel::{Receiver, Sender};
use chinwag::Bytes;

use super::Lease;
use super::error::RedbError;
use super::layout::Tables;
use crate::document::{Document, Version};
use crate::key::Key;

/// Bytes of values in one transaction, before further jobs wait for the next: what a transaction
/// holds in memory, and how long the first of its jobs waits for the others.
const GROUP_LEN_MAX: usize = 16 << 20;

/// A write, and who waits for it.
pub(super) struct Job {
    pub(super) write: Write,
    pub(super) answers: Sender<Result<(), RedbError>>,
}

pub(super) enum Write {
    Merge { keyspace: String, documents: Vec<(Key, Document)> },
    Purge { keyspace: String, entries: Vec<(Key, Version)> },
    Mark { name: String, mark: Bytes },
}

impl Write {
    /// Bytes of values.
    fn len(&self) -> usize {
        match self {
            Self::Merge { documents, .. } => documents
                .iter()
                .filter_map(|(_, document)| document.value.as_ref())
                .map(Bytes::len)
                .sum(),
            Self::Purge { .. } => 0,
            Self::Mark { mark, .. } => mark.len(),
        }
    }

    fn apply(&self, tables: &mut Tables<'_>) -> Result<(), RedbError> {
        match self {
            Self::Merge { keyspace, documents } => tables.merge(keyspace, documents),
            Self::Purge { keyspace, entries } => tables.purge(keyspace, entries),
            Self::Mark { name, mark } => tables.save_mark(name, mark),
        }
    }
}

/// Starts the thread. It ends when the last sender is gone and every job that was sent is done.
pub(super) fn start(lease: Lease, jobs_max: usize) -> Result<Sender<Job>, RedbError> {
    let (sends, jobs) = async_channel::bounded(jobs_max);
    // A thread, since no `Runtime` has work that blocks. It lives as long as the storage does.
    thread::Builder::new().name("chinwag-redb".to_owned()).spawn(move || run(&lease, &jobs))?;
    Ok(sends)
}

fn run(lease: &Lease, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv_blocking() {
        let group = gather(first, jobs);
        let done = commit(lease, &group);
        for job in group {
            // Nobody waits any more: it is done all the same.
            let _ = job.answers.try_send(done.clone());
        }
    }
}

/// The first job and those that wait behind it, but for those that nobody waits for.
fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut len = 0;
    let mut group = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        if !job.answers.is_closed() {
            len += job.write.len();
            group.push(job);
        }
        next = if len < GROUP_LEN_MAX { jobs.try_recv().ok() } else { None };
    }
    group
}

/// All of them or, when one fails, none: what makes one fail is the disk, which none of the others
/// has fared better with.
fn commit(lease: &Lease, group: &[Job]) -> Result<(), RedbError> {
    if group.is_empty() {
        return Ok(());
    }
    let writes = lease.database.begin_write()?;
    {
        let mut tables = Tables::open(&writes)?;
        for job in group {
            job.write.apply(&mut tables)?;
        }
    }
    Ok(writes.commit()?)
}
