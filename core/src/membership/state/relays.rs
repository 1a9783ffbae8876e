//! The probes that are relayed for others at this moment (`docs/protocol.md` §4.3).

use alloc::vec::Vec;

use crate::membership::state::outbox::{Destination, Plane};
use crate::time::Instant;
use crate::wire::datagram::Run;

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) seq: u32,
    pub(crate) target: Run,
    pub(crate) asker: Destination,
    pub(crate) asker_plane: Plane,
    pub(crate) asker_seq: u32,
    /// `None` once the nack is out, or if none is wanted.
    pub(crate) nack_at: Option<Instant>,
    pub(crate) ends: Instant,
}

impl Relay {
    pub(crate) fn due(&self) -> Instant {
        self.nack_at.unwrap_or(self.ends)
    }
}

/// The probes relayed at this moment.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    pub(crate) running: Vec<Relay>,
    /// The earliest of their deadlines, kept so that asking for it does not walk them.
    pub(crate) due: Option<Instant>,
}

impl Relays {
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn refresh(&mut self) {
        self.due = self.running.iter().map(Relay::due).min();
    }

    /// Drops what should have ended by now, with no nack: the node itself was asleep.
    pub(crate) fn drop_overdue(&mut self, now: Instant) {
        self.running.retain(|relay| relay.due() > now);
        self.refresh();
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }
}
