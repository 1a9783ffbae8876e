//! [`Pool`]: the buffers that large bodies land in, used again once nobody reads them.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::config::{ALIGN, POOL_LEN_MAX};

/// The latest buffers, oldest first. Each is a handle beside those of whoever reads it; when it is
/// the only one, the buffer is free. A pooled buffer is used again with what is in it: fresh pages
/// cost more than the reading of a body into them, and clearing it a quarter of that.
#[derive(Debug, Default)]
pub(super) struct Pool {
    buffers: VecDeque<Bytes>,
    /// Bytes of all of them.
    len: usize,
}

impl Pool {
    /// A buffer of at least `len` bytes, though not far more, that nobody reads any more.
    pub(super) fn take(&mut self, len: usize) -> Option<BytesMut> {
        let is_fitting =
            |buffer: &Bytes| (len..=len + len / 3).contains(&buffer.len()) && buffer.is_unique();
        let at = self.buffers.iter().position(is_fitting)?;
        let buffer = self.buffers.remove(at)?;
        self.len -= buffer.len();
        buffer.try_into_mut().ok()
    }

    /// A new buffer of `len` bytes, 16-byte aligned, its length all of it.
    pub(super) fn fresh(len: usize) -> BytesMut {
        let mut buffer = BytesMut::zeroed(len + ALIGN - 1);
        let addr = buffer.as_ptr().addr();
        // Splitting also makes the handle a counted one, so that neither `freeze` nor `clone`
        // allocates.
        let mut buffer = buffer.split_off(addr.next_multiple_of(ALIGN) - addr);
        buffer.truncate(len);
        buffer
    }

    /// The first `len` bytes of a buffer that is full, of which the pool keeps track.
    pub(super) fn share(&mut self, buffer: BytesMut, len: usize) -> Bytes {
        let buffer = buffer.freeze();
        let body = buffer.slice(..len);
        if buffer.len() <= POOL_LEN_MAX {
            self.len += buffer.len();
            self.buffers.push_back(buffer);
            // The oldest are left to their readers, who may keep them for ever.
            while self.len > POOL_LEN_MAX
                && let Some(oldest) = self.buffers.pop_front()
            {
                self.len -= oldest.len();
            }
        }
        body
    }

    /// Gives all back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes held, or read by others and kept track of.
    pub(super) fn held_len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests;
