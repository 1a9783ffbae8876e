//! What the world writes into its trace; nothing of this runs unless a trace is kept.

use chinwag_core::membership::{Event, Plane, State, Transmit};
use chinwag_core::wire::Reader;
use chinwag_core::wire::datagram::HEADER_LEN;

use super::World;
use crate::checker::views::index;
use crate::clock::WALL_START;
use crate::fault::Fault;
use crate::host::{Payload, node_at};
use crate::trace::record::{Belief, Way, What as Told};
use crate::trace::short_digest;

impl World {
    pub(super) fn tell_send(
        &mut self,
        node: u32,
        peer: u32,
        id: u64,
        transmit: Transmit,
        bytes: &[u8],
    ) {
        self.trace.tell(self.now, node, || {
            let way = if transmit.plane == Plane::Stream { Way::Stream } else { Way::Datagram };
            Told::Send {
                peer,
                id,
                way,
                len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                digest: short_digest(bytes),
                says: says(bytes),
            }
        });
    }

    pub(super) fn tell_arrival(&mut self, node: u32, payload: &Payload) {
        let Payload { from, number, .. } = *payload;
        self.trace.tell(self.now, node, || Told::Arrive { peer: from, id: number });
    }

    pub(super) fn tell_drop(&mut self, payload: &Payload, why: &str) {
        let Payload { from, number, transmit, .. } = *payload;
        let peer = node_at(transmit.to.addr).unwrap_or(from);
        self.trace.tell(self.now, from, || Told::Drop { peer, id: number, why: why.into() });
    }

    pub(super) fn tell_clock(&mut self, node: u32) {
        let host = &self.hosts[node as usize];
        let (at, drift_ppm) = (self.now, host.clock.drift_ppm());
        let wall = host.now(at).wall.as_nanos();
        self.trace.tell(at, node, || {
            let ahead = i128::from(wall) - i128::from(WALL_START.as_nanos()) - i128::from(at);
            Told::Clock { ahead_ns: i64::try_from(ahead).unwrap_or(i64::MAX), drift_ppm }
        });
    }

    pub(super) fn tell_fault(&mut self, number: usize, fault: &Fault) {
        self.trace.tell(self.now, fault.node(), || {
            let (from, to) = fault.sides();
            let fault_number = u32::try_from(number).unwrap_or(u32::MAX);
            Told::Begin {
                fault: fault_number,
                family: fault.family().into(),
                from,
                to,
                text: fault.to_string(),
            }
        });
    }

    pub(super) fn tell_event(&mut self, node: u32, event: &Event) {
        let Some(member) = event.member() else {
            self.trace.tell(self.now, node, || Told::Note { text: format!("{event:?}") });
            return;
        };
        let Some(peer) = index(member.id, self.setup.nodes) else { return };
        self.trace.tell(self.now, node, || {
            let state = match member.state {
                State::Alive => Belief::Alive,
                State::Suspect => Belief::Suspect,
                State::Dead => Belief::Dead,
                State::Left => Belief::Left,
            };
            Told::View {
                peer,
                state,
                epoch: member.epoch.get(),
                incarnation: member.incarnation.get(),
            }
        });
    }
}

/// The messages of a payload by name (`docs/protocol.md` §2.3): the first by itself, claims
/// counted.
pub(crate) fn says(bytes: &[u8]) -> String {
    const NAMES: [&str; 12] = [
        "ping",
        "ping-req",
        "ack",
        "nack",
        "claim",
        "broadcast",
        "payload",
        "sync",
        "chunk",
        "busy",
        "leave",
        "conflict",
    ];
    const CLAIM: usize = 5;
    let mut reader = Reader::new(bytes.get(HEADER_LEN..).unwrap_or_default());
    let (mut said, mut claims) = (Vec::new(), 0);
    while let (Some(kind), Some(len)) = (reader.u8(), reader.u16()) {
        let kind = usize::from(kind);
        match NAMES.get(kind.wrapping_sub(1)) {
            Some(_) if kind == CLAIM => claims += 1,
            name => said.push(name.copied().unwrap_or("?")),
        }
        if reader.take(usize::from(len)).is_none() {
            break;
        }
    }
    let claims = match claims {
        0 => None,
        1 => Some("1 claim".to_owned()),
        count => Some(format!("{count} claims")),
    };
    said.into_iter().map(str::to_owned).chain(claims).collect::<Vec<_>>().join(", ")
}
