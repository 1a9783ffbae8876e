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

use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::Membership;
use crate::membership::outbox::{Body, Intent, Plane};
use crate::membership::receive::Speaker;
use crate::membership::ring::Slot;
use crate::membership::table::LOCAL;
use crate::time::{Instant, Now};
use crate::wire::datagram::Run;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Direct,
    Indirect,
}

/// The round in progress, if any, and when something happens next.
#[derive(Debug)]
pub(crate) struct Probe {
    phase: Phase,
    due: Instant,
    began: Instant,
    ends: Instant,
    target: Run,
    /// Where the target's record was when the round began.
    slot: Slot,
    /// The life of the target that is on trial: word of a later one is as good as an answer.
    life: (Epoch, Incarnation),
    seq: u32,
    relays: SmallVec<[NodeId; 4]>,
    nacks: SmallVec<[NodeId; 4]>,
}

impl Probe {
    pub(crate) fn idle_until(due: Instant) -> Self {
        Self {
            phase: Phase::Idle,
            due,
            began: due,
            ends: due,
            target: Run { id: NodeId::new(0), epoch: Epoch::default() },
            slot: LOCAL,
            life: (Epoch::default(), Incarnation::ZERO),
            seq: 0,
            relays: SmallVec::new(),
            nacks: SmallVec::new(),
        }
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Where the record of the last target was: a guess, for it may have been forgotten since, and
    /// the slot given to another.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Ends the round with no verdict; the next begins at `due`.
    pub(crate) fn abandon(&mut self, due: Instant) {
        self.phase = Phase::Idle;
        self.due = due;
    }

    /// Goes on after a time with nobody to probe. A deadline left over from before would look like
    /// a pause (§4.4.1).
    pub(crate) fn resume(&mut self, now: Instant, wait: Duration) {
        if self.phase != Phase::Idle || self.due <= now {
            self.abandon(now + wait);
        }
    }

    fn awaits(&self, seq: u32, subject: Run) -> bool {
        self.phase != Phase::Idle && self.seq == seq && self.target == subject
    }
}

impl Membership {
    pub(super) fn on_probe_due(&mut self, now: Now) {
        match self.probe.phase {
            Phase::Idle => self.begin_probe(now),
            Phase::Direct => self.probe_indirectly(now),
            Phase::Indirect => self.end_probe(now),
        }
    }

    fn begin_probe(&mut self, now: Now) {
        let interval = self.awareness.scale(self.config.probe_interval);
        self.probe.abandon(now.mono + interval);
        let Some(slot) = self.table.next_probe(&mut self.rng) else { return };
        let seq = self.next_seq();
        let target = self.run_of(slot);
        // D2 of other implementations: the timeout stretches with the interval, not the interval
        // alone.
        let round_trip =
            self.round_trip.timeout(self.config.probe_timeout_min, self.config.probe_timeout_max);
        let wait = self.awareness.scale(round_trip);
        self.probe = Probe {
            phase: Phase::Direct,
            due: now.mono + wait,
            began: now.mono,
            ends: now.mono + interval,
            target,
            slot,
            life: self.table.get(slot).rank().life(),
            seq,
            relays: SmallVec::new(),
            nacks: SmallVec::new(),
        };
        self.stats.probes += 1;
        self.ping(slot, seq, Plane::Datagram);
    }

    /// Pings the member in `slot`; a suspect is told that it is one.
    pub(super) fn ping(&mut self, slot: Slot, seq: u32, plane: Plane) {
        self.ping_as(slot, Body::Ping { seq, target: self.run_of(slot) }, plane);
    }

    fn ping_as(&mut self, slot: Slot, body: Body, plane: Plane) {
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

    fn probe_indirectly(&mut self, now: Now) {
        self.probe.phase = Phase::Indirect;
        self.probe.due = self.probe.ends;
        let Some(slot) = self.probed_slot() else { return };
        let (seq, target) = (self.probe.seq, self.probe.target);
        let left = self.probe.ends.since(now.mono);
        let budget_ms = if self.config.nacks { whole_millis(left) } else { 0 };
        self.probe.relays = self.draw_live(self.config.indirect_probes, slot);
        for relay in self.probe.relays.clone() {
            let Some(relay) = self.table.find(relay) else { continue };
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

    fn end_probe(&mut self, now: Now) {
        let slot = self.probed_slot();
        let missed_nacks = self.config.nacks && self.probe.nacks.len() < self.probe.relays.len();
        let life = self.probe.life;
        self.begin_probe(now);
        let Some(slot) = slot else { return };
        self.stats.probes_failed += 1;
        // D4 of other implementations: a failed probe counts, and missing nacks count once more
        // (Lifeguard §IV-A).
        self.awareness.worse();
        if missed_nacks {
            self.awareness.worse();
        }
        if self.table.get(slot).rank().life() == life {
            self.accuse(now, slot);
        }
    }

    /// The member on trial, if it is still in the view under the same run.
    fn probed_slot(&self) -> Option<Slot> {
        let slot = self.table.find_from(Some(self.probe.slot), self.probe.target.id)?;
        let record = self.table.get(slot);
        (record.epoch == self.probe.target.epoch && record.state.is_live()).then_some(slot)
    }

    pub(super) fn on_ack(&mut self, now: Now, speaker: &Speaker, seq: u32, subject: Run) {
        if self.leave_acked(speaker.run.id, seq, subject) {
            return;
        }
        let is_direct = speaker.run == subject;
        if self.probe.awaits(seq, subject)
            && (is_direct || self.probe.relays.contains(&speaker.run.id))
        {
            // The relays' pings carry other numbers and the repetition goes over the stream plane,
            // so an ack by datagram is to the first ping even when it is late: without
            // those samples the wait would never grow to a round trip longer than
            // itself. On the stream plane alone a late ack is ambiguous (Karn) and not measured.
            if is_direct && (self.probe.phase == Phase::Direct || speaker.plane == Plane::Datagram)
            {
                self.round_trip.observe(now.mono.since(self.probe.began));
            }
            self.awareness.better();
            let ends = self.probe.ends;
            self.probe.abandon(ends);
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

    pub(super) fn on_nack(&mut self, speaker: &Speaker, seq: u32, subject: Run) {
        let relay = speaker.run.id;
        let is_awaited = self.probe.awaits(seq, subject) && self.probe.relays.contains(&relay);
        if is_awaited && !self.probe.nacks.contains(&relay) {
            self.probe.nacks.push(relay);
        } else {
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
            let Some(slot) = self.table.random_live(&mut self.rng) else { break };
            let id = self.table.get(slot).id;
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
