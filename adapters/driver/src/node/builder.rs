//! [`Builder`]: from a configuration to a running [`Node`].

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc, Timestamp};
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{
    self, CLUSTER_DEFAULT, Config, DATA_CENTER_KEY, Local, Membership, Metadata, MetadataError,
};
use chinwag_core::rng::mix;
use chinwag_core::rpc;
use chinwag_core::seal;
#[cfg(feature = "secure")]
use chinwag_core::seal::Mode as SecurityMode;
use chinwag_core::select::{NodeSelector, Spread};

use crate::base::limits::{CALL_TIMEOUT_DEFAULT, CONNECTIONS_MAX, HELD_MAX_DEFAULT};
use crate::base::runtime::{Ambient, Runtime};
use crate::base::secure;
#[cfg(feature = "secure")]
use crate::base::secure::{CertificateFault, Certificates, Secret};
use crate::base::seeds::{SeedError, SeedList, SeedProvider, Source};
use crate::base::state::NodeParts;
use crate::base::watch::Watch;
use crate::node::handle::Node;
use crate::node::node_on::NodeOn;
use crate::node::start::{announce, bind};
use crate::node::task::NodeTask;
use crate::serve::shared::{Parts, Shared};
use crate::stats::counters::Role;
use crate::stats::interceptor::Interceptor;

/// Everything about a node before it starts.
///
/// `R` says only how it starts: with [`start`](Builder::start) on the runtime of the adapter the
/// builder is from, or with [`start_on`](Builder::start_on) on any.
pub struct Builder<R = OnRuntime> {
    id: NodeId,
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
    config: Config,
    cluster: Option<String>,
    metadata: Result<Metadata, MetadataError>,
    seeds: Vec<(String, Option<Source>)>,
    rpc: rpc::Config,
    selector: Box<dyn NodeSelector>,
    drift_max: Duration,
    clock_floor: Timestamp,
    call_timeout: Duration,
    connections_max: usize,
    held_max: usize,
    interceptors: Vec<(Role, Arc<dyn Interceptor>)>,
    encryption: secure::Wanted,
    runtime: PhantomData<fn() -> R>,
}

/// A builder of this crate's: it starts on the runtime that [`Builder::start_on`] is given.
#[derive(Debug)]
pub enum OnRuntime {}

impl<R> Builder<R> {
    /// As [`Node::builder`]; `R` is an adapter's runtime.
    pub fn new(id: impl Into<NodeId>, listen: SocketAddr) -> Self {
        Self {
            id: id.into(),
            listen,
            advertise: None,
            config: Config::lan(),
            cluster: None,
            metadata: Ok(Metadata::new()),
            seeds: Vec::new(),
            rpc: rpc::Config::default(),
            selector: Box::new(Spread),
            drift_max: DRIFT_MAX_DEFAULT,
            clock_floor: Timestamp::default(),
            call_timeout: CALL_TIMEOUT_DEFAULT,
            connections_max: CONNECTIONS_MAX,
            held_max: HELD_MAX_DEFAULT,
            interceptors: Vec::new(),
            encryption: secure::Wanted::default(),
            runtime: PhantomData,
        }
    }

    /// The cluster's name: nodes of other clusters are not heard. On loopback it may be left out,
    /// and is `"chinwag"` then. On any other address it has to be chosen, here or in
    /// [`Builder::config`], so that two clusters which meet by accident do not merge.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// The cluster's secret, the same on every member: all that the node sends is encrypted, and it
    /// hears nobody who does not have the secret. Who has it is a member, and can speak for any
    /// member.
    #[cfg(feature = "secure")]
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.encryption.secret = Some(secret);
        self
    }

    /// The node's certificate, and the roots by which it checks those of others. Connections rest
    /// on certificates then, at both ends, and no longer on the secret: nobody is let in as a node
    /// that its certificate does not name. Datagrams need the secret still.
    #[cfg(feature = "secure")]
    #[must_use]
    pub fn certificates(mut self, certificates: Certificates) -> Self {
        self.encryption.certificates = Some(certificates);
        self
    }

    /// What the node does about others that do not encrypt, where it has a secret. Default
    /// [`SecurityMode::Required`]: it does not hear them. [`SecurityMode::Transitional`] is for the
    /// time in which a running cluster is given a secret, one node after the other.
    #[cfg(feature = "secure")]
    #[must_use]
    pub fn security(mut self, mode: SecurityMode) -> Self {
        self.encryption.mode = mode;
        self
    }

    /// The algorithms of encrypted connections, in place of `ring`'s: a validated module, say. They
    /// need TLS 1.3 and Ed25519; [`Builder::start`] fails if they lack something. The process's own
    /// default is never looked at. Datagrams are sealed by `ring` in any case.
    #[cfg(feature = "secure")]
    #[must_use]
    pub fn crypto_provider(mut self, provider: Arc<rustls::crypto::CryptoProvider>) -> Self {
        self.encryption.provider = Some(provider);
        self
    }

    /// The data centre the node is in, by which selectors spread. Default the empty name.
    #[must_use]
    pub fn data_center(self, name: &str) -> Self {
        self.metadata_entry(DATA_CENTER_KEY, name)
    }

    /// One entry of what the node says about itself. One that does not fit makes [`Builder::start`]
    /// fail.
    #[must_use]
    pub fn metadata_entry(mut self, key: &str, value: &str) -> Self {
        self.metadata = self.metadata.and_then(|metadata| metadata.with(key, value));
        self
    }

    /// Members to join through, as `host:port`, where an IPv6 address is in brackets. Any number,
    /// this node among them or not. Names are looked up again for as long as the node runs, so that
    /// parts of a cluster which have lost each other meet again (`docs/protocol.md` §4.8). None
    /// being there now is no error: joining goes on in the background, and the log says what came
    /// of each. One that is not `host:port` makes [`Builder::start`] fail. The list can change
    /// while the node runs: [`Node::add_seed`], [`Node::remove_seed`].
    #[must_use]
    pub fn seeds<T: Into<String>>(mut self, seeds: impl IntoIterator<Item = T>) -> Self {
        self.seeds.extend(seeds.into_iter().map(|seed| (seed.into(), None)));
        self
    }

    /// A function that gives addresses to join through, beside [`Builder::seeds`]: from the API of
    /// an orchestrator, say. The log calls it `name`.
    #[must_use]
    pub fn seed_provider(mut self, name: impl Into<String>, provider: impl SeedProvider) -> Self {
        self.seeds.push((name.into(), Some(Source::Provider(Arc::new(provider)))));
        self
    }

    /// The address told to others, where it is not the one listened on: behind a translator, or
    /// listening on all interfaces. Port 0 stands for the port that is bound.
    #[must_use]
    pub fn advertise(mut self, addr: SocketAddr) -> Self {
        self.advertise = Some(addr);
        self
    }

    /// How membership behaves. Default [`Config::lan`]. Its cluster name counts unless
    /// [`Builder::cluster`] gives one; the presets' own name is not a chosen one.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Bytes that all peers together can make this node hold in large requests, in what streams
    /// are promised and get beyond that, and in grown windows of answers. What does not fit is
    /// refused as [`Overloaded`](crate::Code::Overloaded). Default [`HELD_MAX_DEFAULT`]. What a
    /// single peer may make it hold is in [`Builder::rpc`].
    #[must_use]
    pub fn held_max(mut self, bytes: usize) -> Self {
        self.held_max = bytes;
        self
    }

    /// Limits and timers of connections.
    #[must_use]
    pub fn rpc(mut self, config: rpc::Config) -> Self {
        self.rpc = config;
        self
    }

    /// How [`Node::select`] chooses. Default [`Spread`].
    #[must_use]
    pub fn selector(mut self, selector: impl NodeSelector + 'static) -> Self {
        self.selector = Box::new(selector);
        self
    }

    /// How far ahead of this node's wall clock a stamp may be to be believed. Default
    /// [`DRIFT_MAX_DEFAULT`].
    #[must_use]
    pub fn drift_max(mut self, drift_max: Duration) -> Self {
        self.drift_max = drift_max;
        self
    }

    /// A bound that an earlier run persisted
    /// ([`Clock::persist_bound`](crate::Clock::persist_bound)): every stamp is past it.
    #[must_use]
    pub fn clock_floor(mut self, bound: Timestamp) -> Self {
        self.clock_floor = bound;
        self
    }

    /// How long a call may take unless its client says otherwise. Default [`CALL_TIMEOUT_DEFAULT`].
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Connections of the node, dialled and accepted, strangers included. Beyond it, those that
    /// come are closed at once and counted as
    /// [`connections_refused`](crate::Stats::connections_refused), and calls that need one fail as
    /// `Overloaded`, never sent. Default [`CONNECTIONS_MAX`].
    #[must_use]
    pub fn connections_max(mut self, connections_max: usize) -> Self {
        self.connections_max = connections_max;
        self
    }

    /// Puts an interceptor around the calls that the node makes, or around those it handles, inside
    /// of those added before.
    #[must_use]
    pub fn interceptor(mut self, role: Role, interceptor: impl Interceptor) -> Self {
        self.interceptors.push((role, Arc::new(interceptor)));
        self
    }

    /// Binds the sockets and starts the node on `runtime`. Joining goes on in the background,
    /// whether a seed is there or not.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_on(self, runtime: Arc<dyn Runtime>) -> Result<Node, StartError> {
        self.start_watched_on(runtime).await.map(|(node, _)| node)
    }

    /// [`Builder::start_on`], with a watch that misses nothing: one taken afterwards begins with
    /// the view of its moment, but an event that is in no view, such as a conflict, may have
    /// gone by.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_watched_on(
        mut self,
        runtime: Arc<dyn Runtime>,
    ) -> Result<(Node, Watch), StartError> {
        let has_name = self.cluster.is_some() || self.config.cluster != CLUSTER_DEFAULT;
        if let Some(cluster) = self.cluster.take() {
            self.config.cluster = cluster;
        }
        let seeds = self.check(has_name)?;
        self.rpc.validate().map_err(StartError::RpcConfig)?;
        let mut metadata = self.metadata.clone().map_err(StartError::Metadata)?;
        let sockets = bind(&*runtime, self.listen, self.config.planes).await?;
        let addr = match self.advertise {
            Some(addr) if addr.port() == 0 => SocketAddr::new(addr.ip(), sockets.addr.port()),
            Some(addr) => addr,
            None => sockets.addr,
        };
        let (now, seed) = (runtime.now(), runtime.seed());
        let clock = Arc::new(SharedHlc::resume(self.clock_floor, self.drift_max));
        let (wanted, cluster) = (take(&mut self.encryption), &self.config.cluster);
        let started = clock.tick(now.wall);
        let security = secure::start(wanted, &runtime, cluster, self.id, started);
        let security = security.map_err(StartError::of_security)?;
        if let Some(security) = &security {
            metadata = security.own(&metadata).map_err(StartError::Metadata)?;
            // What travels keeps to the limit, and sealing adds to it.
            let len_max = &mut self.config.datagram_len_max;
            *len_max = len_max.saturating_sub(seal::OVERHEAD);
        }
        let local = Local { id: self.id, epoch: Epoch::at(now.wall), addr, metadata };
        let cluster = self.config.cluster.clone();
        let mut machine = Membership::new(self.config, local, clock.clone(), seed, now)
            .map_err(StartError::Config)?;
        if !seeds.is_empty() {
            machine.join(now);
        }
        let bound = sockets.addr;
        let is_exposed = !(addr.ip().is_loopback() && bound.ip().is_loopback());
        let epoch = machine.local().epoch;
        let (id, rpc) = (self.id, Arc::new(self.rpc));
        let held_max = self.held_max;
        let shared = Shared::new(Parts {
            node: NodeParts {
                runtime,
                id,
                epoch,
                addr,
                bound,
                cluster,
                security,
                rpc,
                clock,
                seeds,
                held_max,
            },
            machine,
            selector: self.selector,
            // The links' jitter has a generator of its own.
            seed: mix(seed),
            call_timeout: self.call_timeout,
            connections_max: self.connections_max,
        });
        for (role, interceptor) in self.interceptors {
            shared.add_interceptor(role, interceptor);
        }
        announce(&shared, is_exposed);
        let watch = shared.board.watch();
        NodeTask::spawn(&shared, sockets);
        Ok((Node::new(shared), watch))
    }
}

impl<R> Builder<R> {
    /// What can be wrong before a socket is bound. Gives the seeds.
    fn check(&self, has_name: bool) -> Result<SeedList, StartError> {
        let mut seeds = SeedList::default();
        for (name, source) in &self.seeds {
            let source = source.clone().map_or_else(|| Source::of(name), Ok);
            seeds.add(name.clone(), source.map_err(StartError::Seed)?);
        }
        let addr = self.advertise.unwrap_or(self.listen);
        if addr.ip().is_unspecified() {
            return Err(StartError::NoAddress(addr));
        }
        let addrs = [addr, self.listen];
        match addrs.into_iter().find(|addr| !addr.ip().is_loopback()) {
            Some(addr) if !has_name => Err(StartError::NoClusterName(addr)),
            _ => Ok(seeds),
        }
    }
}

impl<R: Ambient> Builder<R> {
    /// [`Builder::start_on`] the runtime that the caller is on.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self) -> Result<NodeOn<R>, StartError> {
        let runtime = R::current().map_err(StartError::NoRuntime)?;
        self.start_on(runtime).await.map(NodeOn::from)
    }

    /// [`Builder::start_watched_on`] the runtime that the caller is on.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_watched(self) -> Result<(NodeOn<R>, Watch), StartError> {
        let runtime = R::current().map_err(StartError::NoRuntime)?;
        let (node, watch) = self.start_watched_on(runtime).await?;
        Ok((NodeOn::from(node), watch))
    }
}

impl<R> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("id", &self.id)
            .field("listen", &self.listen)
            .field("cluster", &self.cluster)
            .field("seeds", &self.seeds.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Why a node did not start. Nothing of it is left.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A socket could not be bound: the port is in use, say.
    Bind {
        /// Where.
        addr: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The node listens on all interfaces, and was not told which address to
    /// [`advertise`](Builder::advertise).
    NoAddress(SocketAddr),
    /// A seed is not `host:port`. One that cannot be reached is no error.
    Seed(SeedError),
    /// The node can be reached from other hosts at this address, and no cluster name was chosen
    /// ([`Builder::cluster`]).
    NoClusterName(SocketAddr),
    /// A rule of the membership configuration is broken.
    Config(membership::ConfigError),
    /// A limit of the connections is out of its range.
    RpcConfig(rpc::ConfigError),
    /// The metadata does not fit.
    Metadata(MetadataError),
    /// Encryption could not be set up: the algorithms of the runtime lack one that is needed.
    Security(String),
    /// The certificates cannot be used.
    #[cfg(feature = "secure")]
    Certificates(CertificateFault),
    /// The caller is on no runtime of the builder's kind.
    NoRuntime(io::Error),
}

impl StartError {
    #[cfg(feature = "secure")]
    fn of_security(fault: secure::Fault) -> Self {
        match fault {
            secure::Fault::Algorithms(why) => Self::Security(why),
            secure::Fault::Certificates(fault) => Self::Certificates(fault),
        }
    }

    #[cfg(not(feature = "secure"))]
    fn of_security(fault: secure::Fault) -> Self {
        match fault {}
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { addr, error } => {
                write!(f, "cannot listen on {addr}: {error}")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "; stop the program that has this port, or choose another one"
                    }
                    io::ErrorKind::AddrNotAvailable => "; this host has no such address",
                    io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
                    _ => "",
                })
            }
            Self::NoAddress(addr) => write!(
                f,
                "others cannot reach {addr}: say which address of this host they can, with \
                 `advertise`"
            ),
            Self::Seed(error) => error.fmt(f),
            Self::NoClusterName(addr) => write!(
                f,
                "a node at {addr}, which other hosts can reach, needs a cluster name: choose one \
                 with `cluster`, the same on every node"
            ),
            Self::Config(error) => error.fmt(f),
            Self::RpcConfig(error) => error.fmt(f),
            Self::Metadata(error) => error.fmt(f),
            Self::Security(why) => write!(f, "encryption could not be set up: {why}"),
            #[cfg(feature = "secure")]
            Self::Certificates(fault) => fault.fmt(f),
            Self::NoRuntime(error) => write!(f, "the node has no runtime to start on: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { error, .. } | Self::NoRuntime(error) => Some(error),
            Self::Config(error) => Some(error),
            Self::RpcConfig(error) => Some(error),
            Self::Metadata(error) => Some(error),
            Self::Seed(error) => Some(error),
            #[cfg(feature = "secure")]
            Self::Certificates(fault) => Some(fault),
            Self::NoAddress(_) | Self::NoClusterName(_) | Self::Security(_) => None,
        }
    }
}
