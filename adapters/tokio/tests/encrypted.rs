//! Nodes with a secret on real sockets: what leaves them, who is let in, and how keys change.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use chinwag_conformance::probe::{Echo, PATIENCE, Probe, sees};
use chinwag_tokio::chinwag::runtime::{BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket};
use chinwag_tokio::protocol::time::Now;
use chinwag_tokio::{
    Certificates, Config, Event, KeyError, NodeId, RemoveKeyError, Secret, Tokio, chinwag,
};

type Node = chinwag::Node;

/// Everything that leaves a node, over whichever socket.
type Record = Arc<Mutex<Vec<u8>>>;

/// tokio, whose sockets keep what is given to them.
struct Recording(Tokio, Record);

impl Runtime for Recording {
    fn now(&self) -> Now {
        self.0.now()
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.0.spawn(task);
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.0.timer()
    }

    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>> {
        let (bound, record) = (self.0.bind_udp(addr), self.1.clone());
        Box::pin(async move { Ok(Box::new(Tapped(bound.await?, record)) as _) })
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let (bound, record) = (self.0.listen(addr), self.1.clone());
        Box::pin(async move { Ok(Box::new(Tapped(bound.await?, record)) as _) })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        let (connected, record) = (self.0.connect(addr), self.1.clone());
        Box::pin(async move { Ok(Box::new(Tapped(connected.await?, record)) as _) })
    }

    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        self.0.lookup(name)
    }
}

struct Tapped<T: ?Sized>(Box<T>, Record);

impl<T: ?Sized> Tapped<T> {
    fn keep(&self, bytes: &[u8]) {
        self.1.lock().expect("not poisoned").extend_from_slice(bytes);
    }
}

impl UdpSocket for Tapped<dyn UdpSocket> {
    fn poll_recv_from(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.0.poll_recv_from(cx, buf)
    }

    fn poll_send_to(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        self.keep(datagram);
        self.0.poll_send_to(cx, datagram, to)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Listener for Tapped<dyn Listener> {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        let accepted = self.0.poll_accept(cx);
        accepted.map_ok(|stream| Box::new(Tapped(stream, self.1.clone())) as _)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Stream for Tapped<dyn Stream> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        bufs.iter().for_each(|buf| self.keep(buf));
        self.0.poll_write_vectored(cx, bufs)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

fn secret(seed: u8) -> Secret {
    Secret::from_bytes([seed; 32])
}

/// A node of the cluster `whispers`, with or without a secret.
async fn start(id: u64, secret: Option<Secret>, seeds: &[&Node], record: &Record) -> Node {
    let runtime = Tokio::new(tokio::runtime::Handle::current());
    let builder = Node::builder(id, ([127, 0, 0, 1], 0).into())
        .cluster("whispers")
        .metadata_entry("password", "hunter2")
        .config(Config::local())
        .seeds(seeds.iter().map(|node| node.local_addr().to_string()));
    let builder = match secret {
        Some(secret) => builder.secret(secret),
        None => builder,
    };
    let node = builder.start_on(Arc::new(Recording(runtime, record.clone()))).await;
    let node = node.expect("starts");
    node.add_service(Probe::default()).expect("added");
    node
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("{what}"));
}

fn contains(record: &Record, wanted: &[u8]) -> bool {
    record.lock().expect("not poisoned").windows(wanted.len()).any(|it| it == wanted)
}

/// What two nodes say to each other in a cluster with and without a secret: names, metadata, a
/// broadcast, a message, a call.
async fn whisper(secret: Option<Secret>) -> Record {
    let record = Record::default();
    let one = start(0x0123_4567_89ab_cdef, secret.clone(), &[], &record).await;
    let two = start(2, secret, &[&one], &record).await;
    sees(&one, 1).await;
    sees(&two, 1).await;
    let mut watch = two.watch();
    one.broadcast(b"a word to all").expect("sent");
    one.send(2, b"a word to one").expect("sent");
    let mut heard = 0;
    while heard < 2 {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time");
        heard += usize::from(matches!(
            event.expect("an event"),
            Event::Broadcast { .. } | Event::Message { .. }
        ));
    }
    let client = one.client::<Probe>(2);
    let echoed = client.call(&Echo { text: "a word in a call".into() }).await.expect("answered");
    assert_eq!(echoed.text, "a word in a call");
    one.leave().await.expect("left");
    record
}

#[tokio::test]
async fn nothing_leaves_a_node_in_clear() {
    let words: [&[u8]; 9] = [
        b"whispers",
        b"password",
        b"hunter2",
        b"a word to all",
        b"a word to one",
        b"a word in a call",
        b"probe",
        b"echo",
        // The id of node 1, as it travels.
        &0x0123_4567_89ab_cdef_u64.to_le_bytes(),
    ];
    // So that the record would show it.
    let clear = whisper(None).await;
    for word in words {
        assert!(
            contains(&clear, word),
            "{:?} is not found in clear",
            word.escape_ascii().to_string()
        );
    }
    let encrypted = whisper(Some(secret(1))).await;
    for word in words {
        assert!(!contains(&encrypted, word), "{:?}", word.escape_ascii().to_string());
    }
}

#[tokio::test]
async fn who_has_another_secret_or_none_is_not_let_in() {
    let record = Record::default();
    let one = start(1, Some(secret(1)), &[], &record).await;
    let other = start(2, Some(secret(2)), &[&one], &record).await;
    let plain = start(3, None, &[&one], &record).await;
    eventually("both ends have refused", || {
        other.stats().handshakes_refused > 0 && one.stats().handshakes_refused > 1
    })
    .await;
    let two = start(4, Some(secret(1)), &[&one], &record).await;
    sees(&two, 1).await;
    sees(&one, 1).await;
    assert_eq!(one.members().members()[0].id, NodeId::new(4));
    for outsider in [&other, &plain] {
        assert!(outsider.members().members().is_empty());
        let found = outsider.stats();
        assert_eq!(found.membership.datagrams_out, 0, "nobody to send one to");
    }
}

/// A datagram that nobody could have sealed changes nothing, whatever it says.
#[tokio::test]
async fn a_datagram_in_clear_is_not_heard() {
    let record = Record::default();
    let clear = Record::default();
    // A cluster of the same name without a secret gives true datagrams in clear.
    let liar = start(1, None, &[], &clear).await;
    let helper = start(2, None, &[&liar], &clear).await;
    sees(&liar, 1).await;
    sees(&helper, 1).await;
    let one = start(3, Some(secret(1)), &[], &record).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let recorded = clear.lock().expect("not poisoned").clone();
    for datagram in recorded.chunks(200).take(50) {
        socket.send_to(datagram, one.local_addr()).expect("sent");
    }
    for first in [0x81, 0x80, 0xff] {
        socket.send_to(&[first; 100], one.local_addr()).expect("sent");
    }
    eventually("they are counted", || {
        let seal = one.stats().seal;
        let sealed_form = seal.malformed + seal.unknown_key + seal.forged;
        sealed_form >= 3 && seal.plain > 0
    })
    .await;
    assert_eq!(one.stats().membership.datagrams_in, 0);
    assert!(one.members().members().is_empty());
}

/// Install, use, remove, ten times, while every node calls every other one (`docs/protocol.md`
/// §5.13.5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_under_load_and_no_call_fails() {
    let record = Record::default();
    let one = start(1, Some(secret(0)), &[], &record).await;
    let two = start(2, Some(secret(0)), &[&one], &record).await;
    let three = start(3, Some(secret(0)), &[&one], &record).await;
    let nodes = [&one, &two, &three];
    for node in nodes {
        sees(node, 2).await;
    }
    let mut watches: Vec<_> = nodes.iter().map(|node| node.watch()).collect();
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut callers = Vec::new();
    for (from, to) in [(&one, 2), (&two, 3), (&three, 1), (&two, 1)] {
        let (client, is_over) = (from.client::<Probe>(to), is_over.clone());
        callers.push(tokio::spawn(async move {
            let mut calls = 0;
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                client.call(&Echo { text: "on".into() }).await.expect("no call fails");
                calls += 1;
                tokio::task::yield_now().await;
            }
            calls
        }));
    }
    for round in 1..=10 {
        let old = one.security().expect("encrypted").key_in_use();
        let mut new = old;
        for node in nodes {
            new = node.security().expect("encrypted").install(&secret(round)).expect("room");
        }
        assert_ne!(new, old);
        for node in nodes {
            let security = node.security().expect("encrypted");
            assert_eq!(security.remove(old), Err(RemoveKeyError::Key(KeyError::InUse(old))));
            security.use_key(new).expect("installed");
        }
        for node in nodes {
            // Whoever has not spoken since is still waited for.
            eventually("nobody uses the old key", || {
                node.security().expect("encrypted").remove(old).is_ok()
            })
            .await;
        }
        assert_eq!(two.security().expect("encrypted").keys(), [new]);
    }
    is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    for caller in callers {
        assert!(caller.await.expect("no caller panics") > 10);
    }
    for watch in &mut watches {
        while let Some(event) = watch.try_next() {
            let is_trouble = matches!(event, Event::Died(_) | Event::Left(_) | Event::Suspected(_));
            assert!(!is_trouble, "{event:?}");
        }
    }
}

#[tokio::test]
async fn a_key_that_a_member_uses_is_not_removed_by_mistake() {
    let record = Record::default();
    let one = start(1, Some(secret(0)), &[], &record).await;
    let two = start(2, Some(secret(0)), &[&one], &record).await;
    sees(&one, 1).await;
    sees(&two, 1).await;
    let security = one.security().expect("encrypted");
    let old = security.key_in_use();
    let new = security.install(&secret(1)).expect("room");
    two.security().expect("encrypted").install(&secret(1)).expect("room");
    security.use_key(new).expect("installed");
    eventually("two has been heard", || security.peers() == [(NodeId::new(2), old)]).await;
    let refused = security.remove(old).expect_err("two uses it");
    assert_eq!(refused, RemoveKeyError::StillUsed(old, vec![NodeId::new(2)]));
    assert!(refused.to_string().contains("still used by 1 live member"), "{refused}");
    two.security().expect("encrypted").use_key(new).expect("installed");
    eventually("two uses the new one", || security.remove(old).is_ok()).await;
}

/// An authority, and a certificate of each of the nodes with these ids.
fn authority(folder: &std::path::Path, ids: &[u64]) {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
    let mut root = CertificateParams::new(Vec::new()).expect("no names");
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let file = |name: &str| folder.join(name);
    std::fs::write(file("roots.pem"), root.self_signed(&key).expect("signed").pem()).expect("ok");
    let issuer = Issuer::new(root, key);
    for id in ids {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        let uri = format!("spiffe://example.org/whispers/{id}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("signed").pem();
        std::fs::write(file(&format!("{id}.pem")), certificate).expect("written");
        std::fs::write(file(&format!("{id}.key")), key.serialize_pem()).expect("written");
    }
}

#[tokio::test]
async fn s5_14_4_nodes_with_certificates_meet_and_read_them_again() {
    let folder = tempfile::tempdir().expect("a folder");
    authority(folder.path(), &[1, 2]);
    let begin = async |id: u64, seeds: &[&Node]| {
        let file = |name: String| folder.path().join(name);
        let (chain, key) = (file(format!("{id}.pem")), file(format!("{id}.key")));
        let certificates = Certificates::new("example.org", chain, key, file("roots.pem".into()));
        let node = Node::builder(id, ([127, 0, 0, 1], 0).into())
            .cluster("whispers")
            .config(Config::local())
            .seeds(seeds.iter().map(|node| node.local_addr().to_string()))
            .secret(secret(1))
            .certificates(certificates);
        let runtime = Tokio::new(tokio::runtime::Handle::current());
        let node = node.start_on(Arc::new(runtime)).await.expect("starts");
        node.add_service(Probe::default()).expect("added");
        node
    };
    let one = begin(1, &[]).await;
    let two = begin(2, &[&one]).await;
    sees(&one, 1).await;
    sees(&two, 1).await;
    let echoed = one.client::<Probe>(2).call(&Echo { text: "by name".into() }).await;
    assert_eq!(echoed.expect("answered").text, "by name");

    // The secret alone does not open a connection.
    let outsider = start(3, Some(secret(1)), &[&one], &Record::default()).await;
    eventually("both ends have refused", || {
        outsider.stats().handshakes_refused > 0 && one.stats().handshakes_refused > 0
    })
    .await;
    assert!(outsider.members().members().is_empty());
    assert_eq!(one.members().members().len(), 1);
    assert!(one.security().expect("encrypted").reload_certificates().expect("still good"));
    let echoed = one.client::<Probe>(2).call(&Echo { text: "again".into() }).await;
    assert_eq!(echoed.expect("answered over a new connection").text, "again");
}
