//! [`Store`]: what users hold of a replica.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_channel::{Receiver, Sender};
use chinwag::{NodeId, Service};

use crate::config::Config;
use crate::error::{LimitError, ReadError};
use crate::gather::Patience;
use crate::keyspace::Keyspace;
use crate::limits::KEYSPACE_LEN_MAX;
use crate::peers::Selection;
use crate::replica::{Replica, lock};
use crate::service::StoreService;
use crate::spread::Spread;
use crate::stats::Stats;

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
    pub(crate) selection: Selection,
    pub(crate) patience: Patience,
    /// Replicas with which an exchange of this run has compared everything.
    compared: Mutex<BTreeSet<NodeId>>,
    pub(crate) ready: Ready,
}

/// Set once (docs/store.md §3.10), and waited for.
#[derive(Debug)]
pub(crate) struct Ready {
    is_set: AtomicBool,
    /// Closed when it is set, or will never be. Nothing is sent.
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Ready {
    fn new() -> Self {
        let (sender, receiver) = async_channel::bounded(1);
        Self { is_set: AtomicBool::new(false), sender, receiver }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Wakes all that wait.
    pub(crate) fn close(&self) {
        self.sender.close();
    }
}

impl Shared {
    pub(crate) fn new(replica: Arc<Replica>, spread: Arc<Spread>, config: Config) -> Self {
        Self {
            replica,
            spread,
            config,
            selection: Selection::default(),
            patience: Patience::default(),
            compared: Mutex::default(),
            ready: Ready::new(),
        }
    }

    /// Notes that an exchange has compared everything with `peer`.
    pub(crate) fn compared(&self, peer: NodeId) {
        lock(&self.compared).insert(peer);
        self.check_ready();
    }

    /// Notes whether this replica is ready (docs/store.md §3.10).
    pub(crate) fn check_ready(&self) {
        if self.ready.is_set() {
            return;
        }
        let Ok(voters) = self.replica.voters() else { return };
        if lock(&self.compared).len() >= voters.count(&self.config) / 2 {
            self.ready.is_set.store(true, Ordering::Release);
            self.ready.close();
        }
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
        Ok(Keyspace::new(self.shared.clone(), name))
    }

    /// The names of the keyspaces that the local replica has something in, in order.
    pub fn keyspaces(&self) -> Vec<String> {
        self.shared.replica.roots().into_keys().collect()
    }

    /// The other live replicas, in the order of their ids.
    pub fn replicas(&self) -> Vec<NodeId> {
        self.shared.replica.peers()
    }

    /// Waits until this replica has whatever was acknowledged at `Quorum` before it started
    /// (docs/store.md §3.10). A replica that counts nobody else is ready at once: say with
    /// [`StoreExtension::replicas_at_least`](crate::StoreExtension::replicas_at_least) how many
    /// there must be.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the node ended first.
    pub async fn ready(&self) -> Result<(), ReadError> {
        // Nothing is ever sent: this waits until it is closed.
        let _closed = self.shared.ready.receiver.recv().await;
        if self.shared.ready.is_set() { Ok(()) } else { Err(ReadError::Closed) }
    }

    /// Returns whether [`Store::ready`] would be ready at once.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.is_set()
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
