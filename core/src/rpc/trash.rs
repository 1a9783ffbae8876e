//! [`Trash`]: bytes of users that a machine has done with. Their owner's drop may run any code, so
//! a machine never drops them itself: its driver does, where it holds no lock.

use alloc::vec::Vec;

use bytes::Bytes;

use super::body::Body;

/// What is to be dropped where no lock is held: see
/// [`Connection::take_trash`](super::Connection::take_trash).
#[must_use = "it is to be dropped where no lock is held"]
#[derive(Debug, Default)]
pub struct Trash(Vec<Bytes>);

impl Trash {
    pub(super) fn put(&mut self, bytes: Bytes) {
        // Also if it is empty: it may have an owner all the same.
        self.0.push(bytes);
    }

    /// A body that is not sent, or has been copied.
    pub(super) fn put_body(&mut self, body: Body<'_>) {
        if let Body::Owned(bytes) = body {
            self.put(bytes);
        }
    }

    pub(super) fn extend(&mut self, all: impl IntoIterator<Item = Bytes>) {
        all.into_iter().for_each(|bytes| self.put(bytes));
    }

    /// Whether there is nothing to drop.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
