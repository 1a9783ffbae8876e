//! [`Clock`]: the node's causal clock, with its sources of time.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chinwag_core::clock::{Stamp, Timestamp, Timestamps, TooFarAhead};
use chinwag_core::time::WallTime;

use crate::base::state::NodeState;

/// The node's hybrid logical clock. Every stamp it gives is later than all before it, on this node,
/// and later than every stamp that has reached this node in a message. Lock-free; cheap to clone.
///
/// A stamp is as close to wall-clock time as its source: *precise* reads the runtime's clock
/// ([`Clock::now`]); *coarse* takes the time at which the node last did anything, without asking
/// the system ([`Clock::now_coarse`]); *given* is the caller's ([`Clock::now_at`]). Order is the
/// same from all three.
#[derive(Clone)]
pub struct Clock {
    node: Arc<NodeState>,
}

impl Clock {
    pub(crate) fn new(node: Arc<NodeState>) -> Self {
        Self { node }
    }

    /// A new stamp at the runtime's wall-clock time.
    pub fn now(&self) -> Timestamp {
        self.node.clock.tick(self.node.runtime.now().wall)
    }

    /// A new stamp at the wall-clock time of the node task's last turn: seconds ago at worst (one
    /// probe interval).
    pub fn now_coarse(&self) -> Timestamp {
        self.node.clock.tick(WallTime::from_nanos(self.node.coarse_wall.load(Ordering::Relaxed)))
    }

    /// A new stamp at the caller's idea of the wall-clock time.
    pub fn now_at(&self, wall: WallTime) -> Timestamp {
        self.node.clock.tick(wall)
    }

    /// [`Clock::now`] with this node's id: unique in the cluster, and totally ordered.
    pub fn stamp(&self) -> Stamp {
        Stamp { time: self.now(), node: self.node.id }
    }

    /// `count` stamps at once, in order.
    pub fn reserve(&self, count: NonZeroU32) -> Timestamps {
        self.node.clock.reserve(self.node.runtime.now().wall, count)
    }

    /// Moves the clock past a stamp that came by a way of the user's own. (Those in chinwag's
    /// messages are observed already.)
    ///
    /// # Errors
    /// [`TooFarAhead`] when it is further ahead than the node's `drift_max`: nothing moves.
    pub fn observe(&self, remote: Timestamp) -> Result<(), TooFarAhead> {
        self.node.clock.observe(self.node.runtime.now().wall, remote)
    }

    /// The latest stamp given or observed.
    pub fn last(&self) -> Timestamp {
        self.node.clock.last()
    }

    /// How far the clock is ahead of wall-clock time: because others are, or because time stepped
    /// back.
    pub fn ahead(&self) -> Duration {
        self.node.clock.ahead(self.node.runtime.now().wall)
    }

    /// How many stamps were refused as too far ahead.
    pub fn refused_count(&self) -> u64 {
        self.node.clock.refused_count()
    }

    /// A bound to persist, if it is time: a node that starts with
    /// [`Builder::clock_floor`](crate::Builder::clock_floor) at the last one gives no stamp
    /// twice, whatever its wall clock says then.
    pub fn persist_bound(&self) -> Option<Timestamp> {
        self.node.clock.persist_bound(self.node.runtime.now().wall)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("last", &self.last()).finish_non_exhaustive()
    }
}
