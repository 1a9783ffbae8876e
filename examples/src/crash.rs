//! A process that writes documents to a file until it is killed, and what has to be in the file
//! afterwards.
//!
//! Each lane writes batch after batch: all of its keys at once, each with a value that follows from
//! lane, key and batch. Once a batch is acknowledged, the lane says so on stdout. So of a process
//! killed at any moment, each lane's keys hold one and the same batch, whole: the last that it
//! spoke of, or the next one.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use chinwag::protocol::rng::{Rng, mix};
use chinwag::{Bytes, NodeId, Timestamp};
use chinwag_store::{Document, Key, RedbStorage, Storage as _, Version};
use futures_lite::future::block_on;

/// Writers at once, so that they share transactions.
pub const LANES: usize = 6;
const KEYS_PER_LANE: u64 = 5;
const KEYSPACE: &str = "crash";
/// A page of the file and more, so that values lie over several.
const VALUE_LEN_MAX: u32 = 6_000;

/// Writes to the file that is the one argument, until it is killed: it ends by itself only when
/// something fails, or when nobody reads what it says.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(path) = args.into_iter().nth(1).map(PathBuf::from) else {
        let _ = writeln!(io::stderr(), "usage: chinwag-store-writer FILE");
        return ExitCode::FAILURE;
    };
    let wrote =
        block_on(RedbStorage::open(path)).map_err(|error| error.to_string()).and_then(|storage| {
            thread::scope(|scope| {
                let lanes: Vec<_> = (0..LANES)
                    .map(|lane| {
                        scope.spawn({
                            let storage = &storage;
                            move || block_on(write(storage, lane))
                        })
                    })
                    .collect();
                lanes.into_iter().try_for_each(|lane| {
                    lane.join().unwrap_or_else(|_| Err("a lane panicked".to_owned()))
                })
            })
        });
    if let Err(error) = wrote {
        let _ = writeln!(io::stderr(), "chinwag-store-writer: {error}");
    }
    ExitCode::FAILURE
}

async fn write(storage: &RedbStorage, lane: usize) -> Result<(), String> {
    let mut batch = held(storage, lane).await?;
    loop {
        batch += 1;
        let documents =
            keys(lane).map(|key| (Key::from(key), document(lane, key, batch))).collect();
        storage.merge(KEYSPACE, documents).await.map_err(|error| error.to_string())?;
        // One write of one line: lines of lanes do not mix.
        writeln!(io::stdout(), "{lane} {batch}").map_err(|error| error.to_string())?;
    }
}

/// Which batch each lane holds in the file, 0 for none.
///
/// # Errors
/// When the file does not open, or something in it is torn.
pub async fn inspect(path: &Path) -> Result<[u64; LANES], String> {
    let storage = RedbStorage::open(path).await.map_err(|error| error.to_string())?;
    let mut batches = [0; LANES];
    for (lane, batch) in batches.iter_mut().enumerate() {
        *batch = held(&storage, lane).await?;
    }
    Ok(batches)
}

/// The batch that all keys of the lane hold, each with the very bytes that it has to have.
async fn held(storage: &RedbStorage, lane: usize) -> Result<u64, String> {
    let asked: Vec<Key> = keys(lane).map(Key::from).collect();
    let documents = storage.get(KEYSPACE, &asked).await.map_err(|error| error.to_string())?;
    let batch = documents[0].as_ref().map_or(0, |document| document.version.stamp.get());
    for (key, found) in keys(lane).zip(documents) {
        let expected = (batch > 0).then(|| document(lane, key, batch));
        if found != expected {
            let found = found.map(|document| document.version);
            return Err(format!(
                "torn: key {key} of lane {lane} holds {found:?}, or other bytes; the first holds \
                    {batch}"
            ));
        }
    }
    Ok(batch)
}

fn keys(lane: usize) -> impl Iterator<Item = u64> {
    // Lanes' keys lie among each other, so that they meet in pages.
    (0..KEYS_PER_LANE).map(move |at| at * LANES as u64 + lane as u64)
}

fn document(lane: usize, key: u64, batch: u64) -> Document {
    let mut chance = Rng::new(mix(batch) ^ mix(key) ^ lane as u64);
    let len = chance.below(VALUE_LEN_MAX);
    let value: Vec<u8> =
        (0..len.div_ceil(8)).flat_map(|_| chance.next_u64().to_le_bytes()).collect();
    let version = Version { stamp: Timestamp::from_raw(batch), node: NodeId::new(1) };
    Document { version, value: Some(Bytes::from(value)) }
}
