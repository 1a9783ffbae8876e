//! [`Document`], and the [`Version`] that orders the writes of one key.

use std::fmt;

use chinwag::{Bytes, NodeId, Timestamp};

use crate::key::Key;

/// What orders the writes of one key: when, then by whom (docs/store.md §2.1). No two writes have
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// When, by the clock of `node` or past it.
    pub stamp: Timestamp,
    /// Whose write it is.
    pub node: NodeId,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.stamp, self.node)
    }
}

/// One write of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Which write.
    pub version: Version,
    /// What was written; `None` is a tombstone: the key was deleted.
    pub value: Option<Bytes>,
}

impl Document {
    /// Whether the write was a delete.
    pub const fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }

    /// What the index keeps of it under `key`.
    pub const fn entry(&self, key: Key) -> Entry {
        Entry { key, version: self.version, is_tombstone: self.is_tombstone() }
    }
}

/// A document without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its latest write.
    pub version: Version,
    /// Whether that was a delete.
    pub is_tombstone: bool,
}
