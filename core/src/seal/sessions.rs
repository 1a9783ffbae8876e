//! [`Sessions`]: what is remembered of those who seal datagrams for this node
//! (`docs/protocol.md` §2.9).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::mem;
use core::time::Duration;

use super::keyring::KeyId;
use super::window::Window;
use super::{Cryptography, Salt};
use crate::clock::Timestamp;
use crate::id::NodeId;
use crate::time::WallTime;

/// Sessions that are remembered at most, about 700 bytes each. Every member has one, and begins
/// another one every ten minutes.
pub const SESSIONS_MAX: usize = 8_192;

/// How old the stamp of a session's first datagram may be.
pub const STAMP_AGE_MAX: Duration = Duration::from_secs(60);

/// What follows from a salt, to open datagrams with.
pub(super) struct Subkey<C: Cryptography> {
    pub(super) key: C::Key,
    pub(super) iv: [u8; 12],
}

/// One session of one peer.
pub(super) struct Session<C: Cryptography> {
    pub(super) key_id: KeyId,
    pub(super) subkey: Subkey<C>,
    pub(super) window: Window,
    /// Who seals in it.
    pub(super) sender: NodeId,
    /// What was sealed up to this stamp may have been received before.
    floor: Timestamp,
    /// The latest stamp that a datagram of it had.
    newest: Timestamp,
}

impl<C: Cryptography> Session<C> {
    pub(super) fn new(key_id: KeyId, subkey: Subkey<C>, sender: NodeId, floor: Timestamp) -> Self {
        Self { key_id, subkey, window: Window::new(), sender, floor, newest: floor }
    }

    /// The datagram with this counter has a good tag. Whether it is new for certain: it may have
    /// been sealed, and received, before the session was known here.
    pub(super) fn take(&mut self, counter: u64, stamp: Timestamp) -> bool {
        self.window.take(counter);
        self.newest = self.newest.max(stamp);
        stamp > self.floor
    }
}

/// Sessions by salt, in two halves: when the younger half is full, the older one is forgotten. A
/// session that is used moves to the younger half.
pub(super) struct Sessions<C: Cryptography> {
    young: BTreeMap<Salt, Box<Session<C>>>,
    old: BTreeMap<Salt, Box<Session<C>>>,
    /// Nothing that was sealed up to here opens a session by its stamp: the start of this run, and
    /// the latest stamp of any session that was forgotten.
    floor: Timestamp,
}

impl<C: Cryptography> Sessions<C> {
    pub(super) fn new(started: Timestamp) -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new(), floor: started }
    }

    pub(super) fn get(&mut self, salt: &Salt) -> Option<&mut Session<C>> {
        if let Some(session) = self.old.remove(salt) {
            self.insert(*salt, session);
        }
        self.young.get_mut(salt).map(|session| &mut **session)
    }

    /// Whether a session may begin by the stamp of its first datagram alone: what was recorded
    /// before this run, or before what is remembered, may be a replay.
    pub(super) fn is_recent(&self, stamp: Timestamp, wall: WallTime) -> bool {
        stamp > self.floor && stamp > Timestamp::at(wall - STAMP_AGE_MAX)
    }

    pub(super) fn floor(&self) -> Timestamp {
        self.floor
    }

    pub(super) fn insert(&mut self, salt: Salt, session: Box<Session<C>>) {
        if self.young.len() >= SESSIONS_MAX / 2 {
            for (_, forgotten) in mem::take(&mut self.old) {
                self.floor = self.floor.max(forgotten.newest);
            }
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(salt, session);
    }

    /// Sessions under a key that is removed are forgotten. It may be installed again: what was
    /// sealed in them up to now does not open a session then.
    pub(super) fn remove_key(&mut self, id: KeyId) {
        for half in [&mut self.young, &mut self.old] {
            half.retain(|_, session| {
                if session.key_id == id {
                    self.floor = self.floor.max(session.newest);
                }
                session.key_id != id
            });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
