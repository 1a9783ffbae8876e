//! The order in which members are probed: randomised round robin (SWIM §4.3; `docs/protocol.md`
//! §4.3).
//!
//! A round is an incremental Fisher-Yates shuffle: each step draws the next member from those not
//! yet visited, so a round is a uniformly random permutation, nothing is reshuffled at its end, and
//! every step costs the same at any size. A member joins at a uniformly random position and is
//! visited in this round or the next. Any member is visited at least once in any 2n - 1 steps.

use alloc::vec::Vec;

use crate::rng::Rng;

/// The index of a record in the table.
pub(crate) type Slot = u32;

/// The live members but the local one, visited part first.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    slots: Vec<Slot>,
    visited: usize,
}

impl Ring {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The next member of the round.
    pub(crate) fn advance(&mut self, rng: &mut Rng, moved: impl FnMut(Slot, u32)) -> Option<Slot> {
        if self.visited >= self.slots.len() {
            self.visited = 0;
        }
        let waiting = self.slots.len() - self.visited;
        if waiting == 0 {
            return None;
        }
        let drawn = self.visited + rng.index(waiting);
        self.swap(self.visited, drawn, moved);
        self.visited += 1;
        Some(self.slots[self.visited - 1])
    }

    /// A member drawn uniformly, whether visited or not.
    pub(crate) fn random(&self, rng: &mut Rng) -> Option<Slot> {
        let at = rng.index(self.slots.len());
        self.slots.get(at).copied()
    }

    /// Puts `slot` at a uniformly random position. `moved` is told where each slot now stands.
    pub(crate) fn insert(&mut self, slot: Slot, rng: &mut Rng, mut moved: impl FnMut(Slot, u32)) {
        let last = self.slots.len();
        // By an eighth, as the records.
        if last == self.slots.capacity() {
            self.slots.reserve_exact(last / 8 + 16);
        }
        self.slots.push(slot);
        moved(slot, position(last));
        // The order within each part is random already, so only the part is drawn.
        if rng.index(last + 1) < self.visited {
            self.swap(self.visited, last, moved);
            self.visited += 1;
        }
    }

    /// Takes out the slot that stands at `at`.
    pub(crate) fn remove(&mut self, at: u32, mut moved: impl FnMut(Slot, u32)) {
        let mut at = at as usize;
        // The hole wanders to the border of the visited part, so that no visited slot becomes
        // unvisited or reverse.
        if at < self.visited {
            self.visited -= 1;
            self.swap(at, self.visited, &mut moved);
            at = self.visited;
        }
        self.slots.swap_remove(at);
        if let Some(&slot) = self.slots.get(at) {
            moved(slot, position(at));
        }
    }

    fn swap(&mut self, a: usize, b: usize, mut moved: impl FnMut(Slot, u32)) {
        self.slots.swap(a, b);
        moved(self.slots[a], position(a));
        moved(self.slots[b], position(b));
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("MEMBERS_MAX is far below 2^32")
}

#[cfg(test)]
mod tests;
