//! Which broadcasts have been sent and seen (`docs/protocol.md` §4.10).

use alloc::collections::BTreeMap;
use core::fmt;

use crate::id::{Epoch, NodeId};
use crate::membership::{BROADCAST_LEN_MAX, BROADCASTS_MAX, MESSAGE_LEN_MAX};
use crate::wire::datagram::Run;

/// Why a broadcast was not taken; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The payload is longer than [`BROADCAST_LEN_MAX`].
    TooLong {
        /// Its length.
        len: usize,
    },
    /// [`BROADCASTS_MAX`] broadcasts wait already; later ones have room.
    Full,
    /// The node has left.
    HasLeft,
}

impl fmt::Display for BroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => {
                write!(f, "a broadcast of {len} bytes is longer than {BROADCAST_LEN_MAX}")
            }
            Self::Full => write!(f, "{BROADCASTS_MAX} broadcasts wait already"),
            Self::HasLeft => write!(f, "this node has left the cluster"),
        }
    }
}

impl core::error::Error for BroadcastError {}

/// Why a message was not sent; nothing was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The payload is longer than [`MESSAGE_LEN_MAX`].
    TooLong {
        /// Its length.
        len: usize,
    },
    /// No live member has this id.
    UnknownMember(NodeId),
    /// The node has left.
    HasLeft,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => {
                write!(f, "a message of {len} bytes is longer than {MESSAGE_LEN_MAX}")
            }
            Self::UnknownMember(id) => write!(f, "no live member has the id {id}"),
            Self::HasLeft => write!(f, "this node has left the cluster"),
        }
    }
}

impl core::error::Error for SendError {}

/// Which broadcasts of one origin have been seen: the newest number and the 127 before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) epoch: Epoch,
    pub(crate) newest: u32,
    /// Bit n: number `newest - n` has been seen.
    pub(crate) seen: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    Seen,
    TooOld,
}

impl Window {
    /// Counts `seq` in.
    pub(crate) fn admit(&mut self, seq: u32) -> Verdict {
        if seq > self.newest {
            let by = seq - self.newest;
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            self.newest = seq;
            return Verdict::New;
        }
        let Some(bit) = 1u128.checked_shl(self.newest - seq) else { return Verdict::TooOld };
        if self.seen & bit != 0 {
            return Verdict::Seen;
        }
        self.seen |= bit;
        Verdict::New
    }
}

/// What has been broadcast and seen. Windows are kept for members and tombstones only, so they are
/// as bounded.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    pub(crate) sent: u32,
    pub(crate) windows: BTreeMap<NodeId, Window>,
}

impl Broadcasts {
    /// Origins whose numbers are remembered.
    pub(crate) fn origins_len(&self) -> usize {
        self.windows.len()
    }

    pub(crate) fn forget(&mut self, origin: NodeId) {
        self.windows.remove(&origin);
    }

    pub(crate) fn admit(&mut self, origin: Run, seq: u32) -> Verdict {
        let fresh = Window { epoch: origin.epoch, newest: 0, seen: 0 };
        let window = self.windows.entry(origin.id).or_insert(fresh);
        match window.epoch.cmp(&origin.epoch) {
            core::cmp::Ordering::Greater => return Verdict::TooOld,
            core::cmp::Ordering::Less => *window = fresh,
            core::cmp::Ordering::Equal => {}
        }
        window.admit(seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    pub(crate) fn a_window_admits_each_number_once_and_no_number_it_cannot_tell() {
        let mut window = Window { epoch: Epoch::new(1), newest: 0, seen: 0 };
        assert_eq!(window.admit(3), Verdict::New);
        assert_eq!(window.admit(3), Verdict::Seen);
        assert_eq!(window.admit(1), Verdict::New);
        assert_eq!(window.admit(200), Verdict::New);
        assert_eq!(window.admit(72), Verdict::TooOld);
        assert_eq!(window.admit(73), Verdict::New);
        assert_eq!(window.admit(73), Verdict::Seen);
        assert_eq!(window.admit(u32::MAX), Verdict::New);
        assert_eq!(window.admit(u32::MAX), Verdict::Seen);
    }
}
