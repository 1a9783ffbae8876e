//! Writes to a replicated store on three nodes in one process, over loopback, each acknowledged by
//! all three replicas.
//!
//! Documents have 64 bytes. Each contender is written to in three ways: in batches, by many writers
//! at once, and by one that waits for each. What was acknowledged is counted on every replica
//! afterwards, so a contender that acknowledges what it has not got fails instead of winning.

mod contenders;
#[cfg(feature = "peers")]
mod datacake;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use contenders::{Durable, Memory};

use crate::table::{Better, Role, Table};

/// Bytes of a document.
const VALUE: [u8; 64] = *b"a small document of sixty-four bytes, as a counter or a session ";
/// Documents of a batch.
const BATCH: u64 = 1_000;
/// Writers of the second way.
const WRITERS: u64 = 64;
/// Replicas are looked at again so soon, until they have everything or [`PATIENCE`] is over.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(30);

type Fault = Box<dyn Error + Send + Sync>;

/// How much is measured.
pub struct Plan {
    /// Rounds of every cell; the median counts.
    pub rounds: usize,
    /// A tenth of the documents.
    pub is_quick: bool,
}

/// Three replicas, written to through the first.
trait Replicas: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    /// Whether a write waits for a disk: then fewer of them are made one by one.
    const IS_DURABLE: bool;

    fn start() -> impl Future<Output = Result<Self, Fault>> + Send;
    /// Puts these keys in one call, at `All`.
    fn put_many(
        &self,
        keys: std::ops::Range<u64>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Puts one key, at `All`.
    fn put(&self, key: u64) -> impl Future<Output = Result<(), Fault>> + Send;
    /// How many of the keys below `keys` the replica with the fewest holds by itself.
    fn held(&self, keys: u64) -> impl Future<Output = Result<u64, Fault>> + Send;
    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// One way to write so many documents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Batches,
    Writers,
    OneByOne,
}

impl Way {
    const EVERY: [Self; 3] = [Self::Batches, Self::Writers, Self::OneByOne];

    fn documents(self, is_durable: bool, is_quick: bool) -> u64 {
        let documents = match (self, is_durable) {
            (Self::Batches | Self::Writers, _) => 10_000,
            (Self::OneByOne, false) => 2_000,
            (Self::OneByOne, true) => 200,
        };
        if is_quick { documents / 10 } else { documents }
    }

    /// What its column is called.
    fn name(self) -> String {
        match self {
            Self::Batches => format!("in batches of {BATCH}"),
            Self::Writers => format!("by {WRITERS} writers"),
            Self::OneByOne => "one by one".into(),
        }
    }
}

/// What one contender did, by way: the rate of each round, in documents a second.
struct Cells {
    role: Role,
    name: &'static str,
    rates: [Vec<f64>; 3],
}

const ABOUT: &str = "Documents of 64 bytes a second that three replicas on loopback, in one \
    process, have all acknowledged (`All`): 10,000 in batches of 1,000, 10,000 by 64 writers at \
    once, 2,000 by one writer that waits for each (200 where each waits for a disk). What was \
    acknowledged is counted on every replica afterwards. The durable row writes to three files on \
    one disk and syncs them; datacake's store has no durable storage of its own.";

/// Measures.
///
/// # Errors
/// When a contender fails, or has less than it acknowledged.
pub fn run(plan: &Plan) -> Result<Table, Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cells = runtime.block_on(measure(plan))?;
    let mut table =
        Table::new("store-puts", "Puts on three replicas", "documents a second", Better::Higher)
            .about(ABOUT)
            .base(Memory::NAME);
    for Cells { role, name, rates } in cells {
        for (way, rates) in Way::EVERY.into_iter().zip(rates) {
            table.add(role, name, &way.name(), rates);
        }
    }
    Ok(table)
}

async fn measure(plan: &Plan) -> Result<Vec<Cells>, Fault> {
    let mut cells = vec![Cells::of::<Memory>(Role::Main), Cells::of::<Durable>(Role::Chinwag)];
    #[cfg(feature = "peers")]
    cells.push(Cells::of::<datacake::Datacake>(Role::Peer));
    // In turns, so that a machine that slows down slows all of them down.
    for _ in 0..plan.rounds {
        cells[0].round::<Memory>(plan).await?;
        cells[1].round::<Durable>(plan).await?;
        #[cfg(feature = "peers")]
        cells[2].round::<datacake::Datacake>(plan).await?;
    }
    Ok(cells)
}

impl Cells {
    fn of<R: Replicas>(role: Role) -> Self {
        Self { role, name: R::NAME, rates: [const { Vec::new() }; 3] }
    }

    async fn round<R: Replicas>(&mut self, plan: &Plan) -> Result<(), Fault> {
        let replicas = Arc::new(R::start().await?);
        // Connections are made and code is warm.
        replicas.put_many(0..BATCH).await?;
        let mut next = BATCH;
        for (way, rates) in Way::EVERY.into_iter().zip(&mut self.rates) {
            let documents = way.documents(R::IS_DURABLE, plan.is_quick);
            let begun = Instant::now();
            write(&replicas, way, next..next + documents).await?;
            rates.push(documents as f64 / begun.elapsed().as_secs_f64());
            next += documents;
        }
        let begun = Instant::now();
        while replicas.held(next).await? < next {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{}: a replica lacks what it acknowledged", R::NAME).into());
            }
            sleep(LOOK_EVERY).await;
        }
        Arc::into_inner(replicas).ok_or("a writer is left")?.stop().await;
        Ok(())
    }
}

async fn write<R: Replicas>(
    replicas: &Arc<R>,
    way: Way,
    keys: std::ops::Range<u64>,
) -> Result<(), Fault> {
    match way {
        Way::Batches => {
            let mut first = keys.start;
            while first < keys.end {
                let end = keys.end.min(first + BATCH);
                replicas.put_many(first..end).await?;
                first = end;
            }
        }
        Way::Writers => {
            let next = Arc::new(AtomicU64::new(keys.start));
            let mut writers = JoinSet::new();
            for _ in 0..WRITERS {
                let (replicas, next, end) = (replicas.clone(), next.clone(), keys.end);
                writers.spawn(async move {
                    loop {
                        let key = next.fetch_add(1, Ordering::Relaxed);
                        if key >= end {
                            return Ok(());
                        }
                        replicas.put(key).await?;
                    }
                });
            }
            while let Some(written) = writers.join_next().await {
                let written: Result<(), Fault> = written?;
                written?;
            }
        }
        Way::OneByOne => {
            for key in keys {
                replicas.put(key).await?;
            }
        }
    }
    Ok(())
}
