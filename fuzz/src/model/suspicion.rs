//! How long an accused member has (§4.5, §4.5.1).

use std::collections::BTreeSet;

use super::{Config, Nanos, Window};

/// A suspicion of one life of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Whose probes failed, as far as is known here.
    pub accusers: BTreeSet<u64>,
    /// When this node began to suspect.
    pub begun: Nanos,
    /// When the member is dead if nothing is heard of it.
    pub deadline: Window,
    /// §4.5.1: it began without accusers.
    pub is_doubt: bool,
    /// It has the minimum length, whoever else accuses: it began without accusers, or a told death shortened it.
    is_shortest: bool,
    /// How long the node was asleep meanwhile (§4.4.1).
    slept: Nanos,
    /// The fewest and the most live members since it began: the text does not say which count the formula means.
    members: (usize, usize),
}

impl Suspicion {
    /// Begins now. `members` is the number of live ones just before and just after.
    pub(super) fn begin(
        config: &Config,
        now: Nanos,
        accusers: BTreeSet<u64>,
        members: [usize; 2],
    ) -> Suspicion {
        let is_doubt = accusers.is_empty();
        let mut suspicion = Suspicion {
            accusers,
            begun: now,
            deadline: Window { earliest: Nanos::MAX, latest: Nanos::MAX },
            is_doubt,
            is_shortest: is_doubt,
            slept: 0,
            members: (members[0].min(members[1]), members[0].max(members[1])),
        };
        suspicion.reckon(config);
        suspicion
    }

    /// §4.5: an accuser more. `false` if it was known.
    pub(super) fn confirm(&mut self, config: &Config, accuser: u64) -> bool {
        let is_new = self.accusers.insert(accuser);
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

    /// The number of live members is another. Whether a running suspicion notices is open: `earliest` follows the fewest there
    /// have been, `latest` the most, but neither is ever later than it was.
    pub(super) fn members_are(&mut self, config: &Config, members: usize) {
        self.members = (self.members.0.min(members), self.members.1.max(members));
        self.reckon(config);
    }

    /// §4.4.1: as much more time as the node slept.
    pub(super) fn sleep(&mut self, slept: Nanos) {
        self.slept += slept;
        self.deadline = self.deadline.later(slept);
    }

    /// §4.5.1: whether it has lasted for at least the minimum length; `None` if that depends on what the text leaves open.
    pub(super) fn is_ripe(&self, config: &Config, now: Nanos) -> Option<bool> {
        let surely = now - self.begun - self.slept;
        let perhaps = now - self.begun;
        if surely >= rounded(minimum(config, self.members.1)) + config.tolerance {
            Some(true)
        } else if perhaps < rounded(minimum(config, self.members.0)) - config.tolerance {
            Some(false)
        } else {
            None
        }
    }

    /// §4.5: "the timer only shortens".
    fn reckon(&mut self, config: &Config) {
        let confirmations = self.accusers.len().saturating_sub(1);
        let length = |members| {
            if self.is_shortest { minimum(config, members) } else { length(config, members, confirmations) }
        };
        let start = self.begun + self.slept;
        let earliest = start + rounded(length(self.members.0)) - config.tolerance;
        let latest = start + rounded(length(self.members.1)) + config.tolerance;
        self.deadline.earliest = self.deadline.earliest.min(earliest);
        self.deadline.latest = self.deadline.latest.min(latest);
    }
}

/// §4.5: `min = suspicion_mult * max(1, log10 n) * probe_interval`, in nanoseconds.
pub(super) fn minimum(config: &Config, members: usize) -> f64 {
    let scale = as_f64(members).log10().max(1.0);
    f64::from(config.suspicion_mult) * scale * nanos_f64(config.probe_interval)
}

/// §4.5: `T = max(min, max - (max - min) * log(C + 1) / log(K + 1))`, in nanoseconds. `K = 0` gives min.
pub(super) fn length(config: &Config, members: usize, confirmations: usize) -> f64 {
    let min = minimum(config, members);
    let max = f64::from(config.suspicion_max_mult) * min;
    let expected = config.confirmations.min(members.saturating_sub(2));
    if expected == 0 {
        return min;
    }
    let share = (as_f64(confirmations) + 1.0).ln() / (as_f64(expected) + 1.0).ln();
    min.max(max - (max - min) * share)
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a test has fewer members than a u32 counts"))
}

#[expect(clippy::cast_precision_loss, reason = "a probe interval has far fewer than 53 bits of nanoseconds")]
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
