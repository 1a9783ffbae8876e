//! The service under test, and clusters of nodes that have it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag::{
    Builder, Client, Config, Context, Epoch, Handler, Message, Methods, Node, OnRuntime, Service,
    Status, View,
};
use futures_lite::future::yield_now;

use crate::Host;
use crate::tools::Tally;

/// How long a cluster may take to do what takes it well under a second on a free machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Answered with the same text, and who asked whom.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub struct Echo {
    /// Anything.
    pub text: String,
}

impl Message for Echo {
    type Reply = Echoed;
    const NAME: &'static str = "echo";
}

/// The answer to [`Echo`].
#[derive(rkyv::Archive, rkyv::Serialize)]
pub struct Echoed {
    /// What was sent.
    pub text: String,
    /// Who asked.
    pub caller: u64,
    /// Who answered.
    pub server: u64,
}

/// Waits until it is dropped.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub struct Hang;

impl Message for Hang {
    type Reply = ();
    const NAME: &'static str = "hang";
}

/// Panics in its handler.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub struct Panic {
    /// At the first poll, or at the second.
    pub before_waiting: bool,
}

impl Message for Panic {
    type Reply = ();
    const NAME: &'static str = "panic";
}

/// Calls back into the caller while it handles.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub struct CallBack;

impl Message for CallBack {
    type Reply = String;
    const NAME: &'static str = "call back";
}

/// The service: its clones are one.
#[derive(Default, Clone)]
pub struct Probe {
    /// Handlers of [`Hang`] that have begun.
    pub begun: Arc<Tally>,
    /// Handlers of [`Hang`] that were dropped.
    pub dropped: Arc<Tally>,
}

impl Service for Probe {
    const NAME: &'static str = "probe";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Echo>().add::<Hang>().add::<Panic>().add::<CallBack>();
    }
}

impl Handler<Echo> for Probe {
    async fn handle(&self, cx: &Context, echo: View<Echo>) -> Result<Echoed, Status> {
        let server = cx.node().map_or(0, |node| node.id().get());
        Ok(Echoed { text: echo.text.as_str().to_owned(), caller: cx.caller().id.get(), server })
    }
}

impl Handler<Hang> for Probe {
    async fn handle(&self, _: &Context, _: View<Hang>) -> Result<(), Status> {
        struct Dropped<'a>(&'a Tally);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                self.0.add();
            }
        }
        let _dropped = Dropped(&self.dropped);
        self.begun.add();
        std::future::pending().await
    }
}

impl Handler<Panic> for Probe {
    async fn handle(&self, _: &Context, panic: View<Panic>) -> Result<(), Status> {
        if !panic.before_waiting {
            yield_now().await;
        }
        panic!("on purpose");
    }
}

impl Handler<CallBack> for Probe {
    async fn handle(&self, cx: &Context, _: View<CallBack>) -> Result<String, Status> {
        let caller: Client<Probe> = cx.client(cx.caller().id);
        let echoed = caller.call(&Echo { text: "back".into() }).await?;
        Ok(format!("{} from {}", echoed.text, echoed.server))
    }
}

/// The start of a node on `host`, with its secret if it has one.
pub fn builder(host: &dyn Host, id: u64) -> Builder<OnRuntime> {
    builder_at(host, id, host.addr())
}

/// [`builder`], for a node that listens at `addr`.
pub fn builder_at(host: &dyn Host, id: u64, addr: SocketAddr) -> Builder<OnRuntime> {
    let builder = Node::builder(id, addr);
    match host.secret() {
        Some(secret) => builder.secret(secret),
        None => builder,
    }
}

/// A node of the cluster `test` without services.
pub async fn start(host: &dyn Host, id: u64, seeds: &[&Node]) -> Node {
    start_with(host, id, seeds, Config::local()).await
}

/// [`start`], configured.
pub async fn start_with(host: &dyn Host, id: u64, seeds: &[&Node], config: Config) -> Node {
    let seeds = seeds.iter().map(|node| node.advertised_addr().to_string());
    let node = builder(host, id).cluster("test").config(config).seeds(seeds);
    let node = node.start_on(host.runtime()).await.expect("starts");
    outlives_its_millisecond(host, &node).await;
    node
}

/// Waits until a run of the same id that starts now has another epoch than `node`: a case may be
/// over within the millisecond that an epoch counts (`docs/protocol.md` §1.2).
pub async fn outlives_its_millisecond(host: &dyn Host, node: &Node) {
    let runtime = host.runtime();
    let mut timer = runtime.timer();
    while Epoch::at(runtime.now().wall) <= node.epoch() {
        timer.reset(runtime.now().mono + Duration::from_millis(1));
        poll_fn(|cx| timer.poll_expired(cx)).await;
    }
}

/// Waits until `node` has exactly so many others in view.
pub async fn sees(node: &Node, others: usize) {
    let seen = node.wait_for(|view| view.members().len() == others, PATIENCE).await;
    seen.unwrap_or_else(|error| {
        panic!("{node:?} sees {others}: {error}, but {:?}", node.members())
    });
}

/// `count` nodes with ids from 1 that all see each other, each with a [`Probe`].
pub async fn cluster(host: &dyn Host, count: u64) -> Vec<(Node, Probe)> {
    cluster_with(host, count, Config::local()).await
}

/// [`cluster`], configured.
pub async fn cluster_with(host: &dyn Host, count: u64, config: Config) -> Vec<(Node, Probe)> {
    let mut nodes: Vec<(Node, Probe)> = Vec::new();
    for id in 1..=count {
        let seeds: Vec<&Node> = nodes.first().map(|(node, _)| node).into_iter().collect();
        let node = start_with(host, id, &seeds, config.clone()).await;
        let probe = Probe::default();
        node.add_service(probe.clone()).expect("added");
        nodes.push((node, probe));
    }
    for (node, _) in &nodes {
        sees(node, nodes.len() - 1).await;
    }
    nodes
}

/// One call: who asked, and who answered.
///
/// # Errors
/// The call's.
pub async fn echo(from: &Node, to: u64) -> Result<(u64, u64), Status> {
    let client = from.client::<Probe>(to).timeout(PATIENCE);
    let echoed = client.call(&Echo { text: "hello".into() }).await?;
    assert_eq!(echoed.text, "hello");
    Ok((echoed.caller.to_native(), echoed.server.to_native()))
}
