//! What a leave does to calls: those in flight finish, new ones go elsewhere, and nothing holds it
//! up for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chinwag::protocol::membership::Planes;
use chinwag::protocol::rpc;
use chinwag::{
    Client, Code, Config, Context, Handler, Message, Methods, Node, Raw, Service, Status,
    StreamCall, View,
};
use futures_lite::future::zip;

use crate::Host;
use crate::flows::{Flows, Repeat};
use crate::probe::{Echo, Hang, PATIENCE, Probe, builder, cluster_with, echo, sees};
use crate::tools::{Tally, poll_and_drop, spawn};

/// Answered once the gate is open, after a call of its own to another member.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Wait {
    then_asks: u64,
}

impl Message for Wait {
    type Reply = String;
    const NAME: &'static str = "wait";
}

#[derive(Clone, Default)]
struct Gate {
    begun: Arc<Tally>,
    open: Arc<Tally>,
}

impl Service for Gate {
    const NAME: &'static str = "gate";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Wait>();
    }
}

impl Handler<Wait> for Gate {
    async fn handle(&self, cx: &Context, wait: View<Wait>) -> Result<String, Status> {
        self.begun.add();
        self.open.reaches(1).await;
        let other: Client<Probe> = cx.client(wait.then_asks.to_native());
        let echoed = other.call(&Echo { text: "through".into() }).await?;
        Ok(format!("{} {}", echoed.text, echoed.server))
    }
}

/// Calls and streams of the leaver and to it, also a call that their handlers make meanwhile.
/// `docs/protocol.md` §5.9.5
pub async fn a_leave_lets_calls_in_flight_finish(host: &dyn Host) {
    drains(host, Config::local()).await;
}

/// The leave itself and its acknowledgements go over connections that drain, or over new ones.
pub async fn a_leave_drains_on_streams_alone(host: &dyn Host) {
    drains(host, Config { planes: Planes::StreamOnly, ..Config::local() }).await;
}

async fn drains(host: &dyn Host, config: Config) {
    let nodes = cluster_with(host, 3, config).await;
    let runtime = host.runtime();
    let (gate, flows) = (Gate::default(), Flows::default());
    for (node, _) in &nodes {
        node.add_service(gate.clone()).expect("added");
        node.add_service(flows.clone()).expect("added");
    }
    let (stayer, leaver) = (&nodes[0].0, &nodes[1].0);
    let waits = [(stayer, 2), (leaver, 1)].map(|(from, to)| {
        let client = from.client::<Gate>(to).timeout(PATIENCE);
        spawn(&*runtime, async move {
            client.call(&Wait { then_asks: 3 }).await.map(|reply| reply.as_str().to_owned())
        })
    });
    let mut streams = [open(stayer, 2).await, open(leaver, 1).await];
    gate.begun.reaches(2).await;

    // One poll is enough for it to begin.
    assert!(poll_and_drop(leaver.leave()).is_pending(), "calls are in flight");
    for _ in 0..3 {
        let status = echo(stayer, 2).await.expect_err("it takes no new calls");
        assert_eq!((status.code, status.may_have_run()), (Code::Unavailable, false), "{status}");
        let elsewhere = stayer.balanced::<Probe>().timeout(PATIENCE);
        let echoed =
            elsewhere.call(&Echo { text: String::new() }).await.expect("there is another member");
        assert_eq!(echoed.server.to_native(), 3);
    }
    let has_left = Arc::new(AtomicBool::new(false));
    let leaving = spawn(&*runtime, {
        let (leaver, has_left) = (leaver.clone(), has_left.clone());
        async move {
            let report = leaver.leave().await;
            has_left.store(true, Ordering::SeqCst);
            report
        }
    });
    // The others know long before the calls are over, and let them go on.
    sees(stayer, 1).await;
    sees(&nodes[2].0, 1).await;
    for stream in &mut streams {
        goes(stream).await;
    }
    assert!(!has_left.load(Ordering::SeqCst), "calls are in flight");

    gate.open.add();
    for wait in waits {
        assert_eq!(wait.await.as_deref(), Ok("through 3"));
    }
    assert!(!has_left.load(Ordering::SeqCst), "streams are in flight");
    for mut stream in streams {
        goes(&mut stream).await;
        assert_eq!(stream.reply().await.expect("answered").body.to_native(), 3);
    }
    let report = leaving.await.expect("the node is there");
    assert_eq!((report.acked, report.needed), (2, 2));
    assert_eq!(poll_and_drop(leaver.leave()), std::task::Poll::Ready(Ok(report)), "the same leave");
}

async fn open(from: &Node, to: u64) -> StreamCall<Repeat> {
    let client = from.client::<Flows>(to).timeout(PATIENCE);
    let mut stream = client.open(&Repeat { chunks_max: u64::MAX }).await.expect("open");
    goes(&mut stream).await;
    stream
}

/// There and back.
async fn goes(stream: &mut StreamCall<Repeat>) {
    let chunk = Raw::from(vec![7; 100_000]);
    stream.send(&chunk).await.expect("sent");
    assert_eq!(stream.next().await.expect("one more").expect("well"), chunk.0);
}

/// And what is open then ends at both sides, as a call that may have run.
pub async fn a_leave_waits_no_longer_than_its_drain_time(host: &dyn Host) {
    const DRAIN: Duration = Duration::from_millis(200);
    let runtime = host.runtime();
    let rpc = rpc::Config { drain_timeout: DRAIN, ..rpc::Config::default() };
    let mut nodes: Vec<(Node, Probe)> = cluster_with(host, 1, Config::local()).await;
    let seed = nodes[0].0.advertised_addr().to_string();
    let leaver = builder(host, 2).cluster("test").config(Config::local()).rpc(rpc).seeds([seed]);
    let leaver = leaver.start_on(runtime.clone()).await.expect("starts");
    let probe = Probe::default();
    leaver.add_service(probe.clone()).expect("added");
    nodes.push((leaver, probe));
    for (node, _) in &nodes {
        sees(node, 1).await;
    }
    let calls = [(0, 2), (1, 1)].map(|(from, to): (usize, u64)| {
        let client = nodes[from].0.client::<Probe>(to).without_timeout();
        spawn(&*runtime, async move { client.call(&Hang).await.map(drop) })
    });
    zip(nodes[0].1.begun.reaches(1), nodes[1].1.begun.reaches(1)).await;

    let begun = runtime.now().mono;
    nodes[1].0.leave().await.expect("the node is there");
    let took = runtime.now().mono.since(begun);
    assert!((DRAIN..PATIENCE).contains(&took), "{took:?}");
    for call in calls {
        let status = call.await.expect_err("nobody answers");
        assert_eq!((status.code, status.may_have_run()), (Code::ConnectionLost, true), "{status}");
    }
    zip(nodes[0].1.dropped.reaches(1), nodes[1].1.dropped.reaches(1)).await;
}
