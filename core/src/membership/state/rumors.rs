//! What is to be told: the rumour queue (`docs/protocol.md` §4.6).
//!
//! One entry a member, which stands for whatever the table says of it when it is sent, so the
//! newest claim replaces older ones by construction; and one a user broadcast. Entries are kept by
//! how often they have been sent, in linked lists over one slab: taking, promoting, replacing and
//! removing an entry cost the same at any length. When a large cluster starts, everybody has a
//! rumour about everybody, so an entry is small and the slab is given up when all is told.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::membership::state::ring::Slot;
use crate::wire::datagram::Run;

const NIL: u32 = u32::MAX;

/// Entries whose memory is kept while nothing waits.
const ENTRIES_KEPT: usize = 64;

/// What an entry stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rumor {
    /// The member in this slot.
    Member(Slot),
    /// A user broadcast.
    Broadcast(Broadcast),
}

/// A payload of the user on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broadcast {
    pub(crate) origin: Run,
    pub(crate) seq: u32,
    pub(crate) payload: Bytes,
}

/// What an entry stands for, in a word: payloads stand elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Nothing: it is on the free list, which runs through `next`.
    Free,
    Member(Slot),
    /// The index of a broadcast.
    Broadcast(u32),
}

#[derive(Debug)]
struct Entry {
    what: What,
    sent_count: u32,
    previous: u32,
    next: u32,
}

const _: () = assert!(size_of::<Entry>() <= 20, "a burst of joins has an entry for every member");

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// The queue, fewest-sent first, and first-in first among equals.
#[derive(Debug)]
pub(crate) struct Rumors {
    entries: Vec<Entry>,
    /// The first free entry.
    free: u32,
    /// By sent count.
    tiers: Vec<List>,
    len: usize,
    /// At most `BROADCASTS_MAX`, so a free place is looked for from the start.
    broadcasts: Vec<Option<Broadcast>>,
    broadcast_count: usize,
}

impl Default for Rumors {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: NIL,
            tiers: Vec::new(),
            len: 0,
            broadcasts: Vec::new(),
            broadcast_count: 0,
        }
    }
}

impl Rumors {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn broadcast_count(&self) -> usize {
        self.broadcast_count
    }

    /// Adds a rumour that has not been sent. The entry's number stays valid until it is removed.
    pub(crate) fn push(&mut self, rumor: Rumor) -> u32 {
        self.len += 1;
        let what = match rumor {
            Rumor::Member(slot) => What::Member(slot),
            Rumor::Broadcast(broadcast) => What::Broadcast(self.keep(broadcast)),
        };
        let entry = Entry { what, sent_count: 0, previous: NIL, next: NIL };
        let at = self.free;
        let at = if let Some(free) = self.entries.get_mut(at as usize) {
            self.free = core::mem::replace(free, entry).next;
            at
        } else {
            // By an eighth, as the records that most entries are about.
            if self.entries.len() == self.entries.capacity() {
                self.entries.reserve_exact(self.entries.len() / 8 + 16);
            }
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("bounded by MEMBERS_MAX + BROADCASTS_MAX")
        };
        self.append(at);
        at
    }

    fn keep(&mut self, broadcast: Broadcast) -> u32 {
        self.broadcast_count += 1;
        let at = self.broadcasts.iter().position(Option::is_none).unwrap_or_else(|| {
            self.broadcasts.push(None);
            self.broadcasts.len() - 1
        });
        self.broadcasts[at] = Some(broadcast);
        u32::try_from(at).expect("bounded by BROADCASTS_MAX")
    }

    /// Makes an entry as new: what it stands for has changed.
    pub(crate) fn renew(&mut self, at: u32) {
        self.unlink(at);
        self.entries[at as usize].sent_count = 0;
        self.append(at);
    }

    pub(crate) fn remove(&mut self, at: u32) {
        self.take(at);
    }

    /// Removes an entry and answers what it stood for.
    fn take(&mut self, at: u32) -> Option<Rumor> {
        self.unlink(at);
        let entry = &mut self.entries[at as usize];
        let what = core::mem::replace(&mut entry.what, What::Free);
        entry.next = core::mem::replace(&mut self.free, at);
        self.len -= 1;
        if self.len == 0 && self.entries.capacity() > ENTRIES_KEPT {
            (self.entries, self.free) = (Vec::new(), NIL);
        }
        match what {
            What::Free => None,
            What::Member(slot) => Some(Rumor::Member(slot)),
            What::Broadcast(index) => {
                self.broadcast_count -= 1;
                self.broadcasts[index as usize].take().map(Rumor::Broadcast)
            }
        }
    }

    /// The member that an entry stands for, if it is one.
    pub(crate) fn member(&self, at: u32) -> Option<Slot> {
        match self.entries.get(at as usize)?.what {
            What::Member(slot) => Some(slot),
            What::Free | What::Broadcast(_) => None,
        }
    }

    /// The broadcast that an entry stands for, if it is one.
    pub(crate) fn broadcast(&self, at: u32) -> Option<&Broadcast> {
        match self.entries.get(at as usize)?.what {
            What::Broadcast(index) => self.broadcasts.get(index as usize)?.as_ref(),
            What::Free | What::Member(_) => None,
        }
    }

    /// Counts one transmission of an entry. Gives the rumour back when it has been sent `limit`
    /// times and is done.
    pub(crate) fn sent(&mut self, at: u32, limit: u32) -> Option<Rumor> {
        if self.entries[at as usize].sent_count + 1 >= limit {
            return self.take(at);
        }
        self.unlink(at);
        self.entries[at as usize].sent_count += 1;
        self.append(at);
        None
    }

    /// The first entry, fewest-sent first.
    pub(crate) fn first(&self) -> Option<u32> {
        self.first_from(0)
    }

    /// The entry after `at` in the same order.
    pub(crate) fn after(&self, at: u32) -> Option<u32> {
        let entry = &self.entries[at as usize];
        if entry.next != NIL {
            Some(entry.next)
        } else {
            self.first_from(entry.sent_count as usize + 1)
        }
    }

    fn first_from(&self, tier: usize) -> Option<u32> {
        let waiting = self.tiers.get(tier..)?;
        waiting.iter().map(|list| list.first).find(|&first| first != NIL)
    }

    #[inline]
    fn append(&mut self, at: u32) {
        let tier = self.entries[at as usize].sent_count as usize;
        while self.tiers.len() <= tier {
            self.tiers.push(List { first: NIL, last: NIL });
        }
        let last = core::mem::replace(&mut self.tiers[tier].last, at);
        self.entries[at as usize].previous = last;
        self.entries[at as usize].next = NIL;
        match self.entries.get_mut(last as usize) {
            Some(entry) => entry.next = at,
            None => self.tiers[tier].first = at,
        }
    }

    #[inline]
    fn unlink(&mut self, at: u32) {
        let Entry { previous, next, sent_count, .. } = self.entries[at as usize];
        let tier = sent_count as usize;
        match self.entries.get_mut(previous as usize) {
            Some(entry) => entry.next = next,
            None => self.tiers[tier].first = next,
        }
        match self.entries.get_mut(next as usize) {
            Some(entry) => entry.previous = previous,
            None => self.tiers[tier].last = previous,
        }
    }
}

#[cfg(test)]
mod tests;
