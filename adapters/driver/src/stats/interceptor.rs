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

use crate::base::sync::lock;
use crate::serve::shared::Shared;
use crate::stats::counters::Role;

/// Around every call: authentication, metrics, context of the program's own.
///
/// Several are nested: the first one added sees a call first, and its end last. As the caller's, it
/// is around all that a call does, waiting for a connection included; as the callee's, around the
/// handler, in the handler's task.
///
/// ```
/// use chinwag::{CallInfo, Code, Interceptor, Status};
///
/// struct Token(&'static [u8]);
///
/// /// Added with `Role::Caller`, it sends the token.
/// struct Send(Token);
/// impl Interceptor for Send {
///     fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
///         call.headers_mut().push("token", self.0.0).map_err(|error| Status::new(Code::TooLarge, error.to_string()))
///     }
/// }
///
/// /// Added with `Role::Callee`, it asks for it.
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

    /// The other end. At the callee, without security, that is the caller's own word.
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

    /// Ends the call at `deadline`, if it would not end earlier. At the callee this is what the
    /// handler sees and its nested calls keep to; it does not end the handler itself.
    pub fn shorten(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |old| old.min(deadline)));
    }
}

type List = Vec<Arc<dyn Interceptor>>;

/// The interceptors of one end.
#[derive(Default)]
pub(crate) struct Chain {
    /// Looked at by every call, and all that calls see of interceptors where there are none.
    has_any: AtomicBool,
    list: ArcSwapOption<List>,
    writer: Mutex<()>,
}

impl Chain {
    pub(crate) fn add(&self, interceptor: Arc<dyn Interceptor>) {
        let _writer = lock(&self.writer);
        let mut list = self.list.load().as_deref().cloned().unwrap_or_default();
        list.push(interceptor);
        self.list.store(Some(Arc::new(list)));
        self.has_any.store(true, Ordering::Release);
    }

    pub(crate) fn has_any(&self) -> bool {
        self.has_any.load(Ordering::Acquire)
    }

    /// Lets `call` pass every interceptor, or ends it at the first that refuses.
    pub(crate) fn enter(
        &self,
        shared: &Arc<Shared>,
        begun: Instant,
        call: CallInfo,
    ) -> Result<Entered, Status> {
        let list = self.list.load_full();
        let mut entered = Entered { shared: shared.clone(), begun, call, list, passed: 0 };
        while let Some(next) = entered.list.as_ref().and_then(|list| list.get(entered.passed)) {
            if let Err(status) = next.before(&mut entered.call) {
                let at = entered.shared.runtime.now().mono;
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
    shared: Arc<Shared>,
    begun: Instant,
    pub(crate) call: CallInfo,
    list: Option<Arc<List>>,
    /// How many of the list have still to hear of the end.
    passed: usize,
}

impl Entered {
    pub(crate) fn finish(&mut self, result: Result<(), &Status>, at: Instant) {
        let Some(list) = self.list.take() else { return };
        let took = at.since(self.begun);
        list[..self.passed].iter().rev().for_each(|passed| passed.after(&self.call, result, took));
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.list.is_some() {
            let status = Status::new(Code::Cancelled, "");
            let at = self.shared.runtime.now().mono;
            // This may be a handler's panic on its way: one more would end the process.
            if catch_unwind(AssertUnwindSafe(|| self.finish(Err(&status), at))).is_err() {
                tracing::error!("an interceptor panicked while its call was dropped");
            }
        }
    }
}
