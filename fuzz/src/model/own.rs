//! What the node says of itself, and how it answers what others say of it (§4.2, §4.9.3).

use std::cmp::Ordering;
use std::net::SocketAddr;

use super::claim::EPOCH_MAX;
use super::{Claim, Outcome, State, Why, metadata};

/// The node's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Who.
    pub id: u64,
    /// Which run.
    pub epoch: u64,
    /// What it has said about itself, counted.
    pub incarnation: u32,
    /// Alive until it leaves.
    pub state: State,
    /// Where it is.
    pub address: SocketAddr,
    /// The lowest and the highest protocol version it speaks.
    pub versions: (u8, u8),
    /// Its metadata as on the wire.
    pub metadata: Vec<u8>,
}

impl Own {
    /// A run that begins: incarnation 0, version 1, no metadata.
    pub fn new(id: u64, epoch: u64, address: SocketAddr) -> Own {
        Own {
            id,
            epoch,
            incarnation: 0,
            state: State::Alive,
            address,
            versions: (1, 1),
            metadata: Vec::new(),
        }
    }

    /// A claim about this node.
    pub(super) fn hear(&mut self, claim: &Claim) -> Outcome {
        // §4.2: after `leave` a node refutes nothing.
        if self.state == State::Left {
            return Outcome::Nothing;
        }
        // §4.9.3: its own id lives at another address, which is asked; an earlier run there is its
        // own past.
        let is_elsewhere =
            claim.details.as_ref().is_some_and(|details| details.address != self.address);
        if is_elsewhere && claim.state.is_live() {
            return if claim.epoch >= self.epoch { Outcome::Waits } else { Outcome::Nothing };
        }
        match claim.epoch.cmp(&self.epoch) {
            // §4.2: a later epoch of itself, at its own address or without one. Its clock ran back.
            Ordering::Greater => self.move_past(claim.epoch),
            // §4.2, refutation. Literally "not less than its own record"; the node's own record,
            // heard back, is not less either and is certainly meant to change nothing,
            // so only what is greater is refuted.
            Ordering::Equal if claim.rank() > (self.incarnation, State::Alive) => {
                match self.incarnation.max(claim.incarnation).checked_add(1) {
                    Some(next) => {
                        self.incarnation = next;
                        Outcome::Refuted
                    }
                    // §1.3, §4.2: past the end of incarnations to the next epoch.
                    None => self.move_past(self.epoch),
                }
            }
            // §4.2 (D7): an accusation of an earlier life is answered with the present record.
            Ordering::Equal | Ordering::Less if claim.state != State::Alive => Outcome::Answered,
            Ordering::Equal | Ordering::Less => Outcome::Nothing,
        }
    }

    /// §4.9.3: the later run elsewhere is silent. It was this node's own, and is passed.
    pub(super) fn pass(&mut self, epoch: u64) -> Outcome {
        if self.state == State::Left || epoch < self.epoch {
            return Outcome::Nothing;
        }
        self.move_past(epoch)
    }

    /// §1.3: every change of metadata raises the incarnation. `false` if it is not metadata, or the
    /// run has left or ended.
    pub(super) fn set_metadata(&mut self, metadata: Vec<u8>) -> bool {
        if metadata::pairs(&metadata).is_none() || self.state == State::Left {
            return false;
        }
        if metadata == self.metadata {
            return true;
        }
        if let Some(next) = self.incarnation.checked_add(1) {
            self.incarnation = next;
        } else if self.move_past(self.epoch) != Outcome::MovedOn {
            return false;
        }
        self.metadata = metadata;
        true
    }

    /// §4.2: "it moves to the epoch after that, incarnation 0". §4.9: at the end of all epochs the
    /// claim is left standing.
    fn move_past(&mut self, epoch: u64) -> Outcome {
        if epoch >= EPOCH_MAX {
            return Outcome::Refused(Why::EndOfEpochs);
        }
        self.epoch = epoch + 1;
        self.incarnation = 0;
        Outcome::MovedOn
    }
}
