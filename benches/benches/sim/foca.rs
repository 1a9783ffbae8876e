//! foca's machines on a bare event queue: the simulator's own queue and latencies, no faults, no hash, nothing looked at.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use chinwag_core::rng::mix;
use chinwag_sim::network::{LATENCY_JITTER, LATENCY_MIN};
use chinwag_sim::queue::Queue;
use foca::{Config, Foca, NoCustomBroadcast, Notification, PostcardCodec, Runtime, Timer};
use rand::SeedableRng;
use rand::rngs::SmallRng;

type Machine = Foca<SocketAddr, PostcardCodec, SmallRng, NoCustomBroadcast>;

enum What {
    Arrive(u32, Vec<u8>),
    Timer(u32, Timer<SocketAddr>),
}

/// A virtual cluster of foca's machines.
pub(crate) struct Cluster {
    machines: Vec<Machine>,
    world: World,
}

/// What a machine acts upon.
struct World {
    now: u64,
    node: u32,
    queue: Queue<What>,
    spares: Vec<Vec<u8>>,
    sent: u64,
}

impl Runtime<SocketAddr> for &mut World {
    fn notify(&mut self, _: Notification<'_, SocketAddr>) {}

    fn send_to(&mut self, to: SocketAddr, data: &[u8]) {
        self.sent += 1;
        let mut bytes = self.spares.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(data);
        let jitter = mix(self.sent) % nanos(LATENCY_JITTER);
        self.queue.push(self.now + nanos(LATENCY_MIN) + jitter, What::Arrive(node_at(to), bytes));
    }

    fn submit_after(&mut self, event: Timer<SocketAddr>, after: Duration) {
        self.queue.push(self.now + nanos(after), What::Timer(self.node, event));
    }
}

impl Cluster {
    /// `nodes` machines with foca's settings for a local network, which have all announced themselves to the first.
    pub(crate) fn new(nodes: usize) -> Self {
        let size = NonZeroU32::new(u32::try_from(nodes).expect("few")).expect("some");
        let mut world = World { now: 0, node: 0, queue: Queue::default(), spares: Vec::new(), sent: 0 };
        let mut machines: Vec<Machine> = (0..size.get())
            .map(|node| {
                let rng = SmallRng::seed_from_u64(u64::from(node));
                Foca::new(addr(node), Config::new_lan(size), rng, PostcardCodec)
            })
            .collect();
        for (node, machine) in (0..).zip(&mut machines) {
            world.now += 1_000_000;
            world.node = node;
            // Whom it announces itself to is one that has been there for a while, as if through seeds.
            if node > 0 {
                let to = addr(u32::try_from(mix(u64::from(node)) % u64::from(node)).expect("below node"));
                machine.announce(to, &mut world).expect("an announcement fits");
            }
        }
        Self { machines, world }
    }

    /// Runs until all see all. Feeds are told apart by no digest, so who has missed somebody asks again in 30 s.
    pub(crate) fn converge(&mut self) {
        let nodes = self.machines.len();
        while self.machines.iter().any(|machine| machine.num_members() + 1 != nodes) {
            super::Cluster::run_for(self, 1_000_000_000);
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrive(node, bytes) => {
                self.world.node = node;
                let handled = self.machines[node as usize].handle_data(&bytes, &mut self.world);
                handled.expect("what its own kind says");
                self.world.spares.push(bytes);
            }
            What::Timer(node, timer) => {
                self.world.node = node;
                let handled = self.machines[node as usize].handle_timer(timer, &mut self.world);
                handled.expect("its own timer");
            }
        }
    }
}

impl super::Cluster for Cluster {
    fn run_for(&mut self, nanos: u64) -> u64 {
        let (until, mut events) = (self.world.now + nanos, 0);
        while let Some((at, what)) = self.world.queue.pop(until) {
            self.world.now = at;
            events += 1;
            self.happen(what);
        }
        self.world.now = until;
        events
    }
}

fn addr(node: u32) -> SocketAddr {
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
