//! Is the next member of the ring alive? (`docs/protocol.md` §4.3, §4.4; SWIM §3.1, Lifeguard
//! §IV-A)
//!
//! ```text
//! idle ──due──> direct ──timeout──> indirect ──end of the interval──> verdict: accuse
//!   ^             │ ack                │ ack (direct, relayed, or over the stream plane)
//!   └─────────────┴────────────────────┘
//! ```
//!
//! One round at a time, so two rounds cannot disagree about one member. The verdict falls at the
//! end of the scaled interval; an answer that is later than that changes nothing.

use core::time::Duration;

use smallvec::SmallVec;

use crate::id::NodeId;
use crate::membership::Membership;
use crate::membership::state::outbox::{Body, Intent, Plane};
use crate::membership::state::ring::Slot;
use crate::membership::state::round::{Probe, Round, Stage};
use crate::membership::state::speaker::Speaker;
use crate::time::Now;
use crate::wire::datagram::Run;

impl Membership {
    pub(super) fn on_probe_due(&mut self, now: Now) {
        match &self.probe {
            Probe::Idle { .. } => self.begin_probe(now),
            Probe::Running(Round { stage: Stage::Direct, .. }) => self.probe_indirectly(now),
            Probe::Running(Round { stage: Stage::Indirect { .. }, .. }) => self.end_probe(now),
        }
    }

    /// Sends the first ping of a round (`docs/protocol.md` §4.3.1).
    fn begin_probe(&mut self, now: Now) {
        let interval = self.awareness.scale(self.config.probe_interval);
        self.probe.abandon(now.mono + interval);
        let Some(slot) = self.claims.next_probe(&mut self.rng) else { return };
        let seq = self.next_seq();
        let target = self.run_of(slot);
        // D2 of other implementations: the timeout stretches with the interval, not the interval
        // alone.
        let round_trip =
            self.round_trip.timeout(self.config.probe_timeout_min, self.config.probe_timeout_max);
        let wait = self.awareness.scale(round_trip);
        self.probe = Probe::Running(Round {
            due: now.mono + wait,
            began: now.mono,
            ends: now.mono + interval,
            target,
            slot,
            life: self.claims.table().get(slot).rank().life(),
            seq,
            stage: Stage::Direct,
        });
        self.stats.probes += 1;
        self.ping(slot, seq, Plane::Datagram);
    }

    /// (`docs/protocol.md` §4.3.2)
    fn probe_indirectly(&mut self, now: Now) {
        let slot = self.probed_slot();
        let drawn = match slot {
            Some(slot) => self.draw_live(self.config.indirect_probes, slot),
            None => SmallVec::new(),
        };
        let Probe::Running(round) = &mut self.probe else { return };
        round.due = round.ends;
        round.stage = Stage::Indirect { relays: drawn.clone(), nacks: SmallVec::new() };
        let (seq, target, left) = (round.seq, round.target, round.ends.since(now.mono));
        let Some(slot) = slot else { return };
        let budget_ms = if self.config.nacks { whole_millis(left) } else { 0 };
        for relay in drawn {
            let Some(relay) = self.claims.table().find(relay) else { continue };
            let intent = Intent {
                to: self.destination(relay),
                plane: Plane::Datagram,
                body: Body::PingReq { seq, target, budget_ms },
                peer: Some(relay),
                tells_own: false,
                carries_rumors: true,
            };
            self.send(intent);
        }
        if self.config.stream_pings {
            self.ping(slot, seq, Plane::Stream);
        }
    }

    /// The member on trial: its id, the life that is tried, and when the round ends.
    #[cfg(feature = "fuzzing")]
    pub fn probed(
        &self,
    ) -> Option<(NodeId, (crate::id::Epoch, crate::id::Incarnation), crate::time::Instant)> {
        let Probe::Running(round) = &self.probe else { return None };
        Some((round.target.id, round.life, round.ends))
    }

    /// (`docs/protocol.md` §4.3.4)
    fn end_probe(&mut self, now: Now) {
        let slot = self.probed_slot();
        let Probe::Running(round) = &self.probe else { return };
        let (life, misses_nacks) = (round.life, self.config.nacks && round.missing_nacks() > 0);
        self.begin_probe(now);
        let Some(slot) = slot else { return };
        self.stats.probes_failed += 1;
        // D4 of other implementations: a failed probe counts, and missing nacks count once more
        // (Lifeguard §IV-A).
        self.awareness.worse();
        if misses_nacks {
            self.awareness.worse();
        }
        if self.claims.table().get(slot).rank().life() == life {
            self.accuse(now, slot);
        }
    }

    /// The member on trial, if it is still in the view under the same run.
    fn probed_slot(&self) -> Option<Slot> {
        let Probe::Running(round) = &self.probe else { return None };
        let slot = self.claims.table().find_from(Some(round.slot), round.target.id)?;
        let record = self.claims.table().get(slot);
        (record.epoch == round.target.epoch && record.state.is_live()).then_some(slot)
    }

    pub(super) fn on_ack(&mut self, now: Now, speaker: &Speaker, seq: u32, subject: Run) {
        if self.leave_acked(speaker.run.id, seq, subject) {
            return;
        }
        let is_direct = speaker.run == subject;
        if self.probe_acked(now, speaker, seq, subject) {
            return;
        }
        if is_direct && (self.relay_acked(now, seq, subject) || self.check_acked(now, seq, subject))
        {
            return;
        }
        if is_direct && self.reconnect_acked(now, seq, subject.id) {
            return;
        }
        self.stats.acks_unmatched += 1;
    }

    /// Ends the round if the ack is to it; answers whether it was.
    fn probe_acked(&mut self, now: Now, speaker: &Speaker, seq: u32, subject: Run) -> bool {
        let is_direct = speaker.run == subject;
        let Some(round) = self.probe.awaiting(seq, subject) else { return false };
        if !is_direct && !round.relays().contains(&speaker.run.id) {
            return false;
        }
        // The relays' pings carry other numbers and the repetition goes over the stream plane, so
        // an ack by datagram is to the first ping even when it is late: without those samples the
        // wait would never grow to a round trip longer than itself. On the stream plane alone a
        // late ack is ambiguous (Karn) and not measured.
        let is_first = matches!(round.stage, Stage::Direct) || speaker.plane == Plane::Datagram;
        if is_direct && is_first {
            self.round_trip.observe(now.mono.since(round.began));
        }
        self.awareness.better();
        let ends = round.ends;
        self.probe.abandon(ends);
        true
    }

    pub(super) fn on_nack(&mut self, speaker: &Speaker, seq: u32, subject: Run) {
        let round = self.probe.awaiting(seq, subject);
        if !round.is_some_and(|round| round.nacked(speaker.run.id)) {
            self.stats.acks_unmatched += 1;
        }
    }

    /// Up to `count` distinct live members other than `except`, drawn at random.
    pub(super) fn draw_live(&mut self, count: usize, except: Slot) -> SmallVec<[NodeId; 4]> {
        let mut drawn = SmallVec::new();
        // A bounded number of draws: in a small cluster many hit the same members.
        for _ in 0..count * 4 {
            if drawn.len() >= count {
                break;
            }
            let Some(slot) = self.claims.table().random_live(&mut self.rng) else { break };
            let id = self.claims.table().get(slot).id;
            if slot != except && !drawn.contains(&id) {
                drawn.push(id);
            }
        }
        drawn
    }
}

fn whole_millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
