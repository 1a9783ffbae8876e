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

/// The alignment of the copy that is read if that of the wire is not enough: that of a page, since
/// what an archive points to does not say what it needs.
const WIDE_ALIGN: usize = 4096;

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
    /// receives does, and is not copied. A type that is aligned to more than 16, or points to one
    /// that is, is read in a copy too, unless the bytes happen to lie well; one that is aligned to
    /// more than 4,096 does not compile.
    pub fn new(bytes: Bytes) -> Result<Self, Malformed> {
        const { assert!(align_of::<T::Archived>() <= WIDE_ALIGN, "aligned to more than a page") };
        let is_at = |bytes: &Bytes, align| bytes.as_ptr().addr().is_multiple_of(align);
        let bytes = if is_at(&bytes, ALIGN) { bytes } else { aligned_copy::<ALIGN>(&bytes) };
        let bytes = match Self::check(&bytes) {
            Ok(()) => bytes,
            Err(malformed) if is_at(&bytes, WIDE_ALIGN) => return Err(malformed),
            // Whether the alignment was the reason cannot be seen. Of malformed bytes this doubles
            // the work, and no more.
            Err(_) => {
                let copy = aligned_copy::<WIDE_ALIGN>(&bytes);
                Self::check(&copy)?;
                copy
            }
        };
        Ok(Self { bytes, archived: PhantomData })
    }

    /// Whether these are valid where they lie.
    fn check(bytes: &[u8]) -> Result<(), Malformed> {
        let archive = ArchiveValidator::with_max_depth(bytes, Some(DEPTH_MAX));
        let mut validator = Validator::new(archive, SharedValidator::new());
        access_with_context::<T::Archived, _, Error>(bytes, &mut validator).map_err(Malformed)?;
        Ok(())
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

/// A copy that keeps what it was made of, so that this stays charged for as long as the copy is
/// held (docs/protocol.md §5.12.4).
struct Copied<const ALIGN_OF: usize> {
    copy: rkyv::util::AlignedVec<ALIGN_OF>,
    _charged: Bytes,
}

impl<const ALIGN_OF: usize> AsRef<[u8]> for Copied<ALIGN_OF> {
    fn as_ref(&self) -> &[u8] {
        &self.copy
    }
}

fn aligned_copy<const ALIGN_OF: usize>(bytes: &Bytes) -> Bytes {
    let mut copy = rkyv::util::AlignedVec::<ALIGN_OF>::with_capacity(bytes.len());
    copy.extend_from_slice(bytes);
    Bytes::from_owner(Copied { copy, _charged: bytes.clone() })
}

#[cfg(test)]
mod tests;
