//! What a node offers: [`Service`] and its [`Handler`]s. How calls find them is in
//! [`registry`](crate::serve::registry).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use chinwag_core::rpc::{Fingerprint, Status, config::NAME_LEN_MAX};

use crate::link::stream_halves::{Incoming, Outgoing};
use crate::message::method::{Method, Received, Streaming};
use crate::serve::context::Context;
use crate::serve::registry::Enrolment;

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
/// A service that holds a [`Node`](crate::Node) keeps that node from ending with its last handle;
/// use [`Context::node`] instead.
pub trait Service: Sized + Send + Sync + 'static {
    /// The service's name on the wire, 1 to 255 bytes. One node has one service of a name.
    const NAME: &'static str;

    /// Names the methods: one [`Methods::add`] for each message the service handles.
    fn methods(methods: &mut Methods<Self>);
}

/// How a [`Service`] answers one method. Written as a plain `async fn`.
///
/// `M` is a [`Message`](crate::Message), whose request arrives as a [`View`](crate::View) of it, or
/// any other [`Method`].
///
/// The future is polled once where the request was read; if it waits, it becomes a task. It is
/// dropped when the caller cancels, the deadline passes, or the connection ends. A panic ends the
/// call with [`Code::Internal`](crate::Code::Internal), and nothing else. Whatever failure it
/// returns, its caller is told that it may have run.
///
/// That a message is sent to a service which does not handle it does not compile:
///
/// ```compile_fail
/// # use chinwag::{Client, Context, Handler, Message, Methods, Service, Status, View};
/// # #[derive(rkyv::Archive, rkyv::Serialize)]
/// # struct Hello;
/// # impl Message for Hello { type Reply = (); const NAME: &'static str = "hello"; }
/// # struct Greeter;
/// # impl Service for Greeter { const NAME: &'static str = "greeter"; fn methods(_: &mut Methods<Self>) {} }
/// async fn greet(greeter: Client<Greeter>) {
///     greeter.call(&Hello).await; // `Greeter` is no `Handler<Hello>`
/// }
/// ```
pub trait Handler<M: Method>: Service {
    /// Whether the handler may compute for more than a tenth of a millisecond before it first
    /// awaits. It then always runs beside its connection, as a task of its own. Default `false`:
    /// a handler runs beside its connection until it has been seen to be short, and again once it
    /// has been seen to be long (`docs/rpc.md`, "Handlers that compute").
    const IS_LONG: bool = false;

    /// Answers `request`.
    fn handle(
        &self,
        cx: &Context,
        request: Received<M::Request>,
    ) -> impl Future<Output = Result<M::Reply, Status>> + Send;
}

/// How a [`Service`] answers a method that streams: with `incoming`, what the caller sends;
/// `outgoing`, what it is sent; and the reply, which ends the call in both directions, whatever is
/// still under way.
///
/// Otherwise as [`Handler`]. `docs/rpc.md` has an example of each shape.
pub trait StreamHandler<M: Streaming>: Service {
    /// As [`Handler::IS_LONG`].
    const IS_LONG: bool = false;

    /// Answers `request`.
    fn handle(
        &self,
        cx: &Context,
        request: Received<M::Request>,
        incoming: Incoming<M::In>,
        outgoing: Outgoing<M::Out>,
    ) -> impl Future<Output = Result<M::Reply, Status>> + Send;
}

/// The methods of a service, as [`Service::methods`] lists them.
pub struct Methods<S> {
    pub(crate) table: BTreeMap<&'static str, Enrolment<S>>,
    pub(crate) fault: Option<AddServiceError>,
}

impl<S: Service> Methods<S> {
    /// What the service lists, or its first mistake.
    pub(crate) fn of_service() -> Result<Self, AddServiceError> {
        if !is_name(S::NAME) {
            return Err(AddServiceError::Name(S::NAME));
        }
        let mut methods = Self { table: BTreeMap::new(), fault: None };
        S::methods(&mut methods);
        methods.fault.map_or(Ok(methods), Err)
    }

    /// Adds a method.
    pub fn add<M: Method>(&mut self) -> &mut Self
    where
        S: Handler<M>,
    {
        let fault = self.enrol(M::NAME, Enrolment::of::<M>()).err();
        self.fault = self.fault.or(fault);
        self
    }

    /// Adds a method that streams.
    pub fn add_stream<M: Streaming>(&mut self) -> &mut Self
    where
        S: StreamHandler<M>,
    {
        let fault = self.enrol(M::NAME, Enrolment::of_stream::<M>()).err();
        self.fault = self.fault.or(fault);
        self
    }

    fn enrol(&mut self, name: &'static str, method: Enrolment<S>) -> Result<(), AddServiceError> {
        if !is_name(name) {
            return Err(AddServiceError::Name(name));
        }
        let is_alike = |other: &Fingerprint| *other == method.fingerprint;
        if let Some((&other, _)) = self.table.iter().find(|(_, known)| is_alike(&known.fingerprint))
            && other != name
        {
            return Err(AddServiceError::FingerprintCollision(other, name));
        }
        match self.table.insert(name, method) {
            Some(_) => Err(AddServiceError::DuplicateMethod(name)),
            None => Ok(()),
        }
    }
}

impl<S> fmt::Debug for Methods<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.table.keys()).finish()
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
}

/// Why a service was not added. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddServiceError {
    /// A service of that name is already there; remove it first.
    DuplicateService(&'static str),
    /// Two methods of the service have the same name.
    DuplicateMethod(&'static str),
    /// Two methods of the service have different names and the same fingerprint. Where it is
    /// derived, that is a collision of hashes, which another name for one of them undoes; where
    /// it is written down, it is written down twice.
    FingerprintCollision(&'static str, &'static str),
    /// The service's or a method's name is empty or longer than 255 bytes.
    Name(&'static str),
}

impl fmt::Display for AddServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateService(name) => {
                write!(f, "the node has a service {name:?} already: remove that one first")
            }
            Self::DuplicateMethod(name) => write!(f, "the service has two methods {name:?}"),
            Self::FingerprintCollision(one, other) => {
                write!(f, "the methods {one:?} and {other:?} have the same fingerprint")
            }
            Self::Name(name) => write!(f, "{name:?} is no name: 1 to 255 bytes"),
        }
    }
}

impl std::error::Error for AddServiceError {}
