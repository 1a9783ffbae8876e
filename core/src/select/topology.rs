//! [`Topology`]: the other members by data centre, and whose turn it is.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{Load, Picks};
use crate::id::NodeId;

/// The live members other than the local node, grouped by data centre: an immutable snapshot to
/// select from.
///
/// Immutable but for the cursors that say whose turn it is. They are here and not in the selectors,
/// so all selections of a node rotate together, and [`Topology::next`] carries them on, so a change
/// of membership does not send everybody back to the first member. Cursors are 32-bit counts; where
/// one wraps, once in 2^32 picks, a turn may be skipped.
#[derive(Debug)]
pub struct Topology {
    version: u64,
    local: NodeId,
    /// Sorted by data centre and then by id.
    members: Box<[Entry]>,
    /// Sorted by name. The local one is always there, maybe empty; the others never are.
    zones: Box<[Zone]>,
    local_zone: usize,
    /// `(id, index into members)`, sorted by id.
    by_id: Box<[(NodeId, usize)]>,
    /// Whose turn it is among the other data centres, and among all of them (for `Quorum`).
    turn_others: AtomicU32,
    turn_all: AtomicU32,
}

#[derive(Debug)]
struct Entry {
    id: NodeId,
    load: Arc<Load>,
}

/// One data centre: a range of `members`.
#[derive(Debug)]
struct Zone {
    start: u32,
    len: u32,
    cursor: AtomicU32,
    name: Arc<str>,
}

/// Which data centres a selection draws from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// All but the local one.
    Others,
    /// All.
    Everywhere,
}

impl Topology {
    /// The topology of a node `local` in the data centre `local_dc` that knows `members`.
    ///
    /// `members` may come in any order. The local node among them is passed over; of an id that
    /// comes twice the first counts. `version` is the caller's; nothing here reads it.
    pub fn new<'a>(
        version: u64,
        local: NodeId,
        local_dc: &str,
        members: impl IntoIterator<Item = (NodeId, &'a str)>,
    ) -> Self {
        Self::build(None, version, local, local_dc, members)
    }

    /// The topology that follows `self`: cursors and loads of the data centres and members that
    /// stay are carried on, what has left is forgotten.
    pub fn next<'a>(
        &self,
        version: u64,
        local: NodeId,
        local_dc: &str,
        members: impl IntoIterator<Item = (NodeId, &'a str)>,
    ) -> Self {
        Self::build(Some(self), version, local, local_dc, members)
    }

    fn build<'a>(
        before: Option<&Self>,
        version: u64,
        local: NodeId,
        local_dc: &str,
        members: impl IntoIterator<Item = (NodeId, &'a str)>,
    ) -> Self {
        let others = members.into_iter().filter(|(id, _)| *id != local).take(u32::MAX as usize);
        let mut list: Vec<(NodeId, &str)> = others.collect();
        list.sort_by_key(|(id, _)| *id); // stable: of equal ids the first stays first
        list.dedup_by_key(|(id, _)| *id);
        list.sort_by_key(|(_, name)| *name); // stable: by id within a data centre

        let mut zones: Vec<Zone> = Vec::new();
        for (at, (_, name)) in (0u32..).zip(&list) {
            match zones.last_mut() {
                Some(zone) if *zone.name == **name => zone.len += 1,
                _ => zones.push(Zone::new(before, name, at, 1)),
            }
        }
        let local_zone = match zones.binary_search_by(|zone| (*zone.name).cmp(local_dc)) {
            Ok(at) => at,
            Err(at) => {
                // Where an empty range begins does not matter.
                zones.insert(at, Zone::new(before, local_dc, 0, 0));
                at
            }
        };
        let load = |id| before.and_then(|topology| topology.load(id)).cloned().unwrap_or_default();
        let mut by_id: Vec<_> = list.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
        by_id.sort_unstable();
        let turn =
            |of: fn(&Self) -> &AtomicU32| AtomicU32::new(before.map_or(0, |b| of(b).load(Relaxed)));
        Self {
            version,
            local,
            members: list.into_iter().map(|(id, _)| Entry { id, load: load(id) }).collect(),
            zones: zones.into_boxed_slice(),
            local_zone,
            by_id: by_id.into_boxed_slice(),
            turn_others: turn(|topology| &topology.turn_others),
            turn_all: turn(|topology| &topology.turn_all),
        }
    }

    /// The version it was made with.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The local node, which is never selected.
    pub fn local(&self) -> NodeId {
        self.local
    }

    /// How many other members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the local node is alone.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The other members, by data centre and then by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = NodeId> {
        self.members.iter().map(|member| member.id)
    }

    /// The data centres in the order of their names, each with its members other than the local
    /// node. The local data centre is among them even if it is empty.
    pub fn data_centers(
        &self,
    ) -> impl ExactSizeIterator<Item = (&str, impl ExactSizeIterator<Item = NodeId>)> {
        self.zones
            .iter()
            .map(|zone| (&*zone.name, self.members[zone.range()].iter().map(|member| member.id)))
    }

    /// The local node's data centre.
    pub fn local_data_center(&self) -> &str {
        &self.zones[self.local_zone].name
    }

    /// The data centre of another member, or `None` if there is no such member.
    pub fn data_center(&self, id: NodeId) -> Option<&str> {
        let at = self.index(id)?;
        self.zones.iter().find(|zone| zone.range().contains(&at)).map(|zone| &*zone.name)
    }

    /// Where calls to another member are counted, or `None` if there is no such member.
    pub fn load(&self, id: NodeId) -> Option<&Arc<Load>> {
        self.index(id).map(|at| &self.members[at].load)
    }

    fn index(&self, id: NodeId) -> Option<usize> {
        let found = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.by_id[found].1)
    }

    // What selectors are made of. Zones and members go by index.

    pub(super) fn id_at(&self, member: usize) -> NodeId {
        self.members[member].id
    }

    pub(super) fn load_at(&self, member: usize) -> u32 {
        self.members[member].load.outstanding()
    }

    pub(super) fn zones(&self) -> Range<usize> {
        0..self.zones.len()
    }

    pub(super) fn local_zone(&self) -> usize {
        self.local_zone
    }

    /// The members of a zone.
    pub(super) fn zone(&self, zone: usize) -> Range<usize> {
        self.zones[zone].range()
    }

    /// How many others make a majority of the cluster: half of `others + 1`, rounded down, as the
    /// local node counts.
    pub(super) fn quorum(&self) -> usize {
        self.members.len().div_ceil(2)
    }

    /// How many others make a majority of one data centre. The local node counts in its own.
    pub(super) fn zone_quorum(&self, zone: usize) -> usize {
        let others = self.zones[zone].range().len();
        if zone == self.local_zone { others.div_ceil(2) } else { others / 2 + 1 }
    }

    /// How many members are outside the local data centre.
    #[inline]
    pub(super) fn others_len(&self) -> usize {
        self.members.len() - self.zones[self.local_zone].len as usize
    }

    /// Adds the `count` members of `zone` whose turn it is. `count` is at most its length.
    #[inline]
    pub(super) fn take(&self, zone: usize, count: u32, out: &mut Picks) {
        let zone = &self.zones[zone];
        if count == 0 || zone.len == 0 {
            return;
        }
        let first = zone.cursor.fetch_add(count, Relaxed) % zone.len;
        let members = &self.members[zone.range()];
        if count == 1 {
            out.push(members[first as usize].id);
            return;
        }
        let (before, from) = members.split_at(first as usize);
        out.extend(from.iter().chain(before).take(count as usize).map(|member| member.id));
    }

    /// Adds one member of each of `count` other data centres, whose turn it is. `count` is at most
    /// their number.
    #[inline]
    pub(super) fn take_one_each(&self, count: u32, out: &mut Picks) {
        let others = u32_of(self.zones.len() - 1);
        if count == 0 || others == 0 {
            return;
        }
        let mut at = self.turn_others.fetch_add(count, Relaxed) % others;
        for _ in 0..count {
            let zone = at as usize;
            self.take(zone + usize::from(zone >= self.local_zone), 1, out);
            at = if at + 1 == others { 0 } else { at + 1 };
        }
    }

    /// Adds `count` members of `pool`, spread over its data centres as evenly as their sizes allow:
    /// as if each gave one in turn until it has no more. `count` is at most the size of the
    /// pool.
    pub(super) fn take_evenly(&self, pool: Pool, count: usize, out: &mut Picks) {
        if count == 0 {
            return;
        }
        let count = u32_of(count);
        let lens = || self.pool(pool).map(|zone| self.zones[zone].len);
        // The most rounds in which every data centre that still has a member gives one, by halving.
        let given = |rounds: u32| lens().map(|len| u64::from(len.min(rounds))).sum::<u64>();
        let (mut rounds, mut over) = (0, count.saturating_add(1));
        while over - rounds > 1 {
            let middle = rounds + (over - rounds) / 2;
            if given(middle) <= u64::from(count) { rounds = middle } else { over = middle }
        }
        // What is left is less than a round: one more from some of those that have more.
        let left = count - u32::try_from(given(rounds)).unwrap_or(count);
        let eligible = u32_of(lens().filter(|len| *len > rounds).count());
        let turn = if pool == Pool::Others { &self.turn_others } else { &self.turn_all };
        let first =
            if left == 0 || eligible == 0 { 0 } else { turn.fetch_add(left, Relaxed) % eligible };
        let mut place = 0;
        for zone in self.pool(pool) {
            let len = self.zones[zone].len;
            let mut share = len.min(rounds);
            if len > rounds {
                let after_first =
                    if place >= first { place - first } else { place + eligible - first };
                share += u32::from(after_first < left);
                place += 1;
            }
            self.take(zone, share, out);
        }
    }

    fn pool(&self, pool: Pool) -> impl Iterator<Item = usize> {
        self.zones().filter(move |zone| pool == Pool::Everywhere || *zone != self.local_zone)
    }
}

impl Zone {
    fn new(before: Option<&Topology>, name: &str, start: u32, len: u32) -> Self {
        let old = before.and_then(|topology| {
            let at = topology.zones.binary_search_by(|zone| (*zone.name).cmp(name)).ok()?;
            Some(&topology.zones[at])
        });
        Self {
            start,
            len,
            cursor: AtomicU32::new(old.map_or(0, |zone| zone.cursor.load(Relaxed))),
            name: old.map_or_else(|| Arc::from(name), |zone| Arc::clone(&zone.name)),
        }
    }

    #[inline]
    fn range(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// Counts of members and data centres fit: `build` takes at most `u32::MAX` members.
#[inline]
fn u32_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
