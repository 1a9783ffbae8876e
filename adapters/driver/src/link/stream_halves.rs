//! [`Incoming`] and [`Outgoing`]: the two directions of a stream, at either end.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use chinwag_core::rpc::{Code, Status};
use futures_core::Stream;

use crate::base::pipe::{Arrival, Pipe};
use crate::link::local::LocalEnd;
use crate::link::streams::RemoteEnd;
use crate::message::method::{Body, Received};
use crate::stats::meter::Meter;

/// One end of the stream of a call, its types forgotten.
pub(crate) enum End {
    Remote(RemoteEnd),
    Local(LocalEnd),
}

impl End {
    /// Another handle to the same end.
    pub(crate) fn twin(&self) -> Self {
        match self {
            Self::Remote(end) => Self::Remote(end.twin()),
            Self::Local(end) => Self::Local(end.clone()),
        }
    }

    fn incoming(&self) -> &Pipe {
        match self {
            Self::Remote(end) => &end.port.incoming,
            Self::Local(end) => end.incoming(),
        }
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        body: &Bytes,
        attachments: &[Bytes],
    ) -> Poll<Result<(), Status>> {
        match self {
            Self::Remote(end) => end.poll_send(cx, body, attachments),
            Self::Local(end) => end.poll_send(cx, body, attachments),
        }
    }

    fn finish(&self) {
        match self {
            Self::Remote(end) => end.finish(),
            Self::Local(end) => end.finish(),
        }
    }
}

/// What the other end sends, in order. Taking a chunk is what lets the other end send more: whoever
/// does not take slows the sender down, and nobody else.
///
/// It ends when the other end has finished; of [`Never`](crate::Never), at once. When the call
/// ended before that with a failure, it ends with that, once. Dropping it lets the rest be
/// dropped as it comes.
pub struct Incoming<B> {
    end: End,
    meter: Arc<Meter>,
    body: PhantomData<fn() -> B>,
}

/// A chunk with what came beside it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Chunk<B: Body> {
    /// The chunk.
    pub body: Received<B>,
    /// Bytes beside it, as [`Outgoing::send_with`] was given them.
    pub attachments: Vec<Bytes>,
}

impl<B: Body> Incoming<B> {
    pub(crate) fn new(end: End, meter: Arc<Meter>) -> Self {
        Self { end, meter, body: PhantomData }
    }

    /// The next chunk; `None` when there are no more. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Received<B>, Status>> {
        poll_fn(|cx| self.poll_chunk(cx)).await.map(|chunk| chunk.map(|chunk| chunk.body))
    }

    /// [`Incoming::next`], with attachments.
    pub async fn next_with(&mut self) -> Option<Result<Chunk<B>, Status>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk<B>, Status>>> {
        // Nobody finishes a direction that has no chunks: who takes them all would wait for the end
        // of the call, and that for it.
        if !B::IS_CHUNK {
            return Poll::Ready(None);
        }
        let arrival = match self.end.incoming().poll_take(cx) {
            Poll::Ready(Some(Ok(arrival))) => arrival,
            Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        self.meter.received(arrival.len());
        let Arrival { body, attachments, held } = arrival;
        if let End::Remote(end) = &self.end {
            end.release(held);
        }
        let malformed = |error| Status::new(Code::SchemaMismatch, format!("{error} (a chunk)"));
        let body = B::receive(body).map_err(malformed);
        Poll::Ready(Some(body.map(|body| Chunk { body, attachments })))
    }
}

impl<B: Body> Stream for Incoming<B> {
    type Item = Result<Received<B>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx).map(|next| next.map(|chunk| chunk.map(|chunk| chunk.body)))
    }
}

impl<B> Drop for Incoming<B> {
    fn drop(&mut self) {
        for held in self.end.incoming().abandon() {
            if let End::Remote(end) = &self.end {
                end.release(held);
            }
        }
    }
}

/// What this end sends, in order.
///
/// At the caller, one that is dropped before [`finish`](Outgoing::finish) cancels the call: half of
/// a stream is never taken for the whole. At the handler, the end of the call is the end of the
/// stream.
pub struct Outgoing<B> {
    end: End,
    meter: Arc<Meter>,
    /// Where dropping it unfinished cancels.
    is_callers: bool,
    body: PhantomData<fn(B)>,
}

impl<B: Body> Outgoing<B> {
    pub(crate) fn new(end: End, meter: Arc<Meter>, is_callers: bool) -> Self {
        Self { end, meter, is_callers: is_callers && B::IS_CHUNK, body: PhantomData }
    }

    /// Sends a chunk, once the other end has room for it. `Ok` says that it was queued. Dropping
    /// the future before it is ready sends nothing.
    ///
    /// # Errors
    /// The status the call ended with, `Cancelled` if it ended well; or `TooLarge`, after which the
    /// call goes on.
    pub async fn send(&mut self, chunk: &B) -> Result<(), Status> {
        self.send_with(chunk, &[]).await
    }

    /// [`Outgoing::send`] with bytes beside the chunk, at most
    /// [`ATTACHMENTS_MAX`](chinwag_core::rpc::config::ATTACHMENTS_MAX).
    ///
    /// # Errors
    /// As [`Outgoing::send`].
    pub async fn send_with(&mut self, chunk: &B, attachments: &[Bytes]) -> Result<(), Status> {
        let not_encoded =
            |error| Status::new(Code::Internal, format!("chunk not encoded: {error}"));
        let body = chunk.encode().map_err(not_encoded)?;
        poll_fn(|cx| self.end.poll_send(cx, &body, attachments)).await?;
        self.meter.sent(body.len() + attachments.iter().map(Bytes::len).sum::<usize>());
        Ok(())
    }
}

impl<B> Outgoing<B> {
    /// Says that there are no more chunks. The other end can still send its own.
    pub fn finish(&mut self) {
        self.is_callers = false;
        self.end.finish();
    }
}

impl<B> Drop for Outgoing<B> {
    fn drop(&mut self) {
        if !self.is_callers {
            return;
        }
        match &self.end {
            End::Remote(end) => end.cancel(),
            End::Local(end) => end.call.give_up(),
        }
    }
}

impl<B: Body> fmt::Debug for Chunk<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("attachments", &self.attachments.len())
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Incoming<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Incoming")
    }
}

impl<B> fmt::Debug for Outgoing<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outgoing")
    }
}
