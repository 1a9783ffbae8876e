//! An entry of the member table as users see it, and the order of claims about it.

use core::net::SocketAddr;

use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::{Metadata, State};

/// What is known about one member at one version of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Who.
    pub id: NodeId,
    /// Which run.
    pub epoch: Epoch,
    /// How often that run has spoken about itself.
    pub incarnation: Incarnation,
    /// What is believed about it.
    pub state: State,
    /// Where its datagrams and connections go.
    pub addr: SocketAddr,
    /// What it says about itself.
    pub metadata: Metadata,
}

impl Member {
    /// A member that is alive, in its first incarnation, and says nothing about itself. For tests
    /// of what reads members; a node gets its own from [`Snapshot`](crate::membership::Snapshot)s
    /// and events.
    pub fn new(id: NodeId, epoch: Epoch, addr: SocketAddr) -> Self {
        let (incarnation, state, metadata) = (Incarnation::new(0), State::Alive, Metadata::new());
        Self { id, epoch, incarnation, state, addr, metadata }
    }

    /// The member's data centre, empty if it names none.
    pub fn data_center(&self) -> &str {
        self.metadata.data_center()
    }
}

/// The order of claims about one member: a later run beats an earlier one, then a later
/// incarnation, then the graver state. Merging is taking the maximum, so the order of arrival does
/// not matter (§4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: Incarnation,
    pub(crate) state: State,
}

impl Rank {
    /// Which word of the member this is about, whatever its state.
    pub(crate) const fn life(self) -> (Epoch, Incarnation) {
        (self.epoch, self.incarnation)
    }
}
