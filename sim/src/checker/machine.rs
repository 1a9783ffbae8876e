//! How a machine behaves towards its driver: deadlines, draining, lengths, rates.

use chinwag_core::membership::{Plane, STREAM_LEN_MAX, Stats};
use chinwag_core::time::Instant;

use super::{Check, ensure};

/// Timers at one instant at most: a machine does everything that is due at once, and an input may
/// arm a few more.
const FIRED_AT_ONCE_MAX: u32 = 8;
/// Polls until a machine is drained, at most: what its queues may hold (`OUTBOX_MAX`, `EVENTS_MAX`)
/// and a few transfers.
pub const POLLS_MAX: u32 = 32_768;
/// Timers a second at most: probe, gossip, suspicions, relays and the rest of a busy node of a
/// small cluster.
const WAKES_PER_SECOND_MAX: u32 = 500;
/// Payloads a second that one node sends at most for each 1,000 that it takes in, and beside them.
const SENT_PER_SECOND_MAX: u32 = 500;

#[derive(Clone, Copy, Debug, Default)]
struct Gauge {
    at: Instant,
    fired: u32,
    second: u64,
    wakes: u32,
    sent: u32,
    received: u32,
}

/// Every node's machine as its driver sees it.
#[derive(Debug)]
pub struct Machines {
    datagram_len_max: usize,
    gauges: Vec<Gauge>,
}

impl Machines {
    /// Machines that have done nothing.
    pub fn new(nodes: usize, datagram_len_max: usize) -> Self {
        Self { datagram_len_max, gauges: vec![Gauge::default(); nodes] }
    }

    /// `handle_timeout` was called because the deadline had come, and the machine was drained;
    /// `next` is its next deadline.
    ///
    /// # Errors
    /// `poll_contract` if timers fire again and again without the time moving, or too often a
    /// second.
    pub fn fired(&mut self, node: u32, now: Instant, next: Option<Instant>) -> Check {
        let gauge = self.gauge(node, now);
        gauge.fired = if gauge.at == now { gauge.fired + 1 } else { 1 };
        gauge.at = now;
        gauge.wakes += 1;
        let (fired, wakes) = (gauge.fired, gauge.wakes);
        let is_past = next.is_some_and(|next| next <= now);
        ensure(!is_past || fired <= FIRED_AT_ONCE_MAX, "poll_contract", || {
            format!("node {node} has fired {fired} times at {now:?} and wants {next:?}")
        })?;
        ensure(wakes <= WAKES_PER_SECOND_MAX, "poll_contract", || {
            format!("node {node} woke {wakes} times in the second of {now:?}")
        })
    }

    /// `handle_timeout` was called too early, with this deadline and version before and after, and
    /// so much was sent.
    ///
    /// # Errors
    /// `poll_contract` if anything changed.
    pub fn fired_early(
        &self,
        node: u32,
        before: (Option<Instant>, u64),
        after: (Option<Instant>, u64),
        sent: u32,
    ) -> Check {
        ensure(before == after && sent == 0, "poll_contract", || {
            format!("node {node} was woken early: from {before:?} to {after:?}, {sent} payloads")
        })
    }

    /// The machine was polled so often until it was drained.
    ///
    /// # Errors
    /// `poll_contract` if it does not end.
    pub fn drained(&self, node: u32, polls: u32) -> Check {
        ensure(polls <= POLLS_MAX, "poll_contract", || {
            format!("node {node} is not drained by {polls} polls")
        })
    }

    /// A payload goes out.
    ///
    /// # Errors
    /// `mtu`, `resources`.
    pub fn sent(&mut self, node: u32, now: Instant, plane: Plane, len: usize) -> Check {
        let len_max = match plane {
            Plane::Datagram => self.datagram_len_max,
            Plane::Stream => STREAM_LEN_MAX,
        };
        ensure(len <= len_max, "mtu", || {
            format!("node {node} sends {len} bytes as one {plane:?}")
        })?;
        let gauge = self.gauge(node, now);
        gauge.sent += 1;
        let Gauge { sent, received, .. } = *gauge;
        ensure(sent <= SENT_PER_SECOND_MAX + 2 * received, "resources", || {
            format!(
                "node {node} sent {sent} payloads in the second of {now:?}, having received \
                    {received}"
            )
        })
    }

    /// A payload comes in.
    pub fn received(&mut self, node: u32, now: Instant) {
        self.gauge(node, now).received += 1;
    }

    /// What the machine has counted.
    ///
    /// # Errors
    /// `resources` if it shed anything although it was drained after every input.
    pub fn counted(&self, node: u32, stats: &Stats) -> Check {
        ensure(stats.outbox_shed == 0 && stats.events_shed == 0, "resources", || {
            format!("node {node} shed {} messages, {} events", stats.outbox_shed, stats.events_shed)
        })
    }

    /// How well the machine thinks it is.
    ///
    /// # Errors
    /// `awareness` if the score is out of its range.
    pub fn is_aware(&self, node: u32, score: u8, most: u8) -> Check {
        ensure(score <= most, "awareness", || {
            format!("node {node} has a score of {score}, of at most {most}")
        })
    }

    fn gauge(&mut self, node: u32, now: Instant) -> &mut Gauge {
        let gauge = &mut self.gauges[node as usize];
        let second = now.as_nanos() / 1_000_000_000;
        if gauge.second != second {
            (gauge.second, gauge.wakes, gauge.sent, gauge.received) = (second, 0, 0, 0);
        }
        gauge
    }
}
