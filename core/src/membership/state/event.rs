//! What a node is told: [`Event`], and the [`Snapshot`] that folding events gives.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;

use crate::id::NodeId;
use crate::membership::Member;

/// What happened, in order.
///
/// The first six are changes of the view; each carries the member as it is after the change, and
/// folding them over an empty map (insert for `Joined`, `Suspected`, `Recovered`, `Updated`; remove
/// for `Died`, `Left`) gives exactly [`Snapshot::members`]. None of them is ever about the local
/// node.
/// Events in their order fold to exactly the view (`docs/protocol.md` §4.13).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A member is new, is back from the dead, or is another run than before (its epoch differs).
    Joined(Member),
    /// A probe of the member failed somewhere.
    Suspected(Member),
    /// A suspected member has refuted.
    Recovered(Member),
    /// A suspicion ran out.
    Died(Member),
    /// The member left in good order.
    Left(Member),
    /// The member's incarnation or metadata changed.
    Updated(Member),
    /// Two live nodes claim one id. Reported at both, and at the members that noticed; the same
    /// pair at most once in [`CONFLICT_QUIET`](crate::membership::CONFLICT_QUIET). The node that
    /// was there stays.
    Conflict {
        /// The id.
        id: NodeId,
        /// Where this node knows the id: its own address, if the id is its own.
        known: SocketAddr,
        /// Where the other claimant is.
        other: SocketAddr,
    },
    /// An earlier run of this node's id is known to the cluster and does not answer. This node is
    /// let in when that run has been silent for as long as the cluster forgives.
    Waiting {
        /// Where the earlier run was.
        addr: SocketAddr,
    },
    /// No other live member is in the view: the last one is gone, or the first round of joining
    /// found nobody (§4.8.1). Told once until another member is there.
    Isolated,
    /// A node of another cluster talks to this one, or was talked to; said once per address or
    /// name, for a bounded number of them.
    ForeignCluster {
        /// Where it is.
        from: SocketAddr,
        /// Its cluster's name, known where it was met on a stream; datagrams carry a hash only.
        cluster: Option<Arc<str>>,
    },
    /// So many events were shed since the last one because nobody took them: read the snapshot.
    Lost(u64),
    /// A payload that `from` broadcast to all; given out at most once.
    Broadcast {
        /// Who broadcast it.
        from: NodeId,
        /// What.
        payload: Bytes,
    },
    /// A payload that `from` sent to this node.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What.
        payload: Bytes,
    },
    /// The leave is done: enough members acknowledged it, there was nobody to tell, or its time ran
    /// out.
    LeaveCompleted {
        /// Members that acknowledged.
        acked: u32,
        /// Acknowledgements that were wanted.
        needed: u32,
    },
}

impl Event {
    /// Its name in logs and traces, in small letters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Joined(_) => "joined",
            Self::Suspected(_) => "suspected",
            Self::Recovered(_) => "recovered",
            Self::Died(_) => "died",
            Self::Left(_) => "left",
            Self::Updated(_) => "updated",
            Self::Conflict { .. } => "conflict",
            Self::Waiting { .. } => "waiting",
            Self::Isolated => "isolated",
            Self::ForeignCluster { .. } => "foreign",
            Self::Lost(_) => "lost",
            Self::Broadcast { .. } => "broadcast",
            Self::Message { .. } => "message",
            Self::LeaveCompleted { .. } => "leave_completed",
        }
    }

    /// The member after the change, if it is a change of the view: the six that are to be folded.
    pub const fn member(&self) -> Option<&Member> {
        match self {
            Self::Joined(member)
            | Self::Suspected(member)
            | Self::Recovered(member)
            | Self::Died(member)
            | Self::Left(member)
            | Self::Updated(member) => Some(member),
            _ => None,
        }
    }
}

/// The view at one version: the local node, and every other live member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub(crate) version: u64,
    pub(crate) local: Member,
    pub(crate) members: Vec<Member>,
}

impl Snapshot {
    /// Rises with every change of the view or of the local node.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The local node.
    pub const fn local(&self) -> &Member {
        &self.local
    }

    /// The other live members (alive or suspect), in the order of their ids.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The number of live members, this node among them.
    pub fn live(&self) -> usize {
        self.members.len() + 1
    }

    /// The other live member with this id.
    pub fn get(&self, id: NodeId) -> Option<&Member> {
        let at = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        Some(&self.members[at])
    }
}
