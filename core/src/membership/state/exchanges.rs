//! Table exchanges, transfers, and the budget that they share (`docs/protocol.md` §4.7).

use alloc::collections::VecDeque;
use core::time::Duration;

use smallvec::SmallVec;

use crate::id::NodeId;
use crate::membership::state::config::Config;
use crate::membership::state::outbox::Destination;
use crate::membership::state::ring::Slot;
use crate::membership::state::table::LOCAL;
use crate::time::{Instant, nanos};

/// An exchange this node began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) number: u32,
    pub(crate) to: Destination,
    pub(crate) ends: Instant,
    /// The table version when it began: what was learnt since is not sent back.
    pub(crate) version: u64,
    /// Claims taken before it began, to tell whether it has taught anything.
    pub(crate) applied: u64,
    pub(crate) is_joining: bool,
}

/// A part of the table on its way to a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) to: Destination,
    pub(crate) exchange: u32,
    pub(crate) mask: u64,
    pub(crate) cursor: Slot,
    pub(crate) is_reply: bool,
    /// Records changed after this table version are left out.
    pub(crate) version_max: u64,
    /// Whether the dead and the left go along.
    pub(crate) has_tombstones: bool,
    /// Whether the receiver has to pass the run of its id that is held here (§4.9.2).
    pub(crate) is_passed: bool,
}

impl Transfer {
    /// All that is in `mask`, for an asker.
    pub(crate) const fn reply(to: Destination, exchange: u32, mask: u64, is_joining: bool) -> Self {
        Self {
            to,
            exchange,
            mask,
            cursor: LOCAL,
            is_reply: true,
            version_max: u64::MAX,
            has_tombstones: !is_joining,
            is_passed: false,
        }
    }
}

/// Exchanges, transfers, and when the next exchange begins.
#[derive(Debug)]
pub(crate) struct Sync {
    pub(crate) due: Option<Instant>,
    pub(crate) interval: Duration,
    /// Whom to ask next, if not somebody at random.
    pub(crate) hint: Option<NodeId>,
    pub(crate) exchanges: SmallVec<[Exchange; 4]>,
    pub(crate) transfers: VecDeque<Transfer>,
    pub(crate) next_exchange: u32,
    /// The count of claims before the exchange whose last chunk is being read.
    pub(crate) ending: Option<u64>,
    /// The wait after the next failure.
    pub(crate) retry: Duration,
    /// Bytes that may be sent now; below zero they are owed.
    pub(crate) allowance: i64,
    pub(crate) refilled: Instant,
}

impl Sync {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            due: None,
            interval: config.sync_interval_min,
            hint: None,
            exchanges: SmallVec::new(),
            transfers: VecDeque::new(),
            next_exchange: 0,
            ending: None,
            retry: config.sync_interval_min,
            allowance: i64::from(config.sync_rate_max) * 2,
            refilled: now,
        }
    }

    /// Own exchanges that are open.
    pub(crate) fn exchanges_len(&self) -> usize {
        self.exchanges.len()
    }

    /// Tables that are being sent.
    pub(crate) fn transfers_len(&self) -> usize {
        self.transfers.len()
    }

    /// When something happens next: an exchange begins or fails.
    pub(crate) fn due(&self) -> Option<Instant> {
        let failing = self.exchanges.iter().map(|exchange| exchange.ends).min();
        failing.into_iter().chain(self.due).min()
    }

    pub(crate) fn take(&mut self, number: u32, peer: NodeId) -> Option<Exchange> {
        let is_it = |exchange: &Exchange| {
            exchange.number == number && exchange.to.id.is_none_or(|expected| expected == peer)
        };
        let at = self.exchanges.iter().position(is_it)?;
        Some(self.exchanges.swap_remove(at))
    }

    pub(crate) fn refill(&mut self, now: Instant, rate: u32) {
        let burst = i64::from(rate) * 2;
        let earned = u128::from(nanos(now.since(self.refilled))) * u128::from(rate) / 1_000_000_000;
        // Fractions of a byte are not lost: time is only taken when it has earned something.
        if earned > 0 {
            self.allowance =
                self.allowance.saturating_add(i64::try_from(earned).unwrap_or(burst)).min(burst);
            self.refilled = now;
        }
    }
}
