//! A link without a node: two tables of links over streams in memory, and an [`Answerer`] in the
//! place of services.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::clock::SharedHlc;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{Destination, Member};
use chinwag_core::rpc::{
    self, Body, Code, Event, Fingerprint, Headers, InboundId, PeerHello, Request, RequestError,
    Shape, Status, StreamRef,
};
use chinwag_core::time::Now;

use super::handle::{Call, Link};
use super::serve::{Inbound, Serve};
use super::streams::{Port, RemoteEnd};
use super::table::{Links, Verdict, supersedes};
use crate::base::owned_task::OwnedTask;
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
                Event::OneWay { body, .. } => {
                    let text = String::from_utf8_lossy(body);
                    lock(&self.answerer.seen).push(format!("one-way message {text}"));
                }
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
                security: None,
                rpc: Arc::new(config),
                clock: Arc::new(SharedHlc::new(Duration::from_millis(500))),
                seeds: crate::base::seeds::SeedList::default(),
                held_max: usize::MAX,
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
        let begun = link.begin(self.runtime.now(), request(body, Shape::UNARY), None, None)?;
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
        chunk_len_max: 0,
        depth: 0,
        caller: 0,
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

/// Node 1 has a good certificate, and its hello says so; node 9's certificate would not do.
#[test]
fn s5_14_3_a_hello_with_another_id_than_the_certificate_ends_the_connection() {
    for (proven, is_taken) in [(1, true), (9, false)] {
        let pair = Pair::default();
        let to = Destination { addr: addr(2), id: Some(NodeId::new(2)) };
        let link = pair.sides[0].links.find_or_dial(pair.runtime.now(), to).expect("a link");
        pair.runtime.run();
        let call = pair.begin(&link, b"echo 1").expect("it waits");
        let mut stream = lock(&pair.runtime.dialed).pop().expect("it was dialled");
        stream.proven = Some(NodeId::new(proven));
        pair.sides[1].links.accept(pair.runtime.now(), Box::new(stream));
        pair.runtime.run();
        assert_eq!(pair.sides[1].links.len(), usize::from(is_taken));
        assert_eq!(pair.sides[1].links.find(NodeId::new(1)).is_some(), is_taken);
        assert_eq!(pair.seen().contains(&"request echo 1".to_owned()), is_taken);
        assert_eq!(pair.runtime.block_on(call).1.result.is_ok(), is_taken);
    }
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
    assert!(link.is_busy(false));
    drop(call);
    pair.runtime.run();
    assert_eq!(pair.seen(), ["cancelled"]);
    assert!(!link.is_busy(false));
}

#[test]
fn both_directions_of_a_stream_carry_chunks_and_end() {
    let pair = Pair::default();
    let link = pair.connect();
    let port = Arc::<Port>::default();
    let shape = Shape { streams_in: true, streams_out: true };
    let begun = link.begin(pair.runtime.now(), request(b"", shape), Some(&port), None);
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

/// A call that finds the connection full waits in it, whether or not anybody polls it, and gets the
/// room that another leaves (`docs/protocol.md` §5.12.2).
#[test]
fn a_call_waits_in_its_connection_until_another_has_ended() {
    let few = rpc::Config { in_flight_max: 1, ..rpc::Config::default() };
    let pair = Pair::new([rpc::Config::default(), few]);
    let link = pair.connect();
    let first = pair.begin(&link, b"hold").expect("taken");
    let [second, third] =
        [b"echo 2", b"echo 3"].map(|body| pair.begin(&link, body).expect("taken"));
    pair.runtime.run();
    assert_eq!(pair.seen(), ["request hold"]);
    drop(first);
    pair.runtime.run();
    assert_eq!(pair.seen(), ["cancelled", "request echo 2", "request echo 3"], "nobody has polled");
    for (call, body) in [(third, &b"echo 3"[..]), (second, b"echo 2")] {
        assert_eq!(pair.runtime.block_on(call).1.result, Ok(Bytes::from_static(body)));
    }
}

/// The owner of an answer's bytes calls the node where it is dropped: no lock is held there.
#[test]
fn what_users_gave_is_dropped_where_the_link_is_not_locked() {
    struct Owner(Vec<u8>, Arc<Link>, Arc<std::sync::atomic::AtomicUsize>);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Owner {
        fn drop(&mut self) {
            // Locks the link: under its lock, this would wait for itself.
            self.1.is_busy(false);
            self.2.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    let pair = Pair::default();
    let link = pair.connect();
    let dropped = Arc::<std::sync::atomic::AtomicUsize>::default();
    let owned = |len: usize| Bytes::from_owner(Owner(vec![1; len], link.clone(), dropped.clone()));
    let now = pair.runtime.now();
    // One body is copied, one is written from where it lies, one waits and is given up; each has an
    // attachment.
    for (len, is_given_up) in [(10, false), (100_000, false), (100_000, true)] {
        let attachments = [owned(20), owned(0)];
        let body = Body::Owned(owned(len));
        let request = Request { body, attachments: &attachments, ..request(b"", Shape::UNARY) };
        let call = Call::new(link.clone(), link.begin(now, request, None, None).expect("taken"));
        drop(attachments);
        if is_given_up {
            drop(call);
        } else {
            pair.runtime.run();
            drop(call);
        }
    }
    pair.runtime.run();
    let refused =
        Request { service: "", body: Body::Owned(owned(10)), ..request(b"", Shape::UNARY) };
    assert!(link.begin(now, refused, None, None).is_err());
    assert_eq!(dropped.load(std::sync::atomic::Ordering::SeqCst), 10);
}

/// A link with the number `key` to the run `epoch` of node 2, dialled by node 1 or by node 2.
fn settled(pair: &Pair, key: u64, epoch: u64, is_dialed: bool) -> Arc<Link> {
    let to = Destination { addr: addr(2), id: Some(NodeId::new(2)) };
    let target = is_dialed.then_some(to);
    let node = &pair.sides[0].links.node;
    let (link, _receiver) = Link::new(node, key, target, None, pair.runtime.now());
    let hello = PeerHello {
        id: NodeId::new(2),
        epoch: Epoch::new(epoch),
        addr: addr(2),
        version: 1,
        in_flight_max: 1,
        message_len_max: 1,
        headers_len_max: 1,
        methods_max: 1,
        response_window: 1,
        request_budget: 1 << 20,
    };
    link.peer.set(hello).expect("it has none");
    link
}

/// A node that leaves waits for whoever has its hello, also if it dialled: what that peer sends
/// before it hears of the leave is answered (docs/protocol.md §5.9.5).
#[test]
fn a_leave_waits_for_the_hello_and_the_go_away_of_a_peer_that_was_dialled() {
    let pair = Pair::default();
    let links = &pair.sides[0].links;
    let to = Destination { addr: addr(2), id: Some(NodeId::new(2)) };
    links.find_or_dial(pair.runtime.now(), to).expect("a link");
    assert!(!links.is_busy(true), "nobody has heard of it");
    pair.runtime.run();
    links.drain(pair.runtime.now());
    assert!(links.is_busy(true), "the stream is open, and the peer may have the hello");
    assert!(!links.is_busy(false), "a peer is waited for so long only");
    let stream = lock(&pair.runtime.dialed).pop().expect("it was dialled");
    pair.sides[1].links.accept(pair.runtime.now(), Box::new(stream));
    pair.runtime.run();
    assert!(!links.is_busy(true), "it is open, and nothing is under way");
    links.drain(pair.runtime.now());
    assert!(links.is_busy(true), "until the peer has gone away too");
    pair.runtime.run();
    assert!(!links.is_busy(true));
    assert_eq!(links.len(), 0);
}

/// Of two links to one peer exactly one stays, and it is the same at both ends.
#[test]
fn of_two_links_the_later_run_stays_then_the_lower_diallers_then_the_newer() {
    let pair = Pair::default();
    for (why, winner, loser) in [
        ("the later run of the peer", (1, 6, false), (2, 5, true)),
        ("the one that the lower id dialled", (1, 5, true), (2, 5, false)),
        ("the newer one of one dialler", (2, 5, true), (1, 5, true)),
    ] {
        let [winner, loser] =
            [winner, loser].map(|(key, epoch, is_dialed)| settled(&pair, key, epoch, is_dialed));
        assert!(supersedes(&winner, &loser, NodeId::new(1)), "{why}");
        assert!(!supersedes(&loser, &winner, NodeId::new(1)), "{why}");
    }
}

/// docs/protocol.md §4.9.5: a hello names another run of the peer, and calls still go to the run
/// that membership holds, until it holds the other one.
#[test]
fn a_hello_of_another_run_takes_no_calls() {
    let pair = Pair::default();
    let (links, now) = (&pair.sides[0].links, pair.runtime.now());
    let used = || links.find(NodeId::new(2)).map(|link| link.key);
    let member = |epoch| Member::new(NodeId::new(2), Epoch::new(epoch), addr(2));
    links.hold(&member(5), now);
    let held = settled(&pair, 1, 5, true);
    assert_eq!(links.connected(&held, now), Verdict::Keep);
    assert_eq!(used(), Some(1));
    for (key, epoch) in [(2, 6), (3, 4), (4, u64::MAX >> 17)] {
        let claimant = settled(&pair, key, epoch, false);
        assert_eq!(links.connected(&claimant, now), Verdict::Keep, "gossip may pass");
        assert_eq!(used(), Some(1), "run {epoch}");
        assert!(held.is_usable(), "run {epoch}");
    }

    links.hold(&member(6), now);
    assert_eq!(used(), Some(2), "the connection is there already");
    assert!(!held.is_usable());
    links.hold(&member(5), now);
    assert_eq!(used(), None, "the run that was displaced has no calls, although it is later");
}

/// docs/protocol.md §4.9.5: a dial that ends at another node has failed, and waits before the next.
#[test]
fn a_dial_that_ends_elsewhere_backs_off() {
    let pair = Pair::default();
    let links = &pair.sides[0].links;
    let to = Destination { addr: addr(2), id: Some(NodeId::new(9)) };
    let link = links.find_or_dial(pair.runtime.now(), to).expect("a link");
    pair.runtime.run();
    let stream = lock(&pair.runtime.dialed).pop().expect("it was dialled");
    pair.sides[1].links.accept(pair.runtime.now(), Box::new(stream));
    pair.runtime.run();
    assert!(links.find(NodeId::new(9)).is_none() && links.find(NodeId::new(2)).is_none());
    assert!(link.trouble().is_some_and(|trouble| trouble.contains("node 2 ")));
    links.find_or_dial(pair.runtime.now(), to).expect("a link");
    pair.runtime.run();
    assert!(lock(&pair.runtime.dialed).is_empty(), "the next dial waits");
}

/// A task that is done leaves nothing behind; one that waits is dropped when the node ends.
/// Each call would dial again otherwise.
#[test]
fn a_dial_that_reaches_another_member_has_failed_and_backs_off() {
    let pair = Pair::default();
    // Node 2 is where node 7 was.
    let to = Destination { addr: addr(2), id: Some(NodeId::new(7)) };
    let find = || pair.sides[0].links.find_or_dial(pair.runtime.now(), to).expect("a link");
    let (link, mut dials) = (find(), 0);
    let call = pair.begin(&link, b"echo").expect("it waits");
    for _ in 0..100 {
        find();
        pair.runtime.run();
        for stream in std::mem::take(&mut *lock(&pair.runtime.dialed)) {
            dials += 1;
            pair.sides[1].links.accept(pair.runtime.now(), Box::new(stream));
        }
        pair.runtime.run();
    }
    assert_eq!(dials, 1, "the next one waits for its time");
    let status = pair.runtime.block_on(call).1.result.expect_err("it is not there");
    assert!(status.never_sent(), "{status}");
    assert_eq!(status.message, format!("cannot connect to node 7 at {}: node 2 is there", addr(2)));
    assert!(pair.seen().iter().all(|seen| !seen.starts_with("request")), "it does not get there");
    // Who is there is connected to at once.
    pair.connect();
    assert_eq!(pair.sides[0].links.counters.dials_failed.get(), 1);
}

/// docs/protocol.md §4.9.5: what waits for the run that is held does not go to another one that
/// answers at its address, whether somebody waits for an answer or not.
#[test]
fn what_waits_for_one_run_does_not_go_to_another() {
    for is_one_way in [true, false] {
        let pair = Pair::default();
        let (links, now) = (&pair.sides[0].links, pair.runtime.now());
        let epoch = pair.sides[1].links.node.epoch().get();
        links.hold(&Member::new(NodeId::new(2), Epoch::new(epoch + 1), addr(2)), now);
        let to = Destination { addr: addr(2), id: Some(NodeId::new(2)) };
        let link = links.find_or_dial(now, to).expect("a link");
        let waiting = if is_one_way {
            link.one_way(now, request(b"note", Shape::UNARY)).expect("it waits");
            None
        } else {
            Some(pair.begin(&link, b"echo").expect("it waits"))
        };
        pair.connect();
        let seen = pair.seen();
        assert!(
            !seen.iter().any(|seen| seen.contains("note") || seen.contains("echo")),
            "{seen:?}"
        );
        assert_eq!(links.counters.dials_failed.get(), 1, "the dial has failed");
        drop(waiting);
        // With nothing that waits, the connection is kept, for gossip.
        let pair = Pair::default();
        let (links, now) = (&pair.sides[0].links, pair.runtime.now());
        links.hold(&Member::new(NodeId::new(2), Epoch::new(epoch + 1), addr(2)), now);
        pair.connect();
        assert_eq!(links.counters.dials_failed.get(), 0);
    }
}

#[test]
fn a_task_of_the_node_is_registered_until_it_ends() {
    let pair = Pair::default();
    let node = &pair.sides[0].links.node;
    OwnedTask::spawn(node, Box::pin(async {}));
    OwnedTask::spawn(node, Box::pin(std::future::pending()));
    pair.runtime.run();
    assert_eq!((pair.runtime.tasks_count(), node.life.owned.len()), (1, 1));
    assert!(node.life.close());
    node.life.owned.wake_all();
    pair.runtime.run();
    assert_eq!((pair.runtime.tasks_count(), node.life.owned.len()), (0, 0));
}
