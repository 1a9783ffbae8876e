//! Frame headers and extensions (`docs/protocol.md` §5.2, §5.3).

use alloc::vec::Vec;

use bytes::Bytes;

use super::config::{ALIGN, ATTACHMENTS_MAX};
use super::headers::Headers;
use crate::clock::Timestamp;
use crate::wire::Reader;

/// `len` rounded up to a multiple of [`ALIGN`].
pub(super) const fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// Bytes of the extension's fixed fields: stamp and timeout. One unit, so frames without headers
/// carry no padding here.
pub(super) const EXTENSION_FIXED_LEN: usize = 16;

/// The timeout that means none.
pub(super) const NO_TIMEOUT: u64 = u64::MAX;

/// What a frame is (§5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    OneWay,
    Response,
    Cancel,
    Intern,
    Gossip,
    Ping,
    Pong,
    GoAway,
    Data,
    Fragment,
    Credit,
    Unknown(u8),
}

impl Kind {
    pub(super) const fn get(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::OneWay => 2,
            Self::Response => 3,
            Self::Cancel => 4,
            Self::Intern => 5,
            Self::Gossip => 6,
            Self::Ping => 7,
            Self::Pong => 8,
            Self::GoAway => 9,
            Self::Data => 16,
            Self::Fragment => 17,
            Self::Credit => 18,
            Self::Unknown(raw) => raw,
        }
    }

    const fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::Request,
            2 => Self::OneWay,
            3 => Self::Response,
            4 => Self::Cancel,
            5 => Self::Intern,
            6 => Self::Gossip,
            7 => Self::Ping,
            8 => Self::Pong,
            9 => Self::GoAway,
            16 => Self::Data,
            17 => Self::Fragment,
            18 => Self::Credit,
            other => Self::Unknown(other),
        }
    }

    /// Whether it is a message, and has the extension of §5.3.
    pub(super) const fn has_extension(self) -> bool {
        matches!(self, Self::Request | Self::OneWay | Self::Response | Self::Data)
    }
}

/// Of a `Response`: no handler has run or will (§5.2.4).
pub(super) const FLAG_NEVER_RAN: u8 = 0x01;
/// Of a `Request`: the caller will send chunks.
pub(super) const FLAG_STREAMS_IN: u8 = 0x01;
/// Of a `Request`: the other side may send chunks.
pub(super) const FLAG_STREAMS_OUT: u8 = 0x02;
/// Of a `Data`: the end of this half.
pub(super) const FLAG_END: u8 = 0x01;
/// Of a `Data` or `Credit`: the call is one of the receiver's.
pub(super) const FLAG_FROM_CALLEE: u8 = 0x02;
/// Of a `Fragment`: no more of the message comes.
pub(super) const FLAG_ABORT: u8 = 0x01;
/// Of a message: it comes in fragments (§5.10).
pub(super) const FLAG_MORE: u8 = 0x10;
/// Of an unknown kind: do not skip (§5.2.3).
pub(super) const FLAG_ESSENTIAL: u8 = 0x80;

const LANE_SHIFT: u32 = 5;
/// Lanes there are.
pub(super) const LANES: u8 = 4;

/// The flags that name a lane.
pub(super) const fn lane_flags(lane: u8) -> u8 {
    lane << LANE_SHIFT
}

/// The 16 bytes before each extension and body (§5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) body_len: u32,
    pub(super) call: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) method: u16,
    pub(super) extension_len: u16,
    pub(super) code: u16,
}

impl FrameHeader {
    pub(super) const LEN: usize = 16;

    /// A header of this kind and call, everything else zero.
    pub(super) const fn new(kind: Kind, call: u32) -> Self {
        Self { body_len: 0, call, kind, flags: 0, method: 0, extension_len: 0, code: 0 }
    }

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let [front, back] = self.words();
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&front.to_le_bytes());
        out[8..].copy_from_slice(&back.to_le_bytes());
        out
    }

    /// The header as two little-endian words. Put together in registers: bytes that are stored one
    /// by one and then copied as one block make the processor wait.
    pub(super) fn words(self) -> [u64; 2] {
        let front = u64::from(self.body_len) | u64::from(self.call) << 32;
        let kinds =
            u64::from(self.kind.get()) | u64::from(self.flags) << 8 | u64::from(self.method) << 16;
        [front, kinds | u64::from(self.extension_len) << 32 | u64::from(self.code) << 48]
    }

    /// Total: any 16 bytes are a header.
    pub(super) const fn decode(b: &[u8; Self::LEN]) -> Self {
        Self {
            body_len: u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            call: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
            kind: Kind::from_raw(b[8]),
            flags: b[9],
            method: u16::from_le_bytes([b[10], b[11]]),
            extension_len: u16::from_le_bytes([b[12], b[13]]),
            code: u16::from_le_bytes([b[14], b[15]]),
        }
    }

    /// Whether its body comes in fragments.
    pub(super) const fn is_fragmented(self) -> bool {
        self.flags & FLAG_MORE != 0
            && matches!(self.kind, Kind::Request | Kind::OneWay | Kind::Response | Kind::Data)
    }

    /// The lane it is on.
    pub(super) const fn lane(self) -> usize {
        (self.flags >> LANE_SHIFT) as usize % LANES as usize
    }

    /// Bytes of extension and its padding.
    pub(super) const fn extension_padded(self) -> usize {
        padded(self.extension_len as usize)
    }

    /// Bytes of body and its padding. Lengths near 4 GiB do not wrap on 32-bit machines: they
    /// saturate, and are refused as longer than can be skipped.
    pub(super) const fn body_padded(self) -> usize {
        match (self.body_len as usize).checked_next_multiple_of(ALIGN) {
            Some(len) => len,
            None => usize::MAX & !(ALIGN - 1),
        }
    }
}

/// The extension of a frame that opens or answers a call (§5.3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extension {
    pub(super) stamp: Timestamp,
    /// Microseconds left.
    pub(super) timeout: Option<u64>,
    pub(super) headers: Headers,
    /// Lengths of the body proper and of each attachment; empty without attachments.
    pub(super) parts: Vec<u32>,
    /// The largest chunk that a call declares; 0 if it says nothing.
    pub(super) chunk_len_max: u32,
}

impl Extension {
    /// The extension in `bytes`, or `None` if its header block or its attachments are none. Missing
    /// fields are absent, what follows is skipped.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader::new(bytes);
        let stamp = Timestamp::from_raw(rest.u64().unwrap_or(0));
        let timeout = rest.u64().filter(|&micros| micros != NO_TIMEOUT);
        let headers = match rest.u16() {
            Some(0) | None => Headers::new(),
            Some(len) => Headers::decode(rest.take(usize::from(len))?)?,
        };
        let parts = decode_parts(&mut rest)?;
        let chunk_len_max = rest.u32().unwrap_or(0);
        Some(Self { stamp, timeout, headers, parts, chunk_len_max })
    }

    /// The extension of a `Data` (§5.3.6).
    pub(super) fn decode_data(bytes: &[u8]) -> Option<Self> {
        Some(Self { parts: decode_parts(&mut Reader::new(bytes))?, ..Self::default() })
    }

    /// Bytes of an extension with these headers.
    pub(super) fn len_with(headers: &Headers) -> usize {
        if headers.is_empty() {
            EXTENSION_FIXED_LEN
        } else {
            EXTENSION_FIXED_LEN + 2 + headers.encoded_len()
        }
    }
}

/// Lengths of the parts of a body, or `None` if they are more than there may be (§5.3.5).
fn decode_parts(rest: &mut Reader<'_>) -> Option<Vec<u32>> {
    let count = usize::from(rest.u8().unwrap_or(0));
    if count == 0 {
        return Some(Vec::new());
    }
    if count > ATTACHMENTS_MAX {
        return None;
    }
    (0..=count).map(|_| rest.u32()).collect()
}

/// The body proper and the attachments in a frame's body, or `None` if `parts` do not add up to it.
pub(super) fn split(body: Bytes, parts: &[u32]) -> Option<(Bytes, Vec<Bytes>)> {
    if parts.is_empty() {
        return Some((body, Vec::new()));
    }
    let mut rest = body;
    let mut pieces = Vec::with_capacity(parts.len());
    for (at, &len) in parts.iter().enumerate() {
        let len = usize::try_from(len).ok()?;
        let step = if at + 1 == parts.len() { len } else { len.checked_next_multiple_of(ALIGN)? };
        if step > rest.len() {
            return None;
        }
        let mut piece = rest.split_to(step);
        piece.truncate(len);
        pieces.push(piece);
    }
    let attachments = pieces.split_off(1);
    rest.is_empty().then(|| (pieces.remove(0), attachments))
}

/// Bytes of the header block that an extension announces, without decoding it: what the limit is
/// about.
pub(super) fn headers_len(extension: &[u8]) -> usize {
    match extension.get(EXTENSION_FIXED_LEN..EXTENSION_FIXED_LEN + 2) {
        Some(len) => usize::from(u16::from_le_bytes([len[0], len[1]])),
        None => 0,
    }
}
