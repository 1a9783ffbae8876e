//! Streaming calls between nodes, and of a node to itself: every shape, every ending.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chinwag::protocol::rpc;
use chinwag::{
    Bytes, Code, Context, Handler, Incoming, Message, Methods, Outgoing, Raw, Service, Status,
    StreamHandler, Streaming, View,
};
use futures_lite::StreamExt;
use futures_lite::future::{or, zip};

use crate::Host;
use crate::flows::{Carry, Count, Flows, Repeat, Sum, Swallow, Then, clients, pair};
use crate::probe::{Echo, PATIENCE, Probe, echo};
use crate::tools::{eventually, spawn};

fn chunk(of: u8, len: usize) -> Raw {
    vec![of; len].into()
}

/// In, out, and both ways; of none, one and many chunks; of no bytes, and of more than a window.
pub async fn each_shape_carries_its_chunks(host: &dyn Host) {
    let (_nodes, clients) = clients(host).await;
    for (client, _) in &clients {
        for count in [0_u64, 1, 500] {
            let mut sum = client.open(&Sum { times: 2 }).await.expect("open");
            for number in 0..count {
                sum.send(&number).await.expect("sent");
            }
            let total = sum.reply().await.expect("answered").body;
            assert_eq!(total.to_native(), (0..count).sum::<u64>() * 2);

            let then = Then::Answer;
            let mut numbers =
                client.open(&Count { to: count, chunk_len: 1_000, then }).await.expect("open");
            for number in 0..count {
                let chunk = numbers.next().await.expect("one more").expect("well");
                assert_eq!((chunk.len(), &chunk[..8]), (1_000, &number.to_le_bytes()[..]));
            }
            assert!(numbers.next().await.is_none());
            let reply = numbers.reply().await.expect("answered");
            assert_eq!(*reply.body, *format!("{count} chunks"));
            assert_eq!(reply.headers.get("trailer"), Some(&b"at the end"[..]));
        }
        for len in [0, 1, 100_000, 1_000_000] {
            let mut repeat = client.open(&Repeat { chunks_max: u64::MAX }).await.expect("open");
            for of in 0..3 {
                repeat.send(&chunk(of, len)).await.expect("sent");
                let back = repeat.next().await.expect("one more").expect("well");
                assert_eq!(back, chunk(of, len).0);
            }
            repeat.finish();
            assert!(repeat.next().await.is_none());
            assert_eq!(repeat.reply().await.expect("answered").body.to_native(), 3);
        }
    }
}

/// Beside requests, answers and chunks; as many as fit, and no more.
pub async fn attachments_ride_beside_messages_and_chunks(host: &dyn Host) {
    let (_nodes, clients) = clients(host).await;
    let blobs: Vec<Bytes> = [0, 5, 100_000].map(|len| Bytes::from(vec![7; len])).into();
    for (client, _) in &clients {
        let mut carry = client.request::<Carry>(&Carry);
        for blob in &blobs {
            carry = carry.attach(blob.clone());
        }
        let reply = carry.send().await.expect("answered");
        assert_eq!(reply.body.to_native(), 100_005);
        assert_eq!(reply.attachments, blobs);

        let mut repeat = client.open(&Repeat { chunks_max: 1 }).await.expect("open");
        repeat.send_with(&chunk(1, 3), &blobs).await.expect("sent");
        let back = repeat.next_with().await.expect("one").expect("well");
        assert_eq!((back.body, back.attachments), (chunk(1, 3).0, blobs.clone()));
        assert_eq!(repeat.reply().await.expect("answered").body.to_native(), 1);

        let mut repeat = client.open(&Repeat { chunks_max: 1 }).await.expect("open");
        let too_many = vec![Bytes::from_static(b"x"); rpc::config::ATTACHMENTS_MAX + 1];
        let status = repeat.send_with(&chunk(1, 3), &too_many).await.expect_err("too many");
        assert_eq!(status.code, Code::TooLarge);
        let status = repeat.send(&chunk(1, 17 << 20)).await.expect_err("too large");
        assert_eq!(status.code, Code::TooLarge);
        repeat.send(&chunk(2, 2)).await.expect("the call is none the worse");
        assert_eq!(repeat.reply().await.expect("answered").body.to_native(), 1);
    }
}

/// With what the handler says: what it has sent is there before it, and a failure is told once to
/// who reads and to who sends.
pub async fn a_stream_ends_as_its_handler_does(host: &dyn Host) {
    let (_nodes, clients) = clients(host).await;
    for (client, flows) in &clients {
        for (then, code) in [(Then::Fail, Code::AppError), (Then::Panic, Code::Internal)] {
            let mut numbers =
                client.open(&Count { to: 3, chunk_len: 8, then }).await.expect("open");
            for number in 0..3_u64 {
                let chunk = numbers.next().await.expect("one more").expect("well");
                assert_eq!(chunk, &number.to_le_bytes()[..]);
            }
            let status = numbers.next().await.expect("told").expect_err("failed");
            assert_eq!(status.code, code);
            assert!(numbers.next().await.is_none(), "told once");
            assert_eq!(numbers.reply().await.expect_err("failed").code, code);
        }

        // It has had enough, and what is still sent goes nowhere.
        let mut repeat = client.open(&Repeat { chunks_max: 1 }).await.expect("open");
        repeat.send(&chunk(1, 1)).await.expect("sent");
        assert!(repeat.next().await.expect("one").is_ok());
        assert!(repeat.next().await.is_none());
        let late = repeat.send(&chunk(1, 1)).await.expect_err("the call is over");
        assert_eq!(late.code, Code::Cancelled);
        assert_eq!(repeat.reply().await.expect("answered").body.to_native(), 1);
        flows.gone.reaches(flows.begun.count()).await;
    }
}

/// All of it, either half, or who waits for its answer: never is a part taken for the whole.
pub async fn dropping_a_stream_cancels_its_handler(host: &dyn Host) {
    let (_nodes, clients) = clients(host).await;
    for (client, flows) in &clients {
        let before = flows.begun.count();
        let repeat = Repeat { chunks_max: u64::MAX };
        drop(client.open(&repeat).await.expect("open"));

        let (outgoing, reader) = client.open(&repeat).await.expect("open").split();
        flows.begun.reaches(before + 1).await;
        drop(outgoing);
        assert_eq!(reader.reply().await.expect_err("cancelled").code, Code::Cancelled);

        let (mut outgoing, reader) = client.open(&repeat).await.expect("open").split();
        outgoing.send(&chunk(1, 1)).await.expect("sent");
        drop(reader);
        let late = outgoing.send(&chunk(1, 1)).await.expect_err("cancelled");
        assert_eq!(late.code, Code::Cancelled);
        drop(outgoing);

        let begun = flows.begun.count();
        let hang = Count { to: 0, chunk_len: 8, then: Then::Hang };
        let hanging = client.open(&hang).await.expect("open").reply();
        or(async { panic!("it hangs, but {:?}", hanging.await) }, flows.begun.reaches(begun + 1))
            .await;
        // A call that is cancelled at once may never have had a handler.
        eventually(&*host.runtime(), || flows.gone.count() == flows.begun.count()).await;
    }
}

/// A sender stops when nobody takes; other streams and calls on the connection go on; and it goes
/// on when somebody takes.
pub async fn a_slow_reader_slows_its_sender_alone(host: &dyn Host) {
    const CHUNK_LEN: u32 = 10_000;
    let (nodes, clients) = clients(host).await;
    let runtime = host.runtime();
    for (client, flows) in &clients {
        let count = Count { to: 10_000, chunk_len: CHUNK_LEN, then: Then::Answer };
        let mut slow = client.open(&count).await.expect("open");
        let sent = || flows.sent.load(Ordering::SeqCst);

        // Wait until it stands still: its window is full.
        let window = rpc::Config::default().stream_window as usize;
        eventually(&*runtime, || sent() > window / 2 / CHUNK_LEN as usize).await;
        for _ in 0..50 {
            assert_eq!(echo(&nodes[0].0, client.peer().get()).await, Ok((1, client.peer().get())));
        }
        let mut other = client.open(&Repeat { chunks_max: u64::MAX }).await.expect("open");
        for of in 0..50 {
            other.send(&chunk(of, 50_000)).await.expect("sent");
            assert_eq!(other.next().await.expect("one more").expect("well"), chunk(of, 50_000).0);
        }
        drop(other);
        let at_most = window / CHUNK_LEN as usize + 2;
        assert!(
            sent() <= at_most,
            "{} chunks sent and none taken, with a window of {at_most}",
            sent()
        );

        for number in 0..500_u64 {
            let chunk = slow.next().await.expect("one more").expect("well");
            assert_eq!(&chunk[..8], &number.to_le_bytes()[..]);
        }
        assert!(sent() > 490);
        drop(slow);
        eventually(&*runtime, || flows.gone.count() == flows.begun.count()).await;

        // The other way round: the handler does not take.
        let mut swallow = client.open(&Swallow).await.expect("open");
        let taken = Arc::new(AtomicUsize::new(0));
        let sending = async {
            for _ in 0..200 {
                swallow.send(&chunk(1, CHUNK_LEN as usize)).await.expect("sent");
                taken.fetch_add(1, Ordering::SeqCst);
            }
        };
        let opening = async {
            eventually(&*runtime, || {
                taken.load(Ordering::SeqCst) > window / 2 / CHUNK_LEN as usize
            })
            .await;
            for _ in 0..20 {
                assert!(echo(&nodes[0].0, client.peer().get()).await.is_ok());
            }
            let taken = taken.load(Ordering::SeqCst);
            assert!(taken <= at_most, "{taken} taken by a handler that takes none");
            (0..=200).for_each(|_| flows.gate.add());
        };
        zip(sending, opening).await;
        assert_eq!(swallow.reply().await.expect("answered").body.to_native(), 200);
    }
}

/// On both sides, whatever either is doing.
pub async fn a_deadline_ends_a_stream(host: &dyn Host) {
    let (nodes, clients) = clients(host).await;
    // So that no deadline is spent on dialling.
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    for (client, flows) in &clients {
        let hurried = client.clone().timeout(Duration::from_millis(100));
        let count = Count { to: 1, chunk_len: 8, then: Then::Hang };
        let mut numbers = hurried.open(&count).await.expect("open");
        while let Some(Ok(_)) = numbers.next().await {}
        assert_eq!(numbers.reply().await.expect_err("late").code, Code::DeadlineExceeded);

        let mut swallow = hurried.open(&Swallow).await.expect("open");
        let status = loop {
            if let Err(status) = swallow.send(&chunk(1, 50_000)).await {
                break status;
            }
        };
        assert_eq!(status.code, Code::DeadlineExceeded);
        eventually(&*host.runtime(), || flows.gone.count() == flows.begun.count()).await;
    }
}

/// For who reads, who sends, and who waits for the answer; and for the handlers.
pub async fn streams_end_with_their_peer(host: &dyn Host) {
    let (nodes, [_, there]) = pair(host).await;
    let client = nodes[0].0.client::<Flows>(2).without_timeout();
    let mut numbers =
        client.open(&Count { to: 1, chunk_len: 8, then: Then::Hang }).await.expect("open");
    assert!(numbers.next().await.expect("one").is_ok());
    let mut swallow = client.open(&Swallow).await.expect("open");
    there.begun.reaches(2).await;
    nodes[1].0.shutdown().await;

    let is_loss = |status: &Status| {
        matches!(status.code, Code::ConnectionLost | Code::PeerGone | Code::Unavailable)
    };
    let status = numbers.next().await.expect("told").expect_err("lost");
    assert!(is_loss(&status), "{status}");
    let status = loop {
        if let Err(status) = swallow.send(&chunk(1, 50_000)).await {
            break status;
        }
    };
    assert!(is_loss(&status), "{status}");
    let status = swallow.reply().await.expect_err("lost");
    assert!(is_loss(&status), "{status}");
    there.gone.reaches(2).await;
}

/// A namesake of `Flows` that has other ideas of who streams.
struct Otherwise;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct UnarySum {
    times: u64,
}

impl Message for UnarySum {
    type Reply = u64;
    const NAME: &'static str = "sum";
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct TalkativeSum {
    times: u64,
}

impl Message for TalkativeSum {
    type Reply = u64;
    const NAME: &'static str = "sum";
}

impl Streaming for TalkativeSum {
    type In = u64;
    type Out = u64;
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Absent;

impl Message for Absent {
    type Reply = ();
    const NAME: &'static str = "absent";
}

impl Streaming for Absent {
    type In = Raw;
    type Out = Raw;
}

impl Service for Otherwise {
    const NAME: &'static str = "flows";
    fn methods(_: &mut Methods<Self>) {}
}

fn not_called() -> Status {
    Status::new(Code::AppError, "not called")
}

impl Handler<UnarySum> for Otherwise {
    async fn handle(&self, _: &Context, _: View<UnarySum>) -> Result<u64, Status> {
        Err(not_called())
    }
}

impl StreamHandler<TalkativeSum> for Otherwise {
    async fn handle(
        &self,
        _: &Context,
        _: View<TalkativeSum>,
        _: Incoming<u64>,
        _: Outgoing<u64>,
    ) -> Result<u64, Status> {
        Err(not_called())
    }
}

impl StreamHandler<Absent> for Otherwise {
    async fn handle(
        &self,
        _: &Context,
        _: View<Absent>,
        _: Incoming<Raw>,
        _: Outgoing<Raw>,
    ) -> Result<(), Status> {
        Err(not_called())
    }
}

/// Which is a clear error and never a misunderstanding.
pub async fn who_streams_is_part_of_the_schema(host: &dyn Host) {
    let (nodes, _) = pair(host).await;
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Otherwise>(peer).timeout(PATIENCE);
        let unary = client.call(&UnarySum { times: 1 }).await.expect_err("it streams");
        assert_eq!((unary.code, unary.may_have_run()), (Code::SchemaMismatch, false));
        let status = match client.open(&TalkativeSum { times: 1 }).await {
            Ok(call) => call.reply().await.expect_err("one way only"),
            Err(status) => status,
        };
        assert_eq!((status.code, status.may_have_run()), (Code::SchemaMismatch, false));
        let status = match client.open(&Absent).await {
            Ok(mut call) => {
                let told = call.next().await.expect("told").expect_err("no such method");
                assert_eq!(told.code, Code::UnknownMethod);
                call.reply().await.expect_err("no such method")
            }
            Err(status) => status,
        };
        assert_eq!((status.code, status.may_have_run()), (Code::UnknownMethod, false));
    }
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)), "the connection is none the worse");
}

/// Chunks that came with a call of no method, or of one that was over at once, leave their room to
/// others.
pub async fn what_no_handler_takes_is_given_back(host: &dyn Host) {
    let (nodes, _) = pair(host).await;
    let client = nodes[0].0.client::<Otherwise>(2).timeout(PATIENCE);
    for round in 0..400 {
        let mut call = client.open(&Absent).await.expect("open");
        for _ in 0..40 {
            if let Err(status) = call.send(&chunk(1, 1_000)).await {
                assert_eq!(status.code, Code::UnknownMethod, "round {round}");
                break;
            }
        }
        if round % 2 == 0 {
            let status = call.reply().await.expect_err("no such method");
            assert_eq!(status.code, Code::UnknownMethod, "round {round}");
        }
    }
    let mut sum = nodes[0]
        .0
        .client::<Flows>(2)
        .timeout(PATIENCE)
        .open(&Sum { times: 1 })
        .await
        .expect("open");
    sum.send(&7).await.expect("sent");
    assert_eq!(sum.reply().await.expect("answered").body.to_native(), 7);
}

/// One sends while the other receives, as any `Stream` of the ecosystem.
pub async fn both_directions_go_on_in_tasks_of_their_own(host: &dyn Host) {
    let (_nodes, clients) = clients(host).await;
    let runtime = host.runtime();
    for (client, _) in &clients {
        let repeat = client.open(&Repeat { chunks_max: u64::MAX }).await.expect("open");
        let (mut outgoing, mut reader) = repeat.split();
        let sending = spawn(&*runtime, async move {
            for number in 0..2_000_u32 {
                outgoing.send(&Raw(number.to_le_bytes().to_vec().into())).await.expect("sent");
            }
            outgoing.finish();
        });
        let mut expected = 0_u32;
        while let Some(chunk) = StreamExt::next(&mut reader).await {
            assert_eq!(chunk.expect("well"), &expected.to_le_bytes()[..]);
            expected += 1;
        }
        assert_eq!(expected, 2_000);
        sending.await;
        assert_eq!(reader.reply().await.expect("answered").body.to_native(), 2_000);
    }
}

/// More calls and streams at once than a connection takes: those that come later wait.
pub async fn streams_and_calls_share_a_connection(host: &dyn Host) {
    let (nodes, _) = pair(host).await;
    let runtime = host.runtime();
    let one = nodes[0].0.clone();
    let many = (0..200_u64).map(|number| {
        let one = one.clone();
        spawn(&*runtime, async move {
            let client = one.client::<Flows>(2).timeout(PATIENCE);
            let mut sum = client.open(&Sum { times: number }).await?;
            for part in 0..20 {
                sum.send(&part).await?;
            }
            let probe = one.client::<Probe>(2).timeout(PATIENCE);
            probe.call(&Echo { text: number.to_string() }).await?;
            sum.reply().await.map(|reply| reply.body.to_native())
        })
    });
    for (number, call) in many.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(call.await, Ok(190 * number as u64));
    }
    let stats = one.stats();
    let sum = stats.method(chinwag::Role::Outbound, "flows", "sum").expect("called");
    assert_eq!((sum.calls, sum.in_flight, sum.latency.count()), (200, 0, 200));
    assert_eq!(sum.errors, []);
}
