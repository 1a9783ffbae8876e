//! [`Inflow`] and [`Outflow`]: one window as its receiver and as its sender keep it (`docs/protocol.md` §5.12).
//!
//! Both count bytes since the connection, or the stream, began. The receiver grants what was
//! released plus the window. A chunk begins when its whole charge fits; an answer while anything is
//! left, so that one that is larger than the window goes too, alone.

use core::time::Duration;

use super::frame::padded;
use crate::time::Instant;

/// What a message is charged beside its padded body: about what its event takes in memory, so that
/// a flood of empty chunks is bounded.
pub(super) const MESSAGE_CHARGE: usize = 128;

/// What a message with a body of this length is charged (§5.12.1).
pub(super) fn charge_of(body_len: usize) -> u32 {
    u32::try_from(padded(body_len) + MESSAGE_CHARGE)
        .expect("bodies are checked against limits below 4 GiB")
}

/// A window whose messages come in.
#[derive(Debug)]
pub(super) struct Inflow {
    window: u64,
    received: u64,
    released: u64,
    granted: u64,
    /// When, and at what `released`, the window was last weighed.
    weighed_at: Instant,
    weighed: u64,
}

/// The peer began a message without credit (§5.12.6, §5.12.7).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overdrawn;

impl Inflow {
    pub(super) fn new(window: u32, now: Instant) -> Self {
        let window = u64::from(window);
        Self { window, received: 0, released: 0, granted: window, weighed_at: now, weighed: 0 }
    }

    /// A message begins, all of whose charge must fit.
    pub(super) fn begin_within(&mut self, charge: u32) -> Result<(), Overdrawn> {
        if self.received + u64::from(charge) > self.granted {
            return Err(Overdrawn);
        }
        self.received += u64::from(charge);
        Ok(())
    }

    /// A message begins, of whatever size, if anything is left.
    pub(super) fn begin(&mut self, charge: u32) -> Result<(), Overdrawn> {
        if self.received >= self.granted {
            return Err(Overdrawn);
        }
        self.received += u64::from(charge);
        Ok(())
    }

    /// What a message was charged is free again. Returns whether the window would be twice as large
    /// if it may be: a whole window was released within two round trips (§5.12.6).
    pub(super) fn release(
        &mut self,
        now: Instant,
        charge: u32,
        round_trip: Option<Duration>,
    ) -> bool {
        self.released += u64::from(charge);
        debug_assert!(self.released <= self.received, "nothing is released twice");
        if self.released - self.weighed < self.window {
            return false;
        }
        let is_fast =
            round_trip.is_some_and(|round_trip| now.since(self.weighed_at) <= 2 * round_trip);
        (self.weighed_at, self.weighed) = (now, self.released);
        is_fast
    }

    /// Makes the window at least this large.
    pub(super) fn widen(&mut self, window: u64) {
        self.window = self.window.max(window);
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Bytes of messages that have begun and are not released.
    pub(super) fn held(&self) -> u64 {
        self.received - self.released
    }

    /// Whether nothing is left of the window: others may wait for what is held.
    pub(super) fn is_exhausted(&self) -> bool {
        self.held() >= self.window
    }

    /// Whether a grant of a window that one consumer empties is worth a frame (§5.12.8).
    pub(super) fn is_grant_due(&self) -> bool {
        self.released + self.window >= self.granted + (self.window / 2).max(1)
    }

    /// The same of a window that many empty, of whom some may be slow: half of what those leave
    /// (§5.12.8). Half of the whole would stop the others as soon as the slow ones hold half of
    /// it.
    pub(super) fn is_shared_grant_due(&self) -> bool {
        let allowed = self.released + self.window;
        let usable = self.window.saturating_sub(self.held());
        allowed > self.granted && usable > 0 && 2 * (allowed - self.granted) >= usable
    }

    /// The total to grant now.
    pub(super) fn grant(&mut self) -> u64 {
        self.granted = self.released + self.window;
        self.granted
    }
}

/// A window whose messages go out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outflow {
    sent: u64,
    granted: u64,
}

/// The peer took back what it had granted (§5.12.8).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TakenBack;

impl Outflow {
    pub(super) fn new(window: u32) -> Self {
        Self { granted: u64::from(window), ..Self::default() }
    }

    /// Whether a message may begin, of whatever size.
    pub(super) fn is_open(&self) -> bool {
        self.sent < self.granted
    }

    /// Whether all of a message's charge fits.
    pub(super) fn has_room(&self, charge: u32) -> bool {
        self.sent + u64::from(charge) <= self.granted
    }

    /// A message begins.
    pub(super) fn begin(&mut self, charge: u32) {
        debug_assert!(self.is_open(), "asked before");
        self.sent += u64::from(charge);
    }

    /// The peer grants this total.
    pub(super) fn raise(&mut self, total: u64) -> Result<(), TakenBack> {
        if total < self.granted {
            return Err(TakenBack);
        }
        self.granted = total;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
