//! [`StoreExtension`]: the store as it is added to a node.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::Receiver;
use chinwag::protocol::rng::{Rng, mix};
use chinwag::{ClusterExtension, Event, Member, Node, NodeId, Watch};
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
        }
        // This replica may have been away: the first exchange does not wait for its turn.
        if let Some(peer) = self.draw() {
            self.shared.spread.ring(peer);
        }
        while let Some(next) = self.wait().await {
            let Some(peer) = next else { continue };
            if self.begin(peer).is_err() {
                return;
            }
        }
    }

    /// Begins an exchange beside those that are under way (docs/store.md §4.3). One that has no
    /// room is due again.
    fn begin(&self, peer: NodeId) -> Result<(), Failure> {
        let node = self.shared.replica.node()?;
        {
            let mut running = lock(&self.running);
            if running.contains(&peer) {
                return Ok(());
            }
            if running.len() >= EXCHANGES_MAX {
                self.shared.spread.ring(peer);
                return Ok(());
            }
            running.insert(peer);
        }
        let (shared, running) = (self.shared.clone(), self.running.clone());
        node.spawn(async move {
            let done = Exchange::run(&shared.replica, peer, shared.config.timeout).await;
            lock(&running).remove(&peer);
            let counters = &shared.replica.counters;
            match done {
                Ok(()) => counters.exchanges.add(1),
                Err(_) => counters.exchanges_failed.add(1),
            }
        });
        Ok(())
    }

    /// With whom to exchange next; `Some(None)` if there is nobody. `None` once the node has ended.
    async fn wait(&mut self) -> Option<Option<NodeId>> {
        let interval = self.shared.config.exchange_interval;
        let is_due = self.shared.spread.is_due();
        let first = self.about(if is_due { interval / SOONER } else { interval });
        let mut deadline = self.shared.replica.node().ok()?.now().mono + first;
        loop {
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
            let is_due = match or(event, or(time, bell)).await {
                Wake::Time => return Some(self.shared.spread.next_due().or_else(|| self.draw())),
                Wake::Bell => true,
                Wake::Event(event) => self.hear(event?).await.ok()?,
            };
            if is_due {
                // Not all at once: whoever came is new to everybody.
                let soon =
                    self.shared.replica.node().ok()?.now().mono + self.about(interval / SOONER);
                deadline = deadline.min(soon);
            }
        }
    }

    /// Whether an exchange is due because of what happened.
    async fn hear(&mut self, event: Event) -> Result<bool, Failure> {
        let comes = |member: &Member| peers::is_replica(member).then_some(member.id);
        let shared = self.shared.clone();
        let (replica, spread) = (&shared.replica, &shared.spread);
        match &event {
            Event::Left(member) => self.note(member.id, true).await,
            Event::Joined(member) | Event::Updated(member) | Event::Recovered(member) => {
                self.note(member.id, false).await;
                if peers::is_replica(member) {
                    // Whom this replica has seen itself it need not be told of.
                    let _counted = replica.meet(member.id).await;
                }
                // Two of the others, about, whatever their number: not all of them are to send the
                // same to one that comes with nothing.
                let others = replica.peers().len().max(1);
                if let Some(peer) = comes(member)
                    && self.rng.index(others) < 2
                {
                    spread.ring(peer);
                    return Ok(true);
                }
            }
            // Somebody may have come meanwhile.
            Event::Lost(_) => return Ok(replica.node().is_ok()),
            _ => {}
        }
        Ok(false)
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

    fn draw(&mut self) -> Option<NodeId> {
        let peers = self.shared.replica.peers();
        if peers.is_empty() { None } else { Some(peers[self.rng.index(peers.len())]) }
    }

    /// Half of `time` to one and a half.
    fn about(&mut self, time: Duration) -> Duration {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
        Duration::from_nanos(nanos / 2 + self.rng.below_u64(nanos.max(1)))
    }
}

/// What is due comes this much sooner than what is not.
const SOONER: u32 = 100;
