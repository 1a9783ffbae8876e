//! The questions about claimants that are open (`docs/protocol.md` §4.9).

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::id::Incarnation;
use crate::membership::State;
use crate::membership::state::outbox::Destination;
use crate::time::Instant;
use crate::wire::datagram::Run;
use crate::wire::update::{Accusers, Details, Update};

/// An alive claim that waits for an answer.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) run: Run,
    pub(crate) incarnation: Incarnation,
    pub(crate) versions: u8,
    pub(crate) addr: SocketAddr,
    pub(crate) metadata: Vec<u8>,
}

impl Claim {
    pub(crate) fn of(update: &Update<'_>, details: &Details<'_>) -> Self {
        Self {
            run: Run { id: update.id, epoch: update.epoch },
            incarnation: details.incarnation,
            versions: details.versions,
            addr: details.addr,
            metadata: details.metadata.to_vec(),
        }
    }

    pub(crate) fn update(&self) -> Update<'_> {
        let details = Details {
            incarnation: self.incarnation,
            versions: self.versions,
            addr: self.addr,
            metadata: &self.metadata,
        };
        Update {
            id: self.run.id,
            epoch: self.run.epoch,
            incarnation: self.incarnation,
            state: State::Alive,
            accusers: Accusers::new(),
            age: None,
            details: Some(details),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Question {
    /// Is the incumbent of the claimant's id still there? If not, the claimant is admitted.
    Incumbent { incumbent: Destination, claimant: Destination, exchange: u32, is_joining: bool },
    /// Is the claimant there?
    Claimant,
}

#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) seq: u32,
    /// Who has to answer.
    pub(crate) asked: Run,
    pub(crate) claim: Claim,
    pub(crate) question: Question,
    pub(crate) ends: Instant,
}

/// The questions that are open.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) open: Vec<Check>,
    pub(crate) due: Option<Instant>,
    /// Conflicts already reported: the rival and where it is.
    pub(crate) reported: Vec<(Run, SocketAddr)>,
}

impl Checks {
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Questions that are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Conflicts that were reported.
    pub(crate) fn reported_len(&self) -> usize {
        self.reported.len()
    }

    pub(crate) fn refresh(&mut self) {
        self.due = self.open.iter().map(|check| check.ends).min();
    }

    /// Gives every open question `by` more time: the node itself was asleep for as long.
    pub(crate) fn extend_all(&mut self, by: core::time::Duration) {
        for check in &mut self.open {
            check.ends = check.ends + by;
        }
        self.refresh();
    }
}
