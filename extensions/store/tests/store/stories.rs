//! What a store does, story by story.

use crate::cluster::{Disk, Disks, Stores, contents, equal_within, id, quick};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use chinwag::{Bytes, Consistency};
use chinwag_sim::{check, millis, secs};
use chinwag_store::{Document, Entry, IsKept, Key, Storage, Version};

use Consistency::{All, None as Local, One, Quorum};

#[test]
fn what_is_written_is_read_everywhere() {
    check(0..5, |world| async move {
        let disks = Disks::default();
        let opened = disks.clone();
        let stores =
            Stores::start(&world, 3, move |node| Disk::new(opened.of(node.id()), node), quick)
                .await;
        let keyspaces: Vec<_> = (0..3)
            .map(|at| stores.at(at).expect("started").keyspace("k").expect("a name"))
            .collect();
        let written = keyspaces[0].put(1, "one", Quorum).await.expect("all are there");
        assert_eq!(
            (written.replicas, written.is_superseded(), written.version.node),
            (2, false, id(0))
        );
        for keyspace in &keyspaces {
            assert_eq!(keyspace.get(1, Quorum).await.expect("read").as_deref(), Some(&b"one"[..]));
        }
        let written =
            keyspaces[1].put_many([(1, "two"), (2, "three")], All).await.expect("all are there");
        assert_eq!(written.replicas, 3);
        for keyspace in &keyspaces {
            let values = keyspace.get_many([2, 1, 3], Local).await.expect("read");
            let values: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
            assert_eq!(values, [Some(&b"three"[..]), Some(b"two"), None]);
        }
        keyspaces[2].delete_many([1, 2], One).await.expect("one is there");
        assert_eq!(keyspaces[0].get(2, All).await.expect("read"), None);
        assert!(
            keyspaces[0].documents([1], All).await.expect("read")[0]
                .as_ref()
                .is_some_and(|d| d.is_tombstone())
        );
        equal_within(&world, &disks, &[0, 1, 2], secs(10)).await;
    });
}

/// Nobody waits, and everybody gets it.
#[test]
fn writes_spread_in_the_background() {
    check(0..5, |world| async move {
        let disks = Disks::default();
        let opened = disks.clone();
        let stores =
            Stores::start(&world, 3, move |node| Disk::new(opened.of(node.id()), node), quick)
                .await;
        let store = stores.at(0).expect("started");
        let keyspace = store.keyspace("k").expect("a name");
        for key in 0..100_u64 {
            keyspace.put(key, "x", Local).await.expect("local");
        }
        world.run_for(millis(200)).await;
        for at in 0..3 {
            assert_eq!(contents(&disks.of(id(at))).len(), 100);
        }
        assert!(store.stats().spread >= 200 && store.stats().written == 100, "{:?}", store.stats());
    });
}

#[test]
fn a_failed_write_says_what_is_left_of_it() {
    check(0..5, |world| async move {
        let disks = Disks::default();
        let opened = disks.clone();
        let stores =
            Stores::start(&world, 3, move |node| Disk::new(opened.of(node.id()), node), quick)
                .await;
        let keyspace = stores.at(0).expect("started").keyspace("k").expect("a name");
        let three =
            keyspace.put(1, "x", Consistency::Three).await.expect_err("there are two others");
        assert_eq!(three.is_kept(), IsKept::No, "{three}");
        assert_eq!(keyspace.get(1, All).await.expect("read"), None);
        // Cut off, and not yet known to be.
        world.now_goes_wrong().lasting(secs(30)).partition([0], [1, 2]);
        world.run_for(millis(10)).await;
        let cut = keyspace.put(1, "kept", Quorum).await.expect_err("cut off");
        assert_eq!(cut.is_kept(), IsKept::Yes, "{cut}");
        let text = cut.to_string();
        assert!(text.contains("1 of 2 replicas answered"), "{text}");
        assert_eq!(keyspace.get(1, Local).await.expect("read").as_deref(), Some(&b"kept"[..]));
        world.run_for(secs(30)).await;
        world.calm().converges_within(secs(60)).await;
        let held = equal_within(&world, &disks, &[0, 1, 2], secs(30)).await;
        assert_eq!(held.len(), 1, "it has spread: {held:?}");
    });
}

/// A replica that was away with an old document does not bring it back, and the tombstone is kept
/// for as long as that takes.
#[test]
fn a_deleted_key_stays_deleted_when_one_comes_back() {
    check(0..10, |world| async move {
        let disks = Disks::default();
        let opened = disks.clone();
        let stores =
            Stores::start(&world, 3, move |node| Disk::new(opened.of(node.id()), node), quick)
                .await;
        let keyspace = stores.at(0).expect("started").keyspace("k").expect("a name");
        keyspace.put(1, "old", All).await.expect("all are there");
        world.now_goes_wrong().lasting(secs(40)).crash(2);
        world.run_for(secs(20)).await;
        keyspace.delete(1, All).await.expect("of those that are left");
        world.run_for(secs(15)).await;
        assert_eq!(contents(&disks.of(id(0))).len(), 1, "the tombstone waits");
        assert!(stores.at(0).expect("started").stats().purges_failed > 0);
        world.calm().converges_within(secs(60)).await;
        let until = world.now() + secs(60);
        while (0..3).any(|at| !contents(&disks.of(id(at))).is_empty()) {
            assert!(
                world.now() < until,
                "purged in the end: {:?}",
                stores.at(0).expect("started").stats()
            );
            world.run_for(millis(500)).await;
        }
        for at in 0..3 {
            let store = stores.at(at).expect("started");
            let keyspace = store.keyspace("k").expect("a name");
            assert_eq!(keyspace.get(1, Quorum).await.expect("read"), None);
            assert_eq!(store.stats().dropped, 0);
        }
        // What is written now is newer than what was forgotten.
        keyspace.put(1, "new", Quorum).await.expect("all are there");
        let held = equal_within(&world, &disks, &[0, 1, 2], secs(10)).await;
        assert_eq!(held.len(), 1);
    });
}

/// With a short `forget_after`: who comes back is cleansed of what was purged without it, keeps
/// what is newer, and says how much it dropped.
#[test]
fn a_forgotten_replica_is_cleansed() {
    check(0..10, |world| async move {
        let disks = Disks::default();
        let opened = disks.clone();
        let stores = Stores::start(
            &world,
            3,
            move |node| Disk::new(opened.of(node.id()), node),
            |extension| quick(extension).forget_after(secs(5)),
        )
        .await;
        let keyspace = stores.at(0).expect("started").keyspace("k").expect("a name");
        keyspace.put_many([(1, "deleted"), (2, "stays")], All).await.expect("all are there");
        world.now_goes_wrong().lasting(secs(60)).partition([0, 1], [2]);
        world.run_for(secs(20)).await;
        let away = stores.at(2).expect("started").keyspace("k").expect("a name");
        away.put(3, "before the delete", Local).await.expect("local");
        world.run_for(secs(1)).await;
        keyspace.delete(1, All).await.expect("of those that are left");
        world.run_for(secs(25)).await;
        assert_eq!(contents(&disks.of(id(0))).len(), 1, "purged without the one that is away");
        away.put(4, "after it", Local).await.expect("local");
        world.run_for(secs(20)).await;
        world.calm().converges_within(secs(60)).await;
        let held = equal_within(&world, &disks, &[0, 1, 2], secs(60)).await;
        let keys: Vec<_> = held.keys().map(|(_, key)| key.as_u64().expect("a number")).collect();
        assert_eq!(keys, [2, 4], "{held:?}");
        let stats = stores.at(2).expect("started").stats();
        assert_eq!(stats.dropped, 2, "{stats:?}");
        // And it is a replica as all others from then on.
        away.delete(2, All).await.expect("all are there");
        equal_within(&world, &disks, &[0, 1, 2], secs(10)).await;
    });
}

/// A clock that is set back over a restart hides no write.
#[test]
fn a_clock_that_was_set_back_loses_no_write() {
    check(0..5, |world| async move {
        let disks = Disks::default();
        let opened = disks.clone();
        let stores =
            Stores::start(&world, 3, move |node| Disk::new(opened.of(node.id()), node), quick)
                .await;
        let keyspace = stores.at(2).expect("started").keyspace("k").expect("a name");
        let first = keyspace.put(1, "first", All).await.expect("all are there");
        world.now_goes_wrong().clock(2, chinwag_sim::step_back(secs(3_600)));
        world.now_goes_wrong().lasting(secs(2)).crash(2);
        world.run_for(secs(15)).await;
        let keyspace = stores.at(2).expect("again").keyspace("k").expect("a name");
        let second = keyspace.put(1, "second", Quorum).await.expect("all are there");
        assert!(second.version > first.version && !second.is_superseded());
        let other = stores.at(0).expect("started").keyspace("k").expect("a name");
        assert_eq!(other.get(1, All).await.expect("read").as_deref(), Some(&b"second"[..]));
    });
}

/// A disk that fails while it is told to: before or after it has done what it was asked.
#[derive(Clone)]
struct Failing {
    below: chinwag_store::MemoryStorage,
    fails: Arc<AtomicU8>,
}

const BEFORE: u8 = 1;
const AFTER: u8 = 2;

impl Failing {
    async fn around<T>(
        &self,
        work: impl Future<Output = Result<T, Infallible>>,
    ) -> Result<T, std::io::Error> {
        let fails = self.fails.load(Relaxed);
        if fails == BEFORE {
            return Err(std::io::Error::other("before"));
        }
        let Ok(done) = work.await;
        if fails == AFTER { Err(std::io::Error::other("after")) } else { Ok(done) }
    }
}

impl Storage for Failing {
    type Error = std::io::Error;

    async fn keyspaces(&self) -> Result<Vec<String>, Self::Error> {
        self.around(self.below.keyspaces()).await
    }

    async fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, Self::Error> {
        self.around(self.below.scan(keyspace, after, max)).await
    }

    async fn get(
        &self,
        keyspace: &str,
        keys: &[Key],
    ) -> Result<Vec<Option<Document>>, Self::Error> {
        self.around(self.below.get(keyspace, keys)).await
    }

    async fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), Self::Error> {
        self.around(self.below.merge(keyspace, documents)).await
    }

    async fn purge(&self, keyspace: &str, entries: &[(Key, Version)]) -> Result<(), Self::Error> {
        self.around(self.below.purge(keyspace, entries)).await
    }

    async fn load_mark(&self, name: &str) -> Result<Option<Bytes>, Self::Error> {
        self.around(self.below.load_mark(name)).await
    }

    async fn save_mark(&self, name: &str, mark: Bytes) -> Result<(), Self::Error> {
        self.around(self.below.save_mark(name, mark)).await
    }
}

/// After an error it is not known what the disk has done: the store says so, and looks before it
/// goes on (docs/store.md §1.3).
#[test]
fn a_disk_that_fails_is_believed_nothing() {
    for fault in [BEFORE, AFTER] {
        check(0..3, |world| async move {
            let fails = Arc::new(AtomicU8::new(0));
            let disks = Disks::default();
            let (opened, told) = (disks.clone(), fails.clone());
            let open = move |node: &chinwag::Node| Failing {
                below: opened.of(node.id()),
                fails: if node.id() == id(0) { told.clone() } else { Arc::default() },
            };
            let stores = Stores::start(&world, 3, open, quick).await;
            let store = stores.at(0).expect("started");
            let keyspace = store.keyspace("k").expect("a name");
            keyspace.put(1, "first", All).await.expect("all are there");
            fails.store(fault, Relaxed);
            let failed = keyspace.put(1, "second", All).await.expect_err("the disk fails");
            assert_eq!(failed.is_kept(), IsKept::Maybe, "{failed}");
            let other = stores.at(1).expect("started").keyspace("k").expect("a name");
            let refused = other.put(2, "x", All).await.expect_err("one has not kept it");
            assert_eq!(refused.is_kept(), IsKept::Yes, "{refused}");
            assert!(refused.to_string().contains("2 of 3 replicas answered"), "{refused}");
            fails.store(0, Relaxed);
            let third = keyspace.put(1, "third", All).await.expect("the disk is well");
            assert!(!third.is_superseded());
            let held = equal_within(&world, &disks, &[0, 1, 2], secs(20)).await;
            assert_eq!(held.len(), 2);
            assert!(held.values().any(|document| document.version == third.version));
            assert!(store.stats().storage_errors > 0);
            let digests: Vec<_> =
                (0..3).map(|at| stores.at(at).expect("started").digests()).collect();
            assert!(digests[0] == digests[1] && digests[1] == digests[2], "{digests:?}");
        });
    }
}
