//! chitchat, whose machine is its own: it can be had only with its tasks. They run on one thread
//! whose time is virtual, over its own transport without sockets: every message is encoded,
//! decoded, and compared with what was encoded; it takes no time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chitchat::transport::ChannelTransport;
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat,
};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::{START_EVERY, Sent, Virtual, addr, nanos, seeds};

/// A cluster of chitchat's nodes, which gossip once a second, as the others probe.
pub struct Chitchat {
    runtime: Runtime,
    network: ChannelTransport,
    started: Arc<Mutex<Vec<ChitchatHandle>>>,
    nodes: u32,
    begun: Instant,
}

impl Chitchat {
    /// So many nodes, which start one after the other as time goes on, and compress their digests
    /// or do not.
    pub fn new(nodes: u32, is_compressed: bool) -> Self {
        let version = if is_compressed { ProtocolVersion::V1 } else { ProtocolVersion::V0 };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without sockets");
        let (network, started) = (ChannelTransport::default(), Arc::new(Mutex::new(Vec::new())));
        let begun = runtime.block_on(async { Instant::now() });
        runtime.spawn(start(nodes, version, network.clone(), started.clone()));
        Self { runtime, network, started, nodes, begun }
    }
}

async fn start(
    nodes: u32,
    version: ProtocolVersion,
    network: ChannelTransport,
    started: Arc<Mutex<Vec<ChitchatHandle>>>,
) {
    for node in 0..nodes {
        let handle = spawn_chitchat(config(node, version), Vec::new(), &network).await;
        locked(&started).push(handle.expect("an address that nobody has"));
        sleep(Duration::from_nanos(START_EVERY)).await;
    }
}

fn config(node: u32, version: ProtocolVersion) -> ChitchatConfig {
    ChitchatConfig {
        chitchat_id: ChitchatId::new(format!("node-{node:05}"), 1, addr(node)),
        cluster_id: "bench".into(),
        gossip_interval: Duration::from_secs(1),
        listen_addr: addr(node),
        seed_nodes: seeds(node).iter().map(ToString::to_string).collect(),
        failure_detector_config: FailureDetectorConfig::default(),
        marked_for_deletion_grace_period: Duration::from_secs(3_600),
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: version,
    }
}

impl Virtual for Chitchat {
    fn run_for(&mut self, span: u64) {
        // Made inside, where the time is known.
        self.runtime.block_on(async { sleep(Duration::from_nanos(span)).await });
    }

    fn now(&self) -> u64 {
        self.runtime.block_on(async { nanos(self.begun.elapsed()) })
    }

    fn is_converged(&self) -> bool {
        let nodes = self.nodes as usize;
        let started = locked(&self.started);
        self.runtime.block_on(async {
            for handle in &*started {
                if handle.with_chitchat(|chitchat| chitchat.live_nodes().count()).await != nodes {
                    return false;
                }
            }
            started.len() == nodes
        })
    }

    fn sent(&self) -> Sent {
        let sent = self.network.statistics();
        Sent {
            datagrams: sent.num_messages_total,
            datagram_bytes: sent.num_bytes_total,
            stream_bytes: 0,
        }
    }
}

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
