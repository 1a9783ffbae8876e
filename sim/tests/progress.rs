//! No call hangs, with no fault and no deadline (`docs/protocol.md` §5.12): neither because of what
//! handlers hold, nor because of futures that nobody polls, nor because of streams that wait for
//! each other.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use chinwag::{
    Client, Context, Handler, Incoming, Message, Methods, Node, Outgoing, Raw, Service, Status,
    StreamHandler, Streaming, View,
};
use chinwag_sim::{World, check, millis, secs};

/// Calls the members in `path`, each from the one before, with the same body; how many there were.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Hop {
    path: Vec<u64>,
    body: Vec<u8>,
}

impl Message for Hop {
    type Reply = u64;
    const NAME: &'static str = "hop";
}

/// Waits for so many milliseconds, 0 until the world ends.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Wait {
    millis: u64,
    body: Vec<u8>,
}

impl Message for Wait {
    type Reply = u64;
    const NAME: &'static str = "wait";
}

/// Gives every chunk back.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Echo;

impl Message for Echo {
    type Reply = ();
    const NAME: &'static str = "echo";
}

impl Streaming for Echo {
    type In = Raw;
    type Out = Raw;
}

#[derive(Clone)]
struct Work {
    /// Handlers that wait, or have waited.
    begun: Arc<AtomicUsize>,
}

impl Service for Work {
    const NAME: &'static str = "work";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Hop>().add::<Wait>().add_stream::<Echo>();
    }
}

impl Handler<Hop> for Work {
    async fn handle(&self, cx: &Context, hop: View<Hop>) -> Result<u64, Status> {
        let path: Vec<u64> = hop.path.iter().map(|member| member.to_native()).collect();
        let Some((&next, path)) = path.split_first() else { return Ok(1) };
        let next = cx.client::<Work>(next).without_timeout();
        let further = Hop { path: path.to_vec(), body: hop.body.to_vec() };
        Ok(next.call(&further).await?.to_native() + 1)
    }
}

impl Handler<Wait> for Work {
    async fn handle(&self, cx: &Context, wait: View<Wait>) -> Result<u64, Status> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match wait.millis.to_native() {
            0 => std::future::pending::<()>().await,
            millis => {
                let node = cx.node().expect("it runs");
                node.sleep(Duration::from_millis(millis)).await;
            }
        }
        Ok(0)
    }
}

impl StreamHandler<Echo> for Work {
    async fn handle(
        &self,
        _: &Context,
        _: View<Echo>,
        mut incoming: Incoming<Raw>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<(), Status> {
        while let Some(chunk) = incoming.next().await {
            outgoing.send(&Raw(chunk?)).await?;
        }
        Ok(())
    }
}

/// Two nodes that serve, their clients for each other, without deadlines, and the count of begun
/// waits.
async fn pair(world: &World) -> (Vec<Node>, [Client<Work>; 2], Arc<AtomicUsize>) {
    let begun = Arc::<AtomicUsize>::default();
    let work = Work { begun: begun.clone() };
    let nodes = world.cluster(2, move |node: &Node| node.add_service(work.clone())).await;
    let clients = [(0, 2), (1, 1)]
        .map(|(from, to): (usize, u64)| nodes[from].client::<Work>(to).without_timeout());
    (nodes, clients, begun)
}

/// Runs `future` on `node`; the count of those that have ended well.
fn count(
    node: &Node,
    done: &Arc<AtomicUsize>,
    future: impl Future<Output = Result<(), Status>> + Send + 'static,
) {
    let done = done.clone();
    node.spawn(async move {
        future.await.unwrap_or_else(|status| panic!("{status}"));
        done.fetch_add(1, Ordering::SeqCst);
    });
}

fn wait(millis: u64, len: usize) -> Wait {
    Wait { millis, body: vec![1; len] }
}

/// One caller, one call: each of the handlers on its way holds as much as is sent on.
/// §5.12.10
#[test]
fn s5_12_3_calls_nest_and_call_back_whatever_their_size() {
    for len in [8_000, 600_000, 1 << 20, 8 << 20] {
        check(0..2, move |world| async move {
            let (nodes, [client, _], _) = pair(&world).await;
            let answer = Arc::new(Mutex::new(None));
            let to = answer.clone();
            nodes[0].spawn(async move {
                let hop = Hop { path: vec![1, 2], body: vec![1; len] };
                let answered = client.call(&hop).await.map(|count| count.to_native());
                *to.lock().unwrap() = Some(answered);
            });
            world.run_for(secs(20)).await;
            assert_eq!(*answer.lock().unwrap(), Some(Ok(3)), "{len} bytes");
        });
    }
}

/// Many echoing streams from both ends, whose callers read while they write: each is one that the
/// others could wait for.
#[test]
fn s5_12_5_streams_from_both_ends_do_not_wait_for_each_other() {
    check(0..2, |world| async move {
        const STREAMS: usize = 17;
        let (nodes, clients, _) = pair(&world).await;
        let done = Arc::<AtomicUsize>::default();
        for (node, client) in nodes.iter().zip(clients) {
            for _ in 0..STREAMS {
                let (client, inner) = (client.clone(), node.clone());
                count(node, &done, async move {
                    let (mut outgoing, mut reader) = client.open(&Echo).await?.split();
                    inner.spawn(async move {
                        for _ in 0..20 {
                            outgoing.send(&Raw(vec![1; 50_000].into())).await.expect("sent");
                        }
                        outgoing.finish();
                    });
                    let mut len = 0;
                    while let Some(chunk) = reader.next().await {
                        len += chunk?.len();
                    }
                    assert_eq!(len, 1_000_000);
                    reader.reply().await.map(drop)
                });
            }
        }
        world.run_for(secs(60)).await;
        assert_eq!(done.load(Ordering::SeqCst), 2 * STREAMS);
    });
}

/// What one handler holds for long touches no other call.
#[test]
fn s5_12_3_a_handler_that_takes_its_time_holds_up_no_other_call() {
    check(0..2, |world| async move {
        let (nodes, [client, _], begun) = pair(&world).await;
        let done = Arc::<AtomicUsize>::default();
        let slow = client.clone();
        count(&nodes[0], &done, async move { slow.call(&wait(6_000, 1 << 20)).await.map(drop) });
        world.run_for(millis(500)).await;
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        for _ in 0..50 {
            let client = client.clone();
            count(&nodes[0], &done, async move { client.call(&wait(1, 20_000)).await.map(drop) });
        }
        world.run_for(secs(1)).await;
        assert_eq!(done.load(Ordering::SeqCst), 50, "while the slow one runs");
    });
}

/// As many handlers may wait as there are slots, also of calls that are charged.
#[test]
fn s5_12_3_five_hundred_handlers_of_nine_thousand_bytes_wait_at_once() {
    check(0..1, |world| async move {
        let (nodes, [client, _], begun) = pair(&world).await;
        for _ in 0..500 {
            let client = client.clone();
            nodes[0].spawn(async move { drop(client.call(&wait(0, 9_000)).await) });
        }
        world.run_for(secs(3)).await;
        assert_eq!(begun.load(Ordering::SeqCst), 500);
    });
}

/// A call that a leaver does not run is told so: none is lost because it came late.
#[test]
fn s5_9_5_a_leave_under_load_loses_no_call() {
    check(0..40, |world| async move {
        let begun = Arc::<AtomicUsize>::default();
        let work = Work { begun };
        let nodes = world.cluster(3, move |node: &Node| node.add_service(work.clone())).await;
        let lost = Arc::new(Mutex::new(Vec::new()));
        for from in [0, 2] {
            for _ in 0..20 {
                let client = nodes[from].client::<Work>(2).timeout(secs(30));
                let lost = lost.clone();
                nodes[from].spawn(async move {
                    loop {
                        match client.call(&wait(1, 100)).await {
                            Ok(_) => {}
                            Err(status) if !status.may_have_run() => break,
                            Err(status) => return lost.lock().unwrap().push(status),
                        }
                    }
                });
            }
        }
        world.at(millis(500)).leave(1);
        world.run_for(secs(5)).await;
        let lost = std::mem::take(&mut *lost.lock().unwrap());
        assert!(lost.is_empty(), "{lost:?}");
    });
}

type Held = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// One task holds more calls than the peer takes at once, and makes another call for each answer
/// without polling those that it holds. All are answered, and so are those of others.
#[test]
fn s5_12_1_calls_that_nobody_polls_hold_up_no_other_call() {
    check(0..1, |world| async move {
        const CALLS: usize = 1_100;
        let (nodes, [client, _], _) = pair(&world).await;
        let (answered, others) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (held, count_of) = (client.clone(), answered.clone());
        nodes[0].spawn(async move {
            let call = |client: Client<Work>| -> Held {
                Box::pin(async move { client.call(&wait(5, 0)).await.map(drop) })
            };
            let mut set: Vec<Held> = (0..CALLS).map(|_| call(held.clone())).collect();
            while !set.is_empty() {
                let one = poll_fn(|cx| {
                    for at in 0..set.len() {
                        if let Poll::Ready(result) = set[at].as_mut().poll(cx) {
                            drop(set.swap_remove(at));
                            return Poll::Ready(result);
                        }
                    }
                    Poll::Pending
                });
                one.await.expect("answered");
                held.call(&wait(1, 0)).await.expect("the call that follows is answered");
                count_of.fetch_add(1, Ordering::SeqCst);
            }
        });
        for _ in 0..20 {
            let client = client.clone();
            count(&nodes[0], &others, async move { client.call(&wait(1, 0)).await.map(drop) });
        }
        world.run_for(secs(2)).await;
        assert_eq!(others.load(Ordering::SeqCst), 20, "calls of tasks that hold nothing");
        world.run_for(secs(20)).await;
        assert_eq!(answered.load(Ordering::SeqCst), CALLS);
    });
}

/// A call that waits for room is polled once, and then held.
#[test]
fn s5_12_1_a_place_in_the_queue_belongs_to_no_future() {
    check(0..1, |world| async move {
        let (nodes, [client, _], begun) = pair(&world).await;
        let done = Arc::<AtomicUsize>::default();
        // As many as the peer takes of calls that no handler makes, for a second.
        for _ in 0..768 {
            let client = client.clone();
            count(&nodes[0], &done, async move { client.call(&wait(1_000, 0)).await.map(drop) });
        }
        world.run_for(millis(500)).await;
        assert_eq!(begun.load(Ordering::SeqCst), 768);
        let held = client.clone();
        let mut first: Held = Box::pin(async move { held.call(&wait(1, 0)).await.map(drop) });
        let is_pending = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_pending())).await;
        assert!(is_pending);
        for _ in 0..10 {
            let client = client.clone();
            count(&nodes[0], &done, async move { client.call(&wait(1, 0)).await.map(drop) });
        }
        world.run_for(secs(1)).await;
        assert_eq!(done.load(Ordering::SeqCst), 778, "those behind it are answered");
        assert_eq!(first.await, Ok(()), "and it was, too");
    });
}
