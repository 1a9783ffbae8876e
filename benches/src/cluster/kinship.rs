//! kinship's machine, with its settings for a local network, without its encryption.

use std::collections::BTreeMap;
use std::convert::Infallible;

use kinship_core::{
    Command, Config, Identity, Instant, Node, Security, StreamEvent, StreamId, Transmit,
};

use super::{Machine, Net, addr, node_at, seeds};

/// The length before every frame.
const PREFIX_LEN: usize = 4;

/// One node.
pub struct Kinship {
    machine: Node,
    node: u32,
    /// Connections: who is at the other end, and what it calls them.
    connections: BTreeMap<StreamId, (u32, StreamId)>,
    opened: u64,
}

/// What travels.
pub enum Parcel {
    /// A datagram.
    Datagram(Vec<u8>),
    /// Frames, each behind its length, on the receiver's connection `to`, which the sender calls
    /// `from`.
    Frames { to: StreamId, from: StreamId, bytes: Vec<u8> },
    /// The end of the receiver's connection.
    Close(StreamId),
}

impl Kinship {
    fn settle(&mut self, net: &mut Net<Self>) {
        while let Some(transmit) = self.machine.poll_transmit() {
            match transmit {
                Transmit::Datagram { to, payload } => {
                    net.send(to, payload.len(), Parcel::Datagram(payload))
                }
                Transmit::Connect { conn, to } => {
                    // A name that no other connection into that node has: whose it is, and which of
                    // its.
                    let index = u64::from(self.node) << 32 | self.opened;
                    self.opened += 1;
                    self.connections.insert(conn, (node_at(to), StreamId::inbound(index)));
                }
                Transmit::Stream { conn, frame } => {
                    if let Some(&(peer, to)) = self.connections.get(&conn) {
                        net.stream(
                            addr(peer),
                            frame.len(),
                            Parcel::Frames { to, from: conn, bytes: frame },
                        );
                    }
                }
                Transmit::Close { conn } => {
                    if let Some((peer, to)) = self.connections.remove(&conn) {
                        net.stream(addr(peer), 0, Parcel::Close(to));
                    }
                }
            }
        }
        while self.machine.poll_event().is_some() {}
    }

    fn frames(&mut self, now: Instant, conn: StreamId, mut bytes: &[u8]) {
        while let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_LEN>() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*prefix) as usize);
            self.machine.handle_stream(now, conn, StreamEvent::Frame(frame));
            bytes = rest;
        }
    }
}

impl Machine for Kinship {
    type Parcel = Parcel;
    type Alarm = Infallible;

    fn start(node: u32, _: u32, net: &mut Net<Self>) -> Self {
        let local = Identity::new(format!("node-{node:05}"), addr(node))
            .expect("a short name")
            .with_epoch(1);
        let (now, seed) = (at(net.now()), u64::from(node));
        let config = Config::lan(Security::InsecurePlaintext);
        let mut machine = Node::new(config, local, now, seed, &[7; 32]).expect("a preset is valid");
        if node > 0 {
            machine.command(now, Command::Join { seeds: seeds(node) });
        }
        let mut started = Self { machine, node, connections: BTreeMap::new(), opened: 0 };
        started.settle(net);
        started
    }

    fn receive(&mut self, from: u32, parcel: Parcel, net: &mut Net<Self>) {
        let now = at(net.now());
        match parcel {
            Parcel::Datagram(bytes) => self.machine.handle_datagram(now, addr(from), &bytes),
            Parcel::Frames { to, from: back, bytes } => {
                // One that this side has opened and closed is gone; one that the other has opened
                // may be new.
                if to.is_inbound() {
                    self.connections.entry(to).or_insert((from, back));
                }
                if self.connections.contains_key(&to) {
                    self.frames(now, to, &bytes);
                }
            }
            Parcel::Close(conn) => {
                if self.connections.remove(&conn).is_some() {
                    self.machine.handle_stream(now, conn, StreamEvent::Closed);
                }
            }
        }
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
        self.machine.members().count()
    }
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}
