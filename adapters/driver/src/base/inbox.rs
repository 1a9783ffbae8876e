//! [`Inbox`]: what connections have for the node task.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use chinwag_core::membership::{Destination, StreamPeer};

use crate::base::limits::{INBOX_FAILURES_MAX, INBOX_FRAMES_MAX};
use crate::base::sync::{Bell, lock};

/// What connections have for the node task, and the bell that wakes it.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Rung whenever the node task has something to look at.
    pub(crate) bell: Bell,
    arrivals: Mutex<Arrivals>,
}

/// A dial that came to nothing.
pub(crate) struct DialFailure {
    pub(crate) addr: SocketAddr,
    /// In the system's words.
    pub(crate) why: String,
    /// Whether the host refused the connection, which is evidence that nothing listens there.
    pub(crate) is_refused: bool,
}

/// The contents of an [`Inbox`].
#[derive(Default)]
pub(crate) struct Arrivals {
    /// Gossip frames, each with the peer that sent it.
    pub(crate) frames: Vec<(StreamPeer, Bytes)>,
    /// Where gossip did not arrive.
    pub(crate) failures: Vec<Destination>,
    /// Peers whose hello named another cluster, and that cluster's name.
    pub(crate) foreigners: Vec<(SocketAddr, String)>,
    /// Addresses that were dialled and not connected.
    pub(crate) dial_failures: Vec<DialFailure>,
    /// Look-ups of seeds that have ended, by their numbers.
    pub(crate) lookups: Vec<(u64, io::Result<Vec<SocketAddr>>)>,
    /// Whether the user has changed the list of seeds.
    pub(crate) has_new_seeds: bool,
}

impl Arrivals {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
            && self.failures.is_empty()
            && self.foreigners.is_empty()
            && self.dial_failures.is_empty()
            && self.lookups.is_empty()
            && !self.has_new_seeds
    }
}

impl Inbox {
    /// Adds a gossip frame. Returns `false` when the node task is behind and the frame was shed.
    #[must_use]
    pub(crate) fn post_gossip(&self, peer: StreamPeer, frame: Bytes) -> bool {
        self.post(|arrivals| push(&mut arrivals.frames, (peer, frame), INBOX_FRAMES_MAX))
    }

    /// Adds a destination that gossip did not reach. Shed when the node task is behind.
    pub(crate) fn post_failure(&self, to: Destination) {
        self.post(|arrivals| push(&mut arrivals.failures, to, INBOX_FAILURES_MAX));
    }

    /// Adds a peer whose hello named another cluster. Shed when the node task is behind.
    pub(crate) fn post_foreigner(&self, from: SocketAddr, cluster: String) {
        self.post(|arrivals| push(&mut arrivals.foreigners, (from, cluster), INBOX_FAILURES_MAX));
    }

    /// Adds an address, perhaps a seed's, that was dialled and not connected. Shed when the node
    /// task is behind.
    pub(crate) fn post_dial_failure(&self, failure: DialFailure) {
        self.post(|arrivals| push(&mut arrivals.dial_failures, failure, INBOX_FAILURES_MAX));
    }

    /// Adds what a look-up of a seed gave. There are never more than
    /// [`LOOKUPS_MAX`](crate::limits::LOOKUPS_MAX) on their way, so none is shed.
    pub(crate) fn post_lookup(&self, number: u64, answer: io::Result<Vec<SocketAddr>>) {
        self.post(|arrivals| {
            arrivals.lookups.push((number, answer));
            true
        });
    }

    /// Says that the list of seeds is another one.
    pub(crate) fn post_new_seeds(&self) {
        self.post(|arrivals| {
            arrivals.has_new_seeds = true;
            true
        });
    }

    /// Takes everything that has arrived.
    pub(crate) fn take(&self) -> Arrivals {
        std::mem::take(&mut lock(&self.arrivals))
    }

    fn post(&self, add: impl FnOnce(&mut Arrivals) -> bool) -> bool {
        let is_added = add(&mut lock(&self.arrivals));
        if is_added {
            self.bell.ring();
        }
        is_added
    }
}

/// Adds `item` unless `list` is full, and returns whether it did.
fn push<T>(list: &mut Vec<T>, item: T, len_max: usize) -> bool {
    let has_room = list.len() < len_max;
    if has_room {
        list.push(item);
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_bounded_by_itself_and_taking_empties_all() {
        let inbox = Inbox::default();
        let addr: SocketAddr = ([127, 0, 0, 1], 1).into();
        let peer = StreamPeer { id: 1.into(), epoch: chinwag_core::id::Epoch::new(1), addr };
        for _ in 0..INBOX_FRAMES_MAX {
            assert!(inbox.post_gossip(peer, Bytes::new()));
        }
        assert!(!inbox.post_gossip(peer, Bytes::new()), "the frame that is one too many is shed");
        for _ in 0..=INBOX_FAILURES_MAX {
            inbox.post_failure(Destination { addr, id: None });
            inbox.post_foreigner(addr, "other".into());
            let why = String::from("refused");
            inbox.post_dial_failure(DialFailure { addr, why, is_refused: true });
        }
        let taken = inbox.take();
        assert_eq!(taken.frames.len(), INBOX_FRAMES_MAX);
        assert_eq!(taken.failures.len(), INBOX_FAILURES_MAX);
        assert_eq!(taken.foreigners.len(), INBOX_FAILURES_MAX);
        assert_eq!(taken.dial_failures.len(), INBOX_FAILURES_MAX);
        assert!(inbox.take().is_empty());
        assert!(inbox.post_gossip(peer, Bytes::new()), "there is room again");
    }
}
