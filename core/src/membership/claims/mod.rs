//! What is believed of every member, and what others are still to be told of it: the one place
//! where belief about a member changes (`docs/protocol.md` §4.2, §4.5).
//!
//! ```text
//!   claim, verdict, end of a suspicion        what the parent carries out
//!              |                                         ^
//!              v                                         |
//!   Claims { Table, Rumors, Suspicions } ──> Changed { outcome, event, effects }
//! ```
//!
//! [`Claims`] knows neither sockets nor timers nor its parent. It gets the time, the configuration
//! and the generator with each input ([`Given`]), changes its tables, and answers with what has to
//! happen outside them ([`Changed`]). So its rules are tested by tables, and `fuzz/` holds this
//! type itself to a second implementation of the text.

mod dispute;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod holder;
mod merge;
mod own;
mod told;

#[cfg(test)]
mod tests;

use core::time::Duration;

use smallvec::SmallVec;

use crate::id::NodeId;
use crate::membership::state::metadata::Recent;
use crate::membership::state::ring::Slot;
use crate::membership::state::rumors::Rumors;
use crate::membership::state::since::Since;
use crate::membership::state::speaker::{Via, rank};
use crate::membership::state::suspicion::Suspicions;
use crate::membership::state::table::{Entry, Table};
use crate::membership::{Config, Event, State};
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::update::Update;

/// What [`Claims`] is given with each input: it has no clock, configuration or chance of its own.
pub(crate) struct Given<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) rng: &'a mut Rng,
}

/// What one input did. Most claims are no news, so the caller of [`Claims::apply`] keeps one and
/// hands it in empty: to build and drop one for each claim would cost more than to judge the claim.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) outcome: Outcome,
    /// The change of the view, if there is one.
    pub(crate) event: Option<Event>,
    /// What the parent has to do, in this order, after it has emitted the event.
    pub(crate) effects: SmallVec<[Effect; 4]>,
}

impl Changed {
    /// Whether nothing has to be carried out.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.event.is_none() && self.effects.is_empty()
    }
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was no claim about another member, or waits for an answer.
    #[default]
    Other,
    /// It changed something.
    Applied,
    /// It is no news.
    Stale,
    /// It is not taken, whatever is held.
    Refused,
}

/// Something that a change asks of the rest of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A live member has come into the view: what rests while there is none begins, if it is the
    /// first.
    EndSolitude,
    /// This member is back. Both sides have much to tell, so an exchange follows soon.
    SyncSoon(NodeId),
    /// The last other live member is gone.
    Isolate,
    /// A rumour waits, so the gossip tick is armed.
    Gossip,
    /// Members have died or come back, so the timer that pings the dead is set anew.
    Reconnect,
    /// This member is pinged at once with what is thought of it, so that it can refute.
    Warn(Slot),
    /// The claim is kept aside, and the addresses that it is about are asked (§4.9.1, §4.9.3,
    /// §4.9.4). How it came.
    Ask(Via),
    /// The node has refuted a claim about itself (§4.4).
    Refuted,
    /// The tombstone of this member is forgotten.
    Forgot(NodeId),
}

/// The table of members, the rumours about them, and the suspicions that run.
#[derive(Debug)]
pub(crate) struct Claims {
    table: Table,
    rumors: Rumors,
    suspicions: Suspicions,
    metadata_read: Recent,
}

impl Claims {
    /// A node that knows only itself.
    pub(crate) fn new(local: Entry) -> Self {
        Self {
            table: Table::new(local),
            rumors: Rumors::default(),
            suspicions: Suspicions::default(),
            metadata_read: Recent::default(),
        }
    }

    /// The members.
    #[inline]
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// What waits to be told.
    #[inline]
    pub(crate) fn rumors(&self) -> &Rumors {
        &self.rumors
    }

    /// The suspicions that run.
    #[inline]
    pub(crate) fn suspicions(&self) -> &Suspicions {
        &self.suspicions
    }

    /// Members of the cluster, the local one included.
    pub(crate) fn cluster_size(&self) -> usize {
        self.table.live_count() + 1
    }

    /// The next member to probe.
    pub(crate) fn next_probe(&mut self, rng: &mut Rng) -> Option<Slot> {
        self.table.next_probe(rng)
    }

    /// Gives every running suspicion `by` more time: the node itself was asleep for as long (§4.4).
    pub(crate) fn extend_suspicions(&mut self, by: Duration) {
        self.suspicions.extend_all(by);
    }

    /// Takes one claim in. What it did is put into `changed`, which is empty before.
    #[inline]
    pub(crate) fn apply(
        &mut self,
        given: &mut Given<'_>,
        update: &Update<'_>,
        via: Via,
        changed: &mut Changed,
    ) {
        debug_assert!(changed.is_empty(), "what the last claim asked for has been carried out");
        if update.id == self.table.local().id {
            self.hear_of_self(given, update, via, changed);
        } else if let Some(slot) = self.table.find(update.id) {
            self.merge(given, slot, update, via, changed);
        } else {
            self.meet(given, update, via, changed);
        }
    }

    /// A claim about somebody unknown.
    fn meet(
        &mut self,
        given: &mut Given<'_>,
        update: &Update<'_>,
        via: Via,
        changed: &mut Changed,
    ) {
        changed.outcome = Outcome::Stale;
        // Without details there is nowhere to put it; a table transfer will bring them.
        let Some(details) = &update.details else { return };
        let age = Duration::from_secs(u64::from(update.age.unwrap_or(0)));
        let is_live = update.state.is_live();
        // By its age and not by the instant, which saturates where the clock is younger than the
        // tombstone.
        let is_long_gone = !is_live && age >= given.config.tombstone_lifetime;
        if is_long_gone || (!is_live && update.age.is_none()) {
            return;
        }
        // §4.9.4: D8 of other implementations, which take any stale claim for news once the
        // tombstone is gone.
        let is_doubtful = self.table.forgotten().is_some_and(|forgotten| update.epoch <= forgotten);
        if is_live && is_doubtful && !matches!(via, Via::FirstHand | Via::Decided) {
            if update.state == State::Alive {
                changed.outcome = Outcome::Other;
                changed.effects.push(Effect::Ask(via));
            }
            return;
        }
        changed.outcome = Outcome::Refused;
        let is_full = self.table.is_full();
        let metadata = self.metadata_read.decode(details.metadata).filter(|_| !is_full);
        let Some(metadata) = metadata else { return };
        let since = if is_live { Since::at(given.now) } else { Since::ago(given.now, age) };
        let entry = Entry {
            id: update.id,
            rank: rank(update),
            details: details.incarnation,
            addr: details.addr,
            metadata,
            versions: details.versions,
            since,
        };
        let slot = self.table.insert(entry, given.rng);
        changed.outcome = Outcome::Applied;
        if update.state == State::Suspect {
            self.begin_suspicion(given, slot, update);
        }
        if is_live {
            changed.event = Some(Event::Joined(self.table.member(slot)));
            changed.effects.push(Effect::EndSolitude);
            self.spread_via(slot, via, changed);
        }
        self.trim_tombstones(given.config, changed);
    }

    /// Forgets the oldest tombstone beyond the number that is kept. No input makes more than one.
    fn trim_tombstones(&mut self, config: &Config, changed: &mut Changed) {
        if self.table.tombstone_count() > config.tombstones_max
            && let Some((_, slot)) = self.table.oldest_tombstone()
        {
            changed.effects.push(Effect::Forgot(self.forget(slot)));
        }
    }

    /// Forgets one tombstone whose lifetime is over; `None` if there is none.
    pub(crate) fn forget_due(&mut self, now: Instant, config: &Config) -> Option<NodeId> {
        let (since, slot) = self.table.oldest_tombstone()?;
        (since.plus(config.tombstone_lifetime) <= now).then(|| self.forget(slot))
    }

    /// Forgets one tombstone and everything here that points to it.
    fn forget(&mut self, slot: Slot) -> NodeId {
        let record = self.table.get(slot);
        let (id, rumor) = (record.id, record.rumor);
        if rumor != crate::membership::state::table::NOWHERE {
            self.rumors.remove(rumor);
        }
        self.table.forget(slot);
        id
    }
}
