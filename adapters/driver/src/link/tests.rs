//! A link without a node: two tables of links over streams in memory, and an [`Answerer`] in the
//! place of services.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::clock::SharedHlc;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::Destination;
use chinwag_core::rpc::{
    self, Body, Code, Event, Fingerprint, Headers, InboundId, Request, RequestError, Shape, Status,
    StreamRef,
};
use chinwag_core::time::Now;

use super::handle::{Call, Link};
use super::serve::{Inbound, Serve};
use super::streams::{Port, RemoteEnd};
use super::table::Links;
use crate::base::runtime::Runtime;
use crate::base::runtime::fake::FakeRuntime;
use crate::base::state::{NodeParts, NodeState};
use crate::base::sync::lock;
use crate::message::answer::Response;

/// What an [`Answerer`] has seen of its connections, in order.
type Seen = Arc<Mutex<Vec<String>>>;

/// Answers a request by its body: `echo…` gets its own bytes, `refuse…` a failure, `hold…` nothing.
/// Of a stream it takes what it is sent and sends it back.
#[derive(Default)]
struct Answerer {
    seen: Seen,
    ends: Arc<Mutex<Vec<RemoteEnd>>>,
}

impl Serve for Answerer {
    fn inbound(self: Arc<Self>, link: &Arc<Link>) -> Box<dyn Inbound> {
        Box::new(Answers { answerer: self, link: link.clone() })
    }
}

struct Answers {
    answerer: Arc<Answerer>,
    link: Arc<Link>,
}

impl Answers {
    fn answer(&self, now: Now, id: InboundId, body: &Bytes, shape: Shape) {
        let text = String::from_utf8_lossy(body).into_owned();
        lock(&self.answerer.seen).push(format!("request {text}"));
        if shape.is_streaming() {
            lock(&self.answerer.ends).extend(RemoteEnd::of_inbound(&self.link, id));
        } else if text.starts_with("echo") {
            let result = Ok(body.clone());
            let response = Response { headers: Headers::new(), attachments: Vec::new(), result };
            self.link.respond(now, id, response);
        } else if text.starts_with("refuse") {
            let refused = Status::never_ran(Code::Overloaded, "as asked");
            self.link.respond(now, id, refused.into());
        }
    }
}

impl Inbound for Answers {
    fn handle(&mut self, now: Now, events: &mut VecDeque<Event>) {
        for event in events {
            match event {
                Event::Request { id, body, shape, .. } => self.answer(now, *id, body, *shape),
                Event::Cancelled(_) => lock(&self.answerer.seen).push("cancelled".into()),
                _ => {}
            }
        }
    }

    fn finish(&mut self) {
        lock(&self.answerer.seen).push("finished".into());
    }
}

struct Side {
    links: Arc<Links>,
    answerer: Arc<Answerer>,
}

/// Two sides on one runtime; the first dials the second.
struct Pair {
    runtime: Arc<FakeRuntime>,
    sides: [Side; 2],
}

const CONNECTIONS_MAX: usize = 2;

impl Pair {
    fn new(configs: [rpc::Config; 2]) -> Self {
        let runtime = Arc::<FakeRuntime>::default();
        let mut id = 0;
        let sides = configs.map(|config| {
            id += 1;
            let parts = NodeParts {
                runtime: runtime.clone(),
                id: NodeId::new(id),
                epoch: Epoch::new(1),
                addr: addr(id),
                bound: addr(id),
                cluster: "test".into(),
                rpc: Arc::new(config),
                clock: Arc::new(SharedHlc::new(Duration::from_millis(500))),
            };
            let answerer = Arc::<Answerer>::default();
            let serve: Arc<dyn Serve> = answerer.clone();
            let node = Arc::new(NodeState::new(parts));
            let links = Arc::new(Links::new(node, Arc::downgrade(&serve), id, CONNECTIONS_MAX));
            Side { links, answerer }
        });
        Self { runtime, sides }
    }

    /// The first side's link to the second, once both have said who they are.
    fn connect(&self) -> Arc<Link> {
        let to = Destination { addr: addr(2), id: Some(NodeId::new(2)) };
        let link = self.sides[0].links.find_or_dial(self.runtime.now(), to).expect("a link");
        self.runtime.run();
        let stream = lock(&self.runtime.dialed).pop().expect("it was dialled");
        self.sides[1].links.accept(self.runtime.now(), Box::new(stream));
        self.runtime.run();
        link
    }

    fn begin(&self, link: &Arc<Link>, body: &'static [u8]) -> Result<Call, RequestError> {
        let begun =
            link.begin(self.runtime.now(), request(body, Shape::UNARY), false, None, None)?;
        Ok(Call::new(link.clone(), begun))
    }

    fn call(&self, link: &Arc<Link>, body: &'static [u8]) -> Response {
        let call = self.begin(link, body).expect("it has room");
        self.runtime.block_on(call).1
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.sides[1].answerer.seen))
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new([(); 2].map(|()| rpc::Config::default()))
    }
}

fn addr(id: u64) -> std::net::SocketAddr {
    ([10, 0, 0, 1], u16::try_from(id).expect("a small id")).into()
}

fn request(body: &'static [u8], shape: Shape) -> Request<'static> {
    Request {
        service: "service",
        method: "method",
        fingerprint: Fingerprint::new(1),
        headers: Headers::new(),
        deadline: None,
        body: Body::Borrowed(body),
        attachments: &[],
        shape,
    }
}

/// `docs/protocol.md` §5.4.
#[test]
fn a_request_is_handed_on_and_its_answer_comes_back() {
    let pair = Pair::default();
    let link = pair.connect();
    assert_eq!(link.peer().map(|peer| peer.id), Some(NodeId::new(2)));
    assert_eq!(pair.call(&link, b"echo 1").result, Ok(Bytes::from_static(b"echo 1")));
    assert_eq!(pair.seen(), ["request echo 1"]);
    let again = pair.sides[0].links.find(NodeId::new(2)).expect("it is kept");
    assert!(Arc::ptr_eq(&link, &again));
}

#[test]
fn a_refusal_says_what_the_other_side_said() {
    let pair = Pair::default();
    let link = pair.connect();
    let status = pair.call(&link, b"refuse").result.expect_err("refused");
    let kind = (status.code, status.may_have_run(), status.message.as_str());
    assert_eq!(kind, (Code::Overloaded, false, "as asked"));
}

/// `docs/protocol.md` §5.4.
#[test]
fn dropping_a_call_cancels_it_at_the_other_side() {
    let pair = Pair::default();
    let link = pair.connect();
    let call = pair.begin(&link, b"hold").expect("it has room");
    pair.runtime.run();
    assert_eq!(pair.seen(), ["request hold"]);
    assert!(link.is_busy());
    drop(call);
    pair.runtime.run();
    assert_eq!(pair.seen(), ["cancelled"]);
    assert!(!link.is_busy());
}

#[test]
fn both_directions_of_a_stream_carry_chunks_and_end() {
    let pair = Pair::default();
    let link = pair.connect();
    let port = Arc::<Port>::default();
    let shape = Shape { streams_in: true, streams_out: true };
    let begun = link.begin(pair.runtime.now(), request(b"", shape), false, Some(&port), None);
    let call = Call::new(link.clone(), begun.expect("it has room"));
    let ours = RemoteEnd::of_call(&call, port);
    pair.runtime.run();
    let theirs = lock(&pair.sides[1].answerer.ends).pop().expect("it is open");
    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        let chunk = Bytes::from_static(b"chunk");
        let sent =
            pair.runtime.block_on(std::future::poll_fn(|cx| from.poll_send(cx, &chunk, &[])));
        assert_eq!(sent, Ok(()));
        pair.runtime.run();
        let taken = std::future::poll_fn(|cx| to.port.incoming.poll_take(cx));
        let arrival = pair.runtime.block_on(taken).expect("not the end").expect("not a failure");
        assert_eq!(arrival.body, chunk);
        to.release(arrival.held);
    }
    ours.finish();
    pair.runtime.run();
    let end = pair.runtime.block_on(std::future::poll_fn(|cx| theirs.port.incoming.poll_take(cx)));
    assert!(end.is_none(), "the caller has finished");
    let StreamRef::Inbound(id) = theirs.stream else { panic!("an inbound call") };
    theirs.link.respond(pair.runtime.now(), id, Status::new(Code::AppError, "done").into());
    let (_, response) = pair.runtime.block_on(call);
    assert_eq!(response.error(), Some(Code::AppError));
    let end = pair.runtime.block_on(std::future::poll_fn(|cx| ours.port.incoming.poll_take(cx)));
    let status = end.expect("the failure").map(|chunk| chunk.body).expect_err("no chunk");
    assert_eq!(status.code, Code::AppError);
}

/// `docs/protocol.md` §5.9.
#[test]
fn a_connection_that_is_lost_ends_what_is_open_on_both_sides() {
    let pair = Pair::default();
    let link = pair.connect();
    let call = pair.begin(&link, b"hold").expect("it has room");
    pair.runtime.run();
    let tasks = pair.runtime.tasks_count();
    assert_eq!(tasks, 2, "one for each end of the connection");
    // The second side's node ends, which closes its end of the stream.
    assert!(pair.sides[1].links.node.life.close());
    pair.sides[1].links.close();
    let (_, response) = pair.runtime.block_on(call);
    assert_eq!(response.error(), Some(Code::ConnectionLost));
    pair.runtime.run();
    assert_eq!(pair.seen(), ["request hold", "finished"]);
    assert_eq!((pair.sides[0].links.len(), pair.sides[1].links.len()), (0, 0));
    assert_eq!(pair.runtime.tasks_count(), 0);
    assert!(!link.is_usable() && pair.sides[0].links.find(NodeId::new(2)).is_none());
}

/// A call that finds the connection full waits in its queue, and gets the room that another leaves.
#[test]
fn a_call_waits_in_the_queue_until_another_has_ended() {
    let few = rpc::Config { in_flight_max: 1, ..rpc::Config::default() };
    let pair = Pair::new([rpc::Config::default(), few]);
    let link = pair.connect();
    let first = pair.begin(&link, b"hold").expect("it has room");
    assert!(matches!(pair.begin(&link, b"echo"), Err(RequestError::Overloaded)));
    let mut permit = link.queue_up(None).expect("few wait");
    let mut waiting =
        Box::pin(async move { permit.comes().await.map(|is_open| (permit, is_open)) });
    // Whoever comes to an empty queue tries once more, and is told so.
    let Poll::Ready(Ok((mut permit, true))) = pair.runtime.poll(waiting.as_mut()) else {
        panic!("the first is let through")
    };
    {
        let mut arrives = pin!(permit.comes());
        assert!(pair.runtime.poll(arrives.as_mut()).is_pending(), "there is no room");
        drop(first);
        pair.runtime.run();
        assert_eq!(pair.runtime.poll(arrives.as_mut()), Poll::Ready(Ok(true)));
    }
    let now = pair.runtime.now();
    let begun = link.begin(now, request(b"echo", Shape::UNARY), true, None, None);
    let (_, response) = pair.runtime.block_on(Call::new(link.clone(), begun.expect("has room")));
    assert_eq!(response.result, Ok(Bytes::from_static(b"echo")));
}
