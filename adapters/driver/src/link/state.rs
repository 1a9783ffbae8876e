//! [`Guarded`]: a link's state behind its lock, in a way that drops nothing of a user's under it.
//!
//! The drop of bytes that a user gave, of their owner that is, may do anything: call this node over
//! this very link too. So the machine drops none of them, and hands them out with the lock.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard};

use chinwag_core::rpc::{Request, RequestError};
use chinwag_core::time::Now;

use super::handle::State;
use crate::base::sync::lock;

/// A link's state. Nobody locks it but by [`Guarded::lock`].
pub(super) struct Guarded(Mutex<State>);

/// The state, locked. Where it is dropped, what the machine has done with is dropped too, after the
/// lock has been released.
pub(super) struct Locked<'a>(Option<MutexGuard<'a, State>>);

impl Guarded {
    pub(super) fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked(Some(lock(&self.0)))
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0.as_deref().expect("it is locked until it is dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_deref_mut().expect("it is locked until it is dropped")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let trash = self.0.as_mut().map(|state| state.machine.take_trash());
        self.0 = None;
        drop(trash);
    }
}

impl State {
    /// Queues a one-way message.
    pub(super) fn one_way(&mut self, now: Now, request: Request<'_>) -> Result<(), RequestError> {
        let is_early = self.machine.peer().is_none();
        self.machine.one_way(now, request)?;
        self.used_at = now.mono;
        self.has_early_one_way |= is_early;
        Ok(())
    }
}
