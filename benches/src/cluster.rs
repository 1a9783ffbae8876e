//! Clusters of machines on a bare event queue in virtual time: the simulator's queue and latencies,
//! no faults, nothing looked at.
//!
//! ```text
//!   Cluster<M>  -- events, in order of time -->  M: Machine   (chinwag, foca, kinship)
//!       ^                                           |
//!       +---------- Net: parcels, alarms <----------+
//!   Chitchat    tasks on a runtime whose time is virtual, since its machine cannot be had without
//! ```

mod chinwag;
#[cfg(feature = "peers")]
mod chitchat;
#[cfg(feature = "peers")]
mod foca;
#[cfg(feature = "peers")]
mod kinship;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use chinwag_core::rng::mix;
use chinwag_sim::network::{LATENCY_JITTER, LATENCY_MIN};
use chinwag_sim::queue::{Queue, Timers};

pub use self::chinwag::Chinwag;
#[cfg(feature = "peers")]
pub use self::chitchat::Chitchat;
#[cfg(feature = "peers")]
pub use self::foca::Foca;
#[cfg(feature = "peers")]
pub use self::kinship::Kinship;

/// Nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
/// Everybody is given the first so many nodes for seeds.
const SEEDS: u32 = 3;
/// Nodes start so long after one another.
const START_EVERY: u64 = SECOND / 1_000;

/// One node's machine. Its driver is the [`Cluster`].
pub trait Machine: Sized {
    /// What travels between nodes.
    type Parcel;
    /// A timer that says what it is for; a machine that tells its next deadline has none.
    type Alarm;

    /// A node of a cluster that will have `nodes`, which is to join through `seeds`.
    fn start(node: u32, nodes: u32, net: &mut Net<Self>) -> Self;

    /// A parcel comes.
    fn receive(&mut self, from: u32, parcel: Self::Parcel, net: &mut Net<Self>);

    /// An alarm that it has set goes off.
    fn alarm(&mut self, alarm: Self::Alarm, net: &mut Net<Self>);

    /// When it wants to be woken next.
    fn deadline(&self) -> Option<u64>;

    /// That deadline is reached.
    fn wake(&mut self, net: &mut Net<Self>);

    /// How many are alive in its view, itself included.
    fn live_count(&self) -> usize;
}

enum What<M: Machine> {
    Start(u32),
    Arrive { to: u32, from: u32, parcel: M::Parcel },
    Alarm(u32, M::Alarm),
}

/// What a machine acts upon.
pub struct Net<M: Machine> {
    now: u64,
    /// Whose turn it is.
    node: u32,
    queue: Queue<What<M>>,
    spares: Vec<Vec<u8>>,
    sent: Sent,
}

/// What all nodes have sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes.
    pub datagram_bytes: u64,
    /// Bytes on streams.
    pub stream_bytes: u64,
}

impl Sent {
    /// Since then.
    #[must_use]
    pub fn since(self, then: Self) -> Self {
        Self {
            datagrams: self.datagrams - then.datagrams,
            datagram_bytes: self.datagram_bytes - then.datagram_bytes,
            stream_bytes: self.stream_bytes - then.stream_bytes,
        }
    }
}

impl<M: Machine> Net<M> {
    /// Nanoseconds since the cluster began.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// A datagram of so many bytes.
    pub fn send(&mut self, to: SocketAddr, len: usize, parcel: M::Parcel) {
        self.sent.datagrams += 1;
        self.sent.datagram_bytes += len as u64;
        let jitter = mix(self.sent.datagrams) % nanos(LATENCY_JITTER);
        self.arrive(to, nanos(LATENCY_MIN) + jitter, parcel);
    }

    /// Something on a stream, where what is sent first comes first; its opening and its end have no
    /// bytes.
    pub fn stream(&mut self, to: SocketAddr, len: usize, parcel: M::Parcel) {
        self.sent.stream_bytes += len as u64;
        self.arrive(to, nanos(LATENCY_MIN + LATENCY_JITTER), parcel);
    }

    fn arrive(&mut self, to: SocketAddr, after: u64, parcel: M::Parcel) {
        let what = What::Arrive { to: node_at(to), from: self.node, parcel };
        self.queue.push(self.now + after, what);
    }

    /// Sets an alarm for the node whose turn it is.
    pub fn set_alarm(&mut self, after: Duration, alarm: M::Alarm) {
        self.queue.push(self.now + nanos(after), What::Alarm(self.node, alarm));
    }

    /// An empty buffer, with room if there is one that has been given back.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.spares.push(buffer);
    }
}

/// A cluster in virtual time.
pub trait Virtual {
    /// Runs so much virtual time, in nanoseconds.
    fn run_for(&mut self, span: u64);

    /// Nanoseconds since it began.
    fn now(&self) -> u64;

    /// Whether every node has started and sees every node.
    fn is_converged(&self) -> bool;

    /// What has been sent so far.
    fn sent(&self) -> Sent;
}

/// A cluster of machines on a bare event queue.
pub struct Cluster<M: Machine> {
    /// Those that have started.
    machines: Vec<M>,
    nodes: u32,
    timers: Timers,
    net: Net<M>,
}

impl<M: Machine> Cluster<M> {
    /// So many nodes, which start one after the other as time goes on.
    pub fn new(nodes: u32) -> Self {
        let mut queue = Queue::default();
        for node in 0..nodes {
            queue.push(u64::from(node) * START_EVERY, What::Start(node));
        }
        let net = Net { now: 0, node: 0, queue, spares: Vec::new(), sent: Sent::default() };
        let timers = Timers::new(nodes as usize);
        Self { machines: Vec::with_capacity(nodes as usize), nodes, timers, net }
    }

    /// Runs so much virtual time; gives the events handled.
    pub fn events(&mut self, span: u64) -> u64 {
        let until = self.net.now + span;
        let mut events = 0;
        loop {
            let event = self.net.queue.next().filter(|(at, _)| *at <= until);
            let timer = self.timers.next().filter(|(at, ..)| *at <= until);
            match (event, timer) {
                (None, None) => break,
                (event, Some((at, order, node)))
                    if event.is_none_or(|event| (at, order) < event) =>
                {
                    self.net.now = self.net.now.max(at);
                    self.wake(node);
                }
                _ => {
                    let (at, what) = self.net.queue.pop(until).expect("it has just been looked at");
                    self.net.now = self.net.now.max(at);
                    self.happen(what);
                }
            }
            events += 1;
        }
        self.net.now = until;
        events
    }

    fn happen(&mut self, what: What<M>) {
        let node = match what {
            What::Start(node) => {
                self.net.node = node;
                self.machines.push(M::start(node, self.nodes, &mut self.net));
                node
            }
            What::Arrive { to, from, parcel } => {
                self.net.node = to;
                self.machines[to as usize].receive(from, parcel, &mut self.net);
                to
            }
            What::Alarm(node, alarm) => {
                self.net.node = node;
                self.machines[node as usize].alarm(alarm, &mut self.net);
                node
            }
        };
        self.rearm(node);
    }

    fn wake(&mut self, node: u32) {
        self.timers.clear(node);
        self.net.node = node;
        self.machines[node as usize].wake(&mut self.net);
        self.rearm(node);
    }

    fn rearm(&mut self, node: u32) {
        let Some(due) = self.machines[node as usize].deadline() else {
            self.timers.clear(node);
            return;
        };
        if self.timers.get(node) != Some(due) {
            let order = self.net.queue.next_order();
            self.timers.set(node, due, order);
        }
    }
}

impl<M: Machine> Virtual for Cluster<M> {
    fn run_for(&mut self, span: u64) {
        self.events(span);
    }

    fn now(&self) -> u64 {
        self.net.now
    }

    fn is_converged(&self) -> bool {
        let nodes = self.nodes as usize;
        self.machines.len() == nodes
            && self.machines.iter().all(|machine| machine.live_count() == nodes)
    }

    fn sent(&self) -> Sent {
        self.net.sent
    }
}

/// Where the seeds of a node are: those of the first nodes that have started before it.
fn seeds(node: u32) -> Vec<SocketAddr> {
    (0..SEEDS.min(node)).map(addr).collect()
}

/// Where a node is.
pub fn addr(node: u32) -> SocketAddr {
    let [_, high, middle, low] = node.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, high, middle, low)), 7_000)
}

fn node_at(addr: SocketAddr) -> u32 {
    match addr.ip() {
        IpAddr::V4(ip) => u32::from_be_bytes(ip.octets()) & 0x00ff_ffff,
        IpAddr::V6(_) => unreachable!("all addresses are of the fourth version"),
    }
}

fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).expect("short")
}

#[cfg(test)]
mod tests;
