//! Certificates: who is let in at both ends, and what a node says of its own that cannot be used.

use std::fs;
use std::path::PathBuf;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use tempfile::TempDir;

use super::*;

/// A certificate authority, whose files are in a folder.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate says.
struct Said<'a> {
    uris: &'a [&'a str],
    serial: u64,
    last_year: i32,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let folder = tempfile::tempdir().expect("a folder");
        let root = params.self_signed(&key).expect("signed").pem();
        fs::write(folder.path().join("roots.pem"), root).expect("written");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a certificate and its key under this name.
    fn issue(&self, name: &str, said: &Said<'_>) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        let uri = |uri: &&str| SanType::URI(Ia5String::try_from(*uri).expect("ASCII"));
        params.subject_alt_names = said.uris.iter().map(uri).collect();
        params.serial_number = Some(SerialNumber::from(said.serial));
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(said.last_year, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("written");
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    /// A good certificate of node `id`, whose serial number is its id.
    fn issue_to(&self, id: u64) {
        let uri = format!("spiffe://example.org/demo/{id}");
        self.issue(&id.to_string(), &Said { uris: &[&uri], serial: id, last_year: 2_100 });
    }

    /// Writes a list of what is revoked, which is good until this year.
    fn revoke(&self, serials: &[u64], last_year: i32) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2001, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: date_time_ymd(last_year, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed").pem().expect("as PEM");
        fs::write(self.path("revoked.pem"), list).expect("written");
    }

    fn certificates(&self, name: &str) -> Certificates {
        let file = |ending: &str| self.path(&format!("{name}.{ending}"));
        Certificates::new("example.org", file("pem"), file("key"), self.path("roots.pem"))
    }

    fn security(&self, id: u64) -> Security {
        node(id, self.certificates(&id.to_string())).expect("its certificate is good")
    }

    /// A node that looks at the list.
    fn careful(&self, id: u64) -> Security {
        let certificates = self.certificates(&id.to_string());
        let certificates = certificates.revocation_lists(self.path("revoked.pem"));
        node(id, certificates).expect("its certificate is good")
    }
}

fn node(id: u64, certificates: Certificates) -> Result<Security, Fault> {
    Security::new(SecurityParts {
        runtime: Arc::new(FakeRuntime::default()),
        cluster: "demo".into(),
        id: NodeId::new(id),
        secret: Secret::from_bytes([1; 32]),
        certificates: Some(certificates),
        mode: Mode::Required,
        provider: provider(),
        started: Timestamp::default(),
    })
}

fn fault(certificates: Certificates) -> String {
    match node(1, certificates) {
        Ok(_) => "none".into(),
        Err(Fault::Certificates(fault)) => fault.to_string(),
        Err(Fault::Algorithms(why)) => why,
    }
}

fn says(data: &Result<Vec<u8>, (Option<String>, Option<String>)>) -> String {
    match data {
        Ok(_) => "let in".into(),
        Err((near, far)) => format!("{near:?} {far:?}"),
    }
}

#[test]
fn s5_14_1_members_of_one_authority_let_each_other_in_by_name() {
    let authority = Authority::new("one");
    authority.issue_to(1);
    authority.issue_to(2);
    let (one, two) = (authority.security(1), authority.security(2));
    let mut ends = connect(&one, &two);
    assert_eq!(send(&mut ends, b"hello").as_deref(), Ok(&b"hello"[..]));
    let (near, far) = ends;
    assert!(near.may_be(NodeId::new(2)) && far.may_be(NodeId::new(1)));
    // A member with a good certificate is nobody else.
    assert!(!near.may_be(NodeId::new(1)) && !far.may_be(NodeId::new(2)));
    assert!(!near.may_be(NodeId::new(3)));
}

#[test]
fn s5_14_2_who_is_not_let_in() {
    let (authority, stranger) = (Authority::new("one"), Authority::new("two"));
    for id in 1..=3 {
        authority.issue_to(id);
    }
    stranger.issue_to(2);
    authority.revoke(&[3], 2_100);
    let careful = authority.careful(1);
    let refused = |other: &Security, why: &str| {
        for (dialer, acceptor) in [(&careful, other), (other, &careful)] {
            let said = says(&send(&mut connect(dialer, acceptor), b"hello"));
            assert!(said.contains(why), "{why}: {said}");
        }
    };
    assert!(send(&mut connect(&careful, &authority.security(2)), b"hello").is_ok());
    refused(&authority.security(3), "the certificate is revoked");
    refused(&stranger.security(2), "no root that is trusted");
    // One that has a secret alone has no certificate to show.
    for (dialer, acceptor) in [(&careful, &security(1)), (&security(1), &careful)] {
        assert!(send(&mut connect(dialer, acceptor), b"hello").is_err());
    }
    // A list that has expired refuses, rather than lets in.
    authority.revoke(&[3], 2_001);
    let late = authority.certificates("1").revocation_lists(authority.path("revoked.pem"));
    assert!(fault(late).contains("revocation list has expired"));
}

/// What a peer would refuse is refused at the node's own start, in the same words.
#[test]
fn s5_14_4_a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let authority = Authority::new("one");
    authority.issue_to(1);
    authority.issue_to(2);
    assert_eq!(fault(authority.certificates("1")), "none");
    let other_name = "the certificate's only URI has to be spiffe://example.org/demo/1";
    assert_eq!(fault(authority.certificates("2")), other_name);
    for uris in [
        &["spiffe://example.org/demo/1", "spiffe://example.org/demo/1"][..],
        &["spiffe://example.org/demo/01"],
        &["spiffe://example.org/demo/1/"],
        &["spiffe://example.org/other/1"],
        &["spiffe://other.org/demo/1"],
        &[],
    ] {
        authority.issue("odd", &Said { uris, serial: 9, last_year: 2_100 });
        assert_eq!(fault(authority.certificates("odd")), other_name, "{uris:?}");
    }
    let uris = &["spiffe://example.org/demo/1"];
    authority.issue("old", &Said { uris, serial: 9, last_year: 2_001 });
    assert!(fault(authority.certificates("old")).contains("the certificate has expired"));
    fs::copy(authority.path("2.key"), authority.path("odd.key")).expect("copied");
    fs::copy(authority.path("1.pem"), authority.path("odd.pem")).expect("copied");
    assert_eq!(
        fault(authority.certificates("odd")),
        "the private key belongs to another certificate"
    );
    fs::write(authority.path("odd.pem"), "not a certificate").expect("written");
    assert!(fault(authority.certificates("odd")).contains("has nothing of what it should have"));
    let half = fs::read(authority.path("1.pem")).expect("read");
    fs::write(authority.path("odd.pem"), &half[..half.len() / 2]).expect("written");
    assert!(fault(authority.certificates("odd")).contains("odd.pem"));
    assert!(fault(authority.certificates("missing")).contains("No such file"));
    let runtime: Arc<dyn Runtime> = Arc::new(FakeRuntime::default());
    let certificates = Some(authority.certificates("1"));
    let wanted = Wanted { certificates, ..Wanted::default() };
    let id = NodeId::new(1);
    let started = super::super::start(wanted, &runtime, "demo", id, Timestamp::default());
    assert!(matches!(started, Err(Fault::Certificates(CertificateFault::NoSecret))));
}

#[test]
fn s5_14_4_files_are_read_again_and_what_is_not_good_changes_nothing() {
    let authority = Authority::new("one");
    authority.issue_to(1);
    authority.issue_to(2);
    authority.revoke(&[], 2_100);
    let (one, two) = (authority.careful(1), authority.security(2));
    let let_in = || send(&mut connect(&one, &two), b"hello").is_ok();
    assert!(let_in());
    // Half of a new pair: the old pair stays.
    let key = fs::read(authority.path("1.key")).expect("read");
    authority.issue_to(1);
    let new_key = fs::read(authority.path("1.key")).expect("read");
    fs::write(authority.path("1.key"), key).expect("written");
    assert!(matches!(one.reload_certificates(), Err(CertificateFault::OtherKey)));
    assert!(let_in());
    fs::write(authority.path("1.key"), new_key).expect("written");
    assert!(matches!(one.reload_certificates(), Ok(true)));
    assert!(let_in());
    authority.revoke(&[2], 2_100);
    assert!(let_in(), "it has not been read yet");
    assert!(matches!(one.reload_certificates(), Ok(true)));
    assert!(!let_in());
    assert!(matches!(security(1).reload_certificates(), Ok(false)), "it has none");
}
