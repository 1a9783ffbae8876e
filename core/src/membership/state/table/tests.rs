//! The member table (`docs/protocol.md` §4.1) against a map that is searched.

extern crate std;

use core::net::{Ipv6Addr, SocketAddrV6};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::*;

const LOCAL_ID: NodeId = NodeId::new(1_000_000);

fn entry(id: NodeId, state: State, rng: &mut Rng, since: Since) -> Entry {
    let rank = Rank {
        epoch: Epoch::new(rng.below(50).into()),
        incarnation: Incarnation::new(rng.below(9)),
        state,
    };
    let port = u16::try_from(1 + rng.below(65_535)).unwrap();
    Entry {
        id,
        rank,
        details: rank.incarnation,
        addr: SocketAddr::from((rng.below(u32::MAX).to_le_bytes(), port)),
        metadata: Metadata::new().with("dc", ["eu", "us"][rng.index(2)]).unwrap(),
        versions: 0x11,
        since,
    }
}

fn new_table(rng: &mut Rng) -> Table {
    Table::new(entry(LOCAL_ID, State::Alive, rng, Since::at(Instant::ZERO)))
}

#[derive(Clone, Debug)]
struct Known {
    member: Member,
    slot: Slot,
    since: Since,
    changed: u64,
}

/// What the table should hold, found by looking through all of it.
struct Model {
    others: BTreeMap<NodeId, Known>,
    forgotten: Option<Epoch>,
    version: u64,
}

impl Model {
    fn in_state(&self, is_wanted: impl Fn(State) -> bool) -> BTreeSet<Slot> {
        let wanted = self.others.values().filter(|known| is_wanted(known.member.state));
        wanted.map(|known| known.slot).collect()
    }

    fn tombstones(&self) -> BTreeSet<(Since, Slot)> {
        let gone = self.others.values().filter(|known| !known.member.state.is_live());
        gone.map(|known| (known.since, known.slot)).collect()
    }

    fn random_id(&self, rng: &mut Rng) -> Option<NodeId> {
        self.others.keys().nth(rng.index(self.others.len())).copied()
    }
}

fn check(table: &Table, model: &Model) {
    assert_eq!(table.digest(), &table.digest_from_scratch(), "V6");
    assert_eq!(table.version(), model.version);
    assert_eq!(table.forgotten(), model.forgotten);
    assert_eq!(table.find(LOCAL_ID), Some(LOCAL));
    for (&id, known) in &model.others {
        assert_eq!(table.find(id), Some(known.slot));
        for guess in [LOCAL, known.slot, known.slot + 1, NOWHERE] {
            assert_eq!(table.find_from(Some(guess), id), Some(known.slot), "whatever is guessed");
        }
        let record = table.get(known.slot);
        assert_eq!(table.member(known.slot), known.member);
        assert_eq!(record.changed, known.changed, "{:?}", known.member);
        let since = (!known.member.state.is_live()).then_some(known.since);
        assert_eq!(table.gone_since(known.slot), since, "{:?}", known.member);
    }
    assert_eq!(table.iter().count(), model.others.len() + 1);
    assert_eq!(table.index.len(), model.others.len() + 1);

    let live = model.in_state(State::is_live);
    assert_eq!(table.live_count(), live.len());
    let dead = model.in_state(|state| state == State::Dead);
    assert_eq!(table.dead_count(), dead.len());
    assert_eq!(table.dead.iter().copied().collect::<BTreeSet<_>>(), dead);
    for (at, &slot) in table.dead.iter().enumerate() {
        assert_eq!(table.get(slot).at as usize, at, "the dead know where they stand");
    }
    for slot in model.in_state(|state| state == State::Left) {
        assert_eq!(table.get(slot).at, NOWHERE);
    }
    let tombstones = model.tombstones();
    assert_eq!(table.tombstone_count(), tombstones.len());
    assert_eq!(table.oldest_tombstone(), tombstones.first().copied());
    assert_eq!(table.tombstones, tombstones);
    assert_eq!(table.gone.len(), tombstones.len());
    let long = model.others.values().filter(|known| known.member.addr.is_ipv6());
    assert_eq!(table.long_addrs.len(), long.count(), "of the living and of nobody else");
}

/// The ring holds exactly the live others: a round visits each, and nobody else.
fn check_ring(table: &mut Table, model: &Model, rng: &mut Rng) {
    let live = model.in_state(State::is_live);
    let steps: Vec<_> = (0..2 * live.len()).filter_map(|_| table.next_probe(rng)).collect();
    assert_eq!(steps.iter().copied().collect::<BTreeSet<_>>(), live);
    assert!(table.random_live(rng).is_none_or(|slot| live.contains(&slot)));
    assert_eq!(table.random_live(rng).is_none(), live.is_empty());
    let dead = model.in_state(|state| state == State::Dead);
    assert!(table.random_dead(rng).is_none_or(|slot| dead.contains(&slot)));
    assert_eq!(table.random_dead(rng).is_none(), dead.is_empty());
}

fn random_state(rng: &mut Rng) -> State {
    [State::Alive, State::Suspect, State::Dead, State::Left][rng.index(4)]
}

fn insert(table: &mut Table, model: &mut Model, rng: &mut Rng, now: Instant) {
    let id = NodeId::new(rng.below(200).into());
    if model.others.contains_key(&id) {
        return;
    }
    let state = random_state(rng);
    let since = Since::ago(now, Duration::from_nanos(rng.below(20).into()));
    let fresh = entry(id, state, rng, since);
    let member = Member {
        id,
        epoch: fresh.rank.epoch,
        incarnation: fresh.rank.incarnation,
        state,
        addr: fresh.addr,
        metadata: fresh.metadata.clone(),
    };
    let slot = table.insert(fresh, rng);
    assert!(
        slot != LOCAL && model.others.values().all(|known| known.slot != slot),
        "{slot} is in use"
    );
    model.version += 1;
    model.others.insert(id, Known { member, slot, since, changed: model.version });
}

fn update(table: &mut Table, model: &mut Model, rng: &mut Rng, now: Instant) {
    let Some(known) = model.random_id(rng).and_then(|id| model.others.get_mut(&id)) else { return };
    let (state, epoch) = (random_state(rng), Epoch::new(rng.below(50).into()));
    let port = u16::try_from(1 + rng.below(65_535)).unwrap();
    let addr = SocketAddr::from(([rng.below(2); 8].map(|part| u16::try_from(part).unwrap()), port));
    let addr =
        if rng.below(2) == 0 { addr } else { SocketAddr::from((rng.below(9).to_le_bytes(), port)) };
    table.set_addr(known.slot, addr);
    table.update(known.slot, rng, now, |record| {
        record.state = state;
        record.epoch = epoch;
    });
    model.version += 1;
    known.changed = model.version;
    known.since = if known.member.state == state { known.since } else { Since::at(now) };
    known.member = Member { state, epoch, addr, ..known.member.clone() };
}

fn backdate(table: &mut Table, model: &mut Model, rng: &mut Rng, now: Instant) {
    let Some(known) = model.random_id(rng).and_then(|id| model.others.get_mut(&id)) else { return };
    known.since = Since::ago(now, Duration::from_nanos(rng.below(100).into()));
    table.backdate(known.slot, known.since);
}

fn forget(table: &mut Table, model: &mut Model) {
    let Some((_, slot)) = table.oldest_tombstone() else { return };
    let id = table.get(slot).id;
    table.forget(slot);
    let gone = model.others.remove(&id).unwrap();
    model.forgotten = model.forgotten.max(Some(gone.member.epoch));
    assert_eq!(table.find(id), None);
    assert_eq!(table.find_from(Some(slot), id), None);
    assert!(table.try_get(slot).is_none());
    table.forget(slot);
}

#[test]
fn any_run_matches_the_model() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut table = new_table(&mut rng);
        let mut model = Model { others: BTreeMap::new(), forgotten: None, version: 0 };
        let mut now = Instant::from_nanos(1_000);
        check(&table, &model);
        for step in 0..800 {
            // Often the same instant twice: ties are told apart by slot.
            now = now + Duration::from_nanos(rng.below(3).into());
            match rng.below(10) {
                0..4 => insert(&mut table, &mut model, &mut rng, now),
                4..7 => update(&mut table, &mut model, &mut rng, now),
                7 => backdate(&mut table, &mut model, &mut rng, now),
                8 => forget(&mut table, &mut model),
                _ => _ = table.next_probe(&mut rng),
            }
            check(&table, &model);
            if step % 20 == 0 {
                check_ring(&mut table, &model, &mut rng);
            }
        }
        assert!(model.others.len() > 20 && model.forgotten.is_some(), "the run has been somewhere");
    }
}

#[test]
fn the_local_node_stays_out_of_every_order() {
    let mut rng = Rng::new(1);
    let mut table = new_table(&mut rng);
    assert_eq!((table.live_count(), table.slots_end()), (0, 1));
    assert_eq!(table.next_probe(&mut rng), None);
    let mut version = table.version();
    for state in [State::Suspect, State::Alive, State::Left] {
        table.update(LOCAL, &mut rng, Instant::ZERO, |record| record.state = state);
        assert_eq!((table.live_count(), table.dead_count(), table.tombstone_count()), (0, 0, 0));
        assert_eq!(table.digest(), &table.digest_from_scratch(), "{state}");
        assert!(table.version() > version, "a change of the local node is one of the view");
        version = table.version();
    }
    assert_eq!(table.digest(), &[0; BUCKETS], "who has left is not in the digest");
}

/// Equal tables have equal digests, however they came about; and what they must agree on shows.
#[test]
fn the_digest_is_of_what_is_known_and_not_of_its_history() {
    let insert_all = |order: &[u64]| {
        let mut table = new_table(&mut Rng::new(1));
        for &id in order {
            let fresh =
                entry(NodeId::new(id), State::Alive, &mut Rng::new(id), Since::at(Instant::ZERO));
            table.insert(fresh, &mut Rng::new(2));
        }
        table
    };
    let base = *insert_all(&[1, 2, 3, 4]).digest();
    let mut table = insert_all(&[4, 2, 1, 3]);
    assert_eq!(table.digest(), &base);
    let (slot, mut rng) = (table.find(NodeId::new(2)).unwrap(), Rng::new(3));
    let mut digest_after = |change: &dyn Fn(&mut Record)| {
        let before = table.get(slot).clone();
        table.update(slot, &mut rng, Instant::ZERO, change);
        let digest = *table.digest();
        table.update(slot, &mut rng, Instant::ZERO, |record| {
            (record.state, record.epoch) = (before.state, before.epoch);
            (record.incarnation, record.details) = (before.incarnation, before.details);
        });
        assert_eq!(table.digest(), &base, "and back");
        digest
    };
    let at = bucket_of(NodeId::new(2));
    let changes: [&dyn Fn(&mut Record); 5] = [
        &|record| record.state = State::Dead,
        &|record| record.state = State::Left,
        &|record| record.epoch = Epoch::new(99),
        &|record| record.incarnation = Incarnation::new(99),
        &|record| record.details = Incarnation::new(99),
    ];
    let mut seen = BTreeSet::from([base[at]]);
    for (which, change) in changes.into_iter().enumerate() {
        let digest = digest_after(change);
        let differing: Vec<_> =
            (0..BUCKETS).filter(|&bucket| digest[bucket] != base[bucket]).collect();
        assert_eq!(differing, [at], "change {which} shows in its own bucket");
        // Dead and left are both absent; every other change shows as something else.
        assert_eq!(seen.insert(digest[at]), which != 1, "change {which}");
    }
    assert_eq!(digest_after(&|record| record.state = State::Suspect), base, "suspicions pass");
}

#[test]
fn buckets_spread_members_that_are_numbered_in_a_row() {
    let mut counts = [0u32; BUCKETS];
    for id in 0..64_000 {
        counts[bucket_of(NodeId::new(id))] += 1;
    }
    assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

#[test]
fn a_full_table_says_so() {
    let mut rng = Rng::new(1);
    let mut table = new_table(&mut rng);
    for id in 1..MEMBERS_MAX as u64 {
        assert!(!table.is_full());
        table.insert(
            entry(NodeId::new(id), State::Left, &mut rng, Since::at(Instant::ZERO)),
            &mut rng,
        );
    }
    assert!(table.is_full());
    let (_, slot) = table.oldest_tombstone().unwrap();
    table.forget(slot);
    assert!(!table.is_full());
    let again = table
        .insert(entry(NodeId::new(0), State::Alive, &mut rng, Since::at(Instant::ZERO)), &mut rng);
    assert_eq!(again, slot, "slots are used again, so memory is bounded");
    assert_eq!(table.get(again).rumor, NOWHERE, "nothing of the last one is left");
}

#[test]
fn an_address_is_kept_as_it_is() {
    let texts = [
        "0.0.0.0:1",
        "127.0.0.1:80",
        "255.255.255.255:65535",
        "[::]:1",
        "[::1]:80",
        "[::127.0.0.1]:80",
        "[::ffff:127.0.0.1]:80",
        "[::ffff:0:0]:1",
        "[2001:db8::1]:9",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
    ];
    let mut table = new_table(&mut Rng::new(1));
    for text in texts {
        let addr: SocketAddr = text.parse().unwrap();
        table.set_addr(LOCAL, addr);
        assert_eq!(table.addr(LOCAL), addr, "{text}");
        assert_eq!(table.long_addrs.len(), usize::from(addr.is_ipv6()));
    }
    let scoped = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 7, 8));
    table.set_addr(LOCAL, scoped);
    let plain = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 9);
    assert_eq!(table.addr(LOCAL), plain, "flow and scope are not kept");
}
