//! Who can slow whom on one connection (`docs/rpc.md`, "Who can slow whom"): each cell of the
//! table, in virtual time. What is slow belongs to one service and what is measured to another.

use std::time::Duration;

use chinwag::{
    Bytes, Client, Context, Handler, Incoming, Method, Methods, Node, Outgoing, Raw, Service,
    Status, StreamHandler, Streaming,
};
use chinwag_sim::{World, check, millis, secs};

/// Waits until the world ends.
struct Hold;
/// Answers with as many bytes as the request says.
struct Fetch;
/// Answers after 100 ms.
struct Pause;
/// Takes bytes.
struct Put;
/// Gives every chunk back.
struct Echo;
/// Takes no chunk, and sends chunks until it is blocked.
struct Stall;

macro_rules! methods {
    ($($name:ident: $text:literal),*) => {$(
        impl Method for $name {
            type Request = Raw;
            type Reply = Raw;
            const NAME: &'static str = $text;
        }
    )*};
}
methods!(Hold: "hold", Pause: "pause", Fetch: "fetch", Put: "put", Echo: "echo", Stall: "stall");

impl Streaming for Echo {
    type In = Raw;
    type Out = Raw;
}

impl Streaming for Stall {
    type In = Raw;
    type Out = Raw;
}

/// What is measured.
struct Quiet;
/// What is slow.
struct Noisy;

macro_rules! services {
    ($($name:ident: $text:literal),*) => {$(
        impl Service for $name {
            const NAME: &'static str = $text;
            fn methods(methods: &mut Methods<Self>) {
                methods.add::<Hold>().add::<Pause>().add::<Fetch>().add::<Put>();
                methods.add_stream::<Echo>().add_stream::<Stall>();
            }
        }

        impl Handler<Hold> for $name {
            async fn handle(&self, _: &Context, _held: Bytes) -> Result<Raw, Status> {
                std::future::pending().await
            }
        }

        impl Handler<Pause> for $name {
            async fn handle(&self, cx: &Context, _: Bytes) -> Result<Raw, Status> {
                cx.node().expect("it runs").sleep(millis(100)).await;
                Ok(Raw::default())
            }
        }

        impl Handler<Fetch> for $name {
            async fn handle(&self, _: &Context, len: Bytes) -> Result<Raw, Status> {
                let len = u32::from_le_bytes(len[..].try_into().expect("four bytes"));
                Ok(vec![2; len as usize].into())
            }
        }

        impl Handler<Put> for $name {
            async fn handle(&self, _: &Context, _: Bytes) -> Result<Raw, Status> {
                Ok(Raw::default())
            }
        }

        impl StreamHandler<Echo> for $name {
            async fn handle(
                &self, _: &Context, _: Bytes, mut incoming: Incoming<Raw>,
                mut outgoing: Outgoing<Raw>,
            ) -> Result<Raw, Status> {
                while let Some(chunk) = incoming.next().await {
                    outgoing.send(&Raw(chunk?)).await?;
                }
                Ok(Raw::default())
            }
        }

        impl StreamHandler<Stall> for $name {
            async fn handle(
                &self, _: &Context, _: Bytes, _kept: Incoming<Raw>, mut outgoing: Outgoing<Raw>,
            ) -> Result<Raw, Status> {
                loop {
                    outgoing.send(&Raw(vec![3; 60_000].into())).await?;
                }
            }
        }
    )*};
}
services!(Quiet: "quiet", Noisy: "noisy");

/// How long each of these took, beside whatever is under way.
#[derive(Clone, Copy, Debug)]
struct Times {
    small_call: Duration,
    large_request: Duration,
    large_answer: Duration,
    stream: Duration,
}

fn len_of(bytes: u32) -> Raw {
    Raw(bytes.to_le_bytes().to_vec().into())
}

async fn timed(world: &World, what: impl Future<Output = Result<(), Status>>) -> Duration {
    let begun = world.now();
    what.await.expect("it ends well");
    world.now() - begun
}

impl Times {
    async fn measure(world: &World, quiet: &Client<Quiet>) -> Self {
        let put = |len| async move { quiet.call_raw::<Put>(vec![1; len]).await.map(drop) };
        let small_call = timed(world, put(100)).await;
        let large_request = timed(world, put(500_000)).await;
        let fetch = async { quiet.call_raw::<Fetch>(len_of(500_000)).await.map(drop) };
        let large_answer = timed(world, fetch).await;
        let stream = timed(world, async {
            let (mut outgoing, mut reader) =
                quiet.open_with::<Echo>(&Raw::default(), &[]).await?.split();
            for _ in 0..10 {
                outgoing.send(&Raw(vec![1; 50_000].into())).await?;
                reader.next().await.expect("it comes back")?;
            }
            outgoing.finish();
            reader.reply().await.map(drop)
        });
        Self { small_call, large_request, large_answer, stream: stream.await }
    }
}

struct Story {
    world: World,
    node: Node,
    noisy: Client<Noisy>,
}

impl Story {
    fn spawn(&self, what: impl Future<Output = Result<(), Status>> + Send + 'static) {
        self.node.spawn(async move { drop(what.await) });
    }
}

/// Measures alone, then beside what `begin` has begun.
fn beside(
    settles: Duration,
    begin: impl Fn(&Story) + Sync,
    check_times: impl Fn(Times, Times) + Sync,
) {
    check(0..1, |world| {
        let (begin, check_times) = (&begin, &check_times);
        async move {
            let boot = |node: &Node| node.add_service(Quiet).and_then(|()| node.add_service(Noisy));
            let nodes = world.cluster(2, boot).await;
            // A round trip takes 10 ms, and so does what the sockets hold.
            world.at(Duration::ZERO).delay(millis(5), Duration::ZERO);
            let quiet = nodes[0].client::<Quiet>(2).without_timeout();
            let noisy = nodes[0].client::<Noisy>(2).without_timeout();
            for _ in 0..5 {
                Times::measure(&world, &quiet).await;
            }
            let alone = Times::measure(&world, &quiet).await;
            let story = Story { world: world.clone(), node: nodes[0].clone(), noisy };
            begin(&story);
            world.run_for(settles).await;
            let beside = Times::measure(&story.world, &quiet).await;
            check_times(alone, beside);
        }
    });
}

fn same(alone: Times, beside: Times) {
    assert!(beside.small_call <= alone.small_call + millis(1), "{alone:?} {beside:?}");
    assert!(beside.large_request <= alone.large_request + millis(5), "{alone:?} {beside:?}");
    assert!(beside.large_answer <= alone.large_answer + millis(5), "{alone:?} {beside:?}");
    assert!(beside.stream <= alone.stream + millis(20), "{alone:?} {beside:?}");
}

/// A small call waits for what the sockets hold, both ways; a large message for its share of the
/// bytes; and each of the ten chunks of a stream, which come back one by one, for its own.
fn shares(alone: Times, beside: Times, large_answer: Duration) {
    assert!(beside.small_call <= alone.small_call + millis(20), "{alone:?} {beside:?}");
    assert!(beside.large_request <= 3 * alone.large_request, "{alone:?} {beside:?}");
    assert!(beside.large_answer <= large_answer, "{alone:?} {beside:?}");
    assert!(beside.stream <= 4 * alone.stream, "{alone:?} {beside:?}");
}

#[test]
fn streams_that_nobody_reads_slow_nothing() {
    beside(
        secs(5),
        |story| {
            for _ in 0..20 {
                let noisy = story.noisy.clone();
                story.spawn(async move {
                    let (mut outgoing, _unread) =
                        noisy.open_with::<Stall>(&Raw::default(), &[]).await?.split();
                    loop {
                        outgoing.send(&Raw(vec![1; 60_000].into())).await?;
                    }
                });
            }
        },
        same,
    );
}

#[test]
fn handlers_that_wait_slow_nothing() {
    beside(
        secs(5),
        |story| {
            for len in (0..500).map(|at| if at < 20 { 1_000_000 } else { 100 }) {
                let noisy = story.noisy.clone();
                story.spawn(async move { noisy.call_raw::<Hold>(vec![1; len]).await.map(drop) });
            }
        },
        same,
    );
}

/// One large message after the other, in each way.
#[test]
fn large_messages_leave_others_their_share() {
    for is_request in [true, false] {
        beside(
            millis(300),
            |story| {
                let noisy = story.noisy.clone();
                story.spawn(async move {
                    loop {
                        if is_request {
                            noisy.call_raw::<Put>(vec![1; 16_000_000]).await?;
                        } else {
                            noisy.call_raw::<Fetch>(len_of(16_000_000)).await?;
                        }
                    }
                });
            },
            |alone, beside| {
                // An answer waits for the one that is under way.
                let answer = if is_request { 3 * alone.large_answer } else { millis(1_500) };
                shares(alone, beside, answer);
            },
        );
    }
}

#[test]
fn streams_at_full_speed_leave_others_their_share() {
    beside(
        millis(300),
        |story| {
            let noisy = story.noisy.clone();
            let node = story.node.clone();
            story.spawn(async move {
                let (mut outgoing, mut reader) =
                    noisy.open_with::<Echo>(&Raw::default(), &[]).await?.split();
                node.spawn(async move {
                    while outgoing.send(&Raw(vec![1; 60_000].into())).await.is_ok() {}
                });
                while let Some(chunk) = reader.next().await {
                    chunk?;
                }
                Ok(())
            });
        },
        |alone, beside| shares(alone, beside, 3 * alone.large_answer),
    );
}

/// More calls of one caller than the peer takes at once, each answered after 100 ms, and each
/// followed by another one.
#[test]
fn a_caller_with_many_calls_slows_others_by_one_call_each() {
    beside(
        millis(300),
        |story| {
            for _ in 0..1_600 {
                let noisy = story.noisy.clone();
                story.spawn(async move {
                    loop {
                        noisy.call_raw::<Pause>(vec![1; 100]).await?;
                    }
                });
            }
        },
        |alone, beside| {
            // A slot is free every 100 ms / 768, and it is the other caller's turn.
            assert!(beside.small_call <= alone.small_call + millis(50), "{alone:?} {beside:?}");
            assert!(beside.large_request <= 5 * alone.large_request, "{alone:?} {beside:?}");
            assert!(beside.large_answer <= 5 * alone.large_answer, "{alone:?} {beside:?}");
            assert!(beside.stream <= 3 * alone.stream, "{alone:?} {beside:?}");
        },
    );
}

/// Answers that nobody takes, because nobody polls their futures.
#[test]
fn answers_that_nobody_takes_slow_large_answers_alone() {
    beside(
        secs(3),
        |story| {
            let noisy = story.noisy.clone();
            story.spawn(async move {
                let mut calls: Vec<_> = (0..20)
                    .map(|_| {
                        let noisy = noisy.clone();
                        Box::pin(async move { noisy.call_raw::<Fetch>(len_of(1_000_000)).await })
                    })
                    .collect();
                for call in &mut calls {
                    let mut once = std::task::Context::from_waker(std::task::Waker::noop());
                    assert!(call.as_mut().poll(&mut once).is_pending());
                }
                std::future::pending::<()>().await;
                drop(calls);
                Ok(())
            });
        },
        |alone, beside| {
            // Each of the twenty that go before it is given so long to be taken.
            let answer_wait_max = secs(10);
            let rest = Times { large_answer: alone.large_answer, ..beside };
            same(alone, rest);
            assert!(beside.large_answer > secs(1), "it waits: {beside:?}");
            assert!(beside.large_answer <= 20 * answer_wait_max, "{beside:?}");
        },
    );
}
