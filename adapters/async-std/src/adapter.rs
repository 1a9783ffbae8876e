//! [`AsyncStd`]: `impl Runtime` over async-std's executor and async-io.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chinwag::protocol::time::Now;
use chinwag::runtime::{Ambient, BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket};
use chinwag_async_io::AsyncIo;

/// chinwag's [`Runtime`] on async-std, of which there is one in a process.
#[derive(Clone, Debug, Default)]
pub struct AsyncStd {
    io: AsyncIo,
}

impl AsyncStd {
    /// On async-std's threads.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Ambient for AsyncStd {
    fn current() -> io::Result<Arc<dyn Runtime>> {
        Ok(Arc::new(Self::new()))
    }
}

impl Runtime for AsyncStd {
    fn spawn(&self, task: BoxFuture<()>) {
        async_std::task::spawn(task);
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
