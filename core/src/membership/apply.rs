//! Claims go in, and what they ask of the rest of the machine is carried out (`docs/protocol.md`
//! §4.2).

use crate::membership::claims::{Changed, Effect, Given, Outcome};
use crate::membership::state::ring::Slot;
use crate::membership::state::speaker::Via;
use crate::membership::{Event, Membership};
use crate::time::Now;
use crate::wire::update::Update;

impl Membership {
    /// Takes one claim in.
    #[inline]
    pub(super) fn apply(&mut self, now: Now, update: &Update<'_>, via: Via) -> Outcome {
        let mut given = Given { now: now.mono, config: &self.config, rng: &mut self.rng };
        self.claims.apply(&mut given, update, via, &mut self.changed);
        let outcome = core::mem::take(&mut self.changed.outcome);
        self.count(outcome);
        if !self.changed.is_empty() {
            self.carry_out_claim(now, update);
        }
        outcome
    }

    /// Does what a claim asks for. What it changed is emptied for the next one.
    fn carry_out_claim(&mut self, now: Now, update: &Update<'_>) {
        if let Some(event) = self.changed.event.take() {
            self.tell_change(now, event);
        }
        // By index: to carry one out borrows the whole machine.
        for at in 0..self.changed.effects.len() {
            match self.changed.effects[at] {
                Effect::Ask(via) => self.ask(now, update, via),
                effect => self.carry_out_one(now, effect),
            }
        }
        self.changed.effects.clear();
    }

    /// The local node's own probe of a member went unanswered.
    pub(super) fn accuse(&mut self, now: Now, slot: Slot) {
        let mut given = Given { now: now.mono, config: &self.config, rng: &mut self.rng };
        let changed = self.claims.accuse(&mut given, slot);
        self.carry_out(now, changed);
    }

    pub(super) fn on_suspicion_due(&mut self, now: Now) {
        loop {
            let mut given = Given { now: now.mono, config: &self.config, rng: &mut self.rng };
            let Some(changed) = self.claims.expire(&mut given) else { return };
            self.carry_out(now, changed);
        }
    }

    pub(super) fn on_tombstone_due(&mut self, now: Now) {
        while let Some(id) = self.claims.forget_due(now.mono, &self.config) {
            self.carry_out_one(now, Effect::Forgot(id));
        }
        self.arm_reconnect(now);
    }

    /// Does what a change asks for.
    pub(super) fn carry_out(&mut self, now: Now, changed: Changed) {
        self.count(changed.outcome);
        if let Some(event) = changed.event {
            self.tell_change(now, event);
        }
        for effect in changed.effects {
            self.carry_out_one(now, effect);
        }
    }

    /// Emits a change of the view. A claim that waits for it is looked at again (§4.9.2).
    #[inline]
    fn tell_change(&mut self, now: Now, event: Event) {
        if self.checks.len() > 0
            && let Some(member) = event.member()
        {
            self.checks.hasten(now.mono, member.id);
        }
        self.tell(event);
    }

    #[inline]
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Other => {}
            Outcome::Applied => self.stats.updates_applied += 1,
            Outcome::Stale => self.stats.updates_stale += 1,
            Outcome::Refused => self.stats.updates_refused += 1,
        }
    }

    #[inline]
    fn carry_out_one(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::EndSolitude => self.end_solitude(now),
            Effect::SyncSoon(id) => self.sync_soon_with(now, id),
            Effect::Isolate => self.rejoin(now),
            Effect::Gossip => self.arm_gossip(now),
            Effect::Reconnect => self.arm_reconnect(now),
            Effect::Warn(slot) => _ = self.warn(slot),
            // `carry_out_claim` has the claim, and asks.
            Effect::Ask(_) => debug_assert!(false, "only a claim asks for its subject"),
            Effect::Refuted => {
                self.stats.refutations += 1;
                self.awareness.worse();
            }
            Effect::Forgot(id) => {
                self.broadcasts.forget(id);
                self.stats.tombstones_forgotten += 1;
            }
        }
    }
}
