//! [`StreamCall`]: a streaming call as its caller has it.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use chinwag_core::rpc::{Code, Status};
use chinwag_core::select::Outstanding;
use chinwag_core::time::Instant;

use crate::call::client::{Reply, receive};
use crate::call::target::{OutboundRequest, Streams, Target};
use crate::link::handle::Call;
use crate::link::local::{LocalCall, LocalEnd};
use crate::link::stream_halves::{Chunk, End, Incoming, Outgoing};
use crate::link::streams::{Port, RemoteEnd};
use crate::message::answer::Response;
use crate::message::method::{Method, Received, Streaming};
use crate::serve::shared::Shared;
use crate::stats::interceptor::Entered;
use crate::stats::meter::Meter;

/// A call whose ends send chunks; see [`Client::open`](crate::Client::open). Dropping it cancels.
pub struct StreamCall<M: Streaming> {
    // First, so that a call that is dropped is cancelled by its reader, which knows whether it is
    // over.
    reader: CallReader<M>,
    outgoing: Outgoing<M::In>,
}

impl<M: Streaming> StreamCall<M> {
    /// Sends a chunk, as [`Outgoing::send`].
    ///
    /// # Errors
    /// As [`Outgoing::send`].
    pub async fn send(&mut self, chunk: &M::In) -> Result<(), Status> {
        self.outgoing.send(chunk).await
    }

    /// Sends a chunk with bytes beside it, as [`Outgoing::send_with`].
    ///
    /// # Errors
    /// As [`Outgoing::send`].
    pub async fn send_with(&mut self, chunk: &M::In, attachments: &[Bytes]) -> Result<(), Status> {
        self.outgoing.send_with(chunk, attachments).await
    }

    /// Says that there are no more chunks, as [`Outgoing::finish`].
    pub fn finish(&mut self) {
        self.outgoing.finish();
    }

    /// The next chunk of the handler's, as [`Incoming::next`].
    pub async fn next(&mut self) -> Option<Result<Received<M::Out>, Status>> {
        self.reader.next().await
    }

    /// The next chunk with what came beside it, as [`Incoming::next_with`].
    pub async fn next_with(&mut self) -> Option<Result<Chunk<M::Out>, Status>> {
        self.reader.next_with().await
    }

    /// Finishes, and waits for the answer. Chunks that were not taken are dropped.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn reply(mut self) -> Result<Reply<M>, Status> {
        self.outgoing.finish();
        self.reader.reply().await
    }

    /// Its two directions, for two tasks. Dropping the sending one before it has finished cancels
    /// the call, and so does dropping the reader.
    pub fn split(self) -> (Outgoing<M::In>, CallReader<M>) {
        (self.outgoing, self.reader)
    }
}

/// The receiving direction of a [`StreamCall`], with its answer. Dropping it cancels the call.
pub struct CallReader<M: Streaming> {
    incoming: Incoming<M::Out>,
    answer: Pending,
    method: PhantomData<fn(M)>,
}

impl<M: Streaming> CallReader<M> {
    /// As [`Incoming::next`].
    pub async fn next(&mut self) -> Option<Result<Received<M::Out>, Status>> {
        self.incoming.next().await
    }

    /// As [`Incoming::next_with`].
    pub async fn next_with(&mut self) -> Option<Result<Chunk<M::Out>, Status>> {
        self.incoming.next_with().await
    }

    /// Waits for the answer. Chunks that were not taken are dropped.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn reply(self) -> Result<Reply<M>, Status> {
        let Self { incoming, mut answer, .. } = self;
        drop(incoming);
        let (headers, attachments, body) = answer.end().await.into_parts()?;
        Ok(Reply { headers, attachments, body: receive::<M>(body)? })
    }
}

impl<M: Streaming> futures_core::Stream for CallReader<M> {
    type Item = Result<Received<M::Out>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.incoming).poll_next(cx)
    }
}

/// The answer of a call that is under way, with all that is around the call.
struct Pending {
    shared: Arc<Shared>,
    call: Peer,
    meter: Arc<Meter>,
    begun: Instant,
    entered: Option<Entered>,
    has_ended: bool,
    _outstanding: Option<Outstanding>,
}

enum Peer {
    Remote(Call),
    Local(Arc<LocalCall>),
}

impl Pending {
    async fn end(&mut self) -> Response {
        let (at, response) = match &mut self.call {
            Peer::Remote(call) => call.await,
            Peer::Local(call) => poll_fn(|cx| call.poll_ended(cx)).await,
        };
        self.ended(at, &response);
        response
    }

    fn ended(&mut self, at: Instant, response: &Response) {
        self.has_ended = true;
        self.meter.received(response.len());
        self.meter.end(response.error(), at.since(self.begun));
        if let Some(entered) = &mut self.entered {
            entered.finish(response.result.as_ref().map(drop), at);
        }
    }
}

/// The call itself is cancelled by the drop of [`Call`], or here.
impl Drop for Pending {
    fn drop(&mut self) {
        if let Peer::Local(call) = &self.call {
            call.give_up();
        }
        if !self.has_ended {
            let at = self.shared.node.runtime.now().mono;
            self.ended(at, &Status::new(Code::Cancelled, "").into());
        }
    }
}

/// Opens a call of `M` on `target`.
pub(crate) async fn open<M: Streaming>(
    target: &Target,
    mut request: OutboundRequest,
) -> Result<StreamCall<M>, Status> {
    let shared = &target.shared;
    let begun = shared.node.runtime.now();
    let deadline = target.deadline(begun.mono);
    let meter = target.meter(&request).clone();
    let (mut entered, deadline) = target.enter(begun.mono, &mut request, deadline, false)?;
    meter.begin();
    meter.sent(request.len());
    // What follows is counted as an end of the call, whatever it is.
    let mut opening =
        Opening { shared, meter: &meter, begun: begun.mono, entered: &mut entered, is_open: false };
    let opened = if target.peer == shared.node.id {
        open_locally::<M>(target, &request, deadline)
    } else {
        open_remotely::<M>(target, &request, deadline).await
    };
    let (call, end, outstanding) = match opened {
        Ok(opened) => opened,
        Err(status) => {
            opening.failed(&status);
            return Err(status);
        }
    };
    opening.is_open = true;
    drop(opening);
    let answer = Pending {
        shared: shared.clone(),
        call,
        meter: meter.clone(),
        begun: begun.mono,
        entered,
        has_ended: false,
        _outstanding: outstanding,
    };
    let incoming = Incoming::new(end.twin(), meter.clone());
    let reader = CallReader { incoming, answer, method: PhantomData };
    Ok(StreamCall { reader, outgoing: Outgoing::new(end, meter, true) })
}

/// A call between its beginning and its being open, where it can wait for a connection and be
/// dropped.
struct Opening<'a> {
    shared: &'a Shared,
    meter: &'a Meter,
    begun: Instant,
    entered: &'a mut Option<Entered>,
    is_open: bool,
}

impl Opening<'_> {
    fn failed(&mut self, status: &Status) {
        self.is_open = true;
        let at = self.shared.node.runtime.now().mono;
        self.meter.end(Some(status.code), at.since(self.begun));
        if let Some(entered) = self.entered {
            entered.finish(Err(status), at);
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.is_open {
            self.failed(&Status::unsent(Code::Cancelled, ""));
        }
    }
}

type Opened = (Peer, End, Option<Outstanding>);

async fn open_remotely<M: Streaming>(
    target: &Target,
    request: &OutboundRequest,
    deadline: Option<Instant>,
) -> Result<Opened, Status> {
    let port = Arc::<Port>::default();
    let outstanding = target.shared.board.outstanding(target.peer);
    let now = target.shared.node.runtime.now();
    let chunk_len_max = M::CHUNK_LEN_MAX;
    let streams = Streams { shape: M::SHAPE, chunk_len_max, port: Some(&port) };
    let call = target.place(now, request, deadline, streams).await?;
    let end = RemoteEnd::of_call(&call, port);
    Ok((Peer::Remote(call), End::Remote(end), outstanding))
}

fn open_locally<M: Streaming>(
    target: &Target,
    request: &OutboundRequest,
    deadline: Option<Instant>,
) -> Result<Opened, Status> {
    let shared = &target.shared;
    let call = LocalCall::new(&shared.node, M::CHUNK_LEN_MAX);
    let theirs = LocalEnd { call: call.clone(), is_caller: false };
    let now = shared.node.runtime.now();
    let (future, meter) = target.begin_locally(
        now,
        request,
        deadline,
        false,
        (M::SHAPE, Some(End::Local(theirs))),
    )?;
    call.spawn(future, meter, deadline);
    let ours = LocalEnd { call: call.clone(), is_caller: true };
    Ok((Peer::Local(call), End::Local(ours), None))
}

impl<M: Streaming> fmt::Debug for StreamCall<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCall").field("method", &<M as Method>::NAME).finish_non_exhaustive()
    }
}

impl<M: Streaming> fmt::Debug for CallReader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallReader").field("method", &<M as Method>::NAME).finish_non_exhaustive()
    }
}
