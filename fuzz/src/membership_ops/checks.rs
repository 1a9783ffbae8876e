//! [`Checks`]: which addresses the machine asks about which claim, and what they have answered
//! (`docs/protocol.md` §4.9.1).

use std::net::SocketAddr;
use std::time::Duration;

use chinwag_core::time::Instant;

use crate::model::{self, Record};
use crate::packet::Run;

/// One run that is asked at one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) seq: u32,
    pub(super) run: Run,
    pub(super) has_answered: bool,
}

impl Side {
    fn answer(side: Option<Self>, is_over: bool) -> Option<bool> {
        match side {
            Some(side) if side.has_answered => Some(true),
            _ => is_over.then_some(false),
        }
    }
}

/// What is asked about one claim.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// The claim: its id and epoch.
    pub(super) run: model::Run,
    pub(super) claimed: Option<Side>,
    pub(super) held: Option<Side>,
    pub(super) ends: Instant,
    /// The held run is silent: what was known of it when it was last looked at.
    pub(super) waits_on: Option<Record>,
}

impl Check {
    /// What both addresses have answered by `now`.
    pub(super) fn answers(&self, now: Instant) -> (Option<bool>, Option<bool>) {
        let is_over = self.ends <= now || self.waits_on.is_some();
        (Side::answer(self.claimed, is_over), Side::answer(self.held, is_over))
    }
}

/// The open ones.
#[derive(Default)]
pub(super) struct Checks(pub(super) Vec<Check>);

impl Checks {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn about(&self, run: model::Run) -> Option<usize> {
        self.0.iter().position(|check| check.run == run)
    }

    /// The numbers of the pings that ask.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let sides = self.0.iter().flat_map(|check| [check.claimed, check.held]);
        sides.flatten().map(|side| side.seq).collect()
    }

    /// The ping with this number is answered: which claim is decided over that.
    pub(super) fn answered(&mut self, seq: u32, subject: Run) -> Option<usize> {
        for (at, check) in self.0.iter_mut().enumerate() {
            let sides = check.claimed.iter_mut().chain(&mut check.held);
            for side in sides.filter(|side| side.seq == seq && side.run == subject) {
                side.has_answered = true;
                return Some(at);
            }
        }
        None
    }

    /// The node was asleep for so long (§4.4.1).
    pub(super) fn sleep(&mut self, by: Duration) {
        self.0.iter_mut().for_each(|check| check.ends = check.ends + by);
    }
}

/// Who is asked where: the claimed run at the claimed address, and the run that is held elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) claimed: Option<(Run, SocketAddr)>,
    pub(super) held: Option<(Run, SocketAddr)>,
}
