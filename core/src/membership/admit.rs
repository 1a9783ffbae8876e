//! Who may be believed to be whom (`docs/protocol.md` §4.9).
//!
//! Two things are asked of an address before a claim is believed: of the incumbent, when another
//! node claims its id from elsewhere; and of the claimant, when word of it may be older than a
//! tombstone that has been forgotten. Both are one ping with one deadline.

use core::net::SocketAddr;

use crate::id::Epoch;
use crate::membership::state::checks::{Check, Claim, Question};
use crate::membership::state::outbox::{Body, Destination, Intent, Plane};
use crate::membership::state::speaker::Via;
use crate::membership::state::table::LOCAL;
use crate::membership::{CHECKS_MAX, Event, Membership, State};
use crate::time::Now;
use crate::wire::datagram::Run;
use crate::wire::update::Update;

impl Membership {
    /// Asks a claimant that may be long dead whether it lives.
    pub(super) fn verify(&mut self, now: Now, update: &Update<'_>) {
        let (State::Alive, Some(details)) = (update.state, &update.details) else {
            self.stats.updates_stale += 1;
            return;
        };
        let claim = Claim::of(update, details);
        let asked = Destination { addr: claim.addr, id: Some(claim.run.id) };
        self.ask(now, asked, claim.run, claim, Question::Claimant);
    }

    /// Asks the incumbent of an id whether it lives, on behalf of a claimant that asks for the
    /// table. Answers whether the claimant has to wait.
    pub(super) fn challenge(
        &mut self,
        now: Now,
        claim: Claim,
        claimant: Destination,
        exchange: u32,
        is_joining: bool,
    ) -> bool {
        let Some(slot) = self.claims.table().find(claim.run.id) else { return false };
        let record = self.claims.table().get(slot);
        if !record.state.is_live() || self.claims.table().addr(slot) == claim.addr {
            return false;
        }
        // `docs/protocol.md` §4.9.1
        let (asked, incumbent) = (self.run_of(slot), self.destination(slot));
        let question = Question::Incumbent { incumbent, claimant, exchange, is_joining };
        self.ask(now, incumbent, asked, claim, question)
    }

    fn ask(
        &mut self,
        now: Now,
        to: Destination,
        asked: Run,
        claim: Claim,
        question: Question,
    ) -> bool {
        let is_open = self.checks.open.iter().any(|check| check.claim.run == claim.run);
        if is_open {
            return true;
        }
        if self.checks.open.len() >= CHECKS_MAX {
            self.stats.updates_refused += 1;
            return true;
        }
        let seq = self.next_seq();
        let ends = now.mono + self.awareness.scale(self.config.probe_timeout_max);
        self.checks.open.push(Check { seq, asked, claim, question, ends });
        self.checks.refresh();
        for plane in [Plane::Datagram, Plane::Stream] {
            let body = Body::Ping { seq, target: asked };
            self.send(Intent {
                to,
                plane,
                body,
                peer: None,
                tells_own: false,
                carries_rumors: false,
            });
        }
        true
    }

    /// An answer to an open question; answers whether it was one.
    pub(super) fn check_acked(&mut self, now: Now, seq: u32, subject: Run) -> bool {
        let found =
            self.checks.open.iter().position(|check| check.seq == seq && check.asked == subject);
        let Some(at) = found else { return false };
        let check = self.checks.open.swap_remove(at);
        self.checks.refresh();
        match check.question {
            Question::Claimant => {
                self.apply(now, &check.claim.update(), Via::FirstHand);
                // Others whom the same table named may have found no room among the checks.
                self.sync_soon_with(now, subject.id);
            }
            Question::Incumbent { incumbent, claimant, .. } => {
                self.report_conflict(check.claim.run, check.claim.addr);
                let to_claimant = Body::Conflict { rival: check.asked, addr: incumbent.addr };
                self.answer(claimant, Plane::Stream, to_claimant);
                let to_incumbent =
                    Body::Conflict { rival: check.claim.run, addr: check.claim.addr };
                self.answer(incumbent, Plane::Datagram, to_incumbent);
            }
        }
        true
    }

    pub(super) fn on_checks_due(&mut self, now: Now) {
        while let Some(at) = self.checks.open.iter().position(|check| check.ends <= now.mono) {
            let check = self.checks.open.swap_remove(at);
            if let Question::Incumbent { claimant, exchange, is_joining, .. } = check.question {
                self.apply(now, &check.claim.update(), Via::FirstHand);
                self.transfer_all(claimant, exchange, is_joining);
            }
        }
        self.checks.refresh();
    }

    /// Somebody says that another live node claims an id. An event and nothing more: it proves
    /// nothing.
    pub(super) fn on_conflict(&mut self, rival: Run, addr: SocketAddr) {
        if rival.id == self.local_id() && addr != self.claims.table().addr(LOCAL) {
            self.report_conflict(rival, addr);
        }
    }

    /// Reports a conflict, once a rival.
    pub(super) fn report_conflict(&mut self, rival: Run, addr: SocketAddr) {
        if self.checks.reported.contains(&(rival, addr)) {
            return;
        }
        if self.checks.reported.len() >= CHECKS_MAX {
            self.checks.reported.remove(0);
        }
        self.checks.reported.push((rival, addr));
        self.tell(Event::Conflict { id: rival.id, addr });
    }

    /// Lets a rival under the local node's own id know that it is one.
    pub(super) fn warn_rival(&mut self, epoch: Epoch, addr: SocketAddr) {
        let own = self.claims.table().local();
        let (id, own_epoch, own_addr) = (own.id, own.epoch, self.claims.table().addr(LOCAL));
        debug_assert!(epoch >= own_epoch, "an earlier run of this id is this node's own past");
        let body = Body::Conflict { rival: Run { id, epoch: own_epoch }, addr: own_addr };
        self.answer(Destination { addr, id: None }, Plane::Datagram, body);
    }
}
