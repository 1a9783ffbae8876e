//! [`Outbox`]: what waits to be written, in order (`docs/protocol.md` §5.7.4, §5.7.5).
//!
//! Small frames are encoded back to back into one buffer, so that many leave with one write. A body above
//! [`COPY_LEN_MAX`] is kept as it was given and copied only into the caller's buffer, a piece at a time.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::config::COPY_LEN_MAX;
use super::frame::{Extension, FrameHeader, NO_TIMEOUT, padded};
use super::headers::Headers;
use crate::clock::Timestamp;

/// A drained buffer with more room than this is given back: one burst must not be paid for for ever.
const KEPT_CAPACITY: usize = 256 * 1024;

#[derive(Debug)]
enum Segment {
    Encoded(Vec<u8>),
    Body(Bytes),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Encoded(bytes) => bytes,
            Self::Body(bytes) => bytes,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Before `tail`. The first `front_at` bytes of the first one have left.
    sealed: VecDeque<Segment>,
    front_at: usize,
    /// Where frames are encoded. The first `tail_at` bytes have left.
    tail: Vec<u8>,
    tail_at: usize,
    /// Bytes ever queued and bytes that have left, as positions in the stream.
    queued: u64,
    left: u64,
    frames: u64,
    /// Frames queued since it was last empty.
    batch: u32,
    owed: Owed,
}

/// Bytes of answers the machine owes that have not left, to within a factor of two and without a list of them: those
/// queued before `mark` count until the stream has passed `mark`.
#[derive(Debug, Default)]
struct Owed {
    older: usize,
    newer: usize,
    mark: u64,
}

impl Outbox {
    /// Raw bytes: the hello.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.queued += bytes.len() as u64;
    }

    /// A frame without extension. Its body is copied.
    pub(super) fn plain(&mut self, mut header: FrameHeader, body: &[u8]) {
        header.body_len = u32::try_from(body.len()).expect("bodies are checked against limits below 4 GiB");
        let before = self.tail.len();
        self.tail.extend_from_slice(&header.encode());
        self.tail.extend_from_slice(body);
        self.tail.resize(before + FrameHeader::LEN + padded(body.len()), 0);
        self.count(FrameHeader::LEN + padded(body.len()));
    }

    /// A frame that opens or answers a call (§5.3.1). Headers and body have been checked against their limits.
    pub(super) fn message(
        &mut self,
        mut header: FrameHeader,
        stamp: Timestamp,
        timeout: Option<u64>,
        headers: &Headers,
        body: Bytes,
    ) {
        let extension_len = Extension::len_with(headers);
        header.body_len = u32::try_from(body.len()).expect("bodies are checked against limits below 4 GiB");
        header.extension_len = u16::try_from(extension_len).expect("header blocks have at most 32 KiB");
        let before = self.tail.len();
        self.tail.extend_from_slice(&header.encode());
        self.tail.extend_from_slice(&stamp.get().to_le_bytes());
        self.tail.extend_from_slice(&timeout.unwrap_or(NO_TIMEOUT).to_le_bytes());
        if !headers.is_empty() {
            let len = u16::try_from(headers.encoded_len()).expect("header blocks have at most 32 KiB");
            self.tail.extend_from_slice(&len.to_le_bytes());
            self.tail.extend_from_slice(headers.as_bytes());
            self.tail.resize(before + FrameHeader::LEN + padded(extension_len), 0);
        }
        let body_padded = padded(body.len());
        self.count(FrameHeader::LEN + padded(extension_len) + body_padded);
        if body.len() <= COPY_LEN_MAX {
            self.tail.extend_from_slice(&body);
            self.tail.resize(self.tail.len() + body_padded - body.len(), 0);
        } else {
            let padding = body_padded - body.len();
            self.seal();
            self.sealed.push_back(Segment::Body(body));
            self.tail.resize(padding, 0);
        }
    }

    /// Counts the frame just queued, the last `len` bytes, among those the machine owes.
    pub(super) fn owe(&mut self, len: usize) {
        self.settle();
        self.owed.newer += len;
    }

    /// Bytes owed that have not left.
    pub(super) fn owed(&mut self) -> usize {
        self.settle();
        self.owed.older + self.owed.newer
    }

    fn settle(&mut self) {
        if self.left >= self.owed.mark {
            self.owed = Owed { older: self.owed.newer, newer: 0, mark: self.queued };
            if self.left == self.queued {
                self.owed.older = 0;
            }
        }
    }

    /// Moves at most `len_max` bytes to the end of `out`, and says how many.
    pub(super) fn transmit(&mut self, out: &mut Vec<u8>, len_max: usize) -> usize {
        let mut moved = 0;
        while let Some(front) = self.sealed.front() {
            let rest = &front.bytes()[self.front_at..];
            let piece = &rest[..rest.len().min(len_max - moved)];
            out.extend_from_slice(piece);
            moved += piece.len();
            if piece.len() < rest.len() {
                self.front_at += piece.len();
                break;
            }
            self.sealed.pop_front();
            self.front_at = 0;
        }
        if self.sealed.is_empty() {
            moved += self.transmit_tail(out, len_max - moved);
        }
        self.left += moved as u64;
        if self.left == self.queued {
            self.batch = 0;
        }
        moved
    }

    fn transmit_tail(&mut self, out: &mut Vec<u8>, len_max: usize) -> usize {
        let len = (self.tail.len() - self.tail_at).min(len_max);
        if self.tail_at == 0 && out.is_empty() && len == self.tail.len() {
            // The usual case: the two buffers change places and nothing is copied.
            core::mem::swap(out, &mut self.tail);
        } else {
            out.extend_from_slice(&self.tail[self.tail_at..self.tail_at + len]);
            self.tail_at += len;
        }
        if self.tail_at == self.tail.len() {
            self.tail.clear();
            self.tail_at = 0;
        } else if self.tail_at > KEPT_CAPACITY && self.tail_at > self.tail.len() / 2 {
            self.tail.drain(..self.tail_at);
            self.tail_at = 0;
        }
        if self.tail.is_empty() && self.tail.capacity() > KEPT_CAPACITY {
            self.tail = Vec::new();
        }
        len
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.queued - self.left).unwrap_or(usize::MAX)
    }

    /// Where in the stream the next frame will begin.
    pub(super) fn position(&self) -> u64 {
        self.queued
    }

    /// Whether the byte at `position` has left.
    pub(super) fn has_left(&self, position: u64) -> bool {
        position < self.left
    }

    /// Frames queued since it was last empty.
    pub(super) fn batch(&self) -> u32 {
        self.batch
    }

    /// Frames ever queued.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes that have left.
    pub(super) fn bytes_left(&self) -> u64 {
        self.left
    }

    /// Nothing more is to leave.
    pub(super) fn clear(&mut self) {
        *self = Self { queued: self.left, left: self.left, frames: self.frames, ..Self::default() };
    }

    fn count(&mut self, len: usize) {
        self.queued += len as u64;
        self.frames += 1;
        self.batch = self.batch.saturating_add(1);
    }

    fn seal(&mut self) {
        let mut tail = core::mem::take(&mut self.tail);
        let tail_at = core::mem::take(&mut self.tail_at);
        if self.sealed.is_empty() {
            self.front_at = tail_at;
        } else {
            debug_assert_eq!(tail_at, 0, "the tail leaves only when nothing is before it");
        }
        tail.shrink_to_fit();
        if tail.len() > self.front_at || !self.sealed.is_empty() {
            self.sealed.push_back(Segment::Encoded(tail));
        } else {
            self.front_at = 0;
        }
    }
}
