use chinwag::{Bytes, NodeId};
use futures_lite::future::block_on;

use super::*;
use crate::MemoryStorage;
use crate::limits::GENERATION_MAX;
use crate::roster::Absence;

fn wall() -> WallTime {
    WallTime::from_nanos(1_800_000_000 * 1_000_000_000)
}

fn document(stamp: Timestamp, value: Option<&'static str>) -> Document {
    Document { version: Version { stamp, node: NodeId::new(3) }, value: value.map(Bytes::from) }
}

/// Everything that cannot be is put right, and everything else is as it was; a second repair has
/// nothing to do.
async fn is_repaired(storage: &impl Storage) {
    let sound = Timestamp::at(wall());
    let last = Timestamp::from_raw(Timestamp::MAX.get() - 1);
    let documents = vec![
        (Key::from(1), document(sound, Some("sound"))),
        (Key::from(2), document(Timestamp::MAX, Some("second"))),
        (Key::from(3), document(last, Some("first"))),
        (Key::from(4), document(last, None)),
    ];
    storage.merge("k", documents).await.expect("it works");
    let mut roster = Roster::default();
    assert!(roster.add(NodeId::new(1), |_| true) && roster.add(NodeId::new(2), |_| true));
    let absence = |generation, horizon| Absence { generation, horizon };
    roster.note(NodeId::new(1), absence(1 << 40, Timestamp::MAX), NodeId::new(3));
    roster.note(NodeId::new(2), absence(4, sound), NodeId::new(3));
    roster.note(NodeId::new(3), absence(GENERATION_MAX + 1, Timestamp::MAX), NodeId::new(3));
    roster.floor = Timestamp::MAX;
    storage.save_mark(roster::MARK, roster.to_mark()).await.expect("it works");

    let repaired = repair(storage, wall()).await.expect("it works");
    assert_eq!(repaired, Repaired { restamped: 3, roster: true });
    let keys: Vec<Key> = (1..=4).map(Key::from).collect();
    let got = storage.get("k", &keys).await.expect("it works");
    let got: Vec<Document> = got.into_iter().map(|document| document.expect("kept")).collect();
    assert_eq!(got[0], document(sound, Some("sound")));
    assert!(got.iter().all(|it| it.version.stamp < later(wall(), STAMP_AHEAD_MAX)));
    assert!(got[1].version > got[2].version, "the order of writes stays");
    let values: Vec<_> = got.iter().map(|it| it.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"sound"[..]), Some(b"second"), Some(b"first"), None]);
    let mark = storage.load_mark(roster::MARK).await.expect("it works").expect("saved");
    let after = Roster::from_mark(mark).expect("whole");
    assert!(after.is_cleansed() && after.floor <= later(wall(), CLOCK_APART_MAX));
    assert_eq!(after.absence(NodeId::new(1)), Absence::default());
    assert_eq!(after.absence(NodeId::new(2)), absence(4, sound), "what can be stays");

    let again = repair(storage, wall()).await.expect("it works");
    assert_eq!(again, Repaired::default());
}

#[test]
fn a_poisoned_store_in_memory_is_put_right() {
    block_on(is_repaired(&MemoryStorage::new()));
}

#[cfg(feature = "redb")]
#[test]
fn a_poisoned_file_is_put_right() {
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store.redb");
        let storage = crate::RedbStorage::open(&path).await.expect("a new file");
        is_repaired(&storage).await;
        drop(storage);
        let storage = crate::RedbStorage::open(&path).await.expect("the same file");
        assert_eq!(repair(&storage, wall()).await.expect("it works"), Repaired::default());
        assert_eq!(storage.scan("k", None, 10).await.expect("read").len(), 4);
    });
}
