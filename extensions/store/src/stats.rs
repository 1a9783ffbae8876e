//! [`Stats`]: what a replica has counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a replica holds, and what it has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Keys with a document.
    pub documents: u64,
    /// Keys with a tombstone.
    pub tombstones: u64,
    /// Writes of users of this node, by key.
    pub written: u64,
    /// Documents sent to replicas that were waited for, and kept by them.
    pub replicated: u64,
    /// Documents sent in the background, and kept.
    pub spread: u64,
    /// Documents that were to be sent in the background and were not: exchanges make up for them.
    pub shed: u64,
    /// Documents that reads found newer elsewhere, and replicas that reads found behind.
    pub repaired: u64,
    /// Exchanges that this replica began and finished.
    pub exchanges: u64,
    /// Exchanges that it began and that failed.
    pub exchanges_failed: u64,
    /// Documents that exchanges brought here.
    pub fetched: u64,
    /// Documents that exchanges brought to others.
    pub pushed: u64,
    /// Tombstones purged.
    pub purged: u64,
    /// Purges that did not come about, because somebody is away or did not confirm.
    pub purges_failed: u64,
    /// Documents dropped because they were purged, or may have been, while this replica was
    /// forgotten.
    pub dropped: u64,
    /// Messages refused because something in them is not allowed.
    pub refused: u64,
    /// Calls refused because the caller is not a replica in this node's membership.
    pub strangers: u64,
    /// Messages refused because they were read before their sender confirmed a purge.
    pub stale: u64,
    /// Messages refused because their sender was forgotten.
    pub forgotten: u64,
    /// Failures of the storage.
    pub storage_errors: u64,
    /// Bytes of bodies of the store's messages received by this node.
    pub bytes_in: u64,
    /// Bytes of bodies of the store's messages sent by this node.
    pub bytes_out: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) written: Counter,
    pub(crate) replicated: Counter,
    pub(crate) spread: Counter,
    pub(crate) shed: Counter,
    pub(crate) repaired: Counter,
    pub(crate) exchanges: Counter,
    pub(crate) exchanges_failed: Counter,
    pub(crate) fetched: Counter,
    pub(crate) pushed: Counter,
    pub(crate) purged: Counter,
    pub(crate) purges_failed: Counter,
    pub(crate) dropped: Counter,
    pub(crate) refused: Counter,
    pub(crate) strangers: Counter,
    pub(crate) stale: Counter,
    pub(crate) forgotten: Counter,
    pub(crate) storage_errors: Counter,
}

impl Counters {
    pub(crate) fn read(&self) -> Stats {
        Stats {
            written: self.written.get(),
            replicated: self.replicated.get(),
            spread: self.spread.get(),
            shed: self.shed.get(),
            repaired: self.repaired.get(),
            exchanges: self.exchanges.get(),
            exchanges_failed: self.exchanges_failed.get(),
            fetched: self.fetched.get(),
            pushed: self.pushed.get(),
            purged: self.purged.get(),
            purges_failed: self.purges_failed.get(),
            dropped: self.dropped.get(),
            refused: self.refused.get(),
            strangers: self.strangers.get(),
            stale: self.stale.get(),
            forgotten: self.forgotten.get(),
            storage_errors: self.storage_errors.get(),
            ..Stats::default()
        }
    }
}
