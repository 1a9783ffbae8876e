//! [`Tokio`]: `impl Runtime` over tokio's sockets, timers and tasks.

use std::future::ready;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chinwag::protocol::time::{Instant, Now, WallTime};
use chinwag::runtime::{
    Ambient, BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket, WallClock,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::Sleep;

/// chinwag's [`Runtime`] on a tokio runtime with I/O and time enabled, multi-threaded or not.
///
/// Monotonic time is tokio's own, so a test with paused time sees paused time.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    origin: tokio::time::Instant,
    wall: Arc<WallClock>,
}

impl Tokio {
    /// The runtime behind `handle`.
    pub fn new(handle: Handle) -> Self {
        let origin = {
            let _entered = handle.enter();
            tokio::time::Instant::now()
        };
        Self { handle, origin, wall: Arc::default() }
    }
}

impl Ambient for Tokio {
    fn current() -> io::Result<Arc<dyn Runtime>> {
        let Ok(handle) = Handle::try_current() else {
            return Err(io::Error::other(
                "this is not called on a tokio runtime: call it in `#[tokio::main]`, or in \
                 `Runtime::block_on`",
            ));
        };
        require_drivers(&handle)?;
        Ok(Arc::new(Self::new(handle)))
    }
}

/// Fails unless the runtime has both of the drivers that a node needs. tokio has no way to ask:
/// what needs one that is not there panics. So the panic is taken here, once, before the node has begun.
fn require_drivers(handle: &Handle) -> io::Result<()> {
    let missing = |driver: &str| {
        let advice = "build it with `enable_all`";
        Err(io::Error::other(format!("the tokio runtime has no {driver} driver: {advice}")))
    };
    let _entered = handle.enter();
    if catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_err() {
        return missing("time");
    }
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    match catch_unwind(AssertUnwindSafe(|| tokio::net::UdpSocket::from_std(socket))) {
        Ok(registered) => registered.map(drop),
        Err(_) => missing("I/O"),
    }
}

impl Runtime for Tokio {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "this is where time comes from"
    )]
    fn now(&self) -> Now {
        let mono = tokio::time::Instant::now().saturating_duration_since(self.origin);
        let mono = Instant::ZERO + mono;
        let ask = || {
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            WallTime::UNIX_EPOCH + wall.unwrap_or_default()
        };
        Now { mono, wall: self.wall.at(mono, ask) }
    }

    #[expect(
        clippy::disallowed_types,
        reason = "this is where randomness comes from: std seeds its hashers from the OS"
    )]
    fn seed(&self) -> u64 {
        std::hash::RandomState::new().build_hasher().finish()
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.handle.spawn(task);
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(TokioTimer { runtime: self.clone(), sleep: None })
    }

    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>> {
        let bind = || {
            let socket = std::net::UdpSocket::bind(addr)?;
            socket.set_nonblocking(true)?;
            let _entered = self.handle.enter();
            Ok(Box::new(Udp(tokio::net::UdpSocket::from_std(socket)?)) as _)
        };
        Box::pin(ready(bind()))
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let listen = || {
            let listener = std::net::TcpListener::bind(addr)?;
            listener.set_nonblocking(true)?;
            let _entered = self.handle.enter();
            Ok(Box::new(Tcp(tokio::net::TcpListener::from_std(listener)?)) as _)
        };
        Box::pin(ready(listen()))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(TcpStream(stream)) as _)
        })
    }

    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let name = name.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host(name).await?.collect()) })
    }
}

/// One tokio `Sleep`, moved rather than made anew. It exists once it has been armed.
struct TokioTimer {
    runtime: Tokio,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer for TokioTimer {
    fn reset(&mut self, deadline: Instant) {
        if deadline == Instant::FAR_FUTURE {
            self.sleep = None;
            return;
        }
        let after = Duration::from_nanos(deadline.as_nanos());
        // Past the end of tokio's clock: a year is as good as never for a deadline that is polled
        // again.
        let at =
            self.runtime.origin.checked_add(after).unwrap_or_else(|| self.runtime.origin + YEAR);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => {
                let _entered = self.runtime.handle.enter();
                self.sleep = Some(Box::pin(tokio::time::sleep_until(at)));
            }
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);

struct Udp(tokio::net::UdpSocket);

impl UdpSocket for Udp {
    fn poll_recv_from(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buf = ReadBuf::new(buf);
        let from = ready!(self.0.poll_recv_from(cx, &mut buf))?;
        Poll::Ready(Ok((buf.filled().len(), from)))
    }

    fn poll_send_to(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        self.0.poll_send_to(cx, datagram, to).map_ok(|_sent| ())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct Tcp(tokio::net::TcpListener);

impl Listener for Tcp {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        let (stream, _from) = ready!(self.0.poll_accept(cx))?;
        stream.set_nodelay(true)?;
        Poll::Ready(Ok(Box::new(TcpStream(stream))))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct TcpStream(tokio::net::TcpStream);

impl Stream for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}
