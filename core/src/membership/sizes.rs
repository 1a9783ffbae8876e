//! How much a node holds at the moment.

use crate::membership::Membership;
use crate::membership::Sizes;

impl Membership {
    /// What it holds at the moment.
    pub fn sizes(&self) -> Sizes {
        let (messages, events) = self.out.lens();
        Sizes {
            members: self.claims.table().live_count(),
            tombstones: self.claims.table().tombstone_count(),
            suspicions: self.claims.suspicions().len(),
            rumors: self.claims.rumors().len(),
            broadcasts: self.claims.rumors().broadcast_count(),
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
