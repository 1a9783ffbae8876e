//! Membership's messages: a header that says who speaks, then messages one after another
//! (`docs/protocol.md` §2.3, §2.4).
//!
//! The same payload travels as a UDP datagram and as the body of a gossip frame on a stream.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::clock::Timestamp;
use crate::id::{Epoch, Fence, Incarnation, NodeId};
use crate::wire::update::{Update, decode_epoch};
use crate::wire::{Reader, VERSION_MAX, VERSION_MIN, put};

/// Bytes of the header.
pub const HEADER_LEN: usize = 36;
/// Buckets of the table digest (§4.7).
pub(crate) const BUCKETS: usize = 64;
/// Bytes before a message's body: its kind and its length.
pub(crate) const MESSAGE_HEADER_LEN: usize = 3;

/// Who speaks, in which cluster, at what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u8,
    pub(crate) fence: Fence,
    pub(crate) sender: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: Incarnation,
    pub(crate) stamp: Timestamp,
}

/// Why a header was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Malformed,
    ForeignVersion,
}

impl Header {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.version);
        out.push(0);
        put::u64(out, self.fence.get());
        put::u64(out, self.sender.get());
        put::u48(out, self.epoch.get());
        put::u32(out, self.incarnation.get());
        put::u64(out, self.stamp.get());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, HeaderError> {
        let version = reader.u8().ok_or(HeaderError::Malformed)?;
        if !(VERSION_MIN..=VERSION_MAX).contains(&version) {
            return Err(HeaderError::ForeignVersion);
        }
        Self::decode_fields(version, reader).ok_or(HeaderError::Malformed)
    }

    fn decode_fields(version: u8, reader: &mut Reader<'_>) -> Option<Self> {
        let _flags = reader.u8()?;
        Some(Self {
            version,
            fence: Fence::from_raw(reader.u64()?),
            sender: NodeId::new(reader.u64()?),
            epoch: decode_epoch(reader)?,
            incarnation: Incarnation::new(reader.u32()?),
            stamp: Timestamp::from_raw(reader.u64()?),
        })
    }
}

/// Bytes of a [`Run`] in a message.
pub(crate) const RUN_LEN: usize = 14;

/// One run of one node, as a message names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: NodeId,
    pub(crate) epoch: Epoch,
}

/// A message, with its payloads borrowed from the datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Ping { seq: u32, target: Run },
    PingReq { seq: u32, target: Run, budget_ms: u32 },
    Ack { seq: u32, subject: Run },
    Nack { seq: u32, subject: Run },
    Update(Update<'a>),
    Broadcast { origin: Run, seq: u32, payload: &'a [u8] },
    Payload { target: Run, payload: &'a [u8] },
    SyncRequest { exchange: u32, is_joining: bool, digest: Digest<'a>, own: Update<'a> },
    SyncChunk { exchange: u32, is_reply: bool, is_last: bool, mask: u64 },
    SyncBusy { exchange: u32 },
    Leave { seq: u32 },
    Conflict { rival: Run, addr: SocketAddr },
}

/// A table digest as it stands in a message: [`BUCKETS`] integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest<'a>(&'a [u8]);

impl Digest<'_> {
    /// The buckets in which this digest and `own` differ, one bit each.
    pub(crate) fn differing(self, own: &[u64; BUCKETS]) -> u64 {
        let theirs = self.0.chunks_exact(8);
        let pairs = theirs.zip(own).enumerate();
        pairs.fold(0, |mask, (at, (theirs, own))| {
            mask | (u64::from(*theirs != own.to_le_bytes()) << at)
        })
    }
}

#[cfg(feature = "fuzzing")]
impl Digest<'_> {
    /// All of it.
    pub(crate) fn buckets(self) -> [u64; BUCKETS] {
        let mut buckets = [0; BUCKETS];
        for (bucket, bytes) in buckets.iter_mut().zip(self.0.as_chunks::<8>().0) {
            *bucket = u64::from_le_bytes(*bytes);
        }
        buckets
    }
}

/// Message kinds on the wire. Numbers are never reused; an unknown one is skipped.
mod kind {
    pub(super) const PING: u8 = 1;
    pub(super) const PING_REQ: u8 = 2;
    pub(super) const ACK: u8 = 3;
    pub(super) const NACK: u8 = 4;
    pub(super) const UPDATE: u8 = 5;
    pub(super) const BROADCAST: u8 = 6;
    pub(super) const PAYLOAD: u8 = 7;
    pub(super) const SYNC_REQUEST: u8 = 8;
    pub(super) const SYNC_CHUNK: u8 = 9;
    pub(super) const SYNC_BUSY: u8 = 10;
    pub(super) const LEAVE: u8 = 11;
    pub(super) const CONFLICT: u8 = 12;
}

const IS_REPLY: u8 = 1;
const IS_LAST: u8 = 2;
const IS_JOINING: u8 = 1;

/// What the next message of a payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    Message(Message<'a>),
    /// A kind of a later version; it has been skipped.
    UnknownKind,
    /// The rest of the payload cannot be read.
    Malformed,
    End,
}

/// Takes the next message off `reader`.
#[inline]
pub(crate) fn next<'a>(reader: &mut Reader<'a>) -> Next<'a> {
    if reader.is_empty() {
        return Next::End;
    }
    let Some((kind, body)) = split(reader) else { return Next::Malformed };
    if !(kind::PING..=kind::CONFLICT).contains(&kind) {
        return Next::UnknownKind;
    }
    decode(kind, &mut Reader::new(body)).map_or(Next::Malformed, Next::Message)
}

/// Takes the next message if it is a sound update; otherwise takes nothing. Updates are nearly all
/// that is received, and on their way through [`Message`] and [`Next`] they would be copied twice.
#[inline]
pub(crate) fn next_update<'a>(reader: &mut Reader<'a>) -> Option<Update<'a>> {
    if reader.rest().first() != Some(&kind::UPDATE) {
        return None;
    }
    let mut ahead = *reader;
    let (_, body) = split(&mut ahead)?;
    let update = Update::decode(&mut Reader::new(body))?;
    *reader = ahead;
    Some(update)
}

#[inline]
fn split<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let kind = reader.u8()?;
    let len = reader.u16()?;
    Some((kind, reader.take(usize::from(len))?))
}

/// Reads the body of a known kind; bytes after its fields belong to later versions.
#[inline]
fn decode<'a>(kind: u8, body: &mut Reader<'a>) -> Option<Message<'a>> {
    Some(match kind {
        kind::PING => Message::Ping { seq: body.u32()?, target: run(body)? },
        kind::PING_REQ => {
            Message::PingReq { seq: body.u32()?, target: run(body)?, budget_ms: body.varint()? }
        }
        kind::ACK => Message::Ack { seq: body.u32()?, subject: run(body)? },
        kind::NACK => Message::Nack { seq: body.u32()?, subject: run(body)? },
        kind::UPDATE => Message::Update(Update::decode(body)?),
        kind::BROADCAST => {
            Message::Broadcast { origin: run(body)?, seq: body.u32()?, payload: body.slice()? }
        }
        kind::PAYLOAD => Message::Payload { target: run(body)?, payload: body.slice()? },
        kind::SYNC_REQUEST => Message::SyncRequest {
            exchange: body.u32()?,
            is_joining: body.u8()? & IS_JOINING != 0,
            digest: Digest(body.take(BUCKETS * 8)?),
            own: Update::decode(body)?,
        },
        kind::SYNC_CHUNK => {
            let (exchange, flags, mask) = (body.u32()?, body.u8()?, body.u64()?);
            let (is_reply, is_last) = (flags & IS_REPLY != 0, flags & IS_LAST != 0);
            Message::SyncChunk { exchange, is_reply, is_last, mask }
        }
        kind::SYNC_BUSY => Message::SyncBusy { exchange: body.u32()? },
        kind::LEAVE => Message::Leave { seq: body.u32()? },
        kind::CONFLICT => Message::Conflict { rival: run(body)?, addr: body.addr()? },
        _ => return None,
    })
}

fn run(body: &mut Reader<'_>) -> Option<Run> {
    Some(Run { id: NodeId::new(body.u64()?), epoch: decode_epoch(body)? })
}

fn put_run(out: &mut Vec<u8>, run: Run) {
    put::u64(out, run.id.get());
    put::u48(out, run.epoch.get());
}

/// Appends one message of `kind` whose body `fill` writes.
fn put_message(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let len_at = out.len();
    put::u16(out, 0);
    fill(out);
    let len = u16::try_from(out.len() - len_at - 2).expect("every message's limit is below 64 KiB");
    out[len_at..len_at + 2].copy_from_slice(&len.to_le_bytes());
}

/// Encoders, one a message kind.
pub(crate) mod encode {
    use super::{
        BUCKETS, IS_JOINING, IS_LAST, IS_REPLY, Run, Update, kind, put, put_message, put_run,
    };
    use alloc::vec::Vec;
    use core::net::SocketAddr;

    pub(crate) fn ping(out: &mut Vec<u8>, seq: u32, target: Run) {
        seq_and_run(out, kind::PING, seq, target);
    }

    pub(crate) fn ping_req(out: &mut Vec<u8>, seq: u32, target: Run, budget_ms: u32) {
        put_message(out, kind::PING_REQ, |out| {
            put::u32(out, seq);
            put_run(out, target);
            put::varint(out, budget_ms);
        });
    }

    pub(crate) fn ack(out: &mut Vec<u8>, seq: u32, subject: Run) {
        seq_and_run(out, kind::ACK, seq, subject);
    }

    pub(crate) fn nack(out: &mut Vec<u8>, seq: u32, subject: Run) {
        seq_and_run(out, kind::NACK, seq, subject);
    }

    fn seq_and_run(out: &mut Vec<u8>, kind: u8, seq: u32, run: Run) {
        put_message(out, kind, |out| {
            put::u32(out, seq);
            put_run(out, run);
        });
    }

    pub(crate) fn update(out: &mut Vec<u8>, update: &Update<'_>) {
        put_message(out, kind::UPDATE, |out| update.encode(out));
    }

    pub(crate) fn broadcast(out: &mut Vec<u8>, origin: Run, seq: u32, payload: &[u8]) {
        put_message(out, kind::BROADCAST, |out| {
            put_run(out, origin);
            put::u32(out, seq);
            put::slice(out, payload);
        });
    }

    pub(crate) fn payload(out: &mut Vec<u8>, target: Run, payload: &[u8]) {
        put_message(out, kind::PAYLOAD, |out| {
            put_run(out, target);
            put::slice(out, payload);
        });
    }

    pub(crate) fn sync_request(
        out: &mut Vec<u8>,
        exchange: u32,
        is_joining: bool,
        digest: &[u64; BUCKETS],
        own: &Update<'_>,
    ) {
        put_message(out, kind::SYNC_REQUEST, |out| {
            put::u32(out, exchange);
            out.push(if is_joining { IS_JOINING } else { 0 });
            for bucket in digest {
                put::u64(out, *bucket);
            }
            own.encode(out);
        });
    }

    pub(crate) fn sync_chunk(
        out: &mut Vec<u8>,
        exchange: u32,
        is_reply: bool,
        is_last: bool,
        mask: u64,
    ) {
        put_message(out, kind::SYNC_CHUNK, |out| {
            put::u32(out, exchange);
            out.push(if is_reply { IS_REPLY } else { 0 } | if is_last { IS_LAST } else { 0 });
            put::u64(out, mask);
        });
    }

    pub(crate) fn sync_busy(out: &mut Vec<u8>, exchange: u32) {
        put_message(out, kind::SYNC_BUSY, |out| put::u32(out, exchange));
    }

    pub(crate) fn leave(out: &mut Vec<u8>, seq: u32) {
        put_message(out, kind::LEAVE, |out| put::u32(out, seq));
    }

    pub(crate) fn conflict(out: &mut Vec<u8>, rival: Run, addr: SocketAddr) {
        put_message(out, kind::CONFLICT, |out| {
            put_run(out, rival);
            put::addr(out, addr);
        });
    }
}

#[cfg(test)]
mod tests;
