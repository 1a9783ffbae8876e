//! What a node offers: [`Service`], its [`Handler`]s, and the registry they can enter and leave while the node runs.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use arc_swap::ArcSwap;
use bytes::Bytes;
use chinwag_core::rpc::{Code, Fingerprint, Status, config::NAME_LEN_MAX};

use crate::context::Context;
use crate::message::{Message, encode};
use crate::runtime::BoxFuture;
use crate::sync::lock;
use crate::view::View;

/// A named group of methods.
///
/// ```
/// use chinwag::{Context, Handler, Message, Methods, Service, Status, View};
///
/// #[derive(rkyv::Archive, rkyv::Serialize)]
/// struct Hello { name: String }
///
/// impl Message for Hello {
///     type Reply = String;
///     const NAME: &'static str = "hello";
/// }
///
/// struct Greeter;
///
/// impl Service for Greeter {
///     const NAME: &'static str = "greeter";
///     fn methods(methods: &mut Methods<Self>) {
///         methods.add::<Hello>();
///     }
/// }
///
/// impl Handler<Hello> for Greeter {
///     async fn handle(&self, _: &Context, hello: View<Hello>) -> Result<String, Status> {
///         Ok(format!("Hello, {}!", hello.name))
///     }
/// }
/// ```
///
/// A service that holds a [`Node`](crate::Node) keeps that node from ending with its last handle; use [`Context::node`] instead.
pub trait Service: Sized + Send + Sync + 'static {
    /// The service's name on the wire, 1 to 255 bytes. One node has one service of a name.
    const NAME: &'static str;

    /// Names the methods: one [`Methods::add`] for each message the service handles.
    fn methods(methods: &mut Methods<Self>);
}

/// How a [`Service`] answers one kind of message. Written as a plain `async fn`.
///
/// The future is polled once where the request was read; if it waits, it becomes a task. It is dropped when the
/// caller cancels, the deadline passes, or the connection ends. A panic ends the call with [`Code::Internal`], and nothing else.
pub trait Handler<M: Message>: Service {
    /// Answers `request`.
    fn handle(&self, cx: &Context, request: View<M>)
    -> impl Future<Output = Result<M::Reply, Status>> + Send;
}

/// The methods of a service, as [`Service::methods`] lists them.
pub struct Methods<S> {
    table: BTreeMap<&'static str, Method<S>>,
    fault: Option<AddServiceError>,
    service: PhantomData<fn(S)>,
}

type Run<S> = fn(Arc<S>, Context, Bytes) -> BoxFuture<Result<Bytes, Status>>;

struct Method<S> {
    fingerprint: Fingerprint,
    run: Run<S>,
}

impl<S: Service> Methods<S> {
    /// Adds the method that answers `M`.
    pub fn add<M: Message>(&mut self) -> &mut Self
    where
        S: Handler<M>,
    {
        let method = Method { fingerprint: M::FINGERPRINT, run: run::<S, M> };
        if !is_name(M::NAME) {
            self.fault = Some(AddServiceError::Name(M::NAME));
        } else if self.table.insert(M::NAME, method).is_some() {
            self.fault = Some(AddServiceError::DuplicateMethod(M::NAME));
        }
        self
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
}

/// Validates, handles, encodes: all of it where the handler runs, so that a large message does not hold up its connection.
fn run<S: Handler<M>, M: Message>(
    service: Arc<S>,
    cx: Context,
    body: Bytes,
) -> BoxFuture<Result<Bytes, Status>> {
    Box::pin(async move {
        let request = View::<M>::new(body)
            .map_err(|malformed| Status::never_ran(Code::SchemaMismatch, malformed.to_string()))?;
        let reply = service.handle(&cx, request).await?;
        encode(&reply).map_err(|error| Status::new(Code::Internal, format!("reply not encoded: {error}")))
    })
}

/// Why a service was not added. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddServiceError {
    /// A service of that name is already there; remove it first.
    DuplicateService(&'static str),
    /// Two messages of the service have the same name.
    DuplicateMethod(&'static str),
    /// The service's or a method's name is empty or longer than 255 bytes.
    Name(&'static str),
}

impl fmt::Display for AddServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateService(name) => write!(f, "a service {name:?} is already there"),
            Self::DuplicateMethod(name) => write!(f, "the service has two methods {name:?}"),
            Self::Name(name) => write!(f, "{name:?} is no name: 1 to 255 bytes"),
        }
    }
}

impl std::error::Error for AddServiceError {}

/// A service whose type is forgotten.
trait Dispatch: Send + Sync {
    fn begin(
        &self,
        call: Incoming<'_>,
        cx: Context,
        body: Bytes,
    ) -> Result<BoxFuture<Result<Bytes, Status>>, Status>;
}

struct Registered<S> {
    service: Arc<S>,
    methods: BTreeMap<&'static str, Method<S>>,
}

impl<S: Service> Dispatch for Registered<S> {
    fn begin(
        &self,
        call: Incoming<'_>,
        cx: Context,
        body: Bytes,
    ) -> Result<BoxFuture<Result<Bytes, Status>>, Status> {
        let Some(method) = self.methods.get(call.method) else {
            let text = format!("service {:?} has no method {:?}", call.service, call.method);
            return Err(Status::new(Code::UnknownMethod, text));
        };
        if method.fingerprint != call.fingerprint {
            let text = format!(
                "{}.{}: the caller's layout is {:016x}, this node's {:016x}",
                call.service,
                call.method,
                call.fingerprint.get(),
                method.fingerprint.get(),
            );
            return Err(Status::new(Code::SchemaMismatch, text));
        }
        Ok((method.run)(self.service.clone(), cx, body))
    }
}

/// What a call names.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) service: &'a str,
    pub(crate) method: &'a str,
    pub(crate) fingerprint: Fingerprint,
}

type Services = BTreeMap<&'static str, Arc<dyn Dispatch>>;

/// The services of a node: an immutable table behind one atomic, so that dispatching takes no lock.
#[derive(Default)]
pub(crate) struct Registry {
    services: ArcSwap<Services>,
    /// Held while the table is replaced.
    writer: Mutex<()>,
}

impl Registry {
    pub(crate) fn add<S: Service>(&self, service: S) -> Result<(), AddServiceError> {
        if !is_name(S::NAME) {
            return Err(AddServiceError::Name(S::NAME));
        }
        let mut methods = Methods { table: BTreeMap::new(), fault: None, service: PhantomData };
        S::methods(&mut methods);
        if let Some(fault) = methods.fault {
            return Err(fault);
        }
        let _writer = lock(&self.writer);
        let mut services = Services::clone(&self.services.load());
        if services.contains_key(S::NAME) {
            return Err(AddServiceError::DuplicateService(S::NAME));
        }
        let registered = Registered { service: Arc::new(service), methods: methods.table };
        services.insert(S::NAME, Arc::new(registered));
        self.services.store(Arc::new(services));
        Ok(())
    }

    /// Whether there was one. Calls already begun keep the service alive until they end.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let _writer = lock(&self.writer);
        let mut services = Services::clone(&self.services.load());
        let was_there = services.remove(name).is_some();
        self.services.store(Arc::new(services));
        was_there
    }

    /// Forgets every service, so that what they hold is dropped.
    pub(crate) fn clear(&self) {
        let _writer = lock(&self.writer);
        self.services.store(Arc::default());
    }

    /// The future that answers `call`, or the status that does.
    pub(crate) fn begin(&self, call: Incoming<'_>, cx: Context, body: Bytes) -> Result<Answer, Status> {
        let services = self.services.load();
        let Some(service) = services.get(call.service) else {
            return Err(Status::new(Code::UnknownService, format!("no service {:?}", call.service)));
        };
        // `run` only builds a future, but it is generic over the user's types.
        service.begin(call, cx, body).map(|future| Answer { future: Some(future) })
    }
}

/// A handler's future whose panics are statuses.
pub(crate) struct Answer {
    future: Option<BoxFuture<Result<Bytes, Status>>>,
}

impl Future for Answer {
    type Output = Result<Bytes, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(Err(Status::new(Code::Internal, "the handler has ended")));
        };
        // The future is not touched again after a panic, only dropped: nobody sees a broken invariant of its own. What it
        // shares with others is the service's to keep whole, as it is with any task that panics.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            Err(_) => Err(Status::new(Code::Internal, "the handler panicked")),
        };
        let done = self.future.take();
        if catch_unwind(AssertUnwindSafe(|| drop(done))).is_err() {
            tracing::error!("a handler panicked while it was dropped");
        }
        Poll::Ready(result)
    }
}
