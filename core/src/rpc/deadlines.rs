//! [`Deadlines`]: when open calls run out, both ways, in one heap (`docs/protocol.md` §5.8.2).
//!
//! Most calls end before their deadline. Taking an entry out of the middle of a heap costs a search, so an ended call's entry
//! stays until it reaches the top or until such entries outnumber the live ones. A tree would be exact but would allocate and
//! free a node for a lone call.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::event::{CallId, InboundId};
use crate::time::Instant;

/// Whose deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Call(CallId),
    Inbound(InboundId),
}

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, Due)>>,
    live: usize,
}

impl Deadlines {
    /// A call with a deadline opened.
    pub(super) fn insert(&mut self, at: Instant, due: Due) {
        self.heap.push(Reverse((at, due)));
        self.live += 1;
    }

    /// A call that was inserted ended. `is_open` tells which entries still count.
    pub(super) fn remove(&mut self, is_open: impl Fn(Due) -> bool) {
        self.live = self.live.saturating_sub(1);
        while self.heap.peek().is_some_and(|Reverse((_, due))| !is_open(*due)) {
            self.heap.pop();
        }
        if self.heap.len() > 2 * self.live + 64 {
            let mut entries = core::mem::take(&mut self.heap).into_vec();
            entries.retain(|Reverse((_, due))| is_open(*due));
            self.heap = entries.into();
        }
    }

    /// The earliest deadline of an open call.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// An entry that is due at `now`, taken out.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let Reverse((at, due)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some(due)
    }

    /// Every call ended.
    pub(super) fn clear(&mut self) {
        self.heap = Vec::new().into();
        self.live = 0;
    }

    /// Entries held, for the test that they are bounded.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.heap.len()
    }
}
