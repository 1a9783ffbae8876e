//! User payloads: to all, at most once each, by rumour; and to one (`docs/protocol.md` §4.10).

use alloc::collections::BTreeMap;
use core::fmt;

use bytes::Bytes;

use crate::id::{Epoch, NodeId};
use crate::membership::outbox::{Body, Intent, Plane};
use crate::membership::rumors::{Broadcast, Rumor};
use crate::membership::{BROADCAST_LEN_MAX, BROADCASTS_MAX, Event, MESSAGE_LEN_MAX, Membership};
use crate::time::Now;
use crate::wire::datagram::{HEADER_LEN, MESSAGE_HEADER_LEN, Run};

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
struct Window {
    epoch: Epoch,
    newest: u32,
    /// Bit n: number `newest - n` has been seen.
    seen: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    New,
    Seen,
    TooOld,
}

impl Window {
    /// Counts `seq` in.
    fn admit(&mut self, seq: u32) -> Verdict {
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
    sent: u32,
    windows: BTreeMap<NodeId, Window>,
}

impl Broadcasts {
    /// Origins whose numbers are remembered.
    pub(crate) fn origins_len(&self) -> usize {
        self.windows.len()
    }

    pub(crate) fn forget(&mut self, origin: NodeId) {
        self.windows.remove(&origin);
    }

    fn admit(&mut self, origin: Run, seq: u32) -> Verdict {
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

impl Membership {
    /// Sends `payload` to every member, by rumour; each gives it out at most once. Members that
    /// join later, and those that a partition hides for as long as the rumour lives, do not get
    /// it.
    ///
    /// # Errors
    /// [`BroadcastError`]; nothing is sent.
    pub fn broadcast(&mut self, now: Now, payload: &[u8]) -> Result<(), BroadcastError> {
        if self.leave.has_begun() {
            return Err(BroadcastError::HasLeft);
        }
        if payload.len() > BROADCAST_LEN_MAX {
            return Err(BroadcastError::TooLong { len: payload.len() });
        }
        if self.rumors.broadcast_count() >= BROADCASTS_MAX {
            return Err(BroadcastError::Full);
        }
        if !self.is_joined() {
            return Ok(());
        }
        self.broadcasts.sent += 1;
        let own = self.table.local();
        let origin = Run { id: own.id, epoch: own.epoch };
        let payload = Bytes::copy_from_slice(payload);
        self.rumors.push(Rumor::Broadcast(Broadcast {
            origin,
            seq: self.broadcasts.sent,
            payload,
        }));
        self.arm_gossip(now);
        Ok(())
    }

    /// Sends `payload` to one member, once, with no acknowledgement: by datagram if it fits one,
    /// else by stream.
    ///
    /// # Errors
    /// [`SendError`]; nothing is sent.
    pub fn send_to(&mut self, to: NodeId, payload: Bytes) -> Result<(), SendError> {
        if self.leave.has_begun() {
            return Err(SendError::HasLeft);
        }
        if payload.len() > MESSAGE_LEN_MAX {
            return Err(SendError::TooLong { len: payload.len() });
        }
        let slot = self.table.find(to).filter(|_| to != self.local_id());
        let slot = slot.filter(|&slot| self.table.get(slot).state.is_live());
        let slot = slot.ok_or(SendError::UnknownMember(to))?;
        let len = HEADER_LEN + MESSAGE_HEADER_LEN + 3 + payload.len();
        let plane =
            if len <= self.config.datagram_len_max { Plane::Datagram } else { Plane::Stream };
        let intent = Intent {
            to: self.destination(slot),
            plane,
            body: Body::Payload(payload),
            peer: Some(slot),
            tells_own: false,
            carries_rumors: true,
        };
        self.send(intent);
        Ok(())
    }

    pub(super) fn on_broadcast(&mut self, now: Now, origin: Run, seq: u32, payload: &[u8]) {
        let is_known = self.table.find(origin.id).is_some() && origin.id != self.local_id();
        if !is_known || payload.len() > BROADCAST_LEN_MAX {
            self.stats.broadcasts_stale += 1;
            return;
        }
        match self.broadcasts.admit(origin, seq) {
            Verdict::Seen => self.stats.broadcasts_seen += 1,
            Verdict::TooOld => self.stats.broadcasts_stale += 1,
            Verdict::New => {
                let payload = Bytes::copy_from_slice(payload);
                if self.rumors.broadcast_count() < BROADCASTS_MAX {
                    let payload = payload.clone();
                    self.rumors.push(Rumor::Broadcast(Broadcast { origin, seq, payload }));
                    self.arm_gossip(now);
                } else {
                    self.stats.broadcasts_shed += 1;
                }
                self.tell(Event::Broadcast { from: origin.id, payload });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_admits_each_number_once_and_no_number_it_cannot_tell() {
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
