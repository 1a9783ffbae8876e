//! kinship's machine, without its encryption.

use std::net::SocketAddr;

use kinship_core::{Config, Identity, Instant, Security, Transmit};
use kinship_proto::{Alive, Codec, Limits, Message, NONCE_LEN, NodeId, PacketKind, Ping};

use super::{Machine, UPDATES};
use crate::machines::membership::addr;

/// The one that everybody is played to.
const LOCAL: u64 = 1;
/// Who plays, and the first of those that it knows.
const SEED: u64 = 2;
const NOW: Instant = Instant::from_nanos(1_000_000_000);

pub(super) struct Kinship {
    machine: kinship_core::Node,
    codec: Codec,
    members: u64,
}

impl Kinship {
    pub(super) fn new(members: u64) -> Self {
        let mut config = Config::lan(Security::InsecurePlaintext);
        config.max_members = usize::try_from(members).expect("few") + 1;
        let codec = Codec::insecure_plaintext(config.cluster.as_bytes(), Limits::default());
        let codec = codec.expect("a short label");
        let local = Identity::new(name(LOCAL), addr(LOCAL)).expect("a short name");
        let mut machine =
            kinship_core::Node::new(config, local, NOW, 7, &[7; 32]).expect("a preset is valid");
        for id in SEED..SEED + members {
            machine.add_member(NOW, &name(id), addr(id)).expect("there is room");
            // The driver takes them.
            while machine.poll_event().is_some() {}
        }
        assert_eq!(machine.members().count() as u64, members + 1, "all are known, and itself");
        Self { machine, codec, members }
    }

    fn seal(&self, messages: &[Message<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        self.codec
            .seal(PacketKind::Datagram, messages, &[0; NONCE_LEN], &mut out)
            .expect("it fits a datagram");
        out
    }

    /// Takes out what it wants to send and to tell; gives the bytes.
    fn drain(&mut self) -> usize {
        let mut sent = 0;
        while let Some(transmit) = self.machine.poll_transmit() {
            if let Transmit::Datagram { payload, .. } = transmit {
                sent += payload.len();
            }
        }
        while self.machine.poll_event().is_some() {}
        sent
    }
}

fn name(id: u64) -> String {
    format!("node-{id:05}")
}

fn alive(node: NodeId<'_>, addr: SocketAddr, inc: u32) -> Message<'_> {
    Message::Alive(Alive { inc, node, addr, meta: &[], vmin: 1, vmax: 1, epoch: 0, features: 0 })
}

impl Machine for Kinship {
    fn updates(&self, first: u64, incarnation: u32) -> Vec<u8> {
        let ids: Vec<u64> = (first..first + UPDATES).map(|id| SEED + id % self.members).collect();
        let names: Vec<String> = ids.iter().map(|id| name(*id)).collect();
        let messages: Vec<Message<'_>> = ids
            .iter()
            .zip(&names)
            .map(|(id, name)| {
                alive(NodeId::new(name).expect("a short name"), addr(*id), incarnation)
            })
            .collect();
        self.seal(&messages)
    }

    fn hear(&mut self, datagram: &[u8]) {
        self.machine.handle_datagram(NOW, addr(SEED), datagram);
        let sent = self.drain();
        debug_assert_eq!(sent, 0, "news is not answered");
    }

    fn ping(&self) -> Vec<u8> {
        let (target, source) = (name(LOCAL), name(SEED));
        let ping = Ping {
            seq: 9,
            target: NodeId::new(&target).expect("a short name"),
            source: NodeId::new(&source).expect("a short name"),
            source_addr: addr(SEED),
        };
        self.seal(&[Message::Ping(ping)])
    }

    fn answer(&mut self, ping: &[u8]) -> usize {
        self.machine.handle_datagram(NOW, addr(SEED), ping);
        self.drain()
    }
}
