//! Frame headers and extensions (`docs/protocol.md` §5.2, §5.3).

use super::config::ALIGN;
use super::headers::Headers;
use super::read;
use crate::clock::Timestamp;

/// `len` rounded up to a multiple of [`ALIGN`].
pub(super) const fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// Bytes of the extension's fixed fields: stamp and timeout. One unit, so frames without headers carry no padding here.
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
            other => Self::Unknown(other),
        }
    }

    /// Whether the extension is that of §5.3.
    pub(super) const fn has_extension(self) -> bool {
        matches!(self, Self::Request | Self::OneWay | Self::Response)
    }
}

/// Of a `Response`: no handler has run or will (§5.2.4).
pub(super) const FLAG_NEVER_RAN: u8 = 0x01;
/// Of an unknown kind: do not skip (§5.2.3).
pub(super) const FLAG_ESSENTIAL: u8 = 0x80;

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
        let mut out = [0; Self::LEN];
        out[0..4].copy_from_slice(&self.body_len.to_le_bytes());
        out[4..8].copy_from_slice(&self.call.to_le_bytes());
        out[8] = self.kind.get();
        out[9] = self.flags;
        out[10..12].copy_from_slice(&self.method.to_le_bytes());
        out[12..14].copy_from_slice(&self.extension_len.to_le_bytes());
        out[14..16].copy_from_slice(&self.code.to_le_bytes());
        out
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

    /// Bytes of extension and its padding.
    pub(super) const fn extension_padded(self) -> usize {
        padded(self.extension_len as usize)
    }

    /// Bytes of body and its padding. Lengths near 4 GiB do not wrap on 32-bit machines: they saturate, and are refused
    /// as longer than can be skipped.
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
}

impl Extension {
    /// The extension in `bytes`, or `None` if its header block is none. Missing fields are absent, what follows is skipped.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let stamp = Timestamp::from_raw(read::u64(&mut rest).unwrap_or(0));
        let timeout = read::u64(&mut rest).filter(|&micros| micros != NO_TIMEOUT);
        let headers = match read::u16(&mut rest) {
            Some(0) | None => Headers::new(),
            Some(len) => Headers::decode(read::take(&mut rest, usize::from(len))?)?,
        };
        Some(Self { stamp, timeout, headers })
    }

    /// Bytes of an extension with these headers.
    pub(super) fn len_with(headers: &Headers) -> usize {
        if headers.is_empty() { EXTENSION_FIXED_LEN } else { EXTENSION_FIXED_LEN + 2 + headers.encoded_len() }
    }
}

/// Bytes of the header block that an extension announces, without decoding it: what the limit is about.
pub(super) fn headers_len(extension: &[u8]) -> usize {
    match extension.get(EXTENSION_FIXED_LEN..EXTENSION_FIXED_LEN + 2) {
        Some(len) => usize::from(u16::from_le_bytes([len[0], len[1]])),
        None => 0,
    }
}
