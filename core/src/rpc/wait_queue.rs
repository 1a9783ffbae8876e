//! [`WaitQueue`]: the calls of one class that wait for room, and whose turn it is
//! (`docs/protocol.md` §5.12.2).

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use super::event::CallId;
use crate::time::Instant;

/// A call in its queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) call: CallId,
    /// Who makes the call.
    pub(super) caller: u64,
    pub(super) since: Instant,
}

/// Calls that wait, and whose callers take turns.
///
/// It does not hear of calls that are given up: they are left out where they are met, and swept
/// out when they are more than the others.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    /// All of them, in the order in which they were made. Some are over, or have begun.
    by_age: VecDeque<Waiter>,
    /// The calls of each caller, in the order in which they were made: each is in `by_age` too.
    callers: BTreeMap<u64, CallerQueue>,
    /// The callers by the number of their next turn.
    turns: BTreeMap<u64, u64>,
    next_turn: u64,
    /// The oldest has been looked at because of what its request is charged.
    has_asked: bool,
}

#[derive(Debug)]
struct CallerQueue {
    turn: u64,
    calls: VecDeque<Waiter>,
}

impl WaitQueue {
    /// Entries, those of calls that are over too.
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// The last of its caller's calls begins to wait.
    pub(super) fn push(&mut self, waiter: Waiter) {
        if self.by_age.is_empty() {
            self.has_asked = false;
        }
        self.by_age.push_back(waiter);
        let (turns, next_turn) = (&mut self.turns, &mut self.next_turn);
        let queue = self.callers.entry(waiter.caller).or_insert_with(|| {
            let turn = *next_turn;
            *next_turn += 1;
            turns.insert(turn, waiter.caller);
            CallerQueue { turn, calls: VecDeque::new() }
        });
        queue.calls.push_back(waiter);
    }

    /// The oldest call of the caller whose turn it is, and the oldest of all, of those of which
    /// `is_waiting` is true.
    pub(super) fn next(&mut self, is_waiting: impl Fn(CallId) -> bool) -> Option<(Waiter, Waiter)> {
        let oldest = loop {
            let oldest = *self.by_age.front()?;
            if is_waiting(oldest.call) {
                break oldest;
            }
            self.pop_oldest();
        };
        loop {
            let (_, caller) = self.turns.first_key_value()?;
            let next = *self.callers.get(caller)?.calls.front()?;
            if is_waiting(next.call) {
                return Some((next, oldest));
            }
            self.pop_of(next.caller);
        }
    }

    /// This call begins, which is the oldest of its caller: the caller's next turn comes after
    /// those of all others.
    pub(super) fn begin(&mut self, waiter: Waiter) {
        self.pop_of(waiter.caller);
        if let Some(queue) = self.callers.get_mut(&waiter.caller) {
            self.turns.remove(&queue.turn);
            queue.turn = self.next_turn;
            self.turns.insert(self.next_turn, waiter.caller);
            self.next_turn += 1;
        }
    }

    /// Takes out the oldest of all.
    pub(super) fn pop_oldest(&mut self) -> Option<Waiter> {
        let oldest = self.by_age.pop_front()?;
        self.has_asked = false;
        let first = self.callers.get(&oldest.caller).and_then(|queue| queue.calls.front());
        if first.is_some_and(|first| first.call == oldest.call) {
            self.pop_of(oldest.caller);
        }
        Some(oldest)
    }

    /// Takes out the oldest of one caller, who leaves with the last one.
    fn pop_of(&mut self, caller: u64) {
        let Some(queue) = self.callers.get_mut(&caller) else { return };
        queue.calls.pop_front();
        if queue.calls.is_empty() {
            self.turns.remove(&queue.turn);
            self.callers.remove(&caller);
        }
    }

    /// Forgets the calls of which `is_waiting` is not true.
    pub(super) fn sweep(&mut self, is_waiting: impl Fn(CallId) -> bool) {
        self.by_age.retain(|waiter| is_waiting(waiter.call));
        let turns = &mut self.turns;
        self.callers.retain(|_, queue| {
            queue.calls.retain(|waiter| is_waiting(waiter.call));
            if queue.calls.is_empty() {
                turns.remove(&queue.turn);
            }
            !queue.calls.is_empty()
        });
        self.has_asked = false;
    }

    /// Those that wait have waited since `now`.
    pub(super) fn restart(&mut self, now: Instant) {
        let queues = self.callers.values_mut().flat_map(|queue| &mut queue.calls);
        self.by_age.iter_mut().chain(queues).for_each(|waiter| waiter.since = now);
        self.has_asked = false;
    }

    /// When the oldest is looked at: after `asks_after`, if that is given, and after `wait_max`. It
    /// may be over: then this is too early, and nothing happens at that time.
    pub(super) fn next_at(
        &self,
        asks_after: Option<Duration>,
        wait_max: Duration,
    ) -> Option<Instant> {
        let asks_after = asks_after.filter(|_| !self.has_asked);
        Some(self.by_age.front()?.since + asks_after.unwrap_or(wait_max))
    }

    /// The oldest is looked at now, because of what its request is charged.
    pub(super) fn has_asked(&mut self) {
        self.has_asked = true;
    }

    /// Takes out all of them, in the order in which they were made.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waiter> + use<> {
        core::mem::take(self).by_age.into_iter()
    }
}

#[cfg(test)]
mod tests;
