//! Histories whose verdict is known.

use super::KeyValueOp::{Delete, Get, Put};
use super::RegisterOp::{CompareAndSet, Read, Write};
use super::{History, KeyValue, Register};

#[test]
fn one_after_the_other_means_what_it_says() {
    let history = History::<Register>::default();
    history.begin(Read).ok(None);
    history.begin(Write(1)).ok(None);
    history.begin(Read).ok(Some(1));
    history.begin(CompareAndSet(2, 3)).ok(Some(1));
    history.begin(CompareAndSet(1, 3)).ok(Some(1));
    history.begin(Read).ok(Some(3));
    assert_eq!(history.check(), Ok(()));
    history.begin(Read).ok(Some(1));
    let wrong = history.check().expect_err("a stale read");
    assert_eq!((wrong.explained, wrong.operations.len()), (6, 7));
}

#[test]
fn what_overlaps_may_come_in_any_order_and_what_does_not_may_not() {
    for (read, is_right) in [(None, true), (Some(1), true), (Some(2), false)] {
        let history = History::<Register>::default();
        let (write, reading) = (history.begin(Write(1)), history.begin(Read));
        reading.ok(read);
        write.ok(None);
        assert_eq!(history.check().is_ok(), is_right, "{read:?}");
    }
    // Two reads, one after the other, may not see the new value and then the old one.
    let history = History::<Register>::default();
    history.begin(Write(0)).ok(None);
    let write = history.begin(Write(1));
    history.begin(Read).ok(Some(1));
    history.begin(Read).ok(Some(0));
    write.ok(None);
    assert!(history.check().is_err());
}

#[test]
fn what_is_unknown_may_happen_late_or_never_and_what_failed_never() {
    let history = History::<Register>::default();
    history.begin(Write(1)).unknown();
    history.begin(Read).ok(None);
    history.begin(Read).ok(Some(1));
    assert_eq!(history.check(), Ok(()), "late");
    history.begin(Read).ok(None);
    assert!(history.check().is_err(), "it is not undone");
    let history = History::<Register>::default();
    history.begin(Write(1)).fail();
    history.begin(Read).ok(Some(1));
    assert!(history.check().is_err());
}

#[test]
fn keys_are_searched_one_by_one() {
    let history = History::<KeyValue>::default();
    for key in 0..200 {
        let key = format!("key {}", key % 20);
        let overlapping: Vec<_> =
            (0..8).map(|value| history.begin(Put(key.clone(), value.to_string()))).collect();
        drop(overlapping);
        history.begin(Put(key.clone(), "last".into())).unknown();
        history.begin(Get(key)).ok(None);
    }
    assert_eq!(history.check(), Ok(()), "1,800 operations that may never happen");
    history.begin(Put("a".into(), "1".into())).ok(None);
    history.begin(Delete("a".into())).ok(Some("1".into()));
    history.begin(Get("a".into())).ok(Some("1".into()));
    assert_eq!(history.check().expect_err("deleted").operations.len(), 3, "of its key alone");
}

#[test]
fn many_at_once_are_searched_without_trying_every_order() {
    let history = History::<Register>::default();
    let writes: Vec<_> = (0..12).map(|value| history.begin(Write(value))).collect();
    writes.into_iter().for_each(|write| write.ok(None));
    history.begin(Read).ok(Some(99));
    assert!(history.check().is_err(), "nobody wrote 99: all 2^12 sets are tried, not 12! orders");
}
