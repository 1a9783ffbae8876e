//! [`Store`] and [`Keyspace`]: what users hold.

use std::fmt;
use std::sync::Arc;

use chinwag::protocol::time::Instant;
use chinwag::{Bytes, Client, Consistency, Node, NodeId, Picks, Service, Status};

use crate::any_storage::StorageError;
use crate::config::Config;
use crate::document::{Document, Version};
use crate::error::{LimitError, ReadError, TooFew, WriteError};
use crate::join::join_all;
use crate::key::{IntoKey, Key};
use crate::limits::{BATCH_LEN_MAX, BATCH_MAX, KEYSPACE_LEN_MAX, VALUE_LEN_MAX};
use crate::peers::Selection;
use crate::replica::{Failure, Replica, Written as WrittenHere};
use crate::service::StoreService;
use crate::spread::Spread;
use crate::stats::Stats;
use crate::wire::{ArchivedTaken, Doc, Named, Origin, Read, Replicate, Taken};
use crate::{peers, wire};

/// A node's store, from `node.add_extension(StoreExtension::new(storage))`. Cheap to clone; it does
/// not keep the node alive, and the node's replica is there as long as the node is, with or without
/// it.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

/// What the handles of a store and its tasks share.
pub(crate) struct Shared {
    pub(crate) replica: Arc<Replica>,
    pub(crate) spread: Arc<Spread>,
    pub(crate) config: Config,
    selection: Selection,
}

impl Shared {
    pub(crate) fn new(replica: Arc<Replica>, spread: Arc<Spread>, config: Config) -> Self {
        Self { replica, spread, config, selection: Selection::default() }
    }
}

impl Store {
    /// The documents under one name. Keyspaces need not be made: one is there while something is in
    /// it.
    ///
    /// # Errors
    /// [`LimitError::Keyspace`] if the name is empty or longer than [`KEYSPACE_LEN_MAX`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, LimitError> {
        if !(1..=KEYSPACE_LEN_MAX).contains(&name.len()) {
            return Err(LimitError::Keyspace(name.len()));
        }
        Ok(Keyspace { shared: self.shared.clone(), name: name.into() })
    }

    /// The names of the keyspaces that the local replica has something in, in order.
    pub fn keyspaces(&self) -> Vec<String> {
        self.shared.replica.roots().into_keys().collect()
    }

    /// The other live replicas, in the order of their ids.
    pub fn replicas(&self) -> Vec<NodeId> {
        self.shared.replica.peers()
    }

    /// What the replica holds and has counted.
    pub fn stats(&self) -> Stats {
        let replica = &self.shared.replica;
        let (documents, tombstones) = replica.count();
        let mut stats = replica.counters.read();
        (stats.documents, stats.tombstones) = (documents as u64, tombstones as u64);
        if let Ok(node) = replica.node() {
            let methods = node.stats().methods;
            // A node that asks itself would count twice; a store never does.
            for method in methods.iter().filter(|method| method.service == StoreService::NAME) {
                stats.bytes_in += method.bytes_in;
                stats.bytes_out += method.bytes_out;
            }
        }
        stats
    }

    /// The sum over each keyspace: equal sums on two replicas are equal contents (docs/store.md
    /// §4.1).
    pub fn digests(&self) -> Vec<(String, u64)> {
        self.shared.replica.roots().into_iter().collect()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("node", &self.shared.replica.me).finish_non_exhaustive()
    }
}

/// A write that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its version; of several keys, that of the last.
    pub version: Version,
    /// How many replicas have it durably, or something newer. At least as many as the level names,
    /// the local one included.
    pub replicas: usize,
    /// Keys for which one of these replicas had something newer: by the order of versions the
    /// write came before it. A clock ran behind.
    pub superseded: usize,
}

impl Written {
    /// Whether something newer was there already, for the key or for one of the keys.
    pub const fn is_superseded(&self) -> bool {
        self.superseded > 0
    }
}

/// The documents of one name on all replicas. Cheap to clone.
///
/// The levels are [`Consistency`]'s: the local replica always takes part and counts as one, so
/// `One` is the local replica and one other, and `None` the local one alone.
#[derive(Clone)]
pub struct Keyspace {
    shared: Arc<Shared>,
    name: Arc<str>,
}

impl Keyspace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`WriteError`], which says whether the write may be seen all the same.
    pub async fn put(
        &self,
        key: impl IntoKey,
        value: impl Into<Bytes>,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        let key = key.into_key().map_err(LimitError::from)?;
        self.write(vec![(key, Some(value.into()))], level).await
    }

    /// Writes several values, which the local replica keeps all or none; on others some may be seen
    /// before others.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub async fn put_many<K: IntoKey, V: Into<Bytes>>(
        &self,
        values: impl IntoIterator<Item = (K, V)>,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        let values =
            values.into_iter().map(|(key, value)| Ok((key.into_key()?, Some(value.into()))));
        self.write(limited(values)?, level).await
    }

    /// Deletes a key. That nothing was there is no error: who else writes it is not known.
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub async fn delete(
        &self,
        key: impl IntoKey,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        let key = key.into_key().map_err(LimitError::from)?;
        self.write(vec![(key, None)], level).await
    }

    /// Deletes several keys, as [`Keyspace::put_many`].
    ///
    /// # Errors
    /// As [`Keyspace::put`].
    pub async fn delete_many<K: IntoKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        let keys = keys.into_iter().map(|key| Ok((key.into_key()?, None)));
        self.write(limited(keys)?, level).await
    }

    /// The value of a key; `None` if there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn get(
        &self,
        key: impl IntoKey,
        level: Consistency,
    ) -> Result<Option<Bytes>, ReadError> {
        let key = key.into_key().map_err(LimitError::from)?;
        let documents = self.read(vec![key], level).await?;
        Ok(documents.into_iter().flatten().find_map(|document| document.value))
    }

    /// The values of several keys, in the order asked.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn get_many<K: IntoKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        level: Consistency,
    ) -> Result<Vec<Option<Bytes>>, ReadError> {
        let documents = self.documents(keys, level).await?;
        Ok(documents.into_iter().map(|document| document?.value).collect())
    }

    /// The latest writes of several keys, tombstones included, in the order asked. `None`: never
    /// written, or purged.
    ///
    /// # Errors
    /// As [`Keyspace::get`].
    pub async fn documents<K: IntoKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
        level: Consistency,
    ) -> Result<Vec<Option<Document>>, ReadError> {
        let keys = limited(keys.into_iter().map(|key| key.into_key().map_err(LimitError::from)))?;
        self.read(keys, level).await
    }

    // ---- writing ----

    async fn write(
        &self,
        values: Vec<(Key, Option<Bytes>)>,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        check(&values)?;
        let replica = &self.shared.replica;
        let node = replica.node().map_err(|_| WriteError::Closed)?;
        // Before anything is written: too few replicas is an error that leaves nothing behind.
        let picks = self.shared.selection.select(&node, level).map_err(WriteError::Select)?;
        for &peer in &picks {
            // Before the versions are chosen: whoever confirms a purge in between names all that
            // may get these documents (docs/store.md §1.4, §5.3).
            if !replica.meet(peer).await? {
                return Err(LimitError::Roster.into());
            }
        }
        let written = replica.write(&self.name, values).await.map_err(|failure| match failure {
            Failure::Storage(error) => WriteError::Storage(error),
            Failure::Closed => WriteError::Closed,
        })?;
        let (origin, documents) = match written {
            WrittenHere::Kept(origin, documents) => (origin, documents),
            WrittenHere::Exhausted => return Err(WriteError::Exhausted),
            WrittenHere::Full => return Err(LimitError::Keyspaces.into()),
            WrittenHere::Unsure(error) => return Err(WriteError::Storage(error)),
        };
        replica.counters.written.add(documents.len());
        let keys: Vec<Key> = documents.iter().map(|(key, _)| key.clone()).collect();
        for other in peers::replicas(&node).into_iter().filter(|other| !picks.contains(other)) {
            self.shared.spread.push(&self.shared.replica, other, &self.name, keys.iter().cloned());
        }
        let Some(version) = documents.last().map(|(_, document)| document.version) else {
            // No keys, so nothing to wait for.
            let nothing = Version { stamp: chinwag::Timestamp::default(), node: replica.me };
            return Ok(Written { version: nothing, replicas: picks.len() + 1, superseded: 0 });
        };
        self.replicate(&node, &picks, origin, &documents, version).await
    }

    /// Waits for all of `picks` to have it. What one of them did not get is left to the background.
    async fn replicate(
        &self,
        node: &Node,
        picks: &Picks,
        origin: Origin,
        documents: &[(Key, Document)],
        version: Version,
    ) -> Result<Written, WriteError> {
        let until = node.now().mono + self.shared.config.timeout;
        let sent = join_all(picks.iter().map(|&peer| {
            let client = node.client::<StoreService>(peer).until(until);
            async move { (peer, self.send(&client, origin, documents).await) }
        }));
        let (mut superseded, mut failures) = (0, Vec::new());
        for (peer, result) in sent.await {
            match result {
                Ok(newer) => {
                    superseded += newer;
                    self.shared.replica.counters.replicated.add(documents.len());
                }
                Err(status) => {
                    failures.push((peer, status));
                    let keys = documents.iter().map(|(key, _)| key.clone());
                    self.shared.spread.push(&self.shared.replica, peer, &self.name, keys);
                }
            }
        }
        let (needed, answered) = (picks.len() + 1, picks.len() + 1 - failures.len());
        if failures.is_empty() {
            return Ok(Written { version, replicas: answered, superseded });
        }
        Err(WriteError::Replicas { version, few: TooFew { answered, needed, failures } })
    }

    /// Has one replica keep the documents. Says for how many of them it has something newer.
    async fn send(
        &self,
        client: &Client<StoreService>,
        mut origin: Origin,
        documents: &[(Key, Document)],
    ) -> Result<usize, Status> {
        let replica = &self.shared.replica;
        let docs = documents.iter().map(|(key, document)| Doc::new(key, document)).collect();
        let mut message = Replicate { origin, keyspace: self.name.to_string(), documents: docs };
        loop {
            let taken = client.call(&message).await?;
            match *taken {
                ArchivedTaken::Kept { newer } => return Ok(newer.to_native() as usize),
                ArchivedTaken::Stale => {
                    // It was read before this replica confirmed a purge: it reads again what it
                    // holds (docs/store.md §5.2).
                    origin = replica.origin()?;
                    message = self.read_again(origin, documents).await?;
                }
                ArchivedTaken::Forgotten => {
                    self.shared.spread.ring(client.peer());
                    return Err(refused("this replica was forgotten, and is being cleansed"));
                }
                ArchivedTaken::Full => {
                    return Err(refused("it has no room for another replica or keyspace"));
                }
            }
        }
    }

    async fn read_again(
        &self,
        origin: Origin,
        documents: &[(Key, Document)],
    ) -> Result<Replicate, Status> {
        let keys: Vec<Key> = documents.iter().map(|(key, _)| key.clone()).collect();
        let got =
            self.shared.replica.get(&self.name, keys.clone()).await.map_err(Failure::Storage)?;
        let held = keys.iter().zip(&got);
        let docs =
            held.filter_map(|(key, document)| Some(Doc::new(key, document.as_ref()?))).collect();
        Ok(Replicate { origin, keyspace: self.name.to_string(), documents: docs })
    }

    // ---- reading ----

    async fn read(
        &self,
        keys: Vec<Key>,
        level: Consistency,
    ) -> Result<Vec<Option<Document>>, ReadError> {
        let replica = &self.shared.replica;
        let node = replica.node().map_err(|_| ReadError::Closed)?;
        let picks = self.shared.selection.select(&node, level).map_err(ReadError::Select)?;
        let mut held = replica.get(&self.name, keys.clone()).await?;
        if picks.is_empty() || keys.is_empty() {
            return Ok(held);
        }
        let until = node.now().mono + self.shared.config.timeout;
        let asked: Vec<(Key, Option<Version>)> = keys
            .iter()
            .cloned()
            .zip(held.iter().map(|document| Some(document.as_ref()?.version)))
            .collect();
        let answers =
            join_all(picks.iter().map(|&peer| self.ask(&node, peer, until, &asked))).await;
        let (mut newer, mut failures) = (false, Vec::new());
        for (peer, answer) in answers {
            match answer {
                Ok(is_newer) => newer |= is_newer,
                Err(status) => failures.push((peer, status)),
            }
        }
        if !failures.is_empty() {
            let (needed, answered) = (picks.len() + 1, picks.len() + 1 - failures.len());
            return Err(ReadError::Replicas(TooFew { answered, needed, failures }));
        }
        if newer {
            held = replica.get(&self.name, keys.clone()).await?;
            self.repair(&picks, &asked, &held);
        }
        Ok(held)
    }

    /// Asks one replica for what is newer there, and takes it in here (docs/store.md §3.5). Says
    /// whether there was anything.
    async fn ask(
        &self,
        node: &Node,
        peer: NodeId,
        until: Instant,
        asked: &[(Key, Option<Version>)],
    ) -> (NodeId, Result<bool, Status>) {
        let client = node.client::<StoreService>(peer).until(until);
        let result = async {
            let (mut is_newer, mut at) = (false, 0);
            while at < asked.len() {
                let keys =
                    asked[at..].iter().map(|(key, version)| Named::new(key, *version)).collect();
                let found = client.call(&Read { keyspace: self.name.to_string(), keys }).await?;
                let answered = found.answered.to_native() as usize;
                if answered == 0 {
                    return Err(refused("it answered nothing"));
                }
                let documents = wire::documents(&found.newer).map_err(Status::from)?;
                is_newer |= !documents.is_empty();
                self.take(peer, Origin::from(&found.origin), documents).await?;
                let older = found
                    .older
                    .iter()
                    .filter_map(|older| asked.get(at + older.to_native() as usize));
                let behind: Vec<Key> = older.map(|(key, _)| key.clone()).collect();
                self.shared.replica.counters.repaired.add(behind.len());
                self.shared.spread.push(&self.shared.replica, peer, &self.name, behind.into_iter());
                at = at.saturating_add(answered);
            }
            Ok(is_newer)
        };
        (peer, result.await)
    }

    async fn take(
        &self,
        peer: NodeId,
        origin: Origin,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), Status> {
        if documents.is_empty() {
            return Ok(());
        }
        let replica = &self.shared.replica;
        replica.counters.repaired.add(documents.len());
        match replica.take(peer, origin, &self.name, documents).await? {
            Taken::Kept { .. } => Ok(()),
            // The answer was under way during a purge, or comes from one that may not give any.
            Taken::Stale | Taken::Forgotten | Taken::Full => {
                Err(refused("its answer may not be taken in"))
            }
        }
    }

    /// What came from one replica may be missing on the others that were asked.
    fn repair(&self, picks: &Picks, asked: &[(Key, Option<Version>)], held: &[Option<Document>]) {
        let is_changed = |(asked, held): &(&(Key, Option<Version>), &Option<Document>)| {
            asked.1 != held.as_ref().map(|document| document.version)
        };
        let changed: Vec<Key> =
            asked.iter().zip(held).filter(is_changed).map(|((key, _), _)| key.clone()).collect();
        for &peer in picks {
            self.shared.spread.push(
                &self.shared.replica,
                peer,
                &self.name,
                changed.iter().cloned(),
            );
        }
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Storage(error) => Self::Storage(error),
            Failure::Closed => Self::Closed,
        }
    }
}

impl From<StorageError> for WriteError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

fn refused(why: &str) -> Status {
    Status::new(chinwag::Code::AppError, why)
}

/// No more than a batch, whatever the iterator gives.
fn limited<T>(items: impl Iterator<Item = Result<T, LimitError>>) -> Result<Vec<T>, LimitError> {
    let items: Vec<T> = items.take(BATCH_MAX + 1).collect::<Result<_, _>>()?;
    if items.len() > BATCH_MAX { Err(LimitError::Batch(items.len())) } else { Ok(items) }
}

fn check(values: &[(Key, Option<Bytes>)]) -> Result<(), LimitError> {
    let len_of = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    if let Some(len) =
        values.iter().map(|(_, value)| len_of(value)).find(|len| *len > VALUE_LEN_MAX)
    {
        return Err(LimitError::Value(len));
    }
    let len = values.iter().map(|(key, value)| key.as_bytes().len() + len_of(value)).sum();
    if len > BATCH_LEN_MAX { Err(LimitError::BatchLen(len)) } else { Ok(()) }
}
