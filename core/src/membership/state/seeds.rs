//! The search for seeds (`docs/protocol.md` §4.8).

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::NodeId;
use crate::membership::state::config::Config;
use crate::time::Instant;

/// A seed address and who answered there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    pub(crate) addr: SocketAddr,
    pub(crate) id: Option<NodeId>,
}

/// The search for seeds.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) due: Option<Instant>,
    pub(crate) wait: Duration,
    pub(crate) is_lookup_wanted: bool,
    pub(crate) seeds: Vec<Seed>,
}

impl Join {
    pub(crate) fn new(config: &Config) -> Self {
        Self { due: None, wait: config.join_retry_min, is_lookup_wanted: false, seeds: Vec::new() }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }
}
