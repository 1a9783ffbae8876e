//! [`Registry`]: the services of a node, which can come and go while it runs; and what a connection keeps of it at hand.

use std::collections::BTreeMap;
use std::error::Error;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use chinwag_core::rpc::{Code, Fingerprint, MethodName, Shape, Status};

use crate::base::runtime::BoxFuture;
use crate::base::sync::lock;
use crate::link::stream_halves::{End, Incoming, Outgoing};
use crate::message::answer::Response;
use crate::message::method::{Body, Method, Streaming};
use crate::message::view::Malformed;
use crate::serve::context::Context;
use crate::serve::pace::Pace;
use crate::serve::service::{AddServiceError, Handler, Methods, Service, StreamHandler};
use crate::stats::counters::{MethodStats, Role};
use crate::stats::meter::{Meter, Meters};

/// One method of a service that is offered, its types forgotten.
pub(crate) trait Endpoint: Send + Sync {
    /// `end` is the stream of a call of a [`shape`](Endpoint::shape) that has one.
    fn begin(self: Arc<Self>, cx: Context, body: Bytes, end: Option<End>) -> BoxFuture<Response>;
    fn shape(&self) -> Shape;
    fn service(&self) -> &'static str;
    fn method(&self) -> &'static str;
    fn fingerprint(&self) -> Fingerprint;
    fn meter(&self) -> &Arc<Meter>;
    /// Whether the handler may run in the task of its connection.
    fn pace(&self) -> &Pace;
    /// Whether the request is validated before it is handled, which takes time by its length.
    fn is_validated(&self) -> bool;
}

/// A method as a service lists it, before there is a service to call.
pub(crate) struct Enrolment<S> {
    pub(crate) fingerprint: Fingerprint,
    offer: fn(Arc<S>, Arc<Meter>) -> Arc<dyn Endpoint>,
}

impl<S: Service> Enrolment<S> {
    pub(crate) fn of<M: Method>() -> Self
    where
        S: Handler<M>,
    {
        Self {
            fingerprint: M::FINGERPRINT,
            offer: |service, meter| {
                let pace = Pace::new(<S as Handler<M>>::IS_LONG);
                Arc::new(Offered::<S, M> { service, meter, pace, method: PhantomData })
            },
        }
    }

    pub(crate) fn of_stream<M: Streaming>() -> Self
    where
        S: StreamHandler<M>,
    {
        Self {
            fingerprint: M::STREAM_FINGERPRINT,
            offer: |service, meter| {
                let pace = Pace::new(<S as StreamHandler<M>>::IS_LONG);
                Arc::new(Streamed::<S, M> { service, meter, pace, method: PhantomData })
            },
        }
    }
}

struct Offered<S, M> {
    service: Arc<S>,
    meter: Arc<Meter>,
    pace: Pace,
    method: PhantomData<fn(M)>,
}

impl<S: Handler<M>, M: Method> Endpoint for Offered<S, M> {
    /// Validates, handles, encodes: all of it where the handler runs, so that a large message does
    /// not hold up its connection.
    fn begin(self: Arc<Self>, cx: Context, body: Bytes, _: Option<End>) -> BoxFuture<Response> {
        Box::pin(async move {
            let result = match M::Request::receive(body) {
                Ok(request) => handled(self.service.handle(&cx, request).await),
                Err(malformed) => Err(not_received(&malformed)),
            };
            cx.answer(result)
        })
    }

    fn shape(&self) -> Shape {
        Shape::UNARY
    }

    fn service(&self) -> &'static str {
        S::NAME
    }

    fn method(&self) -> &'static str {
        M::NAME
    }

    fn fingerprint(&self) -> Fingerprint {
        M::FINGERPRINT
    }

    fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    fn pace(&self) -> &Pace {
        &self.pace
    }

    fn is_validated(&self) -> bool {
        M::Request::IS_VALIDATED
    }
}

struct Streamed<S, M> {
    service: Arc<S>,
    meter: Arc<Meter>,
    pace: Pace,
    method: PhantomData<fn(M)>,
}

impl<S: StreamHandler<M>, M: Streaming> Endpoint for Streamed<S, M> {
    fn begin(self: Arc<Self>, cx: Context, body: Bytes, end: Option<End>) -> BoxFuture<Response> {
        Box::pin(async move {
            let Some(end) = end else {
                // It ended while it was on its way here.
                return Status::new(Code::Cancelled, "the call is over").into();
            };
            let incoming = Incoming::new(end.twin(), self.meter.clone());
            let outgoing = Outgoing::new(end, self.meter.clone(), false);
            let result = match M::Request::receive(body) {
                Ok(request) => handled(self.service.handle(&cx, request, incoming, outgoing).await),
                Err(malformed) => Err(not_received(&malformed)),
            };
            cx.answer(result)
        })
    }

    fn shape(&self) -> Shape {
        M::SHAPE
    }

    fn service(&self) -> &'static str {
        S::NAME
    }

    fn method(&self) -> &'static str {
        M::NAME
    }

    fn fingerprint(&self) -> Fingerprint {
        M::STREAM_FINGERPRINT
    }

    fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    fn pace(&self) -> &Pace {
        &self.pace
    }

    fn is_validated(&self) -> bool {
        M::Request::IS_VALIDATED
    }
}

/// The caller and this node have another layout of one method. The upper half of a fingerprint
/// stands for the request, the lower half for the reply.
fn not_same(call: MethodName<'_>, own: Fingerprint) -> Status {
    let MethodName { service, method, fingerprint } = call;
    let (theirs, own) = (fingerprint.get(), own.get());
    let has = match (theirs >> 32 == own >> 32, theirs << 32 == own << 32) {
        (false, true) => "the request has",
        (true, false) => "the reply has",
        _ => "the request and the reply have",
    };
    let text = format!(
        "{has} another layout at the caller than at the called node, in {service}.{method}: build \
         both from the same types (fingerprints {theirs:016x} and {own:016x})"
    );
    Status::new(Code::SchemaMismatch, text)
}

fn not_received(malformed: &Malformed) -> Status {
    let found = malformed.source().map(ToString::to_string).unwrap_or_default();
    tracing::debug!(target: "chinwag::call", found, "a request is malformed");
    Status::never_ran(Code::SchemaMismatch, malformed.to_string())
}

/// What a handler answers. A failure never says that no handler has run, also where it is passed on
/// from a nested call, of which that is true: the caller would ask again, and the handler would run
/// twice (`docs/protocol.md` §5.5.3).
fn handled<B: Body>(result: Result<B, Status>) -> Result<Bytes, Status> {
    let not_encoded = |error| Status::new(Code::Internal, format!("reply not encoded: {error}"));
    result.map_err(Status::having_run).and_then(|reply| reply.encode().map_err(not_encoded))
}

/// `endpoint`, if calls of `shape` are for it. Fingerprints tell shapes apart, so only a caller
/// that makes its own up gets here wrongly.
pub(crate) fn shaped(
    endpoint: Arc<dyn Endpoint>,
    shape: Shape,
) -> Result<Arc<dyn Endpoint>, Status> {
    if endpoint.shape() == shape {
        return Ok(endpoint);
    }
    let (service, method) = (endpoint.service(), endpoint.method());
    Err(Status::new(Code::SchemaMismatch, format!("{service}.{method} does not stream that way")))
}

type Services = BTreeMap<&'static str, BTreeMap<&'static str, Arc<dyn Endpoint>>>;

/// The services of a node: an immutable table behind one atomic, so that looking one up takes no
/// lock.
#[derive(Default)]
pub(crate) struct Registry {
    services: ArcSwap<Services>,
    /// Rises with every change, after it.
    version: AtomicU64,
    /// Held while the table is replaced.
    writer: Mutex<()>,
    meters: Meters,
}

impl Registry {
    pub(crate) fn add<S: Service>(&self, service: S) -> Result<(), AddServiceError> {
        let methods = Methods::<S>::of_service()?;
        let writer = lock(&self.writer);
        let mut services = Services::clone(&self.services.load());
        if services.contains_key(S::NAME) {
            return Err(AddServiceError::DuplicateService(S::NAME));
        }
        let (service, meters) = (Arc::new(service), self.meters.of(S::NAME));
        let offer = |(name, method): (&'static str, Enrolment<S>)| {
            (name, (method.offer)(service.clone(), meters.of(name).clone()))
        };
        services.insert(S::NAME, methods.table.into_iter().map(offer).collect());
        self.replace(services, writer);
        Ok(())
    }

    /// Whether there was one. Calls already begun keep the service alive until they end.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let writer = lock(&self.writer);
        let mut services = Services::clone(&self.services.load());
        let removed = services.remove(name);
        self.replace(services, writer);
        removed.is_some()
    }

    /// Whether there is a service of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.services.load().contains_key(name)
    }

    /// Forgets every service, so that what they hold is dropped.
    pub(crate) fn clear(&self) {
        self.replace(Services::new(), lock(&self.writer));
    }

    /// What was there before is dropped when the lock has been released: a service's drop is user
    /// code.
    fn replace(&self, services: Services, writer: MutexGuard<'_, ()>) {
        let _replaced = self.services.swap(Arc::new(services));
        self.version.fetch_add(1, Ordering::Release);
        drop(writer);
    }

    /// The method that `call` names, or the status that says why there is none.
    pub(crate) fn find(&self, call: MethodName<'_>) -> Result<Arc<dyn Endpoint>, Status> {
        let services = self.services.load();
        let Some(methods) = services.get(call.service) else {
            return Err(Status::new(
                Code::UnknownService,
                format!(
                    "the called node has no service {:?}: add it there with `add_service`",
                    call.service
                ),
            ));
        };
        let Some(endpoint) = methods.get(call.method) else {
            let text = format!(
                "the service {:?} of the called node has no method {:?}: add it in \
                 `Service::methods`, or update that node",
                call.service, call.method
            );
            return Err(Status::new(Code::UnknownMethod, text));
        };
        if endpoint.fingerprint() != call.fingerprint {
            return Err(not_same(call, endpoint.fingerprint()));
        }
        Ok(endpoint.clone())
    }

    pub(crate) fn read(&self, into: &mut Vec<MethodStats>) {
        self.meters.read(Role::Inbound, into);
    }
}

/// What a connection has looked up, by the peer's numbers for its methods, so that a call compares
/// one number and indexes. It is as long as the peer's table of names, which is limited. It does
/// not keep a service alive.
#[derive(Default)]
pub(crate) struct Known {
    version: u64,
    methods: Vec<Option<Met>>,
}

type Met = (Weak<dyn Endpoint>, Arc<Meter>);

impl Known {
    /// Forgets what may have changed. To be called before each batch of calls, and not within one:
    /// what is known stays known until the next.
    pub(crate) fn refresh(&mut self, registry: &Registry) {
        let version = registry.version.load(Ordering::Acquire);
        if self.version != version {
            self.version = version;
            self.methods.clear();
        }
    }

    /// The method with this number, if it has been looked up.
    pub(crate) fn get(&self, id: u16) -> Option<Arc<dyn Endpoint>> {
        self.methods.get(usize::from(id))?.as_ref()?.0.upgrade()
    }

    /// Looks up the method with this number, which is the one that `call` names.
    pub(crate) fn find(
        &mut self,
        registry: &Registry,
        id: u16,
        call: MethodName<'_>,
    ) -> Result<Arc<dyn Endpoint>, Status> {
        let place = usize::from(id);
        let endpoint = registry.find(call)?;
        if self.methods.len() <= place {
            self.methods.resize(place + 1, None);
        }
        self.methods[place] = Some((Arc::downgrade(&endpoint), endpoint.meter().clone()));
        Ok(endpoint)
    }

    /// The meter of a method that was found in this batch.
    pub(crate) fn meter(&self, id: u16) -> Option<&Meter> {
        self.methods.get(usize::from(id))?.as_ref().map(|(_, meter)| &**meter)
    }

    /// The same, to be kept.
    pub(crate) fn shared_meter(&self, id: u16) -> Option<Arc<Meter>> {
        self.methods.get(usize::from(id))?.as_ref().map(|(_, meter)| meter.clone())
    }
}
