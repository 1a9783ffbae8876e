//! What is put in is there, and where it was put.

use chinwag::Bytes;

use super::{Factory, contents, deleted, get, keyspaces, merge, purge, written};
use crate::document::Document;
use crate::key::Key;
use crate::limits::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::storage::Storage;

pub(super) async fn an_empty_one_is_empty(factory: &mut impl Factory) {
    for _ in 0..2 {
        let storage = factory.open("empty").await;
        assert_eq!(keyspaces(&storage).await, Vec::<String>::new());
        assert_eq!(get(&storage, "none", &[Key::from(1), Key::from(2)]).await, [None, None]);
        assert_eq!(contents(&storage, "none", 10).await, []);
        assert_eq!(mark(&storage, "none").await, None);
        purge(&storage, "none", &[(Key::from(1), written(1, 1, b"").version)]).await;
        merge(&storage, "none", Vec::new()).await;
    }
}

pub(super) async fn what_is_merged_is_there(factory: &mut impl Factory) {
    let all: Vec<(Key, Document)> = (0..100_u64)
        .map(|key| {
            let document = if key % 3 == 0 {
                deleted(key + 1, 2)
            } else {
                written(key + 1, 1, &key.to_le_bytes())
            };
            (Key::from(key), document)
        })
        .collect();
    let storage = factory.open("there").await;
    merge(&storage, "a", all[..40].to_vec()).await;
    merge(&storage, "a", all[40..].to_vec()).await;
    assert_eq!(contents(&storage, "a", 7).await, all);
    let asked = [Key::from(5), Key::from(1_000), Key::from(3), Key::from(5)];
    let want = [Some(all[5].1.clone()), None, Some(all[3].1.clone()), Some(all[5].1.clone())];
    assert_eq!(get(&storage, "a", &asked).await, want, "in the order asked, repetitions too");
    drop(storage);
    let storage = factory.open("there").await;
    assert_eq!(contents(&storage, "a", 1_000).await, all, "after it was opened again");
}

pub(super) async fn keyspaces_are_apart(factory: &mut impl Factory) {
    let storage = factory.open("apart").await;
    // Names that run together where keys are joined to them without care.
    let names = ["", "a", "a\0", "ab", "b", "é"];
    for (at, name) in names.iter().enumerate() {
        let document = written(at as u64 + 1, 1, name.as_bytes());
        merge(&storage, name, vec![(Key::from(7), document)]).await;
    }
    merge(&storage, "a", vec![(Key::try_from("b").expect("a key"), deleted(9, 9))]).await;
    drop(storage);
    let storage = factory.open("apart").await;
    assert_eq!(keyspaces(&storage).await, names);
    for (at, name) in names.iter().enumerate() {
        let held = contents(&storage, name, 10).await;
        assert_eq!(held[0], (Key::from(7), written(at as u64 + 1, 1, name.as_bytes())));
        assert_eq!(held.len(), if *name == "a" { 2 } else { 1 });
    }
    purge(&storage, "b", &[(Key::from(7), written(5, 1, b"").version)]).await;
    assert_eq!(
        keyspaces(&storage).await,
        ["", "a", "a\0", "ab", "é"],
        "an empty keyspace is not there"
    );
    assert_eq!(contents(&storage, "a", 10).await.len(), 2);
}

pub(super) async fn a_scan_goes_through_all_in_order(factory: &mut impl Factory) {
    let storage = factory.open("scan").await;
    let texts = ["b", "a", "ab", "a\0", "\0", "\u{7f}", "aa"];
    let mut all: Vec<(Key, Document)> = texts
        .iter()
        .zip(1..)
        .map(|(text, stamp)| {
            (Key::try_from(*text).expect("a key"), written(stamp, 1, text.as_bytes()))
        })
        .collect();
    all.push((Key::new(vec![0xff, 0xff]).expect("a key"), deleted(50, 1)));
    merge(&storage, "s", all.clone()).await;
    all.sort_by(|one, other| one.0.cmp(&other.0));
    for step in [1, 2, 3, all.len(), all.len() + 1] {
        assert_eq!(contents(&storage, "s", step).await, all, "in steps of {step}");
    }
    let after = Key::try_from("a\0\0").expect("a key");
    let entries =
        storage.scan("s", Some(&after), 2).await.unwrap_or_else(|error| panic!("scan: {error}"));
    let keys: Vec<&[u8]> = entries.iter().map(|entry| entry.key.as_bytes()).collect();
    assert_eq!(keys, [b"aa", b"ab"], "from a key that is not there");
}

pub(super) async fn keys_and_values_are_any_bytes(factory: &mut impl Factory) {
    let key = |byte: u8, len: usize| Key::new(vec![byte; len]).expect("a key");
    let all = vec![
        (key(0, 1), written(1, 1, &[])),
        (key(0, KEY_LEN_MAX), written(u64::MAX, u64::MAX, &[0; 300])),
        (key(255, KEY_LEN_MAX), written(0, 0, &vec![255; VALUE_LEN_MAX])),
    ];
    let storage = factory.open("bytes").await;
    merge(&storage, "bytes", all.clone()).await;
    drop(storage);
    let storage = factory.open("bytes").await;
    assert_eq!(contents(&storage, "bytes", 10).await, all);
}

pub(super) async fn marks_are_kept_and_replaced(factory: &mut impl Factory) {
    let storage = factory.open("marks").await;
    for (name, bytes) in [("a", &b"one"[..]), ("b", b"two"), ("a", b"three"), ("empty", b"")] {
        save_mark(&storage, name, bytes).await;
        assert_eq!(mark(&storage, name).await.as_deref(), Some(bytes));
    }
    assert_eq!(keyspaces(&storage).await, Vec::<String>::new(), "marks are in no keyspace");
    merge(&storage, "a", vec![(Key::try_from("a").expect("a key"), deleted(1, 1))]).await;
    drop(storage);
    let storage = factory.open("marks").await;
    assert_eq!(mark(&storage, "a").await.as_deref(), Some(&b"three"[..]));
    assert_eq!(mark(&storage, "b").await.as_deref(), Some(&b"two"[..]));
    assert_eq!(mark(&storage, "empty").await.as_deref(), Some(&b""[..]), "empty is not nothing");
    assert_eq!(mark(&storage, "c").await, None);
}

async fn save_mark(storage: &impl Storage, name: &str, bytes: &[u8]) {
    let saved = storage.save_mark(name, Bytes::copy_from_slice(bytes)).await;
    saved.unwrap_or_else(|error| panic!("save_mark: {error}"));
}

async fn mark(storage: &impl Storage, name: &str) -> Option<Bytes> {
    storage.load_mark(name).await.unwrap_or_else(|error| panic!("load_mark: {error}"))
}
