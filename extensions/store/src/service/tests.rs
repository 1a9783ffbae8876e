use chinwag::protocol::clock::Timestamp;
use chinwag::{Client, Node};
use chinwag_sim::{World, check};

use super::*;
use crate::limits::{KEY_LEN_MAX, KEYSPACE_LEN_MAX, KEYSPACES_MAX, ROSTER_MAX, VALUE_LEN_MAX};
use crate::wire::Named;
use crate::{Consistency, Keyspace, MemoryStorage, Store, StoreExtension};

/// A store on one node, and a client on another that says what it likes.
async fn store_and_stranger(world: &World) -> (Store, Client<StoreService>) {
    let nodes = world.cluster(2, |_: &Node| Ok::<(), chinwag::AddServiceError>(())).await;
    let store =
        nodes[0].add_extension(StoreExtension::new(MemoryStorage::new())).await.expect("it starts");
    (store, nodes[1].client::<StoreService>(1))
}

fn origin() -> Origin {
    Origin { epoch: 1, count: 1, cleansed: 0 }
}

fn doc(key: &[u8], stamp: u64, value: &[u8]) -> Doc {
    Doc { key: key.to_vec(), stamp, node: 9, value: Some(value.to_vec()) }
}

fn replicate(keyspace: &str, documents: Vec<Doc>) -> Replicate {
    Replicate { origin: origin(), keyspace: keyspace.to_owned(), documents }
}

fn named(key: &[u8], stamp: u64) -> Named {
    Named { key: key.to_vec(), stamp, node: 9 }
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
            replicate("", vec![doc(b"a", 1, b"")]),
            replicate(&long_name, vec![doc(b"a", 1, b"")]),
            replicate("k", vec![doc(b"", 1, b"")]),
            replicate("k", vec![doc(&long_key, 1, b"")]),
            replicate("k", vec![doc(b"a", 1, &long_value)]),
            replicate("k", vec![doc(b"a", 0, b"")]),
            replicate("k", vec![doc(b"a", Timestamp::MAX.get() + 1, b"")]),
            replicate("k", vec![doc(b"good", 1, b""), doc(b"a", 0, b"")]),
            replicate("k", vec![doc(b"a", 1, b""); BATCH_MAX + 1]),
            replicate("k", (0..10_u8).map(|key| doc(&[key], 1, &large)).collect()),
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
            let turns = vec![(1, 1, 1); turns];
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
        let (stamp, node) = (written.version.stamp.get(), written.version.node.get());
        let tombstones = vec![Named { key: b"here".to_vec(), stamp, node }];
        let purge = Purge { keyspace: "k".into(), tombstones, turns: vec![(7, 1, 1)] };
        stranger.call(&purge).await.expect("it is allowed, and does nothing");
        nothing_has_changed(&keyspace, &store, 0).await;

        let tombstones = vec![named(b"future", Timestamp::MAX.get())];
        let confirm =
            Confirm { origin: origin(), keyspace: "k".into(), tombstones, without: Vec::new() };
        let confirmed = stranger.call(&confirm).await.expect("an answer");
        assert!(!confirmed.is_held, "its floor would be at the end of time");
        keyspace.put("another", "x", Consistency::None).await.expect("keys go on");
    });
}

/// A message that was read before its sender confirmed is refused, and one of another run is not;
/// docs/store.md §5.2.
#[test]
fn turns_order_messages_and_purges() {
    check(0..1, |world| async move {
        let (store, stranger) = store_and_stranger(&world).await;
        let message = |epoch, count| Replicate {
            origin: Origin { epoch, count, cleansed: 0 },
            keyspace: "k".into(),
            documents: vec![doc(b"a", 5, b"old")],
        };
        let tombstone = Doc { key: b"a".to_vec(), stamp: 6, node: 9, value: None };
        stranger.call(&replicate("k", vec![tombstone])).await.expect("taken");
        let purge = Purge {
            keyspace: "k".into(),
            tombstones: vec![named(b"a", 6)],
            turns: vec![(2, 3, 10)],
        };
        stranger.call(&purge).await.expect("purged");
        assert_eq!(store.stats().purged, 1);
        for (epoch, count) in [(3, 9), (2, 100), (0, 0)] {
            let taken = stranger.call(&message(epoch, count)).await.expect("an answer");
            assert!(matches!(*taken, crate::wire::ArchivedTaken::Stale), "{epoch} {count}");
        }
        assert_eq!((store.stats().documents, store.stats().stale), (0, 3));
        let taken = stranger.call(&message(3, 10)).await.expect("an answer");
        assert!(matches!(*taken, crate::wire::ArchivedTaken::Kept { .. }));
    });
}

#[test]
fn keyspaces_are_so_many() {
    check(0..1, |world| async move {
        let (store, stranger) = store_and_stranger(&world).await;
        for number in 0..KEYSPACES_MAX + 1 {
            let taken =
                stranger.call(&replicate(&number.to_string(), vec![doc(b"a", 1, b"")])).await;
            let is_full = matches!(*taken.expect("an answer"), crate::wire::ArchivedTaken::Full);
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
