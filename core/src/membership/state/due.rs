//! The earliest of many deadlines, and why it is one.

use crate::time::Instant;

/// Why [`Membership::poll_timeout`](crate::membership::Membership::poll_timeout) names the instant
/// it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TimeoutReason {
    /// A probe begins, asks helpers, or ends.
    Probe,
    /// A suspicion runs out.
    Suspicion,
    /// A relayed probe is nacked or given up.
    Relay,
    /// A question about a claimant has gone unanswered.
    Check,
    /// Rumours wait.
    Gossip,
    /// A table exchange begins or fails.
    Sync,
    /// The seeds are wanted.
    Join,
    /// A dead member is tried.
    Reconnect,
    /// The farewell is repeated or over.
    Leave,
    /// A tombstone is forgotten.
    Tombstone,
}

/// The earliest deadline so far, and among equals the one offered first. This is asked for several
/// times an input, so it keeps two words and no list. The end of all time stands for none: nothing
/// is due 584 years after a node's start.
pub(crate) struct First {
    pub(crate) at: Instant,
    pub(crate) reason: TimeoutReason,
}

impl First {
    #[inline]
    pub(crate) fn offer(&mut self, at: Option<Instant>, reason: TimeoutReason) {
        if let Some(at) = at
            && at < self.at
        {
            *self = Self { at, reason };
        }
    }
}
