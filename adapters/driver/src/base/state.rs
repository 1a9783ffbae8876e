//! [`NodeState`]: a node's plain state, which its tasks on every layer read.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chinwag_core::clock::SharedHlc;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::rpc;

use crate::base::inbox::Inbox;
use crate::base::life::Life;
use crate::base::runtime::{BoxFuture, Runtime, Stream};
use crate::base::secure::Security;
use crate::base::seeds::SeedList;

/// Who a node is, what it runs on, and how far it is in its life.
pub(crate) struct NodeState {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) id: NodeId,
    /// This run of the node. It moves when the cluster knows a later run of the same id.
    epoch: AtomicU64,
    /// Where others reach this node, as its hellos say.
    pub(crate) addr: SocketAddr,
    /// Where the sockets are bound.
    pub(crate) bound: SocketAddr,
    pub(crate) cluster: String,
    /// Encrypts everything, if the cluster has a secret.
    pub(crate) security: Option<Arc<Security>>,
    pub(crate) rpc: Arc<rpc::Config>,
    /// What all connections may hold together for their peers.
    pub(crate) budget: Arc<rpc::Budget>,
    pub(crate) clock: Arc<SharedHlc>,
    /// Wall-clock nanoseconds at the node task's last turn.
    pub(crate) coarse_wall: AtomicU64,
    /// What the node joins through.
    pub(crate) seeds: Mutex<SeedList>,
    pub(crate) inbox: Inbox,
    pub(crate) life: Arc<Life>,
}

/// What [`NodeState::new`] is given.
pub(crate) struct NodeParts {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) id: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) addr: SocketAddr,
    pub(crate) bound: SocketAddr,
    pub(crate) cluster: String,
    pub(crate) security: Option<Arc<Security>>,
    pub(crate) rpc: Arc<rpc::Config>,
    pub(crate) clock: Arc<SharedHlc>,
    pub(crate) seeds: SeedList,
    /// Bytes that all connections may hold together.
    pub(crate) held_max: usize,
}

impl NodeState {
    pub(crate) fn new(parts: NodeParts) -> Self {
        let NodeParts {
            runtime,
            id,
            epoch,
            addr,
            bound,
            cluster,
            security,
            rpc,
            clock,
            seeds,
            held_max,
        } = parts;
        let coarse_wall = AtomicU64::new(runtime.now().wall.as_nanos());
        Self {
            runtime,
            id,
            epoch: AtomicU64::new(epoch.get()),
            addr,
            bound,
            cluster,
            security,
            rpc,
            budget: rpc::Budget::new(held_max),
            clock,
            coarse_wall,
            seeds: Mutex::new(seeds),
            inbox: Inbox::default(),
            life: Arc::default(),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Relaxed))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.get(), Ordering::Relaxed);
    }

    /// A stream to `addr`, where `id` is expected if it is known.
    pub(crate) fn connect(
        &self,
        addr: SocketAddr,
        id: Option<NodeId>,
    ) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        match &self.security {
            Some(security) => security.connect(addr, id),
            None => self.runtime.connect(addr),
        }
    }

    /// The stream that a peer has dialled, as what it says is read from it.
    pub(crate) fn accepted(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        match &self.security {
            Some(security) => security.accept(stream),
            None => stream,
        }
    }

    /// The hello that this node's connections begin with.
    pub(crate) fn hello(&self) -> rpc::Hello {
        rpc::Hello {
            cluster: self.cluster.clone(),
            id: self.id,
            epoch: self.epoch(),
            addr: self.addr,
        }
    }
}
