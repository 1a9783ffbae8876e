//! [`Keyring`]: the keys that a node accepts, and the one it seals with (`docs/protocol.md` §2.7).

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::Cryptography;

/// Keys of a keyring at most: a rotation needs two.
pub const KEYS_MAX: usize = 8;

/// Which key, as it travels in clear: it follows from the secret and from the cluster's name, and
/// tells nothing about the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u32);

impl KeyId {
    /// The id with this number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The id as an integer.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key id is eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseKeyIdError;

impl fmt::Display for ParseKeyIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key id is eight hexadecimal digits")
    }
}

impl core::error::Error for ParseKeyIdError {}

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, ParseKeyIdError> {
        let is_right = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = is_right.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or(ParseKeyIdError)
    }
}

/// Why a keyring was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The keyring has no such key.
    Unknown(KeyId),
    /// It has [`KEYS_MAX`] keys: remove one first.
    Full,
    /// The key is the one that is in use: use another one first.
    InUse(KeyId),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "the keyring has no key {id}: install it first"),
            Self::Full => write!(f, "the keyring has {KEYS_MAX} keys: remove one first"),
            Self::InUse(id) => write!(f, "key {id} is in use: use another one first"),
        }
    }
}

impl core::error::Error for KeyError {}

/// One key: what follows from one secret in one cluster.
pub(super) struct Entry<C: Cryptography> {
    pub(super) id: KeyId,
    pub(super) root: C::Root,
}

/// Keys in the order in which they were installed.
pub(super) struct Keyring<C: Cryptography> {
    entries: Vec<Entry<C>>,
    in_use: KeyId,
}

impl<C: Cryptography> Keyring<C> {
    pub(super) fn new(first: Entry<C>) -> Self {
        Self { in_use: first.id, entries: Vec::from([first]) }
    }

    pub(super) fn in_use(&self) -> &Entry<C> {
        self.get(self.in_use).expect("the key in use is not removed")
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Entry<C>> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.entries.iter().map(|entry| entry.id)
    }

    /// Installing a key twice changes nothing.
    pub(super) fn install(&mut self, entry: Entry<C>) -> Result<(), KeyError> {
        if self.get(entry.id).is_some() {
            return Ok(());
        }
        if self.entries.len() >= KEYS_MAX {
            return Err(KeyError::Full);
        }
        self.entries.push(entry);
        Ok(())
    }

    pub(super) fn use_key(&mut self, id: KeyId) -> Result<(), KeyError> {
        self.get(id).ok_or(KeyError::Unknown(id))?;
        self.in_use = id;
        Ok(())
    }

    pub(super) fn remove(&mut self, id: KeyId) -> Result<(), KeyError> {
        self.get(id).ok_or(KeyError::Unknown(id))?;
        if id == self.in_use {
            return Err(KeyError::InUse(id));
        }
        self.entries.retain(|entry| entry.id != id);
        Ok(())
    }
}
