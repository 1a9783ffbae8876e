//! The queue against one that is written as plainly as can be.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::*;
use crate::rng::Rng;

/// Calls in the order in which they were made; callers in the order of their turns.
#[derive(Default)]
struct Plain {
    calls: Vec<Waiter>,
    turns: Vec<u64>,
}

impl Plain {
    fn next(&self) -> Option<Waiter> {
        self.oldest_of(*self.turns.first()?)
    }

    fn oldest_of(&self, caller: u64) -> Option<Waiter> {
        self.calls.iter().find(|waiter| waiter.caller == caller).copied()
    }

    fn remove(&mut self, call: CallId, is_turn: bool) {
        let Some(at) = self.calls.iter().position(|waiter| waiter.call == call) else { return };
        let caller = self.calls.remove(at).caller;
        let stays = self.calls.iter().any(|waiter| waiter.caller == caller);
        if is_turn || !stays {
            self.turns.retain(|other| *other != caller);
        }
        if is_turn && stays {
            self.turns.push(caller);
        }
    }
}

fn waiter(serial: u32, caller: u64) -> Waiter {
    Waiter { call: CallId { slot: serial, serial }, caller, since: Instant::ZERO }
}

/// A caller whose calls were all given up, and who calls again before the queue has noticed, keeps
/// its turn. The plain queue notices at once, so turns are compared where the real one is swept.
#[test]
fn turns_are_those_of_a_plain_queue() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let (mut queue, mut plain) = (WaitQueue::default(), Plain::default());
        let mut waiting = BTreeSet::new();
        let is_swept = seed % 2 == 0;
        for serial in 0..400 {
            match rng.below(5) {
                0..2 => {
                    let waiter = waiter(serial, u64::from(rng.below(5)));
                    queue.push(waiter);
                    waiting.insert(waiter.call);
                    plain.calls.push(waiter);
                    if !plain.turns.contains(&waiter.caller) {
                        plain.turns.push(waiter.caller);
                    }
                }
                2 if !plain.calls.is_empty() => {
                    let given_up = plain.calls[rng.index(plain.calls.len())];
                    waiting.remove(&given_up.call);
                    plain.remove(given_up.call, false);
                    if is_swept {
                        queue.sweep(|call| waiting.contains(&call));
                    }
                }
                3 if rng.below(20) == 0 => queue.sweep(|call| waiting.contains(&call)),
                _ => {
                    let next = queue.next(|call| waiting.contains(&call));
                    let oldest = plain.calls.first().map(|waiter| waiter.call);
                    assert_eq!(next.map(|(_, oldest)| oldest.call), oldest, "seed {seed}");
                    let call = next.map(|(next, _)| next.call);
                    let expected = match next {
                        Some((next, _)) if !is_swept => plain.oldest_of(next.caller),
                        _ => plain.next(),
                    };
                    assert_eq!(call, expected.map(|waiter| waiter.call), "seed {seed}");
                    if let Some((next, oldest)) = next {
                        let begins = if rng.below(4) == 0 { oldest } else { next };
                        queue.begin(begins);
                        waiting.remove(&begins.call);
                        plain.remove(begins.call, true);
                    }
                }
            }
        }
    }
}

#[test]
fn a_queue_that_has_given_out_everything_holds_nothing() {
    let mut queue = WaitQueue::default();
    for serial in 0..10 {
        queue.push(waiter(serial, u64::from(serial % 3)));
    }
    while let Some((next, _)) = queue.next(|_| true) {
        queue.begin(next);
        assert_eq!(queue.pop_oldest().map(|oldest| oldest.call), Some(next.call));
    }
    assert!(queue.is_empty() && queue.callers.is_empty() && queue.turns.is_empty());
}
