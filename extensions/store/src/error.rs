//! Why a read or a write failed, and what a write has left behind.

use std::fmt;

use chinwag::{NodeId, SelectError, Status};

use crate::any_storage::StorageError;
use crate::document::Version;
use crate::key::KeyError;
use crate::limits::{BATCH_LEN_MAX, BATCH_MAX, KEYSPACE_LEN_MAX, KEYSPACES_MAX, VALUE_LEN_MAX};

/// What was asked for is over a limit. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitError {
    /// Bytes that are no key.
    Key(KeyError),
    /// A value has more than [`VALUE_LEN_MAX`] bytes: this many.
    Value(usize),
    /// More than [`BATCH_MAX`] keys: this many.
    Batch(usize),
    /// Keys and values of more than [`BATCH_LEN_MAX`] bytes: this many.
    BatchLen(usize),
    /// The name of a keyspace has not 1 to [`KEYSPACE_LEN_MAX`] bytes, but this many.
    Keyspace(usize),
    /// There are [`KEYSPACES_MAX`] keyspaces.
    Keyspaces,
    /// [`ROSTER_MAX`](crate::limits::ROSTER_MAX) live nodes have documents of this one already.
    Roster,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => error.fmt(f),
            Self::Value(len) => write!(f, "a value has at most {VALUE_LEN_MAX} bytes, not {len}"),
            Self::Batch(count) => write!(f, "a batch has at most {BATCH_MAX} keys, not {count}"),
            Self::BatchLen(len) => {
                write!(f, "a batch has at most {BATCH_LEN_MAX} bytes, not {len}")
            }
            Self::Keyspace(len) => {
                write!(f, "the name of a keyspace has 1 to {KEYSPACE_LEN_MAX} bytes, not {len}")
            }
            Self::Roster => f.write_str("the roster is full of live nodes"),
            Self::Keyspaces => write!(f, "there are {KEYSPACES_MAX} keyspaces"),
        }
    }
}

impl std::error::Error for LimitError {}

impl From<KeyError> for LimitError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// Whether a write that failed is there all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsKept {
    /// Nowhere: it will never be seen.
    No,
    /// By the local replica at least, and it spreads to the others.
    Yes,
    /// Perhaps, as [`IsKept::Yes`].
    Maybe,
}

/// Why a write failed. [`WriteError::is_kept`] says what is left of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// Over a limit.
    Limit(LimitError),
    /// There are fewer replicas than the level needs.
    Select(SelectError),
    /// The version of one of the keys is the last one there is (docs/store.md §2.3).
    Exhausted,
    /// The wall clock of this node is wrong: it is past the year 2100, or more than
    /// [`CLOCK_APART_MAX`](crate::limits::CLOCK_APART_MAX) from the clocks of most other replicas
    /// (docs/store.md §2.5).
    Clock,
    /// The local storage failed, and it is not known what it has kept.
    Storage(StorageError),
    /// The node ended while the local replica was at it.
    Closed,
    /// The local replica has kept it, and too few others.
    Replicas {
        /// Its version; of several keys, that of the last.
        version: Version,
        /// Who has it, and who does not.
        few: TooFew,
    },
}

impl WriteError {
    /// Whether the write is there all the same, and may still spread.
    pub const fn is_kept(&self) -> IsKept {
        match self {
            Self::Limit(_) | Self::Select(_) | Self::Exhausted | Self::Clock => IsKept::No,
            Self::Storage(_) | Self::Closed => IsKept::Maybe,
            Self::Replicas { .. } => IsKept::Yes,
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(error) => error.fmt(f),
            Self::Select(error) => error.fmt(f),
            Self::Exhausted => f.write_str("the key has the last version there is"),
            Self::Clock => f.write_str(
                "the wall clock of this node is wrong: it is past the year 2100, or more than 12 \
                 hours from the clocks of most other replicas",
            ),
            Self::Storage(error) => write!(f, "{error}; the write may be kept"),
            Self::Closed => f.write_str("the node has ended; the write may be kept"),
            Self::Replicas { few, .. } => write!(f, "kept here, and to spread, but {few}"),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Limit(error) => Some(error),
            Self::Select(error) => Some(error),
            Self::Storage(error) => Some(error),
            Self::Replicas { few, .. } => few.source(),
            Self::Exhausted | Self::Clock | Self::Closed => None,
        }
    }
}

impl From<LimitError> for WriteError {
    fn from(error: LimitError) -> Self {
        Self::Limit(error)
    }
}

/// Fewer replicas answered well than a level needs. The local one is counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TooFew {
    /// How many did.
    pub answered: usize,
    /// How many were needed.
    pub needed: usize,
    /// Who did not, and why.
    pub failures: Vec<(NodeId, Status)>,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} replicas answered", self.answered, self.needed)?;
        for (node, status) in &self.failures {
            write!(f, "; {node}: {status}")?;
        }
        Ok(())
    }
}

impl TooFew {
    /// The first failure.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failures.first().map(|(_, status)| status as _)
    }
}

/// Why a read failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// Over a limit.
    Limit(LimitError),
    /// There are fewer replicas than the level needs.
    Select(SelectError),
    /// The local storage failed.
    Storage(StorageError),
    /// The node ended.
    Closed,
    /// Too few replicas answered.
    Replicas(TooFew),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(error) => error.fmt(f),
            Self::Select(error) => error.fmt(f),
            Self::Storage(error) => error.fmt(f),
            Self::Closed => f.write_str("the node has ended"),
            Self::Replicas(few) => few.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Limit(error) => Some(error),
            Self::Select(error) => Some(error),
            Self::Storage(error) => Some(error),
            Self::Replicas(few) => few.source(),
            Self::Closed => None,
        }
    }
}

impl From<LimitError> for ReadError {
    fn from(error: LimitError) -> Self {
        Self::Limit(error)
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}
