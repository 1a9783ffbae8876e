//! [`Interceptor`]: what a program wants to see, change or refuse of every call, at either end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use chinwag_core::id::NodeId;
use chinwag_core::rpc::{Code, Headers, Status};
use chinwag_core::time::Instant;
use tracing::Span;

use crate::base::runtime::Runtime;
use crate::base::sync::lock;
use crate::stats::counters::Role;
use crate::stats::trace::{self, TraceContext, TraceIds};

/// Around every call: authentication, metrics, context of the program's own.
///
/// Several are nested: the first one added sees a call first, and its end last. For an
/// outbound call it is around all that the call does, waiting for a connection included; for an
/// inbound one around the handler, in the handler's task.
///
/// ```
/// use chinwag::{CallInfo, Code, Interceptor, Status};
///
/// struct Token(&'static [u8]);
///
/// /// Added with `Role::Outbound`, it sends the token.
/// struct Send(Token);
/// impl Interceptor for Send {
///     fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
///         call.headers_mut().push("token", self.0.0).map_err(|error| Status::new(Code::TooLarge, error.to_string()))
///     }
/// }
///
/// /// Added with `Role::Inbound`, it asks for it.
/// struct Check(Token);
/// impl Interceptor for Check {
///     fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
///         match call.headers().get("token") {
///             Some(token) if token == self.0.0 => Ok(()),
///             _ => Err(Status::new(Code::AppError, "not for you")),
///         }
///     }
/// }
/// ```
pub trait Interceptor: Send + Sync + 'static {
    /// Before the call. An error ends it there: nothing is sent, or no handler runs, and the
    /// caller's status says so.
    ///
    /// # Errors
    /// The status that the call ends with.
    fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        let _ = call;
        Ok(())
    }

    /// After the call, exactly once for each `before` that let it pass, however it ended;
    /// [`Code::Cancelled`] if its future was dropped. For a one-way message of this node, when
    /// it is queued.
    fn after(&self, call: &CallInfo, result: Result<(), &Status>, took: Duration) {
        let _ = (call, result, took);
    }
}

/// The call that an [`Interceptor`] sees.
#[derive(Clone, Debug)]
pub struct CallInfo {
    pub(crate) role: Role,
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) peer: NodeId,
    pub(crate) is_one_way: bool,
    pub(crate) headers: Headers,
    pub(crate) deadline: Option<Instant>,
}

impl CallInfo {
    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The service.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The method.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The other end. For an inbound call that is the caller's own word.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Whether it wants no answer.
    pub fn is_one_way(&self) -> bool {
        self.is_one_way
    }

    /// The metadata of the request.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The same, to be changed: what is sent, or what the handler sees.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// When the call ends, on the runtime's monotonic clock.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends the call at `deadline`, if it would not end earlier. For an inbound call this is what
    /// the handler sees and its nested calls keep to; it does not end the handler itself.
    pub fn shorten(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |old| old.min(deadline)));
    }
}

type List = Vec<Arc<dyn Interceptor>>;

/// The interceptors of one side of a node's calls, and the spans of those calls.
pub(crate) struct Chain {
    role: Role,
    /// Looked at by every call, and all that calls see of interceptors where there are none.
    has_any: AtomicBool,
    list: ArcSwapOption<List>,
    writer: Mutex<()>,
    ids: Arc<TraceIds>,
    runtime: Arc<dyn Runtime>,
}

/// What a call continues with once it has passed its interceptors.
pub(crate) struct Passed {
    pub(crate) headers: Headers,
    pub(crate) deadline: Option<Instant>,
    /// The call's place in a trace, if it has one.
    pub(crate) trace: Option<TraceContext>,
}

impl Chain {
    pub(crate) fn new(role: Role, ids: Arc<TraceIds>, runtime: Arc<dyn Runtime>) -> Self {
        let (has_any, list) = (AtomicBool::new(false), ArcSwapOption::default());
        Self { role, has_any, list, writer: Mutex::default(), ids, runtime }
    }

    pub(crate) fn add(&self, interceptor: Arc<dyn Interceptor>) {
        // An interceptor's drop is user code: the list that is replaced goes after the lock.
        let _replaced = {
            let _writer = lock(&self.writer);
            let mut list = self.list.load().as_deref().cloned().unwrap_or_default();
            list.push(interceptor);
            let replaced = self.list.swap(Some(Arc::new(list)));
            self.has_any.store(true, Ordering::Release);
            replaced
        };
    }

    /// Whether a call has to [`enter`](Chain::enter): because there are interceptors, because
    /// somebody wants spans, or because it is part of the trace `parent`.
    pub(crate) fn is_watched(&self, parent: Option<&TraceContext>) -> bool {
        self.has_any.load(Ordering::Acquire) || parent.is_some() || trace::is_wanted()
    }

    /// Lets `call`, which began at `begun`, pass every interceptor, and opens its span. `parent` is
    /// the span that an outbound call is a child of; an inbound call's is in its headers.
    ///
    /// # Errors
    /// The status of the first interceptor that refused. It says that no handler has run.
    pub(crate) fn enter(
        &self,
        begun: Instant,
        call: CallInfo,
        parent: Option<TraceContext>,
    ) -> Result<(Entered, Passed), Status> {
        match self.role {
            // The interceptors first: one of them may name the trace in a header.
            Role::Outbound => {
                let refused = |status: Status| Status::unsent(status.code, status.message);
                let mut entered = self.pass(begun, call, Span::none()).map_err(refused)?;
                let CallInfo { service, method, peer, deadline, .. } = entered.call;
                let mut headers = entered.call.headers.clone();
                let names = (service, method, peer);
                entered.span = trace::call_span(&self.ids, parent, &mut headers, names);
                Ok((entered, Passed { headers, deadline, trace: parent }))
            }
            // The span first: what an interceptor logs belongs to it.
            Role::Inbound => {
                let refused = |status: Status| Status::never_ran(status.code, status.message);
                let names = (call.service, call.method, call.peer);
                let (span, trace) = trace::handler_span(&self.ids, &call.headers, names);
                let passed = span.clone().in_scope(|| self.pass(begun, call, span));
                let entered = passed.map_err(refused)?;
                let (headers, deadline) = (entered.call.headers.clone(), entered.call.deadline);
                Ok((entered, Passed { headers, deadline, trace }))
            }
        }
    }

    fn pass(&self, begun: Instant, call: CallInfo, span: Span) -> Result<Entered, Status> {
        let list = self.list.load_full();
        let runtime = self.runtime.clone();
        let mut entered = Entered { runtime, begun, call, list, passed: 0, span };
        while let Some(next) = entered.list.as_ref().and_then(|list| list.get(entered.passed)) {
            if let Err(status) = next.before(&mut entered.call) {
                let at = entered.runtime.now().mono;
                entered.finish(Err(&status), at);
                return Err(status);
            }
            entered.passed += 1;
        }
        Ok(entered)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.list.load().as_ref().map_or(0, |list| list.len()))
    }
}

/// A call that is past its interceptors. Dropped before [`Entered::finish`], it was cancelled.
pub(crate) struct Entered {
    runtime: Arc<dyn Runtime>,
    begun: Instant,
    call: CallInfo,
    /// `None` once the interceptors have heard of the end.
    list: Option<Arc<List>>,
    /// How many of the list have still to hear of the end.
    passed: usize,
    span: Span,
}

impl Entered {
    /// The call's span, for what the call does.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Reports how the call ended to the interceptors that it passed, the last one first, and to
    /// its span.
    pub(crate) fn finish(&mut self, result: Result<(), &Status>, at: Instant) {
        if let Err(status) = result {
            self.span.record("status", tracing::field::debug(status.code));
        }
        // An entry without interceptors has none to report to.
        let Some(list) = self.list.take() else { return };
        let took = at.since(self.begun);
        let report = || {
            let passed = list[..self.passed].iter().rev();
            passed.for_each(|passed| passed.after(&self.call, result, took));
        };
        self.span.in_scope(report);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.list.is_some() {
            let status = Status::new(Code::Cancelled, "");
            let at = self.runtime.now().mono;
            // This may be a handler's panic on its way: one more would end the process.
            if catch_unwind(AssertUnwindSafe(|| self.finish(Err(&status), at))).is_err() {
                tracing::error!(target: "chinwag::call", "an interceptor panicked while its call was dropped");
            }
        }
    }
}
