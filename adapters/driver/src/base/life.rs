//! [`Life`]: how far a node is on its way from its start to its end, and who waits for that.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use chinwag_core::time::Instant;

use crate::base::sync::{Registration, WaitList, lock};

/// Whether a node leaves, whether it has ended, and how many of its tasks have not.
#[derive(Default)]
pub(crate) struct Life {
    /// The node has begun to leave, and takes no new calls.
    is_leaving: AtomicBool,
    is_closed: AtomicBool,
    leave: Mutex<Leave>,
    /// Tasks of the node that have not ended.
    tasks: AtomicUsize,
    /// The futures that wait for a leave.
    pub(crate) leavers: WaitList,
    /// The futures that wait for the end of all tasks.
    pub(crate) enders: WaitList,
    /// Tasks that end with the node ([`OwnedTask`](crate::base::owned_task::OwnedTask)).
    pub(crate) owned: WaitList,
}

#[derive(Default)]
struct Leave {
    /// When calls in flight are waited for no longer.
    drain_until: Option<Instant>,
    has_drained: bool,
    report: Option<LeaveReport>,
}

/// The result of a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaveReport {
    /// Members that acknowledged.
    pub acked: u32,
    /// Acknowledgements that were wanted. Fewer came if time ran out.
    pub needed: u32,
}

impl LeaveReport {
    pub(crate) fn new(acked: u32, needed: u32) -> Self {
        Self { acked, needed }
    }
}

impl Life {
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::SeqCst)
    }

    /// Ends the node. Returns whether this call did, and not an earlier one.
    #[must_use]
    pub(crate) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::SeqCst)
    }

    /// Begins a leave that waits for calls in flight until `drain_until`. Returns until when the
    /// leave waits, which an earlier call may have set, and whether this call began it.
    #[must_use]
    pub(crate) fn begin_leave(&self, drain_until: Instant) -> (Instant, bool) {
        let until = *lock(&self.leave).drain_until.get_or_insert(drain_until);
        let has_begun = !self.is_closed() && !self.is_leaving.swap(true, Ordering::SeqCst);
        (until, has_begun)
    }

    /// Notes that a connection has come to rest. If the node leaves, whoever waits for that looks
    /// again.
    pub(crate) fn notice_drain(&self) {
        if self.is_leaving() {
            self.leavers.wake_all();
        }
    }

    /// Keeps the report of the leave for [`Life::poll_left`].
    pub(crate) fn complete_leave(&self, report: LeaveReport) {
        lock(&self.leave).report = Some(report);
        self.leavers.wake_all();
    }

    /// Ready with the leave's report once `is_quiet` has returned `true`; ready with `None` when
    /// the node has ended before that. `is_quiet` is called while no lock is held.
    pub(crate) fn poll_left(
        &self,
        cx: &mut Context<'_>,
        registration: &mut Registration<'_>,
        is_quiet: impl FnOnce() -> bool,
    ) -> Poll<Option<LeaveReport>> {
        // First, so that what changes while the connections are looked at is not missed.
        registration.register(cx.waker());
        let is_quiet = is_quiet();
        let mut leave = lock(&self.leave);
        leave.has_drained |= is_quiet && !self.is_closed();
        if leave.has_drained && leave.report.is_some() {
            return Poll::Ready(leave.report);
        }
        if self.is_closed() { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Ready once every task of the node has ended.
    pub(crate) fn poll_ended(
        &self,
        cx: &mut Context<'_>,
        registration: &mut Registration<'_>,
    ) -> Poll<()> {
        // Registered before the count is read, so that the last end is not missed.
        registration.register(cx.waker());
        if self.tasks.load(Ordering::SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Counts a task of the node, for [`Node::shutdown`](crate::Node::shutdown). It is the last field
/// of the task, so that it is dropped after everything that the task holds: sockets, handlers, the
/// user's files.
pub(crate) struct Alive {
    life: Arc<Life>,
}

impl Alive {
    pub(crate) fn new(life: &Arc<Life>) -> Self {
        life.tasks.fetch_add(1, Ordering::SeqCst);
        Self { life: life.clone() }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.life.tasks.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.life.enders.wake_all();
        }
    }
}
