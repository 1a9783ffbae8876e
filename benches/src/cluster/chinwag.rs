//! The machine of `chinwag-core`, with its settings for a local network.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc};
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{Config, Local, Membership, Metadata, Plane, StreamPeer};
use chinwag_core::time::{Instant, Now, WallTime};

use super::{Machine, Net, addr, seeds};

/// A day in 2026.
const TODAY: u64 = 1_790_000_000_000_000_000;
const EPOCH: Epoch = Epoch::new(1_700_000_000_000);

/// One node.
pub struct Chinwag {
    machine: Membership,
    seeds: Vec<SocketAddr>,
}

/// A payload, and how it travels.
pub struct Parcel {
    plane: Plane,
    bytes: Vec<u8>,
}

impl Chinwag {
    /// What a driver does after every input.
    fn settle(&mut self, net: &mut Net<Self>) {
        let now = at(net.now());
        loop {
            let mut bytes = net.buffer();
            let Some(transmit) = self.machine.poll_transmit(now, &mut bytes) else {
                net.give_back(bytes);
                break;
            };
            let (to, plane, len) = (transmit.to.addr, transmit.plane, bytes.len());
            match plane {
                Plane::Datagram => net.send(to, len, Parcel { plane, bytes }),
                Plane::Stream => net.stream(to, len, Parcel { plane, bytes }),
            }
        }
        while self.machine.poll_event().is_some() {}
        if self.machine.poll_lookup() {
            self.machine.handle_seeds(now, &self.seeds);
            self.settle(net);
        }
    }
}

impl Machine for Chinwag {
    type Parcel = Parcel;
    type Alarm = Infallible;

    fn start(node: u32, _: u32, net: &mut Net<Self>) -> Self {
        let local =
            Local { id: id(node), epoch: EPOCH, addr: addr(node), metadata: Metadata::new() };
        let clock = Arc::new(SharedHlc::new(DRIFT_MAX_DEFAULT));
        let seed = u64::from(node) + 1;
        let machine = Membership::new(Config::lan(), local, clock, seed, at(net.now()))
            .expect("a preset is valid");
        let mut started = Self { machine, seeds: seeds(node) };
        if !started.seeds.is_empty() {
            started.machine.join(at(net.now()));
            started.machine.handle_timeout(at(net.now()));
        }
        started.settle(net);
        started
    }

    fn receive(&mut self, from: u32, parcel: Parcel, net: &mut Net<Self>) {
        let now = at(net.now());
        match parcel.plane {
            Plane::Datagram => self.machine.handle_datagram(now, addr(from), &parcel.bytes),
            Plane::Stream => {
                let peer = StreamPeer { id: id(from), epoch: EPOCH, addr: addr(from) };
                self.machine.handle_stream(now, peer, &parcel.bytes);
            }
        }
        net.give_back(parcel.bytes);
        self.settle(net);
    }

    fn alarm(&mut self, alarm: Infallible, _: &mut Net<Self>) {
        match alarm {}
    }

    fn deadline(&self) -> Option<u64> {
        self.machine.poll_timeout().map(Instant::as_nanos)
    }

    fn wake(&mut self, net: &mut Net<Self>) {
        self.machine.handle_timeout(at(net.now()));
        self.settle(net);
    }

    fn live_count(&self) -> usize {
        // Its own count leaves itself out.
        self.machine.live_count() + 1
    }
}

fn at(nanos: u64) -> Now {
    Now { mono: Instant::from_nanos(nanos), wall: WallTime::from_nanos(TODAY + nanos) }
}

fn id(node: u32) -> NodeId {
    NodeId::new(u64::from(node) + 1)
}
