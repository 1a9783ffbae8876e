//! [`Replica`]: what one node holds, and the rules by which it takes in, gives out and forgets.

mod gate;
mod hearing;
mod taking;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chinwag::protocol::time::Instant;
use chinwag::{Bytes, Clock, Node, NodeId, Status, WeakNode};

use crate::any_storage::{AnyStorage, StorageError};
use crate::claims::Bounds;
use crate::config::Config;
use crate::document::{Document, Entry};
use crate::index::{Contents, Index};
use crate::key::Key;
use crate::limits::{BATCH_LEN_MAX, BATCH_MAX, KEYSPACES_MAX};
use crate::peers;
use crate::range::{Range, hash_of};
use crate::roster::{self, Roster};
use crate::shelf::Shelf;
use crate::stats::Counters;
use crate::votes::Votes;
use crate::wire::{Origin, OriginClaim, Ticket, Turn};

use gate::Gate;
pub(crate) use hearing::Voters;
pub(crate) use taking::Written;

/// One replica. Tasks and handlers share it; it does not keep its node alive.
pub(crate) struct Replica {
    pub(crate) me: NodeId,
    pub(crate) counters: Counters,
    node: WeakNode,
    clock: Clock,
    storage: Arc<dyn AnyStorage>,
    shelves: Mutex<BTreeMap<String, Shelf>>,
    /// Held for reading while documents are taken in, and for writing while some are forgotten:
    /// what is being taken in is in the storage before a purge, or meets its turns.
    gate: tokio::sync::RwLock<Gate>,
    /// How often the gate was held for a purge: read without it.
    purges: AtomicU64,
    /// What is stored of it, or will be before anybody relies on more.
    roster: Mutex<Arc<Roster>>,
    /// Held while the roster is changed and saved.
    saving: tokio::sync::Mutex<()>,
    turns: AtomicU64,
    config: Config,
    /// What the other replicas have said last.
    votes: Mutex<Votes>,
    /// Nodes of the roster that are no live replicas, and since when, as far as this run of this
    /// node has seen.
    away: Mutex<BTreeMap<NodeId, Instant>>,
}

/// Documents read at once where their lengths are not known: 16 MiB at worst.
const READ_MAX: usize = 16;

/// Why a replica could not do its part.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Storage(StorageError),
    /// The node has ended.
    Closed,
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let what = match failure {
            Failure::Storage(error) => error.to_string(),
            Failure::Closed => "the node has ended".to_owned(),
        };
        Self::new(chinwag::Code::AppError, what)
    }
}

impl Replica {
    /// The replica of `node` with what `storage` holds.
    pub(crate) async fn open(
        node: &Node,
        storage: Arc<dyn AnyStorage>,
        config: Config,
    ) -> Result<Self, OpenError> {
        let roster = match storage.load_mark(roster::MARK).await.map_err(OpenError::Storage)? {
            Some(mark) => Roster::from_mark(mark).ok_or(OpenError::Mark)?,
            None => Roster::default(),
        };
        let replica = Self {
            me: node.id(),
            counters: Counters::default(),
            node: node.downgrade(),
            clock: node.clock(),
            storage,
            shelves: Mutex::default(),
            gate: tokio::sync::RwLock::new(Gate::default()),
            purges: AtomicU64::new(0),
            roster: Mutex::new(Arc::new(roster)),
            saving: tokio::sync::Mutex::new(()),
            turns: AtomicU64::new(0),
            config,
            votes: Mutex::default(),
            away: Mutex::default(),
        };
        for keyspace in replica.storage.keyspaces().await.map_err(OpenError::Storage)? {
            let index = replica.read_index(&keyspace).await.map_err(OpenError::Storage)?;
            lock(&replica.shelves).insert(keyspace, Shelf::of(index));
        }
        Ok(replica)
    }

    /// The node, unless it has ended.
    pub(crate) fn node(&self) -> Result<Node, Failure> {
        self.node.upgrade().ok_or(Failure::Closed)
    }

    /// What a message says of this replica. Taken before what is in the message is read, or its
    /// versions chosen (docs/store.md §5.2). `ticket` is the receiver's, if it has given one.
    pub(crate) fn origin(&self, ticket: Option<Ticket>) -> Result<OriginClaim, Failure> {
        let (turn, cleansed) = (self.turn()?, self.roster().cleansed);
        Ok(Origin { turn, cleansed, ticket: ticket.unwrap_or_default() }.into())
    }

    /// The next turn of this replica.
    pub(crate) fn turn(&self) -> Result<Turn, Failure> {
        let epoch = self.node()?.epoch().get();
        Ok(Turn { epoch, count: self.turns.fetch_add(1, Ordering::Relaxed) + 1 })
    }

    /// What this replica's wall clock allows peers to say.
    pub(crate) fn bounds(&self) -> Result<Bounds, Failure> {
        Ok(Bounds::at(self.node()?.now().wall))
    }

    // ---- the roster ----

    pub(crate) fn roster(&self) -> Arc<Roster> {
        lock(&self.roster).clone()
    }

    /// Changes the roster, and is ready when the change is durable.
    pub(crate) async fn amend<T>(
        &self,
        change: impl FnOnce(&mut Roster) -> T + Send,
    ) -> Result<T, StorageError> {
        let _saving = self.saving.lock().await;
        let before = self.roster();
        let mut roster = Roster::clone(&before);
        let result = change(&mut roster);
        if roster != *before {
            // Given up in between, the storage has more than this replica knows of: more than it
            // has promised.
            self.counted(self.storage.save_mark(roster::MARK, roster.to_mark()).await)?;
            *lock(&self.roster) = Arc::new(roster);
        }
        Ok(result)
    }

    /// Makes sure that `node` is in the roster, before it is given documents (docs/store.md §1.4).
    /// `false`: there is no room.
    pub(crate) async fn meet(&self, node: NodeId) -> Result<bool, StorageError> {
        if node == self.me || self.roster().members.contains_key(&node) {
            return Ok(true);
        }
        self.amend(|roster| roster.add(node, |node| self.is_live(node))).await
    }

    pub(crate) fn is_live(&self, node: NodeId) -> bool {
        node == self.me
            || self.node.upgrade().is_some_and(|view| view.members().get(node).is_some())
    }

    /// The other live replicas.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        self.node.upgrade().map_or_else(Vec::new, |node| peers::replicas(&node))
    }

    // ---- giving out ----

    /// The documents of `keys`, in that order.
    pub(crate) async fn get(
        &self,
        keyspace: &str,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Document>>, StorageError> {
        self.counted(self.storage.get(keyspace.to_owned(), keys).await)
    }

    /// The first `max` entries after `after`, in the order of their keys.
    pub(crate) async fn scan(
        &self,
        keyspace: &str,
        after: Option<Key>,
        max: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        self.counted(self.storage.scan(keyspace.to_owned(), after, max).await)
    }

    /// The documents of the first of `keys`, as many as fit into a message, and at least one: few
    /// are in memory at once, however long they are.
    pub(crate) async fn get_some(
        &self,
        keyspace: &str,
        keys: &[Key],
    ) -> Result<Vec<(Key, Option<Document>)>, StorageError> {
        let (mut got, mut len) = (Vec::new(), 0);
        for part in keys.chunks(READ_MAX) {
            let documents = self.get(keyspace, part.to_vec()).await?;
            for (key, document) in part.iter().zip(documents) {
                if len >= BATCH_LEN_MAX {
                    return Ok(got);
                }
                let value = document.as_ref().and_then(|document| document.value.as_ref());
                len += key.as_bytes().len() + value.map_or(0, Bytes::len);
                got.push((key.clone(), document));
            }
        }
        Ok(got)
    }

    /// Each keyspace that holds something, with the sum of it.
    pub(crate) fn roots(&self) -> BTreeMap<String, u64> {
        let shelves = lock(&self.shelves);
        let held = shelves.iter().filter(|(_, shelf)| !shelf.index.is_empty());
        held.map(|(name, shelf)| (name.clone(), shelf.index.sum(Range::ALL).sum)).collect()
    }

    /// Looks into the index of a keyspace, which is empty if there is none.
    pub(crate) fn index<T>(&self, keyspace: &str, look: impl FnOnce(&Index) -> T) -> T {
        match lock(&self.shelves).get(keyspace) {
            Some(shelf) => look(&shelf.index),
            None => look(&Index::default()),
        }
    }

    pub(crate) fn contents(&self, keyspace: &str, range: Range) -> Contents {
        self.index(keyspace, |index| index.contents(range))
    }

    /// The keys in `range` after `after`, at most `max`.
    pub(crate) fn keys(
        &self,
        keyspace: &str,
        range: Range,
        after: Option<&Key>,
        max: usize,
    ) -> Vec<Entry> {
        let after = after.map(|key| (hash_of(key), key.clone()));
        self.index(keyspace, |index| index.keys(range, after.as_ref(), max))
    }

    /// How many documents and tombstones there are.
    pub(crate) fn count(&self) -> (usize, usize) {
        let shelves = lock(&self.shelves);
        let counts =
            shelves.values().map(|shelf| (shelf.index.documents(), shelf.index.tombstones()));
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    /// The keyspaces, in order.
    pub(crate) fn keyspaces(&self) -> Vec<String> {
        lock(&self.shelves).keys().cloned().collect()
    }

    // ---- below ----

    /// Runs `work` to its end, whether or not somebody still waits for it: taking in documents is
    /// not left half done.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = async_channel::bounded(1);
        self.node()?.spawn(async move {
            // Fails if nobody waits any more.
            let _ = sender.try_send(work.await);
        });
        receiver.recv().await.map_err(|_| Failure::Closed)
    }

    /// Makes room for `keyspace` if it is not there; `false` if there are too many.
    fn make_room(&self, keyspace: &str) -> bool {
        let mut shelves = lock(&self.shelves);
        if shelves.contains_key(keyspace) {
            return true;
        }
        if shelves.len() >= KEYSPACES_MAX {
            shelves.retain(|_, shelf| !shelf.is_empty());
        }
        let has_room = shelves.len() < KEYSPACES_MAX;
        if has_room {
            shelves.insert(keyspace.to_owned(), Shelf::default());
        }
        has_room
    }

    async fn read_index(&self, keyspace: &str) -> Result<Index, StorageError> {
        let mut index = Index::default();
        let mut after = None;
        loop {
            let entries = self.scan(keyspace, after, BATCH_MAX).await?;
            let is_last = entries.len() < BATCH_MAX;
            after = entries.last().map(|entry| entry.key.clone());
            entries.into_iter().for_each(|entry| index.put(entry));
            if is_last {
                return Ok(index);
            }
        }
    }

    fn counted<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        result.inspect_err(|_| self.counters.storage_errors.add(1))
    }
}

/// Why a store could not be opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The storage failed.
    Storage(StorageError),
    /// What the store remembers of the cluster is there and cannot be read. Without it deleted keys
    /// could come back: put the storage back in order, or start with an empty one.
    Mark,
    /// The node has a store, or another service of its name.
    Service(chinwag::AddServiceError),
    /// The node's metadata has no room for the entry `store`.
    Metadata(chinwag::MetadataError),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::Mark => f.write_str("what the store remembers of the cluster cannot be read"),
            Self::Service(error) => error.fmt(f),
            Self::Metadata(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error),
            Self::Service(error) => Some(error),
            Self::Metadata(error) => Some(error),
            Self::Mark => None,
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under these locks, so what they guard is whole even after a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
