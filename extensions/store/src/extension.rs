//! [`StoreExtension`]: the store as it is added to a node.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::Receiver;
use chinwag::protocol::rng::{Rng, mix};
use chinwag::protocol::time::Instant;
use chinwag::{ClusterExtension, Event, Node, NodeId, Watch};
use futures_lite::future::or;

use crate::any_storage::AnyStorage;
use crate::config::Config;
use crate::exchange::Exchange;
use crate::janitor::Janitor;
use crate::limits::EXCHANGES_MAX;
use crate::peers;
use crate::replica::{Failure, OpenError, Replica, lock};
use crate::service::StoreService;
use crate::spread::Spread;
use crate::storage::Storage;
use crate::store::{Shared, Store};

/// A replica of the store, to be added to a node:
/// `node.add_extension(StoreExtension::new(storage)).await?` gives the [`Store`].
pub struct StoreExtension {
    storage: Arc<dyn AnyStorage>,
    config: Config,
}

impl StoreExtension {
    /// A replica that keeps its documents in `storage`, which is its alone.
    pub fn new(storage: impl Storage) -> Self {
        Self { storage: Arc::new(Arc::new(storage)), config: Config::default() }
    }

    /// How long a read or write waits for other replicas. Default 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How often the replica compares itself with another one, drawn by chance, half of that more
    /// or less. Default 10 s: when nothing differs, an exchange is two messages of a few
    /// hundred bytes.
    #[must_use]
    pub fn exchange_interval(mut self, interval: Duration) -> Self {
        self.config.exchange_interval = interval;
        self
    }

    /// How often tombstones are purged. Default 1 min.
    #[must_use]
    pub fn purge_interval(mut self, interval: Duration) -> Self {
        self.config.purge_interval = interval;
        self
    }

    /// How old tombstones must be before they may be purged. Default 1 h: time for a new member to
    /// become known, and for whoever asks why something is gone.
    #[must_use]
    pub fn purge_after(mut self, age: Duration) -> Self {
        self.config.purge_after = age;
        self
    }

    /// For how long a node that is away without having left holds back all purges (docs/store.md
    /// §5.5). Default a week.
    #[must_use]
    pub fn forget_after(mut self, time: Duration) -> Self {
        self.config.forget_after = time;
        self
    }
}

impl StoreExtension {
    /// Fixes how many replicas `Quorum` and `All` count, this one included, whoever is seen
    /// (docs/store.md §3.8). By default they count the durable roster. It must be the same on all
    /// replicas.
    #[must_use]
    pub fn replicas(mut self, count: NonZeroUsize) -> Self {
        self.config.replicas = Some(count.get());
        self
    }

    /// Says how many replicas there must be, this one included: `Quorum` and `All` count at least
    /// so many before the durable roster is known, and [`Store::ready`] waits for a majority of
    /// them. Default 1.
    #[must_use]
    pub fn replicas_at_least(mut self, count: NonZeroUsize) -> Self {
        self.config.replicas_min = count.get();
        self
    }
}

impl ClusterExtension for StoreExtension {
    type Output = Store;
    type Error = OpenError;

    async fn init(self, node: &Node) -> Result<Store, OpenError> {
        let Self { storage, config } = self;
        let replica = Arc::new(Replica::open(node, storage, config).await?);
        let (spread, bell) = Spread::new(config.timeout);
        let shared = Arc::new(Shared::new(replica.clone(), Arc::new(spread), config));
        let watch = node.watch();
        node.add_service(StoreService { replica: replica.clone() }).map_err(OpenError::Service)?;
        if let Err(error) = node.set_metadata_entry(peers::ENTRY.0, peers::ENTRY.1) {
            node.remove_service::<StoreService>();
            return Err(OpenError::Metadata(error));
        }
        let now = node.now();
        let seed = mix(node.id().get() ^ mix(node.epoch().get() ^ now.mono.as_nanos()));
        node.spawn(clean(Janitor::new(replica, config), shared.clone()));
        node.spawn(Exchanger::new(shared.clone(), Rng::new(seed), watch, bell).run());
        Ok(Store { shared })
    }
}

async fn clean(mut janitor: Janitor, shared: Arc<Shared>) {
    loop {
        let Ok(sleep) = shared.replica.node().map(|node| node.sleep(shared.config.purge_interval))
        else {
            return;
        };
        sleep.await;
        if janitor.round().await.is_err() {
            return;
        }
    }
}

/// Begins exchanges: with a replica drawn by chance now and then, and soon with one that came, or
/// that something could not be sent to.
struct Exchanger {
    shared: Arc<Shared>,
    rng: Rng,
    watch: Watch,
    bell: Receiver<()>,
    /// With whom exchanges are under way.
    running: Arc<Mutex<BTreeSet<NodeId>>>,
}

enum Wake {
    Time,
    Bell,
    Event(Option<Event>),
}

impl Exchanger {
    fn new(shared: Arc<Shared>, rng: Rng, watch: Watch, bell: Receiver<()>) -> Self {
        Self { shared, rng, watch, bell, running: Arc::default() }
    }

    async fn run(mut self) {
        for peer in self.shared.replica.peers() {
            // Whom this replica has seen itself it need not be told of.
            let _counted = self.shared.replica.meet(peer).await;
            // This replica may have been away, or is new: it does not wait for its turn.
            self.shared.spread.ring(peer);
        }
        self.shared.check_ready();
        while let Some(peer) = self.wait().await {
            if self.begin(peer).is_err() {
                break;
            }
        }
        self.shared.ready.close();
    }

    /// Begins an exchange beside those that are under way (docs/store.md §4.3).
    fn begin(&self, peer: NodeId) -> Result<(), Failure> {
        let node = self.shared.replica.node()?;
        lock(&self.running).insert(peer);
        let under_way =
            UnderWay { peer, running: self.running.clone(), shared: self.shared.clone() };
        node.spawn(async move {
            let shared = &under_way.shared;
            let done = Exchange::run(&shared.replica, peer, shared.config.timeout).await;
            let counters = &shared.replica.counters;
            match done {
                Ok(is_whole) => {
                    counters.exchanges.add(1);
                    if is_whole {
                        shared.compared(peer);
                    }
                }
                Err(status) => {
                    counters.exchanges_failed.add(1);
                    if status.message == peers::NOT_A_REPLICA {
                        // It will know this replica soon.
                        shared.spread.ring(peer);
                    }
                }
            }
        });
        Ok(())
    }

    /// With whom to exchange next. `None` once the node has ended.
    async fn wait(&mut self) -> Option<NodeId> {
        let interval = self.shared.config.exchange_interval;
        let soon = (interval / SOONER).min(SOON_MAX);
        let mut deadline = self.now()? + self.about(interval);
        let mut is_due = self.is_due();
        loop {
            if std::mem::take(&mut is_due) {
                // Not all at once: whoever came is new to everybody.
                deadline = deadline.min(self.now()? + self.about(soon));
            }
            let sleep = self.shared.replica.node().ok()?.sleep_until(deadline);
            let time = async {
                sleep.await;
                Wake::Time
            };
            let bell = async {
                // The sender is in what is shared: it does not close.
                let _ = self.bell.recv().await;
                Wake::Bell
            };
            let event = async { Wake::Event(self.watch.next().await) };
            match or(event, or(time, bell)).await {
                Wake::Time => match self.next() {
                    Some(peer) => return Some(peer),
                    None => deadline = self.now()? + self.about(interval),
                },
                Wake::Bell => is_due = self.is_due(),
                Wake::Event(event) => {
                    self.hear(event?).await.ok()?;
                    is_due = self.is_due();
                }
            }
        }
    }

    fn now(&self) -> Option<Instant> {
        Some(self.shared.replica.node().ok()?.now().mono)
    }

    /// Whether an exchange is due that has room.
    fn is_due(&self) -> bool {
        let running = lock(&self.running);
        running.len() < EXCHANGES_MAX && self.shared.spread.is_due(&running)
    }

    /// Who is due, or else a replica drawn by chance; nobody if there is no room for one more.
    fn next(&mut self) -> Option<NodeId> {
        let running = lock(&self.running).clone();
        if running.len() >= EXCHANGES_MAX {
            return None;
        }
        self.shared.spread.next_due(&running).or_else(|| self.draw(&running))
    }

    /// Notes what happened; a replica that comes is due.
    async fn hear(&mut self, event: Event) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let (replica, spread) = (&shared.replica, &shared.spread);
        match &event {
            Event::Left(member) => self.note(member.id, true).await,
            Event::Joined(member) | Event::Updated(member) | Event::Recovered(member) => {
                self.note(member.id, false).await;
                if peers::is_replica(member) {
                    // Whom this replica has seen itself it need not be told of.
                    let _counted = replica.meet(member.id).await;
                    // Two of the others, about, whatever their number: not all of them are to send
                    // the same to one that comes with nothing.
                    let others = replica.peers().len().max(1);
                    if !self.shared.ready.is_set() || self.rng.index(others) < 2 {
                        spread.ring(member.id);
                    }
                }
            }
            _ => {}
        }
        // Who counts may have changed.
        shared.check_ready();
        replica.node().map(drop)
    }

    /// Remembers whether a node has left (docs/store.md §5.5). A failure of the storage leaves it
    /// as one that is away: it holds back purges.
    async fn note(&self, node: NodeId, has_left: bool) {
        let roster = self.shared.replica.roster();
        if roster.members.get(&node).is_none_or(|standing| standing.has_left == has_left) {
            return;
        }
        let noted = self.shared.replica.amend(|roster| {
            if let Some(standing) = roster.members.get_mut(&node) {
                standing.has_left = has_left;
            }
        });
        let _counted = noted.await;
    }

    fn draw(&mut self, running: &BTreeSet<NodeId>) -> Option<NodeId> {
        let mut peers = self.shared.replica.peers();
        peers.retain(|peer| !running.contains(peer));
        if peers.is_empty() { None } else { Some(peers[self.rng.index(peers.len())]) }
    }

    /// Half of `time` to one and a half.
    fn about(&mut self, time: Duration) -> Duration {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
        Duration::from_nanos(nanos / 2 + self.rng.below_u64(nanos.max(1)))
    }
}

/// An exchange under way, until it has ended, by a panic, too.
struct UnderWay {
    peer: NodeId,
    running: Arc<Mutex<BTreeSet<NodeId>>>,
    shared: Arc<Shared>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.peer);
        // There is room for one that is due.
        self.shared.spread.wake();
    }
}

/// What is due comes this much sooner than what is not.
const SOONER: u32 = 100;

/// What is due comes within this time, half of it more or less, whatever the interval is.
const SOON_MAX: Duration = Duration::from_millis(100);
