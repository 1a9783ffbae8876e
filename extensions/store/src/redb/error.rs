//! [`RedbError`].

use std::fmt;
use std::io;
use std::sync::Arc;

/// Why a [`RedbStorage`](super::RedbStorage) did not open, or a call of it failed.
///
/// Writes that share a transaction share its error, so it is cheap to clone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RedbError {
    /// Another process, or this one, has the file open.
    InUse,
    /// The file is no store's: it is not redb's, or another program keeps other things in it. They
    /// were not touched.
    NotAStore,
    /// The file is of another version of the store's format, or of redb's. It was not touched.
    Format {
        /// Its version.
        found: u64,
        /// The version this program writes.
        known: u64,
    },
    /// What is in the file contradicts itself.
    Corrupt(Arc<str>),
    /// The disk said no: it is full, or gone. Whether the write is in the file is known once it is
    /// opened again.
    Io(Arc<io::Error>),
    /// An earlier call had an error of the disk: open the storage again.
    Failed,
    /// The thread that writes is gone.
    Stopped,
    /// Anything else that redb says.
    Other(Arc<redb::Error>),
}

impl RedbError {
    /// Of what went wrong at opening.
    pub(super) fn at_open(error: redb::DatabaseError) -> Self {
        match redb::Error::from(error) {
            // So redb says that its magic number is not there.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::NotAStore,
            error => error.into(),
        }
    }
}

impl From<redb::Error> for RedbError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse,
            redb::Error::UpgradeRequired(found) => {
                Self::Format { found: found.into(), known: super::layout::FORMAT }
            }
            redb::Error::Corrupted(what) => Self::Corrupt(what.into()),
            redb::Error::Io(error) => error.into(),
            redb::Error::PreviousIo => Self::Failed,
            // The store makes its tables when it makes the file.
            redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableIsMultimap(_) => Self::NotAStore,
            error => Self::Other(Arc::new(error)),
        }
    }
}

impl From<io::Error> for RedbError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// redb has an error type a function; each turns into the one above.
macro_rules! from_redb {
    ($($error:ident)*) => {
        $(impl From<redb::$error> for RedbError {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb! { CommitError StorageError TableError TransactionError }

impl fmt::Display for RedbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("the file is in use"),
            Self::NotAStore => f.write_str("the file is not a store's"),
            Self::Format { found, known } => {
                write!(f, "the file has format {found}, and this program knows format {known}")
            }
            Self::Corrupt(what) => write!(f, "the file is damaged: {what}"),
            Self::Io(error) => error.fmt(f),
            Self::Failed => {
                f.write_str("the disk failed earlier: the storage has to be opened again")
            }
            Self::Stopped => f.write_str("the thread that writes is gone"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RedbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(&**error),
            Self::Other(error) => Some(&**error),
            _ => None,
        }
    }
}
