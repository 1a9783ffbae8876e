//! Reading at a level (docs/store.md §3.5).

use chinwag::protocol::time::Instant;
use chinwag::{Consistency, Node, NodeId, Status};

use super::{Keyspace, refused};
use crate::document::{Document, Version};
use crate::error::{ReadError, TooFew};
use crate::gather::gather;
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
        let config = &self.shared.config;
        let plan = self.shared.selection.plan(replica, &node, level, config);
        let plan = plan.map_err(ReadError::Select)?;
        let mut held = replica.get(&self.name, keys.clone()).await?;
        if plan.needed() == 0 || keys.is_empty() {
            return Ok(held);
        }
        let until = node.now().mono + config.timeout;
        let asked: Vec<(Key, Option<Version>)> = keys
            .iter()
            .cloned()
            .zip(held.iter().map(|document| Some(document.as_ref()?.version)))
            .collect();
        let patience = self.shared.patience.wait(config.timeout);
        let (node, asked) = (&node, &asked);
        let ask = |peer| self.ask(node, peer, until, asked);
        let gathered = gather(node, &plan, patience, ask).await;
        if !gathered.is_met {
            let (needed, answered) = (plan.needed() + 1, gathered.met + 1);
            return Err(ReadError::Replicas(TooFew {
                answered,
                needed,
                failures: gathered.failures,
            }));
        }
        if gathered.answers.iter().any(|(_, is_newer)| *is_newer) {
            held = replica.get(&self.name, keys.clone()).await?;
            let answered = gathered.answers.iter().map(|(peer, _)| *peer);
            self.repair(answered, asked, &held);
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
    ) -> Result<bool, Status> {
        let client = node.client::<StoreService>(peer).until(until);
        let replica = &self.shared.replica;
        let begun = node.now().mono;
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
        self.shared.patience.note(node.now().mono.since(begun));
        Ok(is_newer)
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
    fn repair(
        &self,
        answered: impl Iterator<Item = NodeId>,
        asked: &[(Key, Option<Version>)],
        held: &[Option<Document>],
    ) {
        let is_changed = |(asked, held): &(&(Key, Option<Version>), &Option<Document>)| {
            asked.1 != held.as_ref().map(|document| document.version)
        };
        let changed: Vec<Key> =
            asked.iter().zip(held).filter(is_changed).map(|((key, _), _)| key.clone()).collect();
        for peer in answered {
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
