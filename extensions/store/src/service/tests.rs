use chinwag::protocol::clock::Timestamp;
use chinwag::{Client, Epoch, Node};
use chinwag_sim::{World, check, millis, secs};

use super::*;
use crate::limits::{KEY_LEN_MAX, KEYSPACE_LEN_MAX, KEYSPACES_MAX, ROSTER_MAX, VALUE_LEN_MAX};
use crate::roster::{AbsenceClaim, Told};
use crate::wire::{ArchivedTaken, Named, OriginClaim, Ticket, Turn};
use crate::{Consistency, Keyspace, MemoryStorage, Store, StoreExtension, WriteError};
use chinwag::protocol::time::WallTime;

/// A member that says what it likes.
struct Stranger {
    client: Client<StoreService>,
    epoch: Epoch,
}

impl Stranger {
    async fn call<M: chinwag::Message>(
        &self,
        message: &M,
    ) -> Result<chinwag::Received<M::Reply>, Status>
    where
        StoreService: Handler<M>,
    {
        self.client.call(message).await
    }

    fn origin(&self, count: u64, ticket: Ticket) -> OriginClaim {
        let turn = Turn { epoch: self.epoch.get(), count };
        OriginClaim { turn: turn.into(), cleansed: 0.into(), ticket }
    }
}

/// A store on one node, and on another one a replica that says what it likes.
async fn store_and_stranger(world: &World) -> (Store, Stranger) {
    let (stores, stranger) = stores_and_stranger(world, 1, true).await;
    (stores.into_iter().next().expect("one"), stranger)
}

/// So many stores, and one more node, which says that it is a replica or does not.
async fn stores_and_stranger(
    world: &World,
    count: usize,
    is_replica: bool,
) -> (Vec<Store>, Stranger) {
    let nodes = world.cluster(count + 1, |_: &Node| Ok::<(), chinwag::AddServiceError>(())).await;
    let mut stores = Vec::new();
    for node in &nodes[..count] {
        let extension = StoreExtension::new(MemoryStorage::new())
            .exchange_interval(secs(1))
            .purge_after(millis(200));
        stores.push(node.add_extension(extension).await.expect("it starts"));
    }
    if is_replica {
        nodes[count].set_metadata_entry(peers::ENTRY.0, peers::ENTRY.1).expect("there is room");
    }
    let seen = count - 1 + usize::from(is_replica);
    let until = world.now() + secs(30);
    while stores.iter().any(|store| store.replicas().len() != seen) {
        assert!(world.now() < until, "the replicas do not know each other");
        world.run_for(millis(50)).await;
    }
    (
        stores,
        Stranger { client: nodes[count].client::<StoreService>(1), epoch: nodes[count].epoch() },
    )
}

fn doc(key: &[u8], stamp: u64, value: &[u8]) -> Doc {
    Doc { key: key.to_vec(), stamp: stamp.into(), node: 9, value: Some(value.to_vec()) }
}

fn replicate(stranger: &Stranger, keyspace: &str, documents: Vec<Doc>) -> Replicate {
    let origin = stranger.origin(1, Ticket::default());
    Replicate { origin, keyspace: keyspace.to_owned(), documents }
}

fn named(key: &[u8], stamp: u64) -> Named {
    Named { key: key.to_vec(), stamp: stamp.into(), node: 9 }
}

/// Everything is there, as it was.
async fn nothing_has_changed(keyspace: &Keyspace, store: &Store, refused: u64) {
    let stats = store.stats();
    assert_eq!((stats.documents, stats.tombstones, stats.refused), (1, 0, refused), "{stats:?}");
    let value = keyspace.get("here", Consistency::None).await.expect("read");
    assert_eq!(value.as_deref(), Some(&b"to stay"[..]));
}

/// docs/store.md §6.1.
#[test]
fn what_is_not_allowed_is_refused_whole() {
    check(0..1, |world| async move {
        let (store, stranger) = store_and_stranger(&world).await;
        let keyspace = store.keyspace("k").expect("a name");
        keyspace.put("here", "to stay", Consistency::None).await.expect("local");
        let (long_key, long_value) = (vec![1; KEY_LEN_MAX + 1], vec![1; VALUE_LEN_MAX + 1]);
        let long_name = "n".repeat(KEYSPACE_LEN_MAX + 1);
        let large = vec![1; VALUE_LEN_MAX];
        let wrong = [
            replicate(&stranger, "", vec![doc(b"a", 1, b"")]),
            replicate(&stranger, &long_name, vec![doc(b"a", 1, b"")]),
            replicate(&stranger, "k", vec![doc(b"", 1, b"")]),
            replicate(&stranger, "k", vec![doc(&long_key, 1, b"")]),
            replicate(&stranger, "k", vec![doc(b"a", 1, &long_value)]),
            replicate(&stranger, "k", vec![doc(b"a", 0, b"")]),
            replicate(&stranger, "k", vec![doc(b"a", Timestamp::MAX.get() + 1, b"")]),
            replicate(&stranger, "k", vec![doc(b"good", 1, b""), doc(b"a", 0, b"")]),
            replicate(&stranger, "k", vec![doc(b"a", 1, b""); BATCH_MAX + 1]),
            replicate(&stranger, "k", (0..10_u8).map(|key| doc(&[key], 1, &large)).collect()),
        ];
        for (at, message) in wrong.iter().enumerate() {
            let refused = stranger.call(message).await.expect_err("refused");
            assert_eq!(refused.code, Code::AppError, "{at}: {refused}");
        }
        let mut count = wrong.len() as u64;
        nothing_has_changed(&keyspace, &store, count).await;

        let keys = vec![named(b"a", 1); BATCH_MAX + 1];
        assert!(stranger.call(&Read { keyspace: "k".into(), keys }).await.is_err());
        assert!(
            stranger.call(&Read { keyspace: "k".into(), keys: vec![named(b"", 1)] }).await.is_err()
        );
        for ranges in [vec![(17, 0)], vec![(1, 1)], vec![(0, 0); COMPARE_MAX + 1]] {
            assert!(stranger.call(&Compare { keyspace: "k".into(), ranges }).await.is_err());
        }
        for (ranges, after) in
            [(vec![(0, 0); RANGES_MAX + 1], None), (vec![(0, 0)], Some(Vec::new()))]
        {
            assert!(stranger.call(&Fetch { keyspace: "k".into(), ranges, after }).await.is_err());
        }
        for (tombstones, turns) in
            [(vec![named(b"a", 0)], 1), (vec![named(b"a", 1)], ROSTER_MAX + 2)]
        {
            let turns = vec![(1, Turn { epoch: 1, count: 1 }.into()); turns];
            assert!(
                stranger.call(&Purge { keyspace: "k".into(), tombstones, turns }).await.is_err()
            );
        }
        count += 9;
        nothing_has_changed(&keyspace, &store, count).await;
    });
}

/// A purge takes tombstones only; what is to be confirmed must be past.
#[test]
fn documents_and_the_future_are_not_purged() {
    check(0..1, |world| async move {
        let (store, stranger) = store_and_stranger(&world).await;
        let keyspace = store.keyspace("k").expect("a name");
        let written = keyspace.put("here", "to stay", Consistency::None).await.expect("local");
        let (stamp, node) = (written.version.stamp.into(), written.version.node.get());
        let tombstones = vec![Named { key: b"here".to_vec(), stamp, node }];
        let turns = vec![(1, Turn { epoch: 1, count: 1 }.into())];
        world.run_for(millis(150)).await;
        let purge = Purge { keyspace: "k".into(), tombstones, turns };
        stranger.call(&purge).await.expect("it is allowed, and does nothing");
        nothing_has_changed(&keyspace, &store, 0).await;

        let wall = store.shared.replica.node().expect("it runs").now().wall;
        let soon = crate::claims::later(wall, secs(3_600));
        let confirm = |stamp: u64| Confirm {
            origin: stranger.origin(1, Ticket::default()),
            keyspace: "k".into(),
            tombstones: vec![named(b"future", stamp)],
            without: Vec::new(),
        };
        let confirmed = stranger.call(&confirm(soon.get())).await.expect("an answer");
        assert!(!confirmed.is_held, "its floor would be in the future");
        let young = Timestamp::at(wall).get();
        let confirmed = stranger.call(&confirm(young)).await;
        assert!(!confirmed.expect("an answer").is_held, "it is too young");
        let tombstones = vec![named(b"future", young)];
        let purge = Purge { keyspace: "k".into(), tombstones, turns: Vec::new() };
        let refused = stranger.call(&purge).await.expect_err("it is too young");
        assert!(refused.message.contains("the age of a tombstone"), "{refused}");
        stranger.call(&confirm(Timestamp::MAX.get())).await.expect_err("the end of time");
        keyspace.put("another", "x", Consistency::None).await.expect("keys go on");
    });
}

/// A message that was read before its sender confirmed is refused, unless it shows a ticket that
/// was given after the purge: so a turn that somebody makes up keeps nobody out. docs/store.md
/// §5.2.
#[test]
fn turns_order_messages_and_purges() {
    check(0..1, |world| async move {
        let (store, stranger) = store_and_stranger(&world).await;
        let message = |count, ticket| Replicate {
            origin: stranger.origin(count, ticket),
            keyspace: "k".into(),
            documents: vec![doc(b"a", 5, b"old")],
        };
        let tombstone = Doc { key: b"a".to_vec(), stamp: 6.into(), node: 9, value: None };
        stranger.call(&replicate(&stranger, "k", vec![tombstone])).await.expect("taken");
        let purge = |turn: Turn| Purge {
            keyspace: "k".into(),
            tombstones: vec![named(b"a", 6)],
            turns: vec![(2, turn.into())],
        };
        let turn = Turn { epoch: stranger.epoch.get(), count: 10 };
        stranger.call(&purge(turn)).await.expect("purged");
        assert_eq!(store.stats().purged, 1);
        for count in [9, 0] {
            let taken = stranger.call(&message(count, Ticket::default())).await;
            assert!(matches!(*taken.expect("an answer"), ArchivedTaken::Stale { .. }), "{count}");
        }
        assert_eq!((store.stats().documents, store.stats().stale), (0, 2));
        let taken = stranger.call(&message(10, Ticket::default())).await.expect("an answer");
        assert!(matches!(*taken, ArchivedTaken::Kept { .. }));

        let last = Turn { epoch: u64::MAX, count: u64::MAX };
        stranger.call(&purge(last)).await.expect("nothing to purge");
        let taken = stranger.call(&message(u64::MAX, Ticket::default())).await.expect("an answer");
        let ArchivedTaken::Stale { ticket } = &*taken else { panic!("no turn is so late") };
        let taken = stranger.call(&message(11, ticket.check())).await.expect("an answer");
        assert!(matches!(*taken, ArchivedTaken::Kept { .. }));
        let other = Ticket { purges: 99, ..ticket.check() };
        let taken = stranger.call(&message(11, other)).await.expect("an answer");
        assert!(matches!(*taken, ArchivedTaken::Stale { .. }), "it was never given");
    });
}

/// The turn of a message names the run that its connection was opened by; docs/store.md §6.2.
#[test]
fn the_turn_of_another_run_is_refused() {
    check(0..1, |world| async move {
        let (store, stranger) = store_and_stranger(&world).await;
        for epoch in [0, stranger.epoch.get() - 1, stranger.epoch.get() + 1, u64::MAX] {
            let turn = Turn { epoch, count: 1 }.into();
            let origin = OriginClaim { turn, ..stranger.origin(1, Ticket::default()) };
            let documents = vec![doc(b"a", 5, b"old")];
            let message = Replicate { origin, keyspace: "k".into(), documents };
            let refused = stranger.call(&message).await.expect_err("of another run");
            assert!(refused.message.contains("the epoch of the turn"), "{refused}");
        }
        assert_eq!((store.stats().refused, store.stats().documents), (4, 0));
    });
}

/// What a peer says of itself, with one thing that is not allowed; docs/store.md §6.2.
fn poisoned() -> Vec<(&'static str, Told)> {
    let fair = || crate::roster::Roster::default().told(WallTime::from_nanos(0));
    let absence = |generation: u64, horizon: u64| AbsenceClaim {
        generation: generation.into(),
        horizon: horizon.into(),
    };
    let end = Timestamp::MAX.get();
    let many = (0..=ROSTER_MAX as u64).map(|id| (id, absence(0, 0))).collect();
    vec![
        ("the floor", Told { floor: end.into(), ..fair() }),
        ("an absence in the roster", Told { members: vec![(1, absence(1 << 40, 1))], ..fair() }),
        ("an absence in the roster", Told { members: vec![(1, absence(1, end))], ..fair() }),
        ("the absence of all others", Told { rest: absence(1 << 40, 0), ..fair() }),
        ("the absence of all others", Told { rest: absence(1, u64::MAX), ..fair() }),
        ("the number of nodes in the roster", Told { members: many, ..fair() }),
        ("the generation that", Told { cleansed: u64::MAX.into(), ..fair() }),
    ]
}

/// One message of one member, replica or not, keeps nobody from writing; docs/store.md §5.8.
#[test]
fn a_poisoned_roster_changes_nothing() {
    for is_replica in [true, false] {
        check(0..1, |world| async move {
            let (stores, stranger) = stores_and_stranger(&world, 3, is_replica).await;
            // Whoever has just started may be asked by a replica of which it has not heard yet.
            world.run_for(secs(5)).await;
            let (roster, before) = (stores[0].shared.replica.roster(), stores[0].stats());
            for (at, (field, roster)) in (1..).zip(poisoned()) {
                let refused = stranger.call(&Roots { roster }).await.expect_err("a lie");
                let stats = stores[0].stats();
                if is_replica {
                    assert!(refused.message.contains(field), "{field}: {refused}");
                    assert_eq!(stats.refused, at, "{field}");
                } else {
                    let strangers = stats.strangers - before.strangers;
                    assert_eq!((strangers, stats.refused), (at, 0), "{field}: {refused}");
                }
            }
            assert_eq!(stores[0].shared.replica.roster(), roster);
            // What is within all bounds is one vote, of which three others have none.
            let absence = |generation: u64| AbsenceClaim {
                generation: generation.into(),
                horizon: Timestamp::from_raw(1).into(),
            };
            let fair = crate::roster::Roster::default().told(WallTime::from_nanos(0));
            let members = (1..=3).map(|id| (id, absence(7))).collect();
            let lie = Told { members, rest: absence(9), ..fair };
            assert_eq!(stranger.call(&Roots { roster: lie }).await.is_ok(), is_replica);
            world.run_for(secs(10)).await;
            for store in &stores {
                let roster = store.shared.replica.roster();
                assert!(roster.is_cleansed() && roster.floor == Timestamp::default());
                assert!((1..=3).all(|id| roster.absence(NodeId::new(id)) == Absence::default()));
                let keyspace = store.keyspace("k").expect("a name");
                let level = if is_replica { Consistency::None } else { Consistency::All };
                keyspace.put(1, "x", level).await.expect("all go on");
            }
            world.run_for(secs(10)).await;
            let digests: Vec<_> = stores.iter().map(Store::digests).collect();
            assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
        });
    }
}

/// A clock in the next century writes nothing that could never be written again; docs/store.md
/// §2.5.
#[test]
fn a_write_of_an_absurd_clock_is_refused() {
    check(0..1, |world| async move {
        let (stores, _) = stores_and_stranger(&world, 3, false).await;
        world.run_for(secs(5)).await;
        let keyspace = stores[1].keyspace("k").expect("a name");
        keyspace.put(1, "before", Consistency::All).await.expect("all are there");
        for years in [1, 100] {
            world.now_goes_wrong().clock(1, chinwag_sim::step(secs(years * 31_557_600)));
            world.run_for(millis(5)).await;
            let refused = keyspace.put(1, "absurd", Consistency::None).await.expect_err("absurd");
            assert!(matches!(refused, WriteError::Clock), "{refused}");
            assert_eq!(refused.is_kept(), crate::IsKept::No);
            world.now_goes_wrong().clock(1, chinwag_sim::step_back(secs(years * 31_557_600)));
            world.run_for(millis(5)).await;
            keyspace.put(1, "after", Consistency::All).await.expect("the clock is right again");
        }
        for store in &stores {
            let keyspace = store.keyspace("k").expect("a name");
            keyspace.put(1, "and on", Consistency::All).await.expect("the key takes writes");
            keyspace.delete(1, Consistency::All).await.expect("the key takes deletes");
        }
    });
}

#[test]
fn keyspaces_are_so_many() {
    check(0..1, |world| async move {
        let (store, stranger) = store_and_stranger(&world).await;
        for number in 0..KEYSPACES_MAX + 1 {
            let taken = stranger
                .call(&replicate(&stranger, &number.to_string(), vec![doc(b"a", 1, b"")]))
                .await;
            let is_full = matches!(*taken.expect("an answer"), ArchivedTaken::Full);
            assert_eq!(is_full, number == KEYSPACES_MAX);
        }
        let one_more = store.keyspace("one more").expect("a name");
        let full = one_more.put(1, "x", Consistency::None).await.expect_err("full");
        assert_eq!(full.is_kept(), crate::IsKept::No, "{full}");
        assert_eq!(store.keyspaces().len(), KEYSPACES_MAX);
    });
}

/// Long values are read and fetched in parts.
#[test]
fn long_answers_come_in_parts() {
    check(0..1, |world| async move {
        let (store, stranger) = store_and_stranger(&world).await;
        let keyspace = store.keyspace("k").expect("a name");
        let value = vec![7; VALUE_LEN_MAX];
        for key in 0..10_u64 {
            keyspace.put(key, value.clone(), Consistency::None).await.expect("local");
        }
        let keys: Vec<Named> = (0..10_u64).map(|key| named(Key::from(key).as_bytes(), 0)).collect();
        let (mut at, mut parts) = (0, 0);
        while at < keys.len() {
            let found = stranger
                .call(&Read { keyspace: "k".into(), keys: keys[at..].to_vec() })
                .await
                .expect("found");
            let answered = found.answered.to_native() as usize;
            assert!((1..=5).contains(&answered) && found.newer.len() == answered);
            (at, parts) = (at + answered, parts + 1);
        }
        assert_eq!((at, parts), (10, 3));
        let (mut after, mut count) = (None, 0);
        loop {
            let fetch = Fetch { keyspace: "k".into(), ranges: vec![(0, 0)], after };
            let fetched = stranger.call(&fetch).await.expect("fetched");
            assert!(fetched.documents.len() <= 5);
            count += fetched.documents.len();
            let Some(more) = fetched.more.as_ref() else { break };
            after = more.1.as_ref().map(|key| key.to_vec());
        }
        assert_eq!(count, 10);
    });
}
