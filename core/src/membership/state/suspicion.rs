//! How long a suspected member has (`docs/protocol.md` §4.5; Lifeguard §IV-B).
//!
//! A suspicion belongs to one `(epoch, incarnation)` and one timer. It starts long and shrinks as
//! members whose own probes failed confirm it:
//!
//! T = max(min, max - (max - min) · log(C + 1) / log(K + 1))
//!
//! where C counts confirmations beyond the first accuser and K those expected. Logarithms are
//! fixed-point, so that every platform gives the same nanosecond.

use alloc::collections::BTreeSet;
use core::time::Duration;

use hashbrown::HashMap;

use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::ACCUSERS_MAX;
use crate::membership::state::config::Config;
use crate::membership::state::ring::Slot;
use crate::time::Instant;
use crate::wire::update::Accusers;

/// A hasher for slots and ids, fixed so that no order depends on chance. Nothing iterates these
/// maps.
pub(crate) type Hasher = core::hash::BuildHasherDefault<crate::membership::state::hash::MixHasher>;

/// One running suspicion.
#[derive(Clone, Debug)]
pub(crate) struct Suspicion {
    pub(crate) life: (Epoch, Incarnation),
    pub(crate) accusers: Accusers,
    /// Whether it was a death told by others that began it (§4.5): such a telling cannot end it
    /// too.
    pub(crate) is_of_told_death: bool,
    began: Instant,
    deadline: Instant,
    min: Duration,
    max: Duration,
    expected: u32,
}

/// All running suspicions, the next to run out first.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    running: HashMap<Slot, Suspicion, Hasher>,
    deadlines: BTreeSet<(Instant, Slot)>,
}

impl Suspicions {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// The first suspicion that has run out.
    pub(crate) fn expired(&self, now: Instant) -> Option<Slot> {
        self.deadlines.first().filter(|&&(at, _)| at <= now).map(|&(_, slot)| slot)
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Suspicion> {
        self.running.get(&slot)
    }

    /// Starts a fresh suspicion; one that runs for an earlier incarnation ends (defect D5 of other
    /// implementations, whose old timer kills a member that has refuted).
    pub(crate) fn start(&mut self, slot: Slot, suspicion: Suspicion) {
        self.cancel(slot);
        self.deadlines.insert((suspicion.deadline, slot));
        self.running.insert(slot, suspicion);
    }

    pub(crate) fn cancel(&mut self, slot: Slot) {
        if let Some(ended) = self.running.remove(&slot) {
            self.deadlines.remove(&(ended.deadline, slot));
        }
    }

    /// Adds accusers of the same incarnation. Answers whether there was a new one, which is worth
    /// telling others.
    pub(crate) fn confirm(&mut self, slot: Slot, subject: NodeId, accusers: &[NodeId]) -> bool {
        let Some(suspicion) = self.running.get_mut(&slot) else { return false };
        let before = suspicion.accusers.len();
        add_accusers(&mut suspicion.accusers, subject, accusers, suspicion.expected as usize + 1);
        if suspicion.accusers.len() == before {
            return false;
        }
        let deadline = suspicion.began + suspicion.timeout();
        self.deadlines.remove(&(suspicion.deadline, slot));
        // A timer only ever shortens (C5).
        suspicion.deadline = suspicion.deadline.min(deadline);
        self.deadlines.insert((suspicion.deadline, slot));
        true
    }

    /// Whether this life of the member has been suspected here, on an accusation, for the minimum
    /// time: then a told death ends it at once (§4.5.1).
    pub(crate) fn has_heard_out(
        &self,
        slot: Slot,
        life: (Epoch, Incarnation),
        now: Instant,
    ) -> bool {
        self.get(slot).is_some_and(|running| {
            running.life == life && !running.is_of_told_death && running.began + running.min <= now
        })
    }

    /// Others have heard enough: the suspicion lasts its minimum from its beginning. Answers
    /// whether that is news.
    pub(crate) fn shorten(&mut self, slot: Slot) -> bool {
        let Some(suspicion) = self.running.get_mut(&slot) else { return false };
        let deadline = suspicion.began + suspicion.min;
        if suspicion.deadline <= deadline {
            return false;
        }
        self.deadlines.remove(&(suspicion.deadline, slot));
        suspicion.deadline = deadline;
        self.deadlines.insert((deadline, slot));
        true
    }

    /// Gives every running suspicion `by` more time: the node itself was asleep for as long (§4.4).
    pub(crate) fn extend_all(&mut self, by: Duration) {
        for (at, slot) in core::mem::take(&mut self.deadlines) {
            if let Some(suspicion) = self.running.get_mut(&slot) {
                suspicion.began = suspicion.began + by;
                suspicion.deadline = at + by;
                self.deadlines.insert((suspicion.deadline, slot));
            }
        }
    }
}

impl Suspicion {
    /// A suspicion of `subject` in a cluster of `members`, the local node included.
    pub(crate) fn new(
        life: (Epoch, Incarnation),
        subject: NodeId,
        accusers: &[NodeId],
        members: usize,
        config: &Config,
        began: Instant,
    ) -> Self {
        let min = suspicion_min(config, members);
        // Everybody but the subject and the first accuser can confirm.
        let expected = config.confirmations.min(members.saturating_sub(2));
        let expected = u32::try_from(expected).expect("validated to be at most 7");
        let max = if expected == 0 { min } else { min.saturating_mul(config.suspicion_max_mult) };
        let mut suspicion = Self {
            life,
            accusers: Accusers::new(),
            is_of_told_death: false,
            began,
            deadline: began,
            min,
            max,
            expected,
        };
        add_accusers(&mut suspicion.accusers, subject, accusers, expected as usize + 1);
        suspicion.deadline = began + suspicion.timeout();
        suspicion
    }

    /// One that a told death begins: whoever told has waited, so the member has the minimum to
    /// refute.
    pub(crate) fn of_told_death(
        life: (Epoch, Incarnation),
        members: usize,
        config: &Config,
        began: Instant,
    ) -> Self {
        let min = suspicion_min(config, members);
        Self {
            life,
            accusers: Accusers::new(),
            is_of_told_death: true,
            began,
            deadline: began + min,
            min,
            max: min,
            expected: 0,
        }
    }

    fn timeout(&self) -> Duration {
        let confirmations =
            u32::try_from(self.accusers.len().saturating_sub(1)).expect("at most 8");
        if self.expected == 0 || confirmations >= self.expected {
            return self.min;
        }
        let shrunk = u64::from(log2_fixed(confirmations + 1)) << 16;
        let share = shrunk / u64::from(log2_fixed(self.expected + 1));
        let span = self.max - self.min;
        let taken = (u128::from(crate::time::nanos(span)) * u128::from(share)) >> 16;
        self.max - Duration::from_nanos(u64::try_from(taken).unwrap_or(u64::MAX)).min(span)
    }
}

fn add_accusers(to: &mut Accusers, subject: NodeId, accusers: &[NodeId], max: usize) {
    for &accuser in accusers {
        if to.len() >= max.min(ACCUSERS_MAX) {
            return;
        }
        if accuser != subject && !to.contains(&accuser) {
            to.push(accuser);
        }
    }
}

/// The shortest suspicion in a cluster of `members`: mult · max(1, log10 n) · interval.
pub(crate) fn suspicion_min(config: &Config, members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    let scale = (u64::from(log2_fixed(members)) << 16) / u64::from(log2_fixed(10));
    let scale = u32::try_from(scale.max(1 << 16)).expect("log10 of a u32 is below 10");
    config.probe_interval.saturating_mul(config.suspicion_mult).saturating_mul(scale) / (1 << 16)
}

/// log2 of `x` (1 if `x` is 0) with 16 fractional bits, truncated: repeated squaring of the
/// mantissa.
pub(crate) fn log2_fixed(x: u32) -> u32 {
    let x = x.max(1);
    let whole = x.ilog2();
    let mut mantissa = u64::from(x) << 31 >> whole;
    let mut result = whole;
    for _ in 0..16 {
        mantissa = (mantissa * mantissa) >> 31;
        let carry = u32::from(mantissa >= 1 << 32);
        mantissa >>= carry;
        result = result << 1 | carry;
    }
    result
}

#[cfg(test)]
mod tests;
