//! [`World`]: what a user's test sees of the simulator.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use chinwag::protocol::time::Instant;
use chinwag::runtime::Timer;
use chinwag::{Builder, Config, Node, OnRuntime};

use super::handles::Handles;
use crate::choices::{Odds, Site};
use crate::clock::nanos;
use crate::fault::{Fault, Quality, Timed};
use crate::node::{Boot, Configure, Inner, VirtualTimer, lock};
use crate::trace::record::What as Told;

/// How often a calm looks whether the cluster has converged.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A node that was shut down is gone by then, whatever it did.
const ENDS_WITHIN: Duration = secs(2);
/// Chooses for the story, which is on no machine.
const STORY: u32 = u32::MAX;

/// So many seconds.
pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// So many milliseconds.
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A virtual world: machines, a network between them, and true time. Cheap to clone; every clone is
/// the same world.
///
/// Nodes are named by their index from 0; node 0 has the id 1. The world's time stands still while
/// a test does not wait for anything in it.
#[derive(Clone)]
pub struct World {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    seed: u64,
    engine: OnceLock<Arc<Inner>>,
    pub(super) orders: Mutex<Orders>,
}

/// What the story wants of the world, and what it got.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) cluster: Option<ClusterOrder>,
    pub(super) faults: Vec<Timed>,
    pub(super) swarm: Option<Duration>,
    /// All faults are to end.
    pub(super) calm: bool,
    pub(super) look: Option<Look>,
    /// Machines whose nodes are to be shut down.
    pub(super) shut_down: Vec<u32>,
    /// The node on each machine now.
    pub(super) nodes: BTreeMap<u32, Node>,
}

/// How many, how configured, and what runs on each.
pub(super) struct ClusterOrder {
    pub(super) count: usize,
    pub(super) config: Config,
    pub(super) configure: Configure,
    pub(super) boot: Boot,
}

pub(super) enum Look {
    Wanted,
    /// Why the views are not the truth, if they are not.
    Done(Option<String>),
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let shared = Shared { seed, engine: OnceLock::new(), orders: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn is_made(&self, engine: Arc<Inner>) {
        let was_new = self.shared.engine.set(engine);
        debug_assert!(was_new.is_ok(), "a world is made once");
    }

    /// The seed of this run.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// Starts `count` nodes, one on each machine, and waits until they all see each other. `boot`
    /// runs on each node as it starts, at every start of its process: it adds services, and
    /// spawns what else the process does.
    ///
    /// # Panics
    /// The second time: a world has one cluster. The test fails if the nodes do not see each other
    /// within a minute.
    pub async fn cluster<E: Display>(
        &self,
        count: usize,
        boot: impl Fn(&Node) -> Result<(), E> + Send + Sync + 'static,
    ) -> Vec<Node> {
        self.cluster_with(count, Config::lan(), |builder, _| builder, boot).await
    }

    /// [`World::cluster`] with an async `boot`, and what it returns on each node: the handles of
    /// extensions. Returns once every node sees every other one and `boot` is done on each.
    ///
    /// ```
    /// use chinwag::{ClusterExtension, Node};
    /// use chinwag_sim::check;
    ///
    /// struct Name;
    ///
    /// impl ClusterExtension for Name {
    ///     type Output = String;
    ///     type Error = String;
    ///
    ///     async fn init(self, node: &Node) -> Result<String, String> {
    ///         Ok(format!("I am {}", node.id()))
    ///     }
    /// }
    ///
    /// check(0..2, |world| async move {
    ///     let boot = |node: Node| async move { node.add_extension(Name).await };
    ///     let (nodes, names) = world.cluster_of(3, boot).await;
    ///     assert_eq!(nodes.len(), 3);
    ///     assert_eq!(names.get(1).expect("it runs"), "I am 2");
    /// });
    /// ```
    ///
    /// # Panics
    /// As [`World::cluster`]. The test fails if `boot` returns an error, or is not done on some
    /// node a minute after the cluster has formed.
    pub async fn cluster_of<T, E, B>(
        &self,
        count: usize,
        boot: impl Fn(Node) -> B + Send + Sync + 'static,
    ) -> (Vec<Node>, Handles<T>)
    where
        T: Send + 'static,
        E: Display,
        B: Future<Output = Result<T, E>> + Send + 'static,
    {
        let handles = Handles::new(self.clone());
        let booted = handles.clone();
        let spawn = move |node: &Node, machine| {
            let (booting, booted, own) = (boot(node.clone()), booted.clone(), node.clone());
            node.spawn(async move {
                let handle = booting.await.unwrap_or_else(|error| {
                    panic!("`boot` fails on node {machine}: {error}");
                });
                booted.put(machine, &own, handle);
            });
            Ok(())
        };
        let order = ClusterOrder {
            count,
            config: Config::lan(),
            configure: Arc::new(|builder, _| builder),
            boot: Arc::new(spawn),
        };
        let nodes = self.start(order).await;
        let until = self.now() + secs(60);
        while let Some(machine) = (0..).take(count).find(|&machine| !handles.has(machine)) {
            assert!(self.now() < until, "`boot` is not done on node {machine} after a minute");
            self.run_for(LOOK_EVERY).await;
        }
        (nodes, handles)
    }

    /// [`World::cluster`], with a configuration, and with a last word on each node's builder.
    ///
    /// # Panics
    /// As [`World::cluster`].
    pub async fn cluster_with<E: Display>(
        &self,
        count: usize,
        config: Config,
        configure: impl Fn(Builder<OnRuntime>, u32) -> Builder<OnRuntime> + Send + Sync + 'static,
        boot: impl Fn(&Node) -> Result<(), E> + Send + Sync + 'static,
    ) -> Vec<Node> {
        let boot: Boot = Arc::new(move |node, _| boot(node).map_err(|error| error.to_string()));
        self.start(ClusterOrder { count, config, configure: Arc::new(configure), boot }).await
    }

    async fn start(&self, order: ClusterOrder) -> Vec<Node> {
        assert!(self.shared.engine.get().is_none(), "a world has one cluster");
        let count = order.count;
        self.orders(|orders| orders.cluster = Some(order));
        // The world is made between two polls.
        poll_fn(
            |_| if self.shared.engine.get().is_some() { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
        while self.orders(|orders| orders.nodes.len()) < count {
            self.run_for(LOOK_EVERY).await;
        }
        self.converges_within(secs(60), "the cluster to form").await;
        self.orders(|orders| orders.nodes.values().cloned().collect())
    }

    /// The node that runs on machine `index` now; `None` while none does.
    pub fn node(&self, index: u32) -> Option<Node> {
        self.orders(|orders| orders.nodes.get(&index).cloned())
    }

    /// True time since the world began.
    ///
    /// # Panics
    /// Before [`World::cluster`].
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.engine().state().now)
    }

    /// Lets so much time pass. Invariants hold at every step of it, or the test fails.
    pub async fn run_for(&self, time: Duration) {
        let mut timer = VirtualTimer::new(self.engine(), None);
        let until = Instant::ZERO + self.now() + time;
        timer.reset(until);
        timer.await;
    }

    /// A number in `0..count`, chosen by the seed; 0 if there is nothing to choose from.
    pub fn choose(&self, count: u32) -> u32 {
        let odds = Odds::up_to(count.saturating_sub(1));
        if count < 2 { 0 } else { self.engine().state().choose(Site::Call, STORY, 0, odds) }
    }

    /// Something goes wrong when so much time has passed since the world began: say what. It lasts
    /// until the calm, unless it is told how long.
    pub fn at(&self, time: Duration) -> At {
        At { world: self.clone(), at: nanos(time), lasts: None }
    }

    /// [`World::at`] this moment.
    pub fn now_goes_wrong(&self) -> At {
        self.at(self.now())
    }

    /// Whatever the seed draws goes wrong from now on and for so long, at least four seconds: every
    /// family of faults, but nodes do not leave.
    pub fn swarm(&self, time: Duration) {
        self.orders(|orders| orders.swarm = Some(time));
    }

    /// Every fault ends now, but those that are for ever: nodes that crashed without coming back,
    /// and nodes that left.
    pub fn calm(&self) -> Calm {
        self.orders(|orders| orders.calm = true);
        Calm { world: self.clone() }
    }

    /// Shuts down the node on machine `index`, and returns when it has ended. The machine stays
    /// empty. Does nothing if no node runs there.
    ///
    /// # Panics
    /// The test fails if the node does not end within two seconds, or if a task or a socket of the
    /// node or its extensions is left then.
    pub async fn shut_down(&self, index: u32) {
        self.orders(|orders| orders.shut_down.push(index));
        let until = self.now() + ENDS_WITHIN;
        while self.node(index).is_some() {
            assert!(self.now() < until, "node {index} has not ended within {ENDS_WITHIN:?}");
            self.run_for(millis(1)).await;
        }
    }

    /// Writes a line into the trace and the timeline of a failing run.
    pub fn note(&self, text: &str) {
        let mut state = self.engine().state();
        let at = state.now;
        state.trace.tell(at, None, || Told::Note { text: text.to_owned() });
    }

    fn engine(&self) -> &Arc<Inner> {
        self.shared.engine.get().expect("`World::cluster` comes first")
    }

    pub(super) fn orders<T>(&self, act: impl FnOnce(&mut Orders) -> T) -> T {
        act(&mut lock(&self.shared.orders))
    }

    async fn converges_within(&self, time: Duration, what: &str) {
        let until = self.now() + time;
        loop {
            self.orders(|orders| orders.look = Some(Look::Wanted));
            let reason = poll_fn(|_| {
                self.orders(|orders| match orders.look.take() {
                    Some(Look::Done(reason)) => Poll::Ready(reason),
                    wanted => {
                        orders.look = wanted;
                        Poll::Pending
                    }
                })
            })
            .await;
            let Some(reason) = reason else { return };
            if self.now() >= until {
                // Not `panic!`: there is nothing to see in a backtrace.
                resume_unwind(Box::new(format!("waited {time:?} for {what}: {reason}")));
            }
            self.run_for(LOOK_EVERY).await;
        }
    }
}

/// After the faults.
#[must_use = "say within what time the cluster converges"]
pub struct Calm {
    world: World,
}

impl Calm {
    /// Waits until every node that is well sees every other one as it is, with no help; the test
    /// fails if that takes longer than `time`.
    pub async fn converges_within(self, time: Duration) {
        // One turn of the world, in which the faults end.
        self.world.run_for(Duration::from_nanos(1)).await;
        self.world.converges_within(time, "all views to be the truth after the faults").await;
    }

    /// Only waits so long.
    pub async fn lasts(self, time: Duration) {
        self.world.run_for(time).await;
    }
}

/// How a wall clock is changed, and how fast it runs then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockChange {
    step_ms: i64,
    drift_ppm: i64,
}

/// The wall clock is set forward.
pub fn step(by: Duration) -> ClockChange {
    ClockChange { step_ms: i64::try_from(by.as_millis()).unwrap_or(i64::MAX), drift_ppm: 0 }
}

/// The wall clock is set back.
pub fn step_back(by: Duration) -> ClockChange {
    ClockChange { step_ms: -step(by).step_ms, drift_ppm: 0 }
}

impl ClockChange {
    /// And it runs so many parts per million fast, at most 100,000 either way.
    #[must_use]
    pub const fn drift_ppm(mut self, ppm: i64) -> Self {
        self.drift_ppm = ppm;
        self
    }
}

/// A moment of a world at which something goes wrong.
pub struct At {
    world: World,
    at: u64,
    lasts: Option<u64>,
}

impl At {
    /// It lasts so long, and not until the calm.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasts = Some(nanos(time));
        self
    }

    /// Nothing crosses between the two groups of nodes.
    pub fn partition(
        self,
        one: impl IntoIterator<Item = u32>,
        other: impl IntoIterator<Item = u32>,
    ) {
        self.fault(Fault::Cut { from: sorted(one), to: sorted(other), one_way: false });
    }

    /// Nothing gets from the first group to the second; the other way it does.
    pub fn one_way(self, from: impl IntoIterator<Item = u32>, to: impl IntoIterator<Item = u32>) {
        self.fault(Fault::Cut { from: sorted(from), to: sorted(to), one_way: true });
    }

    /// Everywhere, this share of datagrams is lost, and segments of streams are late; 0 to 1.
    pub fn loss(self, share: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a million"
        )]
        let loss = (share.clamp(0.0, 1.0) * 1_000_000.0) as u32;
        self.links(Quality { loss, ..Quality::default() });
    }

    /// Everywhere, payloads take so much longer, and by chance up to `jitter` more.
    pub fn delay(self, delay: Duration, jitter: Duration) {
        self.links(Quality { delay, jitter, ..Quality::default() });
    }

    /// All links are as bad as this.
    pub fn links(self, quality: Quality) {
        self.fault(Fault::Link { from: Vec::new(), to: Vec::new(), quality });
    }

    /// The process stands still: no timer, no task, no I/O.
    pub fn pause(self, node: u32) {
        self.fault(Fault::FullPause(node));
    }

    /// Timers and tasks run; what is sent and received waits.
    pub fn block_io(self, node: u32) {
        self.fault(Fault::IoBlock(node));
    }

    /// The process dies. It starts again when the time that this lasts is over; without one it
    /// stays dead.
    pub fn crash(self, node: u32) {
        self.fault(Fault::Crash { node, moves: false, keeps_clock: false });
    }

    /// The clock of a node is changed.
    pub fn clock(self, node: u32, change: ClockChange) {
        let ClockChange { step_ms, drift_ppm } = change;
        self.fault(Fault::Clock { node, step_ms, drift_ppm });
    }

    /// The node says goodbye, and its process ends. It starts again when the time that this lasts
    /// is over, as in a rolling restart; without one it stays away.
    pub fn leave(self, node: u32) {
        self.fault(Fault::Leave(node));
    }

    /// Anything.
    pub fn fault(self, fault: Fault) {
        let until = self.lasts.map_or(u64::MAX, |lasts| self.at.saturating_add(lasts));
        self.world.orders(|orders| orders.faults.push(Timed { at: self.at, until, fault }));
    }
}

fn sorted(nodes: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut nodes: Vec<u32> = nodes.into_iter().collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}
