//! Merging claims: the one place where belief about a member changes (`docs/protocol.md` §4.2,
//! §4.5).

use core::time::Duration;

use crate::id::{Epoch, Incarnation};
use crate::membership::state::member::Rank;
use crate::membership::state::ring::Slot;
use crate::membership::state::since::Since;
use crate::membership::state::speaker::{Via, rank};
use crate::membership::state::suspicion::Suspicion;
use crate::membership::state::table::{Entry, LOCAL, NOWHERE};
use crate::membership::{Event, Membership, Metadata, RELAYED_RUMORS_MAX, State};
use crate::time::Now;
use crate::wire::datagram::Run;
use crate::wire::update::{Details, Update};

impl Membership {
    /// Takes one claim in.
    pub(super) fn apply(&mut self, now: Now, update: &Update<'_>, via: Via) {
        if update.id == self.local_id() {
            self.hear_of_self(now, update);
            return;
        }
        match self.table.find(update.id) {
            Some(slot) => self.merge(now, slot, update, via),
            None => self.meet(now, update, via),
        }
    }

    /// A claim about somebody unknown.
    fn meet(&mut self, now: Now, update: &Update<'_>, via: Via) {
        // Without details there is nowhere to put it; a table transfer will bring them.
        let Some(details) = &update.details else {
            self.stats.updates_stale += 1;
            return;
        };
        let age = Duration::from_secs(u64::from(update.age.unwrap_or(0)));
        let is_live = update.state.is_live();
        // By its age and not by the instant, which saturates where the clock is younger than the
        // tombstone.
        let is_long_gone = !is_live && age >= self.config.tombstone_lifetime;
        if is_long_gone || (!is_live && update.age.is_none()) {
            self.stats.updates_stale += 1;
            return;
        }
        // §4.9: D8 of other implementations, which take any stale claim for news once the tombstone
        // is gone.
        let is_doubtful = self.table.forgotten().is_some_and(|forgotten| update.epoch <= forgotten);
        if is_live && is_doubtful && via != Via::FirstHand {
            self.verify(now, update);
            return;
        }
        let is_full = self.table.is_full();
        let Some(metadata) = self.metadata_read.decode(details.metadata).filter(|_| !is_full)
        else {
            self.stats.updates_refused += 1;
            return;
        };
        let entry = Entry {
            id: update.id,
            rank: rank(update),
            details: details.incarnation,
            addr: details.addr,
            metadata,
            versions: details.versions,
            since: if is_live { Since::at(now.mono) } else { Since::ago(now.mono, age) },
        };
        let slot = self.table.insert(entry, &mut self.rng);
        self.stats.updates_applied += 1;
        if update.state == State::Suspect {
            self.begin_suspicion(now, slot, update);
        }
        if is_live {
            self.end_solitude(now);
            let member = self.table.member(slot);
            self.tell(Event::Joined(member));
            self.spread_via(now, slot, via);
        }
        self.trim_tombstones();
    }

    /// A claim about somebody known: the greater rank holds.
    fn merge(&mut self, now: Now, slot: Slot, update: &Update<'_>, via: Via) {
        let (claim, known) = (rank(update), self.table.get(slot).rank());
        if claim <= known {
            self.merge_lesser(now, slot, update, via);
            return;
        }
        if claim.epoch > known.epoch && update.details.is_none() {
            self.stats.updates_stale += 1;
            return;
        }
        let metadata = match &update.details {
            Some(details) => match self.sound_details(slot, claim.epoch, details) {
                Some(metadata) => Some(metadata),
                None => return,
            },
            None => None,
        };
        let details = update.details.as_ref().zip(metadata);
        let is_told_death = claim.state == State::Dead && known.state.is_live();
        let is_doubted =
            self.config.told_deaths_doubted || matches!(via, Via::Transfer | Via::FirstTransfer);
        if is_told_death
            && is_doubted
            && !self.suspicions.has_heard_out(slot, claim.life(), now.mono)
        {
            self.doubt(now, slot, claim, details);
            return;
        }
        self.adopt(now, slot, claim, details);
        self.stats.updates_applied += 1;
        if claim.state == State::Suspect {
            self.begin_suspicion(now, slot, update);
        } else {
            self.suspicions.cancel(slot);
        }
        if let (false, Some(age)) = (claim.state.is_live(), update.age) {
            // No further back than makes it due now: a deadline in the past would look like a pause
            // (§4.4.1).
            let age = Duration::from_secs(u64::from(age)).min(self.config.tombstone_lifetime);
            self.table.backdate(slot, Since::ago(now.mono, age));
        }
        self.changed(now, slot, known, via);
    }

    /// A claim that does not change the rank may still bring a new accuser, or details that were
    /// missing.
    fn merge_lesser(&mut self, now: Now, slot: Slot, update: &Update<'_>, via: Via) {
        let record = self.table.get(slot);
        let known = record.rank();
        let is_of_run = update.epoch == known.epoch;
        let later =
            update.details.as_ref().filter(|said| is_of_run && said.incarnation > record.details);
        let later =
            match later.map(|said| Some((said, self.sound_details(slot, update.epoch, said)?))) {
                // Refused, and whole: what is wrong with the details is wrong with the accusers
                // beside them.
                Some(None) => return,
                later => later.flatten(),
            };
        let is_accused = rank(update) == known && update.state == State::Suspect;
        let is_confirmed = is_accused && self.suspicions.confirm(slot, update.id, &update.accusers);
        if self.learn(now, slot, later) || is_confirmed {
            self.stats.updates_applied += 1;
            self.spread_via(now, slot, via);
        } else {
            self.stats.updates_stale += 1;
        }
    }

    /// What a member has said of itself in a later incarnation than was known holds, whatever
    /// becomes of the claim that brings it (§4.2). Answers whether there was any such.
    fn learn(&mut self, now: Now, slot: Slot, details: Option<(&Details<'_>, Metadata)>) -> bool {
        let record = self.table.get(slot);
        let known = record.rank();
        if details.as_ref().is_none_or(|(said, _)| said.incarnation <= record.details) {
            return false;
        }
        self.adopt(now, slot, known, details);
        if known.state.is_live() {
            self.tell(Event::Updated(self.table.member(slot)));
        }
        true
    }

    /// The metadata of `details`, unless they are broken or put a known run at another address: a
    /// run keeps its address, so that is somebody else under the same id (§4.9, R4).
    #[inline]
    fn sound_details(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        details: &Details<'_>,
    ) -> Option<Metadata> {
        let record = self.table.get(slot);
        let (id, was) = (record.id, self.table.addr(slot));
        if epoch == record.epoch && details.addr != was {
            self.stats.updates_refused += 1;
            self.report_conflict(Run { id, epoch }, details.addr);
            return None;
        }
        let metadata = self.metadata_read.decode(details.metadata);
        self.stats.updates_refused += u64::from(metadata.is_none());
        metadata
    }

    /// §4.5.1: a death told of a member that is live here is no verdict yet. Alive, it is suspected
    /// for the minimum time and told at once, so that it can refute (D11 of other
    /// implementations, which bury it unheard). Suspected for less than that, it gets the rest
    /// of it: the same bad observer may have told of suspicion and death in one breath.
    fn doubt(
        &mut self,
        now: Now,
        slot: Slot,
        claim: Rank,
        details: Option<(&Details<'_>, Metadata)>,
    ) {
        let is_running =
            self.suspicions.get(slot).is_some_and(|running| running.life == claim.life());
        if is_running {
            if self.learn(now, slot, details) {
                self.stats.updates_applied += 1;
                self.spread(now, slot);
            } else {
                self.stats.updates_stale += 1;
            }
            if self.suspicions.shorten(slot) {
                self.warn(slot);
            }
            return;
        }
        let known = self.table.get(slot).rank();
        let suspicion =
            Suspicion::of_told_death(claim.life(), self.cluster_size(), &self.config, now.mono);
        self.adopt(now, slot, Rank { state: State::Suspect, ..claim }, details);
        self.suspicions.start(slot, suspicion);
        self.stats.updates_applied += 1;
        self.changed(now, slot, known, Via::Gossip);
        self.warn(slot);
    }

    fn begin_suspicion(&mut self, now: Now, slot: Slot, update: &Update<'_>) {
        let life = (update.epoch, update.incarnation);
        let (members, config) = (self.cluster_size(), &self.config);
        // Nobody's probe has failed: it is a doubt that a told death has begun elsewhere (§4.5.1),
        // and told on. Were it taken for an accusation, the same death told here would end
        // it at once.
        let is_doubt = update.accusers.iter().all(|&accuser| accuser == update.id);
        let suspicion = if is_doubt {
            Suspicion::of_told_death(life, members, config, now.mono)
        } else {
            Suspicion::new(life, update.id, &update.accusers, members, config, now.mono)
        };
        self.suspicions.start(slot, suspicion);
    }

    /// The local node's own probe of a member went unanswered.
    pub(super) fn accuse(&mut self, now: Now, slot: Slot) {
        let known = self.table.get(slot).rank();
        let (subject, own) = (self.table.get(slot).id, self.local_id());
        match known.state {
            State::Alive => {
                let suspicion = Suspicion::new(
                    known.life(),
                    subject,
                    &[own],
                    self.cluster_size(),
                    &self.config,
                    now.mono,
                );
                let Self { table, rng, .. } = self;
                table.update(slot, rng, now.mono, |record| record.state = State::Suspect);
                self.suspicions.start(slot, suspicion);
                self.changed(now, slot, known, Via::Gossip);
            }
            State::Suspect if self.suspicions.confirm(slot, subject, &[own]) => {
                self.spread(now, slot);
            }
            _ => {}
        }
    }

    /// A suspicion has run out: the one way a member is first declared dead (C4).
    pub(super) fn bury(&mut self, now: Now, slot: Slot) {
        self.suspicions.cancel(slot);
        let known = self.table.get(slot).rank();
        let Self { table, rng, .. } = self;
        table.update(slot, rng, now.mono, |record| record.state = State::Dead);
        self.changed(now, slot, known, Via::Gossip);
    }

    /// Sets the rank, and the details if they are newer than what stands there.
    #[inline]
    fn adopt(
        &mut self,
        now: Now,
        slot: Slot,
        claim: Rank,
        details: Option<(&Details<'_>, Metadata)>,
    ) {
        let Self { table, rng, .. } = self;
        let (epoch, said) = (table.get(slot).epoch, table.get(slot).details);
        let newer =
            details.filter(|(details, _)| claim.epoch > epoch || details.incarnation > said);
        if let Some((details, _)) = &newer {
            table.set_addr(slot, details.addr);
        }
        table.update(slot, rng, now.mono, |record| {
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
    fn transition(&self, known: Rank, slot: Slot) -> Option<Event> {
        let record = self.table.get(slot);
        let is_new = !known.state.is_live() || record.epoch > known.epoch;
        let event = match record.state {
            State::Alive | State::Suspect if is_new => Event::Joined,
            State::Alive if known.state == State::Suspect => Event::Recovered,
            State::Suspect if known.state == State::Alive => Event::Suspected,
            State::Alive | State::Suspect => Event::Updated,
            State::Dead | State::Left if !known.state.is_live() => return None,
            State::Dead => Event::Died,
            State::Left => Event::Left,
        };
        Some(event(self.table.member(slot)))
    }

    /// Tells user and cluster what has become of `slot`, which stood at `known` before.
    fn changed(&mut self, now: Now, slot: Slot, known: Rank, via: Via) {
        let record = self.table.get(slot);
        let was_gone = !known.state.is_live();
        if let Some(event) = self.transition(known, slot) {
            let is_back = was_gone && matches!(event, Event::Joined(_));
            let id = record.id;
            self.tell(event);
            if is_back {
                self.end_solitude(now);
                self.sync_soon_with(now, id);
            }
        }
        if known.state.is_live() && self.live_count() == 0 {
            self.tell(Event::Isolated);
            self.rejoin(now);
        }
        self.spread_via(now, slot, via);
        self.arm_reconnect(now);
        self.trim_tombstones();
    }

    fn spread_via(&mut self, now: Now, slot: Slot, via: Via) {
        let is_worth_it = match via {
            Via::Gossip | Via::FirstHand => true,
            Via::Transfer => self.rumors.len() < RELAYED_RUMORS_MAX,
            Via::FirstTransfer => false,
        };
        if is_worth_it {
            self.spread(now, slot);
        }
    }

    /// A claim about the local node.
    fn hear_of_self(&mut self, now: Now, update: &Update<'_>) {
        let (claim, own) = (rank(update), self.table.local().rank());
        if self.leave.has_begun() {
            self.stats.updates_stale += 1;
            return;
        }
        if let (true, Some(details)) = (claim.state.is_live(), &update.details)
            && details.addr != self.table.addr(LOCAL)
        {
            // Another run of this id elsewhere. A later one is a rival; an earlier one is this
            // node's own past.
            if claim.epoch >= own.epoch {
                self.report_conflict(Run { id: update.id, epoch: claim.epoch }, details.addr);
                self.warn_rival(claim.epoch, details.addr);
            }
            return;
        }
        if claim.life() < own.life() || claim == own {
            // D7 of other implementations: an accusation of an earlier life is answered, not
            // ignored, or the accuser would never learn that it is refuted.
            self.stats.updates_stale += 1;
            if claim.state != State::Alive && self.table.local().rumor == NOWHERE {
                self.spread(now, LOCAL);
            }
            return;
        }
        self.stats.refutations += 1;
        self.awareness.worse();
        self.raise(now, claim);
        self.spread(now, LOCAL);
    }

    /// Moves the local node past `claim`: to the next incarnation of its epoch, or past a later
    /// epoch (§4.2). A claim at the end of all epochs cannot be passed and is left standing;
    /// only a forger makes one.
    pub(super) fn raise(&mut self, now: Now, claim: Rank) {
        let own = self.table.local().rank();
        let accused = if claim.epoch == own.epoch {
            claim.incarnation.max(own.incarnation)
        } else {
            own.incarnation
        };
        let next = match accused.get().checked_add(1) {
            Some(count) if claim.epoch <= own.epoch => Some((own.epoch, Incarnation::new(count))),
            _ => claim.epoch.max(own.epoch).next().map(|epoch| (epoch, Incarnation::ZERO)),
        };
        let Some((epoch, incarnation)) = next else {
            self.stats.updates_refused += 1;
            return;
        };
        let Self { table, rng, .. } = self;
        table.update(LOCAL, rng, now.mono, |record| {
            record.epoch = epoch;
            record.incarnation = incarnation;
            record.details = incarnation;
        });
    }

    /// Forgets the oldest tombstones beyond the number that is kept.
    pub(super) fn trim_tombstones(&mut self) {
        while self.table.tombstone_count() > self.config.tombstones_max {
            let Some((_, slot)) = self.table.oldest_tombstone() else { return };
            self.forget(slot);
        }
    }

    /// Forgets one tombstone and everything that points to it.
    pub(super) fn forget(&mut self, slot: Slot) {
        let record = self.table.get(slot);
        let (id, rumor) = (record.id, record.rumor);
        if rumor != NOWHERE {
            self.rumors.remove(rumor);
        }
        self.broadcasts.forget(id);
        self.table.forget(slot);
        self.stats.tombstones_forgotten += 1;
    }
}
