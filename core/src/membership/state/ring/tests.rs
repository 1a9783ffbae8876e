//! The probe order (`docs/protocol.md` §4.3; invariant C2): permutations, the 2n - 1 bound, churn.

extern crate std;

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::*;

/// A ring beside what its owner believes of it from `moved` alone.
#[derive(Default)]
struct Watched {
    ring: Ring,
    positions: BTreeMap<Slot, u32>,
}

impl Watched {
    fn with(len: Slot, rng: &mut Rng) -> Self {
        let mut watched = Self::default();
        for slot in 0..len {
            watched.insert(slot, rng);
        }
        watched
    }

    fn insert(&mut self, slot: Slot, rng: &mut Rng) {
        let Self { ring, positions } = self;
        ring.insert(slot, rng, |slot, at| _ = positions.insert(slot, at));
        assert!(positions.contains_key(&slot), "the new slot's position is told");
        self.check();
    }

    fn remove(&mut self, slot: Slot) {
        let Self { ring, positions } = self;
        let at = positions[&slot];
        ring.remove(at, |slot, at| _ = positions.insert(slot, at));
        positions.remove(&slot);
        self.check();
    }

    fn advance(&mut self, rng: &mut Rng) -> Option<Slot> {
        let Self { ring, positions } = self;
        let next = ring.advance(rng, |slot, at| _ = positions.insert(slot, at));
        self.check();
        next
    }

    /// What was told through `moved` is where everything stands.
    fn check(&self) {
        assert_eq!(self.ring.len(), self.positions.len());
        assert!(self.ring.visited <= self.ring.len());
        for (&slot, &at) in &self.positions {
            assert_eq!(
                self.ring.slots.get(at as usize),
                Some(&slot),
                "{slot} is said to stand at {at}"
            );
        }
    }

    fn members(&self) -> BTreeSet<Slot> {
        self.positions.keys().copied().collect()
    }

    /// The slots visited in the current round.
    fn visited(&self) -> BTreeSet<Slot> {
        self.ring.slots[..self.ring.visited].iter().copied().collect()
    }

    fn random_member(&self, rng: &mut Rng) -> Option<Slot> {
        self.positions.keys().nth(rng.index(self.positions.len())).copied()
    }
}

#[test]
fn an_empty_ring_has_nobody_to_probe() {
    let mut rng = Rng::new(1);
    let mut watched = Watched::default();
    assert_eq!(watched.advance(&mut rng), None);
    assert_eq!(watched.ring.random(&mut rng), None);
    watched.insert(7, &mut rng);
    assert_eq!(watched.advance(&mut rng), Some(7));
    assert_eq!(watched.advance(&mut rng), Some(7));
    assert_eq!(watched.ring.random(&mut rng), Some(7));
    watched.remove(7);
    assert_eq!(watched.advance(&mut rng), None);
}

#[test]
fn a_round_is_a_permutation() {
    let mut rng = Rng::new(2);
    for len in [1, 2, 3, 10, 100] {
        let mut watched = Watched::with(len, &mut rng);
        // Inserting left the first round part done; finish it.
        while watched.ring.visited < watched.ring.len() {
            watched.advance(&mut rng);
        }
        for _ in 0..20 {
            let round: BTreeSet<_> = (0..len).filter_map(|_| watched.advance(&mut rng)).collect();
            assert_eq!(round, watched.members());
        }
    }
}

#[test]
fn a_round_is_a_uniformly_random_permutation() {
    let mut rng = Rng::new(3);
    let mut watched = Watched::with(4, &mut rng);
    while watched.ring.visited < 4 {
        watched.advance(&mut rng);
    }
    let mut counts = BTreeMap::<Vec<Slot>, u32>::new();
    for _ in 0..24_000 {
        let round = (0..4).filter_map(|_| watched.advance(&mut rng)).collect();
        *counts.entry(round).or_default() += 1;
    }
    assert_eq!(counts.len(), 24, "every order comes up");
    // 1,000 each, standard deviation 31.
    assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

/// C2: with stable members, any window of 2n - 1 steps visits everybody, wherever in a round churn
/// has left the ring.
#[test]
fn everybody_is_visited_in_any_2n_minus_1_steps() {
    let mut rng = Rng::new(4);
    for _ in 0..200 {
        let mut watched = Watched::default();
        for slot in 0..60 {
            match rng.below(4) {
                0 | 1 => watched.insert(slot, &mut rng),
                2 => _ = watched.advance(&mut rng),
                _ => {
                    if let Some(gone) = watched.random_member(&mut rng) {
                        watched.remove(gone);
                    }
                }
            }
        }
        let members = watched.members();
        let window = (2 * members.len()).saturating_sub(1);
        let steps: Vec<_> = (0..3 * window).filter_map(|_| watched.advance(&mut rng)).collect();
        for visited in steps.windows(window.max(1)) {
            assert_eq!(visited.iter().copied().collect::<BTreeSet<_>>(), members);
        }
    }
}

/// Joins and departures neither repeat a visit within a round nor lose one.
#[test]
fn churn_within_a_round_repeats_and_skips_nobody() {
    let mut rng = Rng::new(5);
    for _ in 0..300 {
        let mut watched = Watched::with(20, &mut rng);
        while watched.ring.visited < watched.ring.len() {
            watched.advance(&mut rng);
        }
        // A new round starts with the first step.
        let mut due = watched.members();
        let mut visited = BTreeSet::new();
        let mut fresh = 100;
        while !due.is_empty() {
            let next = watched.advance(&mut rng).unwrap();
            assert!(visited.insert(next), "{next} is visited twice in a round");
            due.remove(&next);
            assert!(visited.is_subset(&(&watched.visited() | &BTreeSet::from([next]))));
            match rng.below(3) {
                0 => {
                    watched.insert(fresh, &mut rng);
                    if !watched.visited().contains(&fresh) {
                        due.insert(fresh);
                    }
                    fresh += 1;
                }
                1 => {
                    let gone = watched.random_member(&mut rng).unwrap();
                    let before = watched.visited();
                    watched.remove(gone);
                    let wanted = before.into_iter().filter(|&slot| slot != gone).collect();
                    assert_eq!(watched.visited(), wanted, "nobody else changes sides");
                    due.remove(&gone);
                    visited.remove(&gone);
                }
                _ => {}
            }
            if watched.ring.len() == watched.ring.visited {
                assert!(due.is_empty(), "the round ends only when all of it is done: {due:?}");
            }
        }
    }
}

/// C2: one member replaced at every step, for ever, and those that stay are still visited.
#[test]
fn churn_starves_nobody() {
    let mut rng = Rng::new(6);
    let stable = 30;
    let mut watched = Watched::with(60, &mut rng);
    let mut last_seen = std::vec![0usize; 30];
    for step in 1..=20_000 {
        let newcomer = 1_000 + Slot::try_from(step).unwrap();
        let guests: Vec<_> = watched.members().into_iter().filter(|&slot| slot >= stable).collect();
        watched.remove(guests[rng.index(guests.len())]);
        watched.insert(newcomer, &mut rng);
        let next = watched.advance(&mut rng).unwrap();
        if let Some(seen) = last_seen.get_mut(next as usize) {
            *seen = step;
        }
        let longest = last_seen.iter().map(|seen| step - seen).max().unwrap();
        // A round of n = 60 gains about as many as it loses, so two rounds take about 120 steps.
        assert!(longest <= 240, "somebody has waited {longest} steps at {step}");
    }
}

#[test]
fn a_newcomer_waits_a_uniformly_random_time() {
    let mut rng = Rng::new(7);
    let mut counts = [0u32; 10];
    for _ in 0..20_000 {
        let mut watched = Watched::default();
        for slot in 0..19 {
            watched.ring.insert(slot, &mut rng, |_, _| {});
        }
        // From any point of a round, it takes its place among the 20 of a round with equal chance.
        for _ in 0..rng.below(40) {
            watched.ring.advance(&mut rng, |_, _| {});
        }
        let done = watched.ring.visited;
        watched.ring.insert(99, &mut rng, |_, _| {});
        let place = if watched.ring.slots[..watched.ring.visited].contains(&99) {
            rng.index(watched.ring.visited)
        } else {
            let steps = core::iter::repeat_with(|| watched.ring.advance(&mut rng, |_, _| {}));
            done + steps.take_while(|&slot| slot != Some(99)).count()
        };
        counts[place / 2] += 1;
    }
    // 2,000 each, standard deviation 42.
    assert!(counts.iter().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
}

#[test]
fn random_draws_everybody_alike() {
    let mut rng = Rng::new(8);
    let mut watched = Watched::with(5, &mut rng);
    watched.advance(&mut rng);
    let mut counts = [0u32; 5];
    for _ in 0..10_000 {
        counts[watched.ring.random(&mut rng).unwrap() as usize] += 1;
    }
    assert!(counts.iter().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
}
