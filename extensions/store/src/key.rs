//! [`Key`]: what a document is found by.

use std::borrow::Borrow;
use std::fmt;

use chinwag::Bytes;

use crate::limits::KEY_LEN_MAX;

/// The key of a document: 1 to [`KEY_LEN_MAX`] bytes, ordered as bytes are. A `u64` is its eight
/// bytes, big-endian, so that numbers keep their order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// No key is less.
    pub(crate) const LEAST: Self = Self(Bytes::from_static(&[0]));

    /// The key of these bytes.
    ///
    /// # Errors
    /// [`KeyError`] if there are none or too many.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, KeyError> {
        let bytes = bytes.into();
        if (1..=KEY_LEN_MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(KeyError { len: bytes.len() })
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number that it was made of, if it may have been.
    pub fn as_u64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.0[..].try_into().ok()?))
    }
}

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        Self(Bytes::copy_from_slice(&number.to_be_bytes()))
    }
}

/// What a key can be made of: a `u64`, text, bytes, or a [`Key`].
pub trait IntoKey: sealed::Sealed {
    /// The key.
    ///
    /// # Errors
    /// [`KeyError`] if there are no bytes or too many.
    fn into_key(self) -> Result<Key, KeyError>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! into_key {
    ($($from:ty: $key:expr;)*) => {
        $(
            impl sealed::Sealed for $from {}
            impl IntoKey for $from {
                fn into_key(self) -> Result<Key, KeyError> {
                    $key(self)
                }
            }
        )*
    };
}

into_key! {
    Key: Ok;
    &Key: |key: &Key| Ok(key.clone());
    u64: |number| Ok(Key::from(number));
    &str: Key::try_from;
    &[u8]: Key::try_from;
    String: Key::new;
    Vec<u8>: Key::new;
    Bytes: Key::new;
}

impl TryFrom<&[u8]> for Key {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::new(Bytes::copy_from_slice(bytes))
    }
}

impl TryFrom<&str> for Key {
    type Error = KeyError;

    fn try_from(text: &str) -> Result<Self, KeyError> {
        text.as_bytes().try_into()
    }
}

/// Keys are ordered and equal as their bytes are.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

/// Bytes that are no key: none, or more than [`KEY_LEN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// How many they were.
    pub len: usize,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a key has 1 to {KEY_LEN_MAX} bytes, not {}", self.len)
    }
}

impl std::error::Error for KeyError {}
