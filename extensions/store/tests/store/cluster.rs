//! Stores on virtual machines whose disks outlive their processes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag::{Bytes, Node, NodeId, WeakNode};
use chinwag_sim::{World, millis, secs};
use chinwag_store::{Document, Entry, Key, MemoryStorage, Storage, Store, StoreExtension, Version};

/// A disk as it survives: what is on it, by machine.
#[derive(Clone, Default)]
pub(crate) struct Disks(Arc<Mutex<BTreeMap<NodeId, MemoryStorage>>>);

impl Disks {
    pub(crate) fn of(&self, id: NodeId) -> MemoryStorage {
        self.0.lock().expect("whole").entry(id).or_default().clone()
    }

    /// The machine comes back with an empty one.
    pub(crate) fn lose(&self, id: NodeId) {
        self.0.lock().expect("whole").remove(&id);
    }
}

/// A disk as a process sees it: every operation takes a while, and calls back into the node before
/// and after it, and when the disk is dropped, as users' storages may.
pub(crate) struct Disk {
    pub(crate) below: MemoryStorage,
    pub(crate) node: WeakNode,
    /// How much real time each operation takes besides. None of it is time of the simulated world.
    pub(crate) real_time: Duration,
    /// How often it has called back.
    pub(crate) called_back: Arc<AtomicU64>,
}

impl Disk {
    pub(crate) fn new(below: MemoryStorage, node: &Node) -> Self {
        Self {
            below,
            node: node.downgrade(),
            real_time: Duration::ZERO,
            called_back: Arc::default(),
        }
    }

    /// Takes every lock of the node that users can reach.
    fn calls_back(&self) {
        if let Some(node) = self.node.upgrade() {
            drop((node.stats(), node.members()));
            let _ = node.clock().now();
            self.called_back.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "makes the host slow")]
    pub(crate) async fn takes(&self, time: Duration) {
        if !self.real_time.is_zero() {
            std::thread::sleep(self.real_time);
        }
        let sleep = self.node.upgrade().map(|node| node.sleep(time));
        if let Some(sleep) = sleep {
            sleep.await;
        }
    }
}

impl Storage for Disk {
    type Error = Infallible;

    async fn keyspaces(&self) -> Result<Vec<String>, Infallible> {
        self.calls_back();
        self.below.keyspaces().await
    }

    async fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, Infallible> {
        self.calls_back();
        self.below.scan(keyspace, after, max).await
    }

    async fn get(&self, keyspace: &str, keys: &[Key]) -> Result<Vec<Option<Document>>, Infallible> {
        self.calls_back();
        let documents = self.below.get(keyspace, keys).await;
        self.takes(millis(1)).await;
        self.calls_back();
        documents
    }

    async fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), Infallible> {
        self.calls_back();
        self.takes(millis(2)).await;
        self.below.merge(keyspace, documents).await?;
        self.takes(millis(1)).await;
        self.calls_back();
        Ok(())
    }

    async fn purge(&self, keyspace: &str, entries: &[(Key, Version)]) -> Result<(), Infallible> {
        self.calls_back();
        self.takes(millis(2)).await;
        self.below.purge(keyspace, entries).await?;
        self.takes(millis(1)).await;
        self.calls_back();
        Ok(())
    }

    async fn load_mark(&self, name: &str) -> Result<Option<Bytes>, Infallible> {
        self.calls_back();
        self.below.load_mark(name).await
    }

    async fn save_mark(&self, name: &str, mark: Bytes) -> Result<(), Infallible> {
        self.calls_back();
        self.takes(millis(2)).await;
        self.below.save_mark(name, mark).await?;
        self.takes(millis(1)).await;
        self.calls_back();
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.calls_back();
    }
}

/// The stores that run, by machine.
#[derive(Clone, Default)]
pub(crate) struct Stores(Arc<Mutex<BTreeMap<NodeId, Store>>>);

impl Stores {
    /// Starts `count` nodes with a replica each, on storages that `open` opens at every start, and
    /// waits until all know each other.
    pub(crate) async fn start<S: Storage>(
        world: &World,
        count: usize,
        open: impl Fn(&Node) -> S + Send + Sync + 'static,
        configure: fn(StoreExtension) -> StoreExtension,
    ) -> Self {
        let stores = Self::default();
        let started = stores.clone();
        let boot = move |node: &Node| {
            let extension = configure(StoreExtension::new(open(node)));
            let (node, started) = (node.clone(), started.clone());
            node.clone().spawn(async move {
                let store =
                    node.add_extension(extension).await.unwrap_or_else(|error| panic!("{error}"));
                started.0.lock().expect("whole").insert(node.id(), store);
            });
            Ok::<(), Infallible>(())
        };
        world.cluster(count, boot).await;
        let until = world.now() + secs(30);
        while !(0..count)
            .all(|at| stores.at(at).is_some_and(|store| store.replicas().len() == count - 1))
        {
            assert!(world.now() < until, "not all replicas know each other");
            world.run_for(millis(100)).await;
        }
        stores
    }

    /// The latest store of a machine.
    pub(crate) fn at(&self, machine: usize) -> Option<Store> {
        self.0.lock().expect("whole").get(&id(machine)).cloned()
    }
}

/// The id of the node on a machine.
pub(crate) fn id(machine: usize) -> NodeId {
    NodeId::new(machine as u64 + 1)
}

/// Tests do not wait an hour.
pub(crate) fn quick(extension: StoreExtension) -> StoreExtension {
    extension
        .timeout(secs(1))
        .exchange_interval(secs(1))
        .purge_interval(secs(1))
        .purge_after(secs(2))
}

/// All that is in a storage.
pub(crate) fn contents(storage: &MemoryStorage) -> BTreeMap<(String, Key), Document> {
    futures_lite::future::block_on(async {
        let mut all = BTreeMap::new();
        for keyspace in storage.keyspaces().await.expect("infallible") {
            let entries = storage.scan(&keyspace, None, usize::MAX).await.expect("infallible");
            for entry in entries {
                let mut documents = storage
                    .get(&keyspace, std::slice::from_ref(&entry.key))
                    .await
                    .expect("infallible");
                let document = documents.remove(0).expect("scanned");
                all.insert((keyspace.clone(), entry.key), document);
            }
        }
        all
    })
}

/// Waits until these machines hold the same, tombstones included, and gives it.
pub(crate) async fn equal_within(
    world: &World,
    disks: &Disks,
    machines: &[usize],
    time: Duration,
) -> BTreeMap<(String, Key), Document> {
    alike_within(world, disks, machines, time, |_| true).await
}

/// Waits until these machines hold the same of what is `looked_at`, and gives it.
pub(crate) async fn alike_within(
    world: &World,
    disks: &Disks,
    machines: &[usize],
    time: Duration,
    looked_at: fn(&Document) -> bool,
) -> BTreeMap<(String, Key), Document> {
    let until = world.now() + time;
    let of = |machine: &usize| {
        let mut held = contents(&disks.of(id(*machine)));
        held.retain(|_, document| looked_at(document));
        held
    };
    loop {
        let held: Vec<_> = machines.iter().map(of).collect();
        if held.windows(2).all(|pair| pair[0] == pair[1]) {
            return held.into_iter().next().expect("a machine");
        }
        assert!(world.now() < until, "replicas differ: {}", difference(machines, &held));
        world.run_for(millis(200)).await;
    }
}

fn difference(machines: &[usize], held: &[BTreeMap<(String, Key), Document>]) -> String {
    let keys: std::collections::BTreeSet<_> = held.iter().flat_map(BTreeMap::keys).collect();
    let mut text = String::new();
    for key in keys {
        if held.windows(2).any(|pair| pair[0].get(key) != pair[1].get(key)) {
            for (machine, held) in machines.iter().zip(held) {
                text += &format!("\n  {machine}: {:?} {:?}", key.1, held.get(key));
            }
        }
    }
    text
}
