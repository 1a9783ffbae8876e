//! How much a node holds at the moment.

use crate::membership::Membership;

/// What a node holds, each with the limit that bounds it whatever others send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Other live members; with the tombstones at most [`MEMBERS_MAX`](super::MEMBERS_MAX).
    pub members: usize,
    /// Dead and left members remembered: at most `Config::tombstones_max`.
    pub tombstones: usize,
    /// Running suspicions: at most one a live member.
    pub suspicions: usize,
    /// Rumours that wait, broadcasts among them: at most one a record, and
    /// [`BROADCASTS_MAX`](super::BROADCASTS_MAX).
    pub rumors: usize,
    /// Broadcasts among the rumours: at most [`BROADCASTS_MAX`](super::BROADCASTS_MAX).
    pub broadcasts: usize,
    /// Origins whose broadcasts are told apart: at most one a record.
    pub origins: usize,
    /// Messages to be polled: at most [`OUTBOX_MAX`](super::OUTBOX_MAX).
    pub messages: usize,
    /// Events to be taken: at most [`EVENTS_MAX`](super::EVENTS_MAX).
    pub events: usize,
    /// Probes relayed for others: at most [`RELAYS_MAX`](super::RELAYS_MAX).
    pub relays: usize,
    /// Liveness checks of claimants: at most [`CHECKS_MAX`](super::CHECKS_MAX).
    pub checks: usize,
    /// Conflicts that were reported: at most [`CHECKS_MAX`](super::CHECKS_MAX).
    pub conflicts: usize,
    /// Own exchanges: at most [`EXCHANGES_MAX`](super::EXCHANGES_MAX).
    pub exchanges: usize,
    /// Tables being sent: at most [`TRANSFERS_MAX`](super::TRANSFERS_MAX).
    pub transfers: usize,
    /// Foreign addresses and clusters that were reported: at most
    /// [`FOREIGN_MAX`](super::FOREIGN_MAX).
    pub foreign: usize,
}

impl Membership {
    /// What it holds at the moment.
    pub fn sizes(&self) -> Sizes {
        let (messages, events) = self.out.lens();
        Sizes {
            members: self.table.live_count(),
            tombstones: self.table.tombstone_count(),
            suspicions: self.suspicions.len(),
            rumors: self.rumors.len(),
            broadcasts: self.rumors.broadcast_count(),
            origins: self.broadcasts.origins_len(),
            messages,
            events,
            relays: self.relays.len(),
            checks: self.checks.len(),
            conflicts: self.checks.reported_len(),
            exchanges: self.sync.exchanges_len(),
            transfers: self.sync.transfers_len(),
            foreign: self.foreign.len(),
        }
    }
}
