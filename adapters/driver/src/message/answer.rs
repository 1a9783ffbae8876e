//! [`Response`]: how a call ended; and [`HandlerFuture`], which produces one.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chinwag_core::rpc::{Code, Headers, Status};

use crate::base::runtime::BoxFuture;

/// How a call ended, with what travels beside the result.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) headers: Headers,
    pub(crate) attachments: Vec<Bytes>,
    pub(crate) result: Result<Bytes, Status>,
}

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        Self { headers: Headers::new(), attachments: Vec::new(), result: Err(status) }
    }
}

impl Response {
    /// Bytes of the bodies, those beside the answer included.
    pub(crate) fn len(&self) -> usize {
        self.result.as_ref().map_or(0, Bytes::len)
            + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Its parts. A failure keeps the headers in its status.
    pub(crate) fn into_parts(self) -> Result<(Headers, Vec<Bytes>, Bytes), Status> {
        let Self { headers, attachments, result } = self;
        match result {
            Ok(body) => Ok((headers, attachments, body)),
            Err(status) => Err(status.with_headers(headers)),
        }
    }

    pub(crate) fn error(&self) -> Option<Code> {
        self.result.as_ref().err().map(|status| status.code)
    }
}

/// A handler's future. A panic in it becomes a status.
pub(crate) struct HandlerFuture {
    future: Option<BoxFuture<Response>>,
}

impl HandlerFuture {
    pub(crate) fn new(future: BoxFuture<Response>) -> Self {
        Self { future: Some(future) }
    }
}

impl Future for HandlerFuture {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(Status::new(Code::Internal, "the handler has ended").into());
        };
        // The future is not touched again after a panic, only dropped: nobody sees a broken
        // invariant of its own. What it shares with others is the service's to keep whole,
        // as it is with any task that panics.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let response = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(response)) => response,
            Err(_) => Status::new(Code::Internal, "the handler panicked").into(),
        };
        self.discard();
        Poll::Ready(response)
    }
}

impl HandlerFuture {
    fn discard(&mut self) {
        let done = self.future.take();
        if catch_unwind(AssertUnwindSafe(|| drop(done))).is_err() {
            tracing::error!(target: "chinwag::call", "a handler panicked while it was dropped");
        }
    }
}

/// A handler may also be dropped in the connection's task, which continues after a panic.
impl Drop for HandlerFuture {
    fn drop(&mut self) {
        self.discard();
    }
}

#[cfg(test)]
mod tests;
