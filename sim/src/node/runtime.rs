//! `impl Runtime` on virtual time: what the driver, services and user tasks of one simulated
//! process see.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chinwag::protocol::time::{Instant, Now};
use chinwag::runtime::{BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket};

use chinwag_core::rng::Rng;
use rustls::crypto::CryptoProvider;

use super::engine::Inner;
use super::state::State;
use crate::fault::Answers;

/// How long a look-up of a name takes, and one that fails.
const LOOKUP_TAKES: Duration = Duration::from_millis(1);
const LOOKUP_FAILS_AFTER: Duration = Duration::from_secs(2);

/// The runtime of one process on one machine. It goes on telling the time when that process has
/// ended, and does nothing else.
pub(crate) struct Virtual {
    world: Arc<Inner>,
    host: u32,
    process: u32,
}

impl Virtual {
    pub(crate) fn new(world: Arc<Inner>, host: u32, process: u32) -> Arc<Self> {
        Arc::new(Self { world, host, process })
    }

    fn begin(&self, task: BoxFuture<()>, place: &'static Location<'static>, is_users: bool) {
        let mut state = self.world.state();
        if is_there(&state, self.host, self.process) {
            state.tasks.spawn(self.host, task, place, is_users);
            drop(state);
            self.world.ring();
        } else {
            // Dropped later: what it owns may lock what the caller has locked.
            state.trash.push(task);
        }
    }

    /// Does something on behalf of the process, if it is still there.
    fn in_process<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State, u32) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<io::Result<T>> {
        let (world, host, process) = (self.world.clone(), self.host, self.process);
        Box::pin(async move {
            let mut state = world.state();
            if !is_there(&state, host, process) {
                return Err(ErrorKind::NotConnected.into());
            }
            act(&mut state, host)
        })
    }
}

fn is_there(state: &State, host: u32, process: u32) -> bool {
    let machine = &state.machines[host as usize];
    machine.is_up && machine.process == process
}

impl Runtime for Virtual {
    fn now(&self) -> Now {
        self.world.state().now_of(Some(self.host))
    }

    fn seed(&self) -> u64 {
        self.world.state().seed_of(self.host)
    }

    fn random(&self, buf: &mut [u8]) -> io::Result<()> {
        super::crypto::fill(&mut Rng::new(self.seed()), buf);
        Ok(())
    }

    fn crypto_provider(&self) -> Arc<CryptoProvider> {
        super::crypto::provider(self.seed())
    }

    #[track_caller]
    fn spawn(&self, task: BoxFuture<()>) {
        self.begin(task, Location::caller(), false);
    }

    // The driver comes this way with what users hand it (`Node::spawn`).
    fn spawn_from(&self, task: BoxFuture<()>, place: &'static Location<'static>) {
        self.begin(task, place, true);
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(VirtualTimer::new(&self.world, Some(self.host)))
    }

    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>> {
        let world = self.world.clone();
        self.in_process(move |state, host| {
            let bound = state.bind_udp(host, addr)?;
            Ok(Box::new(VirtualUdp { world, host, bound }) as _)
        })
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let world = self.world.clone();
        self.in_process(move |state, host| {
            let bound = state.bind_listener(host, addr)?;
            Ok(Box::new(VirtualListener { world, host, bound }) as _)
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        let world = self.world.clone();
        let dials = self.in_process(move |state, host| Ok(state.dial(host, addr)));
        Box::pin(async move {
            let id = dials.await?;
            let stream = VirtualStream { world, id, end: 0 };
            poll_fn(|cx| ready(stream.world.state().dialled(id, cx.waker()))).await?;
            Ok(Box::new(stream) as _)
        })
    }

    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let (world, host, name) = (self.world.clone(), self.host, name.to_owned());
        Box::pin(async move {
            if let Ok(addr) = name.parse() {
                return Ok(vec![addr]);
            }
            let (fails, answers) = world.state().begin_lookup(host);
            let takes = match answers {
                _ if fails => LOOKUP_FAILS_AFTER,
                Some(Answers::Never) => return std::future::pending().await,
                Some(Answers::Slow(after)) => after,
                _ => LOOKUP_TAKES,
            };
            let begun = world.state().now_of(Some(host)).mono;
            let mut timer = VirtualTimer::new(&world, Some(host));
            timer.reset(begun + takes);
            poll_fn(|cx| timer.poll_expired(cx)).await;
            if fails {
                return Err(ErrorKind::TimedOut.into());
            }
            world.state().resolve(host, &name, answers).ok_or_else(|| ErrorKind::NotFound.into())
        })
    }
}

fn ready<T>(done: Option<T>) -> Poll<T> {
    done.map_or(Poll::Pending, Poll::Ready)
}

/// A timer on a machine's clock, or on true time.
pub(crate) struct VirtualTimer {
    world: Arc<Inner>,
    id: u64,
}

impl VirtualTimer {
    pub(crate) fn new(world: &Arc<Inner>, host: Option<u32>) -> Self {
        let id = world.state().new_timer(host);
        Self { world: world.clone(), id }
    }
}

impl Timer for VirtualTimer {
    fn reset(&mut self, deadline: Instant) {
        self.world.state().reset_timer(self.id, deadline);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.world.state().has_expired(self.id, cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Future for VirtualTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_expired(cx)
    }
}

impl Drop for VirtualTimer {
    fn drop(&mut self) {
        self.world.state().timers.remove(&self.id);
    }
}

struct VirtualUdp {
    world: Arc<Inner>,
    host: u32,
    bound: SocketAddr,
}

impl UdpSocket for VirtualUdp {
    fn poll_recv_from(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        ready(self.world.state().receive_udp(self.host, self.bound.port(), cx.waker(), buf))
    }

    fn poll_send_to(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        ready(self.world.state().send_udp(self.host, self.bound.port(), cx.waker(), datagram, to))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.bound)
    }
}

impl Drop for VirtualUdp {
    fn drop(&mut self) {
        self.world.state().udp.remove(&(self.host, self.bound.port()));
    }
}

struct VirtualListener {
    world: Arc<Inner>,
    host: u32,
    bound: SocketAddr,
}

impl Listener for VirtualListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        let accepted = ready(self.world.state().accept(self.host, self.bound.port(), cx.waker()));
        accepted.map_ok(|id| Box::new(VirtualStream { world: self.world.clone(), id, end: 1 }) as _)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.bound)
    }
}

impl Drop for VirtualListener {
    fn drop(&mut self) {
        self.world.state().drop_listener(self.host, self.bound.port());
    }
}

/// One end of a connection, also while it is dialled.
struct VirtualStream {
    world: Arc<Inner>,
    id: u64,
    end: usize,
}

impl Stream for VirtualStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        ready(self.world.state().read(self.id, self.end, cx.waker(), buf))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready(self.world.state().write(self.id, self.end, cx.waker(), bufs))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.world.state().close_end(self.id, self.end))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.world.state().peer_of(self.id, self.end)
    }
}

impl Drop for VirtualStream {
    fn drop(&mut self) {
        self.world.state().drop_end(self.id, self.end);
    }
}
