//! Nodes on real sockets, in one process. Waiting is for conditions, with bounds that a busy machine keeps to; nothing here sleeps
//! to let something happen.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use chinwag_tokio::{
    AddServiceError, Client, ClusterExtension, Code, Config, Consistency, Context, Event, Handler, Message,
    Methods, Node, Planes, Service, StartError, Status, View, WaitError,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

// ---- the service under test ----

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Echo {
    text: String,
}

impl Message for Echo {
    type Reply = Echoed;
    const NAME: &'static str = "echo";
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Echoed {
    text: String,
    caller: u64,
    server: u64,
}

/// Waits until it is dropped.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Hang;

impl Message for Hang {
    type Reply = ();
    const NAME: &'static str = "hang";
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Panic {
    before_waiting: bool,
}

impl Message for Panic {
    type Reply = ();
    const NAME: &'static str = "panic";
}

/// Calls back into the caller while it handles.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct CallBack;

impl Message for CallBack {
    type Reply = String;
    const NAME: &'static str = "call back";
}

#[derive(Default, Clone)]
struct Probe {
    begun: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    changed: Arc<Notify>,
}

impl Probe {
    async fn reaches(&self, count: impl Fn(&Self) -> &AtomicUsize, wanted: usize) {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                if count(self).load(Ordering::SeqCst) >= wanted {
                    return;
                }
                changed.await;
            }
        };
        timeout(PATIENCE, reached).await.expect("the handler gets there");
    }
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
        struct Dropped<'a>(&'a Probe);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                self.0.dropped.fetch_add(1, Ordering::SeqCst);
                self.0.changed.notify_waiters();
            }
        }
        let _dropped = Dropped(self);
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        std::future::pending().await
    }
}

impl Handler<Panic> for Probe {
    async fn handle(&self, _: &Context, panic: View<Panic>) -> Result<(), Status> {
        if !panic.before_waiting {
            tokio::task::yield_now().await;
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

/// The same names as `Probe`, with another layout of `echo`, and a method that it does not have.
struct Stranger;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct OtherEcho {
    text: String,
    more: u64,
}

impl Message for OtherEcho {
    type Reply = Echoed;
    const NAME: &'static str = "echo";
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Missing;

impl Message for Missing {
    type Reply = ();
    const NAME: &'static str = "missing";
}

impl Service for Stranger {
    const NAME: &'static str = "probe";
    fn methods(_: &mut Methods<Self>) {}
}

impl Handler<OtherEcho> for Stranger {
    async fn handle(&self, _: &Context, _: View<OtherEcho>) -> Result<Echoed, Status> {
        Err(Status::new(Code::AppError, "not called"))
    }
}

impl Handler<Missing> for Stranger {
    async fn handle(&self, _: &Context, _: View<Missing>) -> Result<(), Status> {
        Err(Status::new(Code::AppError, "not called"))
    }
}

/// Lists one method twice.
struct Twice;

impl Service for Twice {
    const NAME: &'static str = "twice";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Missing>().add::<Missing>();
    }
}

impl Handler<Missing> for Twice {
    async fn handle(&self, _: &Context, _: View<Missing>) -> Result<(), Status> {
        Ok(())
    }
}

// ---- clusters ----

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

async fn start(id: u64, seeds: &[&Node]) -> Node {
    start_with(id, seeds, Config::local()).await
}

async fn start_with(id: u64, seeds: &[&Node], config: Config) -> Node {
    let seeds = seeds.iter().map(|node| node.local_addr().to_string());
    Node::builder(id, loopback()).cluster("test").config(config).seeds(seeds).start().await.expect("starts")
}

async fn sees(node: &Node, others: usize) {
    let seen = node.wait_for(|view| view.members().len() == others, PATIENCE).await;
    seen.unwrap_or_else(|error| panic!("{node:?} sees {others}: {error}, but {:?}", node.members()));
}

/// `count` nodes with ids from 1 that all see each other, each with a [`Probe`].
async fn cluster(count: u64) -> Vec<(Node, Probe)> {
    cluster_with(count, Config::local()).await
}

async fn cluster_with(count: u64, config: Config) -> Vec<(Node, Probe)> {
    let mut nodes: Vec<(Node, Probe)> = Vec::new();
    for id in 1..=count {
        let seeds: Vec<&Node> = nodes.first().map(|(node, _)| node).into_iter().collect();
        let node = start_with(id, &seeds, config.clone()).await;
        let probe = Probe::default();
        node.add_service(probe.clone()).expect("added");
        nodes.push((node, probe));
    }
    for (node, _) in &nodes {
        sees(node, nodes.len() - 1).await;
    }
    nodes
}

async fn echo(from: &Node, to: u64) -> Result<(u64, u64), Status> {
    let client = from.client::<Probe>(to).timeout(PATIENCE);
    let echoed = client.call(&Echo { text: "hello".into() }).await?;
    assert_eq!(echoed.text, "hello");
    Ok((echoed.caller.to_native(), echoed.server.to_native()))
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("in time")
}

// ---- the stories ----

#[tokio::test]
async fn three_nodes_converge_and_call_each_other_both_ways() {
    let nodes = cluster(3).await;
    for (from, _) in &nodes {
        for (to, _) in &nodes {
            let (from_id, to_id) = (from.id().get(), to.id().get());
            assert_eq!(echo(from, to_id).await, Ok((from_id, to_id)), "{from_id} to {to_id}, itself too");
        }
    }
    let picks = nodes[0].0.select(Consistency::Two).expect("two others");
    assert_eq!(picks.len(), 2);
    assert!(nodes[0].0.select(Consistency::Three).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_from_both_sides_all_end_well() {
    let nodes = cluster(2).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (one, two) = (nodes[0].0.clone(), nodes[1].0.clone());
        calls.spawn(async move { (echo(&one, 2).await, echo(&two, 1).await) });
    }
    while let Some(ended) = within(calls.join_next()).await {
        assert_eq!(ended.expect("no panic"), (Ok((1, 2)), Ok((2, 1))));
    }
    // Both dialled at once, so there may be two connections; both sides keep the same one, and the other is closed.
    let settled = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while nodes.iter().any(|(node, _)| node.stats().connections != 1) {
            ticks.tick().await;
        }
    };
    within(settled).await;
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    assert_eq!(echo(&nodes[1].0, 1).await, Ok((2, 1)));
    assert_eq!(nodes.iter().map(|(node, _)| node.stats().connections).sum::<usize>(), 2);
}

#[tokio::test]
async fn large_messages_arrive_whole() {
    let nodes = cluster(2).await;
    let text = "x".repeat(3_000_000);
    let reply = nodes[0].0.client::<Probe>(2).timeout(PATIENCE).call(&Echo { text: text.clone() }).await;
    assert_eq!(reply.expect("answered").text, text);
    let too_large = Echo { text: "x".repeat(17 << 20) };
    let status = nodes[0].0.client::<Probe>(2).call(&too_large).await.expect_err("over the limit");
    assert_eq!((status.code, status.may_have_run()), (Code::TooLarge, false));
}

#[tokio::test]
async fn a_handler_calls_its_caller_back() {
    let nodes = cluster(2).await;
    let reply = within(nodes[0].0.client::<Probe>(2).call(&CallBack)).await.expect("answered");
    assert_eq!(*reply, *"back from 1");
}

#[tokio::test]
async fn services_come_and_go_while_the_node_runs() {
    let nodes = cluster(2).await;
    let (one, two) = (&nodes[0].0, &nodes[1].0);
    let other = one.client::<Twice>(2).call(&Missing).await.expect_err("not there");
    assert_eq!((other.code, other.may_have_run()), (Code::UnknownService, false));

    let hanging = nodes[1].1.clone();
    let client = one.client::<Probe>(2).timeout(PATIENCE);
    let call = tokio::spawn(async move { client.call(&Hang).await.map(drop) });
    hanging.reaches(|probe| &probe.begun, 1).await;
    assert!(two.remove_service::<Probe>());
    assert!(!two.remove_service::<Probe>(), "once");
    assert_eq!(echo(one, 2).await.expect_err("removed").code, Code::UnknownService);
    assert_eq!(hanging.dropped.load(Ordering::SeqCst), 0, "calls in flight go on");
    call.abort();
    hanging.reaches(|probe| &probe.dropped, 1).await;

    two.add_service(Probe::default()).expect("again");
    assert_eq!(echo(one, 2).await, Ok((1, 2)));
    assert_eq!(two.add_service(Probe::default()), Err(AddServiceError::DuplicateService("probe")));
    assert_eq!(two.add_service(Twice), Err(AddServiceError::DuplicateMethod("missing")));
}

#[tokio::test]
async fn what_the_peer_does_not_have_and_what_it_has_otherwise_are_told_apart() {
    let nodes = cluster(2).await;
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Stranger>(peer);
        let missing = client.call(&Missing).await.expect_err("no such method");
        assert_eq!((missing.code, missing.may_have_run()), (Code::UnknownMethod, false));
        let other =
            client.call(&OtherEcho { text: String::new(), more: 0 }).await.expect_err("another layout");
        assert_eq!((other.code, other.may_have_run()), (Code::SchemaMismatch, false));
        let ours = format!("{:016x}", OtherEcho::FINGERPRINT.get());
        let theirs = format!("{:016x}", Echo::FINGERPRINT.get());
        assert!(other.message.contains(&ours) && other.message.contains(&theirs), "{other}");
    }
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)), "the connection is none the worse");
}

#[tokio::test]
async fn a_panicking_handler_fails_its_call_alone() {
    let nodes = cluster(2).await;
    for peer in [1, 2] {
        for before_waiting in [true, false] {
            let call = Panic { before_waiting };
            let status = within(nodes[0].0.client::<Probe>(peer).call(&call)).await.expect_err("panics");
            assert_eq!(status.code, Code::Internal, "{status}");
        }
        assert_eq!(echo(&nodes[0].0, peer).await, Ok((1, peer)));
    }
}

#[tokio::test]
async fn dropping_a_call_drops_its_handler() {
    let nodes = cluster(2).await;
    for peer in [1, 2] {
        let probe = &nodes[peer - 1].1;
        let client = nodes[0].0.client::<Probe>(peer as u64);
        {
            let mut call = std::pin::pin!(client.call(&Hang));
            let begun = probe.reaches(|probe| &probe.begun, 1);
            tokio::select! {
                _ = &mut call => panic!("it hangs"),
                () = begun => {}
            }
        }
        probe.reaches(|probe| &probe.dropped, 1).await;
    }
}

#[tokio::test]
async fn a_deadline_ends_the_call_and_its_handler() {
    let nodes = cluster(2).await;
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Probe>(peer).timeout(Duration::from_millis(50));
        let status = within(client.call(&Hang)).await.expect_err("never answered");
        assert_eq!(status.code, Code::DeadlineExceeded);
    }
    // Node 2's handler may not have begun at all: then there is none to drop.
    let probe = &nodes[1].1;
    let begun = probe.begun.load(Ordering::SeqCst);
    probe.reaches(|probe| &probe.dropped, begun).await;
}

#[tokio::test]
async fn one_way_messages_are_handled() {
    let nodes = cluster(2).await;
    for peer in [1, 2] {
        nodes[0].0.client::<Probe>(peer as u64).one_way(&Hang).expect("queued");
        nodes[peer - 1].1.reaches(|probe| &probe.begun, 1).await;
    }
}

#[tokio::test]
async fn nobody_there_is_known_at_once() {
    let nodes = cluster(1).await;
    let status = within(echo(&nodes[0].0, 9)).await.expect_err("no such member");
    assert_eq!((status.code, status.never_sent()), (Code::Unavailable, true));
}

#[tokio::test]
async fn a_leave_is_reported_as_left_and_never_as_died() {
    let nodes = cluster(3).await;
    let mut watches: Vec<_> = nodes[..2].iter().map(|(node, _)| node.watch()).collect();
    let leaver = &nodes[2].0;
    let report = within(leaver.leave()).await.expect("the node is there");
    assert!(report.acked <= 3, "{report:?}");
    assert_eq!(within(leaver.leave()).await, Ok(report), "a second time is the same leave");
    leaver.shutdown().await;
    for watch in &mut watches {
        loop {
            match within(watch.next()).await.expect("the watcher's node is there") {
                Event::Left(member) if member.id == leaver.id() => break,
                Event::Died(member) => panic!("{} was reported dead", member.id),
                _ => {}
            }
        }
    }
    sees(&nodes[0].0, 1).await;
}

#[tokio::test]
async fn pending_calls_end_when_the_peer_does() {
    let nodes = cluster(2).await;
    let client = nodes[0].0.client::<Probe>(2).without_timeout();
    let call = tokio::spawn(async move { client.call(&Hang).await.map(drop) });
    nodes[1].1.reaches(|probe| &probe.begun, 1).await;
    nodes[1].0.shutdown().await;
    let status = within(call).await.expect("no panic").expect_err("nobody answers");
    assert!(matches!(status.code, Code::ConnectionLost | Code::PeerGone | Code::Unavailable), "{status}");
    nodes[1].1.reaches(|probe| &probe.dropped, 1).await;
}

#[tokio::test]
async fn shutdown_frees_the_port() {
    let nodes = cluster(2).await;
    let addr = nodes[1].0.local_addr();
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    let taken = Node::builder(3, addr).start().await.expect_err("in use");
    assert!(
        matches!(&taken, StartError::Bind { addr: at, error } if *at == addr && error.kind() == std::io::ErrorKind::AddrInUse),
        "{taken}"
    );
    within(nodes[1].0.shutdown()).await;
    let again = Node::builder(2, addr).cluster("test").config(Config::local());
    let again = again.seeds([nodes[0].0.local_addr().to_string()]).start().await.expect("the port is free");
    again.add_service(Probe::default()).expect("added");
    sees(&again, 1).await;
    let epoch = again.epoch();
    nodes[0]
        .0
        .wait_for(|view| view.get(2.into()).is_some_and(|member| member.epoch == epoch), PATIENCE)
        .await
        .expect("the new run");
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)), "a call reaches the new run");
}

/// Dropping the last handle ends every task, whatever is in flight; other things of the node do not hold it.
#[test]
fn dropping_the_node_ends_its_tasks() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = || runtime.metrics().num_alive_tasks();
    runtime.block_on(async {
        let nodes = cluster(3).await;
        let (first, probe) = (nodes[0].0.clone(), nodes[1].1.clone());
        let (client, clock, mut watch) = (first.client::<Probe>(2), first.clock(), first.watch());
        let held = client.clone();
        let call = tokio::spawn(async move { held.without_timeout().call(&Hang).await.map(drop) });
        probe.reaches(|probe| &probe.begun, 1).await;
        nodes[0].0.client::<Probe>(3).one_way(&Hang).expect("queued");
        nodes[2].1.reaches(|probe| &probe.begun, 1).await;
        assert!(tasks() >= 3);
        drop((first, nodes));
        within(call).await.expect("no panic").expect_err("the node is gone");
        let all_ended = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if tasks() == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        within(all_ended).await;
        while within(watch.next()).await.is_some() {}
        let status = client.call(&Echo { text: String::new() }).await.expect_err("no node");
        assert_eq!((status.code, status.never_sent()), (Code::Unavailable, true));
        assert!(clock.now() < clock.now(), "a clock is a clock");
    });
}

#[tokio::test]
async fn an_event_comes_after_the_view_that_contains_it() {
    let node = start(1, &[]).await;
    let mut watch = node.watch();
    let lonely = node.wait_for(|view| !view.members().is_empty(), Duration::from_millis(10)).await;
    assert_eq!(lonely.expect_err("alone"), WaitError::TimedOut);
    let peer = start(2, &[&node]).await;
    sees(&node, 1).await;
    // Published after the view that contains it, and there by now.
    let joined = watch.try_next().expect("an event");
    assert!(matches!(joined, Event::Joined(member) if member.id == peer.id()));
    node.shutdown().await;
    assert_eq!(node.wait_for(|_| false, PATIENCE).await.expect_err("ended"), WaitError::Closed);
}

#[tokio::test]
async fn a_seed_of_another_cluster_is_reported_by_name_on_both_sides() {
    let here = start(1, &[]).await;
    let seed = here.local_addr().to_string();
    let mut told_here = here.watch();
    let there = Node::builder(2, loopback()).cluster("elsewhere").config(Config::local()).seeds([seed]);
    let (there, mut told_there) =
        there.start_watched().await.expect("a foreign seed does not fail the start");
    for (watch, wanted) in [(&mut told_here, "elsewhere"), (&mut told_there, "test")] {
        let named = async {
            loop {
                match watch.next().await {
                    Some(Event::ForeignCluster { cluster: Some(name), .. }) => return name.to_string(),
                    Some(_) => {}
                    None => panic!("the node ended"),
                }
            }
        };
        assert_eq!(within(named).await, wanted);
    }
    assert!(here.members().members().is_empty() && there.members().members().is_empty());
}

#[tokio::test]
async fn it_works_on_streams_alone() {
    let config = Config { planes: Planes::StreamOnly, ..Config::local() };
    let nodes = cluster_with(3, config).await;
    assert_eq!(echo(&nodes[2].0, 1).await, Ok((3, 1)));
    assert_eq!(nodes[0].0.stats().membership.datagrams_out, 0);
}

#[tokio::test]
async fn a_stamp_after_a_call_is_later_than_one_before_it() {
    let nodes = cluster(2).await;
    let before = nodes[0].0.clock().now_at(nodes[0].0.now().wall + Duration::from_millis(200));
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    assert!(nodes[1].0.clock().now() > before, "the call carried the stamp");
    assert!(nodes[1].0.clock().now_coarse() > before);
}

struct Listen(mpsc::UnboundedSender<u64>);

impl ClusterExtension for Listen {
    type Output = usize;
    type Error = AddServiceError;

    async fn init(self, node: &chinwag_tokio::chinwag::Node) -> Result<usize, AddServiceError> {
        node.add_service(Probe::default())?;
        let mut changes = node.watch();
        let before = changes.members().members().len();
        node.spawn(async move {
            while let Some(event) = changes.next().await {
                if let Event::Joined(member) = event
                    && self.0.send(member.id.get()).is_err()
                {
                    break;
                }
            }
        });
        Ok(before)
    }
}

#[tokio::test]
async fn an_extension_uses_the_node_like_anybody() {
    let node = start(1, &[]).await;
    let (joined, mut heard) = mpsc::unbounded_channel();
    assert_eq!(node.add_extension(Listen(joined)).await, Ok(0));
    let peer = start(2, &[&node]).await;
    assert_eq!(within(heard.recv()).await, Some(2));
    sees(&peer, 1).await;
    assert_eq!(echo(&peer, 1).await, Ok((2, 1)));
    let (joined, _) = mpsc::unbounded_channel();
    assert_eq!(node.add_extension(Listen(joined)).await, Err(AddServiceError::DuplicateService("probe")));
}

#[tokio::test]
async fn a_start_that_cannot_work_says_why() {
    let everywhere = Node::builder(1, "0.0.0.0:0".parse().expect("an address")).start().await;
    assert!(matches!(everywhere.expect_err("which address?"), StartError::NoAddress(_)));
    let advertised = Node::builder(1, "0.0.0.0:0".parse().expect("an address")).advertise(loopback());
    let node =
        advertised.seeds(["no such host.invalid:1"]).start().await.expect("a bad seed never fails a start");
    assert_eq!(node.advertised_addr().port(), node.local_addr().port());
    let long = Node::builder(1, loopback()).metadata_entry("key", &"x".repeat(1_000)).start().await;
    assert!(matches!(long.expect_err("too long"), StartError::Metadata(_)));
}
