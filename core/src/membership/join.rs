//! Finding the cluster, and finding it again (`docs/protocol.md` §4.8).
//!
//! Seeds are looked up and asked until one answers, with a growing wait, for ever. Afterwards they
//! are tried again at a slow, fixed rate for as long as one of them is not in the view, and dead
//! members are pinged one at a time: so two sides of a healed partition find each other with no
//! help.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::id::NodeId;
use crate::membership::Membership;
use crate::membership::state::config::SEEDS_MAX;
use crate::membership::state::outbox::Destination;
use crate::membership::state::seeds::Seed;
use crate::membership::state::since::jitter;
use crate::membership::state::table::LOCAL;
use crate::time::Now;

impl Membership {
    /// Starts looking for a cluster through seeds: `poll_lookup` will ask for their addresses, now
    /// and again later. Without this the node waits to be found.
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

    /// The seeds have these addresses at this time; none if nothing could be looked up. Addresses
    /// past the first [`SEEDS_MAX`] are ignored.
    pub fn handle_seeds(&mut self, now: Now, addrs: &[SocketAddr]) {
        if self.leave.has_begun() {
            return;
        }
        let own = self.claims.table().addr(LOCAL);
        let before = core::mem::take(&mut self.join.seeds);
        for &addr in addrs {
            let is_new = addr != own && self.join.seeds.iter().all(|seed| seed.addr != addr);
            if is_new && self.join.seeds.len() < SEEDS_MAX {
                let id = before.iter().find(|seed| seed.addr == addr).and_then(|seed| seed.id);
                self.join.seeds.push(Seed { addr, id });
            }
        }
        let mut absent: Vec<SocketAddr> = self
            .join
            .seeds
            .iter()
            .filter(|seed| !self.is_present(seed))
            .map(|seed| seed.addr)
            .collect();
        let is_joining = !self.is_joined();
        for _ in 0..self.config.join_fanout {
            if absent.is_empty() {
                break;
            }
            let addr = absent.swap_remove(self.rng.index(absent.len()));
            self.begin_exchange(now, Destination { addr, id: None }, is_joining);
        }
    }

    pub(super) fn on_join_due(&mut self, now: Now) {
        let are_known = !self.join.seeds.is_empty();
        if self.is_joined() {
            self.join.wait = self.config.join_retry_min;
            let spread =
                // `docs/protocol.md` §4.8.1
                self.config.seed_interval / 2 + jitter(&mut self.rng, self.config.seed_interval);
            self.join.due = Some(now.mono + spread);
            if are_known && self.join.seeds.iter().all(|seed| self.is_present(seed)) {
                return;
            }
        } else {
            let wait = self.join.wait;
            self.join.due = Some(now.mono + (wait / 2) + jitter(&mut self.rng, wait));
            self.join.wait = wait.saturating_mul(2).min(self.config.join_retry_max);
        }
        self.join.is_lookup_wanted = true;
    }

    /// The last other member is gone: the seeds are wanted at once, if there are any.
    pub(super) fn rejoin(&mut self, now: Now) {
        if self.join.due.is_some() {
            self.join.wait = self.config.join_retry_min;
            self.join.due = Some(now.mono);
        }
    }

    fn is_present(&self, seed: &Seed) -> bool {
        let slot = seed.id.and_then(|id| self.claims.table().find(id));
        slot.is_some_and(|slot| {
            self.claims.table().get(slot).state.is_live()
                && self.claims.table().addr(slot) == seed.addr
        })
    }

    /// Whoever has answered at `addr` is `id`.
    pub(super) fn seed_answered(&mut self, now: Now, addr: SocketAddr, id: NodeId) {
        if let Some(seed) = self.join.seeds.iter_mut().find(|seed| seed.addr == addr) {
            seed.id = Some(id);
        }
        self.start_syncing(now);
    }

    /// The first other member has come into the view: what rested while there was none begins.
    pub(super) fn end_solitude(&mut self, now: Now) {
        if self.live_count() == 1 {
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
