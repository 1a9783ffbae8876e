//! Machines with a defect put in on purpose, so that every oracle can be seen to bite: what goes
//! into a machine and what comes out of it is altered on the way, as a defect inside would.
//!
//! `sim/tests/mutants` runs each and names the oracle that catches it.

use std::collections::BTreeSet;

use chinwag_core::clock::Timestamp;
use chinwag_core::membership::{Event, Member, State, Transmit};

use crate::host::Payload;

/// Where a payload's stamp stands (`docs/protocol.md` §2.3).
const STAMP_AT: std::ops::Range<usize> = 28..36;

/// What is wrong with the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Takes nothing in.
    Deaf,
    /// Shows the metadata of others as they were before.
    ShowsOldDetails,
    /// Takes nothing in, ever again, from one that it has declared dead.
    NeverForgives,
    /// Does not observe the stamps that it receives.
    IgnoresStamps,
    /// Sends everything under its first stamp.
    RepeatsStamp,
    /// Sends stamps of ten seconds later.
    StampsAhead,
    /// Tells of changes under the incarnation before.
    ForgetsIncarnations,
    /// Tells of incarnations that their owner has not begun.
    InventsIncarnations,
    /// Tells of members with details that are not theirs.
    AltersDetails,
    /// Tells that a dead member is back when nothing new is known.
    Revives,
    /// Tells of a change of details as of a new member.
    MistakesUpdates,
    /// Tells of a death as soon as of the suspicion.
    BuriesAtOnce,
    /// Does not tell of deaths.
    OmitsDeaths,
    /// Gives broadcasts out twice.
    RepeatsBroadcasts,
    /// Holds itself suspect.
    DoubtsItself,
    /// Thinks worse of itself than the score goes.
    Despairs,
    /// Raises its incarnation for nothing.
    RaisesItself,
    /// Sends datagrams as long as they are, and a kilobyte.
    TalksTooLong,
    /// Sends everything a hundred times.
    Chatters,
    /// Does nothing when its timer fires.
    Oversleeps,
    /// Takes every wake-up for its timer.
    FiresEarly,
    /// At node level: its clock goes back.
    ClockGoesBack,
    /// At node level: its users' requests say that they were made later than they were.
    AsksFromTomorrow,
    /// At node level: its answers say that they were given later than they were.
    AnswersFromTomorrow,
    /// At node level: answers something else than it was asked.
    GarblesAnswers,
    /// At node level: never answers.
    NeverAnswers,
    /// At node level: one of its tasks panics.
    BreaksDown,
    /// At node level: leaves a task behind when it is shut down.
    LeavesTasks,
    /// At node level: never ends being shut down.
    StaysUp,
    /// At node level: cannot be called any more once all is over.
    StopsServing,
    /// At node level: its handlers say that they run in another run of the node.
    ForgetsItsRun,
    /// At node level: breaks its connections when it begins to leave, which it does when a call to
    /// it is open.
    HangsUp,
    /// At node level: offers one service twice.
    OffersTwice,
    /// At node level: a service is gone that nobody removed.
    LosesGuests,
}

/// A defect, whose, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What is wrong.
    pub defect: Defect,
    /// The node that has it; none for all of them.
    pub node: Option<u32>,
    /// Nanoseconds of true time before which it does not show.
    pub since: u64,
}

impl Mutant {
    /// Whether `node` has `defect` now.
    pub(crate) fn has(&self, node: u32, now: u64, defect: Defect) -> bool {
        self.defect == defect && self.is_on(node, now)
    }

    fn is_on(&self, node: u32, now: u64) -> bool {
        now >= self.since && self.node.is_none_or(|mutant| mutant == node)
    }
}

/// A mutant at work.
#[derive(Debug)]
pub(crate) struct Mutation {
    mutant: Mutant,
    /// Senders that it takes nothing from any more.
    shunned: BTreeSet<u64>,
    stamp: Option<Vec<u8>>,
}

impl Mutation {
    pub(crate) const fn new(mutant: Mutant) -> Self {
        Self { mutant, shunned: BTreeSet::new(), stamp: None }
    }

    /// Whether `node` has `defect` now.
    pub(crate) fn has(&self, node: u32, now: u64, defect: Defect) -> bool {
        self.mutant.has(node, now, defect)
    }

    fn is_on(&self, node: u32, now: u64) -> bool {
        self.mutant.is_on(node, now)
    }

    /// What the machine takes for the payload, if it takes it.
    pub(crate) fn input(&self, node: u32, now: u64, payload: &Payload) -> Option<Vec<u8>> {
        let mut bytes = payload.bytes.clone();
        if !self.is_on(node, now) {
            return Some(bytes);
        }
        match self.mutant.defect {
            Defect::Deaf => return None,
            Defect::NeverForgives if self.shunned.contains(&payload.peer.id.get()) => return None,
            Defect::IgnoresStamps => {
                if let Some(stamp) = bytes.get_mut(STAMP_AT) {
                    stamp.fill(0);
                }
            }
            _ => {}
        }
        Some(bytes)
    }

    /// What it sends instead of a payload, if it does.
    pub(crate) fn output(
        &mut self,
        node: u32,
        now: u64,
        transmit: Transmit,
        bytes: &[u8],
    ) -> Option<Vec<Vec<u8>>> {
        let is_datagram = transmit.plane == chinwag_core::membership::Plane::Datagram;
        if !self.is_on(node, now) {
            return None;
        }
        let mut bytes = bytes.to_vec();
        match self.mutant.defect {
            Defect::RepeatsStamp => {
                let stamp = self.stamp.get_or_insert_with(|| bytes[STAMP_AT].to_vec());
                bytes[STAMP_AT].copy_from_slice(stamp);
            }
            Defect::StampsAhead => {
                let raw = bytes[STAMP_AT].try_into().map_or(0, u64::from_le_bytes);
                bytes[STAMP_AT].copy_from_slice(&(raw + (10_000_000 << 12)).to_le_bytes());
            }
            Defect::TalksTooLong if is_datagram => bytes.resize(bytes.len() + 1_400, 0),
            // Stamps rise from copy to copy, or another oracle would be the first to see it.
            Defect::Chatters => {
                let raw = bytes[STAMP_AT].try_into().map_or(0, u64::from_le_bytes);
                let copy = |more: u64| {
                    let mut copy = bytes.clone();
                    copy[STAMP_AT].copy_from_slice(&(raw + more).to_le_bytes());
                    copy
                };
                return Some((0..1_000).map(copy).collect());
            }
            _ => return None,
        }
        Some(vec![bytes])
    }

    /// What it tells its user instead of an event, if it does.
    pub(crate) fn event(&mut self, node: u32, now: u64, event: &Event) -> Option<Vec<Event>> {
        if !self.is_on(node, now) {
            return None;
        }
        if let (Defect::NeverForgives, Event::Died(member)) = (self.mutant.defect, event) {
            self.shunned.insert(member.id.get());
        }
        let events = match (self.mutant.defect, event) {
            (Defect::ForgetsIncarnations, Event::Recovered(member)) => {
                vec![Event::Recovered(with(member, |m| m.incarnation = before(member)))]
            }
            (Defect::InventsIncarnations, Event::Suspected(member)) => {
                vec![Event::Suspected(with(member, |m| m.incarnation = after(member)))]
            }
            (Defect::AltersDetails, Event::Updated(member)) => {
                vec![Event::Updated(with(member, |m| m.metadata = m.metadata.without("dc")))]
            }
            (Defect::Revives, Event::Died(member)) => {
                vec![event.clone(), Event::Joined(with(member, |m| m.state = State::Alive))]
            }
            (Defect::MistakesUpdates, Event::Updated(member)) => {
                vec![Event::Joined(member.clone())]
            }
            (Defect::OmitsDeaths, Event::Died(_)) => vec![],
            (Defect::BuriesAtOnce, Event::Suspected(member)) => {
                vec![event.clone(), Event::Died(with(member, |m| m.state = State::Dead))]
            }
            (Defect::RepeatsBroadcasts, Event::Broadcast { .. }) => vec![event.clone(); 2],
            _ => return None,
        };
        Some(events)
    }

    /// How well it thinks it is.
    pub(crate) fn awareness(&self, node: u32, now: u64, score: u8) -> u8 {
        if self.has(node, now, Defect::Despairs) { u8::MAX } else { score }
    }

    /// Where its clock stands.
    pub(crate) fn stands(&self, node: u32, now: u64, last: Timestamp) -> Timestamp {
        if self.has(node, now, Defect::ClockGoesBack) {
            return Timestamp::from_raw(last.get() / 2);
        }
        if self.has(node, now, Defect::StampsAhead) {
            return Timestamp::from_raw(last.get() + (10_000_000 << 12));
        }
        last
    }

    /// How it shows another member.
    pub(crate) fn shows(&self, node: u32, now: u64, member: &mut Member) {
        if self.has(node, now, Defect::ShowsOldDetails) {
            member.metadata = member.metadata.without("dc");
        }
    }

    /// What it says of itself.
    pub(crate) fn local(&self, node: u32, now: u64, local: &mut Member) {
        if self.has(node, now, Defect::DoubtsItself) {
            local.state = State::Suspect;
        }
        if self.has(node, now, Defect::RaisesItself) {
            local.incarnation = after(local);
        }
    }
}

/// `member`, changed.
fn with(member: &Member, change: impl FnOnce(&mut Member)) -> Member {
    let mut changed = member.clone();
    change(&mut changed);
    changed
}

fn before(member: &Member) -> chinwag_core::id::Incarnation {
    chinwag_core::id::Incarnation::new(member.incarnation.get().saturating_sub(1))
}

fn after(member: &Member) -> chinwag_core::id::Incarnation {
    chinwag_core::id::Incarnation::new(member.incarnation.get().saturating_add(1))
}
