//! Claims at random.

use super::*;

/// SplitMix64: a seed is a test.
pub(super) struct Seed(pub(super) u64);

impl Seed {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(u64::from(bound))).expect("below a u32")
    }

    pub(super) fn state(&mut self) -> State {
        STATES[usize::try_from(self.below(4)).expect("below 4")]
    }

    pub(super) fn accusers(&mut self, state: State) -> Vec<u64> {
        let count = if state == State::Suspect { self.below(3) } else { 0 };
        (0..count).map(|_| 20 + self.below(4)).collect()
    }

    /// A claim of one run, with details or without.
    pub(super) fn of_one_run(&mut self) -> Claim {
        let (incarnation, state) = (self.small(3), self.state());
        let said_in = if state == State::Alive { incarnation } else { self.small(incarnation + 1) };
        let has_details = state == State::Alive || self.below(2) == 0;
        Claim {
            accusers: self.accusers(state),
            details: has_details.then(|| details(said_in)),
            ..bare(HER_EPOCH, incarnation, state)
        }
    }

    /// A claim of one of three runs, with all that a stranger's claim may need.
    pub(super) fn of_any_run(&mut self) -> Claim {
        let claim = self.of_one_run();
        let said_in = claim.details.map_or(claim.incarnation, |details| details.incarnation);
        let epoch = HER_EPOCH + self.below(3);
        Claim {
            epoch,
            age: Some(1).filter(|_| !claim.state.is_live()),
            details: Some(details(said_in)),
            ..claim
        }
    }
}
