//! Encryption: datagrams sealed by `core::seal`, streams by TLS 1.3, both with keys that follow
//! from the cluster's secret.

mod certificates;
mod cipher;
mod identity;
mod secret;
mod stream;
mod transition;

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use chinwag_core::clock::Timestamp;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{Member, Metadata, MetadataError};
use chinwag_core::seal::{self, KEY_ID_KEY, KeyError, KeyId, Mode, Opened, Refusal, Seal};
use chinwag_core::time::Now;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, ServerConnection};

pub use self::certificates::{CertificateFault, Certificates};
use self::certificates::{Checks, unix_time};
use self::cipher::Ring;
use self::identity::{Configs, Identity};
pub use self::secret::{Secret, SecretError};
use self::stream::TlsStream;
use self::transition::{Either, OverTls};
use crate::base::runtime::{BoxFuture, Runtime, Stream};
use crate::base::sync::lock;

/// Addresses whose failed handshakes are warned of; of later ones the log says so at `DEBUG`.
const REFUSALS_MAX: usize = 64;

/// The encryption of one node.
pub(crate) struct Security {
    cluster: String,
    runtime: Arc<dyn Runtime>,
    provider: Arc<CryptoProvider>,
    time: Arc<dyn TimeProvider>,
    seal: Mutex<Seal<Ring>>,
    /// One for each key of the keyring.
    identities: Mutex<Vec<Identity>>,
    /// Where there are certificates, streams rest on them and not on the secret.
    certificates: Option<Certificates>,
    id: NodeId,
    set_up: ArcSwap<SetUp>,
    refusals: Arc<Refusals>,
    /// Connections that were not encrypted, in [`Mode::Transitional`].
    plain: Arc<AtomicU64>,
}

/// How streams are encrypted now.
struct SetUp {
    configs: Configs,
    checks: Option<Arc<Checks>>,
}

/// Why encryption was not set up.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The algorithms lack something.
    Algorithms(String),
    Certificates(CertificateFault),
}

/// What a builder was told of encryption.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) secret: Option<Secret>,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) mode: Mode,
    /// The algorithms of connections, if not the runtime's.
    pub(crate) provider: Option<Arc<CryptoProvider>>,
}

/// The encryption of a node, if it has a secret.
pub(crate) fn start(
    wanted: Wanted,
    runtime: &Arc<dyn Runtime>,
    cluster: &str,
    id: NodeId,
    started: Timestamp,
) -> Result<Option<Arc<Security>>, Fault> {
    let Wanted { secret, certificates, mode, provider } = wanted;
    let Some(secret) = secret else {
        let is_asked = certificates.is_some();
        return if is_asked {
            Err(Fault::Certificates(CertificateFault::NoSecret))
        } else {
            Ok(None)
        };
    };
    let (runtime, cluster) = (runtime.clone(), cluster.to_owned());
    let provider = provider.unwrap_or_else(|| runtime.crypto_provider());
    let parts =
        SecurityParts { runtime, cluster, id, secret, certificates, mode, provider, started };
    Security::new(parts).map(|security| Some(Arc::new(security)))
}

/// What [`Security::new`] is given.
pub(crate) struct SecurityParts {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) cluster: String,
    pub(crate) id: NodeId,
    pub(crate) secret: Secret,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) mode: Mode,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) started: Timestamp,
}

impl Security {
    pub(crate) fn new(parts: SecurityParts) -> Result<Self, Fault> {
        let SecurityParts { runtime, cluster, id, secret, certificates, mode, provider, started } =
            parts;
        let time: Arc<dyn TimeProvider> = Arc::new(WallTimeOf(runtime.clone()));
        let mut seal = Seal::new(Ring, &cluster, id, secret.bytes(), started);
        seal.set_mode(mode);
        let lacks = |error: rustls::Error| Fault::Algorithms(error.to_string());
        let identity = Identity::new(&cluster, seal.key_in_use(), &secret, &provider);
        let identity = identity.map_err(lacks)?;
        let set_up = match &certificates {
            None => {
                let configs = Configs::of_secrets(vec![identity.clone()], &provider, &time);
                SetUp { configs: configs.map_err(lacks)?, checks: None }
            }
            Some(certificates) => {
                let now = unix_time(runtime.now().wall.as_nanos());
                let credentials = certificates.load(&cluster, id, now, &provider);
                let credentials = credentials.map_err(Fault::Certificates)?;
                let configs = Configs::of_certificates(&credentials, &provider, &time);
                SetUp { configs: configs.map_err(lacks)?, checks: Some(credentials.checks) }
            }
        };
        Ok(Self {
            certificates,
            id,
            cluster,
            runtime,
            provider,
            time,
            seal: Mutex::new(seal),
            identities: Mutex::new(vec![identity]),
            set_up: ArcSwap::from_pointee(set_up),
            refusals: Arc::new(Refusals::new(id)),
            plain: Arc::default(),
        })
    }

    /// A stream to `addr`, where `id` is expected if it is known. It is encrypted, unless that node
    /// does not encrypt and this one may speak to it all the same (docs/protocol.md §2.10.4).
    pub(crate) fn connect(
        self: &Arc<Self>,
        addr: SocketAddr,
        id: Option<NodeId>,
    ) -> BoxFuture<std::io::Result<Box<dyn Stream>>> {
        let encrypts = match self.mode() {
            Mode::Transitional => id.and_then(|id| lock(&self.seal).encrypts(id)),
            _ => Some(true),
        };
        let (security, connecting) = (self.clone(), self.runtime.connect(addr));
        Box::pin(async move {
            let stream = connecting.await?;
            match encrypts {
                Some(true) => Ok(Box::new(security.dial(stream, false)?) as _),
                Some(false) => {
                    security.plain.fetch_add(1, Ordering::Relaxed);
                    Ok(stream)
                }
                None => {
                    let mut tls = security.dial(stream, true)?;
                    let shaken = poll_fn(|cx| tls.poll_handshake(cx)).await;
                    if shaken.is_err() && tls.met_plain() {
                        security.plain.fetch_add(1, Ordering::Relaxed);
                        return security.runtime.connect(addr).await;
                    }
                    shaken.map(|()| Box::new(tls) as _)
                }
            }
        })
    }

    /// The stream that this node has dialled, encrypted.
    fn dial(&self, stream: Box<dyn Stream>, may_be_plain: bool) -> std::io::Result<TlsStream> {
        // A name is demanded; it is neither sent nor looked at.
        let name = ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into());
        let set_up = self.set_up.load();
        let tls = ClientConnection::new(set_up.configs.dialer.clone(), name);
        let tls = tls.map_err(std::io::Error::other)?;
        let (refusals, checks) = (self.refusals.clone(), set_up.checks.clone());
        Ok(TlsStream::new(stream, tls, refusals, checks).tolerating(may_be_plain))
    }

    /// The stream that a peer has dialled, encrypted; in [`Mode::Transitional`], if the peer
    /// encrypts.
    pub(crate) fn accept(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        let set_up = self.set_up.load();
        let tls = ServerConnection::new(set_up.configs.acceptor.clone());
        let tls = tls.expect("it was tried when it was set up");
        let (refusals, checks) = (self.refusals.clone(), set_up.checks.clone());
        match self.mode() {
            Mode::Transitional => {
                let over_tls: OverTls =
                    Box::new(move |stream| Box::new(TlsStream::new(stream, tls, refusals, checks)));
                Box::new(Either::new(stream, over_tls, self.plain.clone()))
            }
            _ => Box::new(TlsStream::new(stream, tls, refusals, checks)),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        lock(&self.seal).mode()
    }

    pub(crate) fn is_transitional(&self) -> bool {
        self.mode() == Mode::Transitional
    }

    /// Nobody who does not encrypt is heard from now on.
    pub(crate) fn require(&self) {
        lock(&self.seal).set_mode(Mode::Required);
    }

    /// What the node says about itself, with the key that it uses (docs/protocol.md §2.10.1).
    pub(crate) fn own(&self, metadata: &Metadata) -> Result<Metadata, MetadataError> {
        metadata.with(KEY_ID_KEY, &self.key_in_use().to_string())
    }

    /// This run is a member now, or says something else about itself.
    pub(crate) fn handle_member(&self, member: &Member) {
        lock(&self.seal).handle_member(member.id, member.epoch, key_of(member));
    }

    pub(crate) fn handle_gone(&self, id: NodeId) {
        lock(&self.seal).handle_gone(id);
    }

    pub(crate) fn encrypts(&self, id: NodeId) -> Option<bool> {
        lock(&self.seal).encrypts(id)
    }

    pub(crate) fn connections_plain(&self) -> u64 {
        self.plain.load(Ordering::Relaxed)
    }

    /// Seals `payload` for the node `to`. False if it cannot be: then it must not be sent.
    pub(crate) fn seal(&self, now: Now, epoch: Epoch, to: NodeId, payload: &mut Vec<u8>) -> bool {
        let mut seal = lock(&self.seal);
        if seal.poll_random(now) {
            let mut random = [0; 32];
            if let Err(error) = self.runtime.random(&mut random) {
                tracing::error!(
                    target: "chinwag::security", "nothing is sent without randomness: {error}"
                );
                payload.clear();
                return false;
            }
            seal.handle_random(now, epoch, &random);
        }
        seal.seal(to, payload)
    }

    pub(crate) fn open(&self, now: Now, datagram: &mut [u8]) -> Result<Opened, Refusal> {
        lock(&self.seal).open(now, datagram)
    }

    pub(crate) fn prove(&self, opened: &Opened) {
        lock(&self.seal).prove(opened);
    }

    pub(crate) fn install(&self, secret: &Secret) -> Result<KeyId, KeyError> {
        let mut identities = lock(&self.identities);
        let id = lock(&self.seal).install(secret.bytes())?;
        if identities.iter().all(|identity| identity.id != id) {
            let identity = Identity::new(&self.cluster, id, secret, &self.provider);
            identities.push(identity.expect("a second key is made as the first one was"));
        }
        self.set_up(&identities);
        Ok(id)
    }

    pub(crate) fn use_key(&self, id: KeyId) -> Result<(), KeyError> {
        let mut identities = lock(&self.identities);
        lock(&self.seal).use_key(id)?;
        identities.sort_by_key(|identity| identity.id != id);
        self.set_up(&identities);
        Ok(())
    }

    pub(crate) fn remove(&self, id: KeyId) -> Result<(), KeyError> {
        let mut identities = lock(&self.identities);
        lock(&self.seal).remove(id)?;
        identities.retain(|identity| identity.id != id);
        self.set_up(&identities);
        Ok(())
    }

    /// What is dialled or accepted from now on rests on these, unless it rests on certificates.
    fn set_up(&self, identities: &[Identity]) {
        if self.certificates.is_some() {
            return;
        }
        let configs = Configs::of_secrets(identities.to_vec(), &self.provider, &self.time);
        let configs = configs.expect("they are set up as the first one was");
        self.set_up.store(Arc::new(SetUp { configs, checks: None }));
    }

    /// Reads the certificates again. False if the node has none; where one is not good, those from
    /// before stay.
    pub(crate) fn reload_certificates(&self) -> Result<bool, CertificateFault> {
        let Some(certificates) = &self.certificates else { return Ok(false) };
        let now = unix_time(self.runtime.now().wall.as_nanos());
        let credentials = certificates.load(&self.cluster, self.id, now, &self.provider)?;
        let configs = Configs::of_certificates(&credentials, &self.provider, &self.time);
        let configs = configs.map_err(|error| CertificateFault::Refused(error.to_string()))?;
        self.set_up.store(Arc::new(SetUp { configs, checks: Some(credentials.checks) }));
        Ok(true)
    }

    pub(crate) fn key_in_use(&self) -> KeyId {
        lock(&self.seal).key_in_use()
    }

    pub(crate) fn keys(&self) -> Vec<KeyId> {
        lock(&self.seal).keys()
    }

    pub(crate) fn datagram_stats(&self) -> seal::Stats {
        lock(&self.seal).stats()
    }

    pub(crate) fn handshakes_refused(&self) -> u64 {
        self.refusals.count.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").field("key_in_use", &self.key_in_use()).finish_non_exhaustive()
    }
}

/// The key that a member says it uses; `None` if it has no secret.
pub(crate) fn key_of(member: &Member) -> Option<KeyId> {
    member.metadata.get(KEY_ID_KEY)?.parse().ok()
}

/// Handshakes that came to nothing.
#[derive(Debug)]
pub(crate) struct Refusals {
    local: NodeId,
    count: AtomicU64,
    warned: Mutex<BTreeSet<(Option<IpAddr>, String)>>,
}

impl Refusals {
    fn new(local: NodeId) -> Self {
        Self { local, count: AtomicU64::new(0), warned: Mutex::default() }
    }

    /// Counts one, and says so: once for each host and reason as a warning.
    fn note(&self, from: Option<SocketAddr>, why: &str) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let is_news = {
            let mut warned = lock(&self.warned);
            let key = (from.map(|addr| addr.ip()), why.to_owned());
            warned.len() < REFUSALS_MAX && warned.insert(key)
        };
        let from = from.map_or_else(|| "an unknown address".into(), |addr| addr.to_string());
        let local = self.local;
        if is_news {
            tracing::warn!(target: "chinwag::security", %local, "no connection with {from}: {why}");
        } else {
            tracing::debug!(
                target: "chinwag::security", %local, "no connection with {from}: {why}"
            );
        }
    }
}

/// The wall clock of a runtime, as rustls asks for it.
struct WallTimeOf(Arc<dyn Runtime>);

impl TimeProvider for WallTimeOf {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now().wall.as_nanos()))
    }
}

impl fmt::Debug for WallTimeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallTimeOf")
    }
}

#[cfg(test)]
mod tests;
