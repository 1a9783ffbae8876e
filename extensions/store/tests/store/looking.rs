//! Looking into what a replica holds (docs/store.md §3.7).

use std::ops::Bound;
use std::sync::Arc;

use chinwag::Consistency;
use chinwag_sim::check;
use chinwag_store::{Key, MemoryStorage, Storage};

use crate::cluster::{Stores, id, quick};

/// Pages of any size cover the range, in order, without tombstones.
#[test]
fn keys_and_documents_come_in_pages() {
    check(0..1, |world| async move {
        let stores = Stores::start(&world, 1, |_| MemoryStorage::new(), quick).await;
        let keyspace = stores.at(0).expect("started").keyspace("k").expect("a name");
        assert!(keyspace.is_empty());
        for key in 0..40_u64 {
            keyspace.put(key, format!("{key}"), Consistency::None).await.expect("local");
        }
        for key in (0..40_u64).filter(|key| key % 4 == 0) {
            keyspace.delete(key, Consistency::None).await.expect("local");
        }
        assert_eq!(keyspace.len(), 30);
        let bounds = [
            (Bound::Unbounded, Bound::Unbounded),
            (Bound::Included(3), Bound::Excluded(21)),
            (Bound::Included(4), Bound::Included(21)),
            (Bound::Excluded(3), Bound::Included(100)),
            (Bound::Included(50), Bound::Unbounded),
            (Bound::Included(5), Bound::Included(5)),
            (Bound::Included(9), Bound::Excluded(5)),
        ];
        for (start, end) in bounds {
            let is_past_start = |key: u64| match start {
                Bound::Unbounded => true,
                Bound::Included(first) => key >= first,
                Bound::Excluded(before) => key > before,
            };
            let is_before_end = |key: u64| match end {
                Bound::Unbounded => true,
                Bound::Included(last) => key <= last,
                Bound::Excluded(after) => key < after,
            };
            let want: Vec<u64> = (0..40)
                .filter(|key| key % 4 != 0 && is_past_start(*key) && is_before_end(*key))
                .collect();
            for max in [0, 1, 2, 7, 30, 5_000] {
                let end = end.map(Key::from);
                let (mut keys, mut from) = (Vec::new(), start.map(Key::from));
                loop {
                    let page = keyspace.keys((from, end.clone()), max).await.expect("read");
                    assert!(page.items.len() <= max.max(1));
                    keys.extend(page.items.iter().filter_map(Key::as_u64));
                    let Some(next) = page.next else { break };
                    from = Bound::Excluded(next);
                }
                assert_eq!(keys, want, "{start:?} {end:?} {max}");
                let (mut scanned, mut from) = (Vec::new(), start.map(Key::from));
                loop {
                    let page = keyspace.scan((from, end.clone()), max).await.expect("read");
                    for (key, document) in page.items {
                        let key = key.as_u64().expect("a number");
                        assert_eq!(document.value, Some(key.to_string().into()));
                        scanned.push(key);
                    }
                    let Some(next) = page.next else { break };
                    from = Bound::Excluded(next);
                }
                assert_eq!(scanned, want, "{start:?} {end:?} {max}");
            }
        }
    });
}

/// Long values: a page is cut after as many as fit into one answer, and goes on after them.
#[test]
fn pages_of_long_values_are_short() {
    check(0..1, |world| async move {
        let stores = Stores::start(&world, 1, |_| MemoryStorage::new(), quick).await;
        let keyspace = stores.at(0).expect("started").keyspace("k").expect("a name");
        let value = vec![7; chinwag_store::limits::VALUE_LEN_MAX];
        for key in 0..10_u64 {
            keyspace.put(key, value.clone(), Consistency::None).await.expect("local");
        }
        let first = keyspace.scan(.., 100).await.expect("read");
        assert!((1..=5).contains(&first.items.len()), "{}", first.items.len());
        let (mut count, mut next) = (first.items.len(), first.next);
        while let Some(after) = next {
            let page = keyspace.scan((Bound::Excluded(after), Bound::Unbounded), 100).await;
            let page = page.expect("read");
            (count, next) = (count + page.items.len(), page.next);
        }
        assert_eq!(count, 10);
    });
}

/// A storage can be kept beside the store that it was given to.
#[test]
fn a_storage_can_be_shared() {
    check(0..1, |world| async move {
        let storage = Arc::new(MemoryStorage::new());
        let given = storage.clone();
        let stores = Stores::start(&world, 1, move |_| given.clone(), quick).await;
        let keyspace = stores.at(0).expect("started").keyspace("k").expect("a name");
        let written = keyspace.put(1, "one", Consistency::None).await.expect("local");
        let held = storage.get("k", &[Key::from(1)]).await.expect("infallible");
        assert_eq!(held[0].as_ref().map(|document| document.version), Some(written.version));
        assert_eq!(written.version.node, id(0));
    });
}
