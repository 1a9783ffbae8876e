//! Claims that name another run of a known member, or another address of its run
//! (`docs/protocol.md` §4.9).

use crate::membership::claims::holder::{Answers, Case, Decision, Held, Voice, decide};
use crate::membership::claims::{Changed, Claims, Effect, Outcome};
use crate::membership::state::ring::Slot;
use crate::membership::state::speaker::{Via, rank};
use crate::wire::update::Update;

impl Claims {
    /// Whether a claim is about another run than the one that is held, or puts that run elsewhere.
    #[inline]
    pub(super) fn is_disputed(&self, slot: Slot, update: &Update<'_>) -> bool {
        update.details.as_ref().is_some_and(|details| {
            update.epoch != self.table.get(slot).epoch || details.addr != self.table.addr(slot)
        })
    }

    /// The claim beside what is held, for the rule of §4.9.
    pub(crate) fn case(&self, update: &Update<'_>, via: Via) -> Case {
        let slot = self.table.find(update.id);
        let record = slot.map(|slot| self.table.get(slot));
        let details = update.details.as_ref();
        let held = match record {
            None => Held::Nobody,
            Some(record) if record.state.is_live() => Held::Live,
            Some(_) => Held::Gone,
        };
        Case {
            held,
            order: record
                .map_or(core::cmp::Ordering::Greater, |record| update.epoch.cmp(&record.epoch)),
            is_same_address: slot
                .zip(details)
                .is_some_and(|(slot, details)| details.addr == self.table.addr(slot)),
            is_live: update.state.is_live(),
            is_later_word: record
                .zip(details)
                .is_some_and(|(record, details)| details.incarnation > record.details),
            voice: match via {
                Via::FirstHand => Voice::Claimant,
                Via::MemberTransfer => Voice::Member,
                Via::Gossip | Via::Transfer | Via::FirstTransfer | Via::Decided => Voice::Anybody,
            },
        }
    }

    /// Applies the rule to a claim for which nobody has been asked yet. Returns whether the claim
    /// goes no further.
    #[cold]
    pub(super) fn dispute(
        &mut self,
        slot: Slot,
        update: &Update<'_>,
        via: Via,
        changed: &mut Changed,
    ) -> bool {
        let decision = decide(self.case(update, via), Answers::default());
        if decision == Decision::Merge {
            // Details of the held run that are no later word are not looked at, but what they would
            // move is not moved either.
            let is_greater = rank(update) > self.table.get(slot).rank();
            let is_moved = update.epoch == self.table.get(slot).epoch && is_greater;
            if is_moved {
                changed.outcome = Outcome::Refused;
            }
            return is_moved;
        }
        let is_sound = match &update.details {
            Some(details) => self.sound_metadata(details, changed).is_some(),
            None => false,
        };
        if is_sound && decision == Decision::Ask {
            changed.outcome = Outcome::Other;
            changed.effects.push(Effect::Ask(via));
        } else {
            changed.outcome = Outcome::Refused;
        }
        true
    }
}
