//! What chinwag's adapters to smol and async-std share: time, sockets and names on async-io. All but the tasks.
//!
//! async-io has one reactor a process, with a thread of its own, so this runs under any executor. An adapter keeps an
//! [`AsyncIo`], hands it everything but [`Runtime::spawn`](chinwag::Runtime::spawn), and is done; a runtime of your own whose tasks may be woken from any
//! thread can be built on it the same way.

use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use chinwag::core::time::{Instant, Now, WallTime};
use chinwag::runtime::{Listener, Stream, Timer, UdpSocket};

/// Everything of a [`Runtime`](chinwag::Runtime) but its tasks, method for method.
#[allow(
    clippy::disallowed_types,
    reason = "this is where time comes from; `expect` does not reach what is derived"
)]
#[derive(Clone, Copy, Debug)]
pub struct AsyncIo {
    origin: std::time::Instant,
}

impl Default for AsyncIo {
    fn default() -> Self {
        Self::new()
    }
}

impl AsyncIo {
    /// Its monotonic time begins now.
    #[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is where time comes from")]
    pub fn new() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// See [`Runtime::now`](chinwag::Runtime::now).
    #[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is where time comes from")]
    pub fn now(&self) -> Now {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Now { mono: Instant::ZERO + self.origin.elapsed(), wall: WallTime::UNIX_EPOCH + wall }
    }

    /// See [`Runtime::seed`](chinwag::Runtime::seed).
    #[expect(
        clippy::disallowed_types,
        reason = "this is where randomness comes from: std seeds its hashers from the OS"
    )]
    pub fn seed(&self) -> u64 {
        std::hash::RandomState::new().build_hasher().finish()
    }

    /// See [`Runtime::timer`](chinwag::Runtime::timer).
    pub fn timer(&self) -> Box<dyn Timer> {
        Box::new(Alarm { io: *self, deadline: Instant::FAR_FUTURE, timer: async_io::Timer::never() })
    }

    /// See [`Runtime::bind_udp`](chinwag::Runtime::bind_udp).
    ///
    /// # Errors
    /// The system's.
    pub fn bind_udp(&self, addr: SocketAddr) -> io::Result<Box<dyn UdpSocket>> {
        Ok(Box::new(Udp(Async::<std::net::UdpSocket>::bind(addr)?)))
    }

    /// See [`Runtime::listen`](chinwag::Runtime::listen).
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Tcp(Async::<std::net::TcpListener>::bind(addr)?)))
    }

    /// See [`Runtime::connect`](chinwag::Runtime::connect).
    ///
    /// # Errors
    /// The system's.
    pub async fn connect(addr: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let stream = Async::<std::net::TcpStream>::connect(addr).await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(Box::new(TcpStream(stream)))
    }

    /// See [`Runtime::lookup`](chinwag::Runtime::lookup). The system's resolver blocks, so it runs on a thread for that.
    ///
    /// # Errors
    /// The resolver's.
    pub async fn lookup(name: String) -> io::Result<Vec<SocketAddr>> {
        blocking::unblock(move || Ok(name.to_socket_addrs()?.collect())).await
    }
}

/// async-io's timer forgets its time when it fires, so the deadline is kept beside it.
struct Alarm {
    io: AsyncIo,
    deadline: Instant,
    timer: async_io::Timer,
}

impl Timer for Alarm {
    fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if deadline == Instant::FAR_FUTURE {
            self.timer.clear();
            return;
        }
        // Past the end of the system's clock is never.
        match self.io.origin.checked_add(Duration::from_nanos(deadline.as_nanos())) {
            Some(at) => self.timer.set_at(at),
            None => self.timer.clear(),
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline != Instant::FAR_FUTURE && self.deadline <= self.io.now().mono {
            return Poll::Ready(());
        }
        Pin::new(&mut self.timer).poll(cx).map(drop)
    }
}

struct Udp(Async<std::net::UdpSocket>);

impl UdpSocket for Udp {
    fn poll_recv_from(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        poll_until(cx, || self.0.get_ref().recv_from(buf), |cx| self.0.poll_readable(cx))
    }

    fn poll_send_to(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        let send = || self.0.get_ref().send_to(datagram, to);
        poll_until(cx, send, |cx| self.0.poll_writable(cx)).map_ok(|_sent| ())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }
}

struct Tcp(Async<std::net::TcpListener>);

impl Listener for Tcp {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        let (stream, _from) =
            ready!(poll_until(cx, || self.0.get_ref().accept(), |cx| self.0.poll_readable(cx)))?;
        stream.set_nodelay(true)?;
        Poll::Ready(Ok(Box::new(TcpStream(Async::new(stream)?))))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }
}

struct TcpStream(Async<std::net::TcpStream>);

impl Stream for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        poll_until(cx, || self.0.get_ref().read(buf), |cx| self.0.poll_readable(cx))
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        poll_until(cx, || self.0.get_ref().write_vectored(bufs), |cx| self.0.poll_writable(cx))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().peer_addr()
    }
}

/// Tries, and waits for readiness only if the try would block: most tries do not.
fn poll_until<T>(
    cx: &mut Context<'_>,
    mut attempt: impl FnMut() -> io::Result<T>,
    mut poll_ready: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<T>> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(poll_ready(cx))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}
