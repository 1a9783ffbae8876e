//! One exchange with one peer: only what differs moves (docs/store.md §4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chinwag::protocol::time::Instant;
use chinwag::{Client, Code, NodeId, Status, Timestamp};

use crate::document::{Document, Entry, Version};
use crate::index::Listed;
use crate::key::Key;
use crate::limits::{BATCH_MAX, COMPARE_MAX, EXCHANGE_IDLE_MAX, EXCHANGE_TIMEOUTS_MAX, RANGES_MAX};
use crate::range::{CHILDREN, Range, hash_of};
use crate::replica::{Failure, Replica};
use crate::roster::Heard;
use crate::service::StoreService;
use crate::wire::{
    self, ArchivedCompared, ArchivedTaken, Compare, Doc, Fetch, Invalid, Replicate, Roots, Taken,
};

/// An exchange under way.
pub(crate) struct Exchange {
    replica: Arc<Replica>,
    client: Client<StoreService>,
    peer: NodeId,
    /// Set while this replica cleanses itself: documents up to it that the peer has nothing of are
    /// dropped, and nothing is sent.
    horizon: Option<Timestamp>,
    /// When it must have ended.
    deadline: Instant,
    /// Questions since a document was moved that was newer on one side.
    idle: AtomicUsize,
}

/// What differs, found and not yet moved.
#[derive(Default)]
struct Differences {
    /// Ranges to fetch.
    fetch: Vec<Range>,
    /// Keys to send.
    push: Vec<Entry>,
    /// Keys that the peer has nothing of.
    missing: Vec<Entry>,
}

impl Exchange {
    /// Makes this replica and `peer` equal, as far as nothing is written meanwhile. Returns whether
    /// everything was compared: not if one of the two must be cleansed first.
    pub(crate) async fn run(
        replica: &Arc<Replica>,
        peer: NodeId,
        timeout: Duration,
    ) -> Result<bool, Status> {
        let node = replica.node()?;
        let client = node.client::<StoreService>(peer).timeout(timeout);
        let deadline = node.now().mono + timeout * EXCHANGE_TIMEOUTS_MAX;
        drop(node);
        let idle = AtomicUsize::new(0);
        let mut exchange =
            Self { replica: replica.clone(), client, peer, horizon: None, deadline, idle };
        let (theirs, roots) = exchange.roots().await?;
        let roster = replica.roster();
        let is_peer_cleansed =
            theirs.is_cleansed && roster.absence(peer).generation <= theirs.cleansed;
        if !is_peer_cleansed {
            // It will cleanse itself first, with somebody else or in an exchange that it begins.
            return Ok(false);
        }
        if roster.is_cleansed() {
            return exchange.keyspaces(&roots).await.map(|()| true);
        }
        if theirs.absence(replica.me).generation < roster.own.generation {
            // It was not yet asked about the last purge without this replica: another peer, or
            // later (docs/store.md §5.6).
            return Ok(false);
        }
        exchange.horizon = Some(roster.own.horizon);
        exchange.keyspaces(&roots).await?;
        let generation = roster.own.generation;
        let cleansed =
            replica.amend(|roster| roster.cleansed = roster.cleansed.max(generation)).await;
        cleansed.map_err(Failure::Storage)?;
        // Now the other way round, too.
        exchange.horizon = None;
        exchange.keyspaces(&roots).await.map(|()| true)
    }

    /// What the peer says of itself, and the sums of its keyspaces.
    async fn roots(&self) -> Result<(Heard, BTreeMap<String, u64>), Status> {
        let replica = &self.replica;
        if !replica.meet(self.peer).await.map_err(Failure::Storage)? {
            return Err(not_allowed("the roster is full"));
        }
        let roster = replica.roster().told(replica.node()?.now().wall);
        let reply = self.client.call(&Roots { roster }).await?;
        let theirs = self.checked(reply.roster.check(&replica.bounds()?))?;
        replica.hear(self.peer, theirs.clone()).await?;
        if reply.roots.len() > crate::limits::KEYSPACES_MAX {
            return Err(not_allowed("the number of its keyspaces"));
        }
        let mut roots = BTreeMap::new();
        for root in reply.roots.iter() {
            roots.insert(wire::keyspace(&root.0)?.to_owned(), root.1.to_native());
        }
        Ok((theirs, roots))
    }

    async fn keyspaces(&self, roots: &BTreeMap<String, u64>) -> Result<(), Status> {
        let own = self.replica.keyspaces();
        let names: BTreeSet<&str> = own.iter().chain(roots.keys()).map(String::as_str).collect();
        for name in names {
            self.replica.make_sure(name).await.map_err(Failure::Storage)?;
            let theirs = roots.get(name).copied().unwrap_or(0);
            self.keyspace(name, theirs).await?;
        }
        Ok(())
    }

    /// Goes down where sums differ. What is found is moved as soon as it fills a message, so little
    /// is in memory at once.
    async fn keyspace(&self, name: &str, theirs: u64) -> Result<(), Status> {
        let mut differences = Differences::default();
        let mut stack = Vec::new();
        self.look(name, Range::ALL, theirs, &mut stack, &mut differences).await?;
        while !stack.is_empty() {
            let ranges: Vec<Range> = stack.split_off(stack.len().saturating_sub(COMPARE_MAX));
            let asked = ranges.iter().map(|range| (range.depth, range.start)).collect();
            self.may_ask()?;
            let reply =
                self.client.call(&Compare { keyspace: name.to_owned(), ranges: asked }).await?;
            if reply.len() != ranges.len() {
                return Err(not_allowed("the number of answers"));
            }
            for (range, compared) in ranges.into_iter().zip(reply.iter()) {
                match compared {
                    ArchivedCompared::Children(sums) => {
                        // Sixteen and no more, or the walk would not end.
                        if sums.len() != CHILDREN || range.children().count() != CHILDREN {
                            return Err(not_allowed("the number of sums"));
                        }
                        for (child, sum) in range.children().zip(sums.iter()) {
                            self.look(name, child, sum.to_native(), &mut stack, &mut differences)
                                .await?;
                        }
                    }
                    ArchivedCompared::Listed(list) => {
                        let listed = |it: &rkyv::Archived<(u64, u64, u64)>| Listed {
                            hash: it.0.to_native(),
                            version: Version {
                                stamp: Timestamp::from_raw(it.1.to_native()),
                                node: NodeId::new(it.2.to_native()),
                            },
                        };
                        let theirs = list.iter().map(listed).collect();
                        self.compare(name, range, theirs, &mut differences).await?;
                    }
                }
            }
        }
        self.move_all(name, &mut differences).await
    }

    /// What is to be done about a range of which the peer has this sum.
    async fn look(
        &self,
        name: &str,
        range: Range,
        theirs: u64,
        stack: &mut Vec<Range>,
        differences: &mut Differences,
    ) -> Result<(), Status> {
        let ours = self.replica.index(name, |index| index.sum(range));
        if ours.sum == theirs && (theirs != 0 || ours.count == 0) {
            return Ok(());
        }
        if theirs == 0 {
            // It has nothing there: all of it is ours to send.
            return self.missing(name, range, &BTreeMap::new(), differences).await;
        }
        if ours.count == 0 {
            differences.fetch.push(range);
            return self.move_some(name, differences).await;
        }
        stack.push(range);
        Ok(())
    }

    /// What differs in a range of which the peer has listed all.
    async fn compare(
        &self,
        name: &str,
        range: Range,
        theirs: Vec<Listed>,
        differences: &mut Differences,
    ) -> Result<(), Status> {
        let mut by_hash = BTreeMap::<u64, Vec<Version>>::new();
        for Listed { hash, version } in theirs {
            if hash < range.start || hash > range.end() {
                return Err(not_allowed("a hash of another range"));
            }
            by_hash.entry(hash).or_default().push(version);
        }
        for (hash, versions) in &by_hash {
            let ours = self.replica.index(name, |index| index.list(Range::one(*hash)));
            let is_ours = |version: &Version| ours.iter().any(|it| it.version == *version);
            // With one key of the hash on either side, the greater version is newer. Keys that
            // collide are fetched all.
            let is_older = |version: &Version| {
                ours.len() == 1 && versions.len() == 1 && ours[0].version > *version
            };
            if versions.iter().any(|version| !is_ours(version) && !is_older(version)) {
                differences.fetch.push(Range::one(*hash));
                self.move_some(name, differences).await?;
            }
        }
        self.missing(name, range, &by_hash, differences).await
    }

    /// What is here in a range, and not among what the peer has.
    async fn missing(
        &self,
        name: &str,
        range: Range,
        theirs: &BTreeMap<u64, Vec<Version>>,
        differences: &mut Differences,
    ) -> Result<(), Status> {
        let mut after: Option<Key> = None;
        loop {
            let entries = self.replica.keys(name, range, after.as_ref(), BATCH_MAX);
            let is_last = entries.len() < BATCH_MAX;
            after = entries.last().map(|entry| entry.key.clone());
            for entry in entries {
                match theirs.get(&hash_of(&entry.key)) {
                    None => differences.missing.push(entry),
                    Some(versions) if versions.contains(&entry.version) => {}
                    Some(versions) if versions.len() == 1 && versions[0] > entry.version => {}
                    Some(_) => differences.push.push(entry),
                }
            }
            self.move_some(name, differences).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    // ---- moving ----

    /// Moves what fills a message.
    async fn move_some(&self, name: &str, differences: &mut Differences) -> Result<(), Status> {
        let Differences { fetch, push, missing } = &*differences;
        if fetch.len() >= RANGES_MAX || push.len() >= BATCH_MAX || missing.len() >= BATCH_MAX {
            self.move_all(name, differences).await?;
        }
        Ok(())
    }

    async fn move_all(&self, name: &str, differences: &mut Differences) -> Result<(), Status> {
        let Differences { fetch, mut push, missing } = std::mem::take(differences);
        for ranges in fetch.chunks(RANGES_MAX) {
            self.fetch(name, ranges).await?;
        }
        let Some(horizon) = self.horizon else {
            push.extend(missing);
            for entries in push.chunks(BATCH_MAX) {
                self.push(name, entries.iter().map(|entry| entry.key.clone()).collect()).await?;
            }
            return Ok(());
        };
        // A tombstone cannot bring anything back: it stays.
        let documents = missing.into_iter().filter(|entry| !entry.is_tombstone);
        let documents = documents.map(|entry| (entry.key, entry.version)).collect();
        self.replica.cleanse(name, documents, horizon).await?;
        Ok(())
    }

    async fn fetch(&self, name: &str, mut ranges: &[Range]) -> Result<(), Status> {
        let mut after: Option<Key> = None;
        while !ranges.is_empty() {
            let asked = ranges.iter().map(|range| (range.depth, range.start)).collect();
            let from = after.as_ref().map(|key| key.as_bytes().to_vec());
            self.may_ask()?;
            let ticket = self.replica.ticket()?;
            let reply = self
                .client
                .call(&Fetch { keyspace: name.to_owned(), ranges: asked, after: from })
                .await?;
            let bounds = self.replica.bounds()?;
            let documents = self.checked(wire::documents(&reply.documents, &bounds))?;
            let origin = self.checked(reply.origin.check_answer(ticket))?;
            let count = documents.len();
            let is_newer = |(key, document): &(Key, Document)| {
                let held = self.replica.index(name, |index| index.version(key));
                held < Some(document.version)
            };
            if documents.iter().any(is_newer) {
                self.idle.store(0, Relaxed);
            }
            match self.replica.take(self.peer, origin, name, documents).await? {
                Taken::Kept { .. } => self.replica.counters.fetched.add(count),
                _ => return Err(not_allowed("to take in what it gave")),
            }
            let Some(more) = reply.more.as_ref() else { return Ok(()) };
            let at = more.0.to_native() as usize;
            let next = more.1.as_ref().map(|key| wire::key(key)).transpose()?;
            let Some(range) = ranges.get(at) else {
                return Err(not_allowed("to go on beyond the end"));
            };
            // Each answer goes on from the one before, or the fetch would not end.
            let place = next.as_ref().map(|key| (hash_of(key), key));
            let is_on = match (&place, &after) {
                (None, _) => at > 0,
                (Some((hash, _)), _) if *hash < range.start || *hash > range.end() => false,
                (Some(place), Some(after)) if at == 0 => *place > (hash_of(after), after),
                (Some(_), _) => true,
            };
            if !is_on {
                return Err(not_allowed("an answer that does not go on"));
            }
            (ranges, after) = (&ranges[at..], next);
        }
        Ok(())
    }

    async fn push(&self, name: &str, mut keys: Vec<Key>) -> Result<(), Status> {
        let (mut is_again, mut ticket) = (false, None);
        while !keys.is_empty() {
            self.may_ask()?;
            let origin = self.replica.origin(ticket)?;
            let got = self.replica.get_some(name, &keys).await.map_err(Failure::Storage)?;
            let documents: Vec<Doc> = got
                .iter()
                .filter_map(|(key, document)| Some(Doc::new(key, document.as_ref()?)))
                .collect();
            let count = documents.len();
            let message = Replicate { origin, keyspace: name.to_owned(), documents };
            match *self.client.call(&message).await? {
                ArchivedTaken::Kept { newer } => {
                    if (newer.to_native() as usize) < count {
                        self.idle.store(0, Relaxed);
                    }
                    self.replica.counters.pushed.add(count);
                    keys.drain(..got.len());
                    is_again = false;
                }
                ArchivedTaken::Stale { ticket: ref given } if !is_again => {
                    (is_again, ticket) = (true, Some(given.check()));
                }
                _ => return Err(not_allowed("it did not take what it was given")),
            }
        }
        Ok(())
    }

    /// Counts a question, and ends an exchange that takes too long or moves nothing: a peer could
    /// otherwise make it go on for ever (docs/store.md §4.5).
    fn may_ask(&self) -> Result<(), Status> {
        if self.replica.node()?.now().mono >= self.deadline {
            return Err(not_allowed("an exchange that takes so long"));
        }
        if self.idle.fetch_add(1, Relaxed) >= EXCHANGE_IDLE_MAX {
            return Err(not_allowed("an exchange that moves nothing"));
        }
        Ok(())
    }

    /// What was allowed in an answer, or the refusal of it, counted (docs/store.md §6.1).
    fn checked<T>(&self, checked: Result<T, Invalid>) -> Result<T, Status> {
        checked.map_err(|invalid| {
            self.replica.counters.refused.add(1);
            invalid.into()
        })
    }
}

fn not_allowed(what: &str) -> Status {
    Status::new(Code::AppError, format!("not allowed: {what}"))
}

#[cfg(test)]
mod tests;
