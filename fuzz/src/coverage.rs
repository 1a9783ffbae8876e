//! What a run has reached of the protocol's states, beside the code that it ran: for libFuzzer's
//! extra counters.
//!
//! Code coverage does not see that an ack came from a member that was thought dead. These cells do:
//! which message came from a member of which state, and which state followed which.

/// What a node believes of another, at first nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// It is not known.
    #[default]
    Unknown,
    /// It answers.
    Alive,
    /// Somebody's probe of it failed.
    Suspect,
    /// Its suspicion ran out.
    Dead,
    /// It said goodbye.
    Left,
}

/// States there are.
const DOUBTS: usize = 5;
/// Message kinds there are, and one for all others (`docs/protocol.md` §2.4).
const KINDS: usize = 13;
/// The kind of a message that has none of the others.
pub const UNKNOWN_KIND: u8 = 0;
/// Cells: a state and a kind, and a state and the one after it.
pub const CELLS: usize = DOUBTS * KINDS + DOUBTS * DOUBTS;

/// How often each cell was reached, up to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached([u8; CELLS]);

impl Default for Reached {
    fn default() -> Self {
        Self([0; CELLS])
    }
}

impl Reached {
    /// A message of `kind` came from a member that is believed to be in this state.
    pub fn meet(&mut self, state: Doubt, kind: u8) {
        let kind = usize::from(kind);
        self.count(
            state as usize * KINDS + if kind < KINDS { kind } else { usize::from(UNKNOWN_KIND) },
        );
    }

    /// One state has followed another.
    pub fn turn(&mut self, from: Doubt, to: Doubt) {
        self.count(DOUBTS * KINDS + from as usize * DOUBTS + to as usize);
    }

    fn count(&mut self, cell: usize) {
        self.0[cell] = self.0[cell].saturating_add(1);
    }

    /// The cells in order.
    pub const fn cells(&self) -> &[u8; CELLS] {
        &self.0
    }

    /// Cells that were reached at all.
    pub fn len(&self) -> usize {
        self.0.iter().filter(|&&count| count > 0).count()
    }

    /// Whether nothing was reached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_a_cell_of_its_own() {
        let states = [Doubt::Unknown, Doubt::Alive, Doubt::Suspect, Doubt::Dead, Doubt::Left];
        let mut reached = Reached::default();
        for state in states {
            (0..13).for_each(|kind| reached.meet(state, kind));
            states.iter().for_each(|&next| reached.turn(state, next));
        }
        assert!(reached.len() == CELLS && reached.cells().iter().all(|&count| count == 1));
        reached.meet(Doubt::Left, 200);
        assert_eq!(reached.cells()[4 * KINDS], 2, "an unknown kind");
    }
}
