//! What the node says of itself, and what others say of it (`docs/protocol.md` §4.2, §4.9.3).

use crate::id::{Epoch, Incarnation};
use crate::membership::claims::{Changed, Claims, Effect, Given, Outcome};
use crate::membership::state::member::Rank;
use crate::membership::state::speaker::{Via, rank};
use crate::membership::state::table::{LOCAL, NOWHERE};
use crate::membership::{Metadata, State};
use crate::wire::update::Update;

impl Claims {
    /// A claim about the local node.
    pub(super) fn hear_of_self(
        &mut self,
        given: &mut Given<'_>,
        update: &Update<'_>,
        via: Via,
        changed: &mut Changed,
    ) {
        let (claim, own) = (rank(update), self.table.local().rank());
        if own.state == State::Left {
            changed.outcome = Outcome::Stale;
            return;
        }
        if let (true, Some(details)) = (claim.state.is_live(), &update.details)
            && details.addr != self.table.addr(LOCAL)
        {
            // §4.9.3: another run of this id elsewhere. A later one is asked whether it lives; an
            // earlier one is this node's own past.
            if claim.epoch >= own.epoch {
                changed.effects.push(Effect::Ask(via));
            }
            return;
        }
        if claim.life() < own.life() || claim == own {
            // D7 of other implementations: an accusation of an earlier life is answered, not
            // ignored, or the accuser would never learn that it is refuted.
            changed.outcome = Outcome::Stale;
            if claim.state != State::Alive && self.table.local().rumor == NOWHERE {
                self.spread(LOCAL, changed);
            }
            return;
        }
        changed.effects.push(Effect::Refuted);
        if !self.raise(given, claim) {
            changed.outcome = Outcome::Refused;
        }
        self.spread(LOCAL, changed);
    }

    /// Moves the local node past `claim`: to the next incarnation of its epoch, or past a later
    /// epoch (§4.2). A claim at the end of all epochs cannot be passed and is left standing;
    /// only a forger makes one. Answers whether the node has moved.
    fn raise(&mut self, given: &mut Given<'_>, claim: Rank) -> bool {
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
        let Some((epoch, incarnation)) = next else { return false };
        self.table.update(LOCAL, given.rng, given.now, |record| {
            record.epoch = epoch;
            record.incarnation = incarnation;
            record.details = incarnation;
        });
        true
    }

    /// Moves the local node past an earlier run of its own that its clock is behind of (§4.9.3).
    pub(crate) fn pass(&mut self, given: &mut Given<'_>, epoch: Epoch) -> Changed {
        let mut changed = Changed::default();
        let own = self.table.local().rank();
        if own.state != State::Left && epoch >= own.epoch {
            changed.effects.push(Effect::Refuted);
            // The end of this run's incarnations, so that the next epoch begins also if the two are
            // the same.
            let incarnation = Incarnation::new(u32::MAX);
            if !self.raise(given, Rank { epoch, incarnation, state: State::Dead }) {
                changed.outcome = Outcome::Refused;
            }
            self.spread(LOCAL, &mut changed);
        }
        changed
    }

    /// Says other metadata of the local node, under the next incarnation.
    pub(crate) fn set_metadata(&mut self, given: &mut Given<'_>, metadata: Metadata) -> Changed {
        let mut changed = Changed::default();
        if !self.raise(given, self.table.local().rank()) {
            changed.outcome = Outcome::Refused;
        }
        self.table.update(LOCAL, given.rng, given.now, |record| record.metadata = metadata);
        self.spread(LOCAL, &mut changed);
        changed
    }

    /// The local node's record becomes left (§4.11).
    pub(crate) fn depart(&mut self, given: &mut Given<'_>) {
        self.table.update(LOCAL, given.rng, given.now, |record| record.state = State::Left);
    }
}
