//! The suite, files that are not what they should be, and disks that fail at any operation.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;

use futures_lite::future::{block_on, poll_fn, poll_once};
use redb::backends::InMemoryBackend;
use redb::{StorageBackend, TableDefinition};
use tempfile::TempDir;

use super::*;
use crate::suite;

const CACHE: usize = 1 << 20;

struct Files(TempDir);

impl suite::Factory for Files {
    type Storage = RedbStorage;

    async fn open(&mut self, name: &str) -> RedbStorage {
        RedbStorage::open(self.0.path().join(name)).await.expect("it opens")
    }
}

#[test]
fn it_passes_the_suite() {
    block_on(suite::run(&mut Files(directory())));
}

#[test]
fn a_file_belongs_to_one_storage_at_a_time() {
    let directory = directory();
    let path = directory.path().join("store");
    let first = block_on(RedbStorage::open(&path)).expect("a new file");
    assert_eq!(first.path(), path);
    let second = block_on(RedbStorage::open(&path)).expect_err("it is open");
    assert!(matches!(second, RedbError::InUse), "{second:?}");
    drop(first);
    block_on(RedbStorage::open(&path)).expect("closed when its storage is dropped");
    assert_eq!(
        fs::read_dir(directory.path()).expect("listed").count(),
        1,
        "nothing else is left there"
    );
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let directory = directory();
    let path = directory.path().join("file");
    for text in ["not a database".repeat(1_000), "x".to_owned()] {
        fs::write(&path, &text).expect("written");
        let error = block_on(RedbStorage::open(&path)).expect_err("no database");
        assert!(matches!(error, RedbError::NotAStore), "{error:?}");
        assert_eq!(fs::read_to_string(&path).expect("read"), text);
    }
    fs::remove_file(&path).expect("removed");

    let others: TableDefinition<'_, u64, u64> = TableDefinition::new("others");
    let database = Database::create(&path).expect("a database of another program");
    let writes = database.begin_write().expect("begun");
    writes.open_table(others).expect("opened").insert(1, 2).expect("inserted");
    writes.commit().expect("committed");
    drop(database);
    let error = block_on(RedbStorage::open(&path)).expect_err("another program's");
    assert!(matches!(error, RedbError::NotAStore), "{error:?}");
    let database = Database::open(&path).expect("still that of the other program");
    let reads = redb::ReadableDatabase::begin_read(&database).expect("begun");
    assert_eq!(reads.list_tables().expect("listed").count(), 1);

    let missing = block_on(RedbStorage::open(directory.path().join("none").join("file")))
        .expect_err("no directory");
    assert!(
        matches!(&missing, RedbError::Io(error) if error.kind() == io::ErrorKind::NotFound),
        "{missing:?}"
    );
}

#[test]
fn a_later_format_is_refused_by_its_number() {
    let directory = directory();
    let path = directory.path().join("file");
    drop(block_on(RedbStorage::open(&path)).expect("a new file"));
    let database = Database::open(&path).expect("a database");
    let writes = database.begin_write().expect("begun");
    let head: TableDefinition<'_, &str, u64> = TableDefinition::new("chinwag-store");
    writes.open_table(head).expect("opened").insert("format", 7).expect("inserted");
    writes.commit().expect("committed");
    drop(database);
    let error = block_on(RedbStorage::open(&path)).expect_err("a later one");
    assert!(matches!(error, RedbError::Format { found: 7, known: layout::FORMAT }), "{error:?}");
    assert_eq!(error.to_string(), "the file has format 7, and this program knows format 1");
}

/// One bit in a hundred places, and a hundred lengths: each file opens with all that was in it, or
/// says what is wrong.
#[test]
fn a_damaged_file_is_an_error_and_never_a_panic_or_another_answer() {
    let directory = directory();
    let path = directory.path().join("file");
    let storage = block_on(RedbStorage::open(&path)).expect("a new file");
    let all: Vec<_> = (0..60_u64)
        .map(|key| (Key::from(key), document(key + 1, &key.to_le_bytes().repeat(90))))
        .collect();
    block_on(storage.merge("k", all.clone())).expect("merged");
    drop(storage);
    let whole = fs::read(&path).expect("read");
    let mut chance = chance();
    let (mut refused, mut unhurt) = (0, 0);
    for case in 0..200 {
        let mut bytes = whole.clone();
        let at = usize::try_from(chance() % whole.len() as u64).expect("a length");
        // Half of the bits within the first pages, where the header is.
        let at = if case % 4 == 0 { at % 4_096 } else { at };
        if case % 2 == 0 {
            bytes[at] ^= 1 << (case / 2 % 8);
        } else {
            bytes.truncate(at);
        }
        fs::write(&path, &bytes).expect("written");
        match block_on(RedbStorage::open_with(&path, CACHE)) {
            Ok(storage) if bytes.is_empty() => drop(storage),
            Ok(storage) => {
                let keys: Vec<Key> = all.iter().map(|(key, _)| key.clone()).collect();
                let read = block_on(storage.get("k", &keys)).expect("what opens can be read");
                let expected: Vec<_> =
                    all.iter().map(|(_, document)| Some(document.clone())).collect();
                assert_eq!(read, expected, "case {case}");
                unhurt += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 50 && unhurt > 0, "{refused} refused, {unhurt} unhurt");
}

/// A disk in memory that outlives its storage, and fails when it is told to.
#[derive(Clone, Debug)]
struct Disk(Arc<DiskState>);

#[derive(Debug)]
struct DiskState {
    bytes: InMemoryBackend,
    /// Bytes there is room for.
    room: AtomicU64,
    /// Changes that still go well.
    good: AtomicU64,
    syncs: AtomicU64,
    /// Held by a test that keeps the disk busy.
    busy: Mutex<()>,
}

impl Disk {
    fn new() -> Self {
        let (room, good) = (AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX));
        let (syncs, busy) = (AtomicU64::new(0), Mutex::new(()));
        Self(Arc::new(DiskState { bytes: InMemoryBackend::new(), room, good, syncs, busy }))
    }

    fn open(&self) -> Result<RedbStorage, RedbError> {
        RedbStorage::start(builder(CACHE).create_with_backend(self.clone()), PathBuf::new())
    }

    fn change(&self) -> io::Result<()> {
        let took = self
            .0
            .good
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |good| good.checked_sub(1));
        if took.is_err() { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }

    /// From now on everything is well.
    fn heal(&self) {
        self.0.good.store(u64::MAX, Ordering::SeqCst);
        self.0.room.store(u64::MAX, Ordering::SeqCst);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.0.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?;
        if len > self.0.room.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change()?;
        drop(self.0.busy.lock().expect("no test panics with it"));
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change()?;
        self.0.bytes.write(offset, data)
    }
}

#[test]
fn a_full_disk_is_an_error_and_all_that_was_acknowledged_is_there_afterwards() {
    let disk = Disk::new();
    let storage = disk.open().expect("a new disk");
    disk.0.room.store(4 << 20, Ordering::SeqCst);
    let value = vec![7; 100_000];
    let mut acknowledged = 0_u64;
    let error = loop {
        match block_on(storage.merge("k", vec![(Key::from(acknowledged), document(1, &value))])) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the disk gets full");
    };
    assert!(
        matches!(&error, RedbError::Io(error) if error.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert!(acknowledged > 5, "{acknowledged}");
    let after =
        block_on(storage.merge("k", vec![(Key::from(0), document(2, b""))])).expect_err("still");
    assert!(matches!(after, RedbError::Failed), "{after:?}");
    drop(storage);

    disk.heal();
    let storage = disk.open().expect("there is room again");
    let entries = block_on(storage.scan("k", None, 1_000)).expect("read");
    assert!(entries.len() as u64 >= acknowledged, "{} of {acknowledged}", entries.len());
    block_on(storage.merge("k", vec![(Key::from(0), document(2, b""))])).expect("well again");
}

/// Ten batches of five, each over all five keys, on a disk that is gone after any number of
/// changes: the batches that were acknowledged are there afterwards, and no batch in part.
#[test]
fn a_disk_that_goes_away_at_any_moment_loses_nothing_acknowledged_and_tears_nothing() {
    let keys: Vec<Key> = (0..5_u64).map(Key::from).collect();
    let mut was_cut = 0;
    for good in 0.. {
        // The file is there: it gets its name only once it is whole.
        let disk = Disk::new();
        drop(disk.open().expect("a new disk"));
        disk.0.good.store(good, Ordering::SeqCst);
        let mut acknowledged = 0;
        let mut attempted = 0;
        if let Ok(storage) = disk.open() {
            for batch in 1..=10_u64 {
                attempted = batch;
                let documents =
                    keys.iter().map(|key| (key.clone(), document(batch, &batch.to_le_bytes())));
                if block_on(storage.merge("k", documents.collect())).is_err() {
                    was_cut += 1;
                    break;
                }
                acknowledged = batch;
            }
        }
        disk.heal();
        let storage = disk.open().unwrap_or_else(|error| panic!("after {good} changes: {error}"));
        let read = block_on(storage.get("k", &keys)).expect("read");
        let stamps: Vec<u64> = read
            .iter()
            .map(|document| document.as_ref().map_or(0, |document| document.version.stamp.get()))
            .collect();
        assert!(
            stamps.windows(2).all(|pair| pair[0] == pair[1]),
            "torn after {good} changes: {stamps:?}"
        );
        assert!(
            (acknowledged..=attempted).contains(&stamps[0]),
            "{acknowledged} acknowledged, {stamps:?}"
        );
        if acknowledged == 10 {
            break;
        }
    }
    assert!(was_cut > 20, "cut in {was_cut} places");
}

/// What waits while the disk is busy shares a transaction.
#[test]
fn many_writers_share_syncs() {
    let disk = Disk::new();
    let storage = disk.open().expect("a new disk");
    let before = disk.0.syncs.load(Ordering::SeqCst);
    block_on(storage.merge("k", vec![(Key::from(1_000), document(1, b"alone"))])).expect("merged");
    let alone = disk.0.syncs.load(Ordering::SeqCst) - before;
    assert!(alone >= 1, "a write is synced before it is acknowledged");
    let before = disk.0.syncs.load(Ordering::SeqCst);
    let busy = disk.0.busy.lock().expect("no test panics with it");
    let merges = (0..200_u64)
        .map(|key| storage.merge("k", vec![(Key::from(key), document(1, b"together"))]));
    let mut merges = Box::pin(all(merges.collect()));
    assert!(block_on(poll_once(&mut merges)).is_none(), "acknowledged before it is synced");
    drop(busy);
    for merged in block_on(merges) {
        merged.expect("merged");
    }
    let together = disk.0.syncs.load(Ordering::SeqCst) - before;
    assert!(together <= 3 * alone, "{together} syncs for 200 writes, {alone} for one");
    assert_eq!(block_on(storage.scan("k", None, 1_000)).expect("read").len(), 201);
}

/// As many futures at once.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().map(|output| output.expect("all are ready")).collect()
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room for files")
}

fn document(stamp: u64, value: &[u8]) -> Document {
    let version = Version { stamp: chinwag::Timestamp::from_raw(stamp), node: 1.into() };
    Document { version, value: Some(Bytes::copy_from_slice(value)) }
}

/// Numbers without a pattern, the same in every run.
fn chance() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
