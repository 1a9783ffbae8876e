//! [`FakeRuntime`]: a runtime for unit tests, whose time and traffic the test has in its hand.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chinwag_core::id::NodeId;
use chinwag_core::time::{Instant, Now, WallTime};

use super::{BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket};
use crate::base::sync::lock;

/// Time that only the test moves, tasks that run when the test says so, streams in memory, and one
/// UDP socket whose datagrams go through the test's hands.
#[derive(Default)]
pub(crate) struct FakeRuntime {
    now: Arc<Mutex<Duration>>,
    tasks: Mutex<Vec<BoxFuture<()>>>,
    /// The other ends of the streams that were dialled.
    pub(crate) dialed: Mutex<Vec<FakeStream>>,
    pub(crate) udp: Arc<Datagrams>,
    /// What the next attempts to bind the UDP socket fail with, the first one last.
    pub(crate) refusals: Mutex<Vec<io::ErrorKind>>,
    /// The addresses of names. A name that is not here is never answered.
    pub(crate) names: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
    /// The names that were looked up.
    pub(crate) asked: Mutex<Vec<String>>,
    /// Rises with everything that may have given a task something to do.
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress(AtomicUsize);

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The datagrams of the one UDP socket.
#[derive(Default)]
pub(crate) struct Datagrams {
    pub(crate) to_node: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    pub(crate) from_node: Mutex<Vec<(Vec<u8>, SocketAddr)>>,
}

/// More polls of all tasks than any story here needs.
const ROUNDS_MAX: usize = 1_000;

impl FakeRuntime {
    pub(crate) fn advance(&self, by: Duration) {
        *lock(&self.now) += by;
    }

    /// Polls every task until none has anything to do.
    pub(crate) fn run(&self) {
        for _ in 0..ROUNDS_MAX {
            let before = self.progress.0.load(Ordering::SeqCst);
            let waker = Waker::from(self.progress.clone());
            let mut tasks = std::mem::take(&mut *lock(&self.tasks));
            tasks.retain_mut(|task| {
                task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            });
            let mut spawned = lock(&self.tasks);
            let is_quiet = spawned.is_empty() && self.progress.0.load(Ordering::SeqCst) == before;
            tasks.append(&mut spawned);
            *spawned = tasks;
            if is_quiet {
                return;
            }
        }
        panic!("the tasks do not come to rest");
    }

    /// Runs the tasks, and `future` to its end. Panics if it waits for something that no task does.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..ROUNDS_MAX {
            if let Poll::Ready(value) = self.poll(future.as_mut()) {
                return value;
            }
            self.run();
        }
        panic!("the future does not end");
    }

    /// Polls `future` once.
    pub(crate) fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(self.progress.clone());
        future.poll(&mut Context::from_waker(&waker))
    }

    pub(crate) fn tasks_count(&self) -> usize {
        lock(&self.tasks).len()
    }
}

impl Runtime for FakeRuntime {
    fn now(&self) -> Now {
        let since = *lock(&self.now);
        let wall = WallTime::from_nanos(1 << 60) + since;
        Now { mono: Instant::ZERO + Duration::from_secs(1) + since, wall }
    }

    fn seed(&self) -> u64 {
        7
    }

    fn spawn(&self, task: BoxFuture<()>) {
        lock(&self.tasks).push(task);
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(FakeTimer { now: self.now.clone(), deadline: Instant::FAR_FUTURE })
    }

    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>> {
        if let Some(kind) = lock(&self.refusals).pop() {
            return Box::pin(async move { Err(kind.into()) });
        }
        let socket = FakeUdp { datagrams: self.udp.clone(), addr };
        Box::pin(async { Ok(Box::new(socket) as Box<dyn UdpSocket>) })
    }

    fn listen(&self, mut addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        if addr.port() == 0 {
            addr.set_port(9);
        }
        Box::pin(async move { Ok(Box::new(FakeListener(addr)) as Box<dyn Listener>) })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        let (near, far) = FakeStream::pair(self.progress.clone(), addr);
        lock(&self.dialed).push(far);
        Box::pin(async { Ok(Box::new(near) as Box<dyn Stream>) })
    }

    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        lock(&self.asked).push(name.to_owned());
        let found = lock(&self.names).get(name).cloned();
        Box::pin(async move {
            match found {
                Some(addrs) => Ok(addrs),
                None => std::future::pending().await,
            }
        })
    }
}

struct FakeTimer {
    now: Arc<Mutex<Duration>>,
    deadline: Instant,
}

impl Timer for FakeTimer {
    fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    fn poll_expired(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let now = Instant::ZERO + Duration::from_secs(1) + *lock(&self.now);
        if self.deadline <= now { Poll::Ready(()) } else { Poll::Pending }
    }
}

struct FakeUdp {
    datagrams: Arc<Datagrams>,
    addr: SocketAddr,
}

impl UdpSocket for FakeUdp {
    fn poll_recv_from(
        &mut self,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let Some((bytes, from)) = lock(&self.datagrams.to_node).pop_front() else {
            return Poll::Pending;
        };
        buf[..bytes.len()].copy_from_slice(&bytes);
        Poll::Ready(Ok((bytes.len(), from)))
    }

    fn poll_send_to(
        &mut self,
        _: &mut Context<'_>,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        lock(&self.datagrams.from_node).push((datagram.to_vec(), to));
        Poll::Ready(Ok(()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

/// A listener that nobody dials: tests hand streams over themselves.
struct FakeListener(SocketAddr);

impl Listener for FakeListener {
    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

/// One end of a stream in memory. Its drop is the end of the stream for the other end.
pub(crate) struct FakeStream {
    incoming: Arc<Mutex<Direction>>,
    outgoing: Arc<Mutex<Direction>>,
    progress: Arc<Progress>,
    pub(crate) peer: SocketAddr,
    /// Who the other end has proven to be.
    pub(crate) proven: Option<NodeId>,
}

#[derive(Default)]
struct Direction {
    bytes: VecDeque<u8>,
    has_ended: bool,
}

impl FakeStream {
    fn pair(progress: Arc<Progress>, peer: SocketAddr) -> (Self, Self) {
        let (there, back) = (Arc::<Mutex<Direction>>::default(), Arc::default());
        let near = Self {
            incoming: Arc::clone(&back),
            outgoing: there.clone(),
            progress: progress.clone(),
            peer,
            proven: None,
        };
        (near, Self { incoming: there, outgoing: back, progress, peer, proven: None })
    }

    fn end(&self) {
        lock(&self.outgoing).has_ended = true;
        self.progress.clone().wake();
    }
}

impl Stream for FakeStream {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut incoming = lock(&self.incoming);
        if incoming.bytes.is_empty() && !incoming.has_ended {
            return Poll::Pending;
        }
        let len = incoming.bytes.len().min(buf.len());
        for (place, byte) in buf.iter_mut().zip(incoming.bytes.drain(..len)) {
            *place = byte;
        }
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        &mut self,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = lock(&self.outgoing);
        bufs.iter().for_each(|buf| outgoing.bytes.extend(&**buf));
        drop(outgoing);
        self.progress.clone().wake();
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    fn may_be(&self, peer: NodeId) -> bool {
        self.proven.is_none_or(|proven| proven == peer)
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.end();
    }
}
