//! [`Opened`]: what came of a datagram that was received.

use super::Salt;
use super::keyring::KeyId;
use crate::clock::Timestamp;
use crate::id::{Epoch, NodeId};

/// What a [`Seal`](super::Seal) has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams sealed.
    pub sealed: u64,
    /// Datagrams opened.
    pub opened: u64,
    /// Of those opened: datagrams of a session that may be a replay, so that only pings in them are
    /// answered.
    pub unproven: u64,
    /// Datagrams that were not sealed, and were refused.
    pub plain: u64,
    /// Datagrams that were not sealed, and were heard in
    /// [`Mode::Transitional`](super::Mode::Transitional).
    pub plain_in: u64,
    /// Datagrams that were sent in clear in
    /// [`Mode::Transitional`](super::Mode::Transitional).
    pub plain_out: u64,
    /// Sealed datagrams that were too short, or had a counter out of range.
    pub malformed: u64,
    /// Datagrams sealed with a key that this node does not have.
    pub unknown_key: u64,
    /// Datagrams that had been received before, or were overtaken by too many.
    pub replayed: u64,
    /// Datagrams whose tag was wrong: forged, damaged, or sealed for another node.
    pub forged: u64,
}

/// A datagram that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the plain payload is, in the bytes that were opened.
    pub(super) start: usize,
    pub(super) end: usize,
    /// `None` if it was not sealed.
    pub(super) by: Option<SealedBy>,
    pub(super) is_proven: bool,
}

/// Who sealed a datagram, and as which of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedBy {
    pub(super) salt: Salt,
    pub(super) key_id: KeyId,
    pub(super) counter: u64,
    pub(super) stamp: Timestamp,
    pub(super) sender: NodeId,
    pub(super) epoch: Epoch,
}

impl Opened {
    /// The plain payload, as the sender's machine wrote it, in the bytes that were opened.
    pub fn payload<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        &datagram[self.start..self.end]
    }

    /// Whether it was sealed. In [`Mode::Required`](super::Mode::Required) every one was.
    pub fn is_sealed(&self) -> bool {
        self.by.is_some()
    }

    /// Whether it is certain that the datagram was not received before. If not, it is for
    /// [`Membership::handle_unproven`](crate::membership::Membership::handle_unproven), and for
    /// [`Seal::prove`](super::Seal::prove) if that says so.
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }
}

/// Why a datagram was not opened. It is counted, and nothing else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not sealed.
    Plain,
    /// It is too short, its counter is out of range, or its session has another sender.
    Malformed,
    /// This node does not have the key.
    UnknownKey(KeyId),
    /// Its counter was taken before, or is too old to tell.
    Replayed,
    /// Its tag is wrong.
    Forged,
}
