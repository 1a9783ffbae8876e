//! [`Contender`]: anything whose calls can be measured; and the list of them.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chinwag::Runtime;
use chinwag_tokio::Tokio;

use super::floor::{Floor, FloorCopy};
use super::measure::{self, Throughput};
use super::node::{Encrypted, RawBytes, Typed, TypedVec};
#[cfg(feature = "peers")]
use super::peers;
use super::pingpong::PingPong;
use super::pingpong_smol::PingPongSmol;
use super::{CONNECTIONS, in_flight};

/// Servers and connections to them.
pub(crate) trait Setup: Send + Sync + Sized + 'static {
    type Caller: Caller;

    /// Starts servers on `runtime`, and opens so many connections to them.
    fn start(runtime: Arc<dyn Runtime>, connections: usize) -> impl Future<Output = Self> + Send;

    /// A caller on one of the connections, whose payload has `size` bytes.
    fn caller(&self, connection: usize, size: usize) -> Self::Caller;
}

/// One of the callers on a connection. Its clones share the connection.
pub(crate) trait Caller: Clone + Send + 'static {
    /// One call: done once the whole answer is there and has been looked at.
    fn call(&mut self) -> impl Future<Output = ()> + Send;
}

/// What takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One connection, one call at a time, no ids and no tasks: what loopback costs.
    PingPong,
    /// The same with smol's own sockets, on its global executor with its one thread: what async-io
    /// costs.
    PingPongSmol,
    /// The same on an executor with two threads.
    PingPongSmol2,
    /// The floor: see `floor.rs`.
    Floor,
    /// The floor with small bodies copied behind their headers.
    FloorCopy,
    /// Raw bytes on tokio.
    Raw,
    /// Typed messages on tokio, with a `Bytes` field.
    Typed,
    /// Typed messages on tokio, with a `Vec<u8>` field: owned by the handler, so copied out of the
    /// view and in again.
    TypedVec,
    /// [`Kind::Typed`] in a cluster with a secret: every byte over TLS 1.3.
    Encrypted,
    /// [`Kind::Typed`] on smol as it comes: its global executor with one thread.
    Smol,
    /// [`Kind::Typed`] on an executor of smol's with two threads.
    Smol2,
    /// [`Kind::Typed`] on async-std.
    AsyncStd,
    /// datacake-rpc: rkyv over HTTP/2.
    #[cfg(feature = "peers")]
    Datacake,
    /// tonic: protobuf over HTTP/2, that is, gRPC.
    #[cfg(feature = "peers")]
    Tonic,
    /// tarpc: bincode over frames with lengths.
    #[cfg(feature = "peers")]
    Tarpc,
}

impl Kind {
    /// All that this build has, in the order of the tables.
    pub const EVERY: &[Self] = &[
        Self::PingPong,
        Self::PingPongSmol,
        Self::PingPongSmol2,
        Self::Floor,
        Self::FloorCopy,
        Self::Raw,
        Self::Typed,
        Self::TypedVec,
        Self::Encrypted,
        Self::Smol,
        Self::Smol2,
        Self::AsyncStd,
        #[cfg(feature = "peers")]
        Self::Datacake,
        #[cfg(feature = "peers")]
        Self::Tonic,
        #[cfg(feature = "peers")]
        Self::Tarpc,
    ];

    /// Its name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::PingPong => "pingpong",
            Self::PingPongSmol => "pingpong-smol",
            Self::PingPongSmol2 => "pingpong-smol-2",
            Self::Floor => "floor",
            Self::FloorCopy => "floor-copy",
            Self::Raw => "raw",
            Self::Typed => "typed",
            Self::TypedVec => "typed-vec",
            Self::Encrypted => "encrypted",
            Self::Smol => "smol",
            Self::Smol2 => "smol-2",
            Self::AsyncStd => "async-std",
            #[cfg(feature = "peers")]
            Self::Datacake => "datacake",
            #[cfg(feature = "peers")]
            Self::Tonic => "tonic",
            #[cfg(feature = "peers")]
            Self::Tarpc => "tarpc",
        }
    }

    /// The one of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::EVERY.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether it takes more than one call at a time.
    pub fn is_multiplexed(self) -> bool {
        !matches!(self, Self::PingPong | Self::PingPongSmol | Self::PingPongSmol2)
    }

    /// Starts it, on two threads of its own if it does not say otherwise.
    pub fn start(self) -> Box<dyn Contender> {
        match self {
            Self::PingPong => on_tokio::<PingPong>(),
            Self::PingPongSmol => on_smol::<PingPongSmol>(),
            Self::PingPongSmol2 => on_two_of_smol::<PingPongSmol>(),
            Self::Floor => on_tokio::<Floor>(),
            Self::FloorCopy => on_tokio::<FloorCopy>(),
            Self::Raw => on_tokio::<RawBytes>(),
            Self::Typed => on_tokio::<Typed>(),
            Self::TypedVec => on_tokio::<TypedVec>(),
            Self::Encrypted => on_tokio::<Encrypted>(),
            Self::Smol => on_smol::<Typed>(),
            Self::Smol2 => on_two_of_smol::<Typed>(),
            Self::AsyncStd => {
                on::<Typed>(Arc::new(chinwag_async_std::AsyncStd::new()), Box::new(()))
            }
            #[cfg(feature = "peers")]
            Self::Datacake => on_tokio::<peers::Datacake>(),
            #[cfg(feature = "peers")]
            Self::Tonic => on_tokio::<peers::Tonic>(),
            #[cfg(feature = "peers")]
            Self::Tarpc => on_tokio::<peers::Tarpc>(),
        }
    }
}

/// A setup that runs.
pub trait Contender {
    /// Nanoseconds of each call, one after the other on one connection.
    fn sequential(&self, size: usize, time: Duration) -> Vec<u64>;

    /// Calls of [`in_flight`] callers on each of the first `connections`.
    fn throughput(&self, size: usize, connections: usize, time: Duration) -> Throughput;

    /// Nanoseconds of each small call while four callers send large ones on the same connection;
    /// and how many large ones went a second meanwhile.
    fn behind(&self, small: usize, large: usize, time: Duration) -> (Vec<u64>, f64);

    /// So many calls, one after the other on one connection.
    fn calls(&self, size: usize, count: usize);
}

struct Running<S> {
    setup: S,
    runtime: Arc<dyn Runtime>,
    /// Dropped last: what runs the runtime.
    _host: Box<dyn Any>,
}

impl<S: Setup> Contender for Running<S> {
    fn sequential(&self, size: usize, time: Duration) -> Vec<u64> {
        measure::sequential(&*self.runtime, self.setup.caller(0, size), time)
    }

    fn throughput(&self, size: usize, connections: usize, time: Duration) -> Throughput {
        let callers = (0..connections).flat_map(|connection| {
            let caller = self.setup.caller(connection, size);
            std::iter::repeat_n(caller, in_flight(size, connections))
        });
        measure::throughput(&*self.runtime, callers, time)
    }

    fn behind(&self, small: usize, large: usize, time: Duration) -> (Vec<u64>, f64) {
        let large = std::iter::repeat_n(self.setup.caller(0, large), 4);
        measure::behind(&*self.runtime, self.setup.caller(0, small), large, time)
    }

    fn calls(&self, size: usize, count: usize) {
        measure::calls(&*self.runtime, self.setup.caller(0, size), count);
    }
}

fn on<S: Setup>(runtime: Arc<dyn Runtime>, host: Box<dyn Any>) -> Box<dyn Contender> {
    let setup = measure::spawn(&*runtime, S::start(runtime.clone(), CONNECTIONS));
    let setup = futures_lite::future::block_on(setup);
    Box::new(Running { setup, runtime, _host: host })
}

fn on_tokio<S: Setup>() -> Box<dyn Contender> {
    let host = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let host = host.expect("threads for a runtime");
    on::<S>(Arc::new(Tokio::new(host.handle().clone())), Box::new(host))
}

fn on_smol<S: Setup>() -> Box<dyn Contender> {
    on::<S>(Arc::new(chinwag_smol::Smol::new()), Box::new(()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an executor of smol has the threads that it is given"
)]
fn on_two_of_smol<S: Setup>() -> Box<dyn Contender> {
    let executor = Arc::new(smol::Executor::new());
    for _ in 0..2 {
        let executor = executor.clone();
        std::thread::spawn(move || smol::block_on(executor.run(std::future::pending::<()>())));
    }
    on::<S>(Arc::new(chinwag_smol::Smol::on(executor)), Box::new(()))
}
