//! [`View`]: a received message, read where it lies.
#![allow(unsafe_code)] // The one `unsafe` of the project; see `Deref`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use rkyv::Archive;
use rkyv::api::access_with_context;
use rkyv::rancor::{Error, Source};
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::validation::shared::SharedValidator;

use crate::base::limits::DEPTH_MAX;
use crate::message::method::Payload;

/// The alignment a message is read at: that of `u128`, the widest primitive an archive holds. The
/// root's own alignment is not enough, since what it points to may need more.
pub(crate) const ALIGN: usize = 16;

/// A message as it was received: validated once, never copied, read through [`Deref`] as
/// [`Archived<T>`](rkyv::Archived).
///
/// Cloning counts a reference. The bytes stay alive as long as any clone does, so a small view may
/// keep a receive buffer alive: take what is needed out of it (`rkyv::deserialize`, or
/// [`View::bytes`]) to keep it for long.
pub struct View<T: Archive> {
    bytes: Bytes,
    /// `Send` and `Sync` exactly as a shared pointer to the archived value would be.
    archived: PhantomData<Arc<T::Archived>>,
}

impl<T: Payload> View<T> {
    /// Validates `bytes` as an archive of `T` that ends where `bytes` end.
    ///
    /// Never panics. Fails when `bytes` are short, malformed, or nested deeper than [`DEPTH_MAX`].
    /// Bytes that do not start at a multiple of 16 are copied to one first; what a connection
    /// receives does, and is not copied.
    pub fn new(bytes: Bytes) -> Result<Self, Malformed> {
        let bytes =
            if bytes.as_ptr().addr().is_multiple_of(ALIGN) { bytes } else { aligned_copy(&bytes) };
        let archive = ArchiveValidator::with_max_depth(&bytes, Some(DEPTH_MAX));
        let mut validator = Validator::new(archive, SharedValidator::new());
        access_with_context::<T::Archived, _, Error>(&bytes, &mut validator).map_err(Malformed)?;
        Ok(Self { bytes, archived: PhantomData })
    }
}

impl<T: Archive> View<T> {
    /// The bytes below. A byte field can be kept without a copy:
    /// `view.bytes().slice_ref(&view.body)`.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<T: Archive> Deref for View<T> {
    type Target = T::Archived;

    fn deref(&self) -> &T::Archived {
        // SAFETY: `View::new`, the only constructor, has validated these very bytes, at this very
        // address, as an archive of `T` whose root ends at their end. `Bytes` neither moves
        // nor changes what it holds while any handle to it lives, and offers no way to
        // write; `T::Archived: Portable` (from `Archive`) rules out interior mutability. So what
        // was valid then is valid now, for as long as `self` is borrowed.
        unsafe { rkyv::access_unchecked::<T::Archived>(&self.bytes) }
    }
}

impl<T: Archive> Clone for View<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), archived: PhantomData }
    }
}

/// Its length alone: archived types need not be printable. `(*view)` is what can be.
impl<T: Archive> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} bytes)", self.bytes.len())
    }
}

/// The bytes are not an archive of the type asked for.
///
/// What it prints travels to the peer in a [`Status`](crate::Status), so it says nothing of this
/// process. What validation found, with the addresses it found it at, is its `source`.
#[derive(Debug)]
pub struct Malformed(Error);

impl Malformed {
    /// For a body where there is to be none.
    pub(crate) fn unexpected() -> Self {
        #[derive(Debug)]
        struct Unexpected;
        impl fmt::Display for Unexpected {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nothing is streamed in this direction")
            }
        }
        impl std::error::Error for Unexpected {}
        Self(Error::new(Unexpected))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed message: its bytes are no archive of the type that is expected")
    }
}

impl std::error::Error for Malformed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn aligned_copy(bytes: &[u8]) -> Bytes {
    let mut aligned = rkyv::util::AlignedVec::<ALIGN>::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    Bytes::from_owner(aligned)
}

#[cfg(test)]
mod tests;
