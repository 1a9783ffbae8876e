//! [`Client`]: calls to one service of one member.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use chinwag_core::id::NodeId;
use chinwag_core::rpc::{Code, Headers, HeadersError, Status};

use crate::call::options::call_options;
use crate::call::stream_call::{self, StreamCall};
use crate::call::target::{OutboundRequest, ReplyParts, Target};
use crate::message::method::{Body, Message, Method, Raw, Received, Streaming};
use crate::serve::service::{Handler, Service, StreamHandler};

/// Calls to the service `S` of one member. Cheap to make, to clone and to change; it holds no
/// connection and does not keep the node alive.
///
/// The connection is the node's, shared by all clients and used both ways. It is opened by the
/// first call that needs it. When as many calls are open on it as the peer accepts, further ones
/// wait until their deadlines, and callers take turns. A client and its clones are one caller,
/// whose calls begin in order.
pub struct Client<S> {
    target: Target,
    service: PhantomData<fn() -> S>,
}

call_options!(Client);

impl<S> Client<S> {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, service: PhantomData }
    }

    /// The member that is called.
    pub fn peer(&self) -> NodeId {
        self.target.peer
    }
}

impl<S: Service> Client<S> {
    /// Calls, and waits for the answer. Dropping the future cancels the call, which the handler
    /// feels.
    ///
    /// # Errors
    /// A [`Status`]: the handler's own, or what kept the call from it. [`Status::may_have_run`]
    /// says whether the handler may have.
    pub async fn call<M: Message>(&self, message: &M) -> Result<Received<M::Reply>, Status>
    where
        S: Handler<M>,
    {
        let arrived = self.target.send(self.outbound::<M>(message)?).await?;
        receive::<M>(arrived.body)
    }

    /// [`Client::call`] of a method whose request is [`Raw`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_raw<M: Method<Request = Raw>>(
        &self,
        body: impl Into<Raw>,
    ) -> Result<Received<M::Reply>, Status>
    where
        S: Handler<M>,
    {
        let arrived = self.target.send(self.outbound::<M>(&body.into())?).await?;
        receive::<M>(arrived.body)
    }

    /// A call with more to it: metadata of its own, and that of the answer.
    ///
    /// ```
    /// # use chinwag::{Client, Context, Handler, Message, Methods, Reply, Service, Status, View};
    /// # #[derive(rkyv::Archive, rkyv::Serialize)]
    /// # struct Hello;
    /// # impl Message for Hello { type Reply = (); const NAME: &'static str = "hello"; }
    /// # struct Greeter;
    /// # impl Service for Greeter { const NAME: &'static str = "greeter"; fn methods(_: &mut Methods<Self>) {} }
    /// # impl Handler<Hello> for Greeter {
    /// #     async fn handle(&self, _: &Context, _: View<Hello>) -> Result<(), Status> { Ok(()) }
    /// # }
    /// # async fn example(greeter: Client<Greeter>) -> Result<(), Box<dyn std::error::Error>> {
    /// let reply = greeter.request::<Hello>(&Hello).header("token", b"secret")?.send().await?;
    /// let cost = reply.headers.get("cost");
    /// # Ok(())
    /// # }
    /// ```
    pub fn request<'a, M: Method>(&'a self, body: &'a M::Request) -> Request<'a, S, M>
    where
        S: Handler<M>,
    {
        Request {
            client: self,
            body,
            headers: self.target.headers.clone(),
            attachments: Vec::new(),
            method: PhantomData,
        }
    }

    /// Sends a message that is not answered. `Ok` says that it was queued: it is handled at most
    /// once, or never if the connection ends first. It does not wait: when too much is queued
    /// it is an `Overloaded` error.
    ///
    /// # Errors
    /// A [`Status`] that tells why it was not queued.
    pub fn one_way<M: Message>(&self, message: &M) -> Result<(), Status>
    where
        S: Handler<M>,
    {
        self.target.one_way(self.outbound::<M>(message)?)
    }

    /// Opens a call whose ends send chunks. It is open at once, before the handler has seen it;
    /// whether there is one shows in the chunks or in the reply.
    ///
    /// ```
    /// # use chinwag::{Client, Message, Methods, Never, Raw, Service, Status, StreamHandler, Streaming};
    /// # #[derive(rkyv::Archive, rkyv::Serialize)]
    /// # struct Upload { name: String }
    /// # impl Message for Upload { type Reply = u64; const NAME: &'static str = "upload"; }
    /// # impl Streaming for Upload { type In = Raw; type Out = Never; }
    /// # async fn example<Files: StreamHandler<Upload>>(files: Client<Files>) -> Result<(), Status> {
    /// let mut upload = files.open(&Upload { name: "a".into() }).await?;
    /// for chunk in [vec![1; 1_000], vec![2; 1_000]] {
    ///     upload.send(&chunk.into()).await?;          // waits while the other end has no room
    /// }
    /// let len = upload.reply().await?.body;           // finishes, and waits for the answer
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What kept it from being opened; as [`Client::call`].
    pub async fn open<M: Streaming<Request = M>>(
        &self,
        request: &M,
    ) -> Result<StreamCall<M>, Status>
    where
        S: StreamHandler<M>,
    {
        self.open_with::<M>(request, &[]).await
    }

    /// [`Client::open`] of any [`Streaming`] method, with bytes beside the request.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub async fn open_with<M: Streaming>(
        &self,
        request: &M::Request,
        attachments: &[Bytes],
    ) -> Result<StreamCall<M>, Status>
    where
        S: StreamHandler<M>,
    {
        let outbound = self.outbound::<M>(request)?;
        let (fingerprint, attachments) = (M::STREAM_FINGERPRINT, attachments.to_vec());
        stream_call::open(&self.target, OutboundRequest { fingerprint, attachments, ..outbound })
            .await
    }

    pub(crate) fn outbound<M: Method>(&self, body: &M::Request) -> Result<OutboundRequest, Status> {
        outbound::<S, M>(body, self.target.headers.clone())
    }
}

/// A call that is being put together; see [`Client::request`].
#[must_use = "nothing is sent before `send`"]
pub struct Request<'a, S, M: Method> {
    client: &'a Client<S>,
    body: &'a M::Request,
    headers: Headers,
    attachments: Vec<Bytes>,
    method: PhantomData<fn(M)>,
}

impl<S: Handler<M>, M: Method> Request<'_, S, M> {
    /// Adds metadata, after the client's own.
    ///
    /// # Errors
    /// As [`Client::header`].
    pub fn header(mut self, key: &str, value: &[u8]) -> Result<Self, HeadersError> {
        self.headers.push(key, value)?;
        Ok(self)
    }

    /// Puts bytes beside the request: they are copied neither into it nor out of it. At most
    /// [`ATTACHMENTS_MAX`](chinwag_core::rpc::config::ATTACHMENTS_MAX); they count as part of the
    /// message.
    pub fn attach(mut self, bytes: impl Into<Bytes>) -> Self {
        self.attachments.push(bytes.into());
        self
    }

    /// Calls, and waits for the answer, as [`Client::call`] does.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn send(self) -> Result<Reply<M>, Status> {
        let ReplyParts { headers, body, attachments } =
            self.client.target.send(self.outbound()?).await?;
        Ok(Reply { headers, attachments, body: receive::<M>(body)? })
    }

    /// Sends it as a message that is not answered, as [`Client::one_way`] does.
    ///
    /// # Errors
    /// As [`Client::one_way`].
    pub fn send_one_way(self) -> Result<(), Status> {
        self.client.target.one_way(self.outbound()?)
    }

    fn outbound(&self) -> Result<OutboundRequest, Status> {
        let attachments = self.attachments.clone();
        Ok(OutboundRequest { attachments, ..outbound::<S, M>(self.body, self.headers.clone())? })
    }
}

/// An answer with all that came with it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Reply<M: Method> {
    /// What the handler set with [`Context::set_header`](crate::Context::set_header).
    pub headers: Headers,
    /// What the handler put beside the answer with [`Context::attach`](crate::Context::attach).
    pub attachments: Vec<Bytes>,
    /// The answer.
    pub body: Received<M::Reply>,
}

impl<M: Method> fmt::Debug for Reply<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("headers", &self.headers).finish_non_exhaustive()
    }
}

pub(crate) fn outbound<S: Service, M: Method>(
    body: &M::Request,
    headers: Headers,
) -> Result<OutboundRequest, Status> {
    match body.encode() {
        Ok(body) => Ok(OutboundRequest {
            service: S::NAME,
            method: M::NAME,
            fingerprint: M::FINGERPRINT,
            headers,
            body,
            attachments: Vec::new(),
        }),
        Err(error) => Err(Status::unsent(Code::Internal, format!("request not encoded: {error}"))),
    }
}

/// The reply, once it is known to be one.
pub(crate) fn receive<M: Method>(body: Bytes) -> Result<Received<M::Reply>, Status> {
    let malformed = |error| Status::new(Code::Internal, format!("{error} (the reply)"));
    M::Reply::receive(body).map_err(malformed)
}

impl<S> Clone for Client<S> {
    fn clone(&self) -> Self {
        Self { target: self.target.clone(), service: PhantomData }
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.target.peer)
            .field("timeout", &self.target.timeout)
            .field("deadline", &self.target.deadline)
            .finish_non_exhaustive()
    }
}
