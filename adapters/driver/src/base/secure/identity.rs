//! [`Identities`]: the keys that streams are opened with, and TLS 1.3 set up for them
//! (`docs/protocol.md` §5.13).
//!
//! From each secret of the keyring follows one Ed25519 key pair, which all who have the secret
//! share. Both ends prove by a raw public key (RFC 7250) that they have one. Each end lists the ids
//! of the keys that it accepts, as names of certificate authorities, and the other end answers with
//! one of them: so it does not matter in which order members change their keys.

use std::sync::Arc;

use chinwag_core::seal::{Cryptography as _, KeyId};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};
use zeroize::Zeroizing;

use super::certificates::{Credentials, no_tls12};
use super::cipher::Ring;
use super::secret::Secret;

/// The application protocol that both ends agree on (ALPN).
const PROTOCOL: &[u8] = b"chinwag/1";

/// What stands before the 32 bytes of an Ed25519 public key, as a SubjectPublicKeyInfo (RFC 8410).
const PUBLIC_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What stands before the 32 bytes of an Ed25519 private key, as PKCS #8 (RFC 8410).
const PRIVATE_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The identity that follows from one secret.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) id: KeyId,
    public: Vec<u8>,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// The identity of `secret` in `cluster`, whose key is called `id`.
    pub(crate) fn new(
        cluster: &str,
        id: KeyId,
        secret: &Secret,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let context = format!("chinwag/1 {cluster}");
        let root = Ring.extract(context.as_bytes(), secret.bytes());
        let mut seed = Zeroizing::new([0; 32]);
        Ring.expand(&root, &[b"stream ed25519"], &mut *seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed);
        let pair = pair.map_err(|_| Error::General("an Ed25519 key was not made".into()))?;
        let public = [&PUBLIC_PREFIX, pair.public_key().as_ref()].concat();
        let private = Zeroizing::new([&PRIVATE_PREFIX[..], &*seed].concat());
        let private = PrivatePkcs8KeyDer::from(&private[..]).clone_key();
        let key = provider.key_provider.load_private_key(private.into())?;
        let certified = CertifiedKey::new(vec![CertificateDer::from(public.clone())], key);
        Ok(Self { id, public, certified: Arc::new(certified) })
    }

    /// The id as the name of a certificate authority: an X.501 name with one common name, of eight
    /// hexadecimal digits.
    fn name(&self) -> DistinguishedName {
        let common_name = [0x31, 17, 0x30, 15, 6, 3, 0x55, 4, 3, 0x0c, 8];
        DistinguishedName::in_sequence(&[&common_name[..], self.id.to_string().as_bytes()].concat())
    }
}

/// Every identity of a node; the first one is that of the key in use.
#[derive(Debug)]
struct Identities {
    all: Vec<Identity>,
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl Identities {
    /// The one in use if the peer names it, else the first that it names.
    fn choose<'a>(&self, named: impl Iterator<Item = &'a [u8]>) -> Option<Arc<CertifiedKey>> {
        let named: Vec<&[u8]> = named.collect();
        let mut known = self.all.iter().zip(&self.names);
        // docs/protocol.md §5.13.2
        let (found, _) = known.find(|(_, name)| named.contains(&name.as_ref()))?;
        Some(found.certified.clone())
    }

    fn check(&self, key: &[u8], intermediates: &[CertificateDer<'_>]) -> Result<(), Error> {
        let is_known = self.all.iter().any(|identity| identity.public == key);
        if is_known && intermediates.is_empty() {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }
}

impl ServerCertVerifier for Identities {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(key, intermediates).map(|()| ServerCertVerified::assertion())
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
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        Some(&self.names)
    }
}

impl ClientCertVerifier for Identities {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(key, intermediates).map(|()| ClientCertVerified::assertion())
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
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.certificate_authorities().unwrap_or(&[]);
        self.choose(named.iter().map(AsRef::as_ref))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

impl ResolvesClientCert for Identities {
    fn resolve(&self, named: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.choose(named.iter().copied())
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// TLS for both ends of a node's connections.
pub(crate) struct Configs {
    pub(crate) dialer: Arc<ClientConfig>,
    pub(crate) acceptor: Arc<ServerConfig>,
}

impl Configs {
    /// For these identities, of which the first one is in use (`docs/protocol.md` §5.13.1). Nothing
    /// is taken from the process: algorithms and time are arguments.
    pub(crate) fn of_secrets(
        all: Vec<Identity>,
        provider: &Arc<CryptoProvider>,
        time: &Arc<dyn TimeProvider>,
    ) -> Result<Self, Error> {
        let names = all.iter().map(Identity::name).collect();
        let identities = Arc::new(Identities { all, names, provider: provider.clone() });
        Self::new(provider, time, &identities, &identities)
    }

    /// For certificates (`docs/protocol.md` §5.14.1).
    pub(crate) fn of_certificates(
        credentials: &Credentials,
        provider: &Arc<CryptoProvider>,
        time: &Arc<dyn TimeProvider>,
    ) -> Result<Self, Error> {
        let shown = Arc::new(SingleCertAndKey::from(credentials.certified.clone()));
        Self::new(provider, time, &credentials.checks, &shown)
    }

    fn new<V, S>(
        provider: &Arc<CryptoProvider>,
        time: &Arc<dyn TimeProvider>,
        verifier: &Arc<V>,
        shown: &Arc<S>,
    ) -> Result<Self, Error>
    where
        V: ServerCertVerifier + ClientCertVerifier + 'static,
        S: ResolvesServerCert + ResolvesClientCert + 'static,
    {
        let mut dialer = ClientConfig::builder_with_details(provider.clone(), time.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(shown.clone());
        dialer.alpn_protocols = vec![PROTOCOL.to_vec()];
        dialer.resumption = Resumption::disabled();
        dialer.enable_sni = false;
        let mut acceptor = ServerConfig::builder_with_details(provider.clone(), time.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(shown.clone());
        acceptor.alpn_protocols = vec![PROTOCOL.to_vec()];
        acceptor.send_tls13_tickets = 0;
        acceptor.session_storage = Arc::new(NoServerSessionStorage {});
        let acceptor = Arc::new(acceptor);
        // What is wrong with it is told here, and not when the first peer connects.
        ServerConnection::new(acceptor.clone())?;
        Ok(Self { dialer: Arc::new(dialer), acceptor })
    }
}
