//! The search for seeds (`docs/protocol.md` §4.8).

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::NodeId;
use crate::membership::state::config::Config;
use crate::time::Instant;

/// What is known of the address of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    /// Who answered there last.
    pub(crate) id: Option<NodeId>,
    /// Which of the node's tries was the last one when it was tried, or seen in the view; 0: it was
    /// neither yet.
    pub(crate) tried: u64,
    /// The round in which it was tried, or seen in the view.
    pub(crate) round: u64,
    /// Its place among those that were not tried yet.
    pub(crate) order: u64,
}

/// The search for seeds.
#[derive(Debug)]
pub(crate) struct Join {
    /// When the next round begins; `None` until the node is told to join.
    pub(crate) due: Option<Instant>,
    /// The wait after the next round that finds nobody.
    pub(crate) wait: Duration,
    pub(crate) is_lookup_wanted: bool,
    pub(crate) seeds: BTreeMap<SocketAddr, Seed>,
    /// Whether the last look-up gave the node's own address and no other one.
    pub(crate) is_own_seed: bool,
    /// Rounds begun.
    pub(crate) round: u64,
    /// Tries begun; the first one is 1.
    pub(crate) tries: u64,
    /// Of more addresses than take part at once, the first one that does, counted in
    /// [`SEEDS_MAX`](crate::membership::SEEDS_MAX) of them.
    pub(crate) window: usize,
    /// Tries that may begin without waiting.
    pub(crate) burst: usize,
    /// When the next try may begin, if there is something to try.
    pub(crate) try_at: Option<Instant>,
    /// Whether the user knows that nobody else is in the view.
    pub(crate) is_isolation_told: bool,
}

impl Join {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            due: None,
            wait: config.join_retry_min,
            is_lookup_wanted: false,
            seeds: BTreeMap::new(),
            is_own_seed: false,
            round: 0,
            tries: 0,
            window: 0,
            burst: 0,
            try_at: None,
            is_isolation_told: false,
        }
    }

    /// When a round or a try begins.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.try_at).min()
    }

    /// The seed to try next in this round: the one that was tried longest ago.
    pub(crate) fn next_seed(&self) -> Option<SocketAddr> {
        let untried = self.seeds.iter().filter(|(_, seed)| seed.round < self.round);
        untried.min_by_key(|(_, seed)| (seed.tried, seed.order)).map(|(&addr, _)| addr)
    }
}
