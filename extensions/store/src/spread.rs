//! [`Spread`]: writes on their way to replicas that nobody waits for (docs/store.md §3.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use chinwag::{NodeId, Status};

use crate::key::Key;
use crate::limits::{BATCH_MAX, QUEUE_MAX};
use crate::replica::{Failure, Replica, lock};
use crate::service::StoreService;
use crate::wire::{ArchivedTaken, Doc, Replicate};

/// A queue of keys for each replica, and who wants an exchange soon.
pub(crate) struct Spread {
    queues: Mutex<BTreeMap<NodeId, Queue>>,
    timeout: Duration,
    /// Rings for an exchange. One that rings already is enough.
    bell: Sender<()>,
    due: Mutex<BTreeSet<NodeId>>,
}

/// Keys that a replica is to be sent; what is sent is what is stored then. A queue is there while a
/// task works on it.
#[derive(Default)]
struct Queue {
    keys: BTreeSet<(Arc<str>, Key)>,
}

impl Spread {
    pub(crate) fn new(timeout: Duration) -> (Self, Receiver<()>) {
        let (bell, rings) = async_channel::bounded(1);
        (Self { queues: Mutex::default(), timeout, bell, due: Mutex::default() }, rings)
    }

    /// Sends these keys to `peer`, soon.
    pub(crate) fn push(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        peer: NodeId,
        keyspace: &str,
        keys: impl Iterator<Item = Key>,
    ) {
        let keyspace: Arc<str> = keyspace.into();
        let mut shed = 0;
        let is_new = {
            let mut queues = lock(&self.queues);
            let is_new = !queues.contains_key(&peer);
            let queue = queues.entry(peer).or_default();
            for key in keys {
                if queue.keys.len() < QUEUE_MAX {
                    queue.keys.insert((keyspace.clone(), key));
                } else {
                    shed += 1;
                }
            }
            if is_new && queue.keys.is_empty() {
                queues.remove(&peer);
                return;
            }
            is_new
        };
        self.shed(replica, peer, shed);
        if is_new && let Ok(node) = replica.node() {
            let (spread, replica) = (self.clone(), replica.clone());
            node.spawn(async move { spread.work(&replica, peer).await });
        }
    }

    /// What was not sent is left to an exchange.
    fn shed(&self, replica: &Replica, peer: NodeId, count: usize) {
        if count > 0 {
            replica.counters.shed.add(count);
            self.ring(peer);
        }
    }

    /// Asks for an exchange with `peer`.
    pub(crate) fn ring(&self, peer: NodeId) {
        lock(&self.due).insert(peer);
        self.wake();
    }

    /// Has whoever begins exchanges look at what is due.
    pub(crate) fn wake(&self) {
        let _rings_already = self.bell.try_send(());
    }

    /// Whether somebody wants an exchange with a replica other than `running`.
    pub(crate) fn is_due(&self, running: &BTreeSet<NodeId>) -> bool {
        lock(&self.due).iter().any(|peer| !running.contains(peer))
    }

    /// A replica other than `running` with which somebody wants an exchange; it is due no more.
    pub(crate) fn next_due(&self, running: &BTreeSet<NodeId>) -> Option<NodeId> {
        let mut due = lock(&self.due);
        let next = due.iter().copied().find(|peer| !running.contains(peer))?;
        due.remove(&next);
        Some(next)
    }

    /// Sends batch after batch until nothing waits, or one could not be sent.
    async fn work(&self, replica: &Replica, peer: NodeId) {
        while let Some((keyspace, keys)) = self.next_batch(peer) {
            let count = keys.len();
            match self.send(replica, peer, &keyspace, keys).await {
                Ok(()) => replica.counters.spread.add(count),
                Err(_) => {
                    let left = lock(&self.queues).remove(&peer).map_or(0, |queue| queue.keys.len());
                    return self.shed(replica, peer, count + left);
                }
            }
        }
    }

    /// Keys of one keyspace; `None` if nothing waits, and the queue is gone then.
    fn next_batch(&self, peer: NodeId) -> Option<(Arc<str>, Vec<Key>)> {
        let mut queues = lock(&self.queues);
        let keys = &mut queues.get_mut(&peer)?.keys;
        let Some((keyspace, _)) = keys.first().cloned() else {
            queues.remove(&peer);
            return None;
        };
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX && keys.first().is_some_and(|(name, _)| *name == keyspace) {
            batch.extend(keys.pop_first().map(|(_, key)| key));
        }
        Some((keyspace, batch))
    }

    async fn send(
        &self,
        replica: &Replica,
        peer: NodeId,
        keyspace: &str,
        mut keys: Vec<Key>,
    ) -> Result<(), Status> {
        let (mut is_again, mut ticket) = (false, None);
        while !keys.is_empty() {
            let node = replica.node()?;
            if !replica.meet(peer).await.map_err(Failure::Storage)? {
                return Err(refusal());
            }
            let origin = replica.origin(ticket)?;
            let got = replica.get_some(keyspace, &keys).await.map_err(Failure::Storage)?;
            let documents = got
                .iter()
                .filter_map(|(key, document)| Some(Doc::new(key, document.as_ref()?)))
                .collect();
            let message = Replicate { origin, keyspace: keyspace.to_owned(), documents };
            let client = node.client::<StoreService>(peer).timeout(self.timeout);
            // Whoever waits on a connection for the answer must not keep the node.
            drop(node);
            match *client.call(&message).await? {
                ArchivedTaken::Kept { .. } => {
                    keys.drain(..got.len());
                    is_again = false;
                }
                // A purge came between: once more with what is held now.
                ArchivedTaken::Stale { ticket: ref given } if !is_again => {
                    (is_again, ticket) = (true, Some(given.check()));
                }
                _ => return Err(refusal()),
            }
        }
        Ok(())
    }
}

fn refusal() -> Status {
    Status::new(chinwag::Code::AppError, "it was not taken")
}
