//! [`Body`]: what a message carries, borrowed or owned.

use alloc::vec::Vec;
use core::ops::Deref;

use bytes::Bytes;

use super::config::COPY_LEN_MAX;

/// A message's body on its way out.
///
/// A short one is copied into the frame whichever it is, so lending it saves the caller an
/// allocation: it can encode into one buffer for ever. A long one ([`COPY_LEN_MAX`] and more) is
/// written from where it lies if it is [`Body::Owned`], and copied if it is borrowed.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// Read before the verb returns.
    Borrowed(&'a [u8]),
    /// Kept until it is written.
    Owned(Bytes),
}

impl Body<'_> {
    /// A body of no bytes.
    pub const EMPTY: Self = Self::Borrowed(&[]);

    /// The body as bytes that can be kept: a copy if it was borrowed.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) => bytes,
        }
    }

    /// Whether it is short enough to be copied into its frame.
    pub(super) fn is_small(&self) -> bool {
        self.len() <= COPY_LEN_MAX
    }
}

impl Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Body<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl From<Bytes> for Body<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Owned(bytes)
    }
}

impl From<Vec<u8>> for Body<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes.into())
    }
}
