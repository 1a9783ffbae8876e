//! What is said, in one place: events for the user, messages for one peer, rumours for all.

use crate::membership::state::outbox::{Body, Destination, Intent, Plane};
use crate::membership::state::ring::Slot;
use crate::membership::{Event, Membership, Planes};
use crate::time::Now;
use crate::wire::datagram::Run;

impl Membership {
    pub(super) fn tell(&mut self, event: Event) {
        self.out.tell(event, &mut self.stats);
    }

    /// Queues what the table says of `slot` as a rumour.
    pub(super) fn spread(&mut self, now: Now, slot: Slot) {
        self.claims.queue(slot);
        self.arm_gossip(now);
    }

    /// Queues a message, on the plane that is in use.
    pub(super) fn send(&mut self, mut intent: Intent) {
        if self.config.planes == Planes::StreamOnly {
            intent.plane = Plane::Stream;
        }
        self.out.send(intent, &mut self.stats);
    }

    /// Queues rumours for one member.
    pub(super) fn send_gossip(&mut self, slot: Slot, tells_own: bool) {
        let intent = Intent {
            to: self.destination(slot),
            plane: Plane::Datagram,
            body: Body::Gossip,
            peer: Some(slot),
            tells_own,
            carries_rumors: true,
        };
        self.send(intent);
    }

    pub(super) fn destination(&self, slot: Slot) -> Destination {
        Destination {
            addr: self.claims.table().addr(slot),
            id: Some(self.claims.table().get(slot).id),
        }
    }

    pub(super) fn run_of(&self, slot: Slot) -> Run {
        let record = self.claims.table().get(slot);
        Run { id: record.id, epoch: record.epoch }
    }

    /// Sends an answer with nothing beside it.
    pub(super) fn answer(&mut self, to: Destination, plane: Plane, body: Body) {
        self.send(Intent { to, plane, body, peer: None, tells_own: false, carries_rumors: false });
    }

    /// Pings the member in `slot`; a suspect is told that it is one.
    pub(super) fn ping(&mut self, slot: Slot, seq: u32, plane: Plane) {
        self.ping_as(slot, Body::Ping { seq, target: self.run_of(slot) }, plane);
    }

    pub(super) fn ping_as(&mut self, slot: Slot, body: Body, plane: Plane) {
        let to = self.destination(slot);
        self.send(Intent {
            to,
            plane,
            body,
            peer: Some(slot),
            tells_own: false,
            carries_rumors: true,
        });
    }

    /// Tells the member in `slot` what is said of it, so that it can refute. Gives the number of
    /// the ping.
    pub(super) fn warn(&mut self, slot: Slot) -> u32 {
        let seq = self.next_seq();
        self.ping_as(slot, Body::Warning { seq, target: self.run_of(slot) }, Plane::Datagram);
        seq
    }

    /// A rumour waits: the next tick is now, but no sooner than the interval after the last.
    pub(super) fn arm_gossip(&mut self, now: Now) {
        if self.gossip_at.is_none() && !self.claims.rumors().is_empty() && self.is_joined() {
            self.gossip_at = Some(now.mono);
        }
    }
}
