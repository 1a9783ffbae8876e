//! The rumour queue (`docs/protocol.md` §4.6) against a list that is searched.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::id::{Epoch, NodeId};
use crate::rng::Rng;

fn broadcast(seq: u32) -> Rumor {
    let origin = Run { id: NodeId::new(1), epoch: Epoch::new(2) };
    Rumor::Broadcast(Broadcast { origin, seq, payload: Bytes::from(seq.to_le_bytes().to_vec()) })
}

/// The queue as its documentation says it: sorted by how often sent, then by when that began.
#[derive(Default)]
struct Model {
    /// `(sent count, turn, entry, rumour)`
    entries: Vec<(u32, u64, u32, Rumor)>,
    turn: u64,
}

impl Model {
    fn put(&mut self, sent_count: u32, at: u32, rumor: Rumor) {
        self.turn += 1;
        self.entries.push((sent_count, self.turn, at, rumor));
        self.entries.sort_by_key(|&(sent_count, turn, ..)| (sent_count, turn));
    }

    fn take(&mut self, at: u32) -> (u32, Rumor) {
        let found = self.entries.iter().position(|entry| entry.2 == at).unwrap();
        let (sent_count, _, _, rumor) = self.entries.remove(found);
        (sent_count, rumor)
    }

    fn renew(&mut self, at: u32) {
        let (_, rumor) = self.take(at);
        self.put(0, at, rumor);
    }

    fn sent(&mut self, at: u32, limit: u32) -> Option<Rumor> {
        let (sent_count, rumor) = self.take(at);
        if sent_count + 1 >= limit {
            return Some(rumor);
        }
        self.put(sent_count + 1, at, rumor);
        None
    }
}

fn order(rumors: &Rumors) -> Vec<u32> {
    let steps = core::iter::successors(rumors.first(), |&at| rumors.after(at));
    steps.take(rumors.entries.len() + 1).collect()
}

fn rumor_at(rumors: &Rumors, at: u32) -> Option<Rumor> {
    let broadcast = rumors.broadcast(at).cloned().map(Rumor::Broadcast);
    rumors.member(at).map(Rumor::Member).or(broadcast)
}

fn check(rumors: &Rumors, model: &Model) {
    assert_eq!(order(rumors), model.entries.iter().map(|entry| entry.2).collect::<Vec<_>>());
    for (_, _, at, rumor) in &model.entries {
        assert_eq!(rumor_at(rumors, *at).as_ref(), Some(rumor));
    }
    let broadcasts =
        model.entries.iter().filter(|entry| matches!(entry.3, Rumor::Broadcast { .. }));
    assert_eq!(rumors.broadcast_count(), broadcasts.count());
    assert_eq!(rumors.len(), model.entries.len());
    assert_eq!(rumors.is_empty(), model.entries.is_empty());
}

#[test]
fn the_fewest_sent_come_first_and_the_oldest_among_equals() {
    let mut rumors = Rumors::default();
    assert_eq!(rumors.first(), None);
    let [a, b, c] = [1, 2, 3].map(|slot| rumors.push(Rumor::Member(slot)));
    assert_eq!(order(&rumors), [a, b, c]);
    assert_eq!(rumors.sent(a, 9), None);
    assert_eq!(order(&rumors), [b, c, a]);
    assert_eq!(rumors.sent(c, 9), None);
    assert_eq!(order(&rumors), [b, a, c], "a has been sent once for longer");
    let d = rumors.push(broadcast(4));
    assert_eq!(order(&rumors), [b, d, a, c], "the new one stands behind the other unsent one");
    rumors.renew(c);
    assert_eq!(order(&rumors), [b, d, c, a]);
    rumors.renew(b);
    assert_eq!(order(&rumors), [d, c, b, a], "what is renewed goes behind what waits");
    rumors.remove(c);
    assert_eq!(order(&rumors), [d, b, a]);
    assert_eq!(rumor_at(&rumors, c), None);
    assert_eq!((rumors.len(), rumors.broadcast_count()), (3, 1));
}

#[test]
fn an_entry_is_sent_its_limit_and_no_more() {
    for limit in 1..8 {
        let mut rumors = Rumors::default();
        let at = rumors.push(Rumor::Member(5));
        for _ in 1..limit {
            assert_eq!(rumors.sent(at, limit), None);
            assert_eq!(rumors.len(), 1);
        }
        assert_eq!(rumors.sent(at, limit), Some(Rumor::Member(5)), "limit {limit}");
        assert!(rumors.is_empty());
        assert_eq!(rumors.first(), None);
    }
}

/// The limit follows the size of the cluster, so it may fall below what an entry has already been
/// sent.
#[test]
fn a_limit_that_falls_ends_what_is_past_it() {
    let mut rumors = Rumors::default();
    let at = rumors.push(broadcast(1));
    for _ in 0..5 {
        assert_eq!(rumors.sent(at, 30), None);
    }
    assert_eq!(rumors.sent(at, 2), Some(broadcast(1)));
    assert_eq!((rumors.len(), rumors.broadcast_count()), (0, 0));
    let at = rumors.push(Rumor::Member(1));
    assert_eq!(rumors.sent(at, 0), Some(Rumor::Member(1)), "even a limit of 0 sends once");
}

/// A cluster that starts at once leaves a rumour about everybody at everybody, once.
#[test]
fn a_burst_does_not_keep_its_memory() {
    let mut rumors = Rumors::default();
    for slot in 0..10_000 {
        rumors.push(Rumor::Member(slot));
    }
    assert!(rumors.entries.capacity() <= 10_000 * 9 / 8 + 16, "no more than an eighth is air");
    while let Some(at) = rumors.first() {
        rumors.sent(at, 1);
    }
    assert!(rumors.entries.capacity() <= ENTRIES_KEPT);
    let at = rumors.push(broadcast(1));
    assert_eq!(rumors.sent(at, 1), Some(broadcast(1)), "and it goes on");
}

#[test]
fn any_run_matches_the_model_and_drains() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (mut rumors, mut model) = (Rumors::default(), Model::default());
        let mut high = 0;
        for step in 0..1_500 {
            let some = model.entries.get(rng.index(model.entries.len())).map(|entry| entry.2);
            match (rng.below(8), some) {
                (0 | 1, _) | (_, None) => {
                    let rumor =
                        if rng.below(3) == 0 { broadcast(step) } else { Rumor::Member(step) };
                    let at = rumors.push(rumor.clone());
                    assert!(model.entries.iter().all(|entry| entry.2 != at), "{at} is in use");
                    model.put(0, at, rumor);
                }
                (2, Some(at)) => {
                    rumors.renew(at);
                    model.renew(at);
                }
                (3, Some(at)) => {
                    rumors.remove(at);
                    model.take(at);
                }
                (4, Some(_)) => {
                    let at = rumors.first().unwrap();
                    let limit = 1 + rng.below(6);
                    assert_eq!(rumors.sent(at, limit), model.sent(at, limit));
                }
                (_, Some(at)) => {
                    let limit = 1 + rng.below(6);
                    assert_eq!(rumors.sent(at, limit), model.sent(at, limit));
                }
            }
            high = high.max(model.entries.len());
            check(&rumors, &model);
        }
        assert_eq!(rumors.entries.len(), high, "freed entries are used again");
        // In a quiet state it drains within limit · length sendings (B1).
        for _ in 0..6 * rumors.len() {
            let Some(at) = rumors.first() else { break };
            assert_eq!(rumors.sent(at, 6), model.sent(at, 6));
            check(&rumors, &model);
        }
        assert!(rumors.is_empty());
        assert_eq!((rumors.first(), rumors.len(), rumors.broadcast_count()), (None, 0, 0));
    }
}
