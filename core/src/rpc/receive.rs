//! [`Receiver`]: where the stream's bytes land, and frames out of them (`docs/protocol.md` §5.2, §5.7.3).
//!
//! ```text
//!   stream --> slab --> small bodies, copied into the arena
//!        \--> large body's own buffer, from the pool
//! ```
//!
//! Small frames arrive many to a read in one slab. A body above [`COPY_LEN_MAX`] gets a buffer of
//! its own, into which the rest of it is read directly. That buffer grows with what has arrived,
//! not with what was announced. The slab grows when reads fill it.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};

use super::arena::Arena;
use super::config::{COPY_LEN_MAX, Config};
use super::fast_path::{HEAD_LEN, Plain};
use super::frame::{Extension, FrameHeader, Kind, padded};
use super::lanes::{BadFragment, Lanes};
use super::pool::Pool;
use crate::time::Instant;

/// Bytes of an extension beyond its headers that are read: its fixed fields, and fields of later
/// versions.
const EXTENSION_SLACK: usize = 1_024;
/// The slab at first: a hello fits, and a few small frames.
const SLAB_LEN_MIN: usize = 2_048;
/// How much faster the slab, and a large body's buffer, may grow than bytes arrive. Four copies a
/// third of a body in all; two would copy all of it once.
const GROWTH: usize = 4;
/// What is read into the slab after a large frame: the next one's header, and little of its body. A
/// batch of small frames that comes instead costs one read more.
const AFTER_LARGE_LEN: usize = 4 * 1_024;
/// Room behind a large body: what is read there goes back to the slab. A read that does not fill
/// what it is given tells runtimes that nothing more is there; one that does has them ask the
/// system again.
const OVER_LEN: usize = 64;
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

/// A message whose body has a buffer of its own, and is not whole yet.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) header: FrameHeader,
    extension: Extension,
    since: Instant,
    /// Its length is what is initialised so far; `filled` of it have arrived, maybe with a little
    /// of what comes after the body.
    pub(super) buffer: BytesMut,
    pub(super) filled: usize,
    /// Body and padding.
    pub(super) target: usize,
}

/// What has arrived on the stream and is not handled yet. Whoever reads the stream owns it, beside
/// the [`Connection`](super::Connection), so that reading needs no lock.
pub struct Receiver {
    slab: Vec<u8>,
    /// What the slab may grow to. Until the peer has said hello, it may not.
    slab_len_max: usize,
    has_greeted: bool,
    /// The last read filled all that was offered: more is there.
    is_short: bool,
    /// The last frame was a large one. The next may be too, and what is read of it into the slab
    /// has to be copied out.
    is_after_large: bool,
    /// Bytes of the slab in `start..end` wait to be parsed.
    start: usize,
    end: usize,
    large: Option<Large>,
    lanes: Lanes,
    /// Bytes of the stream still to be thrown away.
    skip: usize,
    extension_len_max: usize,
    arena: Arena,
    pool: Pool,
}

impl Receiver {
    pub(super) fn new(config: &Config) -> Self {
        let extension_len_max = config.headers_len_max as usize + EXTENSION_SLACK;
        // A frame that is parsed in the slab must fit with room to read more, so that a full slab
        // always moves on.
        let frame_len_max = FrameHeader::LEN + padded(extension_len_max) + padded(COPY_LEN_MAX);
        Self {
            slab: Vec::new(),
            slab_len_max: config.recv_len.max(frame_len_max + COPY_LEN_MAX),
            has_greeted: false,
            is_short: false,
            is_after_large: false,
            start: 0,
            end: 0,
            large: None,
            lanes: Lanes::default(),
            skip: 0,
            extension_len_max,
            arena: Arena::default(),
            pool: Pool::default(),
        }
    }

    /// Where the next bytes of the stream go. Never empty.
    pub fn buffer(&mut self) -> &mut [u8] {
        if self.large.is_none() && !self.lanes.is_reading() {
            self.make_room();
        }
        let room = self.room();
        match (&mut self.large, self.lanes.reading()) {
            (Some(large), _) => large.room(usize::MAX),
            (None, Some((large, rest))) => large.room(rest),
            (None, None) => &mut self.slab[self.end..self.end + room],
        }
    }

    /// Bytes of the slab that the next read may fill.
    fn room(&self) -> usize {
        let room = self.slab.len() - self.end;
        if self.is_after_large && self.end == 0 { room.min(AFTER_LARGE_LEN) } else { room }
    }

    /// Bytes of memory held, those of large bodies that are still read by others included.
    pub fn held_len(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| large.buffer.len());
        self.slab.len()
            + self.arena.held_len()
            + self.pool.held_len()
            + large
            + self.lanes.held_len()
    }

    /// The peer said hello: room for frames.
    pub(super) fn open(&mut self) {
        self.has_greeted = true;
    }

    /// The connection ended: keep nothing but somewhere for ignored bytes to land.
    pub(super) fn close(&mut self) {
        (self.start, self.end, self.skip) = (0, 0, 0);
        (self.large, self.has_greeted, self.is_short) = (None, false, false);
        self.lanes = Lanes::default();
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

    /// `len` bytes were put at the front of [`Receiver::buffer`]. More than it holds counts as all
    /// of it.
    pub(super) fn filled(&mut self, len: usize) -> usize {
        if let Some(large) = &mut self.large {
            let len = len.min(large.room(usize::MAX).len());
            large.fill(len, &mut self.pool);
            return len;
        }
        if self.lanes.is_reading() {
            return self.lanes.filled(len, &mut self.pool);
        }
        let room = self.room();
        let len = len.min(room);
        self.is_short = len == self.slab.len() - self.end;
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

    /// The header of the frame at the front, unless bytes are being skipped or a large body is
    /// coming in.
    pub(super) fn header(&self) -> Option<FrameHeader> {
        if self.skip > 0 || self.large.is_some() || self.lanes.is_reading() {
            return None;
        }
        self.waiting().first_chunk().map(FrameHeader::decode)
    }

    /// The frame at the front, if it is plain and whole.
    pub(super) fn plain(&self) -> Option<Plain> {
        if self.skip > 0 || self.large.is_some() || self.lanes.is_reading() {
            return None;
        }
        let (head, rest) = self.waiting().split_first_chunk()?;
        Plain::decode(head).filter(|plain| plain.body_len().1 <= rest.len())
    }

    /// Takes the body of [`Receiver::plain`], and the frame off the front.
    pub(super) fn take_plain(&mut self, plain: Plain) -> Bytes {
        let (len, padded) = plain.body_len();
        self.is_after_large = false;
        let at = self.start + HEAD_LEN;
        self.start = at + padded;
        self.arena.copy(&self.slab[at..at + len])
    }

    /// Whether this frame's extension is one that is read at all.
    pub(super) fn is_extension_fitting(&self, header: FrameHeader) -> bool {
        usize::from(header.extension_len) <= self.extension_len_max
    }

    /// The extension of the frame at the front, once it is here.
    pub(super) fn extension(&self, header: FrameHeader) -> Option<&[u8]> {
        let padded = self.waiting().get(FrameHeader::LEN..)?.get(..header.extension_padded())?;
        padded.get(..usize::from(header.extension_len))
    }

    /// The first frame of a message that comes in fragments. Its extension is here, its length
    /// acceptable, its lane free.
    pub(super) fn begin(&mut self, header: FrameHeader, now: Instant) -> Result<(), BadExtension> {
        let extension = self.decode_extension(header)?;
        self.start += FrameHeader::LEN + header.extension_padded();
        let target = header.body_padded();
        let first = target.min(LARGE_FIRST_LEN);
        let buffer = self.pool.take(target).unwrap_or_else(|| Pool::fresh(first));
        self.lanes.begin(Large { header, extension, since: now, buffer, filled: 0, target });
        Ok(())
    }

    /// The first frame of a message whose fragments are to be thrown away. Its lane is free.
    pub(super) fn begin_skipping(&mut self, header: FrameHeader) {
        self.skip(FrameHeader::LEN + header.extension_padded());
        self.lanes.begin_skipping(header);
    }

    /// Whether a message is under way on the lane of this frame.
    pub(super) fn is_lane_busy(&self, header: FrameHeader) -> bool {
        self.lanes.is_busy(header)
    }

    /// A `Fragment` is at the front. Gives the message that it completes, if all of it is here.
    pub(super) fn piece(&mut self, header: FrameHeader) -> Result<Option<Frame>, BadFragment> {
        let len = header.body_padded();
        self.is_after_large = true;
        if !self.lanes.admit(header)? {
            self.skip(FrameHeader::LEN + len);
            return Ok(None);
        }
        self.start += FrameHeader::LEN;
        let here = len.min(self.end - self.start);
        let bytes = &self.slab[self.start..self.start + here];
        self.lanes.fill(bytes, &mut self.pool);
        self.start += here;
        Ok(self.finished())
    }

    /// Whether a next frame may be here: the fragment before it was.
    pub(super) fn has_more(&self) -> bool {
        !self.lanes.is_reading()
    }

    /// A `Fragment` that aborts is at the front. Gives the message's header, if it was not being
    /// thrown away anyway.
    pub(super) fn abort(
        &mut self,
        header: FrameHeader,
    ) -> Result<Option<FrameHeader>, BadFragment> {
        let aborted = self.lanes.abort(header)?;
        self.skip(FrameHeader::LEN + header.extension_padded() + header.body_padded());
        Ok(aborted)
    }

    /// The frame at the front, whose header is `header` and whose lengths have been found
    /// acceptable: `None` while bytes are missing. A large one moves to its own buffer as soon
    /// as its extension is here.
    pub(super) fn take(
        &mut self,
        header: FrameHeader,
        now: Instant,
    ) -> Result<Option<Frame>, BadExtension> {
        let body_at = FrameHeader::LEN + header.extension_padded();
        let body_len = header.body_len as usize;
        let Some(after) = self.slab[self.start..self.end].get(body_at..) else {
            return Ok(None);
        };
        if body_len <= COPY_LEN_MAX {
            let Some(body) = after.get(..header.body_padded()) else {
                return Ok(None);
            };
            self.is_after_large = false;
            let body = match header.kind {
                // Chunks may be kept for long, beside others' bodies that are not: each keeps
                // itself alive and no more.
                Kind::Data => Arena::copy_alone(&body[..body_len]),
                _ => self.arena.copy(&body[..body_len]),
            };
            let extension = self.decode_extension(header)?;
            self.start += body_at + header.body_padded();
            return Ok(Some(Frame { header, extension, body, since: now }));
        }
        let extension = self.decode_extension(header)?;
        self.start += body_at;
        self.is_after_large = true;
        let target = header.body_padded();
        let here = (self.end - self.start).min(target);
        let first = len_of_buffer(target, LARGE_FIRST_LEN.max(here));
        let mut buffer = self.pool.take(target + OVER_LEN).unwrap_or_else(|| Pool::fresh(first));
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
        let decoded = if header.kind == Kind::Data {
            Extension::decode_data(bytes)
        } else {
            Extension::decode(bytes)
        };
        decoded.ok_or(BadExtension)
    }

    /// The large frame, or the message in fragments, that was coming in, if it is whole.
    pub(super) fn finished(&mut self) -> Option<Frame> {
        let large = self.large.take_if(|large| large.filled >= large.target);
        if let Some(Large { buffer, filled, target, .. }) = &large
            && filled > target
        {
            // The slab was empty when the rest of the body was read.
            (self.start, self.end) = (0, filled - target);
            self.slab[..self.end].copy_from_slice(&buffer[*target..*filled]);
        }
        let Large { header, extension, since, buffer, .. } =
            large.or_else(|| self.lanes.finished())?;
        let body = self.pool.share(buffer, header.body_len as usize);
        Some(Frame { header, extension, body, since })
    }
}

impl Large {
    /// Where the next bytes go, `len_max` of them at most. Of a body in one frame, a little more
    /// than is missing.
    pub(super) fn room(&mut self, len_max: usize) -> &mut [u8] {
        let end = (self.target + OVER_LEN)
            .min(self.buffer.len())
            .min(self.filled.saturating_add(len_max));
        &mut self.buffer[self.filled..end]
    }

    /// `len` bytes were put at the front of the room.
    pub(super) fn fill(&mut self, len: usize, pool: &mut Pool) {
        self.filled += len;
        self.grow(pool);
    }

    /// A larger buffer when this one is full: at most [`GROWTH`] times what has arrived.
    fn grow(&mut self, pool: &mut Pool) {
        if self.filled == self.buffer.len() && self.filled < self.target {
            let len = len_of_buffer(self.target, self.filled * GROWTH);
            let mut buffer = pool.take(len).unwrap_or_else(|| Pool::fresh(len));
            buffer[..self.filled].copy_from_slice(&self.buffer);
            self.buffer = buffer;
        }
    }
}

/// The length of a body's buffer that may have `len_max` bytes and the room behind: no longer than
/// it will need to be.
fn len_of_buffer(target: usize, len_max: usize) -> usize {
    if target <= len_max { target + OVER_LEN } else { len_max }
}

/// For searches over connections.
#[cfg(feature = "fuzzing")]
impl Receiver {
    /// All that waits in it and can matter later: not where the memory of bodies comes from.
    #[doc(hidden)]
    pub fn state(&self) -> impl fmt::Debug {
        #[rustfmt::skip]
        let Self {
            slab, slab_len_max: _, has_greeted, is_short, is_after_large, start, end, large,
            lanes, skip, extension_len_max: _, arena: _, pool: _,
        } = self;
        let slab = (slab.len(), *start, &slab[*start..*end]);
        (slab, has_greeted, is_short, is_after_large, large, lanes, skip)
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
