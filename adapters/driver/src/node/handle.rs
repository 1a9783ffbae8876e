//! [`Node`]: this program's place in the cluster.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{BroadcastError, Metadata, MetadataError, SendError, Snapshot};
use chinwag_core::select::{Consistency, NodeSelector, Picks, SelectError, Topology};
use chinwag_core::time::{Instant, Now};

use crate::base::life::LeaveReport;
use crate::base::owned_task::OwnedTask;
use crate::base::runtime::Alarm;
use crate::base::seeds::{SeedError, SeedList, SeedProvider, Source};
use crate::base::sync::lock;
use crate::base::watch::{Members, Watch};
use crate::call::balanced::Balanced;
use crate::call::client::Client;
use crate::call::fan_out::FanOut;
use crate::call::target::Target;
use crate::node::builder::{Builder, OnRuntime};
use crate::node::clock::Clock;
use crate::node::extension::ClusterExtension;
use crate::node::weak_node::WeakNode;
use crate::serve::context::Context;
use crate::serve::service::{AddServiceError, Service};
use crate::serve::shared::{Handle, Shared};
use crate::stats::counters::{Role, Stats};
use crate::stats::interceptor::Interceptor;

/// A node of a cluster, and everything one does with it. Cheap to clone: every clone is the same
/// node.
///
/// Dropping the last clone ends the node at once: its sockets close, its tasks end, and the others
/// find out by themselves. [`Node::leave`] first, to go in good order. Clients, clocks and watches
/// do not keep the node alive.
#[derive(Clone)]
pub struct Node {
    handle: Arc<Handle>,
}

impl Node {
    /// The start of a node: who it is, and where it listens (UDP and TCP, on one port; port 0 is
    /// the system's choice). Ends with [`Builder::start_on`]. The `Node` of an adapter crate
    /// has a `builder` that ends with `start()`.
    pub fn builder(id: impl Into<NodeId>, listen: SocketAddr) -> Builder<OnRuntime> {
        Builder::new(id, listen)
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { handle: shared.bind() }
    }

    pub(crate) fn from_handle(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.shared().node.id
    }

    /// This run of it. It moves once if the cluster knows a later run of the same id than this one
    /// claims to be.
    pub fn epoch(&self) -> Epoch {
        self.shared().node.epoch()
    }

    /// Where its sockets are bound, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared().node.bound
    }

    /// Where it tells others that it is reached.
    pub fn advertised_addr(&self) -> SocketAddr {
        self.shared().node.addr
    }

    /// The node, for those who must not keep it alive.
    pub fn downgrade(&self) -> WeakNode {
        WeakNode::new(self.shared().clone())
    }

    // ---- members ----

    /// Who is in the cluster: the latest view, without a lock.
    pub fn members(&self) -> Members {
        self.shared().board.members()
    }

    /// The events from now on, and the view they start from.
    pub fn watch(&self) -> Watch {
        self.shared().board.watch()
    }

    /// Waits until the view satisfies `condition`, and gives that view.
    ///
    /// # Errors
    /// [`WaitError`] when `timeout` passes or the node ends first.
    pub async fn wait_for(
        &self,
        mut condition: impl FnMut(&Snapshot) -> bool,
        timeout: Duration,
    ) -> Result<Members, WaitError> {
        let shared = self.shared();
        let deadline = shared.node.runtime.now().mono + timeout;
        let mut alarm = Alarm::new(&*shared.node.runtime);
        let mut watch = shared.board.watch();
        loop {
            // The watch is older than this view, so no change in between goes unseen.
            let members = shared.board.members();
            if condition(&members) {
                return Ok(members);
            }
            poll_fn(|cx| match watch.poll_published(cx) {
                Poll::Ready(true) => Poll::Ready(Ok(())),
                Poll::Ready(false) => Poll::Ready(Err(WaitError::Closed)),
                Poll::Pending => alarm.poll(cx, Some(deadline)).map(|()| Err(WaitError::TimedOut)),
            })
            .await?;
        }
    }

    /// Adds a member to join through, as [`Builder::seeds`]: it is tried at once.
    ///
    /// # Errors
    /// [`SeedError`] if it is not `host:port`; nothing has changed then.
    pub fn add_seed(&self, seed: impl Into<String>) -> Result<(), SeedError> {
        let seed = seed.into();
        let source = Source::of(&seed)?;
        self.change_seeds(|seeds| seeds.add(seed, source));
        Ok(())
    }

    /// Adds a function that gives addresses to join through, as [`Builder::seed_provider`]: it is
    /// asked at once.
    pub fn add_seed_provider(&self, name: impl Into<String>, provider: impl SeedProvider) {
        self.change_seeds(|seeds| seeds.add(name.into(), Source::Provider(Arc::new(provider))));
    }

    /// Joins no more through the seed, or the provider, that was added as `name`; says whether it
    /// was there. Members that were found through it stay.
    pub fn remove_seed(&self, name: &str) -> bool {
        self.change_seeds(|seeds| seeds.remove(name))
    }

    /// The seeds, and the names of providers, in the order in which they were added.
    pub fn seeds(&self) -> Vec<String> {
        lock(&self.shared().node.seeds).iter().map(|(name, _)| name.clone()).collect()
    }

    /// Returns whether a seed was taken out or got another source.
    fn change_seeds(&self, change: impl FnOnce(&mut SeedList) -> Option<Source>) -> bool {
        let shared = self.shared();
        // A provider is the user's: it is dropped while nothing is locked.
        let before = { change(&mut lock(&shared.node.seeds)) };
        lock(&shared.machine).join(self.now());
        shared.node.inbox.post_new_seeds();
        before.is_some()
    }

    /// Replaces what the node says about itself; the others hear of it.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn set_metadata(&self, metadata: Metadata) -> Result<(), MetadataError> {
        self.edit_metadata(|_| Ok(metadata))
    }

    /// Sets one entry of what the node says about itself, and leaves the others as they are,
    /// whoever changes them at the same time: how an extension says that it runs here. Name the
    /// entry after the extension, and keep it short: all entries share 512 bytes.
    ///
    /// # Errors
    /// See [`MetadataError`]; nothing has changed then.
    pub fn set_metadata_entry(&self, key: &str, value: &str) -> Result<(), MetadataError> {
        self.edit_metadata(|metadata| metadata.with(key, value))
    }

    /// Takes one entry out of what the node says about itself, and leaves the others as they are.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn remove_metadata_entry(&self, key: &str) -> Result<(), MetadataError> {
        self.edit_metadata(|metadata| Ok(metadata.without(key)))
    }

    /// `edit` runs under the machine's lock, so it is this file's own.
    fn edit_metadata(
        &self,
        edit: impl FnOnce(&Metadata) -> Result<Metadata, MetadataError>,
    ) -> Result<(), MetadataError> {
        let now = self.now();
        {
            let mut machine = lock(&self.shared().machine);
            let mut edited = edit(&machine.local().metadata)?;
            if let Some(security) = &self.shared().node.security {
                edited = security.own(&edited)?;
            }
            machine.set_metadata(now, edited)?;
        }
        self.shared().node.inbox.bell.ring();
        Ok(())
    }

    /// Sends a small payload to every member, which gets it as an event at most once.
    ///
    /// # Errors
    /// See [`BroadcastError`].
    pub fn broadcast(&self, payload: &[u8]) -> Result<(), BroadcastError> {
        let now = self.now();
        lock(&self.shared().machine).broadcast(now, payload)?;
        self.shared().node.inbox.bell.ring();
        Ok(())
    }

    /// Sends a small payload to one member, which gets it as an event. It may be lost.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, to: impl Into<NodeId>, payload: &[u8]) -> Result<(), SendError> {
        lock(&self.shared().machine).send_to(to.into(), Bytes::copy_from_slice(payload))?;
        self.shared().node.inbox.bell.ring();
        Ok(())
    }

    // ---- services and calls ----

    /// Offers a service, from now on.
    ///
    /// # Errors
    /// See [`AddServiceError`].
    pub fn add_service<S: Service>(&self, service: S) -> Result<(), AddServiceError> {
        self.shared().registry.add(service)
    }

    /// Offers the service `S` no more, and says whether it did. Calls that have begun finish.
    pub fn remove_service<S: Service>(&self) -> bool {
        self.shared().registry.remove(S::NAME)
    }

    /// Puts an interceptor around the calls that this node makes, or around those it handles, from
    /// now on, inside of those added before. It stays for as long as the node does.
    pub fn add_interceptor(&self, role: Role, interceptor: impl Interceptor) {
        self.shared().add_interceptor(role, Arc::new(interceptor));
    }

    /// A client for the service `S` of `peer`, which may be this node itself.
    ///
    /// Keep it, and clone it: the calls that are made with it and its clones are those of one
    /// caller, and callers whose calls wait for room take turns.
    pub fn client<S: Service>(&self, peer: impl Into<NodeId>) -> Client<S> {
        Client::new(self.target(peer.into()))
    }

    /// A client for the service `S` of whichever member the node's selector chooses, call by call,
    /// and of another one when a call did not get through. Keep it, and clone it: its budget
    /// for retries is its own.
    pub fn balanced<S: Service>(&self) -> Balanced<S> {
        Balanced::new(self.target(self.id()))
    }

    /// One message to each of `members`, of which the first answers count: quorums, hedged calls.
    /// This node itself may be among them.
    pub fn fan_out<S: Service>(
        &self,
        members: impl IntoIterator<Item = impl Into<NodeId>>,
    ) -> FanOut<S> {
        FanOut::new(self.target(self.id()), members)
    }

    /// For a caller of its own.
    fn target(&self, peer: NodeId) -> Target {
        let shared = self.shared().clone();
        let caller = shared.next_caller();
        Target::new(shared, peer, caller)
    }

    /// Chooses members by the node's selector.
    ///
    /// # Errors
    /// [`SelectError`] when there are not enough.
    pub fn select(&self, level: Consistency) -> Result<Picks, SelectError> {
        let shared = self.shared();
        let mut picks = Picks::new();
        shared.selector.load().select(&shared.board.topology(), level, &mut picks)?;
        Ok(picks)
    }

    /// Chooses members by `selector`: rendezvous hashing of a key, say.
    ///
    /// # Errors
    /// [`SelectError`] when there are not enough.
    pub fn select_by(
        &self,
        selector: &dyn NodeSelector,
        level: Consistency,
    ) -> Result<Picks, SelectError> {
        let mut picks = Picks::new();
        selector.select(&self.shared().board.topology(), level, &mut picks)?;
        Ok(picks)
    }

    /// Chooses by the node's selector among the members of `topology`: those that an extension runs
    /// on, say. Whose turn it is, is kept in the topology: make the next one with
    /// [`Topology::next`] when the view has changed.
    ///
    /// # Errors
    /// [`SelectError`] when there are not enough.
    pub fn select_on(&self, topology: &Topology, level: Consistency) -> Result<Picks, SelectError> {
        let mut picks = Picks::new();
        self.shared().selector.load().select(topology, level, &mut picks)?;
        Ok(picks)
    }

    /// Replaces the selector that [`Node::select`] uses.
    pub fn set_selector(&self, selector: impl NodeSelector + 'static) {
        self.shared().selector.store(Arc::new(Box::new(selector)));
    }

    // ---- time, tasks, extensions ----

    /// The causal clock.
    pub fn clock(&self) -> Clock {
        Clock::new(self.shared().node.clone())
    }

    /// The runtime's clocks.
    pub fn now(&self) -> Now {
        self.shared().node.runtime.now()
    }

    /// Runs a task on the node's runtime until it is done or the node ends. When the node ends,
    /// the task is dropped at the `.await` where it waits, and [`Node::shutdown`] returns after
    /// that. Use the runtime's own `spawn` for a task that has to outlive the node.
    #[track_caller]
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        OwnedTask::spawn(&self.shared().node, Box::pin(task));
    }

    /// Waits on the node's runtime. Does not keep the node alive.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.sleep_until(self.now().mono + time)
    }

    /// [`Node::sleep`] to a point on the monotonic clock.
    pub fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + use<> {
        let mut alarm = Alarm::new(&*self.shared().node.runtime);
        poll_fn(move |cx| alarm.poll(cx, Some(deadline)))
    }

    /// Adds an extension and gives what it gives.
    ///
    /// # Errors
    /// The extension's own.
    pub async fn add_extension<E: ClusterExtension>(
        &self,
        extension: E,
    ) -> Result<E::Output, E::Error> {
        extension.init(self).await
    }

    /// What the node has counted.
    pub fn stats(&self) -> Stats {
        let shared = self.shared();
        let membership = lock(&shared.machine).stats();
        let mut methods = Vec::new();
        shared.meters.read(Role::Outbound, &mut methods);
        shared.registry.read(&mut methods);
        let security = shared.node.security.as_deref();
        shared.links.counters.read(&membership, shared.links.len(), methods, security)
    }

    // ---- the end ----

    /// Leaves the cluster in good order. The others are told at once, and report the node as left,
    /// not as dead. From then on it refuses new calls of theirs as
    /// [`Unavailable`](crate::Code::Unavailable), never run, so that balanced clients go elsewhere;
    /// calls in flight, both ways, and their streams go on, and handlers may still call others.
    ///
    /// Ready once enough of the others have acknowledged it, or its time ran out, and no call is in
    /// flight over a connection, or [`drain_timeout`](chinwag_core::rpc::Config::drain_timeout)
    /// (30 s unless [`Builder::rpc`] says otherwise) has passed since it began: what is still open
    /// then ends as [`ConnectionLost`](crate::Code::ConnectionLost). Peers that do not say goodbye
    /// in return, because they are dead, say, are waited for 5 s at most (`keepalive_calls`). Who
    /// does not want to wait drops the future, or calls [`Node::shutdown`], which ends the node in
    /// any case. Calls of the node to itself and one-way messages are not waited for.
    ///
    /// A second call is the same leave.
    ///
    /// # Errors
    /// [`LeaveError`] when the node ends first.
    pub async fn leave(&self) -> Result<LeaveReport, LeaveError> {
        let shared = self.shared();
        let until = shared.leave();
        let runtime = &*shared.node.runtime;
        let peers_until = (runtime.now().mono + shared.node.rpc.keepalive_calls).min(until);
        let (mut alarm, mut peers_alarm) = (Alarm::new(runtime), Alarm::new(runtime));
        let mut registration = shared.node.life.leavers.registration();
        poll_fn(|cx| {
            let is_time_up = alarm.poll(cx, Some(until)).is_ready();
            let awaits_peers = peers_alarm.poll(cx, Some(peers_until)).is_pending();
            shared.poll_left(cx, &mut registration, is_time_up, awaits_peers)
        })
        .await
        .ok_or(LeaveError)
    }

    /// Ends the node, and waits until its sockets are closed and all of its tasks have ended: those
    /// of its connections, handlers, and everything that [`Node::spawn`] started, also for
    /// extensions. Unless the node has left, the other members detect its end by themselves.
    /// Calls and handlers in flight end. What other clones do from now on fails.
    ///
    /// A task that was started with [`Node::spawn`] and calls `shutdown` is dropped while it waits,
    /// like every other task of the node.
    pub async fn shutdown(&self) {
        let shared = self.shared();
        shared.close();
        let mut registration = shared.node.life.enders.registration();
        poll_fn(|cx| shared.node.life.poll_ended(cx, &mut registration)).await;
    }
}

impl Context {
    /// The node that runs the handler; `None` once its last handle is gone. Not to be kept in the
    /// service.
    pub fn node(&self) -> Option<Node> {
        self.shared().handle().map(Node::from_handle)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("epoch", &self.epoch())
            .field("addr", &self.local_addr())
            .finish_non_exhaustive()
    }
}

/// The node ended before its leave was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaveError;

impl fmt::Display for LeaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node ended before its leave was complete")
    }
}

impl std::error::Error for LeaveError {}

/// Why [`Node::wait_for`] gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The time ran out.
    TimedOut,
    /// The node ended.
    Closed,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the condition did not come true in time",
            Self::Closed => "the node ended",
        })
    }
}

impl std::error::Error for WaitError {}
