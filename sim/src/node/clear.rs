//! [`Clear`]: since when nothing disturbs calls.

use std::time::Duration;

use crate::clock::nanos;
use crate::fault::{Fault, Timed};

/// After a fault, calls are held to be undisturbed once so much time has passed: a connection that
/// fell silent is found out (`keepalive_calls` and `keepalive_timeout`), and another one is made
/// (`hello_timeout`, and the wait between two attempts).
pub(crate) const RECOVERS_WITHIN: Duration = Duration::from_secs(30);

/// Since when no fault is there that may hold up, lose or misdirect what calls send.
#[derive(Debug, Default)]
pub(crate) struct Clear {
    active: u32,
    /// The true nanosecond from which on what past faults did is over.
    settled_at: u64,
}

impl Clear {
    /// A fault begins.
    pub(crate) fn begin(&mut self, now: u64, timed: &Timed) {
        if !timed.fault.disturbs_calls() {
            return;
        }
        if is_state(timed) {
            self.settles_after(now);
        } else {
            self.active += 1;
        }
    }

    /// A fault ends that [`Clear::begin`] was told of.
    pub(crate) fn end(&mut self, now: u64, timed: &Timed) {
        if timed.fault.disturbs_calls() {
            self.active -= u32::from(!is_state(timed));
            self.settles_after(now);
        }
    }

    /// The true nanosecond since which nothing disturbs calls, if nothing does.
    pub(crate) fn since(&self) -> Option<u64> {
        (self.active == 0).then_some(self.settled_at)
    }

    fn settles_after(&mut self, now: u64) {
        self.settled_at = now + nanos(RECOVERS_WITHIN);
    }
}

/// One node that stands still or is gone for ever is a state, to which the others settle.
const fn is_state(timed: &Timed) -> bool {
    let stops = matches!(
        timed.fault,
        Fault::Crash { .. }
            | Fault::RestartBehind { .. }
            | Fault::FullPause(_)
            | Fault::IoBlock(_)
            | Fault::Suspend { .. }
    );
    stops && timed.until == u64::MAX
}

impl Fault {
    /// Whether calls may be held up, lost or misdirected because of it, by the network or because
    /// a node stands still.
    fn disturbs_calls(&self) -> bool {
        match self {
            Self::Link { .. } | Self::Cut { .. } | Self::Flap { .. } => true,
            Self::FullPause(_) | Self::IoBlock(_) | Self::SlowReader { .. } => true,
            Self::Crash { .. } | Self::RestartBehind { .. } | Self::Suspend { .. } => true,
            Self::Addresses { .. } | Self::TakeOver { .. } => true,
            Self::Clock { .. } | Self::Offset { .. } | Self::EarlyTimers(_) => false,
            Self::LookupFails(_) | Self::Names { .. } | Self::Ipv6(_) => false,
            Self::Leave(_) | Self::Metadata(_) | Self::Broadcast(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_undisturbed_once_all_faults_are_over_for_long_enough() {
        let recovers = nanos(RECOVERS_WITHIN);
        let of = |fault, until| Timed { at: 0, until, fault };
        let cut = of(Fault::Cut { from: vec![0], to: vec![1], one_way: false }, 10);
        let pause = of(Fault::FullPause(1), 20);
        let mut clear = Clear::default();
        assert_eq!(clear.since(), Some(0));
        clear.begin(5, &cut);
        clear.begin(6, &pause);
        clear.end(10, &cut);
        assert_eq!(clear.since(), None);
        clear.end(20, &pause);
        assert_eq!(clear.since(), Some(20 + recovers));
        clear.begin(30, &of(Fault::Leave(1), u64::MAX));
        clear.begin(40, &of(Fault::IoBlock(2), u64::MAX));
        assert_eq!(clear.since(), Some(40 + recovers));
        clear.begin(
            50,
            &of(
                Fault::Link { from: vec![], to: vec![], quality: crate::fault::Quality::default() },
                u64::MAX,
            ),
        );
        assert_eq!(clear.since(), None);
    }
}
