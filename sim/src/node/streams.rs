//! Calls with chunks: either way and both ways at once, slow takers, handlers that answer half way,
//! callers that give up.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chinwag::{
    Body, CallReader, Client, Context, Incoming, Method, Node, Outgoing, Received, Status,
    StreamHandler, Streaming, Timestamp, View,
};

use super::ledger::Pieces;
use super::workload::{HURRY, Here, PATIENCE, User, Work, is_after};
use crate::checker::ensure;
use crate::checker::views::id;
use crate::choices::Odds;
use crate::mutant::Defect;

/// Chunks of a direction at most. With the longest of them they are more than the window of a
/// stream ever is, so that its sender waits.
const CHUNKS_MAX: u32 = 40;
/// The longest chunk is 2 to this power.
const LEN_LOG_MAX: u32 = 17;
/// Bytes of the longest chunk: its pad, and what its archive has beside it.
const CHUNK_LEN_MAX: u32 = (1 << LEN_LOG_MAX) + 64;
/// One that takes slowly waits so long before every fourth chunk.
const SLOW: Duration = Duration::from_millis(20);

/// What a call with chunks is to be.
#[derive(Clone, Copy, rkyv::Archive, rkyv::Serialize)]
pub(super) struct Talk {
    id: u64,
    /// The caller's clock before it called.
    stamp: u64,
    /// Chunks that the caller sends.
    into: u32,
    /// Chunks that the handler sends.
    out: u32,
    len: u32,
    /// The handler has enough after so many.
    enough: u32,
    is_slow: bool,
}

impl Talk {
    /// So long after the end of the call its caller may still be taking what came before it.
    fn own_pace(&self) -> Duration {
        if self.is_slow { SLOW * (CHUNKS_MAX / 4 + 1) } else { Duration::ZERO }
    }
}

/// Its one answer.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct Outcome {
    id: u64,
    /// The handler's clock.
    stamp: u64,
    taken: u32,
}

/// A chunk.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct Part {
    of: u64,
    number: u32,
    pad: Vec<u8>,
}

macro_rules! shapes {
    ($($name:ident, $wire:literal, $into:ty, $out:ty;)*) => {$(
        pub(super) struct $name;
        impl Method for $name {
            type Request = Talk;
            type Reply = Outcome;
            const NAME: &'static str = $wire;
        }
        impl Streaming for $name {
            type In = $into;
            type Out = $out;
            const CHUNK_LEN_MAX: u32 = CHUNK_LEN_MAX;
        }
        impl StreamHandler<$name> for Work {
            async fn handle(
                &self,
                cx: &Context,
                talk: View<Talk>,
                incoming: Incoming<$into>,
                outgoing: Outgoing<$out>,
            ) -> Result<Outcome, Status> {
                self.0.talk(cx, &talk, incoming, outgoing).await
            }
        }
    )*};
}

shapes! {
    Upload, "upload", Part, chinwag::Never;
    Download, "download", chinwag::Never, Part;
    Chat, "chat", Part, Part;
}

/// What a direction carries: parts, or nothing.
pub(super) trait Piece: Body<Received: Send> + Send + Sync {
    /// The chunk with this number, if there are chunks.
    fn make(talk: &Talk, number: u32) -> Option<Self>
    where
        Self: Sized;

    /// Whose it is, its number, and whether it is as it was made.
    fn read(received: &Received<Self>, len: u32) -> (u64, u32, bool)
    where
        Self: Sized;
}

impl Piece for Part {
    fn make(talk: &Talk, number: u32) -> Option<Self> {
        Some(Self { of: talk.id, number, pad: pad(talk.id, number, talk.len) })
    }

    fn read(received: &View<Self>, len: u32) -> (u64, u32, bool) {
        let (of, number) = (received.of.to_native(), received.number.to_native());
        (of, number, received.pad.as_slice() == pad(of, number, len))
    }
}

impl Piece for chinwag::Never {
    fn make(_: &Talk, _: u32) -> Option<Self> {
        None
    }

    fn read(received: &Self, _: u32) -> (u64, u32, bool) {
        match *received {}
    }
}

fn pad(of: u64, number: u32, len: u32) -> Vec<u8> {
    vec![u8::try_from((of + u64::from(number)) % 251).unwrap_or(0); len as usize]
}

/// Where chunks come from: at the handler, and at the caller.
trait Source: Send {
    type Of: Piece;
    fn take(&mut self) -> impl Future<Output = Option<Result<Received<Self::Of>, Status>>> + Send;
}

impl<B: Piece> Source for Incoming<B> {
    type Of = B;
    async fn take(&mut self) -> Option<Result<Received<B>, Status>> {
        self.next().await
    }
}

impl<M: Streaming<Out: Piece>> Source for CallReader<M> {
    type Of = M::Out;
    async fn take(&mut self) -> Option<Result<Received<M::Out>, Status>> {
        self.next().await
    }
}

/// Sends `count` chunks and finishes; ends early where the call does.
async fn send_all<B: Piece>(outgoing: &mut Outgoing<B>, talk: &Talk, count: u32) {
    for number in 0..count {
        let Some(part) = B::make(talk, number) else { break };
        // Why it ended, the answer says.
        if outgoing.send(&part).await.is_err() {
            return;
        }
    }
    outgoing.finish();
}

/// Takes chunks until there are no more or it has `enough`.
async fn take_all<S: Source>(
    node: &Node,
    source: &mut S,
    talk: &Talk,
    enough: u32,
    pieces: &mut Pieces,
) -> Result<(), Status> {
    while pieces.taken() < enough {
        if talk.is_slow && pieces.taken().is_multiple_of(4) {
            node.sleep(SLOW).await;
        }
        let Some(next) = source.take().await else {
            pieces.are_all();
            break;
        };
        let (of, number, is_whole) = S::Of::read(&next?, talk.len);
        pieces.takes(of, number, is_whole);
    }
    Ok(())
}

/// Both at once.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (Poll::Pending, Poll::Pending);
    std::future::poll_fn(|cx| {
        if from_a.is_pending() {
            from_a = a.as_mut().poll(cx);
        }
        if from_b.is_pending() {
            from_b = b.as_mut().poll(cx);
        }
        if from_a.is_pending() || from_b.is_pending() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    match (from_a, from_b) {
        (Poll::Ready(a), Poll::Ready(b)) => (a, b),
        _ => unreachable!("both are ready"),
    }
}

impl Here {
    async fn talk<I: Piece, O: Piece>(
        &self,
        cx: &Context,
        asked: &View<Talk>,
        mut incoming: Incoming<I>,
        mut outgoing: Outgoing<O>,
    ) -> Result<Outcome, Status> {
        let talk = Talk {
            id: asked.id.to_native(),
            stamp: asked.stamp.to_native(),
            into: asked.into.to_native(),
            out: asked.out.to_native(),
            len: asked.len.to_native(),
            enough: asked.enough.to_native(),
            is_slow: asked.is_slow,
        };
        let ledger = &self.user.ledger;
        let _running = ledger.runs(talk.id, self.user.host, self.is_offered());
        let Some(node) = cx.node() else {
            return Err(Status::new(chinwag::Code::Internal, "no node"));
        };
        let made = Timestamp::from_raw(talk.stamp);
        ledger.note(ensure(made < cx.stamp(), "hlc_causality", || {
            format!("a stream that was opened after {made} carries {}", cx.stamp())
        }));
        ledger.reaches(talk.id, self.user.run_of(&node));
        if self.user.has(Defect::NeverAnswers) {
            std::future::pending::<()>().await;
        }
        let mut pieces = Pieces::new(ledger, talk.id, talk.into);
        let takes = take_all(&node, &mut incoming, &talk, talk.enough, &mut pieces);
        let ((), taken) = both(send_all(&mut outgoing, &talk, talk.out), takes).await;
        taken?;
        let stamp = node.clock().now().get();
        Ok(Outcome { id: talk.id, stamp, taken: pieces.taken() })
    }
}

impl User {
    /// A call with chunks: `shape` 1 from the caller, 2 from the handler, else both ways.
    pub(super) fn streams(&self, node: &Node, to: u32, shape: u32, open: &Arc<()>) {
        let count = 1 + self.choose(10, Odds::up_to(CHUNKS_MAX - 1));
        let len = match self.choose(11, Odds { per_million: 400_000, most: LEN_LOG_MAX }) {
            0 => 32,
            log => 1 << log,
        };
        let enough = match self.choose(12, Odds { per_million: 150_000, most: CHUNKS_MAX }) {
            0 => u32::MAX,
            enough => enough,
        };
        let is_slow = self.choose(13, Odds::chance(200_000)) > 0;
        let patience = match self.choose(14, Odds { per_million: 400_000, most: 2 }) {
            0 => Some(PATIENCE),
            1 => Some(HURRY),
            _ => None,
        };
        let gives_up = match self.choose(15, Odds { per_million: 150_000, most: 200 }) {
            0 => None,
            millis => Some(Duration::from_millis(millis.into())),
        };
        let talk = Talk { id: 0, stamp: 0, into: count, out: count, len, enough, is_slow };
        let (user, on, held) = (self.clone(), node.clone(), open.clone());
        node.spawn(async move {
            let _held = held;
            let client = on.client::<Work>(id(to));
            let call = async {
                match shape {
                    1 => {
                        user.stream::<Upload>(&on, &client, to, Talk { out: 0, ..talk }, patience)
                            .await;
                    }
                    2 => {
                        user.stream::<Download>(
                            &on,
                            &client,
                            to,
                            Talk { into: 0, ..talk },
                            patience,
                        )
                        .await;
                    }
                    _ => user.stream::<Chat>(&on, &client, to, talk, patience).await,
                }
            };
            match gives_up {
                Some(after) => unless_after(&on, after, call).await,
                None => call.await,
            }
        });
    }

    /// One call with chunks, in the books.
    async fn stream<M>(
        &self,
        node: &Node,
        client: &Client<Work>,
        to: u32,
        talk: Talk,
        patience: Option<Duration>,
    ) where
        M: Method<Request = Talk, Reply = Outcome> + Streaming<In: Piece, Out: Piece>,
        Work: StreamHandler<M>,
    {
        let ticket = self.ledger.begin(self.host, to);
        let talk = Talk { id: ticket.id, stamp: node.clock().now().get(), ..talk };
        let deadline = patience.map(|patience| node.now().mono + patience);
        let pauses = self.pauses_so_far();
        let client = match deadline {
            Some(deadline) => client.clone().until(deadline),
            None => client.clone().without_timeout(),
        };
        let result = self.talk_to::<M>(node, &client, &talk).await;
        if let Some(deadline) = deadline {
            // What came before the end is taken after it, at the taker's pace.
            ticket.is_in_time(
                node.now().mono,
                deadline + talk.own_pace(),
                self.pauses_so_far() != pauses,
            );
        }
        ticket.ends(result.as_ref().map(drop));
    }

    async fn talk_to<M>(
        &self,
        node: &Node,
        client: &Client<Work>,
        talk: &Talk,
    ) -> Result<(), Status>
    where
        M: Method<Request = Talk, Reply = Outcome> + Streaming<In: Piece, Out: Piece>,
        Work: StreamHandler<M>,
    {
        let (mut outgoing, mut reader) = client.open_with::<M>(talk, &[]).await?.split();
        let mut pieces = Pieces::new(&self.ledger, talk.id, talk.out);
        let takes = take_all(node, &mut reader, talk, u32::MAX, &mut pieces);
        let ((), taken) = both(send_all(&mut outgoing, talk, talk.into), takes).await;
        taken?;
        let answer = reader.reply().await?.body;
        let heard = Timestamp::from_raw(answer.stamp.to_native());
        let ago = talk.own_pace() + self.stalled_for();
        self.ledger.note(is_after(node, heard, "the answer of a stream", ago));
        let (of, took) = (answer.id.to_native(), answer.taken.to_native());
        self.ledger.note(ensure(
            of == talk.id && took == talk.into.min(talk.enough),
            "rpc_answer",
            || {
                format!(
                    "call {} of {} chunks is answered with {of} and {took} chunks",
                    talk.id, talk.into
                )
            },
        ));
        Ok(())
    }
}

/// `work`, dropped where it takes longer than `after`.
pub(super) async fn unless_after(node: &Node, after: Duration, work: impl Future<Output = ()>) {
    let (mut timer, mut work) = (pin!(node.sleep(after)), pin!(work));
    std::future::poll_fn(|cx| {
        if timer.as_mut().poll(cx).is_ready() || work.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}
