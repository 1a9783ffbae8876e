//! Writing at a level (docs/store.md §3.1 to §3.4).

use chinwag::{Bytes, Client, Consistency, Node, NodeId, Status};

use super::{Keyspace, refused};
use crate::any_storage::StorageError;
use crate::document::{Document, Version};
use crate::error::{LimitError, TooFew, WriteError};
use crate::gather::{Plan, gather};
use crate::key::Key;
use crate::limits::{BATCH_LEN_MAX, VALUE_LEN_MAX};
use crate::peers;
use crate::replica::{Failure, Written as WrittenHere};
use crate::service::StoreService;
use crate::wire::{ArchivedTaken, Doc, OriginClaim, Replicate};

/// A write that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Its version; of several keys, that of the last.
    pub version: Version,
    /// How many replicas have it durably, or something newer. At least as many as the level names,
    /// the local one included.
    pub replicas: usize,
    /// Which ones they are: this node first, then the others in the order of their answers. Others
    /// may have it by now, too.
    pub holders: Vec<NodeId>,
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

/// Replicas that are not known to have a write: they get it in the background (docs/store.md §3.3).
struct Rest<'a> {
    keyspace: &'a Keyspace,
    others: Vec<NodeId>,
    documents: &'a [(Key, Document)],
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let Keyspace { shared, name } = self.keyspace;
        for &other in &self.others {
            let keys = self.documents.iter().map(|(key, _)| key.clone());
            shared.spread.push(&shared.replica, other, name, keys);
        }
    }
}

impl Keyspace {
    pub(super) async fn write(
        &self,
        values: Vec<(Key, Option<Bytes>)>,
        level: Consistency,
    ) -> Result<Written, WriteError> {
        check(&values)?;
        let replica = &self.shared.replica;
        let node = replica.node().map_err(|_| WriteError::Closed)?;
        // Before anything is written: too few replicas is an error that leaves nothing behind.
        let plan = self.shared.selection.plan(replica, &node, level, &self.shared.config);
        let plan = plan.map_err(WriteError::Select)?;
        for &(peer, _) in &plan.order {
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
            WrittenHere::Clock => return Err(WriteError::Clock),
            WrittenHere::Full => return Err(LimitError::Keyspaces.into()),
            WrittenHere::Unsure(error) => return Err(WriteError::Storage(error)),
        };
        replica.counters.written.add(documents.len());
        let Some(version) = documents.last().map(|(_, document)| document.version) else {
            // No keys, so nothing to wait for.
            let version = Version { stamp: chinwag::Timestamp::default(), node: replica.me };
            let holders = vec![replica.me];
            return Ok(Written { version, replicas: plan.needed() + 1, holders, superseded: 0 });
        };
        self.replicate(&node, &plan, origin, &documents, version).await
    }

    /// Waits until as many have it as the level needs. All others get it in the background.
    async fn replicate(
        &self,
        node: &Node,
        plan: &Plan,
        origin: OriginClaim,
        documents: &[(Key, Document)],
        version: Version,
    ) -> Result<Written, WriteError> {
        let (shared, timeout) = (&self.shared, self.shared.config.timeout);
        let until = node.now().mono + timeout;
        // Dropped at the end, or when the caller stops waiting.
        let mut rest = Rest { keyspace: self, others: peers::replicas(node), documents };
        let send = |peer| {
            let client = node.client::<StoreService>(peer).until(until);
            async move {
                let begun = node.now().mono;
                let newer = self.send(&client, origin, documents).await?;
                shared.patience.note(node.now().mono.since(begun));
                Ok(newer)
            }
        };
        let gathered = gather(node, plan, shared.patience.wait(timeout), send).await;
        shared.replica.counters.replicated.add(documents.len() * gathered.answers.len());
        let superseded = gathered.answers.iter().map(|(_, newer)| newer).sum();
        let mut holders = vec![shared.replica.me];
        holders.extend(gathered.answers.iter().map(|(peer, _)| *peer));
        rest.others.retain(|other| !holders.contains(other));
        drop(rest);
        if gathered.is_met {
            return Ok(Written { version, replicas: holders.len(), holders, superseded });
        }
        let (needed, answered) = (plan.needed() + 1, gathered.met + 1);
        let few = TooFew { answered, needed, failures: gathered.failures };
        Err(WriteError::Replicas { version, few })
    }

    /// Has one replica keep the documents. Says for how many of them it has something newer.
    async fn send(
        &self,
        client: &Client<StoreService>,
        origin: OriginClaim,
        documents: &[(Key, Document)],
    ) -> Result<usize, Status> {
        let replica = &self.shared.replica;
        let docs = documents.iter().map(|(key, document)| Doc::new(key, document)).collect();
        let mut message = Replicate { origin, keyspace: self.name.to_string(), documents: docs };
        let mut is_again = false;
        loop {
            let taken = peers::call(replica, client, &message).await?;
            match *taken {
                ArchivedTaken::Kept { newer } => {
                    return Ok((newer.to_native() as usize).min(documents.len()));
                }
                ArchivedTaken::Stale { ref ticket } if !is_again => {
                    // It was read before this replica confirmed a purge: it reads again what it
                    // holds (docs/store.md §5.2).
                    is_again = true;
                    let origin = replica.origin(Some(ticket.check()))?;
                    message = self.read_again(origin, documents).await?;
                }
                ArchivedTaken::Stale { .. } => {
                    return Err(refused("it refuses its own ticket"));
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
        origin: OriginClaim,
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
}

impl From<StorageError> for WriteError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
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
