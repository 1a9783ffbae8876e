//! [`Arena`]: where small bodies are copied to, many to an allocation.

use bytes::{Bytes, BytesMut};

use super::config::ALIGN;
use super::frame::padded;

/// Bytes of the first chunk: enough for a connection that hardly speaks.
const CHUNK_LEN_MIN: usize = 1_024;
/// Bytes of a chunk, and so what a kept small body keeps alive at most: some hundred small bodies
/// to an allocation, or two of the largest.
pub(super) const CHUNK_LEN_MAX: usize = 16 * 1_024;

/// Copies bodies to 16-byte aligned places in a shared chunk. A chunk whose bodies are all gone is
/// used again; one that somebody keeps a body of is left to them.
#[derive(Debug, Default)]
pub(super) struct Arena {
    /// The rest of the chunk: empty, its capacity aligned and free.
    chunk: BytesMut,
    /// Bytes of the chunk.
    chunk_len: usize,
    /// Chunks since the beginning, for tests: an address does not tell which chunk it is of.
    #[cfg(test)]
    counts: Counts,
}

/// Chunks that an [`Arena`] has used.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Allocated.
    made: usize,
    /// Used again, once all of their bodies were gone.
    reused: usize,
}

impl Arena {
    /// A copy of `bytes`.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        /// An empty body is aligned too: a reader may ask before it looks at the length.
        #[repr(align(16))]
        struct Aligned([u8; ALIGN]);
        static EMPTY: Aligned = Aligned([0; ALIGN]);

        if bytes.is_empty() {
            return Bytes::from_static(&EMPTY.0[..0]);
        }
        let len = padded(bytes.len());
        if self.chunk.capacity() < len {
            self.renew(len);
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.resize(len, 0);
        let mut body = self.chunk.split().freeze();
        body.truncate(bytes.len());
        body
    }

    /// A copy of `bytes` that shares its memory with no other.
    pub(super) fn copy_alone(bytes: &[u8]) -> Bytes {
        let mut alone = Self {
            chunk: BytesMut::with_capacity(padded(bytes.len()) + ALIGN),
            chunk_len: usize::MAX,
            #[cfg(test)]
            counts: Counts::default(),
        };
        align(&mut alone.chunk);
        alone.copy(bytes)
    }

    /// A chunk with room for `len` bytes.
    fn renew(&mut self, len: usize) {
        if self.chunk_len < CHUNK_LEN_MAX
            || len > self.chunk_len
            || !self.chunk.try_reclaim(self.chunk_len)
        {
            self.chunk_len = (4 * self.chunk_len).clamp(CHUNK_LEN_MIN, CHUNK_LEN_MAX).max(len);
            self.chunk = BytesMut::with_capacity(self.chunk_len + ALIGN);
            #[cfg(test)]
            {
                self.counts.made += 1;
            }
        } else {
            #[cfg(test)]
            {
                self.counts.reused += 1;
            }
        }
        align(&mut self.chunk);
    }

    /// Gives the chunk back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes held.
    pub(super) fn held_len(&self) -> usize {
        self.chunk_len
    }
}

/// Moves the beginning of an empty buffer with at least [`ALIGN`] bytes of capacity to a multiple
/// of it.
fn align(buffer: &mut BytesMut) {
    let addr = buffer.as_ptr().addr();
    buffer.resize(addr.next_multiple_of(ALIGN) - addr, 0);
    drop(buffer.split());
}

#[cfg(test)]
mod tests;
