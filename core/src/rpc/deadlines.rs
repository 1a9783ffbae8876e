//! [`Deadlines`]: when open calls run out, both ways (`docs/protocol.md` §5.8.2).
//!
//! Most calls end before their deadline, and most have the same time to run, so their deadlines
//! come in order: a queue, whose ends are all that is touched. One that comes out of order goes to
//! a heap. Taking an entry out of the middle of either costs a search, so an ended call's entry
//! stays until it reaches the front or until such entries outnumber the live ones. A tree would be
//! exact but would allocate and free a node for a lone call.

use alloc::collections::{BinaryHeap, VecDeque};
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
    /// In order of time.
    queue: VecDeque<(Instant, Due)>,
    heap: BinaryHeap<Reverse<(Instant, Due)>>,
    live: usize,
}

impl Deadlines {
    /// A call with a deadline opened.
    pub(super) fn insert(&mut self, at: Instant, due: Due) {
        self.live += 1;
        if self.queue.back().is_none_or(|&(last, _)| last <= at) {
            self.queue.push_back((at, due));
        } else {
            self.heap.push(Reverse((at, due)));
        }
    }

    /// A call that was inserted ended. `is_open` tells which entries still count.
    pub(super) fn remove(&mut self, is_open: impl Fn(Due) -> bool) {
        self.live = self.live.saturating_sub(1);
        while self.queue.front().is_some_and(|&(_, due)| !is_open(due)) {
            self.queue.pop_front();
        }
        while self.heap.peek().is_some_and(|Reverse((_, due))| !is_open(*due)) {
            self.heap.pop();
        }
        if self.queue.len() + self.heap.len() > 2 * self.live + 64 {
            self.queue.retain(|&(_, due)| is_open(due));
            self.heap.retain(|Reverse((_, due))| is_open(*due));
        }
    }

    /// The earliest deadline of an open call.
    pub(super) fn next(&self) -> Option<Instant> {
        let queued = self.queue.front().map(|&(at, _)| at);
        let heaped = self.heap.peek().map(|Reverse((at, _))| *at);
        [queued, heaped].into_iter().flatten().min()
    }

    /// An entry that is due at `now`, taken out.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let heaped = self.heap.peek().map(|Reverse(entry)| *entry);
        match self.queue.front() {
            Some(&queued) if heaped.is_none_or(|heaped| queued <= heaped) => {
                (queued.0 <= now).then(|| self.queue.pop_front())?.map(|(_, due)| due)
            }
            _ => {
                let (at, due) = heaped?;
                (at <= now).then(|| self.heap.pop())?;
                Some(due)
            }
        }
    }

    /// Every call ended.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Entries held, for the test that they are bounded.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.queue.len() + self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use super::*;
    use crate::rng::Rng;

    /// Against a sorted set: what is due comes in order of time, whatever the order it was put in
    /// and whatever ends before.
    #[test]
    fn what_is_due_comes_in_order() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let (mut deadlines, mut model) = (Deadlines::default(), BTreeSet::new());
            let mut now = 0;
            for number in 0..300 {
                now += rng.below_u64(5);
                let after = if rng.below(4) == 0 { rng.below_u64(200) } else { 100 };
                let entry = (
                    Instant::from_nanos(now + after),
                    Due::Call(CallId { slot: number, serial: number }),
                );
                deadlines.insert(entry.0, entry.1);
                model.insert(entry);
                if rng.below(3) > 0 {
                    let at = rng.index(model.len());
                    let ended = *model.iter().nth(at).expect("one of them");
                    model.remove(&ended);
                    deadlines.remove(|due| model.iter().any(|&(_, open)| open == due));
                    assert_eq!(deadlines.next(), model.first().map(|&(at, _)| at), "seed {seed}");
                }
                let mut due = Vec::new();
                while let Some(one) = deadlines.pop_due(Instant::from_nanos(now)) {
                    // As the machine does: an entry whose call has ended is passed over.
                    if model.iter().any(|&(_, open)| open == one) {
                        due.push(one);
                        deadlines.live -= 1;
                    }
                }
                let is_due = |&&(at, _): &&(Instant, Due)| at <= Instant::from_nanos(now);
                let expected: Vec<_> = model.iter().take_while(is_due).copied().collect();
                assert_eq!(
                    due,
                    expected.iter().map(|&(_, due)| due).collect::<Vec<_>>(),
                    "seed {seed}"
                );
                model.retain(|entry| !expected.contains(entry));
            }
            assert!(deadlines.held() <= 2 * model.len() + 64);
        }
    }
}
