//! Claims that are kept aside while addresses are asked, and what becomes of them
//! (`docs/protocol.md` §4.9).
//!
//! ```text
//! claim ──Ask──> kept aside ──answers, or their end──> decide ──> take, refuse, conflict
//!                    ^                                    │
//!                    └───── waits for the held run <──────┘
//! ```
//!
//! The rule itself is [`decide`], which this file asks whenever an answer is new.

use core::net::SocketAddr;
use core::time::Duration;

use crate::membership::claims::Given;
use crate::membership::claims::holder::{Answer, Decision, decide};
use crate::membership::state::checks::{Asked, Asker, Check, Claim};
use crate::membership::state::outbox::{Body, Destination, Plane};
use crate::membership::state::speaker::Via;
use crate::membership::state::table::LOCAL;
use crate::membership::{CHECK_TRIES, CHECKS_MAX, Event, Membership, REFUSAL_WAIT_MIN, State};
use crate::time::Now;
use crate::wire::datagram::Run;
use crate::wire::update::Update;

/// A ping: its number, and whom it is for.
type Question = (u32, Run, SocketAddr);

/// What is to be asked of a side, if it has not answered.
fn question(asked: &Option<Asked>) -> Option<Question> {
    let open = asked.as_ref().filter(|asked| asked.answer == Answer::Open);
    open.map(|asked| (asked.seq, asked.run, asked.addr))
}

impl Membership {
    /// Keeps a claim aside and asks the addresses that it is about (§4.9.1).
    pub(super) fn ask(&mut self, now: Now, update: &Update<'_>, via: Via) {
        let Some(details) = &update.details else { return };
        let run = Run { id: update.id, epoch: update.epoch };
        if self.checks.about(run).is_some() {
            return;
        }
        if self.checks.len() >= CHECKS_MAX {
            self.stats.updates_refused += 1;
            return;
        }
        let claimed = Some((run, details.addr)).filter(|_| update.state.is_live());
        let held = self.claims.table().find(run.id).filter(|&slot| slot != LOCAL);
        let held = held.map(|slot| (self.run_of(slot), self.claims.table().addr(slot)));
        let held = held.filter(|&(_, addr)| addr != details.addr);
        let [claimed, held] = [claimed, held].map(|asked| {
            asked.map(|(run, addr)| Asked {
                seq: self.next_seq(),
                run,
                addr,
                answer: Answer::Open,
                refused_until: None,
            })
        });
        let span = self.check_span();
        let claim = Claim::of(update, details);
        self.checks.open.push(Check {
            claim,
            via,
            claimed,
            held,
            asker: None,
            next_at: now.mono + span / CHECK_TRIES,
            ends: now.mono + span,
            is_waiting: false,
            is_dialled: false,
        });
        self.checks.refresh();
        let at = self.checks.len() - 1;
        let check = &self.checks.open[at];
        let (claimed, held) = (question(&check.claimed), question(&check.held));
        self.ping_asked(claimed.into_iter().chain(held), Plane::Datagram);
        // Whether it refuses is evidence. The claimed run is dialled only if it does not answer by
        // datagram, or each restart would cost it a connection with everybody.
        self.ping_asked(held, Plane::Stream);
    }

    /// How long an address has to answer.
    fn check_span(&self) -> Duration {
        self.awareness.scale(self.config.probe_timeout_max)
    }

    fn ping_asked(&mut self, asked: impl IntoIterator<Item = Question>, plane: Plane) {
        for (seq, run, addr) in asked {
            // By its address: an open connection to the id may lead to the other one.
            let to = Destination { addr, id: Some(run.id).filter(|_| plane == Plane::Datagram) };
            self.answer(to, plane, Body::Ping { seq, target: run });
        }
    }

    /// The claimant of `run` itself asks for the table and has to wait for a decision. Returns
    /// whether its claim is kept aside.
    pub(super) fn await_decision(&mut self, run: Run, asker: Asker) -> bool {
        let Some(check) = self.checks.about(run) else { return false };
        check.asker = Some(asker);
        // What a member says of a run outweighs what the run says of itself.
        if check.via != Via::MemberTransfer {
            check.via = Via::FirstHand;
        }
        let (is_waiting, held) = (check.is_waiting, check.held.as_ref());
        if let Some((rival, addr)) = held.map(|held| (held.run, held.addr)).filter(|_| is_waiting) {
            self.answer(asker.to, Plane::Stream, Body::Conflict { rival, addr, is_awaited: true });
        }
        true
    }

    /// Whether a question with this number is open to `subject`.
    pub(super) fn check_awaits(&mut self, seq: u32, subject: Run) -> bool {
        let open = self.checks.open.iter_mut();
        open.flat_map(|check| check.asked()).any(|asked| asked.seq == seq && asked.run == subject)
    }

    /// An answer to an open question; answers whether it was one.
    pub(super) fn check_acked(&mut self, now: Now, seq: u32, subject: Run) -> bool {
        for at in 0..self.checks.len() {
            let found =
                self.checks.open[at].asked().find(|asked| asked.seq == seq && asked.run == subject);
            if let Some(asked) = found {
                asked.answer = Answer::Alive;
                asked.refused_until = None;
                self.resolve(now, at);
                return true;
            }
        }
        false
    }

    /// A connection to `addr` was refused (ECONNREFUSED): nothing listens there. Every other
    /// failure of a dial is no evidence, and is not told here.
    pub fn handle_refused(&mut self, now: Now, addr: SocketAddr) {
        let wait = self.round_trip.smoothed().saturating_mul(4).max(REFUSAL_WAIT_MIN);
        for check in &mut self.checks.open {
            for asked in check.asked() {
                let is_unanswered = matches!(asked.answer, Answer::Open | Answer::Silent);
                if asked.addr == addr && is_unanswered && asked.refused_until.is_none() {
                    asked.refused_until = Some(now.mono + wait);
                }
            }
        }
        self.checks.refresh();
    }

    pub(super) fn on_checks_due(&mut self, now: Now) {
        while let Some(at) = self.checks.next_due(now.mono) {
            let span = self.check_span();
            let check = &mut self.checks.open[at];
            if check.pass(now.mono) {
                self.resolve(now, at);
            } else {
                // Not from when it was due: a late timer must not send all pings at once.
                check.next_at = now.mono + span / CHECK_TRIES;
                let is_dialled = core::mem::replace(&mut check.is_dialled, true);
                let (claimed, held) = (question(&check.claimed), question(&check.held));
                self.ping_asked(claimed.into_iter().chain(held), Plane::Datagram);
                self.ping_asked(claimed.filter(|_| !is_dialled), Plane::Stream);
            }
        }
        self.checks.refresh();
    }

    /// Decides about the claim that is kept at `at`, if that is possible now.
    fn resolve(&mut self, now: Now, at: usize) {
        if self.checks.open[at].claim.run.id == self.local_id() {
            return self.resolve_rival(now, at);
        }
        let check = &mut self.checks.open[at];
        let slot = self.claims.table().find(check.claim.run.id);
        let record = slot.map(|slot| self.claims.table().get(slot));
        if check.is_waiting
            && let (Some(held), Some(record)) = (&mut check.held, record)
            && record.epoch == held.run.epoch
            && record.state == State::Alive
        {
            // It has refuted its suspicion.
            held.answer = Answer::Alive;
        }
        let case = self.claims.case(&check.claim.update(), check.via);
        // Whether what is held is still what was asked.
        let is_asked = match (&check.held, record) {
            (Some(held), Some(record)) => held.run.epoch == record.epoch,
            (None, Some(_)) => case.is_same_address,
            (_, None) => check.claimed.is_some(),
        };
        let decision = match (record, check.answers().claimed) {
            (_, Answer::Silent | Answer::Refused) => Decision::Refuse,
            // The claim is a new one.
            _ if !is_asked => Decision::Merge,
            // §4.9.4: the subject of a tombstone that may be forgotten has answered for itself.
            (None, Answer::Alive) => Decision::Take,
            (None, Answer::Open) => Decision::Ask,
            (Some(_), _) => decide(case, check.answers()),
        };
        debug_assert!(
            decision != Decision::Ask || check.ends > now.mono,
            "once both answers are known there is a decision"
        );
        match decision {
            Decision::Ask if check.ends > now.mono => self.checks.refresh(),
            Decision::Wait => self.wait_for_held(now, at),
            decision => {
                let check = self.checks.remove(at);
                self.carry_out_decision(now, &check, decision);
            }
        }
    }

    fn carry_out_decision(&mut self, now: Now, check: &Check, decision: Decision) {
        let asker = check.asker;
        match decision {
            Decision::Take => {
                let is_stranger = self.claims.table().find(check.claim.run.id).is_none();
                self.apply(now, &check.claim.update(), Via::Decided);
                if is_stranger {
                    // Others whom the same table named may have found no room among the checks.
                    self.sync_soon_with(now, check.claim.run.id);
                }
                self.give_table(asker, false);
            }
            Decision::Merge => {
                self.apply(now, &check.claim.update(), check.via);
                let is_kept =
                    asker.is_some_and(|asker| self.await_decision(check.claim.run, asker));
                if !is_kept {
                    self.give_table(asker, false);
                }
            }
            Decision::MovePast => self.give_table(asker, true),
            Decision::Conflict => {
                self.stats.updates_refused += 1;
                if let Some(held) = &check.held {
                    self.tell_both(now, check, held.run, held.addr);
                }
            }
            Decision::Refuse => self.stats.updates_refused += 1,
            Decision::Ask | Decision::Wait => {}
        }
    }

    fn give_table(&mut self, asker: Option<Asker>, is_passed: bool) {
        if let Some(Asker { to, exchange, is_joining }) = asker {
            self.transfer_all(to, exchange, is_joining, is_passed);
        }
    }

    /// Two live runs have one id: says so here, and to both (§4.9.2).
    fn tell_both(&mut self, now: Now, check: &Check, held: Run, addr: SocketAddr) {
        let (claimed, is_awaited) = (&check.claim, false);
        let to_claimant = Body::Conflict { rival: held, addr, is_awaited };
        let is_news = self.report_conflict(now, claimed.run, addr, claimed.addr);
        if let Some(asker) = check.asker {
            self.answer(asker.to, Plane::Stream, to_claimant);
        } else if is_news {
            let to = Destination { addr: claimed.addr, id: Some(claimed.run.id) };
            self.answer(to, Plane::Datagram, to_claimant);
        }
        if is_news {
            let to = Destination { addr, id: Some(held.id) };
            let (rival, addr) = (claimed.run, claimed.addr);
            self.answer(to, Plane::Datagram, Body::Conflict { rival, addr, is_awaited });
        }
    }

    /// The held run is silent: it is suspected, and the claim waits for the end of that (§4.9.2).
    fn wait_for_held(&mut self, now: Now, at: usize) {
        let interval = self.config.probe_interval;
        let check = &mut self.checks.open[at];
        let is_new = !core::mem::replace(&mut check.is_waiting, true);
        check.ends = now.mono + interval;
        let held = check.held.as_ref().map(|held| (held.run, held.addr));
        let asker = check.asker;
        self.checks.refresh();
        let Some((rival, addr)) = held.filter(|_| is_new) else { return };
        if let Some(slot) = self.claims.table().find(rival.id) {
            self.accuse(now, slot);
        }
        if let Some(asker) = asker {
            self.answer(asker.to, Plane::Stream, Body::Conflict { rival, addr, is_awaited: true });
        }
    }

    /// What has become of the question whether another run lives under the local node's own id
    /// (§4.9.3).
    fn resolve_rival(&mut self, now: Now, at: usize) {
        let check = &self.checks.open[at];
        let (rival, addr) = (check.claim.run, check.claim.addr);
        match check.answers().claimed {
            Answer::Open => self.checks.refresh(),
            Answer::Alive => {
                self.checks.remove(at);
                let (own, own_addr) = (self.run_of(LOCAL), self.claims.table().addr(LOCAL));
                if self.report_conflict(now, rival, own_addr, addr) {
                    let to = Destination { addr, id: None };
                    let body = Body::Conflict { rival: own, addr: own_addr, is_awaited: false };
                    self.answer(to, Plane::Datagram, body);
                }
            }
            Answer::Silent | Answer::Refused => {
                self.checks.remove(at);
                let mut given = Given { now: now.mono, config: &self.config, rng: &mut self.rng };
                let changed = self.claims.pass(&mut given, rival.epoch);
                self.carry_out(now, changed);
            }
        }
    }

    /// Somebody says that another live node claims an id, or that an earlier run of it is waited
    /// for. An event and nothing more: it proves nothing.
    pub(super) fn on_conflict(&mut self, now: Now, rival: Run, addr: SocketAddr, is_awaited: bool) {
        let own_addr = self.claims.table().addr(LOCAL);
        if rival.id != self.local_id() || addr == own_addr || self.leave.has_begun() {
            return;
        }
        if !is_awaited {
            self.report_conflict(now, rival, own_addr, addr);
        } else if self.checks.is_news(now.mono, rival, addr, true) {
            self.tell(Event::Waiting { addr });
        }
    }

    /// Reports a conflict, unless it was reported a moment ago. Returns whether it is news.
    pub(super) fn report_conflict(
        &mut self,
        now: Now,
        rival: Run,
        known: SocketAddr,
        other: SocketAddr,
    ) -> bool {
        let is_news = self.checks.is_news(now.mono, rival, other, false);
        if is_news {
            self.tell(Event::Conflict { id: rival.id, known, other });
        }
        is_news
    }
}
