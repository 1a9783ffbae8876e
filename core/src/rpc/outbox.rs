//! [`Outbox`]: what waits to be written, in order (`docs/protocol.md` §5.7.4, §5.7.5).
//!
//! Small frames are encoded back to back into one buffer, so that many leave with one write. A body
//! above [`COPY_LEN_MAX`](super::config::COPY_LEN_MAX) is written from where it lies.

use super::body::Body;
use super::content::{Content, TABLE_LEN_MAX};
use super::fast_path::HEAD_LEN;
use super::flows::Message;
use super::frame::{Extension, FrameHeader, Kind, NO_TIMEOUT, lane_flags, padded};
use super::headers::Headers;
use super::outbound::micros;
use super::transmit::Transmit;
use super::trash::Trash;
use crate::clock::Timestamp;
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Transmit,
    /// What users gave and has been copied, or will not be sent.
    pub(super) trash: Trash,
    /// Bytes ever queued and bytes that have left, as positions in the stream.
    queued: u64,
    left: u64,
    frames: u64,
    /// Frames queued since it was last empty.
    batch: u32,
    owed: Unsent,
    gossip: Unsent,
    /// Nothing but keepalives has passed for a while: large buffers are given back as they come.
    is_resting: bool,
}

/// Bytes of some class that have not left, to within a factor of two and without a list of them:
/// those queued before `mark` count until the stream has passed `mark`.
#[derive(Debug, Default)]
struct Unsent {
    older: usize,
    newer: usize,
    mark: u64,
    /// Where the last of them end.
    end: u64,
}

impl Unsent {
    /// `len` bytes were queued, the last of which is before `queued`.
    fn add(&mut self, len: usize, queued: u64, left: u64) {
        self.len(queued, left);
        self.newer += len;
        self.end = queued;
    }

    /// Bytes that have not left of a stream of which `left` of `queued` bytes have.
    fn len(&mut self, queued: u64, left: u64) -> usize {
        if left >= self.end {
            (self.older, self.newer, self.mark) = (0, 0, queued);
        } else if left >= self.mark {
            (self.older, self.newer, self.mark) = (self.newer, 0, queued);
        }
        self.older + self.newer
    }
}

impl Outbox {
    /// Raw bytes, a multiple of 16: the hello.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.queue.encode(&[bytes]);
        self.queued += bytes.len() as u64;
    }

    /// A frame without extension. Its body is copied.
    pub(super) fn plain(&mut self, mut header: FrameHeader, body: &[u8]) {
        header.body_len =
            u32::try_from(body.len()).expect("bodies are checked against limits below 4 GiB");
        self.queue.encode(&[&header.encode(), body]);
        self.count(FrameHeader::LEN + padded(body.len()));
    }

    /// A frame that opens or answers a call (§5.3.1). Headers and body have been checked against
    /// their limits.
    pub(super) fn message(
        &mut self,
        mut header: FrameHeader,
        stamp: Timestamp,
        timeout: Option<u64>,
        headers: &Headers,
        body: Body<'_>,
    ) {
        let extension_len = Extension::len_with(headers);
        header.body_len =
            u32::try_from(body.len()).expect("bodies are checked against limits below 4 GiB");
        header.extension_len =
            u16::try_from(extension_len).expect("header blocks have at most 32 KiB");
        let timeout = timeout.unwrap_or(NO_TIMEOUT);
        if headers.is_empty() && body.is_small() {
            // Nearly all of them.
            let [front, back] = header.words();
            self.queue.frame([front, back, stamp.get(), timeout], &body);
            self.is_resting = false;
            self.count(HEAD_LEN + padded(body.len()));
            return self.trash.put_body(body);
        }
        let (header, stamp, timeout) =
            (header.encode(), stamp.get().to_le_bytes(), timeout.to_le_bytes());
        if headers.is_empty() {
            self.queue.encode(&[&header, &stamp, &timeout]);
        } else {
            let len =
                u16::try_from(headers.encoded_len()).expect("header blocks have at most 32 KiB");
            self.queue.encode(&[&header, &stamp, &timeout, &len.to_le_bytes(), headers.as_bytes()]);
        }
        let body_padded = padded(body.len());
        if body.is_small() {
            self.queue.encode(&[&body]);
            self.trash.put_body(body);
        } else {
            let padding = body_padded - body.len();
            self.queue.splice(body.into_bytes());
            self.queue.zeros(padding);
        }
        self.is_resting = false;
        self.count(FrameHeader::LEN + padded(extension_len) + body_padded);
    }

    /// A message, whole, whose content is taken. Headers and content have been checked against
    /// their limits.
    pub(super) fn whole(&mut self, now: Instant, message: &mut Message) {
        let len = padded(message.content.len());
        self.head(now, message);
        message.content.take(len, &mut self.queue, &mut self.trash);
        self.queued += len as u64;
    }

    /// The first frame of a message that comes in fragments, or a frame whose body is yet to be
    /// added.
    pub(super) fn head(&mut self, now: Instant, message: &Message) {
        let Message { header, stamp, deadline, headers, content, chunk_len_max } = message;
        let mut table = [0; TABLE_LEN_MAX];
        let table = content.encode_table(&mut table);
        let timeout = deadline.map_or(NO_TIMEOUT, |at| micros(at.since(now))).to_le_bytes();
        let (stamp, headers_len) = (stamp.get().to_le_bytes(), headers.encoded_len());
        let headers_len =
            u16::try_from(headers_len).expect("header blocks have at most 32 KiB").to_le_bytes();
        let chunk_len = chunk_len_max.to_le_bytes();
        let parts: [&[u8]; 6] = match header.kind {
            Kind::Data => [table, &[], &[], &[], &[], &[]],
            _ if *chunk_len_max > 0 => {
                let table = if table.is_empty() { &[0][..] } else { table };
                [&stamp, &timeout, &headers_len, headers.as_bytes(), table, &chunk_len]
            }
            _ if headers.is_empty() && table.is_empty() => [&stamp, &timeout, &[], &[], &[], &[]],
            _ => [&stamp, &timeout, &headers_len, headers.as_bytes(), table, &[]],
        };
        let extension_len = parts.iter().map(|part| part.len()).sum();
        let header = FrameHeader {
            body_len: u32::try_from(content.len())
                .expect("bodies are checked against limits below 4 GiB"),
            extension_len: u16::try_from(extension_len).expect("header blocks have at most 32 KiB"),
            ..*header
        };
        self.queue.encode(&[&header.encode()]);
        self.queue.encode(&parts);
        self.is_resting = false;
        self.count(FrameHeader::LEN + padded(extension_len));
    }

    /// The next `len` bytes of a message that comes in fragments: a multiple of 16, or all that is
    /// left.
    pub(super) fn fragment(&mut self, lane: u8, len: usize, content: &mut Content) {
        let body_len = u32::try_from(len).expect("bodies are checked against limits below 4 GiB");
        let header = FrameHeader {
            body_len,
            flags: lane_flags(lane),
            ..FrameHeader::new(Kind::Fragment, 0)
        };
        self.queue.encode(&[&header.encode()]);
        content.take(padded(len), &mut self.queue, &mut self.trash);
        self.count(FrameHeader::LEN + padded(len));
    }

    /// Counts the frame just queued, the last `len` bytes, among those the machine owes.
    pub(super) fn owe(&mut self, len: usize) {
        self.owed.add(len, self.queued, self.left);
    }

    /// Bytes owed that have not left.
    pub(super) fn owed(&mut self) -> usize {
        self.owed.len(self.queued, self.left)
    }

    /// Counts what was queued since `position` as gossip.
    pub(super) fn count_gossip(&mut self, position: u64) {
        let len = usize::try_from(self.queued - position).unwrap_or(usize::MAX);
        self.gossip.add(len, self.queued, self.left);
    }

    /// Bytes of gossip that have not left.
    pub(super) fn gossip_len(&mut self) -> usize {
        self.gossip.len(self.queued, self.left)
    }

    /// Moves at most `len_max` bytes to the end of `out`, and says how many.
    pub(super) fn transmit(&mut self, out: &mut Transmit, len_max: usize) -> usize {
        let moved = out.take(&mut self.queue, len_max);
        self.left += moved as u64;
        if self.left == self.queued {
            self.batch = 0;
            if self.is_resting {
                self.queue = Transmit::new();
            }
        }
        moved
    }

    /// There is little to do: gives back what busier times needed.
    pub(super) fn rest(&mut self) {
        self.is_resting = true;
        if self.queue.is_empty() {
            self.queue = Transmit::new();
        }
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
        let mut trash = core::mem::take(&mut self.trash);
        core::mem::take(&mut self.queue).discard(&mut trash);
        let (left, frames) = (self.left, self.frames);
        *self = Self { queued: left, left, frames, trash, ..Self::default() };
    }

    fn count(&mut self, len: usize) {
        self.queued += len as u64;
        self.frames += 1;
        self.batch = self.batch.saturating_add(1);
    }
}
