//! A merge keeps the maximum, and a purge takes exactly what it names.

use std::pin::pin;

use futures_lite::future::zip;

use super::{Factory, contents, deleted, get, merge, purge, written};
use crate::document::Document;
use crate::key::Key;

pub(super) async fn the_greater_version_stays(factory: &mut impl Factory) {
    let key = Key::from(1);
    // What is stored, what is merged, what is there then.
    let cases = [
        (written(5, 1, b"a"), written(6, 1, b"b"), written(6, 1, b"b")),
        (written(6, 1, b"a"), written(5, 1, b"b"), written(6, 1, b"a")),
        (written(5, 1, b"a"), written(5, 2, b"b"), written(5, 2, b"b")),
        (written(5, 2, b"a"), written(5, 1, b"b"), written(5, 2, b"a")),
        (written(5, 2, b"a"), written(6, 1, b"b"), written(6, 1, b"b")),
        (written(5, 1, b"a"), deleted(6, 1), deleted(6, 1)),
        (deleted(6, 1), written(5, 1, b"a"), deleted(6, 1)),
        (deleted(5, 1), written(6, 1, b"a"), written(6, 1, b"a")),
        (written(5, 1, b"a"), written(5, 1, b"a"), written(5, 1, b"a")),
        // Stamps are unsigned, and ids too.
        (written(1, 1, b"a"), written(u64::MAX, 1, b"b"), written(u64::MAX, 1, b"b")),
        (written(5, u64::MAX, b"a"), written(5, 1, b"b"), written(5, u64::MAX, b"a")),
        (written(255, 1, b"a"), written(256, 1, b"b"), written(256, 1, b"b")),
    ];
    for (at, (stored, merged, want)) in cases.into_iter().enumerate() {
        let name = format!("greater-{at}");
        let storage = factory.open(&name).await;
        merge(&storage, "k", vec![(key.clone(), stored)]).await;
        merge(&storage, "k", vec![(key.clone(), merged)]).await;
        assert_eq!(
            get(&storage, "k", std::slice::from_ref(&key)).await,
            [Some(want.clone())],
            "case {at}"
        );
        drop(storage);
        let storage = factory.open(&name).await;
        assert_eq!(
            contents(&storage, "k", 5).await,
            [(key.clone(), want)],
            "case {at}, opened again"
        );
    }
}

/// Every order of the same writes, in one merge or in several, gives the same.
pub(super) async fn the_order_of_merges_does_not_matter(factory: &mut impl Factory) {
    let writes = [
        (Key::from(1), written(5, 1, b"a")),
        (Key::from(1), deleted(5, 2)),
        (Key::from(1), written(4, 9, b"c")),
        (Key::from(2), written(1, 1, b"d")),
    ];
    let want = [writes[1].clone(), writes[3].clone()];
    for order in [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 1, 0], [3, 2, 0, 1], [1, 2, 3, 0]] {
        for len in [1, 2, 4] {
            let storage = factory.open(&format!("order-{order:?}-{len}")).await;
            let ordered: Vec<(Key, Document)> =
                order.iter().map(|&at: &usize| writes[at].clone()).collect();
            for part in ordered.chunks(len) {
                merge(&storage, "k", part.to_vec()).await;
            }
            assert_eq!(contents(&storage, "k", 5).await, want, "{order:?} by {len}");
        }
    }
}

pub(super) async fn merges_at_once_lose_nothing(factory: &mut impl Factory) {
    let storage = factory.open("at-once").await;
    for round in 0..20_u64 {
        let first = |key: u64| (Key::from(key), written(round * 2 + 1, key % 3, b"first"));
        let second = |key: u64| (Key::from(key), written(round * 2 + 1, key % 2 + 1, b"second"));
        let one = merge(&storage, "k", (0..8).map(first).collect());
        let other = merge(&storage, "k", (4..12).map(second).collect());
        if round % 2 == 0 {
            zip(pin!(one), pin!(other)).await;
        } else {
            zip(pin!(other), pin!(one)).await;
        }
        for key in 0..12 {
            let candidates = [(key < 8).then(|| first(key).1), (key >= 4).then(|| second(key).1)];
            let want = candidates.into_iter().flatten().map(|document| document.version).max();
            let got = get(&storage, "k", &[Key::from(key)]).await;
            assert_eq!(
                got[0].as_ref().map(|document| document.version),
                want,
                "round {round}, key {key}"
            );
        }
    }
}

pub(super) async fn only_the_exact_version_is_purged(factory: &mut impl Factory) {
    let storage = factory.open("purge").await;
    let all: Vec<(Key, Document)> = vec![
        (Key::from(1), deleted(5, 1)),
        (Key::from(2), deleted(5, 1)),
        (Key::from(3), written(5, 1, b"c")),
        (Key::from(4), written(6, 1, b"d")),
        (Key::from(5), deleted(5, 2)),
    ];
    merge(&storage, "k", all.clone()).await;
    let old = deleted(5, 1).version;
    let named = [1, 3, 4, 5, 6].map(|key: u64| (Key::from(key), old));
    purge(&storage, "k", &named).await;
    let want = [all[1].clone(), all[3].clone(), all[4].clone()];
    assert_eq!(contents(&storage, "k", 2).await, want);
    drop(storage);
    let storage = factory.open("purge").await;
    assert_eq!(contents(&storage, "k", 2).await, want, "opened again");
    // What was purged is as if never written: an older write comes in again, which is for the store
    // to prevent.
    merge(&storage, "k", vec![(Key::from(1), written(4, 1, b"old"))]).await;
    assert_eq!(get(&storage, "k", &[Key::from(1)]).await, [Some(written(4, 1, b"old"))]);
}
