//! [`Counted`]: a runtime that knows how many tasks there are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chinwag::protocol::time::Now;
use chinwag::runtime::{BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket};

/// A runtime whose tasks are counted; all else is the inner one's. Clones count together.
#[derive(Clone)]
pub struct Counted {
    runtime: Arc<dyn Runtime>,
    tasks: Arc<AtomicUsize>,
}

impl Counted {
    /// Counts the tasks that are spawned through this on `runtime`.
    pub fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, tasks: Arc::default() }
    }

    /// Tasks that are there: spawned, and not over yet with all that they own.
    pub fn tasks(&self) -> usize {
        self.tasks.load(Ordering::SeqCst)
    }
}

impl Runtime for Counted {
    fn spawn(&self, task: BoxFuture<()>) {
        struct Ends(Arc<AtomicUsize>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.tasks.fetch_add(1, Ordering::SeqCst);
        let ends = Ends(self.tasks.clone());
        self.runtime.spawn(Box::pin(async move {
            // Dropped in reverse, so it is counted until the task and all it owns are gone.
            let _ends = ends;
            task.await;
        }));
    }

    fn now(&self) -> Now {
        self.runtime.now()
    }

    fn seed(&self) -> u64 {
        self.runtime.seed()
    }

    fn timer(&self) -> Box<dyn Timer> {
        self.runtime.timer()
    }

    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>> {
        self.runtime.bind_udp(addr)
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        self.runtime.listen(addr)
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        self.runtime.connect(addr)
    }

    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        self.runtime.lookup(name)
    }
}
