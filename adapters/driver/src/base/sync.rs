//! The few pieces of synchronisation the driver needs: short locks, a [`Bell`] for each task, and
//! lists of wakers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Locks, also after a panic elsewhere: every critical section leaves its data whole at each step
/// that can panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How one task is told that there is something to do. Ringing a bell that already rings costs one
/// atomic swap.
///
/// The task calls [`Bell::begin`] at the start of each poll and looks at everything after it;
/// whoever changes something the task should look at does so before [`Bell::ring`]. So no change is
/// missed.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    is_rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    pub(crate) fn begin(&self, waker: &Waker) {
        {
            let mut slot = lock(&self.waker);
            match &mut *slot {
                Some(old) => old.clone_from(waker),
                None => *slot = Some(waker.clone()),
            }
        }
        self.is_rung.store(false, Ordering::SeqCst);
    }

    /// The task has woken itself: nobody else needs to.
    pub(crate) fn mute(&self) {
        self.is_rung.store(true, Ordering::SeqCst);
    }

    pub(crate) fn ring(&self) {
        if self.is_rung.swap(true, Ordering::SeqCst) {
            return;
        }
        let waker = lock(&self.waker).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Futures that wait for something that happens once in a while.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    waiting: Vec<Waker>,
}

impl Wakers {
    /// Remembers `waker` until the next [`Wakers::take`].
    pub(crate) fn add(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|known| known.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    /// All of them, to be woken once no lock is held.
    #[must_use]
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting)
    }
}
