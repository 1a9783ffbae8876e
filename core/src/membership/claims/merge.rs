//! Claims about a member that is known (`docs/protocol.md` §4.2, §4.5).

use core::time::Duration;

use crate::id::Epoch;
use crate::membership::claims::{Changed, Claims, Effect, Given, Outcome};
use crate::membership::state::member::Rank;
use crate::membership::state::ring::Slot;
use crate::membership::state::since::Since;
use crate::membership::state::speaker::{Via, rank};
use crate::membership::state::suspicion::Suspicion;
use crate::membership::{Event, Metadata, State};
use crate::wire::datagram::Run;
use crate::wire::update::{Details, Update};

impl Claims {
    /// A claim about somebody known: the greater rank holds.
    #[inline]
    pub(super) fn merge(
        &mut self,
        given: &mut Given<'_>,
        slot: Slot,
        update: &Update<'_>,
        via: Via,
        changed: &mut Changed,
    ) {
        let (claim, known) = (rank(update), self.table.get(slot).rank());
        changed.outcome = Outcome::Stale;
        if claim <= known {
            self.merge_lesser(given, slot, update, via, changed);
            return;
        }
        if claim.epoch > known.epoch && update.details.is_none() {
            return;
        }
        let metadata = match &update.details {
            Some(details) => match self.sound_details(slot, update.epoch, details, changed) {
                Some(metadata) => Some(metadata),
                None => return,
            },
            None => None,
        };
        let details = update.details.as_ref().zip(metadata);
        let is_told_death = claim.state == State::Dead && known.state.is_live();
        let is_doubted =
            given.config.told_deaths_doubted || matches!(via, Via::Transfer | Via::FirstTransfer);
        if is_told_death
            && is_doubted
            && !self.suspicions.has_heard_out(slot, claim.life(), given.now)
        {
            self.doubt(given, slot, claim, details, changed);
            return;
        }
        self.adopt(given, slot, claim, details);
        changed.outcome = Outcome::Applied;
        if claim.state == State::Suspect {
            self.begin_suspicion(given, slot, update);
        } else {
            self.suspicions.cancel(slot);
        }
        if let (false, Some(age)) = (claim.state.is_live(), update.age) {
            // No further back than makes it due now: a deadline in the past would look like a pause
            // (§4.4.1).
            let age = Duration::from_secs(u64::from(age)).min(given.config.tombstone_lifetime);
            self.table.backdate(slot, Since::ago(given.now, age));
        }
        self.settle(given, slot, known, via, changed);
    }

    /// A claim that does not change the rank may still bring a new accuser, or details that were
    /// missing.
    #[inline]
    fn merge_lesser(
        &mut self,
        given: &mut Given<'_>,
        slot: Slot,
        update: &Update<'_>,
        via: Via,
        changed: &mut Changed,
    ) {
        let record = self.table.get(slot);
        let known = record.rank();
        let is_of_run = update.epoch == known.epoch;
        let later =
            update.details.as_ref().filter(|said| is_of_run && said.incarnation > record.details);
        let later = match later {
            Some(said) => match self.sound_details(slot, update.epoch, said, changed) {
                Some(metadata) => Some((said, metadata)),
                // Refused, and whole: what is wrong with the details is wrong with the accusers
                // beside them.
                None => return,
            },
            None => None,
        };
        let is_accused = rank(update) == known && update.state == State::Suspect;
        // Most claims are no news at all.
        if later.is_none() && !is_accused {
            return;
        }
        let is_confirmed = is_accused && self.suspicions.confirm(slot, update.id, &update.accusers);
        if self.learn(given, slot, later, changed) || is_confirmed {
            changed.outcome = Outcome::Applied;
            self.spread_via(slot, via, changed);
        }
    }

    /// What a member has said of itself in a later incarnation than was known holds, whatever
    /// becomes of the claim that brings it (§4.2). Answers whether there was any such.
    fn learn(
        &mut self,
        given: &mut Given<'_>,
        slot: Slot,
        details: Option<(&Details<'_>, Metadata)>,
        changed: &mut Changed,
    ) -> bool {
        let record = self.table.get(slot);
        let known = record.rank();
        if details.as_ref().is_none_or(|(said, _)| said.incarnation <= record.details) {
            return false;
        }
        self.adopt(given, slot, known, details);
        if known.state.is_live() {
            changed.event = Some(Event::Updated(self.table.member(slot)));
        }
        true
    }

    /// The metadata of `details`, unless they are broken or put a known run at another address: a
    /// run keeps its address, so that is somebody else under the same id (§4.9.2).
    #[inline]
    fn sound_details(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        details: &Details<'_>,
        changed: &mut Changed,
    ) -> Option<Metadata> {
        let record = self.table.get(slot);
        if epoch == record.epoch && details.addr != self.table.addr(slot) {
            changed.outcome = Outcome::Refused;
            let run = Run { id: record.id, epoch };
            changed.effects.push(Effect::Conflict(run, details.addr));
            return None;
        }
        let metadata = self.metadata_read.decode(details.metadata);
        if metadata.is_none() {
            changed.outcome = Outcome::Refused;
        }
        metadata
    }

    /// §4.5.1: a death told of a member that is live here is no verdict yet. Alive, it is suspected
    /// for the minimum time and told at once, so that it can refute (D11 of other
    /// implementations, which declare it dead without asking it). Suspected for less than that,
    /// it gets the rest of it: the same bad observer may have told of suspicion and death in one
    /// breath.
    fn doubt(
        &mut self,
        given: &mut Given<'_>,
        slot: Slot,
        claim: Rank,
        details: Option<(&Details<'_>, Metadata)>,
        changed: &mut Changed,
    ) {
        let is_running =
            self.suspicions.get(slot).is_some_and(|running| running.life == claim.life());
        if is_running {
            if self.learn(given, slot, details, changed) {
                changed.outcome = Outcome::Applied;
                self.spread(slot, changed);
            }
            if self.suspicions.shorten(slot) {
                changed.effects.push(Effect::Warn(slot));
            }
            return;
        }
        let known = self.table.get(slot).rank();
        let members = self.cluster_size();
        let suspicion = Suspicion::of_told_death(claim.life(), members, given.config, given.now);
        self.adopt(given, slot, Rank { state: State::Suspect, ..claim }, details);
        self.suspicions.start(slot, suspicion);
        changed.outcome = Outcome::Applied;
        self.settle(given, slot, known, Via::Gossip, changed);
        changed.effects.push(Effect::Warn(slot));
    }

    pub(super) fn begin_suspicion(&mut self, given: &Given<'_>, slot: Slot, update: &Update<'_>) {
        let life = (update.epoch, update.incarnation);
        let (members, config) = (self.cluster_size(), given.config);
        // Nobody's probe has failed: it is a doubt that a told death has begun elsewhere (§4.5.1),
        // and told on. Were it taken for an accusation, the same death told here would end
        // it at once.
        let is_doubt = update.accusers.iter().all(|&accuser| accuser == update.id);
        let suspicion = if is_doubt {
            Suspicion::of_told_death(life, members, config, given.now)
        } else {
            Suspicion::new(life, update.id, &update.accusers, members, config, given.now)
        };
        self.suspicions.start(slot, suspicion);
    }

    /// The local node's own probe of a member went unanswered.
    pub(crate) fn accuse(&mut self, given: &mut Given<'_>, slot: Slot) -> Changed {
        let mut changed = Changed::default();
        let known = self.table.get(slot).rank();
        let (subject, own) = (self.table.get(slot).id, self.table.local().id);
        match known.state {
            State::Alive => {
                let members = self.cluster_size();
                let (life, config) = (known.life(), given.config);
                let suspicion = Suspicion::new(life, subject, &[own], members, config, given.now);
                self.table.update(slot, given.rng, given.now, |record| {
                    record.state = State::Suspect;
                });
                self.suspicions.start(slot, suspicion);
                self.settle(given, slot, known, Via::Gossip, &mut changed);
            }
            State::Suspect if self.suspicions.confirm(slot, subject, &[own]) => {
                self.spread(slot, &mut changed);
            }
            _ => {}
        }
        changed
    }

    /// Ends the first suspicion that has run out: the one way in which a member is first declared
    /// dead. `None` if none has.
    pub(crate) fn expire(&mut self, given: &mut Given<'_>) -> Option<Changed> {
        let slot = self.suspicions.expired(given.now)?;
        let mut changed = Changed::default();
        self.suspicions.cancel(slot);
        let known = self.table.get(slot).rank();
        self.table.update(slot, given.rng, given.now, |record| record.state = State::Dead);
        self.settle(given, slot, known, Via::Gossip, &mut changed);
        Some(changed)
    }

    /// Sets the rank, and the details if they are newer than what stands there.
    #[inline]
    fn adopt(
        &mut self,
        given: &mut Given<'_>,
        slot: Slot,
        claim: Rank,
        details: Option<(&Details<'_>, Metadata)>,
    ) {
        let (epoch, said) = (self.table.get(slot).epoch, self.table.get(slot).details);
        let newer =
            details.filter(|(details, _)| claim.epoch > epoch || details.incarnation > said);
        if let Some((details, _)) = &newer {
            self.table.set_addr(slot, details.addr);
        }
        self.table.update(slot, given.rng, given.now, |record| {
            if let Some((details, metadata)) = newer {
                record.details = details.incarnation;
                record.versions = details.versions;
                record.metadata = metadata;
            }
            record.epoch = claim.epoch;
            record.incarnation = claim.incarnation;
            record.state = claim.state;
        });
    }

    /// The event of a member that stood at `known` and now stands as the table says; none while it
    /// stays out of the view.
    #[inline]
    fn transition(&self, known: Rank, slot: Slot) -> Option<Event> {
        let record = self.table.get(slot);
        let is_new = !known.state.is_live() || record.epoch > known.epoch;
        if !known.state.is_live() && !record.state.is_live() {
            return None;
        }
        let state = record.state;
        let member = self.table.member(slot);
        Some(match state {
            State::Alive | State::Suspect if is_new => Event::Joined(member),
            State::Alive if known.state == State::Suspect => Event::Recovered(member),
            State::Suspect if known.state == State::Alive => Event::Suspected(member),
            State::Alive | State::Suspect => Event::Updated(member),
            State::Dead => Event::Died(member),
            State::Left => Event::Left(member),
        })
    }

    /// Says what has become of `slot`, which stood at `known` before, and queues it for the others.
    #[inline]
    fn settle(
        &mut self,
        given: &Given<'_>,
        slot: Slot,
        known: Rank,
        via: Via,
        changed: &mut Changed,
    ) {
        let was_gone = !known.state.is_live();
        changed.event = self.transition(known, slot);
        if was_gone && matches!(changed.event, Some(Event::Joined(_))) {
            changed.effects.push(Effect::EndSolitude);
            changed.effects.push(Effect::SyncSoon(self.table.get(slot).id));
        }
        if !was_gone && self.table.live_count() == 0 {
            changed.effects.push(Effect::Isolate);
        }
        self.spread_via(slot, via, changed);
        changed.effects.push(Effect::Reconnect);
        self.trim_tombstones(given.config, changed);
    }
}
