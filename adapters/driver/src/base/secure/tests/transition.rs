//! A node that also speaks to those that do not encrypt (`docs/protocol.md` §2.10).

use std::future::Future;
use std::pin::pin;

use chinwag_core::membership::{Member, Metadata};

use super::*;

fn transitional(secret: u8) -> Arc<Security> {
    let security = security(secret);
    lock(&security.seal).set_mode(Mode::Transitional);
    Arc::new(security)
}

fn said(stream: &mut dyn Stream, wanted: usize) -> Vec<u8> {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut said = Vec::new();
    let mut buf = [0; 64];
    for _ in 0..100 {
        if let Poll::Ready(Ok(len)) = stream.poll_read(cx, &mut buf) {
            said.extend(&buf[..len]);
        }
        if said.len() >= wanted {
            break;
        }
    }
    said
}

#[test]
fn s2_10_3_who_dials_may_encrypt_or_not() {
    let one = transitional(1);
    let (near, far) = pipe();
    let mut accepted = one.accept(Box::new(near));
    let cx = &mut Context::from_waker(Waker::noop());
    let bufs = [IoSlice::new(b"hello")];
    let early = accepted.poll_write_vectored(cx, &bufs);
    assert!(early.is_pending(), "whether it is to be encrypted is not known yet");
    lock(&far.to).bytes.extend(b"\xc7hinwag");
    assert_eq!(said(&mut *accepted, 7), b"\xc7hinwag");
    assert!(matches!(accepted.poll_write_vectored(cx, &bufs), Poll::Ready(Ok(5))));
    assert_eq!(lock(&far.from).bytes, b"hello");
    assert_eq!((one.connections_plain(), one.handshakes_refused()), (1, 0));

    let mut ends = connect(&security(1), &one);
    assert_eq!(send(&mut ends, b"in secret").as_deref(), Ok(&b"in secret"[..]));
    assert_eq!(one.connections_plain(), 1);
    // Another secret is not let in for it.
    let mut ends = connect(&security(2), &one);
    assert!(send(&mut ends, b"in secret").is_err());
}

#[test]
fn s2_10_3_a_connection_that_ends_before_its_first_byte_is_no_connection() {
    let one = transitional(1);
    let (near, far) = pipe();
    let mut accepted = one.accept(Box::new(near));
    drop(far);
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(accepted.poll_read(cx, &mut [0; 8]), Poll::Ready(Err(_))));
}

fn member(id: u64, epoch: u64, metadata: Metadata) -> Member {
    let addr = ([10, 0, 0, 2], 7_000).into();
    let mut member = Member::new(NodeId::new(id), Epoch::new(epoch), addr);
    member.metadata = metadata;
    member
}

/// What a node says of itself decides how others dial it; of a stranger, the stranger's first byte.
#[test]
fn s2_10_4_a_dial_is_encrypted_unless_the_peer_does_not() {
    let (plain, sealed) = (Metadata::new(), security(1).own(&Metadata::new()).expect("fits"));
    let other = security(2).own(&Metadata::new()).expect("fits");
    for (metadata, wanted) in [(plain, Some(false)), (sealed, Some(true)), (other, Some(false))] {
        let one = transitional(1);
        assert_eq!(one.encrypts(NodeId::new(2)), None);
        one.handle_member(&member(2, 5, metadata));
        assert_eq!(one.encrypts(NodeId::new(2)), wanted);
    }
}

/// A stranger's first byte decides: a hello instead of TLS, and it is dialled again in clear.
#[test]
fn s2_10_4_a_stranger_is_dialled_with_tls_first() {
    let runtime = Arc::new(FakeRuntime::default());
    let one = Security::new(SecurityParts {
        runtime: runtime.clone(),
        cluster: "demo".into(),
        id: NodeId::new(1),
        secret: Secret::from_bytes([1; 32]),
        certificates: None,
        mode: Mode::Transitional,
        provider: provider(),
        started: Timestamp::default(),
    });
    let one = Arc::new(one.expect("it can be set up"));
    let addr: SocketAddr = ([10, 0, 0, 9], 7_000).into();
    let cx = &mut Context::from_waker(Waker::noop());
    let mut dial = pin!(one.connect(addr, None));
    assert!(dial.as_mut().poll(cx).is_pending(), "the handshake has begun");
    let mut far = lock(&runtime.dialed).pop().expect("it was dialled");
    assert_eq!(said(&mut far, 1)[0], 0x16, "with TLS");
    let hello = [IoSlice::new(b"\xc7hinwag\n0000000000000000")];
    assert!(matches!(far.poll_write_vectored(cx, &hello), Poll::Ready(Ok(24))));
    let Poll::Ready(Ok(mut stream)) = dial.as_mut().poll(cx) else { panic!("it falls back") };
    let mut far = lock(&runtime.dialed).pop().expect("it was dialled again");
    let hello = [IoSlice::new(b"hello")];
    assert!(matches!(stream.poll_write_vectored(cx, &hello), Poll::Ready(Ok(5))));
    assert_eq!(said(&mut far, 5), b"hello");
    assert_eq!((one.connections_plain(), one.handshakes_refused()), (1, 0));
}

#[test]
fn s2_10_1_a_node_names_its_key_and_another_key_after_a_change() {
    let one = security(1);
    let said = Metadata::new().with("dc", "west").expect("fits");
    let first = one.own(&said).expect("fits");
    assert_eq!(first.get("dc"), Some("west"));
    assert_eq!(first.get(KEY_ID_KEY), Some(&*one.key_in_use().to_string()));
    let new = one.install(&Secret::from_bytes([2; 32])).expect("room");
    one.use_key(new).expect("installed");
    let second = one.own(&first).expect("fits");
    assert_eq!(key_of(&member(2, 5, second)), Some(new));
    assert_eq!(key_of(&member(2, 5, said)), None);
    let odd = Metadata::new().with(KEY_ID_KEY, "+1234567").expect("fits");
    assert_eq!(key_of(&member(2, 5, odd)), None);
}
