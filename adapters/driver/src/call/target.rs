//! [`Target`]: how a call is made, its types forgotten. [`Client`](crate::Client) is the face of it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::id::NodeId;
use chinwag_core::membership::Destination;
use chinwag_core::rpc::config::COPY_LEN_MAX;
use chinwag_core::rpc::{
    Body, Code, Fingerprint, Headers, MethodName, Request, RequestError, Shape, Status,
};
use chinwag_core::time::{Instant, Now};
use tracing::Instrument;

use crate::base::limits::CALL_ATTEMPTS_MAX;
use crate::base::owned_task::OwnedTask;
use crate::base::runtime::Alarm;
use crate::link::handle::{Call, Ended, Link};
use crate::link::stream_halves::End;
use crate::link::streams::Port;
use crate::link::table::NoLink;
use crate::message::answer::HandlerFuture;
use crate::serve::begin;
use crate::serve::context::{Caller, InboundRequest};
use crate::serve::registry::shaped;
use crate::serve::shared::Shared;
use crate::stats::counters::Role;
use crate::stats::interceptor::{CallInfo, Entered};
use crate::stats::meter::{Measured, Meter, ServiceMeters};
use crate::stats::trace::TraceContext;

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
    /// Who calls, among the callers of this node: those whose calls wait take turns.
    pub(crate) caller: u64,
    /// The span whose children the calls are.
    pub(crate) trace: Option<TraceContext>,
    /// Of the service that is called; looked up once, by the first call.
    meters: OnceLock<Arc<ServiceMeters>>,
}

/// One request, ready to go.
#[derive(Clone)]
pub(crate) struct OutboundRequest {
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

impl OutboundRequest {
    pub(crate) fn len(&self) -> usize {
        self.body.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What came back.
pub(crate) struct ReplyParts {
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) attachments: Vec<Bytes>,
}

impl Target {
    /// For calls of `caller`, a number of [`Shared::next_caller`].
    pub(crate) fn new(shared: Arc<Shared>, peer: NodeId, caller: u64) -> Self {
        let timeout = Some(shared.call_timeout);
        Self {
            shared,
            peer,
            timeout,
            deadline: None,
            headers: Headers::new(),
            depth: 0,
            caller,
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

    pub(crate) fn meter(&self, request: &OutboundRequest) -> &Arc<Meter> {
        self.meters.get_or_init(|| self.shared.meters.of(request.service)).of(request.method)
    }

    /// Lets `request` pass the interceptors of outbound calls and opens its span, if there is
    /// anything to pass or somebody wants spans. Returns the deadline that the call then has.
    ///
    /// # Errors
    /// The status of the interceptor that refused. Nothing was sent.
    pub(crate) fn enter(
        &self,
        begun: Instant,
        request: &mut OutboundRequest,
        deadline: Option<Instant>,
        is_one_way: bool,
    ) -> Result<(Option<Entered>, Option<Instant>), Status> {
        if !self.is_watched() {
            return Ok((None, deadline));
        }
        let call = CallInfo {
            role: Role::Outbound,
            service: request.service,
            method: request.method,
            peer: self.peer,
            is_one_way,
            headers: std::mem::take(&mut request.headers),
            deadline,
        };
        let (entered, passed) = self.shared.outbound.enter(begun, call, self.trace)?;
        request.headers = passed.headers;
        Ok((Some(entered), passed.deadline))
    }

    fn is_watched(&self) -> bool {
        self.shared.outbound.is_watched(self.trace.as_ref())
    }

    // ---- calls ----

    /// Calls, and counts it.
    pub(crate) async fn send(&self, request: OutboundRequest) -> Result<ReplyParts, Status> {
        let shared = &*self.shared;
        let begun = shared.node.runtime.now();
        let deadline = self.deadline(begun.mono);
        let meter = self.meter(&request);
        let measured = Measured::begin(meter, &*shared.node.runtime, begun.mono);
        meter.sent(request.len());
        let (at, response) = if self.is_watched() {
            // Boxed, so that calls which nobody watches do not carry the room for it.
            Box::pin(self.transfer_watched(begun, deadline, request)).await
        } else {
            self.transfer(begun, deadline, &request).await
        };
        measured.end(response.error(), at);
        meter.received(response.len());
        let (headers, attachments, body) = response.into_parts()?;
        Ok(ReplyParts { headers, body, attachments })
    }

    /// [`Target::transfer`] inside of interceptors and a span.
    async fn transfer_watched(
        &self,
        begun: Now,
        deadline: Option<Instant>,
        mut request: OutboundRequest,
    ) -> Ended {
        let (entered, deadline) = match self.enter(begun.mono, &mut request, deadline, false) {
            Ok(entered) => entered,
            Err(status) => return (self.shared.node.runtime.now().mono, status.into()),
        };
        let Some(mut entered) = entered else {
            return self.transfer(begun, deadline, &request).await;
        };
        let span = entered.span().clone();
        let (at, response) = self.transfer(begun, deadline, &request).instrument(span).await;
        entered.finish(response.result.as_ref().map(drop), at);
        (at, response)
    }

    async fn transfer(
        &self,
        begun: Now,
        deadline: Option<Instant>,
        request: &OutboundRequest,
    ) -> Ended {
        let ended = if self.peer == self.shared.node.id {
            self.call_locally(begun, request, deadline).await
        } else {
            self.call_remotely(begun, request, deadline).await
        };
        ended.unwrap_or_else(|status| (self.shared.node.runtime.now().mono, status.into()))
    }

    /// One call, over as many connections as it takes while it is certain that no handler has seen
    /// it.
    async fn call_remotely(
        &self,
        mut now: Now,
        request: &OutboundRequest,
        deadline: Option<Instant>,
    ) -> Result<Ended, Status> {
        let _outstanding = self.shared.board.outstanding(self.peer);
        let mut turned_away = 0;
        loop {
            let mut call = self.place(now, request, deadline, Streams::NONE).await?;
            let (at, response) = (&mut call).await;
            match &response.result {
                // The peer turned it away because this connection is going away. It has certainly
                // not run, so it is sent on another connection.
                Err(status)
                    if status.code == Code::Unavailable
                        && !status.may_have_run()
                        && call.is_leaving()
                        && turned_away < CALL_ATTEMPTS_MAX =>
                {
                    turned_away += 1;
                }
                // The call was made before the peer's hello, which says what it takes.
                Err(status) if status.code == Code::TooLarge && status.never_sent() => {
                    return Ok((at, self.too_large(call.link(), request).into()));
                }
                _ => return Ok((at, response)),
            }
            now = self.shared.node.runtime.now();
        }
    }

    /// Hands a call to a connection, which sends it when there is room for it.
    pub(crate) async fn place(
        &self,
        mut now: Now,
        request: &OutboundRequest,
        deadline: Option<Instant>,
        Streams { shape, chunk_len_max, port }: Streams<'_>,
    ) -> Result<Call, Status> {
        for _ in 0..CALL_ATTEMPTS_MAX {
            let link = self.link(now)?;
            let begun = poll_fn(|cx| {
                // Whoever opens a stream does not wait for its answer at once.
                let waker = port.is_none().then_some(cx.waker());
                let request = self.wire_request(now, request, deadline);
                let request = Request { shape, chunk_len_max, ..request };
                Poll::Ready(link.begin(now, request, port, waker))
            });
            match begun.await {
                Ok(begun) => return Ok(Call::new(link, begun)),
                Err(RequestError::GoingAway | RequestError::Closed) => link.retire(),
                Err(error) => return Err(self.refused(Some(&link), request, error)),
            }
            now = self.shared.node.runtime.now();
        }
        Err(self.no_connection())
    }

    fn wire_request<'a>(
        &self,
        now: Now,
        request: &'a OutboundRequest,
        deadline: Option<Instant>,
    ) -> Request<'a> {
        Request {
            service: request.service,
            method: request.method,
            fingerprint: request.fingerprint,
            headers: request.headers.clone(),
            deadline: deadline.map(|deadline| deadline.since(now.mono)),
            // A short one is copied anyway.
            body: match request.body.len() {
                0..=COPY_LEN_MAX => Body::Borrowed(&request.body),
                _ => Body::Owned(request.body.clone()),
            },
            attachments: &request.attachments,
            shape: Shape::UNARY,
            chunk_len_max: 0,
            depth: self.depth,
            caller: self.caller,
        }
    }

    /// The connection to the peer: the one there is, or a new one to where membership says it is.
    fn link(&self, now: Now) -> Result<Arc<Link>, Status> {
        if let Some(link) = self.shared.links.find(self.peer) {
            return Ok(link);
        }
        let members = self.shared.board.members();
        let Some(member) = members.get(self.peer) else {
            return Err(self.not_a_member(members.members().len()));
        };
        let to = Destination { addr: member.addr, id: Some(self.peer) };
        self.shared.links.find_or_dial(now, to).map_err(|error| match error {
            NoLink::Closed => Status::unsent(Code::Unavailable, "this node has shut down"),
            NoLink::TooMany => Status::unsent(Code::Overloaded, "too many connections are open"),
        })
    }

    // ---- one-way messages ----

    pub(crate) fn one_way(&self, mut request: OutboundRequest) -> Result<(), Status> {
        let now = self.shared.node.runtime.now();
        let deadline = self.deadline(now.mono);
        let (entered, deadline) = self.enter(now.mono, &mut request, deadline, true)?;
        let Some(mut entered) = entered else {
            return self.queue_one_way(now, deadline, &request);
        };
        let result = entered.span().in_scope(|| self.queue_one_way(now, deadline, &request));
        entered.finish(result.as_ref().map(drop), self.shared.node.runtime.now().mono);
        result
    }

    fn queue_one_way(
        &self,
        now: Now,
        deadline: Option<Instant>,
        request: &OutboundRequest,
    ) -> Result<(), Status> {
        let meter = self.meter(request);
        let result = match self.peer == self.shared.node.id {
            true => self.one_way_locally(now, request, deadline),
            false => self.one_way_remotely(now, request, deadline),
        };
        meter.one_way();
        match &result {
            Ok(()) => meter.sent(request.len()),
            Err(status) => meter.failed(status.code),
        }
        result
    }

    fn one_way_remotely(
        &self,
        now: Now,
        request: &OutboundRequest,
        deadline: Option<Instant>,
    ) -> Result<(), Status> {
        for _ in 0..CALL_ATTEMPTS_MAX {
            let link = self.link(now)?;
            match link.one_way(now, self.wire_request(now, request, deadline)) {
                Ok(()) => return Ok(()),
                Err(RequestError::GoingAway | RequestError::Closed) => link.retire(),
                Err(error) => return Err(self.refused(Some(&link), request, error)),
            }
        }
        Err(self.no_connection())
    }

    // ---- calls of the node to itself ----

    /// No socket, the same handler. It runs in the caller's own future, so that dropping that one
    /// drops the handler.
    async fn call_locally(
        &self,
        now: Now,
        request: &OutboundRequest,
        deadline: Option<Instant>,
    ) -> Result<Ended, Status> {
        let (future, meter) =
            self.begin_locally(now, request, deadline, false, (Shape::UNARY, None))?;
        let runtime = &*self.shared.node.runtime;
        let measured = Measured::begin(&meter, runtime, now.mono);
        let mut future = pin!(future);
        let mut alarm = Alarm::new(runtime);
        let mut registration = self.shared.node.life.owned.registration();
        let response = poll_fn(|cx| {
            if let Poll::Ready(response) = future.as_mut().poll(cx) {
                return Poll::Ready(response);
            }
            if alarm.poll(cx, deadline).is_ready() {
                return Poll::Ready(Status::new(Code::DeadlineExceeded, "").into());
            }
            // Registered before the node is looked at, so that its end is not missed.
            registration.register(cx.waker());
            if self.shared.node.life.is_closed() {
                // Not `Unavailable`, which says that no handler has run: this one has begun.
                return Poll::Ready(Status::new(Code::Cancelled, "this node has shut down").into());
            }
            Poll::Pending
        })
        .await;
        meter.sent(response.len());
        let at = runtime.now().mono;
        measured.end(response.error(), at);
        Ok((at, response))
    }

    fn one_way_locally(
        &self,
        now: Now,
        request: &OutboundRequest,
        deadline: Option<Instant>,
    ) -> Result<(), Status> {
        let begun = self.begin_locally(now, request, deadline, true, (Shape::UNARY, None));
        let (future, meter) = match begun {
            // No error, as over a connection: the message is dropped.
            Err(status) if status.code == Code::DeadlineExceeded => return Ok(()),
            begun => begun?,
        };
        meter.one_way();
        let handled = async move {
            if let Err(status) = future.await.result {
                meter.failed(status.code);
                tracing::debug!(target: "chinwag::call", %status, "a one-way message failed");
            }
        };
        OwnedTask::spawn(&self.shared.node, Box::pin(handled));
        Ok(())
    }

    pub(crate) fn begin_locally(
        &self,
        now: Now,
        request: &OutboundRequest,
        deadline: Option<Instant>,
        is_one_way: bool,
        (shape, end): (Shape, Option<End>),
    ) -> Result<(HandlerFuture, Arc<Meter>), Status> {
        let shared = &self.shared;
        if shared.node.life.is_closed() {
            return Err(Status::unsent(Code::Unavailable, "this node has shut down"));
        }
        // In the order of a connection's checks: what is too large is so whatever the deadline.
        self.check_local(request)?;
        if deadline.is_some_and(|at| at <= now.mono) {
            let why = "the deadline had passed when the call was made";
            return Err(Status::unsent(Code::DeadlineExceeded, why));
        }
        let &OutboundRequest { service, method, fingerprint, .. } = request;
        let endpoint =
            shaped(shared.registry.find(MethodName { service, method, fingerprint })?, shape)?;
        let meter = endpoint.meter().clone();
        meter.received(request.len());
        let caller =
            Caller { id: shared.node.id, epoch: shared.node.epoch(), addr: shared.node.addr };
        let stamp = shared.node.clock.tick(now.wall);
        let headers = request.headers.clone();
        let attachments = request.attachments.clone();
        let depth = self.depth;
        let inbound = InboundRequest {
            deadline,
            headers,
            attachments,
            stamp,
            is_one_way,
            depth,
            trace: None,
        };
        Ok((begin::begin(shared, endpoint, caller, inbound, request.body.clone(), end), meter))
    }
}
