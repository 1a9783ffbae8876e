//! Finding the cluster, and finding it again (`docs/protocol.md` §4.8).
//!
//! ```text
//! round ──> names are looked up ──> addresses ──> tries, a few at once ──> the next round
//! ```
//!
//! Rounds go on for as long as the node runs: with a growing wait while it is alone, at a slow and
//! steady rate afterwards. Dead members are pinged one at a time. So the sides of a partition find
//! each other with no help.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;

use crate::id::NodeId;
use crate::membership::state::config::{SEED_TRIES_MAX, SEED_TRY_INTERVAL, SEEDS_MAX};
use crate::membership::state::outbox::Destination;
use crate::membership::state::seeds::Seed;
use crate::membership::state::since::jitter;
use crate::membership::state::table::LOCAL;
use crate::membership::{Event, Membership};
use crate::time::Now;

/// Members of a cluster that share one look-up in each `seed_interval`.
const LOOKUP_SHARERS: u32 = 8;

impl Membership {
    /// Starts looking for a cluster through seeds: `poll_lookup` will ask for their addresses, now
    /// and again later. Without this the node waits to be found. A further call begins the next
    /// round at once.
    pub fn join(&mut self, now: Now) {
        if !self.leave.has_begun() {
            self.join.due = Some(now.mono);
        }
    }

    /// Whether the seeds are wanted: true once each time. Look their names up, afresh, and call
    /// [`handle_seeds`](Self::handle_seeds).
    #[inline]
    pub fn poll_lookup(&mut self) -> bool {
        core::mem::take(&mut self.join.is_lookup_wanted)
    }

    /// The seeds have these addresses at this time, all together: of a name that could not be
    /// looked up, those that it had before. To be called whenever an answer has come. Of more than
    /// [`SEEDS_MAX`], each round takes the next ones.
    pub fn handle_seeds(&mut self, now: Now, addrs: &[SocketAddr]) {
        if self.leave.has_begun() {
            return;
        }
        let own = self.claims.table().addr(LOCAL);
        self.join.is_own_seed = !addrs.is_empty() && addrs.iter().all(|&addr| addr == own);
        let first = match addrs.len() {
            0..=SEEDS_MAX => 0,
            len => self.join.window.wrapping_mul(SEEDS_MAX) % len,
        };
        let mut seeds = BTreeMap::new();
        let others = addrs.iter().cycle().skip(first).take(addrs.len());
        for &addr in others.filter(|&&addr| addr != own) {
            if seeds.len() == SEEDS_MAX {
                break;
            }
            let fresh = || Seed { id: None, tried: 0, round: 0, order: self.rng.next_u64() };
            let known = self.join.seeds.get(&addr).copied();
            seeds.entry(addr).or_insert_with(|| known.unwrap_or_else(fresh));
        }
        self.join.seeds = seeds;
        self.try_seeds(now);
    }

    pub(super) fn on_join_due(&mut self, now: Now) {
        if self.leave.has_begun() {
            (self.join.due, self.join.try_at) = (None, None);
            return;
        }
        if self.join.due.is_some_and(|due| due <= now.mono) {
            self.begin_round(now);
        }
        self.try_seeds(now);
    }

    /// Has all names looked up and every seed tried that is not in the view.
    fn begin_round(&mut self, now: Now) {
        let wait = if self.is_joined() {
            // §4.8.1: about as many look-ups in a cluster of any size.
            self.join.wait = self.config.join_retry_min;
            let members = u32::try_from(self.cluster_size()).unwrap_or(u32::MAX);
            let interval = self.config.seed_interval;
            interval.saturating_mul(members.max(LOOKUP_SHARERS)) / LOOKUP_SHARERS
        } else {
            if self.join.round > 0 && !self.join.is_own_seed {
                self.tell_isolated();
            }
            let wait = self.join.wait;
            self.join.wait = wait.saturating_mul(2).min(self.config.join_retry_max);
            wait
        };
        self.join.due = Some(now.mono + wait / 4 * 3 + jitter(&mut self.rng, wait / 2));
        self.join.round += 1;
        if self.join.seeds.values().all(|seed| seed.tried > 0) {
            self.join.window = self.join.window.wrapping_add(1);
        }
        self.join.burst = self.config.join_fanout;
        self.join.is_lookup_wanted = true;
    }

    /// Begins as many tries as may begin now (§4.8.4).
    fn try_seeds(&mut self, now: Now) {
        let waits_until = self.join.try_at.take();
        let is_time = waits_until.is_some_and(|at| at <= now.mono);
        self.join.burst = self.join.burst.max(usize::from(is_time));
        while self.seeds_tried() < SEED_TRIES_MAX {
            let Some(addr) = self.join.next_seed() else { return };
            let is_in_view = self.is_in_view(addr);
            let (round, tries) = (self.join.round, self.join.tries + 1);
            let Some(seed) = self.join.seeds.get_mut(&addr) else { return };
            if is_in_view {
                (seed.round, seed.tried) = (round, tries);
            } else if self.join.burst > 0 {
                (seed.round, seed.tried) = (round, tries);
                (self.join.tries, self.join.burst) = (tries, self.join.burst - 1);
                let is_joining = !self.is_joined();
                self.begin_exchange(now, Destination { addr, id: None }, is_joining);
            } else {
                let later = waits_until.filter(|&at| at > now.mono);
                self.join.try_at = later.or(Some(now.mono + SEED_TRY_INTERVAL));
                return;
            }
        }
    }

    /// Seeds that are being tried: nobody has answered there yet.
    fn seeds_tried(&self) -> usize {
        self.sync.exchanges.iter().filter(|exchange| exchange.to.id.is_none()).count()
    }

    /// A try of a seed is over: the next one need not wait.
    pub(super) fn seed_tried(&mut self, now: Now) {
        if self.join.next_seed().is_some() {
            self.join.try_at = Some(now.mono);
        }
    }

    /// Whether a live member has this address.
    fn is_in_view(&self, addr: SocketAddr) -> bool {
        let table = self.claims.table();
        let is_there = |slot| table.get(slot).state.is_live() && table.addr(slot) == addr;
        let known = self.join.seeds.get(&addr).and_then(|seed| seed.id);
        known.and_then(|id| table.find(id)).is_some_and(is_there)
            || table.iter().skip(1).any(|(slot, _)| is_there(slot))
    }

    /// The last other member is gone: a round begins at once, if the node was told to join.
    pub(super) fn rejoin(&mut self, now: Now) {
        self.tell_isolated();
        if self.join.due.is_some() {
            self.join.wait = self.config.join_retry_min;
            self.join.due = Some(now.mono);
        }
    }

    /// Says once that nobody else is in the view.
    fn tell_isolated(&mut self) {
        if !core::mem::replace(&mut self.join.is_isolation_told, true) {
            self.tell(Event::Isolated);
        }
    }

    /// Whoever has answered at `addr` is `id`.
    pub(super) fn seed_answered(&mut self, now: Now, addr: SocketAddr, id: NodeId) {
        if let Some(seed) = self.join.seeds.get_mut(&addr) {
            seed.id = Some(id);
        }
        if self.join.try_at.is_none() {
            self.seed_tried(now);
        }
        self.start_syncing(now);
    }

    /// The first other member has come into the view: what rested while there was none begins.
    pub(super) fn end_solitude(&mut self, now: Now) {
        if self.live_count() == 1 {
            self.join.is_isolation_told = false;
            let interval = self.config.probe_interval;
            self.probe.resume(now.mono, jitter(&mut self.rng, interval));
            self.start_syncing(now);
        }
    }

    /// Arms or disarms the timer that pings the dead.
    pub(super) fn arm_reconnect(&mut self, now: Now) {
        if self.claims.table().dead_count() == 0 || self.leave.has_begun() {
            self.reconnect_at = None;
        } else if self.reconnect_at.is_none() {
            // `docs/protocol.md` §4.8.2
            let interval = self.config.reconnect_interval;
            self.reconnect_at = Some(now.mono + interval / 2 + jitter(&mut self.rng, interval));
        }
    }

    /// Tells one dead member that it is thought dead. If it lives, it refutes.
    pub(super) fn on_reconnect_due(&mut self, now: Now) {
        self.reconnect_at = None;
        self.arm_reconnect(now);
        if let Some(slot) = self.claims.table().random_dead(&mut self.rng) {
            let seq = self.warn(slot);
            self.reconnecting = Some((seq, self.claims.table().get(slot).id));
        }
    }

    /// A dead member has answered. It may not have been able to say more: to one that has moved
    /// since it last heard of it, an answer is no longer than the question (§4.6). So the two
    /// exchange tables, over a stream, which proves where both are.
    pub(super) fn reconnect_acked(&mut self, now: Now, seq: u32, from: NodeId) -> bool {
        if self.reconnecting != Some((seq, from)) {
            return false;
        }
        self.reconnecting = None;
        if let Some(slot) = self
            .claims
            .table()
            .find(from)
            .filter(|&slot| !self.claims.table().get(slot).state.is_live())
        {
            let is_joining = !self.is_joined();
            self.begin_exchange(now, self.destination(slot), is_joining);
        }
        true
    }
}
