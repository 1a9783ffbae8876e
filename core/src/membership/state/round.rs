//! The probe round in progress, if there is one (`docs/protocol.md` §4.3).

use core::time::Duration;

use smallvec::SmallVec;

use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::state::ring::Slot;
use crate::time::Instant;
use crate::wire::datagram::Run;

/// Whether a round runs, and when something happens next.
#[derive(Debug)]
pub(crate) enum Probe {
    /// No round runs.
    Idle {
        /// When the next round begins.
        due: Instant,
    },
    /// A member is on trial.
    Running(Round),
}

/// The trial of one member.
#[derive(Debug)]
pub(crate) struct Round {
    /// When helpers are asked or the verdict falls.
    pub(crate) due: Instant,
    pub(crate) began: Instant,
    pub(crate) ends: Instant,
    pub(crate) target: Run,
    /// The place of the target's record when the round began. The record may have been forgotten
    /// since, and the place given to another.
    pub(crate) slot: Slot,
    /// The life of the target that is on trial. A claim about a later life counts as an answer.
    pub(crate) life: (Epoch, Incarnation),
    pub(crate) seq: u32,
    pub(crate) stage: Stage,
}

/// How far a round has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The target itself has been pinged.
    Direct,
    /// Others have been asked to ping it.
    Indirect {
        /// Members that were asked.
        relays: SmallVec<[NodeId; 4]>,
        /// Those of them that got no answer either.
        nacks: SmallVec<[NodeId; 4]>,
    },
}

impl Probe {
    pub(crate) fn due(&self) -> Instant {
        match self {
            Self::Idle { due } => *due,
            Self::Running(round) => round.due,
        }
    }

    /// The place of the record of the member on trial: a guess, see [`Round::slot`].
    pub(crate) fn slot(&self) -> Option<Slot> {
        match self {
            Self::Idle { .. } => None,
            Self::Running(round) => Some(round.slot),
        }
    }

    /// Ends the round with no verdict; the next begins at `due`.
    pub(crate) fn abandon(&mut self, due: Instant) {
        *self = Self::Idle { due };
    }

    /// Goes on after a time with nobody to probe. A deadline left over from before would look like
    /// a pause (§4.4.1).
    pub(crate) fn resume(&mut self, now: Instant, wait: Duration) {
        if matches!(self, Self::Running(_)) || self.due() <= now {
            self.abandon(now + wait);
        }
    }

    /// The round that waits for an answer with this number about this run, if there is one.
    pub(crate) fn awaiting(&mut self, seq: u32, subject: Run) -> Option<&mut Round> {
        match self {
            Self::Running(round) if round.seq == seq && round.target == subject => Some(round),
            _ => None,
        }
    }
}

impl Round {
    /// Members that were asked to ping the target.
    pub(crate) fn relays(&self) -> &[NodeId] {
        match &self.stage {
            Stage::Direct => &[],
            Stage::Indirect { relays, .. } => relays,
        }
    }

    /// Counts the nack of a member that was asked. Answers whether it was one and is the first.
    pub(crate) fn nacked(&mut self, relay: NodeId) -> bool {
        let Stage::Indirect { relays, nacks } = &mut self.stage else { return false };
        let is_first = relays.contains(&relay) && !nacks.contains(&relay);
        if is_first {
            nacks.push(relay);
        }
        is_first
    }

    /// Members that were asked and have not nacked.
    pub(crate) fn missing_nacks(&self) -> usize {
        match &self.stage {
            Stage::Direct => 0,
            Stage::Indirect { relays, nacks } => relays.len() - nacks.len(),
        }
    }
}
