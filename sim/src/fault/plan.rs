//! What is true of a whole plan of faults.

use std::time::Duration;

use super::{Fault, MILD_PAUSE_MAX, Plan, Quality, Timed};
use crate::clock::nanos;

impl Timed {
    const fn is_endless(&self) -> bool {
        self.until == u64::MAX
    }

    const fn is_endless_between_nodes(&self) -> bool {
        self.is_endless() && self.fault.is_between_nodes()
    }
}

impl Plan {
    /// Adds a fault that lasts from `at` for `span`.
    #[must_use]
    pub fn with(mut self, at: Duration, span: Duration, fault: Fault) -> Self {
        let at = nanos(at);
        self.faults.push(Timed { at, until: at.saturating_add(nanos(span)), fault });
        self
    }

    /// Whether forged bytes may reach a machine that has no key: what identity then means is
    /// undefined (§4.9).
    #[doc(hidden)]
    pub fn forges(&self) -> bool {
        self.faults.iter().any(|timed| timed.fault.family() == "corrupt")
    }

    /// Whether nothing in it excuses a death of the living: loss of up to a twentieth, short
    /// delays, duplicates, reordering, clocks that step, and at most one pause of up to
    /// [`MILD_PAUSE_MAX`].
    #[doc(hidden)]
    pub fn is_mild(&self) -> bool {
        let mut pauses = 0;
        self.faults.iter().all(|timed| match &timed.fault {
            Fault::FullPause(_) => {
                pauses += 1;
                pauses == 1 && timed.until.saturating_sub(timed.at) <= nanos(MILD_PAUSE_MAX)
            }
            fault => !fault.excuses_deaths(),
        })
    }

    /// Whether a fault never ends for which nodes that are well may suspect each other at any time.
    #[doc(hidden)]
    pub fn disturbs_for_ever(&self) -> bool {
        self.parts_for_ever() || self.faults.iter().any(|timed| timed.is_endless_between_nodes())
    }

    /// Whether a fault never ends that may keep nodes apart which are well: no view need ever
    /// become the truth, and no call need ever end by itself.
    #[doc(hidden)]
    pub fn parts_for_ever(&self) -> bool {
        self.faults.iter().any(|timed| {
            let is_between = timed.fault.is_between_nodes() || timed.fault.strays();
            let slows = matches!(timed.fault, Fault::SlowReader { .. } | Fault::Clock { .. });
            let parts = timed.fault.excuses_deaths() || timed.fault.stops_streams();
            timed.is_endless() && (is_between || slows) && parts
        })
    }

    /// Whether a fault never ends that may keep calls from ending, or connections from being made.
    #[doc(hidden)]
    pub fn breaks_calls_for_ever(&self) -> bool {
        let breaks_streams = |fault: &Fault| match fault {
            Fault::Link { quality, .. } => {
                quality.half_open > 0 || quality.reset > 0 || quality.proxy
            }
            _ => false,
        };
        let mut faults = self.faults.iter();
        self.parts_for_ever()
            || faults.any(|timed| timed.is_endless() && breaks_streams(&timed.fault))
    }

    /// A plan written as JSON, for a cluster of `nodes`.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(json: &str, nodes: usize) -> Result<Self, String> {
        let mut plan: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        plan.settle(nodes)?;
        Ok(plan)
    }

    /// Sorts the lists of nodes, as the rest of the crate expects them.
    ///
    /// # Errors
    /// A node that is not there, a cut without sides, a period of nothing.
    #[doc(hidden)]
    pub fn settle(&mut self, nodes: usize) -> Result<(), String> {
        for (number, timed) in self.faults.iter_mut().enumerate() {
            let family = timed.fault.family();
            let wrong = |what: &str| format!("fault {number}, {family}: {what}");
            let (from, to) = timed.fault.sides();
            if let Some(node) = from.iter().chain(&to).find(|&&node| node as usize >= nodes) {
                return Err(wrong(&format!(
                    "there is no node {node} among {nodes}, counted from 0"
                )));
            }
            if let Some(what) = timed.fault.wrong() {
                return Err(wrong(what));
            }
            let is_cut = matches!(timed.fault, Fault::Cut { .. } | Fault::Flap { .. });
            if is_cut && (from.is_empty() || to.is_empty()) {
                return Err(wrong("a cut needs nodes on both sides"));
            }
            let least = Duration::from_millis(1);
            match timed.fault {
                Fault::Flap { every, .. } if every < least => {
                    return Err(wrong("`every` is less than 1ms"));
                }
                Fault::Link { quality: Quality { bandwidth: Some(0), .. }, .. } => {
                    return Err(wrong("a bandwidth of 0 is a cut"));
                }
                _ => {}
            }
            if let Fault::Link { from, to, .. }
            | Fault::Cut { from, to, .. }
            | Fault::Flap { from, to, .. } = &mut timed.fault
            {
                for side in [from, to] {
                    side.sort_unstable();
                    side.dedup();
                }
            }
        }
        Ok(())
    }
}
