//! [`Gate`]: whether one direction of a socket is worth a try.
//!
//! A task is woken for many reasons, and asks all it has each time. Without a gate every such
//! question is one to the system: four of five reads of a small call would find nothing. async-io's
//! own readiness cannot be asked instead: it takes what is noticed in the round in which it was
//! asked for as stale, and then a second round has to notice it again.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

#[cfg(test)]
mod tests;

/// One direction of one socket: open until a try would block, and again once async-io says that the
/// next one would not.
pub(crate) struct Gate {
    state: Arc<State>,
    /// Wakes `state`. One for good, so that async-io need not wake one for another's sake.
    waker: Waker,
    /// Whether the last try took all there was, so that the next one can be spared.
    is_drained: bool,
}

struct State(Mutex<Opening>);

struct Opening {
    is_open: bool,
    /// Who waits for it.
    task: Option<Waker>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let state = Arc::new(State(Mutex::new(Opening { is_open: true, task: None })));
        Self { waker: state.clone().into(), state, is_drained: false }
    }

    /// Tries if that is worth it, and waits for `poll_ready`, async-io's for this direction, if it
    /// is not.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<T>,
        poll_ready: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<T>> {
        if std::mem::take(&mut self.is_drained) {
            self.shut(&poll_ready)?;
        }
        loop {
            ready!(self.state.poll_open(cx));
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.shut(&poll_ready)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// The last try took all there was: another one now would block.
    pub(crate) fn drained(&mut self) {
        self.is_drained = true;
    }

    /// First shut, then asked for: whatever comes after that opens it.
    fn shut(
        &self,
        poll_ready: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> io::Result<()> {
        self.state.lock().is_open = false;
        // What async-io noticed earlier was taken already. What is there now it notices when asked
        // anew, once.
        while let Poll::Ready(noticed) = poll_ready(&mut Context::from_waker(&self.waker)) {
            noticed?;
        }
        Ok(())
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Opening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        {
            let opening = self.lock();
            if opening.is_open {
                return Poll::Ready(());
            }
            if opening.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        // A waker is user code: it is cloned and dropped while nothing is locked.
        let waker = cx.waker().clone();
        let _replaced = {
            let mut opening = self.lock();
            if opening.is_open {
                return Poll::Ready(());
            }
            opening.task.replace(waker)
        };
        Poll::Pending
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        let task = {
            let mut opening = self.lock();
            opening.is_open = true;
            opening.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}
