//! [`Transmit`]: bytes on their way out, in order: encoded frames in one buffer, and long bodies spliced in where they lie.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use super::trash::Trash;

/// Slices given out at once. What one `writev` takes at most is 1,024 on common systems; gains end
/// long before.
pub const SLICES_MAX: usize = 64;

/// A drained buffer with more room than this is given back: one burst must not be paid for for
/// ever.
const KEPT_CAPACITY: usize = 256 * 1024;

/// Bytes to be written to the stream, in order. Long bodies are in it as they were given, not
/// copied.
///
/// A driver keeps one: [`poll_transmit`](super::Connection::poll_transmit) fills it,
/// [`slices`](Self::slices) are written with one vectored write, [`advance`](Self::advance) takes
/// off what was written.
#[derive(Debug, Default)]
pub struct Transmit {
    /// Frames without their long bodies. The first `at` bytes are gone.
    encoded: Vec<u8>,
    at: usize,
    /// Long bodies, in order of their places.
    splices: VecDeque<Splice>,
    /// Bytes left, encoded and spliced.
    len: usize,
}

#[derive(Debug)]
struct Splice {
    /// How many bytes of `encoded` go before it.
    after: usize,
    /// Never empty.
    body: Bytes,
}

impl Transmit {
    /// Nothing to write.
    pub const fn new() -> Self {
        Self { encoded: Vec::new(), at: 0, splices: VecDeque::new(), len: 0 }
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether all of it is written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is left, in order: at most [`SLICES_MAX`] slices, none of them empty. More may follow
    /// once these are written.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.at;
        let mut splices = self.splices.iter();
        let mut body: Option<&Bytes> = None;
        let next = move || {
            if let Some(body) = body.take() {
                return Some(&body[..]);
            }
            let (end, splice) = match splices.next() {
                Some(splice) => (splice.after, Some(&splice.body)),
                None => (self.encoded.len(), None),
            };
            let run = &self.encoded[at..end];
            at = end;
            if run.is_empty() {
                return splice.map(|body| &body[..]);
            }
            body = splice;
            Some(run)
        };
        core::iter::from_fn(next).take(SLICES_MAX)
    }

    /// The first `len` bytes are written; more than are left counts as all.
    pub fn advance(&mut self, len: usize) {
        let mut rest = len.min(self.len);
        self.len -= rest;
        while rest > 0 {
            let end = self.splices.front().map_or(self.encoded.len(), |splice| splice.after);
            if self.at < end {
                let step = rest.min(end - self.at);
                self.at += step;
                rest -= step;
            } else if let Some(splice) = self.splices.front_mut() {
                let step = rest.min(splice.body.len());
                splice.body.advance(step);
                rest -= step;
                if splice.body.is_empty() {
                    self.splices.pop_front();
                }
            }
        }
        if self.len == 0 {
            self.clear();
        } else if self.at > KEPT_CAPACITY && self.at > self.encoded.len() / 2 {
            self.encoded.drain(..self.at);
            self.splices.iter_mut().for_each(|splice| splice.after -= self.at);
            self.at = 0;
        }
    }

    /// Throws away what is left, and keeps the room for more.
    pub fn clear(&mut self) {
        self.encoded.clear();
        self.splices.clear();
        (self.at, self.len) = (0, 0);
        if self.encoded.capacity() > KEPT_CAPACITY {
            self.encoded = Vec::new();
        }
    }

    /// What is left is not written.
    pub(super) fn discard(self, trash: &mut Trash) {
        trash.extend(self.splices.into_iter().map(|splice| splice.body));
    }

    /// Adds the parts of one frame, and zeros up to a multiple of 16 of their sum.
    pub(super) fn encode(&mut self, parts: &[&[u8]]) {
        let before = self.encoded.len();
        for part in parts {
            self.encoded.extend_from_slice(part);
        }
        let len = super::frame::padded(self.encoded.len() - before);
        self.encoded.resize(before + len, 0);
        self.len += len;
    }

    /// Adds a frame, whose head is these words, and zeros up to a multiple of 16.
    pub(super) fn frame(&mut self, head: [u64; 4], body: &[u8]) {
        let padding = super::frame::padded(body.len()) - body.len();
        let len = size_of_val(&head) + body.len() + padding;
        self.encoded.reserve(len);
        for word in head {
            self.encoded.extend_from_slice(&word.to_le_bytes());
        }
        self.encoded.extend_from_slice(body);
        self.encoded.extend_from_slice(&[0; 16][..padding]);
        self.len += len;
    }

    /// Adds bytes that are written from where they lie.
    pub(super) fn splice(&mut self, body: Bytes) {
        if !body.is_empty() {
            self.len += body.len();
            self.splices.push_back(Splice { after: self.encoded.len(), body });
        }
    }

    /// Adds `len` zeros.
    pub(super) fn zeros(&mut self, len: usize) {
        self.encoded.resize(self.encoded.len() + len, 0);
        self.len += len;
    }

    /// Takes at most `len_max` bytes off the front of `queue`, and says how many.
    pub(super) fn take(&mut self, queue: &mut Self, len_max: usize) -> usize {
        if self.is_empty() && queue.len <= len_max {
            // The usual case: the two change places and nothing is copied.
            core::mem::swap(self, queue);
            return self.len;
        }
        let mut left = len_max.min(queue.len);
        let taken = left;
        while left > 0 {
            let end = queue.splices.front().map_or(queue.encoded.len(), |splice| splice.after);
            let step = if queue.at < end {
                let run = &queue.encoded[queue.at..end];
                let run = &run[..run.len().min(left)];
                self.encoded.extend_from_slice(run);
                self.len += run.len();
                run.len()
            } else {
                let Some(splice) = queue.splices.front() else { break };
                let step = splice.body.len().min(left);
                self.splice(splice.body.slice(..step));
                step
            };
            queue.advance(step);
            left -= step;
        }
        taken
    }
}

#[cfg(test)]
mod tests;
