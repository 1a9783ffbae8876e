//! [`Shared`]: what the handles, the node task and the handlers of one node have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use chinwag_core::membership::Membership;
use chinwag_core::select::NodeSelector;
use chinwag_core::time::Instant;

use crate::base::life::LeaveReport;
use crate::base::state::{NodeParts, NodeState};
use crate::base::sync::{Registration, lock};
use crate::base::watch::Board;
use crate::link::table::Links;
use crate::serve::registry::Registry;
use crate::serve::tasks::Orphans;
use crate::stats::counters::Role;
use crate::stats::interceptor::{Chain, Interceptor};
use crate::stats::meter::Meters;
use crate::stats::trace::TraceIds;

/// One node's common state. The node task and the user's verbs lock `machine`; connection tasks
/// never do, so that calls do not wait for membership. Each lock in here and below is held for the
/// length of a few statements, and never across an `await`. No two are held at once, except that
/// the table of links is locked before a link's state, and that before a pipe of its streams.
pub(crate) struct Shared {
    pub(crate) node: Arc<NodeState>,
    pub(crate) links: Arc<Links>,
    pub(crate) machine: Mutex<Membership>,
    pub(crate) board: Board,
    pub(crate) selector: ArcSwap<Box<dyn NodeSelector>>,
    pub(crate) registry: Registry,
    /// Handlers of one-way messages that outlived their connections.
    pub(crate) orphans: Orphans,
    /// Counters of the methods that are called from here.
    pub(crate) meters: Meters,
    /// Interceptors and spans of the calls made here.
    pub(crate) outbound: Chain,
    /// Interceptors and spans of the calls handled here.
    pub(crate) inbound: Chain,
    /// What a call may take unless its client says otherwise.
    pub(crate) call_timeout: Duration,
    /// Callers that there have been.
    callers: AtomicU64,
    handle: OnceLock<Weak<Handle>>,
}

/// What all clones of a node's handle share and no task holds: its drop is the node's end.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// What [`Shared::new`] is given.
pub(crate) struct Parts {
    pub(crate) node: NodeParts,
    pub(crate) machine: Membership,
    pub(crate) selector: Box<dyn NodeSelector>,
    pub(crate) seed: u64,
    pub(crate) call_timeout: Duration,
    pub(crate) connections_max: usize,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { node, machine, selector, seed, call_timeout, connections_max } = parts;
        let node = Arc::new(NodeState::new(node));
        let ids = Arc::new(TraceIds::new(seed));
        let chain = |role| Chain::new(role, ids.clone(), node.runtime.clone());
        let (outbound, inbound) = (chain(Role::Outbound), chain(Role::Inbound));
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            links: Arc::new(Links::new(node.clone(), this.clone(), seed, connections_max)),
            board: Board::new(machine.snapshot()),
            machine: Mutex::new(machine),
            selector: ArcSwap::from_pointee(selector),
            registry: Registry::default(),
            orphans: Orphans::default(),
            meters: Meters::default(),
            outbound,
            inbound,
            call_timeout,
            callers: AtomicU64::new(0),
            handle: OnceLock::new(),
            node,
        })
    }

    /// A handle whose drop ends the node. To be called once.
    pub(crate) fn bind(self: Arc<Self>) -> Arc<Handle> {
        let handle = Arc::new(Handle { shared: self });
        let bound = handle.shared.handle.set(Arc::downgrade(&handle));
        debug_assert!(bound.is_ok(), "a node has one handle, made once");
        handle
    }

    /// A number for another one who makes calls here (docs/protocol.md §5.12.2).
    pub(crate) fn next_caller(&self) -> u64 {
        self.callers.fetch_add(1, Ordering::Relaxed)
    }

    /// The node's handle, while somebody holds it.
    pub(crate) fn handle(&self) -> Option<Arc<Handle>> {
        self.handle.get()?.upgrade()
    }

    pub(crate) fn add_interceptor(&self, role: Role, interceptor: Arc<dyn Interceptor>) {
        match role {
            Role::Outbound => self.outbound.add(interceptor),
            Role::Inbound => self.inbound.add(interceptor),
        }
    }

    /// Ends the node: every task sees it at its next poll, and each is woken for one.
    pub(crate) fn close(&self) {
        if !self.node.life.close() {
            return;
        }
        tracing::info!(target: "chinwag::node", local = %self.node.id, "node shuts down");
        self.node.inbox.bell.ring();
        self.links.close();
        self.orphans.close();
        self.board.close();
        self.registry.clear();
        self.node.life.leavers.wake_all();
        self.node.life.owned.wake_all();
    }

    /// Says goodbye to members and over every connection, once. Returns until when calls in flight
    /// are waited for.
    pub(crate) fn leave(&self) -> Instant {
        let now = self.node.runtime.now();
        let life = &self.node.life;
        let (until, has_begun) = life.begin_leave(now.mono + self.node.rpc.drain_timeout);
        if has_begun {
            lock(&self.machine).leave(now);
            self.node.inbox.bell.ring();
            self.links.drain(now);
        }
        until
    }

    /// Ready with the leave's report once no call is in flight or `is_time_up`, or with `None` when
    /// the node has ended before that.
    pub(crate) fn poll_left(
        &self,
        cx: &mut Context<'_>,
        registration: &mut Registration<'_>,
        is_time_up: bool,
        awaits_peers: bool,
    ) -> Poll<Option<LeaveReport>> {
        // Connections that were opened since have not gone away. Over them calls of this node's
        // handlers went, and gossip: they go away now that there are none.
        let has_drained = || {
            let is_quiet = !self.links.is_busy(awaits_peers);
            if is_quiet {
                self.links.drain(self.node.runtime.now());
            }
            is_quiet && !self.links.is_busy(awaits_peers)
        };
        self.node.life.poll_left(cx, registration, || is_time_up || has_drained())
    }
}
