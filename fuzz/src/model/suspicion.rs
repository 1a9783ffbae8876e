//! How long an accused member has (§4.5, §4.5.1).

use std::collections::BTreeSet;

use super::{Config, Nanos, Window};

/// A suspicion of one life of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Whose probes failed, as far as is kept here: the first K + 1.
    pub accusers: BTreeSet<u64>,
    /// When this node began to suspect, later by as much as it slept since (§4.4.1).
    pub begun: Nanos,
    /// When the member is dead if nothing is heard of it.
    pub deadline: Window,
    /// §4.5.1: it began without accusers.
    pub is_doubt: bool,
    /// It has the minimum length, whoever else accuses: it began without accusers, or a told death
    /// shortened it.
    is_shortest: bool,
    /// Live members when it began, this node and the subject among them.
    members: usize,
}

impl Suspicion {
    /// Begins now, among so many live members.
    pub(super) fn begin(
        config: &Config,
        now: Nanos,
        accusers: &[u64],
        members: usize,
    ) -> Suspicion {
        let mut suspicion = Suspicion {
            accusers: BTreeSet::new(),
            begun: now,
            deadline: Window { earliest: Nanos::MAX, latest: Nanos::MAX },
            is_doubt: accusers.is_empty(),
            is_shortest: accusers.is_empty(),
            members,
        };
        suspicion.reckon(config);
        for &accuser in accusers {
            suspicion.confirm(config, accuser);
        }
        suspicion
    }

    /// §4.5: an accuser more. `false` if it was known, or K + 1 are.
    pub(super) fn confirm(&mut self, config: &Config, accuser: u64) -> bool {
        let is_full = self.accusers.len() > expected(config, self.members);
        let is_new = !is_full && self.accusers.insert(accuser);
        if is_new {
            self.reckon(config);
        }
        is_new
    }

    /// §4.5.1: a told death leaves a younger suspicion its minimum length.
    pub(super) fn shorten(&mut self, config: &Config) {
        self.is_shortest = true;
        self.reckon(config);
    }

    /// §4.4.1: as much more time as the node slept; its beginning moves, too.
    pub(super) fn sleep(&mut self, slept: Nanos) {
        self.begun += slept;
        self.deadline = self.deadline.later(slept);
    }

    /// §4.5.1: whether it has lasted for at least the minimum length; `None` if that is a matter of
    /// rounding.
    pub(super) fn is_ripe(&self, config: &Config, now: Nanos) -> Option<bool> {
        let (lasted, min) = (now - self.begun, rounded(minimum(config, self.members)));
        let is_surely = lasted >= min + config.tolerance;
        let is_perhaps = lasted >= min - config.tolerance;
        (is_surely == is_perhaps).then_some(is_surely)
    }

    /// §4.5: "the timer only shortens".
    fn reckon(&mut self, config: &Config) {
        let confirmations = self.accusers.len().saturating_sub(1);
        let length = match self.is_shortest {
            true => minimum(config, self.members),
            false => length(config, self.members, confirmations),
        };
        let end = self.begun + rounded(length);
        self.deadline.earliest = self.deadline.earliest.min(end - config.tolerance);
        self.deadline.latest = self.deadline.latest.min(end + config.tolerance);
    }
}

/// §4.5: `min = suspicion_mult * max(1, log10 n) * probe_interval`, in nanoseconds.
pub(super) fn minimum(config: &Config, members: usize) -> f64 {
    let scale = as_f64(members).log10().max(1.0);
    f64::from(config.suspicion_mult) * scale * nanos_f64(config.probe_interval)
}

/// §4.5: K, how many confirmations are expected.
fn expected(config: &Config, members: usize) -> usize {
    config.confirmations.min(members.saturating_sub(2))
}

/// §4.5: `T = max(min, max - (max - min) * log(C + 1) / log(K + 1))`, in nanoseconds. `K = 0` gives
/// min.
pub(super) fn length(config: &Config, members: usize, confirmations: usize) -> f64 {
    let min = minimum(config, members);
    let max = f64::from(config.suspicion_max_mult) * min;
    let expected = expected(config, members);
    if expected == 0 {
        return min;
    }
    let share = (as_f64(confirmations) + 1.0).ln() / (as_f64(expected) + 1.0).ln();
    min.max(max - (max - min) * share)
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a test has fewer members than a u32 counts"))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a probe interval has far fewer than 53 bits of nanoseconds"
)]
fn nanos_f64(nanos: Nanos) -> f64 {
    nanos as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates; what it cuts is within the tolerance"
)]
fn rounded(nanos: f64) -> Nanos {
    nanos.round() as Nanos
}
