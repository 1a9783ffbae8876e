//! Nodes on tokio, and the service that they call.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chinwag_conformance::probe::sees;
use chinwag_conformance::tools::Tally;
use chinwag_tokio::chinwag::Node;
use chinwag_tokio::protocol::rpc;
use chinwag_tokio::{
    Bytes, Config, Context, Handler, Incoming, Message, Method, Methods, Outgoing, Raw, Runtime,
    Service, Status, StreamHandler, Streaming, Tokio, View,
};

/// Runs `story` on two threads, and no other story meanwhile: some fill the machine, and one says
/// how soon something happens.
pub(crate) fn on_threads(story: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = lock(&TURN);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(story);
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node on the runtime that the caller is on.
pub(crate) async fn start(id: u64, seeds: &[&Node], rpc: rpc::Config) -> Node {
    start_on(Arc::new(Tokio::new(tokio::runtime::Handle::current())), id, seeds, rpc).await
}

pub(crate) async fn start_on(
    runtime: Arc<dyn Runtime>,
    id: u64,
    seeds: &[&Node],
    rpc: rpc::Config,
) -> Node {
    let seeds = seeds.iter().map(|node| node.advertised_addr().to_string());
    let node = Node::builder(id, ([127, 0, 0, 1], 0).into()).cluster("test");
    node.config(Config::local()).rpc(rpc).seeds(seeds).start_on(runtime).await.expect("starts")
}

/// Nodes 1 and 2, which see each other; 2 has the service.
pub(crate) async fn pair(rpc: rpc::Config) -> (Node, Node, Work) {
    let one = start(1, &[], rpc.clone()).await;
    let two = start(2, &[&one], rpc).await;
    let work = Work::default();
    two.add_service(work.clone()).expect("added");
    sees(&one, 1).await;
    (one, two, work)
}

/// Answers with the same number.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Number(pub(crate) u64);

impl Message for Number {
    type Reply = u64;
    const NAME: &'static str = "number";
}

/// Never answers.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Never(pub(crate) u64);

impl Message for Never {
    type Reply = u64;
    const NAME: &'static str = "never";
}

/// Answers with the same bytes, the first eight of which are a number.
pub(crate) struct Blob;

impl Method for Blob {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "blob";
}

/// Gives every chunk back, and in the end their number.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Relay(pub(crate) u64);

impl Message for Relay {
    type Reply = u64;
    const NAME: &'static str = "relay";
}

impl Streaming for Relay {
    type In = Raw;
    type Out = Raw;
    const CHUNK_LEN_MAX: u32 = 1 << 20;
}

/// The service: its clones are one.
#[derive(Clone, Default)]
pub(crate) struct Work {
    /// How often a handler was begun for each number.
    runs: Arc<Mutex<BTreeMap<u64, usize>>>,
    /// Handlers of [`Never`] that have begun, and that were dropped.
    pub(crate) waiting: Arc<Tally>,
    pub(crate) dropped: Arc<Tally>,
}

impl Work {
    fn run(&self, number: u64) {
        *lock(&self.runs).entry(number).or_default() += 1;
    }

    /// How often a handler was begun for the number.
    pub(crate) fn runs(&self, number: u64) -> usize {
        lock(&self.runs).get(&number).copied().unwrap_or_default()
    }

    /// How many handlers were begun.
    pub(crate) fn runs_of_all(&self) -> usize {
        lock(&self.runs).values().sum()
    }
}

impl Service for Work {
    const NAME: &'static str = "work";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Number>().add::<Never>().add::<Blob>().add_stream::<Relay>();
    }
}

impl Handler<Number> for Work {
    async fn handle(&self, _: &Context, number: View<Number>) -> Result<u64, Status> {
        self.run(number.0.to_native());
        Ok(number.0.to_native())
    }
}

impl Handler<Never> for Work {
    async fn handle(&self, _: &Context, number: View<Never>) -> Result<u64, Status> {
        struct Dropped<'a>(&'a Tally);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                self.0.add();
            }
        }
        let _dropped = Dropped(&self.dropped);
        self.run(number.0.to_native());
        self.waiting.add();
        std::future::pending().await
    }
}

impl Handler<Blob> for Work {
    async fn handle(&self, _: &Context, bytes: Bytes) -> Result<Raw, Status> {
        let number = bytes.first_chunk().copied().map_or(0, u64::from_le_bytes);
        self.run(number);
        Ok(Raw(bytes))
    }
}

impl StreamHandler<Relay> for Work {
    async fn handle(
        &self,
        _: &Context,
        relay: View<Relay>,
        mut incoming: Incoming<Raw>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<u64, Status> {
        self.run(relay.0.to_native());
        let mut count = 0;
        while let Some(chunk) = incoming.next().await {
            outgoing.send(&Raw(chunk?)).await?;
            count += 1;
        }
        Ok(count)
    }
}
