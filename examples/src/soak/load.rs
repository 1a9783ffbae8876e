//! [`Soak`]: the nodes, what they do to each other, and how they end.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::Receiver;
use chinwag::protocol::rng::Rng;
use chinwag::protocol::time::Instant;
use chinwag::{Config, Node, NodeId, Runtime};
use chinwag_conformance::counted::Counted;
use chinwag_conformance::probe::{Echo, Probe};
use futures_lite::future::or;

use super::gauges::Sample;

/// Nodes beside node 1.
const OTHERS: u64 = 5;
/// Callers at each node, and how long each waits between its calls.
const CALLERS: u64 = 8;
const CALL_PAUSE: Duration = Duration::from_millis(5);
/// One call in so many is a large one.
const LARGE_EVERY: u64 = 64;
const LARGE_LEN: usize = 300_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a node lives, from and to, and how long its place is empty at most.
const LIFE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long node 1 may take to be at rest when the others have left. Those that vanished are probed
/// one by one, on a machine so busy that awareness is at its worst each 4.5 s after the other, and
/// the last of them is suspected for another 12 s.
const REST_MAX: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Counters {
    started: AtomicU64,
    dropped: AtomicU64,
    left: AtomicU64,
    calls: AtomicU64,
    calls_failed: AtomicU64,
}

/// What all nodes' stories share.
struct Stage {
    runtime: Arc<Counted>,
    began: Instant,
    counters: Counters,
    /// Where the nodes are that are there.
    addrs: Mutex<BTreeMap<u64, SocketAddr>>,
    rng: Mutex<Rng>,
}

pub(super) struct Soak {
    stage: Arc<Stage>,
    first: Node,
}

impl Soak {
    /// Node 1, alone.
    pub(super) async fn start(runtime: Arc<dyn Runtime>, seed: u64) -> io::Result<Self> {
        let stage = Arc::new(Stage {
            began: runtime.now().mono,
            runtime: Arc::new(Counted::new(runtime)),
            counters: Counters::default(),
            addrs: Mutex::default(),
            rng: Mutex::new(Rng::new(seed)),
        });
        let first = stage.start(1).await?;
        Ok(Self { stage, first })
    }

    /// Churn and load for so long, then all but node 1 leave; what is there then.
    pub(super) async fn round(&mut self, time: Duration) -> io::Result<Sample> {
        let end = self.stage.runtime.now().mono + time;
        let stories: Vec<_> =
            (2..2 + OTHERS).map(|id| spawned(&self.stage, others_story(id, end))).collect();
        let mut calls = std::pin::pin!(load(&self.stage, &self.first));
        for story in stories {
            let is_told = async {
                story.recv().await.unwrap_or_else(|_| Err(io::Error::other("a story was lost")))
            };
            or(is_told, async {
                calls.as_mut().await;
                Ok(())
            })
            .await?;
        }
        self.rest().await?;
        let counters = &self.stage.counters;
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::SeqCst);
        let sample = Sample {
            seconds: self.stage.runtime.now().mono.since(self.stage.began).as_secs(),
            started: take(&counters.started),
            dropped: take(&counters.dropped),
            left: take(&counters.left),
            calls: take(&counters.calls),
            calls_failed: take(&counters.calls_failed),
            tasks: self.stage.runtime.tasks() as u64,
            ..Sample::default()
        };
        sample.with_system()
    }

    /// Waits until node 1 is alone and without connections. What is there a while later than that
    /// has been forgotten, and counts.
    async fn rest(&self) -> io::Result<()> {
        let began = self.first.now().mono;
        let is_at_rest =
            || self.first.members().members().is_empty() && self.first.stats().connections == 0;
        while !is_at_rest() {
            if self.first.now().mono.since(began) > REST_MAX {
                let (members, connections) = (self.first.members(), self.first.stats().connections);
                let left = format!("{connections} connections and {:?}", members.members());
                return Err(io::Error::other(format!(
                    "node 1 is not at rest after {REST_MAX:?}: {left}"
                )));
            }
            self.first.sleep(Duration::from_millis(20)).await;
        }
        self.first.sleep(Duration::from_millis(500)).await;
        Ok(())
    }
}

impl Stage {
    async fn start(&self, id: u64) -> io::Result<Node> {
        let seeds: Vec<String> = self.addrs().values().map(SocketAddr::to_string).collect();
        let node =
            Node::builder(id, ([127, 0, 0, 1], 0).into()).config(Config::local()).seeds(seeds);
        let node = node.start_on(self.runtime.clone()).await.map_err(io::Error::other)?;
        node.add_service(Probe::default()).map_err(io::Error::other)?;
        self.addrs().insert(id, node.local_addr());
        self.counters.started.fetch_add(1, Ordering::SeqCst);
        Ok(node)
    }

    #[expect(clippy::expect_used, reason = "no code panics with the lock")]
    fn addrs(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, SocketAddr>> {
        self.addrs.lock().expect("nobody panics with it")
    }

    /// Below `bound`.
    #[expect(clippy::expect_used, reason = "no code panics with the lock")]
    fn below(&self, bound: u64) -> u64 {
        self.rng.lock().expect("nobody panics with it").below_u64(bound.max(1))
    }

    fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or_default()
    }

    fn between(&self, from: Duration, to: Duration) -> Duration {
        let more = u64::try_from((to - from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.below(more))
    }

    async fn sleep(&self, time: Duration) {
        chinwag_conformance::tools::sleep_until(&*self.runtime, self.runtime.now().mono + time)
            .await;
    }
}

/// Runs a story as a task, and gives how it ended. The task is one of those counted while it lasts.
fn spawned<F>(stage: &Arc<Stage>, story: impl FnOnce(Arc<Stage>) -> F) -> Receiver<io::Result<()>>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let (tells, told) = async_channel::bounded(1);
    let story = story(stage.clone());
    stage.runtime.spawn(Box::pin(async move { _ = tells.try_send(story.await) }));
    told
}

/// One place among the others: nodes that live in it, one after another, until it is time. The last
/// one leaves.
fn others_story(id: u64, end: Instant) -> impl FnOnce(Arc<Stage>) -> BoxedStory {
    move |stage| {
        Box::pin(async move {
            loop {
                stage.sleep(stage.between(Duration::ZERO, PAUSE_MAX)).await;
                let node = stage.start(id).await?;
                let life = stage.between(LIFE.0, LIFE.1).min(end.since(stage.runtime.now().mono));
                or(load(&stage, &node), node.sleep(life)).await;
                stage.addrs().remove(&id);
                let is_last = stage.runtime.now().mono >= end;
                if is_last || stage.below(2) == 0 {
                    node.leave().await.map_err(io::Error::other)?;
                    node.shutdown().await;
                    stage.counters.left.fetch_add(1, Ordering::SeqCst);
                } else {
                    drop(node);
                    stage.counters.dropped.fetch_add(1, Ordering::SeqCst);
                }
                if is_last {
                    return Ok(());
                }
            }
        })
    }
}

type BoxedStory = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Calls of several callers to whoever is in view, for ever.
async fn load(stage: &Stage, node: &Node) {
    let callers = (0..CALLERS).map(|_| {
        Box::pin(calls(stage, node)) as std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>
    });
    let mut callers: Vec<_> = callers.collect();
    std::future::poll_fn(|cx| {
        // None of them ends.
        callers.iter_mut().for_each(|caller| _ = caller.as_mut().poll(cx));
        std::task::Poll::<()>::Pending
    })
    .await;
}

async fn calls(stage: &Stage, node: &Node) {
    loop {
        node.sleep(CALL_PAUSE).await;
        let Some(peer) = pick(stage, node) else { continue };
        let len = if stage.below(LARGE_EVERY) == 0 { LARGE_LEN } else { 10 + stage.index(2_000) };
        let echo = Echo { text: "x".repeat(len) };
        let answer = node.client::<Probe>(peer).timeout(CALL_TIMEOUT).call(&echo).await;
        let counter = match answer {
            Ok(echoed) if echoed.text.len() == len => &stage.counters.calls,
            _ => &stage.counters.calls_failed,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

fn pick(stage: &Stage, node: &Node) -> Option<NodeId> {
    let view = node.members();
    view.members().get(stage.index(view.members().len())).map(|member| member.id)
}
