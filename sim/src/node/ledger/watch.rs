//! What the books say of calls that are under way: whether they move, whom they reach, and how
//! calls to a node end that leaves.

use std::collections::{BTreeMap, BTreeSet};

use super::{Books, Ledger, Ticket};
use crate::checker::{Check, ensure};
use crate::node::tasks::lock;

/// While nothing disturbs calls, each of them moves at least this often, in nanoseconds: longer
/// than any that has a deadline may take, and than the largest bodies need to be sent back and
/// forth.
const MOVES_WITHIN: u64 = 10_000_000_000;
/// Calls in flight have so long to end once a node leaves (`drain_timeout`), in nanoseconds.
const DRAIN_TIMEOUT: u64 = 30_000_000_000;

/// A point in the order of what nodes come to hold.
type Moment = u64;

/// Since when a node has held this epoch of another one, or no run of it.
type Held = (Moment, Option<u64>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Calls that have moved since the books were last looked at.
    touched: Vec<u64>,
    /// Calls that are open and polled, by the true nanosecond at which they last moved.
    waiting: BTreeSet<(u64, u64)>,
    moved: BTreeMap<u64, u64>,
    /// Calls that are open and that nobody polls, on purpose.
    unpolled: BTreeSet<u64>,
    /// The epochs that a node's membership has held of another one, and since when; none while it
    /// held no run.
    held: BTreeMap<(u32, u32), Vec<Held>>,
    /// The epochs that the present process of a node has had.
    own: BTreeMap<u32, BTreeSet<u64>>,
    /// The moment at which each call that is open was begun.
    begun: BTreeMap<u64, Moment>,
    moments: Moment,
    /// Nodes that leave, and since which true nanosecond.
    leaving: BTreeMap<u32, u64>,
    /// Calls that ended as `ConnectionLost` since the books were last looked at.
    lost: Vec<u64>,
}

impl Watched {
    pub(super) fn begins(&mut self, id: u64) {
        self.begun.insert(id, self.moments);
        self.touched.push(id);
    }

    pub(super) fn moves(&mut self, id: u64) {
        self.touched.push(id);
    }

    pub(super) fn ends(&mut self, id: u64) {
        self.unpolled.remove(&id);
        self.touched.push(id);
    }

    pub(super) fn is_lost(&mut self, id: u64) {
        self.lost.push(id);
    }

    /// Whether the membership of `from` has held `epoch` of `to`, or no run of it, at some time
    /// since call `id` was begun.
    fn has_held(&self, id: u64, from: u32, to: u32, epoch: u64) -> bool {
        let begun = self.begun.get(&id).copied().unwrap_or(0);
        let held = self.held.get(&(from, to)).map_or(&[][..], Vec::as_slice);
        let before = held.iter().rposition(|&(since, _)| since <= begun);
        let mut since = held[before.unwrap_or(0)..].iter();
        let own = self.own.get(&to);
        // A process that moves past a run of its own id is the same one as before.
        let is_own = |epoch| own.is_some_and(|own| own.contains(&epoch));
        let is_same = |of| of == epoch || is_own(of) && is_own(epoch);
        before.is_none() || since.any(|&(_, of)| of.is_none_or(is_same))
    }
}

impl Ledger {
    /// The membership of `observer` holds this epoch of `subject` from now on, or no run of it.
    pub(crate) fn holds(&self, observer: u32, subject: u32, epoch: Option<u64>) {
        let watched = &mut lock(&self.books).watched;
        let held = watched.held.entry((observer, subject)).or_default();
        if held.last().map_or(epoch.is_some(), |&(_, last)| last != epoch) {
            watched.moments += 1;
            held.push((watched.moments, epoch));
        }
        if let (true, Some(epoch)) = (observer == subject, epoch) {
            watched.own.entry(subject).or_default().insert(epoch);
        }
    }

    /// The run `epoch` of the node that was asked begins to answer.
    pub(in crate::node) fn reaches(&self, id: u64, epoch: u64) {
        let mut books = lock(&self.books);
        let checked = books.reaches(id, epoch);
        books.note(checked);
    }

    /// A node leaves from now on, or, with none, runs anew.
    pub(crate) fn leaves(&self, host: u32, since: Option<u64>) {
        let watched = &mut lock(&self.books).watched;
        if let Some(since) = since {
            watched.leaving.insert(host, since);
        } else {
            watched.leaving.remove(&host);
            watched.own.remove(&host);
        }
    }

    /// What has changed since the last time, at true nanosecond `now`. `clear_since`: nothing has
    /// disturbed calls from then on.
    pub(crate) fn watch(
        &self,
        now: u64,
        clear_since: Option<u64>,
        is_well: impl Fn(u32) -> bool,
    ) -> Check {
        let mut books = lock(&self.books);
        if let Some(violation) = &books.violation {
            return Err(violation.clone());
        }
        books.take_in(now);
        let lost = std::mem::take(&mut books.watched.lost);
        let Some(since) = clear_since.filter(|&since| since <= now) else { return Ok(()) };
        lost.into_iter().try_for_each(|id| books.ended_by_leave(now, since, id, &is_well))?;
        books.moves(now, since, &is_well)
    }
}

impl Books {
    fn take_in(&mut self, now: u64) {
        let watched = &mut self.watched;
        for id in std::mem::take(&mut watched.touched) {
            if let Some(before) = watched.moved.remove(&id) {
                watched.waiting.remove(&(before, id));
            }
            if !self.open.contains_key(&id) {
                watched.begun.remove(&id);
            } else if !watched.unpolled.contains(&id) {
                watched.moved.insert(id, now);
                watched.waiting.insert((now, id));
            }
        }
    }

    /// Every call that is open and polled has moved lately.
    fn moves(&self, now: u64, clear_since: u64, is_well: &impl Fn(u32) -> bool) -> Check {
        // What past faults held up begins to move when they are over.
        let Some(latest) = now.checked_sub(MOVES_WITHIN).filter(|&at| at >= clear_since) else {
            return Ok(());
        };
        let late = self.watched.waiting.range(..(latest, 0));
        let stuck =
            late.map(|&(_, id)| id).find(|id| self.open.get(id).is_some_and(|&from| is_well(from)));
        ensure(stuck.is_none(), "progress", || {
            let id = stuck.unwrap_or_default();
            let entry = usize::try_from(id).ok().and_then(|at| self.entries.get(at));
            format!(
                "call {id} has not moved for {} s, and no fault was there: {entry:?}",
                MOVES_WITHIN / 1_000_000_000
            )
        })
    }

    /// A call to a node that leaves has its time.
    fn ended_by_leave(
        &self,
        now: u64,
        clear_since: u64,
        id: u64,
        is_well: &impl Fn(u32) -> bool,
    ) -> Check {
        let Some(entry) = usize::try_from(id).ok().and_then(|at| self.entries.get(at)) else {
            return Ok(());
        };
        let Some(&since) = self.watched.leaving.get(&entry.to) else { return Ok(()) };
        let is_early = now < since + DRAIN_TIMEOUT && since >= clear_since && is_well(entry.from);
        ensure(!is_early || entry.from == entry.to, "leave", || {
            format!(
                "call {id} ends as `ConnectionLost` {} ms after node {} began to leave: {entry:?}",
                (now - since) / 1_000_000,
                entry.to
            )
        })
    }

    fn reaches(&self, id: u64, epoch: u64) -> Check {
        let Some(entry) = usize::try_from(id).ok().and_then(|at| self.entries.get(at)) else {
            return Ok(());
        };
        let is_held = self.watched.has_held(id, entry.from, entry.to, epoch);
        ensure(is_held || self.forges, "who_is_reached", || {
            let held = self.watched.held.get(&(entry.from, entry.to));
            format!(
                "call {id} of node {} reaches epoch {epoch} of node {}, and its caller held \
                    {held:?}",
                entry.from, entry.to
            )
        })
    }
}

impl Ticket {
    /// From now on its user holds the call and does not poll it, or polls it again.
    pub(in crate::node) fn is_polled(&self, is_polled: bool) {
        let watched = &mut lock(&self.ledger.books).watched;
        if is_polled {
            watched.unpolled.remove(&self.id);
        } else {
            watched.unpolled.insert(self.id);
        }
        watched.touched.push(self.id);
    }
}
