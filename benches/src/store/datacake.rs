//! datacake's store, with the storage in memory that it is tested with. It has no durable one of
//! its own crate.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use datacake_eventual_consistency::test_utils::MemStore;
use datacake_eventual_consistency::{
    EventuallyConsistentStore, EventuallyConsistentStoreExtension, ReplicatorKeyspaceHandle,
};
use datacake_node::{
    ConnectionConfig, Consistency, DCAwareSelector, DatacakeNode, DatacakeNodeBuilder,
};

use super::{Fault, PATIENCE, Replicas, VALUE};

const KEYSPACE: &str = "bench";

pub(super) struct Datacake {
    nodes: Vec<(DatacakeNode, EventuallyConsistentStore<MemStore>)>,
    keyspace: ReplicatorKeyspaceHandle<MemStore>,
}

impl Replicas for Datacake {
    const NAME: &'static str = "datacake, in memory";
    const IS_DURABLE: bool = false;

    async fn start() -> Result<Self, Fault> {
        // It cannot be asked for the ports that it got: find some that were free a moment ago.
        let free = [(); 3].map(|()| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let mut addrs: Vec<SocketAddr> = Vec::new();
        for listener in &free {
            addrs.push(listener.as_ref().map_err(ToString::to_string)?.local_addr()?);
        }
        drop(free);
        let mut nodes = Vec::new();
        for (id, &addr) in (1..).zip(&addrs) {
            let seeds = addrs.iter().filter(|other| **other != addr).map(ToString::to_string);
            let config = ConnectionConfig::new(addr, addr, seeds);
            let node = DatacakeNodeBuilder::<DCAwareSelector>::new(id, config)
                .with_cluster_id("bench")
                .connect()
                .await?;
            // Its feature for tests repairs every second; as it ships, every hour.
            let extension = EventuallyConsistentStoreExtension::new(MemStore::default())
                .with_repair_interval(Duration::from_secs(3_600));
            let store = node.add_extension(extension).await.map_err(|error| error.to_string())?;
            nodes.push((node, store));
        }
        for (node, _) in &nodes {
            node.wait_for_nodes([1, 2, 3], PATIENCE).await?;
        }
        let keyspace = nodes[0].1.handle_with_keyspace(KEYSPACE);
        let replicas = Self { nodes, keyspace };
        replicas.settle().await?;
        Ok(replicas)
    }

    async fn put_many(&self, keys: Range<u64>) -> Result<(), Fault> {
        let documents = keys.map(|key| (key, VALUE.to_vec()));
        self.keyspace
            .put_many(documents, Consistency::All)
            .await
            .map_err(|error| error.to_string().into())
    }

    async fn put(&self, key: u64) -> Result<(), Fault> {
        self.keyspace
            .put(key, VALUE.to_vec(), Consistency::All)
            .await
            .map_err(|error| error.to_string().into())
    }

    async fn held(&self, keys: u64) -> Result<u64, Fault> {
        let mut least = u64::MAX;
        for (_, store) in &self.nodes {
            let held = store.handle().get_many(KEYSPACE, 0..keys).await?.count();
            least = least.min(held as u64);
        }
        Ok(least)
    }

    async fn stop(self) {
        for (node, store) in self.nodes {
            drop(store);
            node.shutdown().await;
        }
    }
}

impl Datacake {
    /// Its selector hears of members a moment after its watchers do: until then `All` is fewer.
    async fn settle(&self) -> Result<(), Fault> {
        let begun = tokio::time::Instant::now();
        while self.nodes[0]
            .0
            .select_nodes(Consistency::All)
            .await
            .map_err(|error| error.to_string())?
            .len()
            < 2
        {
            if begun.elapsed() > PATIENCE {
                return Err("the replicas do not find each other".into());
            }
            tokio::time::sleep(super::LOOK_EVERY).await;
        }
        Ok(())
    }
}
