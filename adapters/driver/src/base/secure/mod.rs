//! Encryption: datagrams sealed by `core::seal`, streams by TLS 1.3, both with keys that follow
//! from the cluster's secret.

mod cipher;
mod identity;
mod secret;
mod stream;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use chinwag_core::clock::Timestamp;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::seal::{self, KeyError, KeyId, Opened, Refusal, Seal};
use chinwag_core::time::Now;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, ServerConnection};

use self::cipher::Ring;
use self::identity::{Configs, Identity};
pub use self::secret::{Secret, SecretError};
use self::stream::TlsStream;
use crate::base::runtime::{Runtime, Stream};
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
    configs: ArcSwap<Configs>,
    refusals: Arc<Refusals>,
}

/// The encryption of a node, if it has a secret. The error says what the algorithms lack.
pub(crate) fn start(
    secret: Option<Secret>,
    runtime: &Arc<dyn Runtime>,
    cluster: &str,
    id: NodeId,
    started: Timestamp,
) -> Result<Option<Arc<Security>>, String> {
    let Some(secret) = secret else { return Ok(None) };
    let (runtime, cluster) = (runtime.clone(), cluster.to_owned());
    let security = Security::new(SecurityParts { runtime, cluster, id, secret, started });
    security.map(|security| Some(Arc::new(security))).map_err(|error| error.to_string())
}

/// What [`Security::new`] is given.
pub(crate) struct SecurityParts {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) cluster: String,
    pub(crate) id: NodeId,
    pub(crate) secret: Secret,
    pub(crate) started: Timestamp,
}

impl Security {
    pub(crate) fn new(parts: SecurityParts) -> Result<Self, rustls::Error> {
        let SecurityParts { runtime, cluster, id, secret, started } = parts;
        let provider = runtime.crypto_provider();
        let time: Arc<dyn TimeProvider> = Arc::new(WallTimeOf(runtime.clone()));
        let seal = Seal::new(Ring, &cluster, id, secret.bytes(), started);
        let identity = Identity::new(&cluster, seal.key_in_use(), &secret, &provider)?;
        let configs = Configs::new(vec![identity.clone()], &provider, &time)?;
        Ok(Self {
            cluster,
            runtime,
            provider,
            time,
            seal: Mutex::new(seal),
            identities: Mutex::new(vec![identity]),
            configs: ArcSwap::from_pointee(configs),
            refusals: Arc::new(Refusals::new(id)),
        })
    }

    /// The stream that this node has dialled, encrypted.
    pub(crate) fn dial(&self, stream: Box<dyn Stream>) -> std::io::Result<Box<dyn Stream>> {
        // A name is demanded; it is neither sent nor looked at.
        let name = ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into());
        let tls = ClientConnection::new(self.configs.load().dialer.clone(), name);
        let tls = tls.map_err(std::io::Error::other)?;
        Ok(Box::new(TlsStream::new(stream, tls, self.refusals.clone())))
    }

    /// The stream that a peer has dialled, encrypted.
    pub(crate) fn accept(&self, stream: Box<dyn Stream>) -> std::io::Result<Box<dyn Stream>> {
        let tls = ServerConnection::new(self.configs.load().acceptor.clone());
        let tls = tls.map_err(std::io::Error::other)?;
        Ok(Box::new(TlsStream::new(stream, tls, self.refusals.clone())))
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

    /// What is dialled or accepted from now on rests on these.
    fn set_up(&self, identities: &[Identity]) {
        let configs = Configs::new(identities.to_vec(), &self.provider, &self.time);
        self.configs.store(Arc::new(configs.expect("they are set up as the first one was")));
    }

    pub(crate) fn key_in_use(&self) -> KeyId {
        lock(&self.seal).key_in_use()
    }

    pub(crate) fn keys(&self) -> Vec<KeyId> {
        lock(&self.seal).keys()
    }

    pub(crate) fn peers(&self) -> Vec<(NodeId, KeyId)> {
        lock(&self.seal).peers()
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
        let wall = Duration::from_nanos(self.0.now().wall.as_nanos());
        Some(UnixTime::since_unix_epoch(wall))
    }
}

impl fmt::Debug for WallTimeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallTimeOf")
    }
}

#[cfg(test)]
mod tests;
