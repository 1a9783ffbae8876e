//! What streams are spoken of with: [`Shape`], [`StreamRef`], [`Held`] and [`StreamError`]
//! (`docs/protocol.md` §5.11, §5.12).

use alloc::sync::Arc;
use core::fmt;

use super::table::WindowCharge;
use crate::rpc::event::{CallId, InboundId};
use crate::rpc::frame::{FLAG_STREAMS_IN, FLAG_STREAMS_OUT};

/// Who sends chunks beside the request and the response.
/// Without a direction the call is unary (`docs/protocol.md` §5.11.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The caller sends chunks to the handler.
    pub streams_in: bool,
    /// The handler sends chunks to the caller.
    pub streams_out: bool,
}

impl Shape {
    /// One request, one response.
    pub const UNARY: Self = Self { streams_in: false, streams_out: false };
    /// Chunks from the caller, then one response.
    pub const CLIENT_STREAMING: Self = Self { streams_in: true, streams_out: false };
    /// Chunks from the handler, then the response.
    pub const SERVER_STREAMING: Self = Self { streams_in: false, streams_out: true };
    /// Chunks both ways.
    pub const BIDIRECTIONAL: Self = Self { streams_in: true, streams_out: true };

    /// As a `Request` says it (`docs/protocol.md` §5.2.4).
    pub(in crate::rpc) const fn flags(self) -> u8 {
        (if self.streams_in { FLAG_STREAMS_IN } else { 0 })
            | if self.streams_out { FLAG_STREAMS_OUT } else { 0 }
    }

    pub(in crate::rpc) const fn of(flags: u8) -> Self {
        Self {
            streams_in: flags & FLAG_STREAMS_IN != 0,
            streams_out: flags & FLAG_STREAMS_OUT != 0,
        }
    }

    /// Whether chunks go either way.
    pub const fn is_streaming(self) -> bool {
        self.streams_in || self.streams_out
    }
}

/// The stream of a call: one of ours, or one of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamRef {
    /// A call made here.
    Call(CallId),
    /// A call of the peer.
    Inbound(InboundId),
}

/// Memory that the peer may fill again once it is free: given out with a chunk or an answer, and
/// given back with [`Connection::release`](crate::rpc::Connection::release) when the application
/// has taken it. It says nothing about who still reads the bytes.
///
/// One that is dropped is never given back, and its sender stops in the end. It is not `Clone`, so
/// nothing is given back twice.
#[must_use = "what is held must be released, or the peer stops sending"]
#[derive(Debug)]
pub struct Held(pub(in crate::rpc) What);

/// What is held.
#[derive(Debug)]
pub(in crate::rpc) enum What {
    Nothing,
    /// A chunk.
    Chunk {
        stream: StreamRef,
        charge: u32,
        /// What the window of its direction is charged for as long as any of its chunks is held.
        _window: Arc<WindowCharge>,
    },
    /// A large answer.
    Answer {
        serial: u64,
        charge: u32,
    },
}

impl Held {
    /// Nothing: releasing it does nothing, and needs no call.
    pub const NOTHING: Self = Self(What::Nothing);

    /// Whether there is nothing to release.
    pub const fn is_nothing(&self) -> bool {
        matches!(self.0, What::Nothing)
    }

    /// What it counts against its window, in bytes.
    pub const fn charge(&self) -> u32 {
        match self.0 {
            What::Nothing => 0,
            What::Chunk { charge, .. } | What::Answer { charge, .. } => charge,
        }
    }
}

/// Why a chunk was not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// There is no credit for it, too many bytes wait to be sent, or the request has not left yet.
    /// One [`Event::Sendable`](crate::rpc::Event::Sendable) follows when it is worth another try.
    Blocked,
    /// Body and attachments are larger than a chunk of this call may be, or more attachments than
    /// [`ATTACHMENTS_MAX`](crate::rpc::config::ATTACHMENTS_MAX).
    TooLarge {
        /// Bytes of the chunk with its attachments.
        len: usize,
        /// Bytes that the call declares as its largest chunk.
        len_max: usize,
    },
    /// The call is over.
    Ended,
    /// This side has finished, or its shape lets it send no chunks.
    Finished,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocked => "the peer has no room for more",
            Self::TooLarge { len, len_max } => {
                return write!(f, "the chunk has {len} bytes, and the call declares {len_max}");
            }
            Self::Ended => "the call is over",
            Self::Finished => "this half of the stream is finished",
        })
    }
}

impl core::error::Error for StreamError {}
