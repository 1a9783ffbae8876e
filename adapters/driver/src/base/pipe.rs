//! [`Pipe`]: the chunks of one direction of a stream, between whoever brings them and whoever takes them.
//!
//! The chunks of a call over a connection are brought by the connection, which never has to wait:
//! the peer sends no more than it was granted, and is granted more when a chunk is taken. Those of
//! a call of the node to itself are brought by the other end, which waits while as much as a
//! stream's window is not taken.

use std::collections::VecDeque;
use std::mem;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chinwag_core::rpc::{Code, Held, Status, StreamError};

use crate::base::sync::lock;

/// What a chunk counts beside its bytes, so that empty ones are bounded too: as on the wire.
const CHUNK_OVERHEAD: usize = 128;

/// A chunk as it came.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) body: Bytes,
    pub(crate) attachments: Vec<Bytes>,
    /// To be released when the chunk is taken.
    pub(crate) held: Held,
}

impl Arrival {
    pub(crate) fn len(&self) -> usize {
        self.body.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// One direction. What is brought before the end is taken before it. Chunks and wakers are users':
/// none is cloned, dropped or woken while the pipe is locked.
#[derive(Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Arrival>,
    /// Bytes in `chunks`, and what they count beside.
    cost: usize,
    end: Option<End>,
    /// Whoever takes has gone: what is still brought is dropped.
    is_abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Why no further chunks come.
enum End {
    /// There are no more.
    Finished,
    /// The call is over: well, or with what the taker is told once.
    Over(Option<Status>),
}

impl Pipe {
    /// Brings a chunk, which is given back if nobody will take it.
    pub(crate) fn push(&self, arrival: Arrival, wakers: &mut Vec<Waker>) -> Result<(), Arrival> {
        let mut state = lock(&self.state);
        if state.is_abandoned || state.end.is_some() {
            return Err(arrival);
        }
        state.cost += arrival.len() + CHUNK_OVERHEAD;
        state.chunks.push_back(arrival);
        wakers.extend(state.reader.take());
        Ok(())
    }

    /// [`Pipe::push`] of `arrival` once less than `window` is not taken; an error when the call is
    /// over. `Ready` leaves none.
    pub(crate) fn poll_push(
        &self,
        cx: &mut Context<'_>,
        arrival: &mut Option<Arrival>,
        window: usize,
    ) -> Poll<Result<(), Status>> {
        let waker = cx.waker().clone();
        let Some(chunk) = arrival.take() else { return Poll::Ready(Ok(())) };
        let (reader, _unwanted) = {
            let mut state = lock(&self.state);
            if let Some(end) = &state.end {
                return Poll::Ready(Err(end.to_writer()));
            }
            if state.is_abandoned {
                (None, (Some(chunk), None))
            } else if state.cost >= window {
                *arrival = Some(chunk);
                let replaced = state.writer.replace(waker);
                drop(state);
                drop(replaced);
                return Poll::Pending;
            } else {
                state.cost += chunk.len() + CHUNK_OVERHEAD;
                state.chunks.push_back(chunk);
                (state.reader.take(), (None, Some(waker)))
            }
        };
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    /// The next chunk; `None` at the end; the status once, if the call ended with one.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Arrival, Status>>> {
        let waker = cx.waker().clone();
        let mut state = lock(&self.state);
        let Some(arrival) = state.chunks.pop_front() else {
            return match &mut state.end {
                Some(End::Over(status)) => Poll::Ready(status.take().map(Err)),
                Some(End::Finished) => Poll::Ready(None),
                None => {
                    let replaced = state.reader.replace(waker);
                    drop(state);
                    drop(replaced);
                    Poll::Pending
                }
            };
        };
        state.cost -= arrival.len() + CHUNK_OVERHEAD;
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(Ok(arrival)))
    }

    /// No further chunks come.
    pub(crate) fn finish(&self, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.state);
        state.end.get_or_insert(End::Finished);
        wakers.extend(state.reader.take());
    }

    /// The call is over. Chunks that are here can still be taken.
    pub(crate) fn end(&self, status: Option<&Status>, wakers: &mut Vec<Waker>) {
        let mut state = lock(&self.state);
        // Whoever was told that there are no more chunks has been told all that there is to say.
        state.end.get_or_insert_with(|| End::Over(status.cloned()));
        wakers.extend(state.reader.take());
        wakers.extend(state.writer.take());
    }

    /// Nobody will take what is here or still comes: what it holds, to be released.
    pub(crate) fn abandon(&self) -> Vec<Held> {
        let mut state = lock(&self.state);
        state.is_abandoned = true;
        state.cost = 0;
        let writer = state.writer.take();
        let chunks = mem::take(&mut state.chunks);
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        chunks.into_iter().map(|arrival| arrival.held).collect()
    }
}

impl End {
    fn to_writer(&self) -> Status {
        match self {
            Self::Over(Some(status)) => status.clone(),
            Self::Over(None) | Self::Finished => over(),
        }
    }
}

/// What a chunk of `len` bytes meets that is larger than its call declares, or has too many
/// attachments.
pub(crate) fn too_large(len: usize, len_max: usize) -> Status {
    Status::new(Code::TooLarge, StreamError::TooLarge { len, len_max }.to_string())
}

/// What a chunk meets that is sent to a call which has ended well.
pub(crate) fn over() -> Status {
    Status::new(Code::Cancelled, "the call is over, and takes no more chunks")
}
