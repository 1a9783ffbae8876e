//! User payloads: to all, at most once each, by rumour; and to one (`docs/protocol.md` §4.10).

use bytes::Bytes;

use crate::id::NodeId;
use crate::membership::BroadcastError;
use crate::membership::SendError;
use crate::membership::state::broadcasts::Verdict;
use crate::membership::state::outbox::{Body, Intent, Plane};
use crate::membership::state::rumors::Broadcast;
use crate::membership::state::speaker::Speaker;
use crate::membership::state::table::LOCAL;
use crate::membership::{BROADCAST_LEN_MAX, BROADCASTS_MAX, Event, MESSAGE_LEN_MAX, Membership};
use crate::time::Now;
use crate::wire::datagram::{HEADER_LEN, MESSAGE_HEADER_LEN, RUN_LEN, Run};

impl Membership {
    /// Sends `payload` to every member, by rumour; each gives it out at most once. Members that
    /// join later, and those that a partition hides for as long as the rumour lives, do not get
    /// it.
    ///
    /// # Errors
    /// [`BroadcastError`]; nothing is sent.
    pub fn broadcast(&mut self, now: Now, payload: &[u8]) -> Result<(), BroadcastError> {
        if self.leave.has_begun() {
            return Err(BroadcastError::HasLeft);
        }
        if payload.len() > BROADCAST_LEN_MAX {
            return Err(BroadcastError::TooLong { len: payload.len() });
        }
        if self.claims.rumors().broadcast_count() >= BROADCASTS_MAX {
            return Err(BroadcastError::Full);
        }
        if !self.is_joined() {
            return Ok(());
        }
        self.broadcasts.sent += 1;
        let own = self.claims.table().local();
        let origin = Run { id: own.id, epoch: own.epoch };
        let payload = Bytes::copy_from_slice(payload);
        self.claims.queue_broadcast(Broadcast { origin, seq: self.broadcasts.sent, payload });
        self.arm_gossip(now);
        Ok(())
    }

    /// Sends `payload` to one member, once, with no acknowledgement: by datagram if it fits one,
    /// else by stream.
    ///
    /// # Errors
    /// [`SendError`]; nothing is sent.
    pub fn send_to(&mut self, to: NodeId, payload: Bytes) -> Result<(), SendError> {
        if self.leave.has_begun() {
            return Err(SendError::HasLeft);
        }
        if payload.len() > MESSAGE_LEN_MAX {
            return Err(SendError::TooLong { len: payload.len() });
        }
        let slot = self.claims.table().find(to).filter(|_| to != self.local_id());
        let slot = slot.filter(|&slot| self.claims.table().get(slot).state.is_live());
        let slot = slot.ok_or(SendError::UnknownMember(to))?;
        let len = HEADER_LEN + MESSAGE_HEADER_LEN + RUN_LEN + 3 + payload.len();
        let plane =
            if len <= self.config.datagram_len_max { Plane::Datagram } else { Plane::Stream };
        let intent = Intent {
            to: self.destination(slot),
            plane,
            body: Body::Payload { target: self.run_of(slot), payload },
            peer: Some(slot),
            tells_own: false,
            carries_rumors: true,
        };
        self.send(intent);
        Ok(())
    }

    /// A broadcast comes, from its origin or passed on (§4.10).
    pub(super) fn on_broadcast(
        &mut self,
        now: Now,
        speaker: &Speaker,
        origin: Run,
        number: u32,
        payload: &[u8],
    ) {
        let held = self.claims.table().find(origin.id).filter(|&slot| slot != LOCAL);
        let is_held = held.is_some_and(|slot| self.run_of(slot) == origin);
        if !is_held || number == 0 || payload.len() > BROADCAST_LEN_MAX {
            self.stats.broadcasts_stale += 1;
            return;
        }
        let is_proven = speaker.is_proven && speaker.slot.is_some();
        match self.broadcasts.admit(origin, number, is_proven) {
            Verdict::Seen => self.stats.broadcasts_seen += 1,
            Verdict::Unknown => self.stats.broadcasts_stale += 1,
            Verdict::New => {
                let payload = Bytes::copy_from_slice(payload);
                if self.claims.rumors().broadcast_count() < BROADCASTS_MAX {
                    let payload = payload.clone();
                    self.claims.queue_broadcast(Broadcast { origin, seq: number, payload });
                    self.arm_gossip(now);
                } else {
                    self.stats.broadcasts_shed += 1;
                }
                self.tell(Event::Broadcast { from: origin.id, payload });
            }
        }
    }
}
