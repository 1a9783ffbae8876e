//! [`Certificates`]: who a node is, in a form that others can check (`docs/protocol.md` §5.14).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::id::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, SignatureScheme,
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

/// Certificates between a member's own and a root, at most.
const INTERMEDIATES_MAX: usize = 4;

/// A node's certificate with its key, and the roots that it trusts, each in a PEM file. They are
/// read when they are used: at the start, and at every
/// [`reload_certificates`](crate::Security::reload_certificates).
///
/// The certificate names the node by its only URI, `spiffe://DOMAIN/CLUSTER/ID`, and may be used as
/// a TLS server and client.
#[derive(Clone, Debug)]
pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    roots: PathBuf,
    revoked: Option<PathBuf>,
    domain: String,
}

/// Why certificates are not used.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateFault {
    /// A file could not be read.
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file has nothing of what it should have.
    Empty(PathBuf),
    /// A file has something else, or what it has is damaged.
    Malformed {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key belongs to another certificate: a half-written pair, perhaps.
    OtherKey,
    /// The certificate is for another node or cluster: this is what it should say.
    OtherName(String),
    /// The node itself would refuse its certificate, and so would others.
    Refused(String),
    /// The node has no secret, so its datagrams would be in clear.
    NoSecret,
}

impl Certificates {
    /// The node's certificate, with those that lead to a root after it; its private key; and the
    /// roots. `domain` is the trust domain of the URIs.
    pub fn new(
        domain: impl Into<String>,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        roots: impl Into<PathBuf>,
    ) -> Self {
        let (chain, key, roots) = (chain.into(), key.into(), roots.into());
        Self { chain, key, roots, revoked: None, domain: domain.into() }
    }

    /// A PEM file of revocation lists. With one, every issuer must have a list, and a list that has
    /// expired refuses everything of its issuer.
    #[must_use]
    pub fn revocation_lists(mut self, revoked: impl Into<PathBuf>) -> Self {
        self.revoked = Some(revoked.into());
        self
    }

    /// Reads all files and checks the certificate as a peer would.
    pub(super) fn load(
        &self,
        cluster: &str,
        id: NodeId,
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Credentials, CertificateFault> {
        let chain: Vec<CertificateDer<'static>> = read_all(&self.chain)?;
        let roots: Vec<CertificateDer<'static>> = read_all(&self.roots)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| of(&self.key, error))?;
        let mut lists = Vec::new();
        if let Some(path) = &self.revoked {
            for list in read_all::<CertificateRevocationListDer<'_>>(path)? {
                let list = OwnedCertRevocationList::from_der(&list);
                lists.push(list.map_err(|error| malformed(path, &error))?.into());
            }
        }
        for root in &roots {
            anchor_from_trusted_cert(root).map_err(|error| malformed(&self.roots, &error))?;
        }
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| malformed(&self.key, &error))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            Error::InconsistentKeys(_) => CertificateFault::OtherKey,
            other => malformed(&self.chain, &other),
        })?;
        let prefix = format!("spiffe://{}/{cluster}/", self.domain);
        let checks = Checks { roots, lists, prefix, provider: provider.clone() };
        let own = &certified.cert[0];
        if checks.node_of(own) != Some(id) {
            return Err(CertificateFault::OtherName(format!("{}{id}", checks.prefix)));
        }
        for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
            let checked = checks.check(own, &certified.cert[1..], now, usage);
            let why = |error| reason(&error).unwrap_or_else(|| error.to_string());
            checked.map_err(|error| CertificateFault::Refused(why(error)))?;
        }
        Ok(Credentials { certified: Arc::new(certified), checks: Arc::new(checks) })
    }
}

/// Certificates as they were read, and found good.
pub(super) struct Credentials {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) checks: Arc<Checks>,
}

/// What a peer's certificate is held against.
pub(super) struct Checks {
    roots: Vec<CertificateDer<'static>>,
    lists: Vec<CertRevocationList<'static>>,
    prefix: String,
    provider: Arc<CryptoProvider>,
}

impl Checks {
    /// The node that the certificate names: the id of its only URI, in the one spelling that a
    /// number has.
    pub(super) fn node_of(&self, certificate: &CertificateDer<'_>) -> Option<NodeId> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let mut uris = certificate.valid_uri_names();
        let uri = uris.next().filter(|_| uris.next().is_none())?;
        let digits = uri.strip_prefix(&self.prefix)?;
        let id: u64 = digits.parse().ok()?;
        (id.to_string() == digits).then(|| NodeId::new(id))
    }

    // docs/protocol.md §5.14.2
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        let refused = |error| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(error)))))
        };
        let checked = EndEntityCert::try_from(certificate).map_err(refused)?;
        let anchors: Result<Vec<_>, _> = self.roots.iter().map(anchor_from_trusted_cert).collect();
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            let options = options.with_status_policy(UnknownStatusPolicy::Deny);
            options.with_expiration_policy(ExpirationPolicy::Enforce).build()
        });
        let algorithms = self.provider.signature_verification_algorithms.all;
        let anchors = anchors.map_err(refused)?;
        checked
            .verify_for_usage(algorithms, &anchors, intermediates, now, usage, revocation, None)
            .map_err(refused)?;
        match self.node_of(certificate) {
            Some(_) => Ok(()),
            None => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Checks {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = self.check(certificate, intermediates, now, KeyUsage::server_auth());
        checked.map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Checks {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let checked = self.check(certificate, intermediates, now, KeyUsage::client_auth());
        checked.map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) fn no_tls12<T>() -> Result<T, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
}

/// The reason of `webpki`, in words.
#[derive(Debug)]
struct Refused(webpki::Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            webpki::Error::CertRevoked => f.write_str("the certificate is revoked"),
            webpki::Error::CertExpired { .. } => f.write_str("the certificate has expired"),
            webpki::Error::CertNotValidYet { .. } => {
                f.write_str("the certificate is not valid yet")
            }
            webpki::Error::CrlExpired { .. } => f.write_str("the revocation list has expired"),
            webpki::Error::UnknownIssuer => {
                f.write_str("the certificate leads to no root that is trusted here")
            }
            other => write!(f, "the certificate is not accepted: {other:?}"),
        }
    }
}

impl std::error::Error for Refused {}

/// What `error` says of a peer's certificate, if it is about one.
pub(super) fn reason(error: &Error) -> Option<String> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => {
            why.downcast_ref::<Refused>().map(ToString::to_string)
        }
        Error::InvalidCertificate(CertificateError::NotValidForName) => {
            Some("the certificate names no node of this cluster".into())
        }
        _ => None,
    }
}

/// The time that certificates are held against.
pub(super) fn unix_time(wall_nanos: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_nanos(wall_nanos))
}

fn read_all<T: PemObject>(path: &Path) -> Result<Vec<T>, CertificateFault> {
    let items = T::pem_file_iter(path).map_err(|error| of(path, error))?;
    let items: Result<Vec<T>, _> = items.collect();
    let items = items.map_err(|error| of(path, error))?;
    if items.is_empty() { Err(CertificateFault::Empty(path.to_owned())) } else { Ok(items) }
}

fn of(path: &Path, error: pem::Error) -> CertificateFault {
    match error {
        pem::Error::Io(error) => CertificateFault::File { path: path.to_owned(), error },
        pem::Error::NoItemsFound => CertificateFault::Empty(path.to_owned()),
        other => malformed(path, &other),
    }
}

fn malformed(path: &Path, why: &dyn fmt::Display) -> CertificateFault {
    CertificateFault::Malformed { path: path.to_owned(), why: why.to_string() }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Empty(path) => {
                write!(f, "{} has nothing of what it should have, in PEM", path.display())
            }
            Self::Malformed { path, why } => write!(f, "{} cannot be used: {why}", path.display()),
            Self::OtherKey => f.write_str("the private key belongs to another certificate"),
            Self::OtherName(wanted) => {
                write!(f, "the certificate's only URI has to be {wanted}")
            }
            Self::Refused(why) => write!(f, "others would refuse this node's certificate: {why}"),
            Self::NoSecret => f.write_str(
                "certificates are for connections, and datagrams need a secret: give the node one \
                 too",
            ),
        }
    }
}

impl std::error::Error for CertificateFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { error, .. } => Some(error),
            _ => None,
        }
    }
}
