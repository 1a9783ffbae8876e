//! [`Cutting`]: tokio, with a proxy in every connection that is dialled. The proxy counts frames,
//! and cuts a connection where it is told to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use chinwag_tokio::protocol::time::Now;
use chinwag_tokio::runtime::{BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::common::lock;

/// Where to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Frames that go through before, in both directions and over all connections together. A
    /// hello is one.
    pub(crate) frames: usize,
    /// Whether half of the next frame goes through too.
    pub(crate) is_in_the_middle: bool,
}

/// What the proxies of one story share.
pub(crate) struct Plan {
    state: Mutex<State>,
    /// Counts up whenever everything that is open is to be cut.
    cuts: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    cut: Option<Cut>,
    passed: usize,
}

enum Verdict {
    Pass,
    /// This much of it, and no more.
    Cut(usize),
}

impl Plan {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), cuts: watch::Sender::new(0) })
    }

    /// Cuts every connection, and then the next one there. It is done once.
    pub(crate) fn arm(&self, cut: Cut) {
        *lock(&self.state) = State { cut: Some(cut), passed: 0 };
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Whether it still waits for its frame; it no longer does then.
    pub(crate) fn disarm(&self) -> bool {
        lock(&self.state).cut.take().is_some()
    }

    fn judge(&self, len: usize) -> Verdict {
        let mut state = lock(&self.state);
        match state.cut {
            Some(cut) if cut.frames == state.passed => {
                state.cut = None;
                Verdict::Cut(if cut.is_in_the_middle { len / 2 } else { 0 })
            }
            _ => {
                state.passed += 1;
                Verdict::Pass
            }
        }
    }

    /// Carries bytes between the two until either ends, or it is cut. Then both are dropped.
    async fn relay(&self, near: TcpStream, far: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::select! {
            _ = self.carry(near_read, far_write) => {}
            _ = self.carry(far_read, near_write) => {}
            _ = cuts.changed() => {}
        }
    }

    /// Frame by frame; the first is the hello (`docs/protocol.md` §5.1.2).
    async fn carry(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut frame = vec![0; 16];
        from.read_exact(&mut frame).await?;
        let mut rest = (word(&frame, 8) as usize).next_multiple_of(16);
        loop {
            frame.resize(16 + rest, 0);
            from.read_exact(&mut frame[16..]).await?;
            match self.judge(frame.len()) {
                Verdict::Pass => to.write_all(&frame).await?,
                Verdict::Cut(len) => {
                    to.write_all(&frame[..len]).await?;
                    return Ok(());
                }
            }
            frame.truncate(16);
            from.read_exact(&mut frame).await?;
            rest = rest_len(&frame);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Bytes of extension and body behind a frame's header (`docs/protocol.md` §5.2.1, §5.10.1).
fn rest_len(header: &[u8]) -> usize {
    let (kind, flags) = (header[8], header[9]);
    let is_in_fragments = matches!(kind, 1 | 2 | 3 | 16) && flags & 0x10 != 0;
    let body = if is_in_fragments { 0 } else { word(header, 0) as usize };
    let extension = usize::from(u16::from_le_bytes([header[12], header[13]]));
    extension.next_multiple_of(16) + body.next_multiple_of(16)
}

/// A runtime whose connections go through a proxy.
pub(crate) struct Cutting {
    pub(crate) inner: Arc<dyn Runtime>,
    pub(crate) plan: Arc<Plan>,
}

impl Runtime for Cutting {
    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        let (inner, plan) = (self.inner.clone(), self.plan.clone());
        Box::pin(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let front = listener.local_addr()?;
            tokio::spawn(async move {
                let (near, _) = listener.accept().await?;
                let far = TcpStream::connect(addr).await?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                plan.relay(near, far).await;
                io::Result::Ok(())
            });
            inner.connect(front).await
        })
    }

    fn now(&self) -> Now {
        self.inner.now()
    }

    fn seed(&self) -> u64 {
        self.inner.seed()
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.inner.spawn(task);
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.inner.timer()
    }

    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>> {
        self.inner.bind_udp(addr)
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        self.inner.listen(addr)
    }

    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        self.inner.lookup(name)
    }
}
