//! [`Target`]: how a call is made, its types forgotten. [`Client`](crate::Client) is the face of it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::id::NodeId;
use chinwag_core::membership::Destination;
use chinwag_core::rpc::config::{ATTACHMENTS_MAX, COPY_LEN_MAX};
use chinwag_core::rpc::{
    Body, Code, Fingerprint, Headers, MethodName, Request, RequestError, Shape, Status,
};
use chinwag_core::time::{Instant, Now};
use tracing::Instrument;

use crate::base::limits::CALL_ATTEMPTS_MAX;
use crate::base::runtime::Alarm;
use crate::link::handle::{Call, Ended, Link};
use crate::link::stream_halves::End;
use crate::link::streams::Port;
use crate::link::table::NoLink;
use crate::serve::begin;
use crate::serve::context::{Caller, Given};
use crate::serve::owned_task::OwnedTask;
use crate::serve::registry::{Answer, shaped};
use crate::serve::shared::Shared;
use crate::stats::counters::Role;
use crate::stats::interceptor::CallInfo;
use crate::stats::meter::{Measured, Meter, ServiceMeters};
use crate::stats::trace::{self, TraceContext};

/// Whom to call, and how.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: NodeId,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) headers: Headers,
    /// Calls around these: 0 if no handler makes them.
    pub(crate) depth: u8,
    /// The span whose children the calls are.
    pub(crate) trace: Option<TraceContext>,
    /// Of the service that is called; looked up once, by the first call.
    meters: OnceLock<Arc<ServiceMeters>>,
}

/// One request, ready to go.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) attachments: Vec<Bytes>,
}

/// The streams that a call opens.
#[derive(Clone, Copy)]
pub(crate) struct Streams<'a> {
    pub(crate) shape: Shape,
    /// Bytes of its largest chunk.
    pub(crate) chunk_len_max: u32,
    /// Where what comes is waited for; `None` for a call without streams.
    pub(crate) port: Option<&'a Arc<Port>>,
}

impl Streams<'_> {
    /// Those of a unary call.
    const NONE: Self = Self { shape: Shape::UNARY, chunk_len_max: 0, port: None };
}

impl Outgoing {
    pub(crate) fn len(&self) -> usize {
        self.body.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What came back.
pub(crate) struct Arrived {
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) attachments: Vec<Bytes>,
}

impl Target {
    pub(crate) fn new(shared: Arc<Shared>, peer: NodeId) -> Self {
        let timeout = Some(shared.call_timeout);
        Self {
            shared,
            peer,
            timeout,
            deadline: None,
            headers: Headers::new(),
            depth: 0,
            trace: None,
            meters: OnceLock::new(),
        }
    }

    /// The same for another member.
    pub(crate) fn at(&self, peer: NodeId) -> Self {
        Self { peer, ..self.clone() }
    }

    pub(crate) fn until(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |old| old.min(deadline)));
    }

    /// When a call made now ends.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let timeout = self.timeout.map(|timeout| now + timeout);
        [timeout, self.deadline].into_iter().flatten().min()
    }

    pub(crate) fn meter(&self, outgoing: &Outgoing) -> &Arc<Meter> {
        self.meters.get_or_init(|| self.shared.meters.of(outgoing.service)).of(outgoing.method)
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.shared.called.has_any() || self.trace.is_some() || trace::is_wanted()
    }

    // ---- calls ----

    /// Calls, and counts it.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Arrived, Status> {
        let shared = &*self.shared;
        let begun = shared.runtime.now();
        let deadline = self.deadline(begun.mono);
        let meter = self.meter(&outgoing);
        let measured = Measured::begin(meter, &*shared.runtime, begun.mono);
        meter.sent(outgoing.len());
        let (at, answered) = if self.is_watched() {
            // Boxed, so that calls which nobody watches do not carry the room for it.
            Box::pin(self.transfer_watched(begun, deadline, outgoing)).await
        } else {
            self.transfer(begun, deadline, &outgoing).await
        };
        measured.end(answered.error(), at);
        meter.received(answered.len());
        let (headers, attachments, body) = answered.into_parts()?;
        Ok(Arrived { headers, body, attachments })
    }

    /// [`Target::transfer`] inside of interceptors and a span.
    async fn transfer_watched(
        &self,
        begun: Now,
        deadline: Option<Instant>,
        mut outgoing: Outgoing,
    ) -> Ended {
        let shared = &self.shared;
        let call = self.call_info(&mut outgoing, deadline, false);
        let (service, method) = (outgoing.service, outgoing.method);
        let mut entered = match shared.called.enter(shared, begun.mono, call) {
            Ok(entered) => entered,
            Err(status) => {
                // Whatever it says: nothing was sent.
                let status = Status::unsent(status.code, status.message);
                return (shared.runtime.now().mono, status.into());
            }
        };
        outgoing.headers = entered.call.headers.clone();
        let names = (service, method, self.peer);
        let span = trace::call_span(&shared.trace_ids, self.trace, &mut outgoing.headers, names);
        let transfer = self.transfer(begun, entered.call.deadline, &outgoing);
        let (at, answered) = transfer.instrument(span.clone()).await;
        if let Err(status) = &answered.result {
            span.record("status", tracing::field::debug(status.code));
        }
        entered.finish(answered.result.as_ref().map(drop), at);
        (at, answered)
    }

    pub(crate) fn call_info(
        &self,
        outgoing: &mut Outgoing,
        deadline: Option<Instant>,
        is_one_way: bool,
    ) -> CallInfo {
        CallInfo {
            role: Role::Caller,
            service: outgoing.service,
            method: outgoing.method,
            peer: self.peer,
            is_one_way,
            headers: std::mem::take(&mut outgoing.headers),
            deadline,
        }
    }

    async fn transfer(&self, begun: Now, deadline: Option<Instant>, outgoing: &Outgoing) -> Ended {
        let ended = if self.peer == self.shared.id {
            self.call_locally(begun, outgoing, deadline).await
        } else {
            self.call_remotely(begun, outgoing, deadline).await
        };
        ended.unwrap_or_else(|status| (self.shared.runtime.now().mono, status.into()))
    }

    /// One call, over as many connections as it takes while it is certain that no handler has seen
    /// it.
    async fn call_remotely(
        &self,
        mut now: Now,
        outgoing: &Outgoing,
        deadline: Option<Instant>,
    ) -> Result<Ended, Status> {
        let _outstanding = self.shared.board.outstanding(self.peer);
        let mut attempts = 0;
        loop {
            let placing = self.place(now, outgoing, deadline, Streams::NONE, &mut attempts);
            let mut call = placing.await?;
            let (at, answered) = (&mut call).await;
            match &answered.result {
                // The peer turned it away because this connection is going away: certainly not run,
                // so ask on another.
                Err(status)
                    if status.code == Code::Unavailable
                        && !status.may_have_run()
                        && call.is_leaving()
                        && attempts < CALL_ATTEMPTS_MAX => {}
                _ => return Ok((at, answered)),
            }
            now = self.shared.runtime.now();
        }
    }

    /// Hands a call to a connection, which sends it when there is room for it.
    pub(crate) async fn place(
        &self,
        mut now: Now,
        outgoing: &Outgoing,
        deadline: Option<Instant>,
        Streams { shape, chunk_len_max, port }: Streams<'_>,
        attempts: &mut usize,
    ) -> Result<Call, Status> {
        while *attempts < CALL_ATTEMPTS_MAX {
            *attempts += 1;
            let link = self.link(now)?;
            let begun = poll_fn(|cx| {
                // Whoever opens a stream does not wait for its answer at once.
                let waker = port.is_none().then_some(cx.waker());
                let request = self.request(now, outgoing, deadline);
                let request = Request { shape, chunk_len_max, ..request };
                Poll::Ready(link.begin(now, request, port, waker))
            });
            match begun.await {
                Ok(begun) => return Ok(Call::new(link, begun)),
                Err(RequestError::GoingAway | RequestError::Closed) => link.retire(),
                Err(error) => return Err(refused(error)),
            }
            now = self.shared.runtime.now();
        }
        Err(Status::unsent(Code::Unavailable, "every connection was going away"))
    }

    fn request<'a>(
        &self,
        now: Now,
        outgoing: &'a Outgoing,
        deadline: Option<Instant>,
    ) -> Request<'a> {
        Request {
            service: outgoing.service,
            method: outgoing.method,
            fingerprint: outgoing.fingerprint,
            headers: outgoing.headers.clone(),
            deadline: deadline.map(|deadline| deadline.since(now.mono)),
            // A short one is copied anyway.
            body: match outgoing.body.len() {
                0..=COPY_LEN_MAX => Body::Borrowed(&outgoing.body),
                _ => Body::Owned(outgoing.body.clone()),
            },
            attachments: &outgoing.attachments,
            shape: Shape::UNARY,
            chunk_len_max: 0,
            depth: self.depth,
        }
    }

    /// The connection to the peer: the one there is, or a new one to where membership says it is.
    fn link(&self, now: Now) -> Result<Arc<Link>, Status> {
        if let Some(link) = self.shared.links.find(self.peer) {
            return Ok(link);
        }
        let members = self.shared.board.members();
        let Some(member) = members.get(self.peer) else {
            return Err(Status::unsent(
                Code::Unavailable,
                format!("node {} is not a live member", self.peer),
            ));
        };
        let to = Destination { addr: member.addr, id: Some(self.peer) };
        self.shared.links.find_or_dial(&self.shared, now, to).map_err(|error| match error {
            NoLink::Closed => Status::unsent(Code::Unavailable, "this node has shut down"),
            NoLink::TooMany => Status::unsent(Code::Overloaded, "too many connections are open"),
        })
    }

    // ---- one-way messages ----

    pub(crate) fn one_way(&self, mut outgoing: Outgoing) -> Result<(), Status> {
        let now = self.shared.runtime.now();
        let mut deadline = self.deadline(now.mono);
        if !self.is_watched() {
            return self.queue_one_way(now, deadline, &outgoing);
        }
        let call = self.call_info(&mut outgoing, deadline, true);
        let (service, method) = (outgoing.service, outgoing.method);
        let refused = |status: Status| Status::unsent(status.code, status.message);
        let mut entered =
            self.shared.called.enter(&self.shared, now.mono, call).map_err(refused)?;
        outgoing.headers = entered.call.headers.clone();
        deadline = entered.call.deadline;
        let names = (service, method, self.peer);
        let span =
            trace::call_span(&self.shared.trace_ids, self.trace, &mut outgoing.headers, names);
        let result = span.in_scope(|| self.queue_one_way(now, deadline, &outgoing));
        entered.finish(result.as_ref().map(drop), self.shared.runtime.now().mono);
        result
    }

    fn queue_one_way(
        &self,
        now: Now,
        deadline: Option<Instant>,
        outgoing: &Outgoing,
    ) -> Result<(), Status> {
        let meter = self.meter(outgoing);
        let result = match self.peer == self.shared.id {
            true => self.one_way_locally(now, outgoing, deadline),
            false => self.one_way_remotely(now, outgoing, deadline),
        };
        meter.one_way();
        match &result {
            Ok(()) => meter.sent(outgoing.len()),
            Err(status) => meter.failed(status.code),
        }
        result
    }

    fn one_way_remotely(
        &self,
        now: Now,
        outgoing: &Outgoing,
        deadline: Option<Instant>,
    ) -> Result<(), Status> {
        for _ in 0..CALL_ATTEMPTS_MAX {
            let link = self.link(now)?;
            match link.one_way(now, self.request(now, outgoing, deadline)) {
                Ok(()) => return Ok(()),
                Err(RequestError::GoingAway | RequestError::Closed) => link.retire(),
                Err(error) => return Err(refused(error)),
            }
        }
        Err(Status::unsent(Code::Unavailable, "every connection was going away"))
    }

    // ---- calls of the node to itself ----

    /// No socket, the same handler. It runs in the caller's own future, so that dropping that one
    /// drops the handler.
    async fn call_locally(
        &self,
        now: Now,
        outgoing: &Outgoing,
        deadline: Option<Instant>,
    ) -> Result<Ended, Status> {
        let (answer, meter) =
            self.begin_locally(now, outgoing, deadline, false, (Shape::UNARY, None))?;
        let runtime = &*self.shared.runtime;
        let measured = Measured::begin(&meter, runtime, now.mono);
        let mut answer = pin!(answer);
        let mut alarm = Alarm::new(runtime);
        let mut registration = self.shared.owned.registration();
        let answered = poll_fn(|cx| {
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(answered);
            }
            if alarm.poll(cx, deadline).is_ready() {
                return Poll::Ready(Status::new(Code::DeadlineExceeded, "").into());
            }
            // Registered before the node is looked at, so that its end is not missed.
            registration.register(cx.waker());
            if self.shared.is_closed() {
                // Not `Unavailable`, which says that no handler has run: this one has begun.
                return Poll::Ready(Status::new(Code::Cancelled, "this node has shut down").into());
            }
            Poll::Pending
        })
        .await;
        meter.sent(answered.len());
        let at = runtime.now().mono;
        measured.end(answered.error(), at);
        Ok((at, answered))
    }

    fn one_way_locally(
        &self,
        now: Now,
        outgoing: &Outgoing,
        deadline: Option<Instant>,
    ) -> Result<(), Status> {
        let begun = self.begin_locally(now, outgoing, deadline, true, (Shape::UNARY, None));
        let (answer, meter) = match begun {
            // No error, as over a connection: the message is dropped.
            Err(status) if status.code == Code::DeadlineExceeded => return Ok(()),
            begun => begun?,
        };
        meter.one_way();
        let handled = async move {
            if let Err(status) = answer.await.result {
                meter.failed(status.code);
                tracing::debug!(%status, "a one-way message failed");
            }
        };
        OwnedTask::spawn(&self.shared, Box::pin(handled));
        Ok(())
    }

    pub(crate) fn begin_locally(
        &self,
        now: Now,
        outgoing: &Outgoing,
        deadline: Option<Instant>,
        is_one_way: bool,
        (shape, end): (Shape, Option<End>),
    ) -> Result<(Answer, Arc<Meter>), Status> {
        let shared = &self.shared;
        if shared.is_closed() {
            return Err(Status::unsent(Code::Unavailable, "this node has shut down"));
        }
        // In the order of a connection's checks: what is too large is so whatever the deadline.
        check_local(shared, outgoing)?;
        if deadline.is_some_and(|at| at <= now.mono) {
            let why = "the deadline had passed when the call was made";
            return Err(Status::unsent(Code::DeadlineExceeded, why));
        }
        let &Outgoing { service, method, fingerprint, .. } = outgoing;
        let endpoint =
            shaped(shared.registry.find(MethodName { service, method, fingerprint })?, shape)?;
        let meter = endpoint.meter().clone();
        meter.received(outgoing.len());
        let caller = Caller { id: shared.id, epoch: shared.epoch(), addr: shared.addr };
        let stamp = shared.clock.tick(now.wall);
        let headers = outgoing.headers.clone();
        let attachments = outgoing.attachments.clone();
        let given = Given {
            deadline,
            headers,
            attachments,
            stamp,
            is_one_way,
            depth: self.depth,
            trace: None,
        };
        Ok((begin::begin(shared, endpoint, caller, given, outgoing.body.clone(), end), meter))
    }
}

/// What a request of the node to itself must be to be taken: as to any other node of the same
/// configuration.
fn check_local(shared: &Shared, outgoing: &Outgoing) -> Result<(), Status> {
    let is_beyond = |len: usize, len_max: u32| u32::try_from(len).map_or(true, |len| len > len_max);
    if is_beyond(outgoing.len(), shared.rpc.message_len_max)
        || outgoing.attachments.len() > ATTACHMENTS_MAX
    {
        let (len, len_max) = (outgoing.len(), shared.rpc.message_len_max as usize);
        return Err(refused(RequestError::TooLarge { len, len_max }));
    }
    if is_beyond(outgoing.headers.encoded_len(), shared.rpc.headers_len_max) {
        let len = outgoing.headers.encoded_len();
        let len_max = shared.rpc.headers_len_max as usize;
        return Err(refused(RequestError::HeadersTooLarge { len, len_max }));
    }
    Ok(())
}

/// Why the connection did not take a request: nothing of it was sent.
fn refused(error: RequestError) -> Status {
    let code = match error {
        RequestError::Full | RequestError::TooManyMethods => Code::Overloaded,
        RequestError::TooLarge { .. }
        | RequestError::HeadersTooLarge { .. }
        | RequestError::ChunkTooLarge { .. } => Code::TooLarge,
        RequestError::Name => Code::UnknownMethod,
        RequestError::GoingAway | RequestError::Closed => Code::Unavailable,
    };
    Status::unsent(code, error.to_string())
}
