//! What a claim about another member changes (§4.2, §4.5.1, §4.9).

use super::{
    Choice, Claim, Model, Nanos, Origin, Outcome, Record, SECOND, State, Suspicion, Why, Window,
    metadata,
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
            State::Alive => self.suspect(now, id, &[self.own.id]),
            State::Suspect => return self.confirm(id, &[self.own.id]),
            State::Dead | State::Left => return Outcome::Nothing,
        }
        Outcome::Changed
    }

    pub(super) fn hear_of_other(&mut self, now: Nanos, claim: &Claim, origin: Origin) -> Outcome {
        match self.records.get(&claim.id) {
            None => self.hear_of_stranger(now, claim, origin),
            // §4.9: another run is a question of who lives.
            Some(record)
                if origin != Origin::Decided && !Self::is_ordered(claim, origin, record) =>
            {
                if !has_sound_metadata(claim) {
                    return Outcome::Refused(Why::Metadata);
                }
                if claim.epoch == record.epoch && !claim.state.is_live() {
                    return Outcome::Refused(Why::Elsewhere);
                }
                self.keep(claim, origin);
                Outcome::Waits
            }
            // §4.9.2: decided for, an earlier run replaces a later one.
            Some(record) if claim.epoch < record.epoch && origin == Origin::Decided => {
                let record = record.clone();
                self.hear_of_later_run(now, claim, origin, &record)
            }
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

    /// §4.2: "a claim about an unknown member is taken if it has details. Of a dead or left one,
    /// only with an age, as a tombstone."
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
        } else if origin.is_second_hand()
            && self.watermark.is_some_and(|watermark| claim.epoch <= watermark)
        {
            // §4.9.4 (D8): that it is suspect is not taken, and of claims that it is alive the
            // first of a run waits.
            if claim.state == State::Suspect {
                return Outcome::Refused(Why::Forgotten);
            }
            self.keep(claim, origin);
            return Outcome::Waits;
        }
        if !has_sound_metadata(claim) {
            return Outcome::Refused(Why::Metadata);
        }
        self.take(now, claim, None);
        Outcome::Changed
    }

    /// §4.2: another epoch is taken only with details.
    fn hear_of_later_run(
        &mut self,
        now: Nanos,
        claim: &Claim,
        origin: Origin,
        record: &Record,
    ) -> Outcome {
        if claim.details.is_none() {
            return Outcome::Refused(Why::NoDetails);
        }
        if !has_sound_metadata(claim) {
            return Outcome::Refused(Why::Metadata);
        }
        self.hear_of_greater(now, claim, origin, record)
    }

    fn hear_of_same_run(
        &mut self,
        now: Nanos,
        claim: &Claim,
        origin: Origin,
        record: &Record,
    ) -> Outcome {
        let is_greater = claim.rank() > (record.incarnation, record.state);
        let later =
            claim.details.as_ref().filter(|said| said.incarnation > record.details.incarnation);
        // §4.2: only a claim that is greater or brings later details is looked at that closely;
        // refused, it is refused whole.
        if is_greater || later.is_some() {
            // §4.9: a run moves by its own later word alone.
            let is_elsewhere = |details: &super::Details| details.address != record.details.address;
            if later.is_none() && claim.details.as_ref().is_some_and(is_elsewhere) {
                return Outcome::Refused(Why::Elsewhere);
            }
            if !has_sound_metadata(claim) {
                return Outcome::Refused(Why::Metadata);
            }
        }
        // §4.2: the greater one holds.
        if is_greater {
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
    fn hear_of_greater(
        &mut self,
        now: Nanos,
        claim: &Claim,
        origin: Origin,
        record: &Record,
    ) -> Outcome {
        let is_told_death = claim.state == State::Dead && record.state.is_live();
        // §4.5.1: "with `told_deaths_doubted` off, a gossiped death counts at once; one in a table
        // transfer is doubted still".
        let is_doubted = self.config.told_deaths_doubted
            || matches!(origin, Origin::Transfer | Origin::MemberTransfer);
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
            // Alive here, in this life or an earlier one, or suspect in an earlier one: a suspicion
            // without accusers.
            let doubt =
                Claim { state: State::Suspect, accusers: Vec::new(), age: None, ..claim.clone() };
            self.take(now, &doubt, Some(record));
            return Outcome::Changed;
        };
        let ripe = suspicion.is_ripe(&self.config, now);
        if suspicion.is_doubt {
            // "A repetition of the claim does not end it" (D11). If it has run out, or has been
            // accused since, that is open.
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
        if let Some(suspicion) =
            self.records.get_mut(&claim.id).and_then(|record| record.suspicion.as_mut())
        {
            suspicion.shorten(&config);
        }
        Outcome::Shortened
    }

    /// Makes the record what the claim says. `old` is what it was.
    fn take(&mut self, now: Nanos, claim: &Claim, old: Option<&Record>) {
        let same_run = old.filter(|old| old.epoch == claim.epoch);
        let details = match same_run {
            Some(old) => old.details.clone(),
            None => claim
                .details
                .clone()
                .expect("unknown members and later runs are taken only with details"),
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
            // §4.1: an age dates the record; without one a new state is of now, and the same state
            // is as old as it was.
            let before = old.filter(|old| old.state == claim.state).and_then(|old| old.died);
            record.died = Some(
                claim.age.map_or(before.unwrap_or(Window::at(now)), |age| Window::ago(now, age)),
            );
        }
        self.records.insert(claim.id, record);
        if claim.state == State::Suspect {
            let accusers = self.accusers_of(claim);
            self.suspect(now, claim.id, &accusers);
        }
    }

    /// §4.5 (D5): a suspicion of this life begins, with a timer of its own.
    fn suspect(&mut self, now: Nanos, id: u64, accusers: &[u64]) {
        let Some(record) = self.records.get_mut(&id) else { return };
        record.state = State::Suspect;
        // The node itself counts also when it has left.
        let members = 1 + self.records.values().filter(|record| record.state.is_live()).count();
        let suspicion = Suspicion::begin(&self.config, now, accusers, members);
        if let Some(record) = self.records.get_mut(&id) {
            record.suspicion = Some(suspicion);
        }
    }

    /// §4.5: confirmations of the suspicion there is.
    fn confirm(&mut self, id: u64, accusers: &[u64]) -> Outcome {
        let config = self.config.clone();
        let Some(suspicion) =
            self.records.get_mut(&id).and_then(|record| record.suspicion.as_mut())
        else {
            return Outcome::Nothing;
        };
        let mut outcome = Outcome::Nothing;
        for &accuser in accusers {
            if suspicion.confirm(&config, accuser) {
                outcome = Outcome::Changed;
            }
        }
        outcome
    }

    /// §4.5: "a distinct id, not the subject's", in the order of the claim.
    fn accusers_of(&self, claim: &Claim) -> Vec<u64> {
        claim.accusers.iter().copied().filter(|accuser| *accuser != claim.id).collect()
    }

    fn take_details(&mut self, claim: &Claim) -> bool {
        self.records
            .get_mut(&claim.id)
            .is_some_and(|record| record.take_details(claim.details.as_ref()))
    }
}

/// §2.5: metadata that is not is refused when its claim is applied.
fn has_sound_metadata(claim: &Claim) -> bool {
    claim.details.as_ref().is_none_or(|details| metadata::pairs(&details.metadata).is_some())
}
