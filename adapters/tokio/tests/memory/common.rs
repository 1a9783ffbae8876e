//! The counting allocator, nodes, and the service that they have.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use chinwag_conformance::tools::Tally;
use chinwag_tokio::chinwag::Node;
use chinwag_tokio::protocol::rpc;
use chinwag_tokio::{
    Config, Context, Incoming, Message, Method, Methods, Never, Outgoing, Raw, Runtime, Service,
    Status, StreamHandler, Streaming, Tokio, View,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
pub(crate) static ALLOCATED: PeakAlloc = PeakAlloc;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// Runs `story` on two threads, and no other story meanwhile.
pub(crate) fn alone(story: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(story);
}

pub(crate) fn runtime() -> Arc<dyn Runtime> {
    Arc::new(Tokio::new(tokio::runtime::Handle::current()))
}

/// A node of the cluster `test` with a [`Flow`].
pub(crate) async fn start(id: u64, seeds: &[&Node]) -> (Node, Flow) {
    let seeds = seeds.iter().map(|node| node.advertised_addr().to_string());
    let node = Node::builder(id, ([127, 0, 0, 1], 0).into())
        .cluster("test")
        .config(Config::local())
        .seeds(seeds);
    let node = node.rpc(rpc::Config::default()).start_on(runtime()).await.expect("starts");
    let flow = Flow::default();
    node.add_service(flow.clone()).expect("added");
    (node, flow)
}

/// Counts the bytes that come in chunks.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Drain;

impl Message for Drain {
    type Reply = u64;
    const NAME: &'static str = "drain";
}

impl Streaming for Drain {
    type In = Raw;
    type Out = Never;
    const CHUNK_LEN_MAX: u32 = 256 << 10;
}

/// Sends chunks of 64 KiB for ever. Its request is raw, so that a peer written by hand can make it.
pub(crate) struct Pour;

impl Method for Pour {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "pour";
}

impl Streaming for Pour {
    type In = Never;
    type Out = Raw;
}

pub(crate) const CHUNK_LEN: usize = 64 * KIB;

/// The service: its clones are one.
#[derive(Clone, Default)]
pub(crate) struct Flow {
    /// Chunks that were sent.
    pub(crate) sent: Arc<Tally>,
}

impl Service for Flow {
    const NAME: &'static str = "flow";
    fn methods(methods: &mut Methods<Self>) {
        methods.add_stream::<Drain>().add_stream::<Pour>();
    }
}

impl StreamHandler<Drain> for Flow {
    async fn handle(
        &self,
        _: &Context,
        _: View<Drain>,
        mut incoming: Incoming<Raw>,
        _: Outgoing<Never>,
    ) -> Result<u64, Status> {
        let mut len = 0;
        while let Some(chunk) = incoming.next().await {
            len += chunk?.len() as u64;
        }
        Ok(len)
    }
}

impl StreamHandler<Pour> for Flow {
    async fn handle(
        &self,
        _: &Context,
        _: chinwag_tokio::Bytes,
        _: Incoming<Never>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<Raw, Status> {
        loop {
            outgoing.send(&vec![7; CHUNK_LEN].into()).await?;
            self.sent.add();
        }
    }
}
