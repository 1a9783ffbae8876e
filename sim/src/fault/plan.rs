//! [`Plan`]: the faults of a run, each with its span.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fault, Quality, text};
use crate::clock::nanos;

/// A fault and its span, in nanoseconds of true time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "text::TimedText", into = "text::TimedText")]
pub struct Timed {
    /// When it begins.
    pub at: u64,
    /// When it ends; `u64::MAX` for never: such nodes stay outside the healthy core.
    pub until: u64,
    /// What.
    pub fault: Fault,
}

/// What goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The faults, in no order.
    pub faults: Vec<Timed>,
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
    pub fn forges(&self) -> bool {
        self.faults.iter().any(|timed| timed.fault.family() == "corrupt")
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
