//! chinwag turns Rust programs into a cluster. This crate is what its adapters to smol and
//! async-std share: time, sockets and names on async-io; everything of a
//! [`Runtime`](chinwag::Runtime) but the tasks. A program adds `chinwag-smol` or
//! `chinwag-async-std` instead.
//!
//! async-io has one reactor for a process, with a thread of its own, so [`AsyncIo`] works under any
//! executor whose tasks may be woken from any thread. An adapter to such an executor keeps an
//! [`AsyncIo`], passes every method but [`Runtime::spawn`](chinwag::Runtime::spawn) on to it, and
//! runs the suite of `chinwag-conformance`:
//!
//! ```
//! let io = chinwag_async_io::AsyncIo::new();
//! let earlier = io.now();
//! assert!(io.now().mono >= earlier.mono);
//! ```
//!
//! Guides: [runtimes][guide], [running nodes][operations]. Status: before 0.1.
//!
//! [guide]: https://github.com/chinwag-rs/chinwag/blob/main/docs/runtimes.md
//! [operations]: https://github.com/chinwag-rs/chinwag/blob/main/docs/operations.md

mod gate;

use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use chinwag::protocol::time::{Instant, Now, WallTime};
use chinwag::runtime::{Listener, Stream, Timer, UdpSocket, WallClock};

use gate::Gate;

/// Everything of a [`Runtime`](chinwag::Runtime) but its tasks, method for method.
#[allow(
    clippy::disallowed_types,
    reason = "this is where time comes from; `expect` does not reach what is derived"
)]
#[derive(Clone, Debug)]
pub struct AsyncIo {
    origin: std::time::Instant,
    wall: Arc<WallClock>,
}

impl Default for AsyncIo {
    fn default() -> Self {
        Self::new()
    }
}

impl AsyncIo {
    /// Its monotonic time begins now.
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "this is where time comes from"
    )]
    pub fn new() -> Self {
        Self { origin: std::time::Instant::now(), wall: Arc::default() }
    }

    /// See [`Runtime::now`](chinwag::Runtime::now).
    pub fn now(&self) -> Now {
        let mono = Instant::ZERO + self.origin.elapsed();
        let ask = || WallTime::UNIX_EPOCH + std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Now { mono, wall: self.wall.at(mono, ask) }
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
        Box::new(Alarm {
            origin: self.origin,
            deadline: Instant::FAR_FUTURE,
            timer: async_io::Timer::never(),
        })
    }

    /// See [`Runtime::bind_udp`](chinwag::Runtime::bind_udp).
    ///
    /// # Errors
    /// The system's.
    pub fn bind_udp(&self, addr: SocketAddr) -> io::Result<Box<dyn UdpSocket>> {
        Ok(Box::new(Udp(Socket::new(Async::<std::net::UdpSocket>::bind(addr)?))))
    }

    /// See [`Runtime::listen`](chinwag::Runtime::listen).
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Tcp(Socket::new(Async::<std::net::TcpListener>::bind(addr)?))))
    }

    /// See [`Runtime::connect`](chinwag::Runtime::connect).
    ///
    /// # Errors
    /// The system's.
    pub async fn connect(addr: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let stream = Async::<std::net::TcpStream>::connect(addr).await?;
        stream.get_ref().set_nodelay(true)?;
        Ok(Box::new(TcpStream(Socket::new(stream))))
    }

    /// See [`Runtime::lookup`](chinwag::Runtime::lookup). The system's resolver blocks, so it runs
    /// on a thread for that.
    ///
    /// # Errors
    /// The resolver's.
    pub async fn lookup(name: String) -> io::Result<Vec<SocketAddr>> {
        blocking::unblock(move || Ok(name.to_socket_addrs()?.collect())).await
    }
}

/// async-io's timer forgets its time when it fires, so the deadline is kept beside it.
#[expect(clippy::disallowed_types, reason = "this is where time comes from")]
struct Alarm {
    origin: std::time::Instant,
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
        match self.origin.checked_add(Duration::from_nanos(deadline.as_nanos())) {
            Some(at) => self.timer.set_at(at),
            None => self.timer.clear(),
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline != Instant::FAR_FUTURE
            && self.deadline <= Instant::ZERO + self.origin.elapsed()
        {
            return Poll::Ready(());
        }
        Pin::new(&mut self.timer).poll(cx).map(drop)
    }
}

/// A socket, and whether reading and writing it are worth a try.
struct Socket<T> {
    io: Async<T>,
    incoming: Gate,
    outgoing: Gate,
}

impl<T> Socket<T> {
    fn new(io: Async<T>) -> Self {
        Self { io, incoming: Gate::new(), outgoing: Gate::new() }
    }

    fn poll_in<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.incoming.poll(cx, || attempt(self.io.get_ref()), |cx| self.io.poll_readable(cx))
    }

    fn poll_out<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.outgoing.poll(cx, || attempt(self.io.get_ref()), |cx| self.io.poll_writable(cx))
    }
}

struct Udp(Socket<std::net::UdpSocket>);

impl UdpSocket for Udp {
    fn poll_recv_from(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.0.poll_in(cx, |udp| udp.recv_from(buf))
    }

    fn poll_send_to(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        self.0.poll_out(cx, |udp| udp.send_to(datagram, to)).map_ok(|_sent| ())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.io.get_ref().local_addr()
    }
}

struct Tcp(Socket<std::net::TcpListener>);

impl Listener for Tcp {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        let (stream, _from) = ready!(self.0.poll_in(cx, std::net::TcpListener::accept))?;
        stream.set_nodelay(true)?;
        Poll::Ready(Ok(Box::new(TcpStream(Socket::new(Async::new(stream)?)))))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.io.get_ref().local_addr()
    }
}

struct TcpStream(Socket<std::net::TcpStream>);

impl Stream for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let len = ready!(self.0.poll_in(cx, |mut tcp| tcp.read(buf)))?;
        if len < buf.len() {
            self.0.incoming.drained();
        }
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_out(cx, |mut tcp| tcp.write_vectored(bufs))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.io.get_ref().shutdown(Shutdown::Write))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.io.get_ref().peer_addr()
    }
}
