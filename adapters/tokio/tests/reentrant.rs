//! User code never runs while a lock of the node is held: neither the drop of what a user hands
//! in, nor a waker. Each value here calls both nodes from its drop, and a waker from its wake too.
//! Under a lock that is a deadlock, and the story does not end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context as Task, Poll, Wake, Waker};
use std::time::Duration;

use chinwag_conformance::probe::{PATIENCE, sees};
use chinwag_conformance::tools::eventually;
use chinwag_tokio::chinwag::{Node, WeakNode};
use chinwag_tokio::protocol::rpc;
use chinwag_tokio::protocol::select::{Consistency, NodeSelector, Picks, SelectError, Topology};
use chinwag_tokio::{
    Bytes, Client, Config, Context, Handler, Incoming, Interceptor, Message, Method, Methods,
    Outgoing, Raw, Role, Runtime, Service, Status, StreamHandler, Streaming, Tokio, View,
};

/// Both nodes, weakly, and how many values have called them.
#[derive(Clone, Default)]
struct Nodes {
    nodes: Vec<WeakNode>,
    count: Arc<AtomicUsize>,
}

impl Nodes {
    /// Calls both nodes in every way that takes a lock, and waits for nothing.
    fn poke(&self) {
        for node in self.nodes.iter().filter_map(WeakNode::upgrade) {
            for peer in [1, 2] {
                let client = node.client::<Plain>(peer).timeout(PATIENCE);
                drop(client.one_way(&Note(1)));
                let mut call = pin!(client.call(&Note(2)));
                let _dropped = call.as_mut().poll(&mut Task::from_waker(Waker::noop()));
            }
            drop((node.stats(), node.members(), node.watch()));
            drop(node.select(Consistency::One));
            let _ = node.set_metadata_entry("poked", "yes");
            node.remove_service::<Absent>();
        }
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn poker(&self) -> Poker {
        Poker(self.clone())
    }

    /// Bytes whose owner calls the nodes when it is dropped.
    fn bytes(&self, len: usize) -> Bytes {
        Bytes::from_owner(Owner { bytes: vec![7; len], _poker: self.poker() })
    }
}

/// Calls the nodes when it is dropped.
struct Poker(Nodes);

impl Drop for Poker {
    fn drop(&mut self) {
        self.0.poke();
    }
}

struct Owner {
    bytes: Vec<u8>,
    _poker: Poker,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Interceptor for Poker {}

impl NodeSelector for Poker {
    fn select(&self, _: &Topology, _: Consistency, out: &mut Picks) -> Result<(), SelectError> {
        out.clear();
        Ok(())
    }
}

/// A waker that calls the nodes when it is woken, and when its last holder drops it.
struct PokingWaker {
    poker: Poker,
    inner: Waker,
}

impl Wake for PokingWaker {
    fn wake(self: Arc<Self>) {
        self.poker.0.poke();
        self.inner.wake_by_ref();
    }
}

/// Polls a future with another such waker each time, so that the node holds the last of each.
struct Poked<F>(Pin<Box<F>>, Nodes);

impl<F: Future> Future for Poked<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<F::Output> {
        let waker = PokingWaker { poker: self.1.poker(), inner: cx.waker().clone() };
        self.0.as_mut().poll(&mut Task::from_waker(&Arc::new(waker).into()))
    }
}

fn poked<F: Future>(nodes: &Nodes, future: F) -> Poked<F> {
    Poked(Box::pin(future), nodes.clone())
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Note(u64);

impl Message for Note {
    type Reply = u64;
    const NAME: &'static str = "note";
}

/// Answers with as many bytes, which have an owner; or never, of none.
struct Blob;

impl Method for Blob {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "blob";
}

/// The handler gives chunks back, which have an owner; or takes none, of an empty request.
struct Echo;

impl Method for Echo {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "echo";
}

impl Streaming for Echo {
    type In = Raw;
    type Out = Raw;
}

/// What the values call.
#[derive(Clone)]
struct Plain;

impl Service for Plain {
    const NAME: &'static str = "plain";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Note>();
    }
}

impl Handler<Note> for Plain {
    async fn handle(&self, _: &Context, note: View<Note>) -> Result<u64, Status> {
        Ok(note.0.to_native())
    }
}

struct Absent;

impl Service for Absent {
    const NAME: &'static str = "absent";
    fn methods(_: &mut Methods<Self>) {}
}

/// A service that calls the nodes when it is dropped.
struct Owning(Poker);

impl Service for Owning {
    const NAME: &'static str = "owning";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Blob>().add_stream::<Echo>();
    }
}

impl Handler<Blob> for Owning {
    async fn handle(&self, cx: &Context, request: Bytes) -> Result<Raw, Status> {
        if request.len() == 1 {
            std::future::pending::<()>().await;
        }
        cx.attach(self.0.0.bytes(20_000));
        Ok(Raw(self.0.0.bytes(request.len())))
    }
}

impl StreamHandler<Echo> for Owning {
    async fn handle(
        &self,
        _: &Context,
        request: Bytes,
        mut incoming: Incoming<Raw>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<Raw, Status> {
        if request.is_empty() {
            std::future::pending::<()>().await;
        }
        while let Some(chunk) = incoming.next().await {
            outgoing.send(&Raw(self.0.0.bytes(chunk?.len()))).await?;
        }
        Ok(Raw::default())
    }
}

/// Runs a story with two nodes on threads of its own, and fails if it does not end.
#[expect(clippy::disallowed_methods, reason = "a deadlock is seen from another thread alone")]
fn story<F: Future<Output = ()>>(of: impl FnOnce(Node, Node, Nodes) -> F + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let one = start(1, &[]).await;
            let two = start(2, &[&one]).await;
            let nodes = Nodes { nodes: vec![one.downgrade(), two.downgrade()], ..Nodes::default() };
            for node in [&one, &two] {
                node.add_service(Plain).expect("added");
                node.add_service(Owning(nodes.poker())).expect("added");
                sees(node, 1).await;
            }
            of(one, two, nodes).await;
        });
        let _ = done.send(());
    });
    match ended.recv_timeout(2 * PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a thread waits for a lock that it holds"),
        _ => thread.join().expect("no panic"),
    }
}

async fn start(id: u64, seeds: &[&Node]) -> Node {
    let seeds = seeds.iter().map(|node| node.advertised_addr().to_string());
    let rpc = rpc::Config { in_flight_max: 32, ..rpc::Config::default() };
    let runtime: Arc<dyn Runtime> = Arc::new(Tokio::new(tokio::runtime::Handle::current()));
    let node = Node::builder(id, ([127, 0, 0, 1], 0).into()).cluster("test");
    node.config(Config::local()).rpc(rpc).seeds(seeds).start_on(runtime).await.expect("starts")
}

fn owning(node: &Node, peer: u64) -> Client<Owning> {
    node.client::<Owning>(peer).timeout(PATIENCE)
}

/// Waits until so many values have called the nodes.
async fn have_poked(nodes: &Nodes, count: usize) {
    let runtime = Tokio::new(tokio::runtime::Handle::current());
    eventually(&runtime, || nodes.count() >= count).await;
}

/// Requests, answers and what is beside them: sent, given up while they wait or are under way, and
/// refused.
#[test]
fn owners_of_messages_are_dropped_where_nothing_is_locked() {
    story(|one, two, nodes| async move {
        let _lives_on = two;
        let mut expected = 0;
        // To the other node, and to itself.
        for peer in [2, 1] {
            for round in 0..40_u64 {
                let (client, body) = (owning(&one, peer), Raw(nodes.bytes(300_000)));
                let beside = nodes.bytes(9_000);
                let call = tokio::spawn(async move {
                    drop(client.request::<Blob>(&body).attach(beside).send().await);
                });
                if round % 2 == 0 {
                    tokio::time::sleep(Duration::from_micros(100 * round)).await;
                    call.abort();
                }
                drop(call.await);
                expected += 2;
            }
        }
        // More than have room: some wait, and are given up there.
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let (client, body) = (owning(&one, 2), Raw(nodes.bytes(1)));
                let beside = nodes.bytes(10_000);
                tokio::spawn(async move {
                    drop(client.request::<Blob>(&body).attach(beside).send().await);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        for call in calls {
            drop(call.await);
        }
        expected += 200;
        // Given up while the answers are queued, whose bytes nobody else holds.
        for _ in 0..5 {
            let calls: Vec<_> = (0..16)
                .map(|_| {
                    let (client, body) = (owning(&one, 2), Raw(vec![1; 1 << 20].into()));
                    tokio::spawn(async move {
                        drop(client.request::<Blob>(&body).send().await);
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(12)).await;
            calls.iter().for_each(tokio::task::JoinHandle::abort);
            for call in calls {
                drop(call.await);
            }
        }
        // Refused: too large, to nobody, with a deadline that has passed.
        let large = Raw(nodes.bytes(20 << 20));
        drop(owning(&one, 2).request::<Blob>(&large).send().await);
        drop(owning(&one, 9).request::<Blob>(&Raw(nodes.bytes(10))).send().await);
        let late = owning(&one, 2).timeout(Duration::ZERO);
        drop(late.request::<Blob>(&Raw(nodes.bytes(10_000))).send().await);
        drop(large);
        expected += 3;
        have_poked(&nodes, expected).await;
    });
}

/// Chunks both ways: of streams that go on to the end, and that are given up.
#[test]
fn owners_of_chunks_are_dropped_where_nothing_is_locked() {
    story(|one, two, nodes| async move {
        let _lives_on = two;
        let mut expected = 0;
        for peer in [2, 1] {
            for round in 0..20 {
                let request = if round % 4 == 3 { Raw::default() } else { Raw(vec![1].into()) };
                let client = owning(&one, peer);
                let mut echo = client.open_with::<Echo>(&request, &[]).await.expect("open");
                let given_up = round % 2 == 1;
                for _ in 0..20 {
                    let chunk = Raw(nodes.bytes(60_000));
                    let send = echo.send(&chunk);
                    // One that waits for room is given up too.
                    drop(tokio::time::timeout(Duration::from_millis(2), send).await);
                    expected += 1;
                    if !given_up {
                        echo.next().await.expect("a chunk").expect("well");
                    }
                }
            }
        }
        // Many at once, given up while the chunks that come back are queued.
        for _ in 0..5 {
            let mut open = Vec::new();
            for _ in 0..20 {
                let request = Raw(vec![1].into());
                let call = owning(&one, 2).open_with::<Echo>(&request, &[]).await;
                let mut echo = call.expect("open");
                echo.send(&Raw(nodes.bytes(60_000))).await.expect("sent");
                open.push(echo);
            }
            expected += 20;
            tokio::time::sleep(Duration::from_millis(2)).await;
            drop(open);
        }
        have_poked(&nodes, expected).await;
    });
}

/// What ends with a connection, and with a node.
#[test]
fn what_a_node_holds_is_dropped_where_nothing_is_locked() {
    story(|one, two, nodes| async move {
        one.add_interceptor(Role::Outbound, nodes.poker());
        one.add_interceptor(Role::Inbound, nodes.poker());
        one.set_selector(nodes.poker());
        one.set_selector(nodes.poker());
        have_poked(&nodes, 1).await;
        assert!(one.add_service(Owning(nodes.poker())).is_err(), "there is one");
        have_poked(&nodes, 2).await;
        assert!(one.remove_service::<Owning>());
        have_poked(&nodes, 3).await;
        // Waiting, under way and held by handlers when the peer ends.
        let calls: Vec<_> = (0..100)
            .map(|at| {
                let (client, len) = (owning(&one, 2), if at % 2 == 0 { 1 } else { 700_000 });
                let body = Raw(nodes.bytes(len));
                tokio::spawn(async move { drop(client.request::<Blob>(&body).send().await) })
            })
            .collect();
        // One-way messages, whose bytes nobody else holds.
        for _ in 0..20 {
            let body = Raw(nodes.bytes(300_000));
            owning(&one, 2).request::<Blob>(&body).send_one_way().expect("taken");
        }
        tokio::task::yield_now().await;
        two.shutdown().await;
        for call in calls {
            call.await.expect("no panic");
        }
        have_poked(&nodes, 124).await;
        one.shutdown().await;
        let before = nodes.count();
        drop((one, two));
        have_poked(&nodes, before).await;
    });
}

/// Wakers of every future that waits.
#[test]
fn wakers_are_cloned_dropped_and_woken_where_nothing_is_locked() {
    story(|one, two, nodes| async move {
        for peer in [2, 1] {
            let client = owning(&one, peer);
            for _ in 0..10 {
                let body = Raw(vec![1; 100_000].into());
                poked(&nodes, client.request::<Blob>(&body).send()).await.expect("answered");
                let request = Raw(vec![1].into());
                let open = client.open_with::<Echo>(&request, &[]);
                let mut echo = poked(&nodes, open).await.expect("open");
                for _ in 0..5 {
                    poked(&nodes, echo.send(&body_of(60_000))).await.expect("sent");
                    poked(&nodes, echo.next()).await.expect("a chunk").expect("well");
                }
                poked(&nodes, echo.reply()).await.expect("answered");
                // A reader and a writer that wait, again and again, and are given up.
                let mut idle = client.open_with::<Echo>(&Raw::default(), &[]).await.expect("open");
                let wait = Duration::from_millis(1);
                drop(tokio::time::timeout(wait, poked(&nodes, idle.next())).await);
                for _ in 0..6 {
                    let chunk = body_of(60_000);
                    let send = poked(&nodes, idle.send(&chunk));
                    drop(tokio::time::timeout(wait, send).await);
                }
            }
        }
        let mut watch = one.watch();
        drop(tokio::time::timeout(Duration::from_millis(1), poked(&nodes, watch.next())).await);
        let wait = one.wait_for(|view| view.members().len() == 7, Duration::from_millis(5));
        poked(&nodes, wait).await.expect_err("there are two");
        let before = nodes.count();
        poked(&nodes, two.leave()).await.expect("left");
        poked(&nodes, two.shutdown()).await;
        assert!(nodes.count() > before && before > 100, "wakers have been used");
    });
}

fn body_of(len: usize) -> Raw {
    Raw(vec![1; len].into())
}
