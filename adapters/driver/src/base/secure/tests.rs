//! `ring` gives what `core::seal` expects, and TLS over a stream that takes and gives little at a
//! time. How nodes use both is tested on every runtime.

mod certificates;
mod transition;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chinwag_core::id::Fence;
use chinwag_core::time::{Instant, WallTime};

use super::*;
use crate::base::runtime::fake::FakeRuntime;

fn security(secret: u8) -> Security {
    security_of("demo", secret)
}

fn provider() -> Arc<CryptoProvider> {
    FakeRuntime::default().crypto_provider()
}

fn dial(security: &Security, stream: impl Stream + 'static) -> Box<dyn Stream> {
    Box::new(security.dial(Box::new(stream), false).expect("set up"))
}

fn security_of(cluster: &str, secret: u8) -> Security {
    let parts = SecurityParts {
        runtime: Arc::new(FakeRuntime::default()),
        cluster: cluster.into(),
        id: NodeId::new(1),
        secret: Secret::from_bytes([secret; 32]),
        certificates: None,
        mode: Mode::Required,
        provider: provider(),
        started: Timestamp::default(),
    };
    Security::new(parts).expect("it can be set up")
}

/// The bytes of one datagram: those of the test of the same name in `core::seal`, which uses
/// another implementation of the algorithms.
#[test]
fn s2_6_the_vector_is_what_it_was() {
    let wall = WallTime::from_nanos(1_800_000_000_000_000_000);
    let now = Now { mono: Instant::ZERO, wall };
    let (id, secret) = (NodeId::new(1), [7; 32]);
    let mut seal = Seal::new(Ring, "demo", id, &secret, Timestamp::at(wall));
    seal.handle_random(now, Epoch::new(0), &[0; 32]);
    let mut payload = vec![1, 0];
    payload.extend_from_slice(&Fence::of("demo").get().to_le_bytes());
    payload.extend_from_slice(&1_u64.to_le_bytes());
    payload.extend_from_slice(&1_u64.to_le_bytes()[..6]);
    payload.extend_from_slice(&[0; 4]);
    let stamp = Timestamp::at(wall + Duration::from_secs(1));
    payload.extend_from_slice(&stamp.get().to_le_bytes());
    payload.extend_from_slice(&[0, 1, 2, 3]);
    assert!(seal.seal(NodeId::new(2), &mut payload));
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "810033caf16ce10c0b1f87875cf0c4932ebf010000000000013000e8084c10eee5f8ceaa2631f\
         7ea1bb769def62412e6b253a9777e8d87abca7a00f4d232fc5d5bd7e8dc7a5e"
    );
}

/// One direction of a pipe that holds little, and gives it in pieces of changing size.
#[derive(Default)]
struct Direction {
    bytes: VecDeque<u8>,
    has_ended: bool,
    /// Bits of the byte with this number are flipped as it passes.
    flip: Option<u64>,
    passed: u64,
}

struct End {
    from: Arc<Mutex<Direction>>,
    to: Arc<Mutex<Direction>>,
    piece: usize,
}

const ROOM: usize = 1_000;

fn pipe() -> (End, End) {
    let (there, back) = (Arc::<Mutex<Direction>>::default(), Arc::<Mutex<Direction>>::default());
    let near = End { from: back.clone(), to: there.clone(), piece: 7 };
    (near, End { from: there, to: back, piece: 3 })
}

impl Stream for End {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut from = lock(&self.from);
        if from.bytes.is_empty() {
            return if from.has_ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
        }
        self.piece = self.piece * 31 % 1_009 + 1;
        let len = buf.len().min(from.bytes.len()).min(self.piece);
        for place in &mut buf[..len] {
            let byte = from.bytes.pop_front().unwrap_or_default();
            let is_flipped = from.flip == Some(from.passed);
            from.passed += 1;
            *place = if is_flipped { byte ^ 0x20 } else { byte };
        }
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        &mut self,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut to = lock(&self.to);
        let len = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(ROOM - to.bytes.len());
        if len == 0 {
            return Poll::Pending;
        }
        to.bytes.extend(bufs.iter().flat_map(|buf| buf.iter().copied()).take(len));
        Poll::Ready(Ok(len))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.to).has_ended = true;
        Poll::Ready(Ok(()))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(([10, 0, 0, 9], 7_000).into())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.to).has_ended = true;
    }
}

type Ends = (Box<dyn Stream>, Box<dyn Stream>);

fn connect(dialer: &Security, acceptor: &Security) -> Ends {
    let (near, far) = pipe();
    let near = dial(dialer, near);
    (near, acceptor.accept(Box::new(far)))
}

/// Sends `data` one way, and says what came and how it ended, or which errors both ends got.
fn send(ends: &mut Ends, data: &[u8]) -> Result<Vec<u8>, (Option<String>, Option<String>)> {
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut sent, mut is_closed, mut came) = (0, false, Vec::new());
    let (mut near, mut far, mut buf) = (None, None, [0; 4_096]);
    for _ in 0..200_000 {
        if near.is_none() && !is_closed {
            let polled = match sent < data.len() {
                true => ends.0.poll_write_vectored(cx, &[IoSlice::new(&data[sent..])]),
                false => ends.0.poll_close(cx).map_ok(|()| 0),
            };
            match polled {
                Poll::Ready(Ok(0)) => is_closed = true,
                Poll::Ready(Ok(len)) => sent += len,
                Poll::Ready(Err(error)) => near = Some(error.to_string()),
                Poll::Pending => {}
            }
        }
        match ends.1.poll_read(cx, &mut buf) {
            Poll::Ready(Ok(0)) => return Ok(came),
            Poll::Ready(Ok(len)) => came.extend_from_slice(&buf[..len]),
            Poll::Ready(Err(error)) => {
                far = Some(error.to_string());
                if near.is_some() {
                    break;
                }
                // What the far end has to say still passes.
                for _ in 0..100 {
                    if let Poll::Ready(Err(error)) = ends.0.poll_read(cx, &mut buf) {
                        near = Some(error.to_string());
                        break;
                    }
                }
                break;
            }
            Poll::Pending => {}
        }
    }
    Err((near, far))
}

#[test]
fn s5_13_1_bytes_arrive_whole_through_a_narrow_pipe() {
    let (one, two) = (security(1), security(1));
    for len in [1, 1_000, 16_384, 16_385, 300_000] {
        let data: Vec<u8> = (0..251).cycle().take(len).collect();
        assert_eq!(send(&mut connect(&one, &two), &data).as_deref(), Ok(&data[..]), "{len} bytes");
    }
}

#[test]
fn s5_13_3_another_secret_is_named_at_both_ends() {
    for other in [security(2), security_of("another", 1)] {
        let one = security(1);
        let (near, far) = send(&mut connect(&one, &other), b"hello").expect_err("other keys");
        for why in [near, far] {
            let why = why.expect("both ends see it");
            assert!(why.contains("another secret"), "{why}");
        }
        assert_eq!((one.handshakes_refused(), other.handshakes_refused()), (1, 1));
    }
}

#[test]
fn s5_13_3_a_peer_that_does_not_encrypt_is_named() {
    let one = security(1);
    for (said, wanted) in [
        (&b"\xc7hinwag\n0000000000000000"[..], "does not encrypt"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak TLS"),
    ] {
        for dials in [true, false] {
            let (near, far) = pipe();
            let mut stream = match dials {
                true => dial(&one, near),
                false => one.accept(Box::new(near)),
            };
            lock(&far.to).bytes.extend(said);
            let cx = &mut Context::from_waker(Waker::noop());
            let error = (0..100).find_map(|_| match stream.poll_read(cx, &mut [0; 64]) {
                Poll::Ready(Err(error)) => Some(error.to_string()),
                _ => None,
            });
            let error = error.expect("it fails");
            assert!(error.contains(wanted), "{error}");
        }
    }
}

#[test]
fn s5_13_4_an_end_without_notice_is_an_error() {
    let (one, two) = (security(1), security(1));
    let (near, mut far) = connect(&one, &two);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut near = Some(near);
    let (mut came, mut buf) = (0, [0; 64]);
    let end = loop {
        if let Some(stream) = &mut near {
            let written = stream.poll_write_vectored(cx, &[IoSlice::new(b"half of a frame")]);
            if written.is_ready() {
                // The process is killed: its socket closes, and TLS says nothing.
                let _handed_on = stream.poll_flush(cx);
                near = None;
            }
        }
        match far.poll_read(cx, &mut buf) {
            Poll::Ready(Ok(0)) => break "an end".to_owned(),
            Poll::Ready(Ok(len)) => came += len,
            Poll::Ready(Err(error)) => break error.to_string(),
            Poll::Pending => {}
        }
    };
    assert_eq!(came, 15);
    assert!(end.contains("cut off"), "{end}");
}

/// Each byte of a whole exchange, one at a time: never does the other end get other bytes than were
/// sent, and it is told.
#[test]
fn s5_13_a_flipped_bit_gives_no_bytes() {
    let (one, two) = (security(1), security(1));
    let mut flipped = 0;
    for at in (0..2_000).step_by(7) {
        let (near, far) = pipe();
        lock(&near.to).flip = Some(at);
        let passed = near.to.clone();
        let near = dial(&one, near);
        let mut ends = (near, two.accept(Box::new(far)));
        let data = [9; 400];
        let arrived = send(&mut ends, &data);
        if lock(&passed).passed > at {
            flipped += 1;
            assert!(arrived.is_err(), "byte {at}");
        } else {
            assert_eq!(arrived.as_deref(), Ok(&data[..]));
        }
    }
    assert!(flipped > 50, "{flipped} exchanges had a flipped bit");
}

/// Two nodes on their way from one key to another, each as far as it may be.
#[test]
fn s5_13_2_keys_change_in_any_order() {
    let new = Secret::from_bytes([2; 32]);
    // With both keys and the old one in use; with both and the new one; with the new one alone.
    let stage = |stage: u8| {
        let security = security(1);
        let (old, id) = (security.key_in_use(), security.install(&new).expect("installed"));
        if stage >= 1 {
            security.use_key(id).expect("installed");
        }
        if stage >= 2 {
            security.remove(old).expect("not in use");
        }
        security
    };
    for (one, two) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)] {
        let arrived = send(&mut connect(&stage(one), &stage(two)), b"hello");
        assert_eq!(arrived.as_deref(), Ok(&b"hello"[..]), "{one} and {two}");
    }
    // And with one that has not begun.
    assert!(send(&mut connect(&security(1), &stage(1)), b"hello").is_ok());
    assert!(send(&mut connect(&stage(1), &security(1)), b"hello").is_ok());
    assert!(send(&mut connect(&stage(2), &security(1)), b"hello").is_err());
}

#[test]
fn a_secret_is_64_digits_and_is_not_shown() {
    let secret: Secret = format!(" {}\n", "0f".repeat(32)).parse().expect("digits");
    assert_eq!(secret.bytes(), &[15; 32]);
    assert_eq!(format!("{secret:?}"), "Secret");
    let texts = ["", "correct horse", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)];
    for text in texts {
        assert!(matches!(text.parse::<Secret>(), Err(SecretError::Format)), "{text:?}");
    }
    assert_ne!(Secret::generate().expect("random").bytes(), &[0; 32]);
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_can_read_is_refused() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    let folder = std::env::temp_dir().join(format!("chinwag-secret-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("cluster.key");
    let secret = Secret::generate().expect("random");
    secret.write_new(&path).expect("written");
    assert!(matches!(secret.write_new(&path), Err(SecretError::File { .. })), "never over another");
    assert_eq!(Secret::from_file(&path).expect("read").bytes(), secret.bytes());
    for (mode, is_taken) in [
        (0o600, true),
        (0o400, true),
        (0o440, true),
        (0o604, false),
        (0o620, false),
        (0o602, false),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        let read = Secret::from_file(&path);
        assert_eq!(read.is_ok(), is_taken, "{mode:o}");
        if let Err(error) = read {
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }
    fs::remove_dir_all(&folder).expect("removed");
    let missing = Secret::from_file(&path).expect_err("no such file").to_string();
    assert!(missing.contains("cluster.key"), "{missing}");
}
