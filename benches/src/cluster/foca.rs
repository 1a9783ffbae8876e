//! foca's machine, with its settings for a local network.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use foca::{Config, NoCustomBroadcast, Notification, PostcardCodec, Runtime, Timer};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Machine, Net, addr, seeds};

/// One node.
pub struct Foca {
    machine: foca::Foca<SocketAddr, PostcardCodec, SmallRng, NoCustomBroadcast>,
}

impl Runtime<SocketAddr> for &mut Net<Foca> {
    fn notify(&mut self, _: Notification<'_, SocketAddr>) {}

    fn send_to(&mut self, to: SocketAddr, data: &[u8]) {
        let mut bytes = self.buffer();
        bytes.extend_from_slice(data);
        self.send(to, data.len(), bytes);
    }

    fn submit_after(&mut self, event: Timer<SocketAddr>, after: Duration) {
        self.set_alarm(after, event);
    }
}

impl Machine for Foca {
    type Parcel = Vec<u8>;
    type Alarm = Timer<SocketAddr>;

    fn start(node: u32, nodes: u32, net: &mut Net<Self>) -> Self {
        let size = NonZeroU32::new(nodes).expect("some");
        let rng = SmallRng::seed_from_u64(u64::from(node));
        let mut machine = foca::Foca::new(addr(node), Config::new_lan(size), rng, PostcardCodec);
        for seed in seeds(node) {
            machine.announce(seed, &mut *net).expect("an announcement fits");
        }
        Self { machine }
    }

    fn receive(&mut self, _: u32, bytes: Vec<u8>, net: &mut Net<Self>) {
        self.machine.handle_data(&bytes, &mut *net).expect("what its own kind says");
        net.give_back(bytes);
    }

    fn alarm(&mut self, alarm: Timer<SocketAddr>, net: &mut Net<Self>) {
        self.machine.handle_timer(alarm, net).expect("its own timer");
    }

    fn deadline(&self) -> Option<u64> {
        None
    }

    fn wake(&mut self, _: &mut Net<Self>) {
        unreachable!("it tells no deadline");
    }

    fn live_count(&self) -> usize {
        self.machine.num_members() + 1
    }
}
