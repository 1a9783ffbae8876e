//! [`Context`]: what a handler knows about the call it answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::clock::Timestamp;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::rpc::{Headers, HeadersError, Status};
use chinwag_core::time::Instant;

use crate::base::sync::lock;
use crate::message::answer::Response;
use crate::serve::shared::Shared;
use crate::stats::trace::TraceContext;

/// The call a handler answers: who calls, until when, with what. A clone is of the same call.
pub struct Context {
    shared: Arc<Shared>,
    caller: Caller,
    request: InboundRequest,
    /// What goes back beside the answer; made when it is first asked for.
    beside: OnceLock<Arc<Mutex<Beside>>>,
    /// As whom the handler calls; chosen when it first does.
    number: OnceLock<u64>,
}

#[derive(Default)]
struct Beside {
    headers: Headers,
    attachments: Vec<Bytes>,
}

/// The other end of a call, as its hello says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The node.
    pub id: NodeId,
    /// The run of it.
    pub epoch: Epoch,
    /// Where it says it is reached.
    pub addr: SocketAddr,
}

/// A request as its handler gets it, without its body.
#[derive(Clone, Debug)]
pub(crate) struct InboundRequest {
    pub(crate) deadline: Option<Instant>,
    pub(crate) headers: Headers,
    pub(crate) attachments: Vec<Bytes>,
    pub(crate) stamp: Timestamp,
    pub(crate) is_one_way: bool,
    /// Calls around this one: those that its handler makes are one deeper.
    pub(crate) depth: u8,
    /// The handler's span, or what the caller sent where there is none; `None` where nobody has
    /// looked. Boxed, because most calls have none and every context has room for it.
    pub(crate) trace: Option<Box<TraceContext>>,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, caller: Caller, request: InboundRequest) -> Self {
        Self { shared, caller, request, beside: OnceLock::new(), number: OnceLock::new() }
    }

    /// The answer, with what goes back beside it. What a clone adds after this is lost.
    pub(crate) fn answer(self, result: Result<Bytes, Status>) -> Response {
        let beside = self.beside.get().map(|beside| std::mem::take(&mut *lock(beside)));
        let Beside { headers, attachments } = beside.unwrap_or_default();
        Response { headers, attachments, result }
    }

    /// Who calls. Without security this is the caller's own word.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// When the caller stops waiting, on the runtime's monotonic clock. `None`: it waits without
    /// end, or this is one-way.
    pub fn deadline(&self) -> Option<Instant> {
        self.request.deadline
    }

    /// What is left until the deadline.
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.request.deadline?.since(self.shared.node.runtime.now().mono))
    }

    /// The metadata sent with the call.
    pub fn headers(&self) -> &Headers {
        &self.request.headers
    }

    /// What came beside the request: bytes that were copied neither into it nor out of it, in the
    /// order they were attached.
    pub fn attachments(&self) -> &[Bytes] {
        &self.request.attachments
    }

    /// Puts bytes beside the answer, at most
    /// [`ATTACHMENTS_MAX`](chinwag_core::rpc::config::ATTACHMENTS_MAX) times; more make the answer
    /// `TooLarge`. They are sent if it is a reply.
    pub fn attach(&self, bytes: impl Into<Bytes>) {
        // What makes bytes of them is user code: it runs before anything is locked.
        let bytes = bytes.into();
        lock(self.beside.get_or_init(Arc::default)).attachments.push(bytes);
    }

    /// Adds metadata to the answer, whether it is a reply or a failure. The answer to a one-way
    /// message goes nowhere.
    ///
    /// # Errors
    /// [`HeadersError`] when the key is empty or long, or all of it is more than 32 KiB. What is
    /// more than the caller accepts makes the answer `TooLarge`.
    pub fn set_header(&self, key: &str, value: &[u8]) -> Result<(), HeadersError> {
        lock(self.beside.get_or_init(Arc::default)).headers.push(key, value)
    }

    /// The caller's clock when it sent. Already observed: whatever this node stamps from now on is
    /// later.
    pub fn stamp(&self) -> Timestamp {
        self.request.stamp
    }

    /// The trace that the call is part of: the handler's span, or the caller's if this node makes
    /// none.
    pub fn trace(&self) -> Option<TraceContext> {
        self.request.trace.as_deref().copied().or_else(|| TraceContext::of(&self.request.headers))
    }

    /// Calls around those that the handler makes.
    pub(crate) fn depth_within(&self) -> u8 {
        self.request.depth.saturating_add(1)
    }

    /// The number of the handler among the callers of its node.
    pub(crate) fn caller_number(&self) -> u64 {
        *self.number.get_or_init(|| self.shared.next_caller())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Clone for Context {
    fn clone(&self) -> Self {
        // So that what one of them adds to the answer, the other does too.
        self.beside.get_or_init(Arc::default);
        Self {
            shared: self.shared.clone(),
            caller: self.caller,
            request: self.request.clone(),
            beside: self.beside.clone(),
            number: self.number.clone(),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("caller", &self.caller)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
