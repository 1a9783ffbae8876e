//! How busy a member is, as this node sees it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Calls to one member that have begun and not ended. Shared by whoever makes calls and
/// [`PowerOfTwo`](super::PowerOfTwo), and carried from one [`Topology`](super::Topology) to the
/// next.
#[derive(Debug, Default)]
pub struct Load {
    outstanding: AtomicU32,
}

impl Load {
    /// Counts a call until the result is dropped.
    pub fn begin(self: &Arc<Self>) -> Outstanding {
        self.outstanding.fetch_add(1, Relaxed);
        Outstanding(Arc::clone(self))
    }

    /// How many calls are outstanding.
    pub fn outstanding(&self) -> u32 {
        self.outstanding.load(Relaxed)
    }
}

/// One outstanding call; ends when dropped, so that it ends once however it ends.
#[derive(Debug)]
pub struct Outstanding(Arc<Load>);

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Relaxed);
    }
}
