//! When something is due, and what: one earliest deadline out of the parts' own.

use crate::membership::Membership;
use crate::membership::TimeoutReason;
use crate::membership::state::due::First;
use crate::time::{Instant, Now};

impl Membership {
    /// When [`handle_timeout`](Self::handle_timeout) is wanted; `None`: never, until something else
    /// happens.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timeout().map(|(at, _)| at)
    }

    /// Why then.
    pub fn timeout_reason(&self) -> Option<TimeoutReason> {
        self.next_timeout().map(|(_, reason)| reason)
    }

    fn next_timeout(&self) -> Option<(Instant, TimeoutReason)> {
        if self.leave.is_done() {
            return None;
        }
        let mut first =
            First { at: Instant::from_nanos(u64::MAX), reason: TimeoutReason::Tombstone };
        if self.is_joined() && !self.leave.has_begun() {
            first.offer(Some(self.probe.due()), TimeoutReason::Probe);
        }
        first.offer(self.claims.suspicions().next_deadline(), TimeoutReason::Suspicion);
        first.offer(self.relays.due(), TimeoutReason::Relay);
        first.offer(self.checks.due(), TimeoutReason::Check);
        first.offer(self.gossip_at, TimeoutReason::Gossip);
        first.offer(self.sync.due(), TimeoutReason::Sync);
        first.offer(self.join.due(), TimeoutReason::Join);
        first.offer(self.reconnect_at, TimeoutReason::Reconnect);
        first.offer(self.leave.due(), TimeoutReason::Leave);
        let tombstone = self.claims.table().oldest_tombstone();
        first.offer(
            tombstone.map(|(since, _)| since.plus(self.config.tombstone_lifetime)),
            TimeoutReason::Tombstone,
        );
        (first.at < Instant::from_nanos(u64::MAX)).then_some((first.at, first.reason))
    }

    /// Does everything that is due. An early call does nothing; a late one does each thing once.
    pub fn handle_timeout(&mut self, now: Now) {
        self.guard_against_pause(now);
        // Every handler moves its own deadline past `now`, or ends what it was for; one pass a
        // reason is all there is to do, but for suspicions and tombstones, of which many
        // may be due.
        while let Some((_, reason)) = self.next_timeout().filter(|&(at, _)| at <= now.mono) {
            match reason {
                TimeoutReason::Probe => self.on_probe_due(now),
                TimeoutReason::Suspicion => self.on_suspicion_due(now),
                TimeoutReason::Relay => self.on_relays_due(now),
                TimeoutReason::Check => self.on_checks_due(now),
                TimeoutReason::Gossip => self.on_gossip_due(now),
                TimeoutReason::Sync => self.on_sync_due(now),
                TimeoutReason::Join => self.on_join_due(now),
                TimeoutReason::Reconnect => self.on_reconnect_due(now),
                TimeoutReason::Leave => self.on_leave_due(now),
                TimeoutReason::Tombstone => self.on_tombstone_due(now),
            }
        }
    }

    /// §4.4: a node whose own timers are this late was asleep. What it waited for may lie unread in
    /// its sockets, so it passes no verdict for the time it slept.
    fn guard_against_pause(&mut self, now: Now) {
        let Some(due) = self.poll_timeout() else { return };
        let late = now.mono.since(due);
        if !self.config.pause_guard || late <= self.config.probe_timeout_max {
            return;
        }
        self.stats.pauses += 1;
        self.awareness.worse();
        self.claims.extend_suspicions(late);
        self.relays.drop_overdue(now.mono);
        self.checks.extend_all(late);
        if !self.leave.has_begun() {
            self.probe.abandon(now.mono + self.config.probe_timeout_min);
        }
    }

    fn on_gossip_due(&mut self, now: Now) {
        self.gossip_at = None;
        if self.claims.rumors().is_empty() {
            return;
        }
        self.gossip_at = Some(now.mono + self.config.gossip_interval);
        for id in self.draw_live(self.config.gossip_fanout, crate::membership::state::table::LOCAL)
        {
            if let Some(slot) = self.claims.table().find(id) {
                self.send_gossip(slot, false);
            }
        }
        // With nobody to tell, what waits is kept for whoever comes first, without ticking.
        if !self.is_joined() {
            self.gossip_at = None;
        }
    }
}
