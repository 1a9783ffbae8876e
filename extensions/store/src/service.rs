//! [`StoreService`]: what a replica answers others.

use std::sync::Arc;

use chinwag::{Code, Context, Handler, Methods, NodeId, Service, Status, Timestamp, View};

use crate::any_storage::StorageError;
use crate::document::Document;
use crate::key::Key;
use crate::limits::{BATCH_LEN_MAX, BATCH_MAX, COMPARE_MAX, RANGES_MAX};
use crate::range::Range;
use crate::replica::{Failure, Replica};
use crate::roster::{Absence, Roster};
use crate::wire::{
    self, Compare, Compared, Confirm, Confirmed, Doc, Fetch, Fetched, Found, Invalid, Origin,
    Purge, Read, Replicate, Roots, RootsReply, Taken, Turn,
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
        let keyspace = self.checked(wire::keyspace(&given.keyspace))?;
        let documents = self.checked(wire::documents(&given.documents))?;
        let origin = Origin::from(&given.origin);
        Ok(self.replica.take(cx.caller().id, origin, keyspace, documents).await?)
    }
}

impl Handler<Read> for StoreService {
    async fn handle(&self, cx: &Context, asked: View<Read>) -> Result<Found, Status> {
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let questions = self.checked(wire::questions(&asked.keys))?;
        self.meet(cx.caller().id).await?;
        let origin = self.replica.origin()?;
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
        let theirs = self.checked(Roster::read(&roots.roster).ok_or(Invalid("the roster")))?;
        self.meet(cx.caller().id).await?;
        let replica = &self.replica;
        let amended =
            replica.amend(|roster| roster.merge(&theirs, replica.me, |node| replica.is_live(node)));
        amended.await.map_err(storage_failed)?;
        let roster = replica.roster().written();
        Ok(RootsReply { roster, roots: replica.roots().into_iter().collect() })
    }
}

impl Handler<Compare> for StoreService {
    async fn handle(&self, _: &Context, asked: View<Compare>) -> Result<Vec<Compared>, Status> {
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let ranges = self.checked(wire::ranges(&asked.ranges, COMPARE_MAX))?;
        self.replica.make_sure(keyspace).await.map_err(storage_failed)?;
        Ok(ranges.into_iter().map(|range| self.replica.contents(keyspace, range).into()).collect())
    }
}

impl Handler<Fetch> for StoreService {
    async fn handle(&self, cx: &Context, asked: View<Fetch>) -> Result<Fetched, Status> {
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let ranges = self.checked(wire::ranges(&asked.ranges, RANGES_MAX))?;
        let after = asked.after.as_ref().map(|key| wire::key(key));
        let after = self.checked(after.transpose())?;
        self.meet(cx.caller().id).await?;
        let origin = self.replica.origin()?;
        self.replica.make_sure(keyspace).await.map_err(storage_failed)?;
        self.fetch(origin, keyspace, &ranges, after).await
    }
}

impl StoreService {
    async fn fetch(
        &self,
        origin: Origin,
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
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let tombstones = self.checked(wire::entries(&asked.tombstones))?;
        let without = self.checked(wire::triples(&asked.without))?;
        let horizon = tombstones.iter().map(|(_, version)| version.stamp).max().unwrap_or_default();
        let absence = |(node, generation, horizon): (NodeId, u64, u64)| {
            // As in a roster: room to count on.
            let generation = generation.min(u64::MAX / 2);
            (
                node,
                Absence { generation, horizon: Timestamp::from_raw(horizon).min(Timestamp::MAX) },
            )
        };
        let without: Vec<(NodeId, Absence)> = without.into_iter().map(absence).collect();
        let documents =
            tombstones.into_iter().map(|(key, version)| (key, Document { version, value: None }));
        let origin = Origin::from(&asked.origin);
        let taken =
            self.replica.take(cx.caller().id, origin, keyspace, documents.collect()).await?;
        // By this node's clock they are not even written: a floor in the future would take its
        // writes there.
        let is_past = horizon <= Timestamp::at(self.replica.node()?.now().wall);
        let is_held = matches!(taken, Taken::Kept { .. })
            && is_past
            && self
                .replica
                .amend(|roster| roster.accept(&without, horizon))
                .await
                .map_err(storage_failed)?;
        // After all that: what is sent from now on is past these tombstones.
        let origin = self.replica.origin()?;
        Ok(Confirmed { is_held, origin, roster: self.replica.roster().written() })
    }
}

impl Handler<Purge> for StoreService {
    async fn handle(&self, _: &Context, asked: View<Purge>) -> Result<(), Status> {
        let keyspace = self.checked(wire::keyspace(&asked.keyspace))?;
        let tombstones = self.checked(wire::entries(&asked.tombstones))?;
        let turns = self.checked(wire::triples(&asked.turns))?;
        let turn = |(node, epoch, count)| (node, Turn { epoch, count });
        let turns = turns.into_iter().map(turn).collect();
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
