//! [`Stats`]: what a node has counted.

use std::sync::atomic::{AtomicU64, Ordering};

use chinwag_core::membership;

/// What a node has counted since it started, and how much it holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The membership machine's counters.
    pub membership: membership::Stats,
    /// Connections now, either way, those still being set up included.
    pub connections: usize,
    /// Connections dialled.
    pub dialed: u64,
    /// Dials that did not get as far as the peer's hello.
    pub dials_failed: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections turned away because there were too many.
    pub connections_refused: u64,
    /// Failures to accept.
    pub accepts_failed: u64,
    /// Calls begun here, those to this node itself included.
    pub calls_out: u64,
    /// Calls and one-way messages that came from others.
    pub calls_in: u64,
    /// Calls of others whose handler had to wait and became a task.
    pub handlers_spawned: u64,
    /// Gossip frames shed because the node task was behind.
    pub gossip_shed: u64,
    /// Datagrams that the system refused to send.
    pub datagrams_unsent: u64,
}

/// The driver's own counters, each an atomic of its own: none is on a path where that shows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) dialed: Counter,
    pub(crate) dials_failed: Counter,
    pub(crate) accepted: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) accepts_failed: Counter,
    pub(crate) calls_out: Counter,
    pub(crate) calls_in: Counter,
    pub(crate) handlers_spawned: Counter,
    pub(crate) gossip_shed: Counter,
    pub(crate) datagrams_unsent: Counter,
}

impl Counters {
    pub(crate) fn read(&self, membership: &membership::Stats, connections: usize) -> Stats {
        Stats {
            membership: *membership,
            connections,
            dialed: self.dialed.get(),
            dials_failed: self.dials_failed.get(),
            accepted: self.accepted.get(),
            connections_refused: self.connections_refused.get(),
            accepts_failed: self.accepts_failed.get(),
            calls_out: self.calls_out.get(),
            calls_in: self.calls_in.get(),
            handlers_spawned: self.handlers_spawned.get(),
            gossip_shed: self.gossip_shed.get(),
            datagrams_unsent: self.datagrams_unsent.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
