//! How a typed message becomes bytes, and where the memory for that comes from.
//!
//! ```text
//!   short: a thread's scratch buffer --copied--> a thread's chunk, many messages to an allocation
//!   long:  the scratch buffer itself, given away; the next one is one that came back
//! ```

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use chinwag_core::rpc::config::COPY_LEN_MAX;
use rkyv::rancor::Error;
use rkyv::util::AlignedVec;

use crate::base::limits::ARCHIVES_LEN_MAX;
use crate::base::sync::lock;
use crate::message::method::Payload;
use crate::message::view::ALIGN;

/// Bytes of a chunk: what a short message keeps alive until it is sent.
const CHUNK_LEN: usize = 16 * 1024;

/// What a thread's scratch buffer is made for at most; longer messages grow theirs.
const HINT_MAX: usize = 2 * 1024 * 1024;

/// What a thread keeps at hand.
#[derive(Default)]
struct Scratch {
    archive: AlignedVec<ALIGN>,
    /// The rest of the chunk.
    chunk: BytesMut,
    /// The length of the last long message: of the next one too, perhaps.
    hint: usize,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers of long messages that have been sent. Fresh pages cost several times what writing a
/// message into old ones does.
static SENT: Mutex<Pool> = Mutex::new(Pool { buffers: Vec::new(), len: 0 });

/// Bytes of the buffers of long messages that are being sent.
static LENT_LEN: AtomicUsize = AtomicUsize::new(0);

struct Pool {
    buffers: Vec<AlignedVec<ALIGN>>,
    /// Bytes of their capacities.
    len: usize,
}

impl Pool {
    fn take(&mut self) -> Option<AlignedVec<ALIGN>> {
        let buffer = self.buffers.pop()?;
        self.len -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps as much as is being sent, since as much is about to be encoded again; and a little in
    /// any case.
    fn give(&mut self, buffer: AlignedVec<ALIGN>, lent_len: usize) {
        let len_max = lent_len.max(ARCHIVES_LEN_MAX);
        self.len += buffer.capacity();
        self.buffers.push(buffer);
        while self.len > len_max && self.take().is_some() {}
    }
}

/// A long message that is being sent.
struct Pooled(AlignedVec<ALIGN>);

impl Pooled {
    fn new(buffer: AlignedVec<ALIGN>) -> Self {
        LENT_LEN.fetch_add(buffer.capacity(), Ordering::Relaxed);
        Self(buffer)
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let lent_len = LENT_LEN.fetch_sub(buffer.capacity(), Ordering::Relaxed) - buffer.capacity();
        lock(&SENT).give(buffer, lent_len);
    }
}

/// `payload` as bytes.
pub(crate) fn encode<T: Payload>(payload: &T) -> Result<Bytes, Error> {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => scratch.encode(payload),
        // Serializing calls the user's code, which has come here again.
        Err(_) => Scratch::default().encode(payload),
    })
}

impl Scratch {
    fn encode<T: Payload>(&mut self, payload: &T) -> Result<Bytes, Error> {
        let mut buffer = std::mem::take(&mut self.archive);
        if buffer.capacity() < self.hint {
            buffer = lock(&SENT).take().unwrap_or_default();
            buffer.reserve(self.hint);
        }
        buffer.clear();
        let buffer = rkyv::api::high::to_bytes_in::<_, Error>(payload, buffer)?;
        Ok(if buffer.len() <= COPY_LEN_MAX {
            let bytes = self.copy(&buffer);
            self.archive = buffer;
            bytes
        } else {
            self.hint = buffer.len().min(HINT_MAX);
            Bytes::from_owner(Pooled::new(buffer))
        })
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.chunk.capacity() < bytes.len() && !self.chunk.try_reclaim(CHUNK_LEN) {
            self.chunk = BytesMut::with_capacity(CHUNK_LEN);
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_length_are_what_rkyv_makes_of_them() {
        for len in (0..40_000).step_by(1_013).chain([300_000, 7, 300_000, 20]) {
            let message: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[0]).collect();
            let encoded = encode(&message).expect("bytes");
            let expected =
                rkyv::api::high::to_bytes_in::<_, Error>(&message, AlignedVec::<ALIGN>::new());
            assert_eq!(encoded[..], expected.expect("bytes")[..], "{len}");
        }
    }

    #[test]
    fn a_message_is_not_written_over_while_it_is_held() {
        let messages: Vec<Vec<u8>> = (0..200).map(|at| vec![at; usize::from(at) * 100]).collect();
        let encoded: Vec<Bytes> =
            messages.iter().map(|message| encode(message).expect("bytes")).collect();
        let again: Vec<Bytes> =
            messages.iter().map(|message| encode(message).expect("bytes")).collect();
        assert_eq!(encoded, again);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pool = Pool { buffers: Vec::new(), len: 0 };
        for lent in (0..100).rev() {
            pool.give(AlignedVec::with_capacity(1 << 20), lent << 20);
            assert!(
                pool.len <= ARCHIVES_LEN_MAX.max(lent << 20),
                "what is being sent, or a little"
            );
        }
        assert_eq!(pool.buffers.len(), ARCHIVES_LEN_MAX >> 20);
        while pool.take().is_some() {}
        assert_eq!(pool.len, 0);
    }
}
