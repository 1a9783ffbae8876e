//! [`Calls`]: the calls of one link that somebody waits for.

use std::collections::BTreeMap;
use std::mem::replace;
use std::task::Waker;

use chinwag_core::rpc::{CallId, Held, Status};

use super::handle::Ended;

/// An entry for each call that somebody waits for. It outlives the machine's slot in both
/// directions: the waiter may not have looked yet when the slot goes to the next call; and the
/// machine may give the slot away while its word of how the call ended is still in its queue of
/// events.
#[derive(Default)]
pub(super) struct Calls {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The entry of the latest call in each of the machine's slots.
    by_slot: Vec<u32>,
    /// Entries of calls whose end is in the machine's queue while another call has their slot.
    /// Those are few: each has an event.
    displaced: BTreeMap<CallId, u32>,
    /// Entries of calls that have ended with a large answer which nobody has taken.
    untaken: BTreeMap<CallId, u32>,
}

pub(super) enum Entry {
    Free,
    Waiting { call: CallId, waker: Option<Waker> },
    Ended(Ended, Held),
}

impl Entry {
    fn is_waiting_for(&self, of: CallId) -> bool {
        matches!(self, Self::Waiting { call, .. } if *call == of)
    }
}

impl Calls {
    pub(super) fn begin(&mut self, call: CallId, waker: Option<Waker>) -> u32 {
        let entry = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::Free);
            u32::try_from(self.entries.len() - 1)
                .expect("far fewer waiters than 2^32 fit in memory")
        });
        self.entries[entry as usize] = Entry::Waiting { call, waker };
        if self.by_slot.len() <= call.slot() {
            self.by_slot.resize(call.slot() + 1, u32::MAX);
        }
        let last = replace(&mut self.by_slot[call.slot()], entry);
        if last != entry
            && let Some(Entry::Waiting { call: displaced, .. }) = self.entries.get(last as usize)
            && displaced.slot() == call.slot()
        {
            self.displaced.insert(*displaced, last);
        }
        entry
    }

    pub(super) fn entry(&mut self, entry: u32) -> &mut Entry {
        &mut self.entries[entry as usize]
    }

    /// Keeps the end for the call's future, and gives its waker; or gives back what is held, if
    /// nobody waits.
    pub(super) fn end(
        &mut self,
        of: CallId,
        ended: Ended,
        held: Held,
    ) -> Result<Option<Waker>, Held> {
        let latest = self.by_slot.get(of.slot()).copied();
        let is_its =
            |entry: &u32| self.entries.get(*entry as usize).is_some_and(|e| e.is_waiting_for(of));
        let entry = match latest.filter(is_its) {
            None if self.displaced.is_empty() => None,
            None => self.displaced.remove(&of),
            entry => entry,
        };
        match entry.and_then(|entry| self.entries.get_mut(entry as usize)) {
            Some(waiting) if waiting.is_waiting_for(of) => {
                if !held.is_nothing() {
                    self.untaken.extend(entry.map(|entry| (of, entry)));
                }
                match replace(waiting, Entry::Ended(ended, held)) {
                    Entry::Waiting { waker, .. } => Ok(waker),
                    _ => Ok(None),
                }
            }
            // Its future was dropped.
            _ => Err(held),
        }
    }

    /// The answer of this call is dropped, because nobody took it and others need its room.
    pub(super) fn drop_answer(&mut self, of: CallId) {
        if let Some(entry) = self.untaken.remove(&of)
            && let Entry::Ended((_, answered), held) = &mut self.entries[entry as usize]
        {
            *answered = Status::untaken().into();
            *held = Held::NOTHING;
        }
    }

    /// What the entry was, to be dropped where nothing is locked: its waker is user code.
    #[must_use]
    pub(super) fn release(&mut self, entry: u32) -> Entry {
        self.free.push(entry);
        if !self.untaken.is_empty() {
            self.untaken.retain(|_, untaken| *untaken != entry);
        }
        replace(&mut self.entries[entry as usize], Entry::Free)
    }
}
