//! An entry of the member table as users see it, and the order of claims about it.

use core::fmt;
use core::net::SocketAddr;

use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::Metadata;

/// What is believed about a member, in rising precedence within one incarnation (`docs/protocol.md`
/// §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It answers.
    Alive,
    /// Somebody's probe of it failed; it has until the end of the suspicion to refute.
    Suspect,
    /// Its suspicion ran out. It is remembered, so that old news does not bring it back.
    Dead,
    /// It said goodbye.
    Left,
}

impl State {
    /// Whether a member in this state is in the view: [`Alive`](Self::Alive) or
    /// [`Suspect`](Self::Suspect).
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }

    /// The state in lower case, as the `agent` example prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known about one member at one version of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
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
