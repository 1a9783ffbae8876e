//! What the node keeps of one other member (§4.1).

use super::{Details, Nanos, SECOND, State, Suspicion};

/// Bounds of a moment, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Not before this.
    pub earliest: Nanos,
    /// Not after this.
    pub latest: Nanos,
}

impl Window {
    /// Exactly `now`.
    pub fn at(now: Nanos) -> Window {
        Window { earliest: now, latest: now }
    }

    /// When somebody died who is said to have done so `age` seconds ago. The text does not say how
    /// an age is rounded, so up to a second more may have passed.
    pub(super) fn ago(now: Nanos, age: u64) -> Window {
        let latest = now - Nanos::from(age) * SECOND;
        Window { earliest: latest - SECOND, latest }
    }

    /// The whole window, moved.
    pub(super) fn later(self, by: Nanos) -> Window {
        Window { earliest: self.earliest + by, latest: self.latest + by }
    }
}

/// One member's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which run.
    pub epoch: u64,
    /// Which life of that run.
    pub incarnation: u32,
    /// What it is.
    pub state: State,
    /// What it said of itself, and in which incarnation.
    pub details: Details,
    /// If suspect.
    pub suspicion: Option<Suspicion>,
    /// When it died or left, if it did.
    pub died: Option<Window>,
}

impl Record {
    /// §4.2: details of a later incarnation than those known are taken, whatever else becomes of
    /// the claim that brings them.
    pub(super) fn take_details(&mut self, details: Option<&Details>) -> bool {
        match details {
            Some(details) if details.incarnation > self.details.incarnation => {
                self.details = details.clone();
                true
            }
            _ => false,
        }
    }
}
