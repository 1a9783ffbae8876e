//! What the cases are made of: waiting for a condition, tasks with a result, sockets as futures.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chinwag::Runtime;
use chinwag::protocol::time::Instant;
use chinwag::runtime::{Listener, Stream, Timer, UdpSocket};

use crate::Host;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A count that only rises, and that can be waited for. As a [`Waker`], it counts how often it was
/// woken.
#[derive(Debug, Default)]
pub struct Tally {
    state: Mutex<(usize, Vec<Waker>)>,
}

impl Tally {
    /// One more.
    pub fn add(&self) {
        let woken = {
            let mut state = lock(&self.state);
            state.0 += 1;
            std::mem::take(&mut state.1)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.state).0
    }

    /// Waits until there are `wanted`, or more.
    pub async fn reaches(&self, wanted: usize) {
        poll_fn(|cx| {
            let mut state = lock(&self.state);
            if state.0 >= wanted {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Wake for Tally {
    fn wake(self: Arc<Self>) {
        self.add();
    }
}

/// Runs `future` as a task, and gives its result. Dropping the result leaves the task running.
pub fn spawn<T, F>(runtime: &dyn Runtime, future: F) -> impl Future<Output = T> + use<T, F>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (slot, ended) = (Arc::new(Mutex::new(None)), Arc::new(Tally::default()));
    let (filled, told) = (slot.clone(), ended.clone());
    runtime.spawn(Box::pin(async move {
        let result = future.await;
        *lock(&filled) = Some(result);
        told.add();
    }));
    async move {
        ended.reaches(1).await;
        lock(&slot).take().expect("filled before it was told")
    }
}

/// Waits until `deadline` on a timer of its own.
pub async fn sleep_until(runtime: &dyn Runtime, deadline: Instant) {
    let mut timer = runtime.timer();
    timer.reset(deadline);
    expired(&mut *timer).await;
}

/// Waits for the timer.
pub async fn expired(timer: &mut dyn Timer) {
    poll_fn(|cx| timer.poll_expired(cx)).await;
}

/// Tries of a story that takes a port again: see [`takes_a_port_again`].
const TRIES: usize = 10;

/// Plays a story that takes a port again which it had let go of. Other tests run at the same time,
/// and the system may have given one of them the port: then the story is played again, with
/// another port. A port that is never free fails.
pub(crate) async fn takes_a_port_again(story: impl AsyncFn() -> io::Result<()>) {
    for _ in 0..TRIES {
        match story().await {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("a port is not taken again: {error}"),
        }
    }
    panic!("a port that was let go of is not free, in {TRIES} tries");
}

/// Asks again and again until it is so, for what tells nobody when it changes.
pub async fn eventually(runtime: &dyn Runtime, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tick(runtime).await;
    }
}

/// Until something is to be looked at again.
pub async fn tick(runtime: &dyn Runtime) {
    sleep_until(runtime, runtime.now().mono + Duration::from_millis(5)).await;
}

/// One poll with the waker given.
pub fn poll_with<T>(waker: &Waker, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(waker))
}

/// One poll of a future that is dropped then.
pub fn poll_and_drop<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A datagram into `buf`. Errors, which concern earlier datagrams, are passed over.
pub async fn receive(socket: &mut dyn UdpSocket, buf: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        if let Ok(received) = poll_fn(|cx| socket.poll_recv_from(cx, buf)).await {
            return received;
        }
    }
}

/// Sends one datagram.
pub async fn send(socket: &mut dyn UdpSocket, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
    poll_fn(|cx| socket.poll_send_to(cx, datagram, to)).await
}

/// A UDP socket on the host's address.
pub async fn udp(host: &dyn Host) -> (Box<dyn UdpSocket>, SocketAddr) {
    let socket = host.runtime().bind_udp(host.addr()).await.expect("a free port");
    let addr = socket.local_addr().expect("bound");
    (socket, addr)
}

/// A listener on the host's address.
pub async fn listen(host: &dyn Host) -> (Box<dyn Listener>, SocketAddr) {
    let listener = host.runtime().listen(host.addr()).await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    (listener, addr)
}

/// A stream's two ends: the one that dialled, and the one that was accepted.
pub async fn streams(host: &dyn Host) -> (Box<dyn Stream>, Box<dyn Stream>) {
    let (mut listener, addr) = listen(host).await;
    let runtime = host.runtime();
    let accept = poll_fn(|cx| listener.poll_accept(cx));
    let (dialled, accepted) = futures_lite::future::zip(runtime.connect(addr), accept).await;
    (dialled.expect("connected"), accepted.expect("accepted"))
}

/// What is there to read; empty at the end.
pub async fn read(stream: &mut dyn Stream, buf: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_read(cx, buf)).await
}

/// Everything up to the end, or up to `len` bytes.
pub async fn read_up_to(stream: &mut dyn Stream, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        match read(stream, &mut bytes[at..]).await? {
            0 => break,
            more => at += more,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

/// All of `bytes`.
pub async fn write(stream: &mut dyn Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = poll_fn(|cx| stream.poll_write_vectored(cx, &[IoSlice::new(bytes)])).await?;
        assert!(taken > 0, "at least one byte is taken");
        bytes = &bytes[taken..];
    }
    Ok(())
}

/// Ends the sending direction.
pub async fn close(stream: &mut dyn Stream) {
    poll_fn(|cx| stream.poll_close(cx)).await.expect("closed");
}
