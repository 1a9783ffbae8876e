//! What a call is promised when its caller gives it up, and when its peer is another run, in
//! virtual time: bounds are exact.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use chinwag::protocol::rpc;
use chinwag::{
    Builder, Code, Config, Consistency, Context, Handler, Message, Methods, Node, NodeSelector,
    OnRuntime, Picks, SelectError, Service, Status, Topology, View,
};
use chinwag_sim::fault::{Fault, Quality};
use chinwag_sim::{World, check, millis, secs};

/// Its handler never answers; it writes down when it began and when it was dropped.
#[derive(Clone)]
struct Waits {
    world: World,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    began: Vec<Duration>,
    dropped: Vec<Duration>,
    /// Of the test that waits for handlers to begin.
    waker: Option<Waker>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Wait;

impl Message for Wait {
    type Reply = ();
    const NAME: &'static str = "wait";
}

impl Service for Waits {
    const NAME: &'static str = "waits";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Wait>().add::<Through>();
    }
}

/// Waits at the member with this id, behind all that are between, for as long as its caller does.
#[derive(rkyv::Archive, rkyv::Serialize, Clone, Copy)]
struct Through {
    to: u64,
    last: Last,
}

/// How the last one is called.
#[derive(rkyv::Archive, rkyv::Serialize, Clone, Copy)]
enum Last {
    Client,
    Balanced,
    FanOut,
}

impl Message for Through {
    type Reply = ();
    const NAME: &'static str = "through";
}

impl Handler<Through> for Waits {
    async fn handle(&self, cx: &Context, through: View<Through>) -> Result<(), Status> {
        let (next, to) = (cx.node().map_or(0, |node| node.id().get()) + 1, through.to.to_native());
        let client = cx.client::<Self>(next).without_timeout();
        let last = match through.last {
            ArchivedLast::Client => Last::Client,
            ArchivedLast::Balanced => Last::Balanced,
            ArchivedLast::FanOut => Last::FanOut,
        };
        if next < to {
            return client.call(&Through { to, last }).await.map(drop);
        }
        match last {
            Last::Client => client.call(&Wait).await.map(drop),
            Last::Balanced => {
                let balanced = cx.balanced::<Self>().selector(Only(next)).timeout(secs(3_600));
                balanced.call(&Wait).await.map(drop)
            }
            Last::FanOut => {
                let all = cx.fan_out::<Self>([next]).timeout(secs(3_600));
                all.first(1, &Wait).await.map(drop).map_err(|error| error.failures[0].1.clone())
            }
        }
    }
}

/// Chooses nobody but this member.
struct Only(u64);

impl NodeSelector for Only {
    fn select(&self, _: &Topology, _: Consistency, picks: &mut Picks) -> Result<(), SelectError> {
        picks.clear();
        picks.push(self.0.into());
        Ok(())
    }
}

impl Handler<Wait> for Waits {
    async fn handle(&self, _: &Context, _: View<Wait>) -> Result<(), Status> {
        struct Dropped<'a>(&'a Waits);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                let now = self.0.world.now();
                self.0.told.lock().expect("whole").dropped.push(now);
            }
        }
        let _dropped = Dropped(self);
        let now = self.world.now();
        {
            let mut told = self.told.lock().expect("whole");
            told.began.push(now);
            told.waker.take().into_iter().for_each(Waker::wake);
        }
        std::future::pending().await
    }
}

async fn cluster(world: &World, count: usize) -> (Vec<Node>, Arc<Mutex<Told>>) {
    let told = Arc::new(Mutex::new(Told::default()));
    let waits = Waits { world: world.clone(), told: told.clone() };
    (world.cluster(count, move |node: &Node| node.add_service(waits.clone())).await, told)
}

type Call<'a> = Pin<Box<dyn Future<Output = Option<Status>> + 'a>>;

/// The calls are made, and go on until there have been so many handlers.
async fn begin(calls: &mut [Call<'_>], told: &Mutex<Told>, count: usize) {
    poll_fn(|cx| {
        assert!(calls.iter_mut().all(|call| call.as_mut().poll(cx).is_pending()), "nobody answers");
        let mut told = told.lock().expect("whole");
        if told.began.len() == count {
            return Poll::Ready(());
        }
        told.waker = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// The way there takes 40 ms and more, so a round trip takes over 80 ms.
#[test]
fn dropping_a_call_is_felt_by_its_handler_within_a_round_trip() {
    check(0..20, |world| async move {
        let (nodes, told) = cluster(&world, 2).await;
        world.now_goes_wrong().delay(millis(40), Duration::ZERO);
        world.run_for(secs(1)).await;
        let client = nodes[0].client::<Waits>(2).without_timeout();
        for round in 1..=5 {
            let mut calls: [Call<'_>; 1] = [Box::pin(async { client.call(&Wait).await.err() })];
            begin(&mut calls, &told, round).await;
            let given_up = world.now();
            drop(calls);
            world.run_for(secs(1)).await;
            let told = told.lock().expect("whole");
            assert_eq!(told.dropped.len(), round, "once");
            let felt = told.dropped[round - 1] - given_up;
            assert!(felt >= millis(40) && felt <= millis(80), "felt after {felt:?}");
        }
    });
}

/// The caller is cut off from the machine of its peer, so that its connection says nothing. A third
/// node tells of the next run, and the caller takes that in once it can ask it (`docs/protocol.md`
/// §4.9): the calls end then, or by a reset, and long before their connection is found silent.
#[test]
fn calls_to_a_peer_end_at_the_moment_its_next_run_is_known() {
    check(0..20, |world| async move {
        let (nodes, told) = cluster(&world, 3).await;
        let first = nodes[2].epoch();
        let client = nodes[0].client::<Waits>(3).without_timeout();
        let mut calls: Vec<Call<'_>> = Vec::new();
        for _ in 0..10 {
            calls.push(Box::pin(async { client.call(&Wait).await.err() }));
        }
        begin(&mut calls, &told, 10).await;

        let begun = world.now();
        world.at(begun + millis(100)).lasting(secs(4)).partition([0], [2]);
        let crash = Fault::Crash { node: 2, moves: true, keeps_clock: false };
        world.at(begun + millis(200)).lasting(millis(300)).fault(crash);
        let is_known = || nodes[0].members().get(3.into()).is_some_and(|peer| peer.epoch > first);
        let mut known = None;
        for call in &mut calls {
            let status = poll_fn(|cx| {
                if known.is_none() && is_known() {
                    known = Some(world.now());
                }
                call.as_mut().poll(cx)
            });
            let status = status.await.expect("nobody answers");
            let ended = world.now();
            assert!(status.may_have_run(), "{status}");
            if status.code == Code::PeerGone {
                let known = known.expect("its next run is known by then");
                assert!(ended - known <= millis(1), "known at {known:?}, ended at {ended:?}");
            } else {
                // The host where it ran has reset the connection before membership could ask.
                assert!(status.code == Code::ConnectionLost && known.is_none(), "{status}");
            }
        }
        let ended = world.now() - begun;
        assert!(ended > secs(4) && ended < secs(6), "the partition ends after 4 s: {ended:?}");
        world.calm().converges_within(secs(60)).await;
    });
}

/// A machine that has lost its power: nobody says a word for it. In the moment in which membership
/// calls it dead, all calls to it end.
#[test]
fn calls_to_a_peer_end_at_the_moment_it_is_declared_dead_each_once() {
    const CALLS: usize = 300;
    check(0..10, |world| async move {
        let (nodes, told) = cluster(&world, 3).await;
        let client = nodes[0].client::<Waits>(3).without_timeout();
        let ended = std::cell::Cell::new(0);
        let mut calls: Vec<Call<'_>> = Vec::new();
        for _ in 0..CALLS {
            calls.push(Box::pin(async {
                let status = client.call(&Wait).await.err();
                ended.set(ended.get() + 1);
                status
            }));
        }
        begin(&mut calls, &told, CALLS).await;
        world.now_goes_wrong().lasting(secs(30)).pause(2);
        let is_known = || nodes[0].members().get(3.into()).is_none();
        let mut known = None;
        for call in &mut calls {
            let status = poll_fn(|cx| {
                if known.is_none() && is_known() {
                    known = Some(world.now());
                }
                call.as_mut().poll(cx)
            });
            let status = status.await.expect("nobody answers");
            assert!(status.code == Code::PeerGone && status.may_have_run(), "{status}");
        }
        let known = known.expect("its death is known by then");
        assert!(world.now() - known <= millis(1), "known at {known:?}, ended at {:?}", world.now());
        assert_eq!(
            (ended.get(), told.lock().expect("whole").began.len()),
            (CALLS, CALLS),
            "each once"
        );
        world.calm().converges_within(secs(60)).await;
    });
}

/// Four members one behind the other, 40 ms and more apart. Nobody but the first caller has a
/// timeout: its time is everybody's. The last two are cut off meanwhile, so that no cancel reaches
/// them: only the deadline that came with the call can end the last handler.
#[test]
fn a_deadline_goes_through_nested_calls_and_ends_the_last_handler() {
    for last in [Last::Client, Last::Balanced, Last::FanOut] {
        check(0..10, move |world| a_deadline_goes_through(world, last));
    }
}

async fn a_deadline_goes_through(world: World, last: Last) {
    let (nodes, told) = cluster(&world, 4).await;
    world.now_goes_wrong().delay(millis(40), Duration::ZERO);
    world.run_for(secs(1)).await;
    let client = nodes[0].client::<Waits>(2).timeout(secs(2));
    let begun = world.now();
    let mut calls: [Call<'_>; 1] =
        [Box::pin(async { client.call(&Through { to: 4, last }).await.err() })];
    begin(&mut calls, &told, 1).await;
    let arrived = world.now() - begun;
    assert!(arrived >= 3 * millis(40) && arrived < secs(1), "{arrived:?}");
    world.at(begun + secs(1)).lasting(secs(3)).partition([0, 1], [2, 3]);
    let [call] = calls;
    let status = call.await.expect("nobody answers");
    assert_eq!(status.code, Code::DeadlineExceeded, "{status}");
    let took = world.now() - begun;
    assert!((secs(2)..secs(2) + millis(2)).contains(&took), "ended after {took:?}");
    world.run_for(millis(900)).await;
    let told = told.lock().expect("whole");
    assert_eq!((told.began.len(), told.dropped.len()), (1, 1), "one handler, dropped once");
    // What is left is measured from where a request arrives: the way there comes on top, and
    // nothing else.
    let late = told.dropped[0] - begun - secs(2);
    assert!(late <= arrived, "it went on for {late:?}, the way there took {arrived:?}");
}

/// Every connection is reset at its first bytes, while datagrams pass, so that the peer is alive
/// and calls to it try again and again.
#[test]
fn a_peer_that_cannot_be_reached_is_dialed_less_and_less_often() {
    check(0..10, |world| async move {
        let (nodes, told) = cluster(&world, 2).await;
        world
            .now_goes_wrong()
            .lasting(secs(30))
            .links(Quality { reset: 1_000_000, ..Quality::default() });
        let (before, begun) = (nodes[0].stats(), world.now());
        let client = nodes[0].client::<Waits>(2).timeout(millis(50));
        while world.now() < begun + secs(30) {
            let status = client.call(&Wait).await.map(drop).expect_err("nobody answers");
            assert_ne!(status.code, Code::PeerGone, "{status}");
            world.run_for(millis(1)).await;
        }
        // Waits of at least 25, 50, .. 800 ms, and then of at least a second.
        let failed = nodes[0].stats().dials_failed - before.dials_failed;
        assert!(failed <= 6 + 30, "{failed} dials");
        assert!(failed >= 10, "{failed} dials");
        told.lock().expect("whole").began.clear();
        // And of two seconds at the most.
        let healed = world.now();
        client.timeout(secs(4)).call(&Wait).await.map(drop).expect_err("nobody answers");
        let reached = told.lock().expect("whole").began.first().map(|&began| began - healed);
        assert!(reached.is_some_and(|after| after < secs(3)), "reached after {reached:?}");
    });
}

/// Answers at once.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Ask;

impl Message for Ask {
    type Reply = u64;
    const NAME: &'static str = "ask";
}

struct Oracle;

impl Service for Oracle {
    const NAME: &'static str = "oracle";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Ask>();
    }
}

impl Handler<Ask> for Oracle {
    async fn handle(&self, _: &Context, _: View<Ask>) -> Result<u64, Status> {
        Ok(7)
    }
}

/// Calls that begin before the connection is made do not know how few of them the peer takes at
/// once. Those that were too many are sent again, however often, because none of them was sent
/// (`docs/protocol.md` §5.4).
#[test]
fn a_burst_on_a_new_connection_is_answered_whole() {
    const BURST: usize = 20;
    check(0..1, |world: World| async move {
        let narrow = |builder: Builder<OnRuntime>, node| match node {
            1 => builder.rpc(rpc::Config { in_flight_max: 4, ..rpc::Config::default() }),
            _ => builder,
        };
        let mut config = Config::lan();
        config.sync_interval = secs(3_000);
        let add = |node: &Node| node.add_service(Oracle);
        let nodes = world.cluster_with(2, config, narrow, add).await;
        // Until the connection of the join has closed, because it is idle.
        world.run_for(secs(400)).await;
        assert_eq!(nodes[0].stats().connections, 0, "the burst opens a new connection");
        let answers = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..BURST {
            let (client, answers) = (nodes[0].client::<Oracle>(2), answers.clone());
            nodes[0].spawn(async move {
                let answer = client.call(&Ask).await.map(|seven| seven.to_native());
                answers.lock().expect("nobody panics with it").push(answer);
            });
        }
        world.run_for(secs(10)).await;
        let answers = answers.lock().expect("nobody panics with it").clone();
        assert_eq!(answers, vec![Ok(7); BURST]);
    });
}
