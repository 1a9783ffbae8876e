//! [`Receiver`]: where the stream's bytes land, and frames out of them (`docs/protocol.md` §5.2, §5.7.3).
//!
//! Small frames arrive many to a read in one slab, and their bodies are copied out into exact aligned buffers, so that a
//! kept body pins nothing but itself. A body above [`COPY_LEN_MAX`] gets a buffer of its own, into which the rest of it is
//! read directly. That buffer grows with what has arrived, not with what was announced.

use bytes::Bytes;
use rkyv::util::AlignedVec;

use super::config::{COPY_LEN_MAX, Config};
use super::frame::{Extension, FrameHeader, padded};
use crate::time::Instant;

/// Bytes of an extension beyond its headers that are read: its fixed fields, and fields of later versions.
const EXTENSION_SLACK: usize = 1_024;
/// The slab while only a hello may come: one fits.
const GREETING_LEN: usize = 2_048;
/// What a large body's buffer begins with.
const LARGE_FIRST_LEN: usize = 64 * 1024;
/// How much faster a large body's buffer may grow than bytes arrive. Four copies a third of a body in all; two would
/// copy all of it once.
const LARGE_GROWTH: usize = 4;

/// A frame, whole.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) header: FrameHeader,
    pub(super) extension: Extension,
    pub(super) body: Bytes,
    /// When its header was read: timeouts count from here.
    pub(super) since: Instant,
}

/// The extension's header block cannot be read: the connection ends (§5.3.3).
#[derive(Debug)]
pub(super) struct BadExtension;

#[derive(Debug)]
struct Large {
    header: FrameHeader,
    extension: Extension,
    since: Instant,
    /// Its length is the window that is allocated and zeroed so far; `filled` of it have arrived.
    buffer: AlignedVec<16>,
    filled: usize,
    /// Body and padding.
    target: usize,
}

#[derive(Debug)]
pub(super) struct Receiver {
    slab: AlignedVec<16>,
    /// What the slab grows to once the peer has said hello.
    slab_len: usize,
    /// Bytes of the slab in `start..end` wait to be parsed. `start` is a multiple of 16.
    start: usize,
    end: usize,
    large: Option<Large>,
    /// Bytes of the stream still to be thrown away.
    skip: usize,
    extension_len_max: usize,
}

impl Receiver {
    pub(super) fn new(config: &Config) -> Self {
        let extension_len_max = config.headers_len_max as usize + EXTENSION_SLACK;
        // A frame that is parsed in the slab must fit with room to read more, so that a full slab always moves on.
        let frame_len_max = FrameHeader::LEN + padded(extension_len_max) + padded(COPY_LEN_MAX);
        Self {
            slab: AlignedVec::new(),
            slab_len: padded(config.recv_len.max(frame_len_max + COPY_LEN_MAX)),
            start: 0,
            end: 0,
            large: None,
            skip: 0,
            extension_len_max,
        }
    }

    /// The peer said hello: room for frames.
    pub(super) fn open(&mut self) {
        self.slab.reserve_exact(self.slab_len - self.slab.len());
        self.slab.resize(self.slab_len, 0);
    }

    /// The connection ended: keep nothing but somewhere for ignored bytes to land.
    pub(super) fn close(&mut self) {
        let len = self.slab.len().min(GREETING_LEN);
        *self = Self { slab: zeroed(len), slab_len: len, start: 0, end: 0, large: None, skip: 0, ..*self };
    }

    /// Where the next bytes go. Never empty.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        if let Some(large) = &mut self.large {
            return &mut large.buffer[large.filled..];
        }
        if self.slab.is_empty() {
            self.slab = zeroed(GREETING_LEN);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.slab.len() - self.end < COPY_LEN_MAX.min(self.slab.len() / 2) {
            // Only a part of one frame is left here, so this moves less than a frame.
            self.slab.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        debug_assert!(self.end < self.slab.len(), "a frame in the slab is smaller than the slab");
        &mut self.slab[self.end..]
    }

    /// `len` bytes were put at the front of [`Receiver::buffer`]. More than it holds counts as all of it.
    pub(super) fn filled(&mut self, len: usize) -> usize {
        if let Some(large) = &mut self.large {
            let len = len.min(large.buffer.len() - large.filled);
            large.filled += len;
            large.grow();
            return len;
        }
        let len = len.min(self.slab.len() - self.end);
        self.end += len;
        self.discard();
        len
    }

    /// What waits in the slab.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.slab[self.start..self.end]
    }

    /// Throws the next `len` bytes away, those that are here and those that come.
    pub(super) fn skip(&mut self, len: usize) {
        self.skip = self.skip.saturating_add(len);
        self.discard();
    }

    fn discard(&mut self) {
        let here = self.skip.min(self.end - self.start);
        self.start += here;
        self.skip -= here;
    }

    /// The header of the frame at the front, unless bytes are being skipped or a large body is coming in.
    pub(super) fn header(&self) -> Option<FrameHeader> {
        if self.skip > 0 || self.large.is_some() {
            return None;
        }
        self.waiting().first_chunk().map(FrameHeader::decode)
    }

    /// Whether this frame's extension is one that is read at all.
    pub(super) fn is_extension_fitting(&self, header: FrameHeader) -> bool {
        usize::from(header.extension_len) <= self.extension_len_max
    }

    /// The extension of the frame at the front, once it is here.
    pub(super) fn extension(&self, header: FrameHeader) -> Option<&[u8]> {
        self.waiting().get(FrameHeader::LEN..)?.get(..usize::from(header.extension_len))
    }

    /// The frame at the front, whose header is `header` and whose lengths have been found acceptable: `None` while
    /// bytes are missing. A large one moves to its own buffer as soon as its extension is here.
    pub(super) fn take(&mut self, header: FrameHeader, now: Instant) -> Result<Option<Frame>, BadExtension> {
        let body_at = FrameHeader::LEN + header.extension_padded();
        let body_len = header.body_len as usize;
        let waiting = self.waiting();
        let Some(after) = waiting.get(body_at..) else {
            return Ok(None);
        };
        if body_len <= COPY_LEN_MAX {
            let Some(body) = after.get(..header.body_padded()) else {
                return Ok(None);
            };
            let body = aligned(&body[..body_len]);
            let extension = self.decode_extension(header)?;
            self.start += body_at + header.body_padded();
            return Ok(Some(Frame { header, extension, body, since: now }));
        }
        let extension = self.decode_extension(header)?;
        self.start += body_at;
        let target = header.body_padded();
        let here = self.waiting().len().min(target);
        let mut buffer = zeroed(target.min(LARGE_FIRST_LEN.max(here)));
        buffer[..here].copy_from_slice(&self.waiting()[..here]);
        self.start += here;
        let mut large = Large { header, extension, since: now, buffer, filled: here, target };
        large.grow();
        self.large = Some(large);
        Ok(self.finished())
    }

    fn decode_extension(&self, header: FrameHeader) -> Result<Extension, BadExtension> {
        if !header.kind.has_extension() {
            return Ok(Extension::default());
        }
        let bytes = self.extension(header).ok_or(BadExtension)?;
        Extension::decode(bytes).ok_or(BadExtension)
    }

    /// The large frame that was coming in, if it is whole.
    pub(super) fn finished(&mut self) -> Option<Frame> {
        let Large { header, extension, since, mut buffer, .. } =
            self.large.take_if(|large| large.filled == large.target)?;
        buffer.resize(header.body_len as usize, 0);
        Some(Frame { header, extension, body: Bytes::from_owner(buffer), since })
    }
}

impl Large {
    /// Widens the window when it is full: to at most [`LARGE_GROWTH`] times what has arrived.
    fn grow(&mut self) {
        if self.filled == self.buffer.len() && self.filled < self.target {
            let len = self.target.min(self.filled * LARGE_GROWTH);
            self.buffer.reserve_exact(len - self.filled);
            self.buffer.resize(len, 0);
        }
    }
}

fn zeroed(len: usize) -> AlignedVec<16> {
    let mut buffer = AlignedVec::with_capacity(len);
    buffer.resize(len, 0);
    buffer
}

/// A copy of `bytes` at a 16-byte aligned address.
fn aligned(bytes: &[u8]) -> Bytes {
    /// An empty body is aligned too: a reader may ask before it looks at the length.
    #[repr(align(16))]
    struct Aligned([u8; 16]);
    static EMPTY: Aligned = Aligned([0; 16]);

    if bytes.is_empty() {
        return Bytes::from_static(&EMPTY.0[..0]);
    }
    let mut buffer = AlignedVec::<16>::with_capacity(bytes.len());
    buffer.extend_from_slice(bytes);
    Bytes::from_owner(buffer)
}
