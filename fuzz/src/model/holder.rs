//! Which run holds an id (§4.9): what is kept aside, and what becomes of it.

use super::{Claim, Model, Nanos, Origin, Outcome, Record, Run};

/// A claim that is kept aside (§4.9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What was claimed.
    pub claim: Claim,
    /// How it came.
    pub origin: Origin,
    /// The epoch of the run that was held elsewhere, and is asked, too.
    pub held: Option<u64>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody has yet to answer.
    Open,
    /// The record becomes what it says.
    Taken,
    /// It is refused, with a conflict or without.
    Dropped,
    /// It waits for the end of the held run, which is suspected.
    Waits,
    /// The node passes a run of its own (§4.9.3).
    Passed,
    /// No two runs are in question any more, or others: it is heard again.
    Again,
}

impl Model {
    /// The claims that are kept aside.
    pub fn kept(&self) -> impl Iterator<Item = (Run, &Kept)> {
        self.kept.iter().map(|(&run, kept)| (run, kept))
    }

    pub(super) fn keep(&mut self, claim: &Claim, origin: Origin) {
        let address = claim.details.as_ref().map(|details| details.address);
        let record = self.records.get(&claim.id);
        let held = record.filter(|record| Some(record.details.address) != address);
        let held = held.map(|record| record.epoch);
        let kept = Kept { claim: claim.clone(), origin, held };
        self.kept.entry((claim.id, claim.epoch)).or_insert(kept);
    }

    /// The claimant of a run itself asks for the table, and its claim is kept aside already.
    pub fn asks(&mut self, run: Run) {
        if let Some(kept) = self.kept.get_mut(&run)
            && kept.origin != Origin::MemberTransfer
        {
            kept.origin = Origin::FirstHand;
        }
    }

    /// Whether a claim about another run, or the same elsewhere, is decided by the order of §4.2.
    pub(super) fn is_ordered(claim: &Claim, origin: Origin, record: &Record) -> bool {
        let Some(details) = &claim.details else { return true };
        let is_here = details.address == record.details.address;
        let has_later_word = details.incarnation > record.details.incarnation;
        let is_same_run = claim.epoch == record.epoch;
        let is_gossip = !matches!(origin, Origin::FirstHand | Origin::MemberTransfer);
        if !record.state.is_live() {
            return !is_same_run || !has_later_word || is_here;
        }
        if is_here {
            return claim.epoch <= record.epoch || !claim.state.is_live();
        }
        if is_same_run {
            return !has_later_word && origin != Origin::FirstHand;
        }
        claim.epoch < record.epoch && (is_gossip || !claim.state.is_live())
    }

    /// The table of §4.9. Of each address: whether it has answered, or nothing if it may yet.
    pub fn verdict(&self, run: Run, claimed: Option<bool>, held: Option<bool>) -> Verdict {
        let Some(kept) = self.kept.get(&run) else { return Verdict::Dropped };
        let of_claimed = |alive, silent| match claimed {
            None => Verdict::Open,
            Some(true) => alive,
            Some(false) => silent,
        };
        let of_held = |alive, silent| match held {
            None => Verdict::Open,
            Some(true) => alive,
            Some(false) => silent,
        };
        if run.0 == self.own.id {
            return of_claimed(Verdict::Dropped, Verdict::Passed);
        }
        let is_live = kept.claim.state.is_live();
        if is_live && claimed == Some(false) {
            return Verdict::Dropped;
        }
        let Some(record) = self.records.get(&run.0) else {
            let is_gone = !kept.claim.state.is_live();
            return if is_gone {
                Verdict::Again
            } else {
                of_claimed(Verdict::Taken, Verdict::Dropped)
            };
        };
        let address = kept.claim.details.as_ref().map(|details| details.address);
        let is_here = address == Some(record.details.address);
        let is_asked = kept.held.map_or(is_here, |epoch| epoch == record.epoch);
        if !is_asked || Self::is_ordered(&kept.claim, kept.origin, record) {
            return Verdict::Again;
        }
        let is_later = kept.claim.epoch > record.epoch;
        if !kept.claim.state.is_live() {
            return if is_later {
                of_held(Verdict::Dropped, Verdict::Taken)
            } else {
                Verdict::Dropped
            };
        }
        if claimed != Some(true) {
            return of_claimed(Verdict::Open, Verdict::Dropped);
        }
        if is_here {
            return Verdict::Taken;
        }
        if kept.claim.epoch < record.epoch && kept.origin == Origin::MemberTransfer {
            return of_held(Verdict::Taken, Verdict::Dropped);
        }
        let word = kept.claim.details.as_ref().map_or(0, |details| details.incarnation);
        let has_moved = kept.claim.epoch == record.epoch && word > record.details.incarnation;
        of_held(Verdict::Dropped, if has_moved { Verdict::Taken } else { Verdict::Waits })
    }

    /// Does what the verdict about a claim that is kept aside says.
    pub fn decide(&mut self, now: Nanos, run: Run, verdict: Verdict) -> Outcome {
        self.open.clear();
        if matches!(verdict, Verdict::Open | Verdict::Waits) {
            return Outcome::Waits;
        }
        let Some(kept) = self.kept.remove(&run) else { return Outcome::Nothing };
        match verdict {
            Verdict::Taken => self.hear(now, &kept.as_alive(), Origin::Decided),
            Verdict::Again => self.hear(now, &kept.as_alive(), kept.origin),
            Verdict::Passed => self.own.pass(run.1),
            Verdict::Open | Verdict::Waits | Verdict::Dropped => Outcome::Nothing,
        }
    }
}

impl Kept {
    /// §4.9: that a run is suspect is kept as that it is alive, in the incarnation of its details.
    fn as_alive(&self) -> Claim {
        let mut claim = self.claim.clone();
        if let Some(details) = claim.details.as_ref().filter(|_| claim.state.is_live()) {
            claim.incarnation = details.incarnation;
            claim.state = super::State::Alive;
            claim.accusers.clear();
        }
        claim
    }
}
