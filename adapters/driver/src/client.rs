//! [`Client`]: calls to one service of one member.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::id::NodeId;
use chinwag_core::membership::Destination;
use chinwag_core::rpc::{Code, Fingerprint, Headers, HeadersError, Request, RequestError, Shape, Status};
use chinwag_core::time::{Instant, Now};

use crate::context::{Caller, Context, Given};
use crate::limits::{CALL_ATTEMPTS_MAX, CALL_TIMEOUT_DEFAULT};
use crate::link::{Link, Outcome};
use crate::links::NoLink;
use crate::message::{Message, encode};
use crate::runtime::Alarm;
use crate::service::{Handler, Incoming, Service};
use crate::shared::Shared;
use crate::view::View;

/// Calls to the service `S` of one member. Cheap to make, to clone and to change; it holds no connection and does not
/// keep the node alive.
///
/// The connection is the node's, shared by all clients and used both ways. It is opened by the first call that needs it.
pub struct Client<S> {
    shared: Arc<Shared>,
    peer: NodeId,
    limit: Limit,
    headers: Headers,
    service: PhantomData<fn() -> S>,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    Timeout(Option<Duration>),
    /// The earlier of this and the default timeout.
    Deadline(Instant),
}

/// One request, ready to go.
struct Outgoing {
    service: &'static str,
    method: &'static str,
    fingerprint: Fingerprint,
    body: Bytes,
}

impl<S> Client<S> {
    pub(crate) fn new(shared: Arc<Shared>, peer: NodeId) -> Self {
        let limit = Limit::Timeout(Some(CALL_TIMEOUT_DEFAULT));
        Self { shared, peer, limit, headers: Headers::new(), service: PhantomData }
    }

    /// The member that is called.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// How long each call may take, connecting included; it travels with the call. Default
    /// [`CALL_TIMEOUT_DEFAULT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limit = Limit::Timeout(Some(timeout));
        self
    }

    /// Calls wait until the peer answers or is gone, however long that takes.
    #[must_use]
    pub fn without_timeout(mut self) -> Self {
        self.limit = Limit::Timeout(None);
        self
    }

    /// Calls end at `deadline`, or after the default timeout if that is sooner.
    #[must_use]
    pub fn until(mut self, deadline: Instant) -> Self {
        self.limit = Limit::Deadline(deadline);
        self
    }

    /// Adds metadata to each call.
    ///
    /// # Errors
    /// [`HeadersError`] when the key is empty or long, or all of it is more than 32 KiB.
    pub fn header(mut self, key: &str, value: &[u8]) -> Result<Self, HeadersError> {
        self.headers.push(key, value)?;
        Ok(self)
    }
}

impl<S: Service> Client<S> {
    /// Calls, and waits for the answer. Dropping the future cancels the call, which the handler feels.
    ///
    /// # Errors
    /// A [`Status`]: the handler's own, or what kept the call from it. [`Status::may_have_run`] says whether the handler may have.
    pub async fn call<M: Message>(&self, message: &M) -> Result<View<M::Reply>, Status>
    where
        S: Handler<M>,
    {
        self.call_with_headers(message).await.map(|(_headers, reply)| reply)
    }

    /// [`Client::call`], with the metadata of the answer.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_with_headers<M: Message>(
        &self,
        message: &M,
    ) -> Result<(Headers, View<M::Reply>), Status>
    where
        S: Handler<M>,
    {
        let outgoing = outgoing::<S, M>(message)?;
        let (headers, reply) = self.send(outgoing).await?;
        match View::new(reply) {
            Ok(reply) => Ok((headers, reply)),
            Err(malformed) => Err(Status::new(Code::Internal, format!("{malformed} (the reply)"))),
        }
    }

    /// Sends a message that is not answered. `Ok` says that it was queued: it is handled at most once, or never if the
    /// connection ends first.
    ///
    /// # Errors
    /// A [`Status`] that tells why it was not queued.
    pub fn one_way<M: Message>(&self, message: &M) -> Result<(), Status>
    where
        S: Handler<M>,
    {
        let outgoing = outgoing::<S, M>(message)?;
        let now = self.shared.runtime.now();
        let deadline = self.deadline(now);
        if self.peer == self.shared.id {
            let answer = self.begin_locally(now, outgoing, deadline)?;
            self.shared.runtime.spawn(Box::pin(async move {
                if let Err(status) = answer.await {
                    tracing::debug!(%status, "a one-way message failed");
                }
            }));
            return Ok(());
        }
        for _ in 0..CALL_ATTEMPTS_MAX {
            let link = self.link(now)?;
            match link.one_way(now, self.request(now, &outgoing, deadline)) {
                Ok(()) => return Ok(()),
                Err(RequestError::GoingAway | RequestError::Closed) => link.retire(),
                Err(error) => return Err(refused(error)),
            }
        }
        Err(Status::unsent(Code::Unavailable, "every connection was going away"))
    }

    async fn send(&self, outgoing: Outgoing) -> Outcome {
        self.shared.counters.calls_out.add(1);
        let begun = self.shared.runtime.now();
        let deadline = self.deadline(begun);
        if self.peer == self.shared.id {
            return self.call_locally(begun, outgoing, deadline).await;
        }
        let _outstanding = self.shared.board.outstanding(self.peer);
        for _ in 0..CALL_ATTEMPTS_MAX {
            let now = self.shared.runtime.now();
            let link = self.link(now)?;
            match link.call(&self.shared, now, self.request(now, &outgoing, deadline)) {
                Ok(call) => match call.await {
                    // The peer turned it away because this connection is going away: certainly not run, so ask on another.
                    Err(status)
                        if status.code == Code::Unavailable
                            && !status.may_have_run()
                            && link.is_leaving() => {}
                    outcome => return outcome,
                },
                Err(RequestError::GoingAway | RequestError::Closed) => link.retire(),
                Err(error) => return Err(refused(error)),
            }
        }
        Err(Status::unsent(Code::Unavailable, "every connection was going away"))
    }

    fn deadline(&self, now: Now) -> Option<Instant> {
        match self.limit {
            Limit::Timeout(timeout) => timeout.map(|timeout| now.mono + timeout),
            Limit::Deadline(deadline) => Some(deadline.min(now.mono + CALL_TIMEOUT_DEFAULT)),
        }
    }

    fn request<'a>(&self, now: Now, outgoing: &'a Outgoing, deadline: Option<Instant>) -> Request<'a> {
        Request {
            service: outgoing.service,
            method: outgoing.method,
            fingerprint: outgoing.fingerprint,
            headers: self.headers.clone(),
            deadline: deadline.map(|deadline| deadline.since(now.mono)),
            body: outgoing.body.clone().into(),
            attachments: &[],
            shape: Shape::UNARY,
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

    /// A call to the node itself: no socket, the same handler. It runs in the caller's own future, so that dropping that
    /// one drops the handler.
    async fn call_locally(&self, now: Now, outgoing: Outgoing, deadline: Option<Instant>) -> Outcome {
        let mut answer = pin!(self.begin_locally(now, outgoing, deadline)?);
        let mut alarm = Alarm::new(&*self.shared.runtime);
        poll_fn(|cx| {
            if let Poll::Ready(result) = answer.as_mut().poll(cx) {
                return Poll::Ready(result.map(|reply| (Headers::new(), reply)));
            }
            if alarm.poll(cx, deadline).is_ready() {
                return Poll::Ready(Err(Status::new(Code::DeadlineExceeded, "")));
            }
            Poll::Pending
        })
        .await
    }

    fn begin_locally(
        &self,
        now: Now,
        outgoing: Outgoing,
        deadline: Option<Instant>,
    ) -> Result<crate::service::Answer, Status> {
        if self.shared.is_closed() {
            return Err(Status::unsent(Code::Unavailable, "this node has shut down"));
        }
        let caller = Caller { id: self.shared.id, epoch: self.shared.epoch(), addr: self.shared.addr };
        let given =
            Given { deadline, headers: self.headers.clone(), stamp: self.shared.clock.tick(now.wall) };
        let cx = Context::new(self.shared.clone(), caller, given);
        let Outgoing { service, method, fingerprint, body } = outgoing;
        self.shared.registry.begin(Incoming { service, method, fingerprint }, cx, body)
    }
}

fn outgoing<S: Service, M: Message>(message: &M) -> Result<Outgoing, Status> {
    match encode(message) {
        Ok(body) => Ok(Outgoing { service: S::NAME, method: M::NAME, fingerprint: M::FINGERPRINT, body }),
        Err(error) => Err(Status::unsent(Code::Internal, format!("request not encoded: {error}"))),
    }
}

/// Why the connection did not take a request: nothing of it was sent.
fn refused(error: RequestError) -> Status {
    let code = match error {
        RequestError::Full | RequestError::Overloaded | RequestError::TooManyMethods => Code::Overloaded,
        RequestError::TooLarge | RequestError::HeadersTooLarge => Code::TooLarge,
        RequestError::Name => Code::UnknownMethod,
        RequestError::GoingAway | RequestError::Closed => Code::Unavailable,
    };
    Status::unsent(code, error.to_string())
}

impl<S> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            peer: self.peer,
            limit: self.limit,
            headers: self.headers.clone(),
            service: PhantomData,
        }
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("peer", &self.peer).field("limit", &self.limit).finish_non_exhaustive()
    }
}
