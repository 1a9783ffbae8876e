//! [`Headers`]: the small key/value pairs that travel beside a message (`docs/protocol.md` §5.3).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::config::{HEADERS_LEN_CEILING, NAME_LEN_MAX};
use crate::wire::Reader;

/// Bounded metadata of a message, in the order it was pushed. A key may occur more than once.
///
/// Kept as it travels: per pair a key length (u8), a value length (u16), the key (UTF-8) and the
/// value (any bytes). Empty headers allocate nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Boxed, because most messages have none and every event has room for them. Never empty.
    #[expect(clippy::box_collection, reason = "8 bytes where a vector has 24")]
    block: Option<Box<Vec<u8>>>,
}

/// Why a pair was not added. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadersError {
    /// The key is empty or longer than 255 bytes.
    Key,
    /// The headers would pass 32 KiB with this pair.
    TooLarge,
}

impl fmt::Display for HeadersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "a header's key has 1 to 255 bytes",
            Self::TooLarge => "headers have at most 32 KiB",
        })
    }
}

impl core::error::Error for HeadersError {}

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self { block: None }
    }

    /// Adds a pair at the end.
    ///
    /// # Errors
    /// See [`HeadersError`]; the peer's limit may be lower and is checked when the message is sent.
    pub fn push(&mut self, key: &str, value: &[u8]) -> Result<(), HeadersError> {
        let key_len = u8::try_from(key.len()).map_err(|_| HeadersError::Key)?;
        if key_len == 0 {
            return Err(HeadersError::Key);
        }
        let value_len = u16::try_from(value.len()).map_err(|_| HeadersError::TooLarge)?;
        if self.encoded_len() + 3 + key.len() + value.len() > HEADERS_LEN_CEILING as usize {
            return Err(HeadersError::TooLarge);
        }
        let block = self.block.get_or_insert_default();
        block.push(key_len);
        block.extend_from_slice(&value_len.to_le_bytes());
        block.extend_from_slice(key.as_bytes());
        block.extend_from_slice(value);
        Ok(())
    }

    /// These headers with one more pair, to build them in one expression.
    ///
    /// # Errors
    /// As [`Headers::push`].
    pub fn with(mut self, key: &str, value: &[u8]) -> Result<Self, HeadersError> {
        self.push(key, value)?;
        Ok(self)
    }

    /// The value of the first pair with this key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = Reader::new(self.as_bytes());
        core::iter::from_fn(move || pair(&mut rest))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.block.is_none()
    }

    /// Bytes of their encoding: what limits are about.
    pub fn encoded_len(&self) -> usize {
        self.as_bytes().len()
    }

    /// The encoding.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.block.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Headers from their encoding, or `None` if it is not one.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let mut rest = Reader::new(block);
        while !rest.is_empty() {
            pair(&mut rest)?;
        }
        Some(Self { block: (!block.is_empty()).then(|| Box::new(block.to_vec())) })
    }
}

/// Takes one pair off `rest`.
fn pair<'a>(rest: &mut Reader<'a>) -> Option<(&'a str, &'a [u8])> {
    let key_len = usize::from(rest.u8()?);
    let value_len = usize::from(rest.u16()?);
    debug_assert!(key_len <= NAME_LEN_MAX, "a byte holds no more");
    let key = core::str::from_utf8(rest.take(key_len)?).ok()?;
    let value = rest.take(value_len)?;
    (key_len > 0).then_some((key, value))
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
