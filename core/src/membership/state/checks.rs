//! The claims that are kept aside until addresses have answered (`docs/protocol.md` §4.9.1).

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::{Incarnation, NodeId};
use crate::membership::claims::holder::{Answer, Answers};
use crate::membership::state::outbox::Destination;
use crate::membership::state::speaker::Via;
use crate::membership::{CHECKS_MAX, CONFLICT_QUIET, State};
use crate::time::Instant;
use crate::wire::datagram::Run;
use crate::wire::update::{Accusers, Details, Update};

/// A claim that waits for answers.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) run: Run,
    pub(crate) incarnation: Incarnation,
    pub(crate) state: State,
    pub(crate) age: Option<u32>,
    /// The incarnation of what follows.
    pub(crate) details: Incarnation,
    pub(crate) versions: u8,
    pub(crate) addr: SocketAddr,
    pub(crate) metadata: Vec<u8>,
}

impl Claim {
    /// Keeps `update`. That a run is suspect is kept as that it is alive, in the incarnation of its
    /// details: who answers is.
    pub(crate) fn of(update: &Update<'_>, details: &Details<'_>) -> Self {
        let is_live = update.state.is_live();
        Self {
            run: Run { id: update.id, epoch: update.epoch },
            incarnation: if is_live { details.incarnation } else { update.incarnation },
            state: if is_live { State::Alive } else { update.state },
            age: update.age,
            details: details.incarnation,
            versions: details.versions,
            addr: details.addr,
            metadata: details.metadata.to_vec(),
        }
    }

    pub(crate) fn update(&self) -> Update<'_> {
        let details = Details {
            incarnation: self.details,
            versions: self.versions,
            addr: self.addr,
            metadata: &self.metadata,
        };
        Update {
            id: self.run.id,
            epoch: self.run.epoch,
            incarnation: self.incarnation,
            state: self.state,
            accusers: Accusers::new(),
            age: self.age,
            details: Some(details),
        }
    }
}

/// One run that is asked at one address.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) seq: u32,
    pub(crate) run: Run,
    pub(crate) addr: SocketAddr,
    pub(crate) answer: Answer,
    /// A connection to the address was refused: until when an answer can still come.
    pub(crate) refused_until: Option<Instant>,
}

/// The claimant itself, which waits for the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) to: Destination,
    pub(crate) exchange: u32,
    pub(crate) is_joining: bool,
}

#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) claim: Claim,
    pub(crate) via: Via,
    /// The claimed run at the claimed address; `None` if the claim says that it is gone.
    pub(crate) claimed: Option<Asked>,
    /// The run that is held, if it is at another address.
    pub(crate) held: Option<Asked>,
    pub(crate) asker: Option<Asker>,
    /// When the next ping is sent.
    pub(crate) next_at: Instant,
    /// When what has not answered is silent. Of a claim that waits: when it is looked at again.
    pub(crate) ends: Instant,
    /// Whether the held run is silent, and a suspicion of it runs.
    pub(crate) is_waiting: bool,
    /// Whether the claimed address was pinged over a connection, too.
    pub(crate) is_dialled: bool,
}

impl Check {
    pub(crate) fn asked(&mut self) -> impl Iterator<Item = &mut Asked> {
        self.claimed.iter_mut().chain(&mut self.held)
    }

    pub(crate) fn answers(&self) -> Answers {
        let of = |asked: &Option<Asked>| asked.as_ref().map(|asked| asked.answer);
        Answers {
            claimed: of(&self.claimed).unwrap_or_default(),
            held: of(&self.held).unwrap_or_default(),
        }
    }

    fn due(&self) -> Instant {
        let of_sides = [&self.claimed, &self.held].into_iter().flatten();
        let refused = of_sides.filter_map(|asked| asked.refused_until).min();
        let next = if self.is_waiting { self.ends } else { self.ends.min(self.next_at) };
        refused.map_or(next, |refused| refused.min(next))
    }

    /// Takes in what has become of the questions by `now`. Returns whether an answer is new.
    pub(crate) fn pass(&mut self, now: Instant) -> bool {
        let is_over = self.ends <= now;
        let mut is_new = is_over;
        for asked in self.asked() {
            let is_refused = asked.refused_until.is_some_and(|until| until <= now);
            if is_refused {
                asked.refused_until = None;
            }
            match asked.answer {
                Answer::Open | Answer::Silent if is_refused => {
                    asked.answer = Answer::Refused;
                    is_new = true;
                }
                Answer::Open if is_over => asked.answer = Answer::Silent,
                _ => {}
            }
        }
        is_new
    }
}

/// A rival that was reported.
#[derive(Clone, Copy, Debug)]
struct Reported {
    run: Run,
    addr: SocketAddr,
    is_awaited: bool,
    at: Instant,
}

/// The claims that are kept aside, and the rivals that were reported.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) open: Vec<Check>,
    due: Option<Instant>,
    reported: Vec<Reported>,
}

impl Checks {
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Claims that are kept aside.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Rivals that were reported.
    pub(crate) fn reported_len(&self) -> usize {
        self.reported.len()
    }

    pub(crate) fn refresh(&mut self) {
        self.due = self.open.iter().map(Check::due).min();
    }

    /// The next claim for which something is due.
    pub(crate) fn next_due(&self, now: Instant) -> Option<usize> {
        self.open.iter().position(|check| check.due() <= now)
    }

    /// The claim about this run that is kept aside.
    pub(crate) fn about(&mut self, run: Run) -> Option<&mut Check> {
        self.open.iter_mut().find(|check| check.claim.run == run)
    }

    pub(crate) fn remove(&mut self, at: usize) -> Check {
        let check = self.open.swap_remove(at);
        self.refresh();
        check
    }

    /// What is held of `id` has changed: claims that wait for that are looked at again.
    pub(crate) fn hasten(&mut self, now: Instant, id: NodeId) {
        for check in &mut self.open {
            if check.is_waiting && check.claim.run.id == id {
                check.ends = now;
            }
        }
        self.refresh();
    }

    /// Gives every open question `by` more time: the node itself was asleep for as long.
    pub(crate) fn extend_all(&mut self, by: Duration) {
        for check in &mut self.open {
            check.ends = check.ends + by;
            check.next_at = check.next_at + by;
            for asked in check.asked() {
                asked.refused_until = asked.refused_until.map(|until| until + by);
            }
        }
        self.refresh();
    }

    /// Whether a rival has to be reported now: it was not within the last [`CONFLICT_QUIET`].
    pub(crate) fn is_news(
        &mut self,
        now: Instant,
        run: Run,
        addr: SocketAddr,
        is_awaited: bool,
    ) -> bool {
        let is_it = |reported: &Reported| {
            (reported.run, reported.addr, reported.is_awaited) == (run, addr, is_awaited)
        };
        if let Some(at) = self.reported.iter().position(is_it) {
            if now.since(self.reported[at].at) < CONFLICT_QUIET {
                return false;
            }
            self.reported.remove(at);
        }
        if self.reported.len() >= CHECKS_MAX {
            self.reported.remove(0);
        }
        self.reported.push(Reported { run, addr, is_awaited, at: now });
        true
    }
}
