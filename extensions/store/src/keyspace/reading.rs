//! Reading at a level (docs/store.md §3.5).

use chinwag::protocol::time::Instant;
use chinwag::{Consistency, Node, NodeId, Picks, Status};

use super::{Keyspace, refused};
use crate::document::{Document, Version};
use crate::error::{ReadError, TooFew};
use crate::join::join_all;
use crate::key::Key;
use crate::peers;
use crate::replica::Failure;
use crate::service::StoreService;
use crate::wire::{self, Invalid, Named, Origin, Read, Taken};

impl Keyspace {
    pub(super) async fn read(
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
        let replica = &self.shared.replica;
        let result = async {
            let (mut is_newer, mut at) = (false, 0);
            while at < asked.len() {
                let keys =
                    asked[at..].iter().map(|(key, version)| Named::new(key, *version)).collect();
                let ticket = replica.ticket()?;
                let question = Read { keyspace: self.name.to_string(), keys };
                let found = peers::call(replica, &client, &question).await?;
                let answered = found.answered.to_native() as usize;
                if answered == 0 {
                    return Err(refused("it answered nothing"));
                }
                let documents = self.checked(wire::documents(&found.newer, &replica.bounds()?))?;
                is_newer |= !documents.is_empty();
                let origin = self.checked(found.origin.check_answer(ticket))?;
                self.take(peer, origin, documents).await?;
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

    /// What was allowed in an answer, or the refusal of it, counted (docs/store.md §6.1).
    fn checked<T>(&self, checked: Result<T, Invalid>) -> Result<T, Status> {
        checked.map_err(|invalid| {
            self.shared.replica.counters.refused.add(1);
            invalid.into()
        })
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
            Taken::Stale { .. } | Taken::Forgotten | Taken::Full => {
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

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Storage(error) => Self::Storage(error),
            Failure::Closed => Self::Closed,
        }
    }
}
