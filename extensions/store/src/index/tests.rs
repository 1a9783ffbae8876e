use chinwag::protocol::rng::Rng;
use chinwag::{NodeId, Timestamp};

use super::*;

fn entry(key: u64, stamp: u64, is_tombstone: bool) -> Entry {
    let version = Version { stamp: Timestamp::from_raw(stamp), node: NodeId::new(1) };
    Entry { key: Key::from(key), version, is_tombstone }
}

/// The sums that are kept are those of the entries, at every depth, after any writes and purges.
#[test]
fn sums_are_those_of_the_entries() {
    let mut rng = Rng::new(1);
    let mut index = Index::default();
    let mut model = BTreeMap::<Key, Entry>::new();
    for stamp in 1..3_000 {
        let entry =
            entry(rng.below_u64(300), stamp - rng.below_u64(stamp.min(50)), rng.below(3) == 0);
        if rng.below(4) == 0 {
            let held = model.get(&entry.key).map(|held| held.version);
            let named = held.filter(|_| rng.below(2) == 0).unwrap_or(entry.version);
            let is_purged = index.purge(&entry.key, named);
            assert_eq!(is_purged, held == Some(named));
            if is_purged {
                model.remove(&entry.key);
            }
        } else {
            index.put(entry.clone());
            let held = model.entry(entry.key.clone()).or_insert_with(|| entry.clone());
            if held.version < entry.version {
                *held = entry;
            }
        }
    }
    let tombstones = model.values().filter(|entry| entry.is_tombstone).count();
    assert!(tombstones > 20 && model.len() > 100);
    assert_eq!((index.documents(), index.tombstones()), (model.len() - tombstones, tombstones));
    let oldest: Vec<Version> =
        index.oldest_tombstones(1_000).map(|(version, _)| *version).collect();
    assert!(oldest.is_sorted() && oldest.len() == tombstones);
    let mut fresh = Index::default();
    model.values().for_each(|entry| fresh.put(entry.clone()));
    assert_eq!(fresh.sums, index.sums);
    for depth in 0..=KEPT_DEPTH + 2 {
        let mut total = Sum::default();
        let ranges: BTreeSet<Range> =
            model.keys().map(|key| Range::around(hash_of(key), depth)).collect();
        for range in ranges {
            let Sum { sum, count } = index.sum(range);
            let listed = index.list(range);
            assert_eq!(listed.len() as u64, count);
            let by_hand =
                listed.iter().fold(0, |sum: u64, it| sum.wrapping_add(sum_of(it.hash, it.version)));
            assert_eq!(by_hand, sum);
            total = Sum { sum: total.sum.wrapping_add(sum), count: total.count + count };
        }
        assert_eq!(total, index.sum(Range::ALL), "depth {depth}");
    }
}

#[test]
fn an_index_that_is_purged_is_as_new() {
    let mut index = Index::default();
    for key in 0..100 {
        index.put(entry(key, key + 1, key % 2 == 0));
    }
    for key in 0..100 {
        assert!(!index.purge(&Key::from(key), entry(key, 200, true).version));
        assert!(index.purge(&Key::from(key), entry(key, key + 1, true).version));
    }
    assert!(index.is_empty() && index.sums.is_empty() && index.tombstones.is_empty());
    assert_eq!(index.contents(Range::ALL), Contents::Listed(Vec::new()));
}

#[test]
fn a_walk_down_lists_every_entry_once() {
    let mut index = Index::default();
    (0..5_000).for_each(|key| index.put(entry(key, 7, false)));
    let (mut stack, mut listed) = (vec![Range::ALL], Vec::new());
    while let Some(range) = stack.pop() {
        match index.contents(range) {
            Contents::Listed(list) => {
                assert!(list.len() <= LISTED_MAX);
                listed.extend(list);
            }
            Contents::Children(sums) => {
                for (child, sum) in range.children().zip(sums) {
                    assert_eq!(sum == 0, index.sum(child).count == 0, "only nothing sums up to 0");
                    stack.extend((sum != 0).then_some(child));
                }
            }
        }
    }
    listed.sort_unstable();
    assert_eq!(listed, index.list(Range::ALL));
    assert_eq!(listed.len(), 5_000);
}

#[test]
fn keys_are_given_in_parts() {
    let mut index = Index::default();
    (0..100).for_each(|key| index.put(entry(key, 7, false)));
    for range in [Range::ALL, Range::around(u64::MAX, 1)] {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let part = index.keys(range, after.as_ref(), 7);
            let Some(last) = part.last() else { break };
            after = Some((hash_of(&last.key), last.key.clone()));
            keys.extend(part);
        }
        assert_eq!(keys.len() as u64, index.sum(range).count);
        assert!(keys.iter().map(|entry| hash_of(&entry.key)).is_sorted());
    }
}
