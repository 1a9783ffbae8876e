//! [`StoreService`]: what a replica answers others.

use std::collections::BTreeSet;
use std::sync::Arc;

use chinwag::{Code, Context, Handler, Methods, NodeId, Service, Status, Timestamp, View};

use crate::any_storage::StorageError;
use crate::claims::Bounds;
use crate::document::Document;
use crate::key::Key;
use crate::limits::{BATCH_LEN_MAX, BATCH_MAX, COMPARE_MAX, RANGES_MAX};
use crate::peers::{self, NOT_A_REPLICA};
use crate::range::Range;
use crate::replica::{Failure, Replica};
use crate::roster::Absence;
use crate::wire::{
    self, Compare, Compared, Confirm, Confirmed, Doc, Fetch, Fetched, Found, Invalid, OriginClaim,
    Purge, Read, Replicate, Roots, RootsReply, Taken,
};

/// The service under which replicas find each other.
pub(crate) struct StoreService {
    pub(crate) replica: Arc<Replica>,
}

impl Service for StoreService {
    const NAME: &'static str = "chinwag.store";

    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Replicate>().add::<Read>();
        methods.add::<Roots>().add::<Compare>().add::<Fetch>();
        methods.add::<Confirm>().add::<Purge>();
    }
}

impl StoreService {
    /// What was allowed in a message, or the refusal of it, counted (docs/store.md §6.1).
    fn checked<T>(&self, checked: Result<T, Invalid>) -> Result<T, Status> {
        checked.map_err(|invalid| {
            self.replica.counters.refused.add(1);
            invalid.into()
        })
    }

    /// Refuses callers that are no replicas by what this node's membership holds (docs/store.md
    /// §6.1).
    fn admit(&self, cx: &Context) -> Result<Bounds, Status> {
        let node = self.replica.node()?;
        if !node.members().get(cx.caller().id).is_some_and(peers::is_replica) {
            self.replica.counters.strangers.add(1);
            return Err(Status::new(Code::AppError, NOT_A_REPLICA));
        }
        Ok(Bounds::at(node.now().wall))
    }

    /// Before documents are given to the caller, it is in the roster (docs/store.md §1.4).
    async fn meet(&self, caller: NodeId) -> Result<(), Status> {
        let is_met = self.replica.meet(caller).await.map_err(storage_failed)?;
        if is_met { Ok(()) } else { Err(Status::new(Code::AppError, "the roster is full")) }
    }
}

fn storage_failed(error: StorageError) -> Status {
    Failure::Storage(error).into()
}

impl Handler<Replicate> for StoreService {
    async fn handle(&self, cx: &Context, given: View<Replicate>) -> Result<Taken, Status> {
        let bounds = self.admit(cx)?;
        let keyspace = self.checked(wire::keyspace(&given.keyspace))?;
        let documents = self.checked(wire::documents(&given.documents, &bounds))?;
        let origin = self.checked(given.origin.check(cx.caller().epoch))?;
        Ok(self.replica.take(cx.caller().id, origin, keyspace, documents).await?)
    }
}

impl Handler<Read> for StoreService {
    async fn handle(&self, cx: &Context, asked: View<Read>) -> Result<Found, Status> {
        let bounds = self.admit(cx)?;
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let questions = self.checked(wire::questions(&asked.keys, &bounds))?;
        self.meet(cx.caller().id).await?;
        let origin = self.replica.origin(None)?;
        self.replica.make_sure(keyspace).await.map_err(storage_failed)?;
        let held = |key: &Key| self.replica.index(keyspace, |index| index.version(key));
        let (mut newer, mut older) = (Vec::new(), Vec::new());
        for ((key, version), at) in questions.iter().zip(0_u32..) {
            let held = held(key);
            if held > *version {
                newer.push((at, key.clone()));
            } else if held < *version {
                older.push(at);
            }
        }
        let keys: Vec<Key> = newer.iter().map(|(_, key)| key.clone()).collect();
        let got = self.replica.get_some(keyspace, &keys).await.map_err(storage_failed)?;
        // The first one that did not fit, and all after it, are not answered.
        let answered = newer.get(got.len()).map_or(count(questions.len()), |(at, _)| *at);
        older.retain(|at| *at < answered);
        Ok(Found { origin, answered, newer: docs(&got), older })
    }
}

/// Those that are there: one may have been purged since the index was read.
fn docs(got: &[(Key, Option<Document>)]) -> Vec<Doc> {
    got.iter().filter_map(|(key, document)| Some(Doc::new(key, document.as_ref()?))).collect()
}

impl Handler<Roots> for StoreService {
    async fn handle(&self, cx: &Context, roots: View<Roots>) -> Result<RootsReply, Status> {
        let bounds = self.admit(cx)?;
        let heard = self.checked(roots.roster.check(&bounds))?;
        self.meet(cx.caller().id).await?;
        let replica = &self.replica;
        replica.hear(cx.caller().id, heard).await?;
        let roster = replica.roster().told(replica.node()?.now().wall);
        Ok(RootsReply { roster, roots: replica.roots().into_iter().collect() })
    }
}

impl Handler<Compare> for StoreService {
    async fn handle(&self, cx: &Context, asked: View<Compare>) -> Result<Vec<Compared>, Status> {
        self.admit(cx)?;
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let ranges = self.checked(wire::ranges(&asked.ranges, COMPARE_MAX))?;
        self.replica.make_sure(keyspace).await.map_err(storage_failed)?;
        Ok(ranges.into_iter().map(|range| self.replica.contents(keyspace, range).into()).collect())
    }
}

impl Handler<Fetch> for StoreService {
    async fn handle(&self, cx: &Context, asked: View<Fetch>) -> Result<Fetched, Status> {
        self.admit(cx)?;
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let ranges = self.checked(wire::ranges(&asked.ranges, RANGES_MAX))?;
        let after = asked.after.as_ref().map(|key| wire::key(key));
        let after = self.checked(after.transpose())?;
        self.meet(cx.caller().id).await?;
        let origin = self.replica.origin(None)?;
        self.replica.make_sure(keyspace).await.map_err(storage_failed)?;
        self.fetch(origin, keyspace, &ranges, after).await
    }
}

impl StoreService {
    async fn fetch(
        &self,
        origin: OriginClaim,
        keyspace: &str,
        ranges: &[Range],
        mut after: Option<Key>,
    ) -> Result<Fetched, Status> {
        let mut fetched = Fetched { origin, documents: Vec::new(), more: None };
        let mut len = 0;
        for (range, at) in ranges.iter().zip(0_u32..) {
            let room = if len < BATCH_LEN_MAX { BATCH_MAX - fetched.documents.len() } else { 0 };
            let entries = self.replica.keys(keyspace, *range, after.as_ref(), room);
            let keys: Vec<Key> = entries.into_iter().map(|entry| entry.key).collect();
            let got = self.replica.get_some(keyspace, &keys).await.map_err(storage_failed)?;
            if got.len() == room || got.len() < keys.len() {
                let last = got.last().map(|(key, _)| key).or(after.as_ref());
                fetched.more = Some((at, last.map(|key| key.as_bytes().to_vec())));
            }
            let documents = docs(&got);
            len += documents.iter().map(len_of).sum::<usize>();
            fetched.documents.extend(documents);
            if fetched.more.is_some() {
                break;
            }
            after = None;
        }
        Ok(fetched)
    }
}

impl Handler<Confirm> for StoreService {
    async fn handle(&self, cx: &Context, asked: View<Confirm>) -> Result<Confirmed, Status> {
        let bounds = self.admit(cx)?;
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let tombstones = self.checked(wire::entries(&asked.tombstones, &bounds))?;
        let without = self.checked(wire::without(&asked.without, &bounds))?;
        let origin = self.checked(asked.origin.check(cx.caller().epoch))?;
        let horizon = tombstones.iter().map(|(_, version)| version.stamp).max().unwrap_or_default();
        let documents =
            tombstones.into_iter().map(|(key, version)| (key, Document { version, value: None }));
        let taken =
            self.replica.take(cx.caller().id, origin, keyspace, documents.collect()).await?;
        // A floor in the future would take the writes of this node there.
        let is_old = horizon <= self.replica.purged_before()?;
        let is_held =
            matches!(taken, Taken::Kept { .. }) && is_old && self.accept(&without, horizon).await?;
        // After all that: what is sent from now on is past these tombstones.
        let origin = self.replica.origin(None)?;
        let wall = self.replica.node()?.now().wall;
        Ok(Confirmed { is_held, origin, roster: self.replica.roster().told(wall) })
    }
}

impl StoreService {
    /// Notes whom a purge is without, if that is right by what this replica has seen itself.
    async fn accept(
        &self,
        without: &[(NodeId, Absence)],
        horizon: Timestamp,
    ) -> Result<bool, Status> {
        let replica = &self.replica;
        replica.update_away(replica.node()?.now().mono)?;
        let gone: BTreeSet<NodeId> = without
            .iter()
            .map(|(node, _)| *node)
            .filter(|node| *node != replica.me && replica.is_gone(*node))
            .collect();
        let accepted =
            replica.amend(|roster| roster.accept(without, horizon, |node| gone.contains(&node)));
        accepted.await.map_err(storage_failed)
    }
}

impl Handler<Purge> for StoreService {
    async fn handle(&self, cx: &Context, asked: View<Purge>) -> Result<(), Status> {
        let bounds = self.admit(cx)?;
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let tombstones = self.checked(wire::entries(&asked.tombstones, &bounds))?;
        let turns = self.checked(wire::turns(&asked.turns))?;
        let roster = self.replica.roster();
        if !turns
            .iter()
            .all(|(node, _)| *node == self.replica.me || roster.members.contains_key(node))
        {
            // Whoever confirmed is in the roster of all that did.
            return self.checked(Err(Invalid("a node of a turn")));
        }
        let before = self.replica.purged_before()?;
        if tombstones.iter().any(|(_, version)| version.stamp > before) {
            return self.checked(Err(Invalid("the age of a tombstone")));
        }
        let _count = self.replica.purge(keyspace, tombstones, turns).await?;
        Ok(())
    }
}

fn len_of(doc: &Doc) -> usize {
    doc.key.len() + doc.value.as_ref().map_or(0, Vec::len)
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
