//! What a claim about another member changes (§4.2, §4.5.1, §4.9).

use std::collections::BTreeSet;

use super::claim::ACCUSERS_MAX;
use super::{
    Choice, Claim, Model, Nanos, Origin, Outcome, Plane, Record, SECOND, State, Suspicion, Why, Window,
};

impl Model {
    /// The own probe of that life of `id` ended without an ack (§4.3, 4).
    pub fn accuse(&mut self, now: Nanos, id: u64, epoch: u64, incarnation: u32) -> Outcome {
        self.open.clear();
        let Some(record) = self.records.get(&id) else { return Outcome::Nothing };
        // §4.3, 4: not if a later life has been heard of meanwhile.
        if (record.epoch, record.incarnation) != (epoch, incarnation) {
            return Outcome::Nothing;
        }
        match record.state {
            State::Alive => self.suspect(now, id, BTreeSet::from([self.own.id]), [self.live(); 2]),
            State::Suspect => return self.confirm(id, &BTreeSet::from([self.own.id])),
            State::Dead | State::Left => return Outcome::Nothing,
        }
        Outcome::Changed
    }

    pub(super) fn hear_of_other(&mut self, now: Nanos, claim: &Claim, origin: Origin) -> Outcome {
        match self.records.get(&claim.id) {
            None => self.hear_of_stranger(now, claim, origin),
            // §4.2: not greater, and details and accusers of an earlier run are no news.
            Some(record) if claim.epoch < record.epoch => Outcome::Nothing,
            Some(record) if claim.epoch > record.epoch => {
                let record = record.clone();
                self.hear_of_later_run(now, claim, origin, &record)
            }
            Some(record) => {
                let record = record.clone();
                self.hear_of_same_run(now, claim, origin, &record)
            }
        }
    }

    /// §4.2: "a claim about an unknown member is taken if it has details. Of a dead or left one, only with an age, as a
    /// tombstone."
    fn hear_of_stranger(&mut self, now: Nanos, claim: &Claim, origin: Origin) -> Outcome {
        if claim.details.is_none() {
            return Outcome::Refused(Why::NoDetails);
        }
        if !claim.state.is_live() {
            let Some(age) = claim.age else { return Outcome::Refused(Why::NoAge) };
            // §4.1: a lifetime does not begin again at every hop.
            if Nanos::from(age) * SECOND >= self.config.tombstone_lifetime {
                return Outcome::Refused(Why::TooOld);
            }
        } else if !origin.is_first_hand(claim)
            && self.watermark.is_some_and(|watermark| claim.epoch <= watermark)
        {
            // §4.9.4 (D8). The greatest of what is heard meanwhile waits.
            let kept = self.unvouched.entry(claim.id).or_insert_with(|| claim.clone());
            if (claim.epoch, claim.rank()) > (kept.epoch, kept.rank()) {
                *kept = claim.clone();
            }
            return Outcome::Waits;
        }
        self.unvouched.remove(&claim.id);
        self.take(now, claim, None);
        Outcome::Changed
    }

    /// §4.2: a later epoch is taken only with details. §4.9: at once when it comes second-hand, when the earlier run is dead
    /// or left, or when it is at the same address.
    fn hear_of_later_run(&mut self, now: Nanos, claim: &Claim, origin: Origin, record: &Record) -> Outcome {
        let Some(details) = &claim.details else { return Outcome::Refused(Why::NoDetails) };
        let is_elsewhere = details.address != record.details.address;
        if origin.is_first_hand(claim) && record.state.is_live() && is_elsewhere {
            return Outcome::Refused(Why::Incumbent);
        }
        self.hear_of_greater(now, claim, origin, record)
    }

    fn hear_of_same_run(&mut self, now: Nanos, claim: &Claim, origin: Origin, record: &Record) -> Outcome {
        // §4.9.2: a run keeps its address. The whole claim is refused.
        if claim.details.as_ref().is_some_and(|details| details.address != record.details.address) {
            return Outcome::Conflict;
        }
        // §4.2: the greater one holds.
        if claim.rank() > (record.incarnation, record.state) {
            return self.hear_of_greater(now, claim, origin, record);
        }
        // §4.2: "two things it may bring".
        let has_later_details = self.take_details(claim);
        let is_same_suspicion =
            claim.rank() == (record.incarnation, record.state) && record.state == State::Suspect;
        let accusers = self.accusers_of(claim);
        if is_same_suspicion && self.confirm(claim.id, &accusers) == Outcome::Changed {
            return Outcome::Changed;
        }
        if has_later_details { Outcome::Changed } else { Outcome::Nothing }
    }

    /// A claim that is greater than `record`.
    fn hear_of_greater(&mut self, now: Nanos, claim: &Claim, origin: Origin, record: &Record) -> Outcome {
        let is_told_death = claim.state == State::Dead && record.state.is_live();
        // §4.5.1: "with `told_deaths_doubted` off, a gossiped death counts at once; one in a table transfer is doubted still".
        let is_doubted = self.config.told_deaths_doubted || origin.plane == Plane::Transfer;
        if is_told_death && is_doubted {
            return self.hear_of_death(now, claim, record);
        }
        self.take(now, claim, Some(record));
        Outcome::Changed
    }

    /// §4.5.1: told that a member is dead that is live here.
    fn hear_of_death(&mut self, now: Nanos, claim: &Claim, record: &Record) -> Outcome {
        let is_same_life = (record.epoch, record.incarnation) == (claim.epoch, claim.incarnation);
        let Some(suspicion) = record.suspicion.as_ref().filter(|_| is_same_life) else {
            // Alive here, in this life or an earlier one, or suspect in an earlier one: a suspicion without accusers.
            let doubt = Claim { state: State::Suspect, accusers: Vec::new(), age: None, ..claim.clone() };
            self.take(now, &doubt, Some(record));
            return Outcome::Changed;
        };
        let ripe = suspicion.is_ripe(&self.config, now);
        if suspicion.is_doubt {
            // "A repetition of the claim does not end it" (D11). If it has run out, or has been accused since, that is open.
            if now >= suspicion.deadline.earliest {
                self.open.insert(claim.id, Choice::Dies);
            }
            return if self.take_details(claim) { Outcome::Changed } else { Outcome::Nothing };
        }
        if ripe == Some(true) {
            self.take(now, claim, Some(record));
            return Outcome::Changed;
        }
        if ripe.is_none() {
            self.open.insert(claim.id, Choice::Dies);
        }
        self.take_details(claim);
        let config = self.config.clone();
        if let Some(suspicion) = self.records.get_mut(&claim.id).and_then(|record| record.suspicion.as_mut())
        {
            suspicion.shorten(&config);
        }
        Outcome::Shortened
    }

    /// Makes the record what the claim says. `old` is what it was.
    fn take(&mut self, now: Nanos, claim: &Claim, old: Option<&Record>) {
        let live_before = self.live();
        let same_run = old.filter(|old| old.epoch == claim.epoch);
        let details = match same_run {
            Some(old) => old.details.clone(),
            None => {
                claim.details.clone().expect("unknown members and later runs are taken only with details")
            }
        };
        let mut record = Record {
            epoch: claim.epoch,
            incarnation: claim.incarnation,
            state: claim.state,
            details,
            suspicion: None,
            died: None,
        };
        record.take_details(claim.details.as_ref());
        if !claim.state.is_live() {
            // §4.1: a tombstone's age travels with it. Without one it begins now, or goes on from the tombstone before it.
            let before = old.and_then(|old| old.died);
            record.died = Some(match (claim.age, before) {
                (Some(age), _) => Window::ago(now, age),
                (None, Some(before)) => Window { earliest: before.earliest, latest: now },
                (None, None) => Window::at(now),
            });
        }
        self.records.insert(claim.id, record);
        if claim.state == State::Suspect {
            let members = [live_before, self.live()];
            let accusers = self.accusers_of(claim);
            self.suspect(now, claim.id, accusers, members);
        }
    }

    /// §4.5 (D5): a suspicion of this life begins, with a timer of its own.
    fn suspect(&mut self, now: Nanos, id: u64, accusers: BTreeSet<u64>, members: [usize; 2]) {
        let suspicion = Suspicion::begin(&self.config, now, accusers, members);
        if let Some(record) = self.records.get_mut(&id) {
            record.state = State::Suspect;
            record.suspicion = Some(suspicion);
        }
    }

    /// §4.5: confirmations of the suspicion there is. What passes the wire's limit of accusers is not kept.
    fn confirm(&mut self, id: u64, accusers: &BTreeSet<u64>) -> Outcome {
        let config = self.config.clone();
        let Some(suspicion) = self.records.get_mut(&id).and_then(|record| record.suspicion.as_mut()) else {
            return Outcome::Nothing;
        };
        let mut outcome = Outcome::Nothing;
        for &accuser in accusers {
            if suspicion.accusers.len() < ACCUSERS_MAX && suspicion.confirm(&config, accuser) {
                outcome = Outcome::Changed;
            }
        }
        outcome
    }

    /// §4.5: "a distinct member, not the subject".
    fn accusers_of(&self, claim: &Claim) -> BTreeSet<u64> {
        let is_member = |accuser: &u64| *accuser == self.own.id || self.records.contains_key(accuser);
        let accusers = claim.accusers.iter().copied().filter(|accuser| *accuser != claim.id);
        accusers.filter(|accuser| !self.config.accusers_must_be_members || is_member(accuser)).collect()
    }

    fn take_details(&mut self, claim: &Claim) -> bool {
        self.records.get_mut(&claim.id).is_some_and(|record| record.take_details(claim.details.as_ref()))
    }
}
