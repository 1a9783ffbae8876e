//! [`Pace`]: whether a method's handler may run in the task of its connection.
//!
//! A handler that is done at its first poll costs least where its request arrives: no task, and its
//! answer is written with those of the others. A handler that computes for long there holds up
//! every call of the connection, and its keepalive. So each method begins beside its connection,
//! each call in a task of its own, and its handler's first poll is timed there. Once
//! [`SHORT_POLLS`] of them in a row were short, the method runs in place, where nothing is timed
//! but a whole batch: if that was long, every method in it runs beside its connection again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::base::limits::{LONG_POLL, SHORT_POLLS};

/// What is known of one method's handler.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The program says that it is long.
    is_long: bool,
    /// First polls in a row that were short.
    short: AtomicU32,
}

impl Pace {
    pub(crate) fn new(is_long: bool) -> Self {
        Self { is_long, short: AtomicU32::new(0) }
    }

    /// Whether the handler may run in place.
    pub(crate) fn is_short(&self) -> bool {
        !self.is_long && self.short.load(Ordering::Relaxed) >= SHORT_POLLS
    }

    /// The first poll of a handler, beside its connection, took so long.
    pub(crate) fn polled(&self, took: Duration) {
        if took >= LONG_POLL {
            self.short.store(0, Ordering::Relaxed);
        } else if !self.is_short() {
            self.short.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Handlers that ran in place, this one among them, took long together.
    pub(crate) fn doubt(&self) {
        self.short.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_runs_in_place_once_it_was_short_often_enough_and_until_it_is_long() {
        let pace = Pace::new(false);
        for _ in 0..SHORT_POLLS {
            assert!(!pace.is_short());
            pace.polled(LONG_POLL / 2);
        }
        assert!(pace.is_short());
        pace.doubt();
        for _ in 1..SHORT_POLLS {
            pace.polled(Duration::ZERO);
        }
        pace.polled(LONG_POLL);
        assert!(!pace.is_short(), "they are to be short in a row");
        for _ in 0..SHORT_POLLS {
            assert!(!pace.is_short());
            pace.polled(Duration::ZERO);
        }
        assert!(pace.is_short());
    }

    #[test]
    fn a_handler_that_is_said_to_be_long_never_runs_in_place() {
        let pace = Pace::new(true);
        (0..2 * SHORT_POLLS).for_each(|_| pace.polled(Duration::ZERO));
        assert!(!pace.is_short());
    }
}
