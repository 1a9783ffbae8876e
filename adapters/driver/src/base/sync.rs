//! The synchronisation that the driver needs: short locks, a [`Bell`] for each task, and lists of
//! futures that wait.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Locks, also after a panic elsewhere: every critical section leaves its data whole at each step
/// that can panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How one task is told that there is something to do. Ringing a bell that already rings costs one
/// atomic swap. Its waker is user code, as any is: it is cloned, dropped and woken while nothing is
/// locked.
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
        let is_known = lock(&self.waker).as_ref().is_some_and(|known| known.will_wake(waker));
        if !is_known {
            let waker = waker.clone();
            let _replaced = { lock(&self.waker).replace(waker) };
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
        // The task leaves its waker again when it begins, and rings are swallowed until then.
        let waker = { lock(&self.waker).take() };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The futures that wait for something that happens once in a while. Each has a [`Registration`],
/// which ends when the future is dropped, so the list never outgrows the futures.
///
/// Wakers are user code: they are cloned, dropped and woken while the list is not locked.
#[derive(Debug, Default)]
pub(crate) struct WaitList {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    next_key: u64,
}

impl WaitList {
    /// Returns a registration that does not wait yet.
    pub(crate) fn registration(&self) -> Registration<'_> {
        Registration { list: self, key: None }
    }

    /// Has `waker` woken by the next [`WaitList::wake_all`], in the place `key` if that is given.
    /// Returns the place, which has to be given to [`WaitList::remove`] in the end.
    pub(crate) fn insert(&self, key: Option<u64>, waker: &Waker) -> u64 {
        let waker = waker.clone();
        let (key, _replaced) = {
            let mut waiting = lock(&self.waiting);
            let key = key.unwrap_or_else(|| {
                waiting.next_key += 1;
                waiting.next_key
            });
            (key, waiting.wakers.insert(key, waker))
        };
        key
    }

    /// Gives the place `key` up.
    pub(crate) fn remove(&self, key: u64) {
        let _removed = { lock(&self.waiting).wakers.remove(&key) };
    }

    /// How many futures wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.waiting).wakers.len()
    }

    /// Wakes every future that waits. Each has to register again to be woken once more.
    pub(crate) fn wake_all(&self) {
        let woken = std::mem::take(&mut lock(&self.waiting).wakers);
        woken.into_values().for_each(Waker::wake);
    }
}

/// The place of one future in a [`WaitList`].
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    list: &'a WaitList,
    key: Option<u64>,
}

impl Registration<'_> {
    /// Has `waker` woken by the next [`WaitList::wake_all`], in place of an earlier waker.
    pub(crate) fn register(&mut self, waker: &Waker) {
        self.key = Some(self.list.insert(self.key, waker));
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.list.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_ends_with_its_future() {
        let list = WaitList::default();
        for _ in 0..10_000 {
            list.registration().register(Waker::noop());
        }
        assert!(lock(&list.waiting).wakers.is_empty());
    }
}
