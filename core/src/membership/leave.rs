//! Going in good order (`docs/protocol.md` §4.11).
//!
//! The node says that it has left, to a few members at a time, until enough of them have
//! acknowledged: each of those tells the rest. It answers pings meanwhile, so nobody suspects it,
//! and is silent afterwards.

use smallvec::SmallVec;

use crate::id::NodeId;
use crate::membership::claims::Given;
use crate::membership::state::farewell::Farewell;
use crate::membership::state::outbox::{Body, Intent, Plane};
use crate::membership::state::speaker::Speaker;
use crate::membership::state::table::LOCAL;
use crate::membership::{Event, Membership};
use crate::time::{Instant, Now};
use crate::wire::datagram::Run;

impl Membership {
    /// Leaves the cluster. [`Event::LeaveCompleted`] says when enough members know; a second call
    /// changes nothing.
    pub fn leave(&mut self, now: Now) {
        if self.leave.has_begun {
            return;
        }
        self.leave.has_begun = true;
        let mut given = Given { now: now.mono, config: &self.config, rng: &mut self.rng };
        self.claims.depart(&mut given);
        self.probe.abandon(Instant::FAR_FUTURE);
        self.arm_reconnect(now);
        let needed = self.config.leave_acks.min(self.live_count());
        if needed == 0 {
            self.tell(Event::LeaveCompleted { acked: 0, needed: 0 });
            return;
        }
        let seq = self.next_seq();
        let ends = now.mono + self.config.leave_timeout;
        self.leave.running =
            Some(Farewell { seq, needed, acked: SmallVec::new(), next_at: now.mono, ends });
        self.spread(now, LOCAL);
        self.on_leave_due(now);
    }

    pub(super) fn on_leave_due(&mut self, now: Now) {
        let Some(farewell) = &mut self.leave.running else { return };
        if farewell.ends <= now.mono {
            return self.end_leave();
        }
        farewell.next_at = now.mono + self.config.gossip_interval;
        let (seq, wanted) = (farewell.seq, farewell.needed - farewell.acked.len());
        let acked = farewell.acked.clone();
        // Some of those drawn may have acknowledged already, so more are drawn than are missing.
        for id in self.draw_live(wanted + self.config.gossip_fanout, LOCAL) {
            let Some(slot) = self.claims.table().find(id).filter(|_| !acked.contains(&id)) else {
                continue;
            };
            let intent = Intent {
                to: self.destination(slot),
                plane: Plane::Datagram,
                body: Body::Leave { seq },
                peer: None,
                tells_own: true,
                carries_rumors: true,
            };
            self.send(intent);
        }
    }

    fn end_leave(&mut self) {
        if let Some(farewell) = self.leave.running.take() {
            let count = |len: usize| u32::try_from(len).expect("validated to be at most 16");
            let (acked, needed) = (count(farewell.acked.len()), count(farewell.needed));
            self.tell(Event::LeaveCompleted { acked, needed });
        }
    }

    /// Counts an acknowledgement of the farewell; answers whether it was one.
    pub(super) fn leave_acked(&mut self, from: NodeId, seq: u32, subject: Run) -> bool {
        let own = self.run_of(LOCAL);
        let Some(farewell) = &mut self.leave.running else { return false };
        if farewell.seq != seq || subject != own {
            return false;
        }
        if !farewell.acked.contains(&from) && farewell.acked.len() < farewell.needed {
            farewell.acked.push(from);
        }
        if farewell.acked.len() >= farewell.needed {
            self.end_leave();
        }
        true
    }

    /// A member says goodbye; its departure stands beside this message in the same payload.
    pub(super) fn on_leave(&mut self, speaker: &Speaker, seq: u32) {
        // The answer is longer than the question, and a stranger has nothing to leave.
        if !speaker.is_proven {
            self.stats.misdirected += 1;
            return;
        }
        self.answer(speaker.reply, speaker.plane, Body::Ack { seq, subject: speaker.run });
    }
}
