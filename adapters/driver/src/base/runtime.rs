//! The seam between chinwag and whatever runs it: [`Runtime`] and the sockets it gives out.
//!
//! ```text
//!   node task, connection tasks, callers          (this crate: no clock, thread, socket or randomness of its own)
//!        |  now  seed  spawn  timer  bind_udp  listen  connect  lookup
//!   dyn Runtime      tokio | smol | async-std | the simulator
//! ```
//!
//! Everything this crate learns about the outside world comes through one `Arc<dyn Runtime>`: the
//! time, randomness (one seed), tasks, timers, sockets, names. Nothing else is asked of a runtime,
//! so an adapter is one file, and a simulator can be one. The seam is crossed once per datagram or
//! per batch of stream bytes, never per call.
//!
//! # What every implementation keeps to
//!
//! * **Wakers.** A `poll_*` that returns [`Poll::Pending`] has arranged for the waker of the
//!   *latest* such call to be woken once progress is possible. Receiving and sending of one socket
//!   keep separate wakers (so do reading and writing of one stream): a pending write does not
//!   forget a pending read. Spurious wake-ups are allowed. A waker may be woken from any thread,
//!   but never from inside the `poll_*` call that was given it: chinwag calls them holding a lock.
//! * **Non-blocking.** No method blocks its thread. `bind_udp`, `listen`, `connect` and `lookup`
//!   may suspend.
//! * **Ending.** Dropping a socket closes it and frees its port before the drop returns. Dropping
//!   the future of `connect` or `lookup` abandons the attempt. Dropping a [`Timer`] disarms it.
//! * **Errors** are [`io::Error`]s. A socket that has returned an error may be polled again, and
//!   may fail again.
//! * **No delay.** Streams have `TCP_NODELAY` on, those accepted as well as those dialled. (One
//!   side without it meets delayed acknowledgements: 44 ms a call.)
//! * **Tasks.** A spawned task runs until it returns. If it panics, it ends alone. Tasks may run in
//!   parallel.

#[cfg(test)]
pub(crate) mod fake;

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use chinwag_core::id::NodeId;
use chinwag_core::time::{Instant, Now, WallTime};

/// A future that owns what it needs and can be moved to another thread.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// What chinwag asks of a runtime. The module documentation states the contract.
pub trait Runtime: Send + Sync + 'static {
    /// What time it is. `mono` never runs back and is the clock of [`Runtime::timer`]; its origin
    /// is the runtime's choice. `wall` may step in either direction.
    fn now(&self) -> Now;

    /// A seed for one node's generator. Two calls give two seeds that have nothing to do with each
    /// other, except where a simulator wants them to. It need not be secret.
    fn seed(&self) -> u64;

    /// Fills `buf` with random bytes that nobody can guess, of which keys are made. By default they
    /// are the operating system's; a simulator gives its own.
    ///
    /// # Errors
    /// The system has none to give.
    #[cfg(feature = "secure")]
    fn random(&self, buf: &mut [u8]) -> io::Result<()> {
        use ring::rand::{SecureRandom as _, SystemRandom};
        let filled = SystemRandom::new().fill(buf);
        filled.map_err(|_| io::Error::other("the operating system gave no random bytes"))
    }

    /// The algorithms of encrypted streams. By default TLS 1.3 with AES-128-GCM or
    /// ChaCha20-Poly1305, and X25519, by the crate `ring`; a simulator gives some that repeat.
    #[cfg(feature = "secure")]
    fn crypto_provider(&self) -> Arc<rustls::crypto::CryptoProvider> {
        Arc::new(provider())
    }

    /// Runs `task` to its end, beside the caller. It is polled first after this returns, never
    /// inside it.
    fn spawn(&self, task: BoxFuture<()>);

    /// [`Runtime::spawn`] for a task that the code at `place` has started. A simulator names the
    /// place in its reports; other runtimes need not know it.
    fn spawn_from(&self, task: BoxFuture<()>, place: &'static Location<'static>) {
        let _ = place;
        self.spawn(task);
    }

    /// A new timer, not armed.
    fn timer(&self) -> Box<dyn Timer>;

    /// A UDP socket bound to `addr`; port 0 is a free port of the runtime's choice.
    ///
    /// Fails with [`io::ErrorKind::AddrInUse`] when the port is taken.
    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>>;

    /// A TCP listener bound to `addr`, as [`Runtime::bind_udp`]. A port just freed by another
    /// listener can be bound again at once, even while connections of it linger (`SO_REUSEADDR`
    /// on Unix).
    fn listen(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>>;

    /// A TCP connection to `addr`. May take as long as it likes; chinwag bounds it.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>>;

    /// The addresses of `name`, a `host:port` where host is a name or an address. Asked again at
    /// every try: an implementation does not cache. No addresses is an error or an empty list;
    /// both mean the same.
    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>>;
}

#[cfg(feature = "secure")]
/// The algorithms that streams use unless a runtime has others: TLS 1.3 with AES-128-GCM or
/// ChaCha20-Poly1305, and X25519.
fn provider() -> rustls::crypto::CryptoProvider {
    use rustls::crypto::CryptoProvider;
    use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    }
}

impl fmt::Debug for dyn Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

/// The runtime that the surrounding code runs on, for [`Builder::start`](crate::Builder::start).
/// Each adapter implements it for its own type, so that `Node::builder(..).start()` need not name a
/// runtime.
pub trait Ambient: Runtime {
    /// The runtime the caller is on, or why there is none.
    fn current() -> io::Result<Arc<dyn Runtime>>;
}

/// One deadline that can be moved.
pub trait Timer: Send {
    /// Arms the timer for `deadline`, earlier or later than before, or in the past.
    /// [`Instant::FAR_FUTURE`] disarms it. A waker left by an earlier [`Timer::poll_expired`]
    /// need not survive this: poll again.
    fn reset(&mut self, deadline: Instant);

    /// Ready once [`Runtime::now`] has reached the deadline, and at every further call until the
    /// next reset. A timer may be late; it is never early by the clock of `now`.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A bound UDP socket.
pub trait UdpSocket: Send {
    /// Takes one datagram into `buf` and gives its length and sender. What does not fit in `buf` is
    /// lost.
    ///
    /// An error concerns some earlier datagram (a port unreachable, say); the socket stays usable.
    fn poll_recv_from(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Sends one datagram. Ready with `Ok` says that it was handed on, not that it arrived.
    fn poll_send_to(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>>;

    /// The address it is bound to, with the real port.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A listening TCP socket.
pub trait Listener: Send {
    /// Takes one connection. An error concerns that connection, or means that the process is out of
    /// descriptors; the caller waits a little before it tries again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>>;

    /// The address it is bound to, with the real port.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A connected byte stream: ordered, reliable, full duplex. One task owns it and polls both
/// directions.
pub trait Stream: Send {
    /// Puts bytes at the front of `buf`, which is not empty, and says how many. Zero is the end of
    /// the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes bytes from the front of `bufs`, in order, and says how many: at least one, unless all
    /// of `bufs` are empty. What is taken is on its way, or waits for [`Stream::poll_flush`].
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Hands on what was taken and is still held, as by a stream that encrypts. Ready once that is
    /// done; by default at once.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Ends the sending direction, after what was written. Ready once that is handed on.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The other end.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Whether the other end may be the node `peer`, as its hello says: false if it has proven to
    /// be another one. A stream that proves nothing does not contradict.
    fn may_be(&self, peer: NodeId) -> bool {
        let _ = peer;
        true
    }
}

/// Wall-clock time told by a monotonic clock, for [`Runtime::now`]: the system is asked for it once
/// a millisecond at most, since the two readings of a clock are a good part of what a small call
/// costs. A step of the wall clock is seen that much later.
#[derive(Debug, Default)]
pub struct WallClock {
    /// Nanoseconds from the monotonic clock's origin to wall-clock time, wrapping.
    offset: AtomicU64,
    /// When it is asked for again: 0 at first.
    again_at: AtomicU64,
}

impl WallClock {
    /// What `ask` would give, or gave less than a millisecond of `mono` ago and the time since
    /// then.
    pub fn at(&self, mono: Instant, ask: impl FnOnce() -> WallTime) -> WallTime {
        let now = mono.as_nanos();
        // Of two threads that ask at once either may win: their answers differ by no more than the
        // time between them.
        if now >= self.again_at.load(Ordering::Relaxed) {
            self.offset.store(ask().as_nanos().wrapping_sub(now), Ordering::Relaxed);
            self.again_at.store(now.saturating_add(WALL_CLOCK_AGE_MAX), Ordering::Relaxed);
        }
        WallTime::from_nanos(now.wrapping_add(self.offset.load(Ordering::Relaxed)))
    }
}

/// A millisecond, in nanoseconds.
const WALL_CLOCK_AGE_MAX: u64 = 1_000_000;

/// A [`Timer`] that is moved only to fire earlier: most deadlines are later than the one before,
/// which is past or over by then. So it fires now and then for nothing, and most turns of a task
/// leave it alone.
pub(crate) struct Alarm {
    timer: Box<dyn Timer>,
    /// What the timer is set to: never later than the deadline.
    armed: Instant,
    /// Who is woken when it fires.
    waker: Option<Waker>,
}

impl Alarm {
    pub(crate) fn new(runtime: &dyn Runtime) -> Self {
        Self { timer: runtime.timer(), armed: Instant::FAR_FUTURE, waker: None }
    }

    /// As [`Alarm::poll`], by a task that has just looked at the clock, which was `now`.
    pub(crate) fn poll_at(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        let deadline = deadline.unwrap_or(Instant::FAR_FUTURE);
        let is_set = self.armed <= deadline && now < self.armed;
        if is_set && self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let polled = self.poll(cx, Some(deadline));
        self.waker = polled.is_pending().then(|| cx.waker().clone());
        polled
    }

    /// Ready once `deadline` is reached; `None` is never.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let deadline = deadline.unwrap_or(Instant::FAR_FUTURE);
        loop {
            if deadline < self.armed {
                self.armed = deadline;
                self.timer.reset(deadline);
            }
            if self.armed == Instant::FAR_FUTURE || self.timer.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            if self.armed == deadline {
                return Poll::Ready(());
            }
            // It was set for an earlier deadline.
            self.armed = Instant::FAR_FUTURE;
            if deadline == Instant::FAR_FUTURE {
                self.timer.reset(deadline);
            }
        }
    }
}
