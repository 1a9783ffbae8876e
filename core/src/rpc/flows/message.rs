//! What waits in a flow: [`Message`], whose it is, and what all of it counts.

use super::super::config::COPY_LEN_MAX;
use super::super::content::Content;
use super::super::event::CallId;
use super::super::frame::{FrameHeader, Kind};
use super::super::headers::Headers;
use crate::clock::Timestamp;
use crate::time::Instant;

/// Whose messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::rpc) enum Owner {
    /// A call made here.
    Call(CallId),
    /// A call of the peer.
    Inbound(u32),
    /// A one-way message has no call.
    Nobody,
}

/// A message that waits.
#[derive(Debug)]
pub(in crate::rpc) struct Message {
    pub(in crate::rpc) header: FrameHeader,
    pub(in crate::rpc) stamp: Timestamp,
    pub(in crate::rpc) deadline: Option<Instant>,
    pub(in crate::rpc) headers: Headers,
    pub(in crate::rpc) content: Content,
    /// Of a request whose call streams: its largest chunk, 0 if it says nothing.
    pub(in crate::rpc) chunk_len_max: u32,
}

/// Bytes of bodies and headers that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rpc) struct Lens {
    pub(in crate::rpc) all: usize,
    /// Of answers, and of chunks to the peer's calls.
    pub(in crate::rpc) inbound: usize,
    /// Of answers.
    pub(in crate::rpc) answers: usize,
    /// Of answers that wait for credit, not for the socket.
    pub(in crate::rpc) parked: usize,
}

impl Lens {
    /// A message waits, which is so long.
    pub(in crate::rpc) fn add(&mut self, message: &Message, owner: Owner, len: usize) {
        self.all += len;
        self.inbound += if matches!(owner, Owner::Inbound(_)) { len } else { 0 };
        self.answers += if message.header.kind == Kind::Response { len } else { 0 };
    }

    /// So much of a message waits no more.
    pub(in crate::rpc) fn sub(&mut self, message: &Message, owner: Owner, len: usize) {
        self.all -= len;
        self.inbound -= if matches!(owner, Owner::Inbound(_)) { len } else { 0 };
        self.answers -= if message.header.kind == Kind::Response { len } else { 0 };
    }
}

impl Message {
    /// Bytes of its body and its header.
    pub(in crate::rpc) fn len(&self) -> usize {
        self.content.len() + FrameHeader::LEN
    }

    /// Whether it is an answer that counts in their window (§5.12.7).
    pub(in crate::rpc) fn takes_credit(&self) -> bool {
        self.header.kind == Kind::Response && self.content.len() > COPY_LEN_MAX
    }
}

/// The hash of a flow of this owner.
pub(in crate::rpc) fn hash(owner: Owner) -> u64 {
    crate::rng::mix(match owner {
        Owner::Call(call) => u64::from(call.serial) | 2 << 32,
        Owner::Inbound(call) => u64::from(call) | 1 << 32,
        Owner::Nobody => u64::MAX,
    })
}
