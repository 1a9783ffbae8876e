//! [`Smol`]: `impl Runtime` over smol's executors and async-io.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chinwag::protocol::time::Now;
use chinwag::runtime::{Ambient, BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket};
use chinwag_async_io::AsyncIo;
use smol::Executor;

/// chinwag's [`Runtime`] on smol: its global executor, or one of the program's own.
#[derive(Clone, Debug)]
pub struct Smol {
    io: AsyncIo,
    executor: Option<Arc<Executor<'static>>>,
}

impl Smol {
    /// On the global executor, that of `smol::spawn`, whose threads smol starts by itself
    /// (`SMOL_THREADS` of them, one by default).
    pub fn new() -> Self {
        Self { io: AsyncIo::new(), executor: None }
    }

    /// On `executor`, which the program runs.
    pub fn on(executor: Arc<Executor<'static>>) -> Self {
        Self { io: AsyncIo::new(), executor: Some(executor) }
    }
}

impl Default for Smol {
    fn default() -> Self {
        Self::new()
    }
}

impl Ambient for Smol {
    fn current() -> io::Result<Arc<dyn Runtime>> {
        Ok(Arc::new(Self::new()))
    }
}

impl Runtime for Smol {
    fn spawn(&self, task: BoxFuture<()>) {
        match &self.executor {
            Some(executor) => executor.spawn(task).detach(),
            None => smol::spawn(task).detach(),
        }
    }

    fn now(&self) -> Now {
        self.io.now()
    }

    fn seed(&self) -> u64 {
        self.io.seed()
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.io.timer()
    }

    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>> {
        Box::pin(ready(self.io.bind_udp(addr)))
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        Box::pin(ready(self.io.listen(addr)))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        Box::pin(AsyncIo::connect(addr))
    }

    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        Box::pin(AsyncIo::lookup(name.to_owned()))
    }
}
