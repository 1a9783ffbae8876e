//! [`Shared`]: what the handles, the node task and the connection tasks of one node have in common.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use chinwag_core::clock::SharedHlc;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{Destination, Membership, StreamPeer};
use chinwag_core::rpc;
use chinwag_core::select::NodeSelector;
use chinwag_core::time::Instant;

use crate::base::limits::{INBOX_FAILURES_MAX, INBOX_FRAMES_MAX};
use crate::base::runtime::Runtime;
use crate::base::sync::{Bell, Registration, WaitList, lock};
use crate::base::watch::Board;
use crate::link::table::Links;
use crate::node::handle::{Handle, LeaveReport, Node};
use crate::serve::registry::Registry;
use crate::stats::counters::{Counters, Role};
use crate::stats::interceptor::{Chain, Interceptor};
use crate::stats::meter::Meters;
use crate::stats::trace::TraceIds;

/// One node's common state. Locks, each held for the length of a few statements and never across an
/// `await`:
///
/// * `machine`: the node task, and verbs. Never by connection tasks: calls do not wait for
///   membership.
/// * `inbox`, `leave`, the lists of futures that wait, the board's watches, the table of [`Links`], each
///   [`Link`](crate::link::handle::Link)'s state.
///
/// * Pipes of streams and what belongs to them.
///
/// No two of them are held at once, except that `Links` is locked before a link's state is, and
/// that before a pipe of its streams.
pub(crate) struct Shared {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) id: NodeId,
    /// This run; moves when the cluster knows a later one (DESIGN §3).
    epoch: AtomicU64,
    /// Where others reach this node, as its hellos say.
    pub(crate) addr: std::net::SocketAddr,
    /// Where the sockets are bound.
    pub(crate) bound: std::net::SocketAddr,
    pub(crate) cluster: String,
    pub(crate) rpc: Arc<rpc::Config>,
    /// What all connections may hold together for their peers.
    pub(crate) budget: Arc<rpc::Budget>,
    pub(crate) clock: Arc<SharedHlc>,
    /// Wall-clock nanoseconds at the node task's last turn.
    pub(crate) coarse_wall: AtomicU64,
    pub(crate) machine: Mutex<Membership>,
    pub(crate) bell: Bell,
    inbox: Mutex<Inbox>,
    pub(crate) board: Board,
    pub(crate) selector: ArcSwap<Box<dyn NodeSelector>>,
    pub(crate) registry: Registry,
    /// Of the methods that are called from here.
    pub(crate) meters: Meters,
    /// Around the calls made here.
    pub(crate) called: Chain,
    /// Around the handlers that run here.
    pub(crate) handled: Chain,
    pub(crate) trace_ids: TraceIds,
    /// What a call may take unless its client says otherwise.
    pub(crate) call_timeout: Duration,
    pub(crate) links: Links,
    pub(crate) counters: Counters,
    leave: Mutex<LeaveState>,
    /// The futures of [`Node::leave`].
    leavers: WaitList,
    /// It has begun to leave: it takes no new calls.
    is_leaving: AtomicBool,
    is_closed: AtomicBool,
    /// Tasks of the node that have not ended.
    tasks: AtomicUsize,
    /// The futures of [`Node::shutdown`].
    enders: WaitList,
    /// Tasks that end with the node ([`OwnedTask`](crate::serve::owned_task::OwnedTask)).
    pub(crate) owned: WaitList,
    handle: OnceLock<Weak<Handle>>,
}

/// What connection tasks have for the node task.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) frames: Vec<(StreamPeer, Bytes)>,
    pub(crate) failures: Vec<Destination>,
    /// Peers whose hello named another cluster, and its name.
    pub(crate) foreigners: Vec<(std::net::SocketAddr, String)>,
}

#[derive(Default)]
struct LeaveState {
    /// When calls in flight are waited for no longer.
    drain_until: Option<Instant>,
    has_drained: bool,
    report: Option<LeaveReport>,
}

/// What [`Shared::new`] is given.
pub(crate) struct Parts {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) addr: std::net::SocketAddr,
    pub(crate) bound: std::net::SocketAddr,
    pub(crate) cluster: String,
    pub(crate) rpc: Arc<rpc::Config>,
    pub(crate) clock: Arc<SharedHlc>,
    pub(crate) machine: Membership,
    pub(crate) selector: Box<dyn NodeSelector>,
    pub(crate) seed: u64,
    pub(crate) call_timeout: Duration,
    pub(crate) connections_max: usize,
    pub(crate) held_max: usize,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let snapshot = parts.machine.snapshot();
        let local = snapshot.local();
        Arc::new(Self {
            id: local.id,
            epoch: AtomicU64::new(local.epoch.get()),
            coarse_wall: AtomicU64::new(parts.runtime.now().wall.as_nanos()),
            runtime: parts.runtime,
            addr: parts.addr,
            bound: parts.bound,
            cluster: parts.cluster,
            rpc: parts.rpc,
            budget: rpc::Budget::new(parts.held_max),
            clock: parts.clock,
            machine: Mutex::new(parts.machine),
            bell: Bell::default(),
            inbox: Mutex::default(),
            board: Board::new(snapshot),
            selector: ArcSwap::from_pointee(parts.selector),
            registry: Registry::default(),
            meters: Meters::default(),
            called: Chain::default(),
            handled: Chain::default(),
            trace_ids: TraceIds::new(parts.seed),
            call_timeout: parts.call_timeout,
            links: Links::new(parts.seed, parts.connections_max),
            counters: Counters::default(),
            leave: Mutex::default(),
            leavers: WaitList::default(),
            is_leaving: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            tasks: AtomicUsize::new(0),
            enders: WaitList::default(),
            owned: WaitList::default(),
            handle: OnceLock::new(),
        })
    }

    /// Ties the handle whose drop ends the node to what its tasks share.
    pub(crate) fn bind(&self, handle: &Arc<Handle>) {
        let bound = self.handle.set(Arc::downgrade(handle));
        debug_assert!(bound.is_ok(), "a node has one handle, made once");
    }

    /// The node, while somebody holds it.
    pub(crate) fn node(&self) -> Option<Node> {
        self.handle.get()?.upgrade().map(Node::from_handle)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Relaxed))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.get(), Ordering::Relaxed);
    }

    pub(crate) fn add_interceptor(&self, role: Role, interceptor: Arc<dyn Interceptor>) {
        match role {
            Role::Caller => self.called.add(interceptor),
            Role::Callee => self.handled.add(interceptor),
        }
    }

    pub(crate) fn hello(&self) -> rpc::Hello {
        rpc::Hello {
            cluster: self.cluster.clone(),
            id: self.id,
            epoch: self.epoch(),
            addr: self.addr,
        }
    }

    /// Hands a gossip frame to the node task. Shed, and counted, when that is behind.
    pub(crate) fn post_gossip(&self, peer: StreamPeer, frame: Bytes) {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.frames.len() >= INBOX_FRAMES_MAX {
                self.counters.gossip_shed.add(1);
                return;
            }
            inbox.frames.push((peer, frame));
        }
        self.bell.ring();
    }

    /// Tells the node task that gossip to `to` did not leave.
    pub(crate) fn post_failure(&self, to: Destination) {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.failures.len() >= INBOX_FAILURES_MAX {
                return;
            }
            inbox.failures.push(to);
        }
        self.bell.ring();
    }

    /// Tells the node task that a peer's hello named another cluster.
    pub(crate) fn post_foreigner(&self, from: std::net::SocketAddr, cluster: String) {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.foreigners.len() >= INBOX_FAILURES_MAX {
                return;
            }
            inbox.foreigners.push((from, cluster));
        }
        self.bell.ring();
    }

    pub(crate) fn take_inbox(&self) -> Inbox {
        std::mem::take(&mut lock(&self.inbox))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Ends the node: every task sees it at its next poll, and each is woken for one.
    pub(crate) fn close(&self) {
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::info!(id = %self.id, "node shuts down");
        self.bell.ring();
        self.links.close();
        self.board.close();
        self.registry.clear();
        self.leavers.wake_all();
        self.owned.wake_all();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::SeqCst)
    }

    /// Says goodbye to members and over every connection, once; gives when calls in flight are
    /// waited for no longer.
    pub(crate) fn leave(&self) -> Instant {
        let now = self.runtime.now();
        let until = *lock(&self.leave).drain_until.get_or_insert(now.mono + self.rpc.drain_timeout);
        if !self.is_closed() && !self.is_leaving.swap(true, Ordering::SeqCst) {
            lock(&self.machine).leave(now);
            self.bell.ring();
            self.links.drain(now);
        }
        until
    }

    /// A connection has come to rest: if the node leaves, whoever waits for that looks again.
    pub(crate) fn notice_drain(&self) {
        if self.is_leaving() {
            self.leavers.wake_all();
        }
    }

    pub(crate) fn leave_completed(&self, report: LeaveReport) {
        lock(&self.leave).report = Some(report);
        self.leavers.wake_all();
    }

    /// Ready with the leave's report once no call is in flight or `is_time_up`, or with `None` when
    /// the node has ended before that.
    pub(crate) fn poll_left(
        &self,
        cx: &mut Context<'_>,
        registration: &mut Registration<'_>,
        is_time_up: bool,
    ) -> Poll<Option<LeaveReport>> {
        // First, so that what changes while the connections are looked at is not missed.
        registration.register(cx.waker());
        let is_quiet = is_time_up || !self.links.is_busy();
        let mut leave = lock(&self.leave);
        leave.has_drained |= is_quiet && !self.is_closed();
        if leave.has_drained && leave.report.is_some() {
            return Poll::Ready(leave.report);
        }
        if self.is_closed() { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Ready once every task of the node has ended.
    pub(crate) fn poll_ended(
        &self,
        cx: &mut Context<'_>,
        registration: &mut Registration<'_>,
    ) -> Poll<()> {
        // Registered before the count is read, so that the last end is not missed.
        registration.register(cx.waker());
        if self.tasks.load(Ordering::SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The registration of one future of [`Node::leave`].
    pub(crate) fn leaver(&self) -> Registration<'_> {
        self.leavers.registration()
    }

    /// The registration of one future of [`Node::shutdown`].
    pub(crate) fn ender(&self) -> Registration<'_> {
        self.enders.registration()
    }
}

/// Counts a task of the node, for [`Node::shutdown`]. It is the last field of the task, so that it
/// is dropped after everything that the task holds: sockets, handlers, the user's files.
pub(crate) struct Alive {
    shared: Arc<Shared>,
}

impl Alive {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.tasks.fetch_add(1, Ordering::SeqCst);
        Self { shared: shared.clone() }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.shared.tasks.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.enders.wake_all();
        }
    }
}
