//! What is to be told: the rumour queue (`docs/protocol.md` §4.6).
//!
//! One entry a member, which stands for whatever the table says of it when it is sent, so the newest claim replaces
//! older ones by construction; and one a user broadcast. Entries are kept by how often they have been sent, in
//! linked lists over one slab: taking, promoting, replacing and removing an entry cost the same at any length.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::membership::ring::Slot;
use crate::wire::datagram::Run;

const NIL: u32 = u32::MAX;

/// What an entry stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rumor {
    /// The member in this slot.
    Member(Slot),
    /// A user broadcast.
    Broadcast { origin: Run, seq: u32, payload: Bytes },
}

#[derive(Debug)]
struct Entry {
    /// `None` while the entry is on the free list.
    rumor: Option<Rumor>,
    sent_count: u32,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// The queue, fewest-sent first, and first-in first among equals.
#[derive(Debug, Default)]
pub(crate) struct Rumors {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// By sent count.
    tiers: Vec<List>,
    len: usize,
    broadcast_count: usize,
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
        self.broadcast_count += usize::from(matches!(rumor, Rumor::Broadcast { .. }));
        let entry = Entry { rumor: Some(rumor), sent_count: 0, previous: NIL, next: NIL };
        let at = if let Some(at) = self.free.pop() {
            self.entries[at as usize] = entry;
            at
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("bounded by MEMBERS_MAX + BROADCASTS_MAX")
        };
        self.append(at);
        at
    }

    /// Makes an entry as new: what it stands for has changed.
    pub(crate) fn renew(&mut self, at: u32) {
        self.unlink(at);
        self.entries[at as usize].sent_count = 0;
        self.append(at);
    }

    pub(crate) fn remove(&mut self, at: u32) {
        self.unlink(at);
        let rumor = self.entries[at as usize].rumor.take();
        self.broadcast_count -= usize::from(matches!(rumor, Some(Rumor::Broadcast { .. })));
        self.len -= 1;
        self.free.push(at);
    }

    pub(crate) fn get(&self, at: u32) -> Option<&Rumor> {
        self.entries[at as usize].rumor.as_ref()
    }

    /// Counts one transmission of an entry. Gives the rumour back when it has been sent `limit` times and is done.
    pub(crate) fn sent(&mut self, at: u32, limit: u32) -> Option<Rumor> {
        if self.entries[at as usize].sent_count + 1 >= limit {
            let rumor = self.entries[at as usize].rumor.clone();
            self.remove(at);
            return rumor;
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
        if entry.next != NIL { Some(entry.next) } else { self.first_from(entry.sent_count as usize + 1) }
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
