//! [`Life`]: how far a node is on its way from its start to its end, and who waits for that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use chinwag_core::time::Instant;

use crate::base::sync::{Wakers, lock};

/// Whether a node leaves, whether it has ended, and which of its tasks still hold sockets.
#[derive(Default)]
pub(crate) struct Life {
    /// The node has begun to leave, and takes no new calls.
    is_leaving: AtomicBool,
    is_closed: AtomicBool,
    leave: Mutex<Leave>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Leave {
    /// When calls in flight are waited for no longer.
    drain_until: Option<Instant>,
    has_drained: bool,
    report: Option<LeaveReport>,
    wakers: Wakers,
}

/// The tasks that hold sockets.
#[derive(Default)]
struct Tasks {
    count: usize,
    wakers: Wakers,
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

    /// Wakes whoever waits for a leave, to look again.
    pub(crate) fn wake_leavers(&self) {
        let wakers = lock(&self.leave).wakers.take();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Notes that a connection has come to rest. If the node leaves, whoever waits for that looks
    /// again.
    pub(crate) fn notice_drain(&self) {
        if self.is_leaving() {
            self.wake_leavers();
        }
    }

    /// Keeps the report of the leave for [`Life::poll_left`].
    pub(crate) fn complete_leave(&self, report: LeaveReport) {
        lock(&self.leave).report = Some(report);
        self.wake_leavers();
    }

    /// Ready with the leave's report once `is_quiet` has returned `true`; ready with `None` when
    /// the node has ended before that. `is_quiet` is called while no lock is held.
    pub(crate) fn poll_left(
        &self,
        cx: &mut Context<'_>,
        is_quiet: impl FnOnce() -> bool,
    ) -> Poll<Option<LeaveReport>> {
        // First, so that what changes while the connections are looked at is not missed.
        lock(&self.leave).wakers.add(cx.waker());
        let is_quiet = is_quiet();
        let mut leave = lock(&self.leave);
        leave.has_drained |= is_quiet && !self.is_closed();
        if leave.has_drained && leave.report.is_some() {
            return Poll::Ready(leave.report);
        }
        if self.is_closed() { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Ready once no task of the node holds a socket.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut tasks = lock(&self.tasks);
        if tasks.count == 0 {
            return Poll::Ready(());
        }
        tasks.wakers.add(cx.waker());
        Poll::Pending
    }
}

/// The count of one task that holds sockets. It is the last field of such a task, so that it is
/// dropped after them.
pub(crate) struct Alive {
    life: Arc<Life>,
}

impl Alive {
    pub(crate) fn new(life: &Arc<Life>) -> Self {
        lock(&life.tasks).count += 1;
        Self { life: life.clone() }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let wakers = {
            let mut tasks = lock(&self.life.tasks);
            tasks.count -= 1;
            if tasks.count == 0 { tasks.wakers.take() } else { Vec::new() }
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}
