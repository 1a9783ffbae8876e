//! chinwag's store: [`Memory`] and [`Durable`].

use std::future::Future;
use std::net::Ipv4Addr;
use std::ops::Range;

use chinwag_store::{
    Consistency, Keyspace, MemoryStorage, RedbStorage, Storage, Store, StoreExtension,
};
use chinwag_tokio::{Config, Node};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{Fault, LOOK_EVERY, PATIENCE, Replicas, VALUE};

struct Nodes {
    nodes: Vec<(Node, Store)>,
    keyspace: Keyspace,
}

impl Nodes {
    /// A node for each storage.
    async fn start<S: Storage>(storages: [S; 3]) -> Result<Self, Fault> {
        // On a machine that measures, nobody is to be found dead for being late.
        let config = || Config { suspicion_mult: 1_000, ..Config::local() };
        let mut nodes: Vec<(Node, Store)> = Vec::new();
        for (id, storage) in (1_u64..).zip(storages) {
            let seeds: Vec<_> =
                nodes.first().map(|(node, _)| node.local_addr().to_string()).into_iter().collect();
            let builder = Node::builder(id, (Ipv4Addr::LOCALHOST, 0).into())
                .cluster("bench")
                .config(config());
            let node = builder.seeds(seeds).start().await?;
            let store = node.add_extension(StoreExtension::new(storage)).await?;
            nodes.push((node, store));
        }
        let begun = Instant::now();
        while nodes.iter().any(|(_, store)| store.replicas().len() < 2) {
            if begun.elapsed() > PATIENCE {
                return Err("the replicas do not find each other".into());
            }
            sleep(LOOK_EVERY).await;
        }
        let keyspace = nodes[0].1.keyspace("bench")?;
        Ok(Self { nodes, keyspace })
    }

    async fn put_many(&self, keys: Range<u64>) -> Result<(), Fault> {
        let written =
            self.keyspace.put_many(keys.map(|key| (key, &VALUE[..])), Consistency::All).await?;
        if written.replicas == 3 { Ok(()) } else { Err("not by all".into()) }
    }

    async fn put(&self, key: u64) -> Result<(), Fault> {
        let written = self.keyspace.put(key, &VALUE[..], Consistency::All).await?;
        if written.replicas == 3 { Ok(()) } else { Err("not by all".into()) }
    }

    fn held(&self) -> u64 {
        self.nodes.iter().map(|(_, store)| store.stats().documents).min().unwrap_or_default()
    }

    async fn stop(self) {
        for (node, _) in self.nodes {
            node.shutdown().await;
        }
    }
}

pub(super) struct Memory(Nodes);

impl Replicas for Memory {
    const NAME: &'static str = "chinwag, in memory";
    const IS_DURABLE: bool = false;

    async fn start() -> Result<Self, Fault> {
        Ok(Self(Nodes::start([(); 3].map(|()| MemoryStorage::new())).await?))
    }

    fn put_many(&self, keys: Range<u64>) -> impl Future<Output = Result<(), Fault>> + Send {
        self.0.put_many(keys)
    }

    fn put(&self, key: u64) -> impl Future<Output = Result<(), Fault>> + Send {
        self.0.put(key)
    }

    async fn held(&self, _: u64) -> Result<u64, Fault> {
        Ok(self.0.held())
    }

    async fn stop(self) {
        self.0.stop().await;
    }
}

/// Each replica's documents in a file of its own, all on one disk.
pub(super) struct Durable {
    nodes: Nodes,
    // Last: the files are closed before their directory goes.
    _directory: TempDir,
}

impl Replicas for Durable {
    const NAME: &'static str = "chinwag, durable";
    const IS_DURABLE: bool = true;

    async fn start() -> Result<Self, Fault> {
        let directory = tempfile::tempdir()?;
        let open = |name: &str| RedbStorage::open(directory.path().join(name));
        let nodes = Nodes::start([open("1").await?, open("2").await?, open("3").await?]).await?;
        Ok(Self { nodes, _directory: directory })
    }

    fn put_many(&self, keys: Range<u64>) -> impl Future<Output = Result<(), Fault>> + Send {
        self.nodes.put_many(keys)
    }

    fn put(&self, key: u64) -> impl Future<Output = Result<(), Fault>> + Send {
        self.nodes.put(key)
    }

    async fn held(&self, _: u64) -> Result<u64, Fault> {
        Ok(self.nodes.held())
    }

    async fn stop(self) {
        self.nodes.stop().await;
    }
}
