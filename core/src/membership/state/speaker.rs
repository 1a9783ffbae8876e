//! Who sent a payload, and how a claim came (`docs/protocol.md` §2.3, §4.2).

use crate::membership::state::member::Rank;
use crate::membership::state::outbox::{Destination, Plane};
use crate::membership::state::ring::Slot;
use crate::wire::datagram::Run;
use crate::wire::update::Update;

/// Who sent the payload that is being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker {
    pub(crate) run: Run,
    /// Where it can be answered: the source of its datagram, or its connection.
    pub(crate) reply: Destination,
    pub(crate) plane: Plane,
    /// Its record, if it is a member or was one.
    pub(crate) slot: Option<Slot>,
    /// Whether the answer may be longer than the question: the payload came from the address that
    /// its member record names, or over a connection.
    pub(crate) is_proven: bool,
}

/// How a claim came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// Beside other messages: worth telling on.
    Gossip,
    /// In a table transfer: told on only while few rumours wait (§4.7).
    Transfer,
    /// In a table transfer, over the connection of a live member at its run (§4.9).
    MemberTransfer,
    /// In the first table that a joiner gets: everybody else knows it already.
    FirstTransfer,
    /// From the member itself, which asks for the table (§4.8).
    FirstHand,
    /// After the addresses that were asked have answered: it is taken (§4.9).
    Decided,
}

impl Via {
    /// Whether it came in a table transfer, of whatever kind.
    pub(crate) const fn is_transfer(self) -> bool {
        matches!(self, Self::Transfer | Self::MemberTransfer | Self::FirstTransfer)
    }
}

/// The place of a claim in the order of claims (§4.2).
pub(crate) fn rank(update: &Update<'_>) -> Rank {
    Rank { epoch: update.epoch, incarnation: update.incarnation, state: update.state }
}
