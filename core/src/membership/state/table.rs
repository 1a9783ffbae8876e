//! The member table: what is known about every member, found by id in constant time
//! (`docs/protocol.md` §4.1).
//!
//! Slot 0 is the local node. Live members stand in the probe [`Ring`]; dead ones in a list of their
//! own, to be reconnected; dead and left ones in an order of age, to be forgotten. The digest is
//! kept as members change, so no call but a table transfer ever walks the members.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::num::NonZeroU16;

use hashbrown::{HashMap, HashTable};

use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::State;
use crate::membership::state::member::{Member, Rank};
use crate::membership::state::ring::{Ring, Slot};
use crate::membership::state::since::Since;
use crate::membership::state::suspicion::Hasher;
use crate::membership::{MEMBERS_MAX, Metadata};
use crate::rng::{Rng, mix};
use crate::time::Instant;
use crate::wire::datagram::BUCKETS;

/// The slot of the local node.
pub(crate) const LOCAL: Slot = 0;
/// No position in a list.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// An IPv4 address and port in six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShortAddr {
    ip: Ipv4Addr,
    port: NonZeroU16,
}

impl ShortAddr {
    /// `addr`, if it is of this kind.
    fn of(addr: SocketAddr) -> Option<Self> {
        match addr {
            SocketAddr::V4(addr) => {
                Some(Self { ip: *addr.ip(), port: NonZeroU16::new(addr.port())? })
            }
            SocketAddr::V6(_) => None,
        }
    }
}

/// What is known about one member, in one line of cache. What only some members have stands beside
/// the records: where those are that have no IPv4 address, and since when the gone are gone.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) metadata: Metadata,
    /// The table version of the last change.
    pub(crate) changed: u64,
    pub(crate) incarnation: Incarnation,
    /// The incarnation in which the member said its address and metadata.
    pub(crate) details: Incarnation,
    /// `None`: it stands in [`Table::long_addrs`].
    addr: Option<ShortAddr>,
    /// Position in the ring (live) or in the list of the dead.
    at: u32,
    /// Its entry in the rumour queue, or [`NOWHERE`].
    pub(crate) rumor: u32,
    pub(crate) state: State,
    /// Protocol versions it speaks, lowest and highest, four bits each.
    pub(crate) versions: u8,
}

const _: () = assert!(size_of::<Option<Record>>() <= 64, "a member's record is one line of cache");

impl Record {
    pub(crate) fn rank(&self) -> Rank {
        Rank { epoch: self.epoch, incarnation: self.incarnation, state: self.state }
    }

    /// What the record adds to its bucket's digest: everything two tables must agree on about a
    /// live member. Suspicions are left out: gossip spreads them, and they pass.
    fn digest(&self) -> u64 {
        let life = mix(self.id.get()) ^ mix(self.epoch.get() << 16);
        let said = u64::from(self.incarnation.get()) << 32 | u64::from(self.details.get());
        mix(life.wrapping_add(mix(said.wrapping_add(1))))
    }
}

/// A record as it comes into the table.
pub(crate) struct Entry {
    pub(crate) id: NodeId,
    pub(crate) rank: Rank,
    pub(crate) details: Incarnation,
    pub(crate) addr: SocketAddr,
    pub(crate) metadata: Metadata,
    pub(crate) versions: u8,
    pub(crate) since: Since,
}

/// All records, and the orders they are looked up in.
#[derive(Debug)]
pub(crate) struct Table {
    records: Vec<Option<Record>>,
    free: Vec<Slot>,
    index: HashTable<Slot>,
    ring: Ring,
    dead: Vec<Slot>,
    /// Dead and left members, the longest gone first.
    tombstones: BTreeSet<(Since, Slot)>,
    /// Since when each of them is gone.
    gone: HashMap<Slot, Since, Hasher>,
    /// Addresses that do not fit a record.
    long_addrs: HashMap<Slot, SocketAddr, Hasher>,
    digest: [u64; BUCKETS],
    version: u64,
    /// The latest epoch among forgotten tombstones: a stale claim that somebody of such an epoch
    /// lives cannot be told from news (§4.9).
    forgotten: Option<Epoch>,
}

impl Table {
    pub(crate) fn new(local: Entry) -> Self {
        let mut table = Self {
            records: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            ring: Ring::default(),
            dead: Vec::new(),
            tombstones: BTreeSet::new(),
            gone: HashMap::default(),
            long_addrs: HashMap::default(),
            digest: [0; BUCKETS],
            version: 0,
            forgotten: None,
        };
        let slot = table.place(local);
        debug_assert_eq!(slot, LOCAL, "the local node comes first");
        table.add_digest(slot);
        table
    }

    pub(crate) fn find(&self, id: NodeId) -> Option<Slot> {
        self.index.find(mix(id.get()), |&slot| self.id_at(slot) == Some(id)).copied()
    }

    /// [`find`](Self::find), with a guess where it is: a guess that is right costs the record
    /// alone, which is wanted anyway, and not the index, which is two more misses of the caches
    /// in a large table.
    #[inline]
    pub(crate) fn find_from(&self, guess: Option<Slot>, id: NodeId) -> Option<Slot> {
        guess.filter(|&slot| self.id_at(slot) == Some(id)).or_else(|| self.find(id))
    }

    fn id_at(&self, slot: Slot) -> Option<NodeId> {
        self.records.get(slot as usize)?.as_ref().map(|record| record.id)
    }

    /// The record in a slot that is known to be taken.
    pub(crate) fn get(&self, slot: Slot) -> &Record {
        self.try_get(slot)
            .expect("slots in rings, queues and timers are withdrawn before a record is forgotten")
    }

    pub(crate) fn try_get(&self, slot: Slot) -> Option<&Record> {
        self.records.get(slot as usize)?.as_ref()
    }

    pub(crate) fn local(&self) -> &Record {
        self.get(LOCAL)
    }

    /// Where the member in `slot` is.
    pub(crate) fn addr(&self, slot: Slot) -> SocketAddr {
        match self.get(slot).addr {
            Some(ShortAddr { ip, port }) => SocketAddr::from((ip, port.get())),
            None => *self
                .long_addrs
                .get(&slot)
                .expect("set_addr puts an address in one place or the other"),
        }
    }

    /// Moves the member in `slot`. No order and no digest depends on addresses; the change that
    /// brings one is an [`update`](Self::update).
    pub(crate) fn set_addr(&mut self, slot: Slot, addr: SocketAddr) {
        let short = ShortAddr::of(addr);
        self.get_mut(slot).addr = short;
        match short {
            Some(_) => _ = self.long_addrs.remove(&slot),
            // IPv6 flow and scope do not travel and are not kept.
            None => _ = self.long_addrs.insert(slot, SocketAddr::new(addr.ip(), addr.port())),
        }
    }

    /// The member in `slot` as users see it.
    pub(crate) fn member(&self, slot: Slot) -> Member {
        let record = self.get(slot);
        Member {
            id: record.id,
            epoch: record.epoch,
            incarnation: record.incarnation,
            state: record.state,
            addr: self.addr(slot),
            metadata: record.metadata.clone(),
        }
    }

    /// How long the member in `slot` is gone, if it is.
    pub(crate) fn gone_since(&self, slot: Slot) -> Option<Since> {
        self.gone.get(&slot).copied()
    }

    fn get_mut(&mut self, slot: Slot) -> &mut Record {
        self.records[slot as usize].as_mut().expect("as in `get`")
    }

    /// The rumour-queue entry of a record.
    pub(crate) fn rumor_mut(&mut self, slot: Slot) -> Option<&mut u32> {
        self.records.get_mut(slot as usize)?.as_mut().map(|record| &mut record.rumor)
    }

    /// Other live members.
    pub(crate) fn live_count(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn digest(&self) -> &[u64; BUCKETS] {
        &self.digest
    }

    pub(crate) fn forgotten(&self) -> Option<Epoch> {
        self.forgotten
    }

    pub(crate) fn is_full(&self) -> bool {
        self.index.len() >= MEMBERS_MAX
    }

    /// Slots in use or free; a cursor over the table runs to here.
    pub(crate) fn slots_end(&self) -> Slot {
        Slot::try_from(self.records.len()).expect("MEMBERS_MAX is far below 2^32")
    }

    pub(crate) fn next_probe(&mut self, rng: &mut Rng) -> Option<Slot> {
        let Self { ring, records, .. } = self;
        ring.advance(rng, |slot, at| set_at(records, slot, at))
    }

    pub(crate) fn random_live(&self, rng: &mut Rng) -> Option<Slot> {
        self.ring.random(rng)
    }

    pub(crate) fn random_dead(&self, rng: &mut Rng) -> Option<Slot> {
        self.dead.get(rng.index(self.dead.len())).copied()
    }

    pub(crate) fn dead_count(&self) -> usize {
        self.dead.len()
    }

    pub(crate) fn tombstone_count(&self) -> usize {
        self.tombstones.len()
    }

    pub(crate) fn oldest_tombstone(&self) -> Option<(Since, Slot)> {
        self.tombstones.first().copied()
    }

    /// Every record and its slot, the local one first, in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Record)> {
        (LOCAL..).zip(&self.records).filter_map(|(slot, record)| Some((slot, record.as_ref()?)))
    }

    /// Adds a member that is not in the table. The caller has checked that there is room.
    pub(crate) fn insert(&mut self, entry: Entry, rng: &mut Rng) -> Slot {
        let since = entry.since;
        let slot = self.place(entry);
        self.version += 1;
        self.get_mut(slot).changed = self.version;
        self.enlist(slot, since, rng);
        slot
    }

    fn place(&mut self, entry: Entry) -> Slot {
        let record = Record {
            id: entry.id,
            epoch: entry.rank.epoch,
            metadata: entry.metadata,
            changed: self.version,
            incarnation: entry.rank.incarnation,
            details: entry.details,
            addr: None,
            at: NOWHERE,
            rumor: NOWHERE,
            state: entry.rank.state,
            versions: entry.versions,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            // By an eighth, not by doubling: records are most of what a node holds, and half of
            // them would be air.
            if self.records.len() == self.records.capacity() {
                self.records.reserve_exact(self.records.len() / 8 + 16);
            }
            self.records.push(None);
            self.slots_end() - 1
        });
        let hash = mix(record.id.get());
        self.records[slot as usize] = Some(record);
        self.set_addr(slot, entry.addr);
        let Self { index, records, .. } = self;
        index.insert_unique(hash, slot, |&slot| {
            records[slot as usize].as_ref().map_or(0, |record| mix(record.id.get()))
        });
        slot
    }

    /// Changes a record through `change`, and moves it between ring, list of the dead and
    /// tombstones as its state asks for. The one way a record changes.
    #[inline]
    pub(crate) fn update(
        &mut self,
        slot: Slot,
        rng: &mut Rng,
        now: Instant,
        change: impl FnOnce(&mut Record),
    ) {
        let before = self.get(slot).state;
        self.delist_digest(slot);
        self.version += 1;
        let version = self.version;
        let record = self.get_mut(slot);
        change(record);
        record.changed = version;
        let after = record.state;
        if before == after || slot == LOCAL {
            self.add_digest(slot);
            return;
        }
        if before.is_live() && after.is_live() {
            self.add_digest(slot);
            return;
        }
        self.delist(slot, before);
        self.enlist(slot, Since::at(now), rng);
    }

    /// Makes a tombstone as old as `since`, which a transfer has told.
    pub(crate) fn backdate(&mut self, slot: Slot, since: Since) {
        if let Some(was) = self.gone.get_mut(&slot) {
            self.tombstones.remove(&(*was, slot));
            self.tombstones.insert((since, slot));
            *was = since;
        }
    }

    /// Forgets a tombstone, and remembers how late its epoch was.
    pub(crate) fn forget(&mut self, slot: Slot) {
        let Some(record) = self.try_get(slot) else { return };
        let (id, epoch, state) = (record.id, record.epoch, record.state);
        debug_assert!(!state.is_live(), "only tombstones are forgotten");
        self.delist(slot, state);
        self.long_addrs.remove(&slot);
        if let Ok(found) = self.index.find_entry(mix(id.get()), |&other| other == slot) {
            found.remove();
        }
        self.records[slot as usize] = None;
        self.free.push(slot);
        self.forgotten = self.forgotten.max(Some(epoch));
    }

    /// Puts `slot` into the orders of its state, in which it is since `since`.
    fn enlist(&mut self, slot: Slot, since: Since, rng: &mut Rng) {
        let Self { ring, records, dead, .. } = self;
        let Some(state) = records[slot as usize].as_ref().map(|record| record.state) else {
            return;
        };
        match state {
            State::Alive | State::Suspect => {
                ring.insert(slot, rng, |slot, at| set_at(records, slot, at));
            }
            State::Dead => {
                set_at(records, slot, u32::try_from(dead.len()).expect("bounded by MEMBERS_MAX"));
                dead.push(slot);
            }
            State::Left => {}
        }
        if !state.is_live() {
            self.tombstones.insert((since, slot));
            self.gone.insert(slot, since);
        }
        self.add_digest(slot);
    }

    /// Takes `slot` out of the orders it stood in as a member in state `was`.
    fn delist(&mut self, slot: Slot, was: State) {
        let Self { ring, records, dead, .. } = self;
        let Some(at) = records[slot as usize].as_ref().map(|record| record.at) else { return };
        match was {
            State::Alive | State::Suspect => ring.remove(at, |slot, at| set_at(records, slot, at)),
            State::Dead => {
                dead.swap_remove(at as usize);
                if let Some(&moved) = dead.get(at as usize) {
                    set_at(records, moved, at);
                }
            }
            State::Left => {}
        }
        if let Some(since) = self.gone.remove(&slot) {
            self.tombstones.remove(&(since, slot));
        }
        set_at(&mut self.records, slot, NOWHERE);
    }

    #[inline]
    fn add_digest(&mut self, slot: Slot) {
        let record = self.get(slot);
        if record.state.is_live() {
            let (bucket, digest) = (bucket_of(record.id), record.digest());
            self.digest[bucket] ^= digest;
        }
    }

    /// Exclusive or is its own inverse.
    fn delist_digest(&mut self, slot: Slot) {
        self.add_digest(slot);
    }

    #[cfg(test)]
    pub(crate) fn digest_from_scratch(&self) -> [u64; BUCKETS] {
        let mut digest = [0; BUCKETS];
        for (_, record) in self.iter().filter(|(_, record)| record.state.is_live()) {
            digest[bucket_of(record.id)] ^= record.digest();
        }
        digest
    }
}

fn set_at(records: &mut [Option<Record>], slot: Slot, at: u32) {
    if let Some(record) = &mut records[slot as usize] {
        record.at = at;
    }
}

/// The digest bucket of a member: the high bits of its mixed id, which the index does not use
/// first.
pub(crate) fn bucket_of(id: NodeId) -> usize {
    const _: () = assert!(BUCKETS == 64, "six bits pick a bucket");
    (mix(id.get()) >> 58) as usize
}

#[cfg(test)]
mod tests;
