//! Where features meet: failures passed on, calls nested deep, services replaced under a stream,
//! limits met exactly.

use std::sync::Arc;
use std::time::Duration;

use chinwag::protocol::rpc;
use chinwag::{
    CallInfo, Client, Code, Context, Handler, Incoming, Interceptor, Message, Methods, Node,
    Outgoing, Raw, Role, Service, Status, StreamHandler, Streaming, View,
};
use futures_lite::future::zip;

use crate::Host;
use crate::flows::{Flows, Repeat, Sum};
use crate::probe::{Hang, PATIENCE, Probe, cluster, echo};
use crate::tools::Tally;

/// Passes on whatever becomes of a call of its own.
#[derive(rkyv::Archive, rkyv::Serialize, Clone, Copy)]
struct PassOn {
    of: Nested,
}

/// Calls of which it is certain that nobody has handled them.
#[derive(rkyv::Archive, rkyv::Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(compare(PartialEq))]
enum Nested {
    ToNoService,
    ToNobody,
    WithoutTime,
    TooLarge,
}

const NESTED: [(Nested, Code); 4] = [
    (Nested::ToNoService, Code::UnknownService),
    (Nested::ToNobody, Code::Unavailable),
    (Nested::WithoutTime, Code::DeadlineExceeded),
    (Nested::TooLarge, Code::TooLarge),
];

impl Message for PassOn {
    type Reply = ();
    const NAME: &'static str = "pass on";
}

/// The same, of a method that streams.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct PassOnLate {
    of: Nested,
}

impl Message for PassOnLate {
    type Reply = ();
    const NAME: &'static str = "pass on late";
}

impl Streaming for PassOnLate {
    type In = Raw;
    type Out = Raw;
}

/// Calls itself on the next of two members, so many times; the last one says how much time it has
/// left, or panics.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Dive {
    depth: u32,
    members: [u64; 2],
    panics: bool,
}

impl Message for Dive {
    type Reply = u64;
    const NAME: &'static str = "dive";
}

/// Answers with a header of this length.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Headed {
    len: u32,
}

impl Message for Headed {
    type Reply = ();
    const NAME: &'static str = "headed";
}

/// The first one to be handled on any member waits for ever, the others answer.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Once;

impl Message for Once {
    type Reply = ();
    const NAME: &'static str = "once";
}

/// The same, which may be handled twice.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Again;

impl Message for Again {
    type Reply = ();
    const NAME: &'static str = "again";
    const IDEMPOTENT: bool = true;
}

/// The service: its clones are one.
#[derive(Clone, Default)]
struct Corners {
    /// Handlers that have begun.
    begun: Arc<Tally>,
    /// On which member each of them did, in order.
    at: Arc<std::sync::Mutex<Vec<u64>>>,
}

impl Service for Corners {
    const NAME: &'static str = "corners";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<PassOn>().add_stream::<PassOnLate>().add::<Dive>().add::<Headed>();
        methods.add::<Once>().add::<Again>();
    }
}

impl Corners {
    fn begin(&self, cx: &Context) -> usize {
        let mut at = self.at.lock().expect("nobody panics with it");
        at.push(cx.node().map_or(0, |node| node.id().get()));
        self.begun.add();
        at.len()
    }

    async fn nested(&self, cx: &Context, of: Nested) -> Result<(), Status> {
        self.begin(cx);
        let here = cx.node().map_or(0, |node| node.id().get());
        let flows: Client<Flows> = cx.client(here);
        let status = match of {
            Nested::ToNoService => flows.open(&Sum { times: 1 }).await?.reply().await.map(drop),
            Nested::ToNobody => cx.client::<Probe>(99).call(&Hang).await.map(drop),
            Nested::WithoutTime => {
                cx.client::<Probe>(here).timeout(Duration::ZERO).call(&Hang).await.map(drop)
            }
            Nested::TooLarge => {
                let large = crate::probe::Echo { text: "x".repeat(17 << 20) };
                cx.client::<Probe>(here).call(&large).await.map(drop)
            }
        };
        assert!(status.as_ref().is_err_and(|status| !status.may_have_run()), "{status:?}");
        status
    }

    async fn first_waits(&self, cx: &Context) -> Result<(), Status> {
        if self.begin(cx) == 1 {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// As it was archived.
fn nested(of: &ArchivedNested) -> Nested {
    NESTED.into_iter().map(|(nested, _)| nested).find(|nested| of == nested).expect("all are there")
}

impl Handler<PassOn> for Corners {
    async fn handle(&self, cx: &Context, pass_on: View<PassOn>) -> Result<(), Status> {
        self.nested(cx, nested(&pass_on.of)).await
    }
}

impl StreamHandler<PassOnLate> for Corners {
    async fn handle(
        &self,
        cx: &Context,
        pass_on: View<PassOnLate>,
        mut incoming: Incoming<Raw>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<(), Status> {
        if let Some(chunk) = incoming.next().await {
            outgoing.send(&Raw(chunk?)).await?;
        }
        self.nested(cx, nested(&pass_on.of)).await
    }
}

impl Handler<Dive> for Corners {
    async fn handle(&self, cx: &Context, dive: View<Dive>) -> Result<u64, Status> {
        self.begin(cx);
        let members = [dive.members[1].to_native(), dive.members[0].to_native()];
        let (depth, panics) = (dive.depth.to_native(), dive.panics);
        if depth == 0 {
            assert!(!panics, "on purpose");
            let left = cx.remaining().map_or(u128::MAX, |left| left.as_millis());
            return Ok(u64::try_from(left).unwrap_or(u64::MAX));
        }
        let next: Client<Self> = cx.client(members[0]).without_timeout();
        next.call(&Dive { depth: depth - 1, members, panics }).await.map(|left| left.to_native())
    }
}

impl Handler<Headed> for Corners {
    async fn handle(&self, cx: &Context, headed: View<Headed>) -> Result<(), Status> {
        let value = vec![1; headed.len.to_native() as usize];
        cx.set_header("k", &value).map_err(|error| Status::new(Code::Internal, format!("{error}")))
    }
}

impl Handler<Once> for Corners {
    async fn handle(&self, cx: &Context, _: View<Once>) -> Result<(), Status> {
        self.first_waits(cx).await
    }
}

impl Handler<Again> for Corners {
    async fn handle(&self, cx: &Context, _: View<Again>) -> Result<(), Status> {
        self.first_waits(cx).await
    }
}

async fn cluster_with_corners(host: &dyn Host, count: u64) -> (Vec<(Node, Probe)>, Corners) {
    let (nodes, corners) = (cluster(host, count).await, Corners::default());
    for (node, _) in &nodes {
        node.add_service(corners.clone()).expect("added");
    }
    (nodes, corners)
}

/// What is certain of the nested call is not true of the handler that made it: it has run, and
/// nobody runs it again.
pub async fn a_failure_that_a_handler_passes_on_says_that_it_ran(host: &dyn Host) {
    let (nodes, corners) = cluster_with_corners(host, 3).await;
    for (of, code) in NESTED {
        let before = corners.begun.count();
        for peer in [1, 2] {
            let client = nodes[0].0.client::<Corners>(peer).timeout(PATIENCE);
            let status = client.call(&PassOn { of }).await.expect_err("passed on");
            assert_eq!(
                (status.code, status.may_have_run(), status.never_sent()),
                (code, true, false),
                "{of:?}"
            );

            let mut stream = client.open(&PassOnLate { of }).await.expect("open");
            stream.send(&vec![1].into()).await.expect("sent");
            assert!(stream.next().await.expect("one").is_ok());
            let status = stream.reply().await.expect_err("passed on");
            assert_eq!(
                (status.code, status.may_have_run(), status.never_sent()),
                (code, true, false),
                "{of:?}"
            );
        }
        assert_eq!(corners.begun.count() - before, 4, "{of:?}");
        let balanced = nodes[0].0.balanced::<Corners>().timeout(PATIENCE);
        assert_eq!(balanced.call(&PassOn { of }).await.expect_err("passed on").code, code);
        assert_eq!(corners.begun.count() - before, 5, "{of:?}: it runs once");
    }
    assert_eq!(nodes[0].0.stats().retries, 0);
}

/// Within a node and over one connection, up and down again; the deadline and a failure go through
/// all of them.
pub async fn calls_that_call_back_and_themselves_nest_deep(host: &dyn Host) {
    let (nodes, corners) = cluster_with_corners(host, 2).await;
    for members in [[1, 1], [2, 1], [2, 2]] {
        let client = nodes[0].0.client::<Corners>(members[0]).timeout(PATIENCE);
        let before = corners.begun.count();
        let left =
            client.call(&Dive { depth: 40, members, panics: false }).await.expect("answered");
        assert!(u128::from(left.to_native()) <= PATIENCE.as_millis(), "{} ms", *left);
        assert_eq!(corners.begun.count() - before, 41);
        let status = client
            .call(&Dive { depth: 40, members, panics: true })
            .await
            .expect_err("the last panics");
        assert_eq!((status.code, status.may_have_run()), (Code::Internal, true));
    }
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
}

/// Refuses what has this header, with any status; gives everything no more than this time.
struct Strict {
    time: Duration,
}

impl Interceptor for Strict {
    fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        if call.headers().get("forbidden").is_some() {
            return Err(Status::new(Code::AppError, "forbidden"));
        }
        if call.headers().get("hurried").is_some() {
            let begun = call.deadline().expect("every client here has one") - PATIENCE;
            call.shorten(begun + self.time);
        }
        Ok(())
    }

    fn after(&self, _: &CallInfo, _: Result<(), &Status>, _: Duration) {}
}

/// Neither stream nor handler is there for what is refused, its chunks take nobody's room, and a
/// shorter deadline is the deadline.
pub async fn interceptors_refuse_streams_and_shorten_deadlines(host: &dyn Host) {
    let (nodes, _) = cluster_with_corners(host, 2).await;
    let flows = Flows::default();
    nodes[1].0.add_service(flows.clone()).expect("added");
    nodes[1].0.add_interceptor(Role::Inbound, Strict { time: PATIENCE });
    let client = nodes[0].0.client::<Flows>(2).timeout(PATIENCE);
    let forbidden = client.clone().header("forbidden", b"").expect("fits");
    // Much more than all windows together: what came for nobody was given back.
    for _ in 0..100 {
        let mut stream =
            forbidden.open(&Repeat { chunks_max: 9 }).await.expect("open: nobody has looked yet");
        for _ in 0..10 {
            if stream.send(&vec![7; 60_000].into()).await.is_err() {
                break;
            }
        }
        let status = stream.reply().await.expect_err("refused");
        assert_eq!((status.code, status.may_have_run()), (Code::AppError, false));
    }
    assert_eq!(flows.begun.count(), 0);

    nodes[0].0.add_interceptor(Role::Outbound, Strict { time: Duration::from_millis(100) });
    let status =
        forbidden.open(&Repeat { chunks_max: 9 }).await.map(drop).expect_err("refused at once");
    assert_eq!((status.code, status.never_sent()), (Code::AppError, true));
    let hangs =
        nodes[0].0.client::<Probe>(2).timeout(PATIENCE).header("hurried", b"").expect("fits");
    let begun = host.runtime().now().mono;
    let status = hangs.call(&Hang).await.expect_err("its time is short");
    assert_eq!(status.code, Code::DeadlineExceeded);
    assert!(host.runtime().now().mono.since(begun) < PATIENCE, "not the client's own deadline");
    nodes[1].1.dropped.reaches(nodes[1].1.begun.count()).await;
    let hurried = client.clone().header("hurried", b"").expect("fits");
    let mut stream = hurried.open(&Repeat { chunks_max: 9 }).await.expect("open");
    let status = stream.next().await.expect("told").expect_err("its time is short");
    assert_eq!(status.code, Code::DeadlineExceeded);
    flows.gone.reaches(flows.begun.count()).await;
}

/// Those that were open go on with the old one, both ways, while new ones reach the one that took
/// its place.
pub async fn a_service_that_is_replaced_keeps_its_streams(host: &dyn Host) {
    let (nodes, _) = cluster_with_corners(host, 2).await;
    let services = [(); 3].map(|()| Flows::default());
    for peer in [1, 2] {
        let node = &nodes[peer - 1].0;
        let client = nodes[0].0.client::<Flows>(peer as u64).timeout(PATIENCE);
        let mut streams = Vec::new();
        for (at, flows) in services.iter().enumerate() {
            let before = flows.begun.count();
            node.add_service(flows.clone()).expect("the one before is gone");
            let mut stream = client.open(&Repeat { chunks_max: u64::MAX }).await.expect("open");
            stream.send(&vec![1; 300_000].into()).await.expect("sent");
            flows.begun.reaches(before + 1).await;
            streams.push(stream);
            assert!(node.remove_service::<Flows>());
            // Between two lives of the service there is nobody.
            let status = match client.open(&Sum { times: 1 }).await {
                Ok(call) => call.reply().await.map(drop).expect_err("removed"),
                Err(status) => status,
            };
            assert_eq!((status.code, status.may_have_run()), (Code::UnknownService, false), "{at}");
        }
        for mut stream in streams {
            for len in [300_000, 7] {
                assert_eq!(stream.next().await.expect("one more").expect("well").len(), len);
                stream.send(&vec![1; 7].into()).await.expect("sent");
            }
            stream.finish();
            assert_eq!(stream.next().await.expect("the last").expect("well").len(), 7);
            assert_eq!(stream.reply().await.expect("answered").body.to_native(), 3);
        }
    }
    for flows in &services {
        assert_eq!((flows.begun.count(), flows.gone.count()), (2, 2), "each had its own");
    }
}

/// To the byte: of a request, and of an answer, which has run then. The connection is none the
/// worse.
pub async fn headers_pass_up_to_their_limit(host: &dyn Host) {
    let (nodes, _) = cluster_with_corners(host, 2).await;
    // A pair is its lengths, in three bytes, a key of one, and a value.
    let most = rpc::Config::default().headers_len_max as usize - 4;
    let client = nodes[0].0.client::<Corners>(2).timeout(PATIENCE);
    for (len, fits) in [(most, true), (most + 1, false)] {
        let headed = client.clone().header("k", &vec![1; len]).expect("a header");
        let asked = headed.call(&Headed { len: 0 }).await;
        let told = client.call(&Headed { len: u32::try_from(len).expect("small") }).await;
        for (result, may_have_run) in [(asked, false), (told, true)] {
            match result {
                Ok(_) => assert!(fits, "{len}"),
                Err(status) => {
                    let expected = (Code::TooLarge, may_have_run, false);
                    assert_eq!(
                        (status.code, status.may_have_run(), fits),
                        expected,
                        "{len}: {status}"
                    );
                }
            }
        }
    }
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    assert_eq!(nodes[0].0.stats().connections, 1);
}

/// A member is lost while it handles: the call goes to another one if it may run twice, and else
/// fails as one that may have run.
pub async fn what_a_lost_member_may_have_done_is_done_again_only_if_it_may(host: &dyn Host) {
    for is_idempotent in [true, false] {
        let (nodes, corners) = cluster_with_corners(host, 4).await;
        let balanced = nodes[0].0.balanced::<Corners>().timeout(PATIENCE);
        let call = async {
            if is_idempotent {
                balanced.call(&Again).await.map(drop)
            } else {
                balanced.call(&Once).await.map(drop)
            }
        };
        let end = async {
            corners.begun.reaches(1).await;
            let at = corners.at.lock().expect("nobody panics with it")[0];
            let place = usize::try_from(at).expect("small") - 1;
            nodes[place].0.shutdown().await;
            at
        };
        let (result, first) = zip(call, end).await;
        let at = corners.at.lock().expect("nobody panics with it").clone();
        if is_idempotent {
            assert_eq!(result, Ok(()));
            assert!(at.len() == 2 && at[1] != first, "{at:?}");
        } else {
            let status = result.expect_err("nobody may do it again");
            assert!(status.may_have_run(), "{status}");
            assert!(matches!(status.code, Code::ConnectionLost | Code::PeerGone), "{status}");
            assert_eq!(at, [first]);
        }
    }
}
