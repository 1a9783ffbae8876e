//! What a connection tells its driver, and what it is told to do: [`Event`], [`Request`], ids and
//! errors.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::headers::Headers;
use super::hello::PeerHello;
use super::status::Status;
use super::stream::{Held, Shape, StreamRef};
use crate::clock::Timestamp;
use crate::time::Instant;

/// The hash of a method's request and reply layout: both ends must hold the same for a call to be
/// dispatched.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint with this value.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The value.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:016x})", self.0)
    }
}

/// A call made over this connection, from when it was made, also while it waits for room. Never
/// given out twice by a connection, up to 2^32 calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

impl CallId {
    /// The slot: a small dense index of at most one open call at a time, of those that wait for
    /// room too. A driver can keep its wakers in a plain table by it.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call{}.{}", self.slot, self.serial)
    }
}

/// A call of the peer that waits for [`respond`](super::Connection::respond). Never given out twice
/// by a connection, up to 2^32 calls with the same wire id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId {
    pub(super) call: u32,
    pub(super) serial: u32,
}

impl InboundId {
    /// The slot: a small dense index, below `in_flight_max`, of at most one open call at a time.
    pub const fn slot(self) -> usize {
        (self.call & (super::config::SLOTS_MAX - 1)) as usize
    }
}

impl fmt::Debug for InboundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inbound{}.{}", self.slot(), self.serial)
    }
}

/// A call or a one-way message to be sent.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The service's explicit name, 1 to 255 bytes.
    pub service: &'a str,
    /// The method's name within it, 1 to 255 bytes.
    pub method: &'a str,
    /// The layout of request and reply.
    pub fingerprint: Fingerprint,
    /// Metadata.
    pub headers: Headers,
    /// How long from now the call may take; `None` is without end. Zero has already passed.
    pub deadline: Option<Duration>,
    /// The message.
    pub body: Body<'a>,
    /// Bytes beside it that are neither copied into the body nor out of it: at most
    /// [`ATTACHMENTS_MAX`](super::config::ATTACHMENTS_MAX). They count as part of the message.
    pub attachments: &'a [Bytes],
    /// Who sends chunks. Of a one-way message, nobody, whatever this says.
    pub shape: Shape,
    /// Bytes of the largest chunk of either direction, if the call streams; 0 is
    /// [`CHUNK_LEN_DEFAULT`](super::config::CHUNK_LEN_DEFAULT).
    pub chunk_len_max: u32,
    /// Calls around this one: 0 if no handler makes it, else one more than that of the handler's
    /// own call (`docs/protocol.md` §5.12.3).
    pub depth: u8,
    /// Who makes the call, any number: calls of one caller begin in order, and callers whose calls
    /// wait for room take turns (`docs/protocol.md` §5.12.2).
    pub caller: u64,
}

/// What happened. Bodies and attachments begin at 16-byte aligned addresses.
#[derive(Debug)]
pub enum Event {
    /// The peer's hello is in and accepted. The first event of every connection that works.
    Connected(PeerHello),
    /// The peer calls. Answer with [`respond`](super::Connection::respond).
    Request {
        /// To answer with.
        id: InboundId,
        /// The peer's number for the method on this connection: from 0, dense, always of the same
        /// names and layout, which [`Connection::method`](super::Connection::method)
        /// tells. What a driver has looked up for it can be kept in a plain table.
        method_id: u16,
        /// Metadata.
        headers: Headers,
        /// When the caller stops waiting.
        deadline: Option<Instant>,
        /// The caller's clock when it sent; already observed.
        stamp: Timestamp,
        /// The message.
        body: Bytes,
        /// Bytes beside it.
        attachments: Vec<Bytes>,
        /// Who sends chunks.
        shape: Shape,
        /// Calls around it.
        depth: u8,
    },
    /// The peer says something that wants no answer.
    OneWay {
        /// As in [`Event::Request`].
        method_id: u16,
        /// Metadata.
        headers: Headers,
        /// When it stops to matter.
        deadline: Option<Instant>,
        /// The sender's clock when it sent; already observed.
        stamp: Timestamp,
        /// The message.
        body: Bytes,
        /// Bytes beside it.
        attachments: Vec<Bytes>,
        /// Calls around it.
        depth: u8,
    },
    /// A call of the peer needs no answer any more: it was cancelled or its deadline passed.
    /// Answering is an error that changes nothing.
    Cancelled(InboundId),
    /// A call of ours ended. Exactly one for each call that [`request`](super::Connection::request)
    /// returned, except those ended by [`cancel`](super::Connection::cancel).
    Response {
        /// The call.
        call: CallId,
        /// Metadata of the answer, also of one that is a status. None when the call ended on this
        /// side.
        headers: Headers,
        /// How it ended.
        result: Result<Bytes, Status>,
        /// Bytes beside the answer.
        attachments: Vec<Bytes>,
        /// To be released when the caller has taken the answer.
        held: Held,
    },
    /// Nobody has taken the answer of this call for long, and others need its room: what is kept of
    /// it is to be dropped, and the call ended as
    /// [`Status::untaken`] says
    /// (`docs/protocol.md` §5.12.7).
    AnswerDropped(CallId),
    /// A chunk of a stream. They come in order, each once, after the `Request` and before the
    /// `Response` or `Cancelled` of their call.
    Chunk {
        /// Whose.
        stream: StreamRef,
        /// The chunk.
        body: Bytes,
        /// Bytes beside it.
        attachments: Vec<Bytes>,
        /// To be released when the application has taken the chunk.
        held: Held,
    },
    /// The peer has sent its last chunk of this stream.
    Finished(StreamRef),
    /// A stream whose [`send`](super::Connection::send) was `Blocked` may try again.
    Sendable(StreamRef),
    /// A gossip frame's payload, for `Membership::handle_stream`.
    Gossip(Bytes),
    /// The peer takes no new calls; those open finish.
    GoAway,
    /// The end. Every call has had its event; calls of the peer are over without further events.
    /// The last event.
    Closed(CloseReason),
}

impl Event {
    /// A call that ended without an answer.
    pub(super) fn failed(call: CallId, status: Status) -> Self {
        let (headers, attachments) = (Headers::new(), Vec::new());
        Self::Response { call, headers, result: Err(status), attachments, held: Held::NOTHING }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The stream ended or was reset.
    Lost,
    /// What the peer sent does not begin with the magic: not this protocol.
    NotChinwag,
    /// No version is spoken by both. Ranges as (lowest, highest).
    Version {
        /// What this node speaks.
        ours: (u8, u8),
        /// What the peer speaks.
        theirs: (u8, u8),
    },
    /// The peer belongs to another cluster.
    ForeignCluster {
        /// This node's cluster.
        ours: String,
        /// The peer's, as it says; at most 255 bytes.
        theirs: String,
    },
    /// The peer archives messages in another rkyv format (endianness, pointer width, alignment).
    Format {
        /// This build's format byte (`docs/protocol.md` §5.1).
        ours: u8,
        /// The peer's.
        theirs: u8,
    },
    /// The peer's hello did not come in time.
    HelloTimeout,
    /// A ping was not answered, and nothing else came, in time.
    KeepaliveTimeout,
    /// The peer broke a rule that leaves the stream unreadable; which one.
    Protocol(&'static str),
    /// The peer floods with frames that must be answered and does not read the answers.
    Overrun,
    /// Membership declared the peer dead or restarted.
    PeerGone,
    /// Both sides went away and every call ended.
    Drained,
    /// A go-away was given, and calls were still open when its time was over.
    DrainTimeout,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection was lost"),
            Self::NotChinwag => f.write_str(
                "the peer does not speak chinwag, or it encrypts and this node has no secret",
            ),
            Self::Version { ours, theirs } => write!(
                f,
                "no common version: this node speaks {} to {}, the peer {} to {}",
                ours.0, ours.1, theirs.0, theirs.1
            ),
            Self::ForeignCluster { ours, theirs } => {
                write!(f, "the peer is in cluster {theirs:?}, this node in {ours:?}")
            }
            Self::Format { ours, theirs } => {
                write!(f, "the peer archives in format {theirs:#04x}, this node in {ours:#04x}")
            }
            Self::HelloTimeout => f.write_str("the peer sent no hello in time"),
            Self::KeepaliveTimeout => f.write_str("the peer fell silent"),
            Self::Protocol(rule) => write!(f, "the peer broke the protocol: {rule}"),
            Self::Overrun => f.write_str("the peer floods and does not read"),
            Self::PeerGone => f.write_str("the peer is gone"),
            Self::Drained => f.write_str("drained after a go-away"),
            Self::DrainTimeout => f.write_str("not drained in time after a go-away"),
        }
    }
}

/// Why a call or a one-way message was not taken. Nothing changed; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// Too many calls wait for room, or too many bytes wait to be sent.
    Full,
    /// The message is larger than the peer accepts (or, before its hello, than this side would), or
    /// has more than 16 attachments.
    TooLarge {
        /// Bytes of the message with its attachments.
        len: usize,
        /// Bytes that are accepted.
        len_max: usize,
    },
    /// The headers are larger than the peer accepts (or, before its hello, than this side would).
    HeadersTooLarge {
        /// Bytes of the headers.
        len: usize,
        /// Bytes that are accepted.
        len_max: usize,
    },
    /// The largest chunk that the call declares is larger than a message may be.
    ChunkTooLarge {
        /// Bytes of the chunk.
        len: usize,
        /// Bytes that are accepted.
        len_max: usize,
    },
    /// A name is empty or longer than 255 bytes.
    Name,
    /// The peer's table of method names is full.
    TooManyMethods,
    /// One of the sides is going away: use another connection.
    GoingAway,
    /// The connection has ended.
    Closed,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many calls wait for room, or too many bytes wait to be sent",
            Self::TooLarge { len, len_max } => {
                return write!(f, "the message has {len} bytes, and the peer accepts {len_max}");
            }
            Self::HeadersTooLarge { len, len_max } => {
                return write!(f, "the headers have {len} bytes, and the peer accepts {len_max}");
            }
            Self::ChunkTooLarge { len, len_max } => {
                return write!(f, "chunks may have {len} bytes, and the peer accepts {len_max}");
            }
            Self::Name => "a service or method name has 1 to 255 bytes",
            Self::TooManyMethods => "the peer's table of method names is full",
            Self::GoingAway => "the connection is going away",
            Self::Closed => "the connection has ended",
        })
    }
}

impl core::error::Error for RequestError {}

/// Why an answer was not sent as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RespondError {
    /// The call is over: answered, cancelled, past its deadline, or the connection ended. Nothing
    /// changed.
    Ended,
    /// The answer or its headers are larger than the peer accepts. The call was answered with
    /// `TooLarge` instead.
    TooLarge,
    /// So much of other answers waits that this one was not kept. The call was answered with
    /// `Overloaded` instead (`docs/protocol.md` §5.7.4).
    Full,
}

impl fmt::Display for RespondError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the call is over",
            Self::TooLarge => "the answer is larger than the peer accepts",
            Self::Full => "too many answers wait to be sent",
        })
    }
}

impl core::error::Error for RespondError {}

/// Why gossip was not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GossipError {
    /// Too many bytes wait to be sent.
    Full,
    /// The payload is larger than [`GOSSIP_LEN_MAX`](super::config::GOSSIP_LEN_MAX).
    TooLarge,
    /// The connection has ended.
    Closed,
}

impl fmt::Display for GossipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many bytes wait to be sent",
            Self::TooLarge => "the gossip is too large for a frame",
            Self::Closed => "the connection has ended",
        })
    }
}

impl core::error::Error for GossipError {}

/// When what is queued should be written: small calls live from being
/// batched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Nothing is queued.
    Nothing,
    /// Write now: nobody is about to add to the batch, or it is large.
    Now,
    /// Let the run queue turn once, then write whatever is there. Never wait twice.
    AfterTurn,
}
