//! [`Receiver`]: where the stream's bytes land, and frames out of them (`docs/protocol.md` §5.2, §5.7.3).
//!
//! ```text
//!   stream --> slab --> small bodies, copied into the arena
//!        \--> large body's own buffer, from the pool
//! ```
//!
//! Small frames arrive many to a read in one slab. A body above [`COPY_LEN_MAX`] gets a buffer of its own, into which the rest of
//! it is read directly. That buffer grows with what has arrived, not with what was announced. The slab grows when reads fill it.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};

use super::arena::Arena;
use super::config::{COPY_LEN_MAX, Config};
use super::frame::{Extension, FrameHeader, padded};
use super::pool::Pool;
use crate::time::Instant;

/// Bytes of an extension beyond its headers that are read: its fixed fields, and fields of later versions.
const EXTENSION_SLACK: usize = 1_024;
/// The slab at first: a hello fits, and a few small frames.
const SLAB_LEN_MIN: usize = 2_048;
/// How much faster the slab, and a large body's buffer, may grow than bytes arrive. Four copies a third of a body in all; two
/// would copy all of it once.
const GROWTH: usize = 4;
/// What a large body's buffer begins with.
const LARGE_FIRST_LEN: usize = 64 * 1024;

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
    /// Its length is what is initialised so far; `filled` of it have arrived.
    buffer: BytesMut,
    filled: usize,
    /// Body and padding.
    target: usize,
}

/// What has arrived on the stream and is not handled yet. Whoever reads the stream owns it, beside the
/// [`Connection`](super::Connection), so that reading needs no lock.
pub struct Receiver {
    slab: Vec<u8>,
    /// What the slab may grow to. Until the peer has said hello, it may not.
    slab_len_max: usize,
    has_greeted: bool,
    /// The last read filled all that was offered: more is there.
    is_short: bool,
    /// Bytes of the slab in `start..end` wait to be parsed.
    start: usize,
    end: usize,
    large: Option<Large>,
    /// Bytes of the stream still to be thrown away.
    skip: usize,
    extension_len_max: usize,
    arena: Arena,
    pool: Pool,
}

impl Receiver {
    pub(super) fn new(config: &Config) -> Self {
        let extension_len_max = config.headers_len_max as usize + EXTENSION_SLACK;
        // A frame that is parsed in the slab must fit with room to read more, so that a full slab always moves on.
        let frame_len_max = FrameHeader::LEN + padded(extension_len_max) + padded(COPY_LEN_MAX);
        Self {
            slab: Vec::new(),
            slab_len_max: config.recv_len.max(frame_len_max + COPY_LEN_MAX),
            has_greeted: false,
            is_short: false,
            start: 0,
            end: 0,
            large: None,
            skip: 0,
            extension_len_max,
            arena: Arena::default(),
            pool: Pool::default(),
        }
    }

    /// Where the next bytes of the stream go. Never empty.
    pub fn buffer(&mut self) -> &mut [u8] {
        if self.large.is_none() {
            self.make_room();
        }
        match &mut self.large {
            Some(large) => large.room(),
            None => &mut self.slab[self.end..],
        }
    }

    /// Bytes of memory held, those of large bodies that are still read by others included.
    pub fn held_len(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| large.buffer.len());
        self.slab.len() + self.arena.held_len() + self.pool.held_len() + large
    }

    /// The peer said hello: room for frames.
    pub(super) fn open(&mut self) {
        self.has_greeted = true;
    }

    /// The connection ended: keep nothing but somewhere for ignored bytes to land.
    pub(super) fn close(&mut self) {
        (self.start, self.end, self.skip) = (0, 0, 0);
        (self.large, self.has_greeted, self.is_short) = (None, false, false);
        self.rest();
    }

    /// There is little to do: gives back what busier times needed.
    pub(super) fn rest(&mut self) {
        if self.start == self.end && self.large.is_none() {
            (self.start, self.end) = (0, 0);
            self.slab = Vec::new();
        }
        self.arena.clear();
        self.pool.clear();
    }

    /// Leaves at least one byte of room after `end`.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let waiting = self.end - self.start;
        let len_max = if self.has_greeted { self.slab_len_max } else { SLAB_LEN_MIN };
        let is_growing = self.is_short || 2 * waiting >= self.slab.len();
        if is_growing && self.slab.len() < len_max {
            let len = (GROWTH * self.slab.len()).clamp(SLAB_LEN_MIN, len_max);
            let mut slab = vec![0; len];
            slab[..waiting].copy_from_slice(&self.slab[self.start..self.end]);
            self.slab = slab;
            (self.start, self.end) = (0, waiting);
        } else if self.slab.len() - self.end < COPY_LEN_MAX.min(self.slab.len() / 2) {
            // Only a part of one frame is left here, so this moves less than a frame.
            self.slab.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, waiting);
        }
        self.is_short = false;
        debug_assert!(self.end < self.slab.len(), "a frame in the slab is smaller than the slab");
    }

    /// `len` bytes were put at the front of [`Receiver::buffer`]. More than it holds counts as all of it.
    pub(super) fn filled(&mut self, len: usize) -> usize {
        if let Some(large) = &mut self.large {
            let len = len.min(large.room().len());
            large.filled += len;
            large.grow(&mut self.pool);
            return len;
        }
        let room = self.slab.len() - self.end;
        let len = len.min(room);
        self.is_short = len == room;
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
        let Some(after) = self.slab[self.start..self.end].get(body_at..) else {
            return Ok(None);
        };
        if body_len <= COPY_LEN_MAX {
            let Some(body) = after.get(..header.body_padded()) else {
                return Ok(None);
            };
            let body = self.arena.copy(&body[..body_len]);
            let extension = self.decode_extension(header)?;
            self.start += body_at + header.body_padded();
            return Ok(Some(Frame { header, extension, body, since: now }));
        }
        let extension = self.decode_extension(header)?;
        self.start += body_at;
        let target = header.body_padded();
        let here = (self.end - self.start).min(target);
        let first = target.min(LARGE_FIRST_LEN.max(here));
        let mut buffer = self.pool.take(target).unwrap_or_else(|| Pool::fresh(first));
        buffer[..here].copy_from_slice(&self.slab[self.start..self.start + here]);
        self.start += here;
        let mut large = Large { header, extension, since: now, buffer, filled: here, target };
        large.grow(&mut self.pool);
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
        let Large { header, extension, since, buffer, .. } =
            self.large.take_if(|large| large.filled == large.target)?;
        let body = self.pool.share(buffer, header.body_len as usize);
        Some(Frame { header, extension, body, since })
    }
}

impl Large {
    /// Where the next bytes go: empty only when it is whole.
    fn room(&mut self) -> &mut [u8] {
        let end = self.target.min(self.buffer.len());
        &mut self.buffer[self.filled..end]
    }

    /// A larger buffer when this one is full: at most [`GROWTH`] times what has arrived.
    fn grow(&mut self, pool: &mut Pool) {
        if self.filled == self.buffer.len() && self.filled < self.target {
            let len = self.target.min(self.filled * GROWTH);
            let mut buffer = pool.take(len).unwrap_or_else(|| Pool::fresh(len));
            buffer[..self.filled].copy_from_slice(&self.buffer);
            self.buffer = buffer;
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("waiting", &(self.end - self.start))
            .field("large", &self.large.as_ref().map(|large| (large.filled, large.target)))
            .field("held_len", &self.held_len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
