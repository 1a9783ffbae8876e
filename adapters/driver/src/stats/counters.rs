//! [`Stats`]: what a node has counted.

use std::sync::atomic::{AtomicU64, Ordering};

use chinwag_core::membership;
use chinwag_core::rpc::Code;
use chinwag_core::seal;

use crate::base::secure::Security;
use crate::stats::latency::Latency;

/// What a node has counted since it started, and how much it holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The membership machine's counters.
    pub membership: membership::Stats,
    /// Connections now, either way, those still being set up included.
    pub connections: usize,
    /// Connections dialled.
    pub dialed: u64,
    /// Dials that did not get as far as the peer's hello.
    pub dials_failed: u64,
    /// Of those, dials to addresses of seeds.
    pub seed_dials_failed: u64,
    /// Look-ups of seeds that failed, gave nothing, or were not answered in time.
    pub lookups_failed: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections turned away because there were too many.
    pub connections_refused: u64,
    /// Failures to accept.
    pub accepts_failed: u64,
    /// Calls begun here, those to this node itself included.
    pub calls_out: u64,
    /// Calls and one-way messages that came from others.
    pub calls_in: u64,
    /// Calls of others whose handler had to wait and became a task.
    pub handlers_spawned: u64,
    /// Gossip frames shed because the node task was behind.
    pub gossip_shed: u64,
    /// Datagrams that the system refused to send.
    pub datagrams_unsent: u64,
    /// Datagrams sealed and opened, and those refused, by reason. All zero without a secret.
    pub seal: seal::Stats,
    /// Handshakes of encrypted connections that came to nothing, either way: another secret, say.
    pub handshakes_refused: u64,
    /// Connections that were not encrypted, either way, while the node was
    /// [transitional](seal::Mode::Transitional).
    pub connections_plain: u64,
    /// Attempts at calls beyond the first, on other members.
    pub retries: u64,
    /// Retries that were not made because the budget for them was spent.
    pub retries_unaffordable: u64,
    /// Each method that this node has called, then each it has offered; sorted by service within
    /// each.
    pub methods: Vec<MethodStats>,
}

impl Stats {
    /// What `method` of `service` has counted on that side; `None` if it was never called, or
    /// offered, here.
    pub fn method(&self, role: Role, service: &str, method: &str) -> Option<&MethodStats> {
        let is_it = |m: &&MethodStats| m.role == role && m.service == service && m.method == method;
        self.methods.iter().find(is_it)
    }
}

/// Which end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The node that calls: the call is outbound there.
    Outbound,
    /// The node whose handler answers: the call is inbound there.
    Inbound,
}

/// What one method has counted, of outbound or of inbound calls. Calls of a node to itself count as
/// both.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MethodStats {
    /// Which end this is.
    pub role: Role,
    /// The service.
    pub service: &'static str,
    /// The method.
    pub method: &'static str,
    /// Calls that have begun. Of inbound calls, those that reached the handler.
    pub calls: u64,
    /// Of those, how many have not ended. At the caller, those that wait for a free slot of their
    /// connection count.
    pub in_flight: u64,
    /// One-way messages sent, or handled.
    pub one_ways: u64,
    /// Failures, by code, in order of the codes. A call given up by its caller is `Cancelled`.
    pub errors: Vec<(Code, u64)>,
    /// Bytes of bodies received: of replies to outbound calls, of requests of inbound ones.
    pub bytes_in: u64,
    /// Bytes of bodies sent: of requests of outbound calls, of replies to inbound ones.
    pub bytes_out: u64,
    /// How long calls took that have ended, however they did. At the caller from the call to its
    /// end; of inbound calls from when its connection began to handle what it had read to when
    /// the answer was queued.
    pub latency: Latency,
}

/// The driver's own counters, each an atomic of its own: none is on a path where that shows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) dialed: Counter,
    pub(crate) dials_failed: Counter,
    pub(crate) seed_dials_failed: Counter,
    pub(crate) lookups_failed: Counter,
    pub(crate) accepted: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) accepts_failed: Counter,
    pub(crate) calls_in: Counter,
    pub(crate) handlers_spawned: Counter,
    pub(crate) gossip_shed: Counter,
    pub(crate) datagrams_unsent: Counter,
    pub(crate) retries: Counter,
    pub(crate) retries_unaffordable: Counter,
}

impl Counters {
    pub(crate) fn read(
        &self,
        membership: &membership::Stats,
        connections: usize,
        methods: Vec<MethodStats>,
        security: Option<&Security>,
    ) -> Stats {
        Stats {
            membership: *membership,
            connections,
            dialed: self.dialed.get(),
            dials_failed: self.dials_failed.get(),
            seed_dials_failed: self.seed_dials_failed.get(),
            lookups_failed: self.lookups_failed.get(),
            accepted: self.accepted.get(),
            connections_refused: self.connections_refused.get(),
            accepts_failed: self.accepts_failed.get(),
            calls_out: methods.iter().filter(|m| m.role == Role::Outbound).map(|m| m.calls).sum(),
            calls_in: self.calls_in.get(),
            handlers_spawned: self.handlers_spawned.get(),
            gossip_shed: self.gossip_shed.get(),
            datagrams_unsent: self.datagrams_unsent.get(),
            seal: security.map(Security::datagram_stats).unwrap_or_default(),
            handshakes_refused: security.map_or(0, Security::handshakes_refused),
            connections_plain: security.map_or(0, Security::connections_plain),
            retries: self.retries.get(),
            retries_unaffordable: self.retries_unaffordable.get(),
            methods,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
