//! [`Checks`]: which addresses the machine asks about which claim, and what they have answered
//! (`docs/protocol.md` §4.9.1).

use std::net::SocketAddr;
use std::time::Duration;

use chinwag_core::membership::CHECK_TRIES;
use chinwag_core::time::Instant;

use super::{Ping, Story, TURNS_MAX};
use crate::model::{self, Nanos, Origin, Outcome, Record, Verdict};
use crate::packet::{Claim, Run};
use crate::tell;

/// One run that is asked at one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) seq: u32,
    pub(super) run: Run,
    pub(super) has_answered: bool,
}

impl Side {
    fn answer(side: Option<Self>, is_over: bool) -> Option<bool> {
        match side {
            Some(side) if side.has_answered => Some(true),
            _ => is_over.then_some(false),
        }
    }
}

/// What is asked about one claim.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// The claim: its id and epoch.
    pub(super) run: model::Run,
    pub(super) claimed: Option<Side>,
    pub(super) held: Option<Side>,
    pub(super) ends: Instant,
    /// When its addresses are asked again.
    next_at: Instant,
    /// The held run is silent: what was known of it when it was last looked at.
    pub(super) waits_on: Option<Record>,
}

impl Check {
    /// When the machine looks at it next.
    fn due(&self) -> Instant {
        if self.waits_on.is_some() { self.ends } else { self.ends.min(self.next_at) }
    }

    /// What both addresses have answered by `now`.
    pub(super) fn answers(&self, now: Instant) -> (Option<bool>, Option<bool>) {
        let is_over = self.ends <= now || self.waits_on.is_some();
        (Side::answer(self.claimed, is_over), Side::answer(self.held, is_over))
    }
}

/// The open ones.
#[derive(Default)]
pub(super) struct Checks(pub(super) Vec<Check>);

impl Checks {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn about(&self, run: model::Run) -> Option<usize> {
        self.0.iter().position(|check| check.run == run)
    }

    /// The ping with this number is answered: which claim is decided over that.
    pub(super) fn answered(&mut self, seq: u32, subject: Run) -> Option<usize> {
        for (at, check) in self.0.iter_mut().enumerate() {
            let mut sides = check.claimed.iter_mut().chain(&mut check.held);
            if let Some(side) = sides.find(|side| side.seq == seq && side.run == subject) {
                side.has_answered = true;
                return Some(at);
            }
        }
        None
    }

    /// The node was asleep for so long (§4.4.1).
    pub(super) fn sleep(&mut self, by: Duration) {
        for check in &mut self.0 {
            (check.ends, check.next_at) = (check.ends + by, check.next_at + by);
        }
    }
}

impl Story {
    /// How a claim in a table exchange comes: a live member's own connection is told apart (§4.9).
    pub(super) fn transfer_of(&self, sender: Run, is_stream: bool) -> Origin {
        let record = self.model.records().get(&sender.id);
        let is_member =
            record.is_some_and(|record| record.state.is_live() && record.epoch == sender.epoch);
        if is_stream && is_member { Origin::MemberTransfer } else { Origin::Transfer }
    }

    /// The machine has looked at a claim that is kept aside: what the text says of it.
    pub(super) fn decide(&mut self, at: usize, sent: &[Ping]) {
        let check = &self.checks.0[at];
        let (run, (claimed, held)) = (check.run, check.answers(self.mono));
        // §4.9.2: a run that has refuted its suspicion has answered.
        let record = self.model.records().get(&run.0).cloned();
        let has_refuted = check.waits_on.is_some()
            && record.as_ref().is_some_and(|record| record.state == model::State::Alive);
        let held = if has_refuted { Some(true) } else { held };
        let verdict = self.model.verdict(run, claimed, held);
        tell(|| format!("{} {run:?} {claimed:?} {held:?}: {verdict:?}", self.mono.as_nanos()));
        match verdict {
            Verdict::Open => {}
            Verdict::Waits => {
                let is_new = self.checks.0[at].waits_on.is_none();
                if let Some(record) = record.filter(|_| is_new) {
                    let (epoch, incarnation) = (record.epoch, record.incarnation);
                    self.model.accuse(self.nanos(), run.0, epoch, incarnation);
                }
                self.checks.0[at].ends = self.mono + self.machine.config().probe_interval;
                self.checks.0[at].waits_on = self.model.records().get(&run.0).cloned();
            }
            verdict => {
                self.checks.0.swap_remove(at);
                let kept = self.model.kept().find(|&(known, _)| known == run);
                let address = kept.and_then(|(_, kept)| kept.claim.details.as_ref());
                let address = address.map(|details| details.address);
                let outcome = self.model.decide(self.nanos(), run, verdict);
                if let (Outcome::Waits, Some(address)) = (outcome, address) {
                    self.begin(run, address, sent);
                }
            }
        }
        self.look_up();
    }

    /// What an input did to the model and to the machine: what was sent, what is kept aside, what
    /// the text leaves open.
    pub(super) fn settle(&mut self, claim: &Claim, outcome: Outcome) {
        let sent = self.drain();
        let run = (claim.about.id, claim.about.epoch);
        let address = claim.details.as_ref().map(|details| details.addr);
        // Of a run the first claim is kept.
        if let (Outcome::Waits, None, Some(address)) = (outcome, self.checks.about(run), address) {
            self.begin(run, address, &sent);
        }
        self.look_up();
    }

    /// A claim is kept aside: finds the pings by which its addresses are asked.
    fn begin(&mut self, run: model::Run, address: SocketAddr, sent: &[Ping]) {
        let kept = self.model.kept().find(|&(known, _)| known == run);
        let is_live = kept.is_some_and(|(_, kept)| kept.claim.state.is_live());
        let claimed = Run { id: run.0, epoch: run.1 };
        let record = self.model.records().get(&run.0);
        let held =
            record.map(|record| (Run { id: run.0, epoch: record.epoch }, record.details.address));
        let side = |place: Option<(Run, SocketAddr)>| {
            place.map(|(run, at)| {
                let is_it = |ping: &&Ping| ping.target == run && ping.to == at;
                let ping = sent.iter().rfind(is_it);
                let ping = ping.unwrap_or_else(|| panic!("§4.9.1: {run:?} is asked at {at}"));
                Side { seq: ping.seq, run, has_answered: false }
            })
        };
        let (claimed, held) = (
            side(is_live.then_some((claimed, address))),
            side(held.filter(|&(_, at)| at != address)),
        );
        let wait = self.check_span();
        let (ends, next_at) = (self.mono + wait, self.mono + wait / CHECK_TRIES);
        self.checks.0.push(Check { run, claimed, held, ends, next_at, waits_on: None });
    }

    /// Looks at the claims that were due by `until`, and before the first suspicion ran out.
    pub(super) fn decide_late(&mut self, sent: &[Ping], until: Nanos) {
        let first = self.model.first_deadline().unwrap_or(Nanos::MAX);
        let _ = self.decide_due(sent, first.min(until).min(self.nanos()));
    }

    /// The machine has asked again, where that was due.
    pub(super) fn asked_again(&mut self) {
        let next_at = self.mono + self.check_span() / CHECK_TRIES;
        for check in self.checks.0.iter_mut().filter(|check| check.next_at <= self.mono) {
            check.next_at = next_at;
        }
    }

    /// How long an address has to answer.
    fn check_span(&self) -> Duration {
        self.machine.config().probe_timeout_max * (u32::from(self.machine.awareness()) + 1)
    }

    /// Looks at the claims that were due by `until` and whose time is over, and at those that wait
    /// for a run of which other things are known now. Returns whether there was one.
    pub(super) fn decide_due(&mut self, sent: &[Ping], until: Nanos) -> bool {
        let mut has_any = false;
        for _ in 0..TURNS_MAX {
            let is_due = |check: &Check| {
                let record = self.model.records().get(&check.run.0);
                // A change that is an event: not a new accuser of the same suspicion.
                let life = |record: &model::Record| {
                    let details = record.details.incarnation;
                    (record.epoch, record.incarnation, record.state, details)
                };
                let has_changed =
                    check.waits_on.as_ref().is_some_and(|was| Some(life(was)) != record.map(life));
                let is_due = i128::from(check.due().as_nanos()) <= until;
                is_due && check.ends <= self.mono || has_changed
            };
            let Some(at) = self.checks.0.iter().position(is_due) else { return has_any };
            has_any = true;
            self.decide(at, sent);
        }
        has_any
    }
}
