//! How far the node has left (`docs/protocol.md` §4.11).

use smallvec::SmallVec;

use crate::id::NodeId;
use crate::time::Instant;

#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) seq: u32,
    pub(crate) needed: usize,
    pub(crate) acked: SmallVec<[NodeId; 4]>,
    pub(crate) next_at: Instant,
    pub(crate) ends: Instant,
}

/// Whether and how far the node has left.
#[derive(Debug, Default)]
pub(crate) struct Leave {
    pub(crate) running: Option<Farewell>,
    pub(crate) has_begun: bool,
}

impl Leave {
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the farewell is over: the node hears and says nothing more.
    pub(crate) fn is_done(&self) -> bool {
        self.has_begun && self.running.is_none()
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.running.as_ref().map(|farewell| farewell.next_at.min(farewell.ends))
    }
}
