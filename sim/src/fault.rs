//! Faults as data: a plan is a list of them, and what a run is made small by. Plans are written and
//! read as JSON (`docs/simulation.md`).

mod odd;
mod plan;
mod quality;
pub(crate) mod text;
mod watched;
mod words;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use odd::Return;
pub use odd::{Addresses, Answers, ODD_FAMILIES};
pub use quality::{HALF_OPEN_FOR, QUEUE_MAX, Quality};
pub use watched::watched_by;

/// The longest pause of one process that every preset forgives, whatever mild faults are beside it.
#[doc(hidden)]
pub const MILD_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Nodes by their index, rising.
pub type Nodes = Vec<u32>;

/// One thing that goes wrong, or that a user does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// What goes from one of `from` to one of `to` fares badly. Empty means all.
    Link {
        /// Senders.
        #[serde(default)]
        from: Nodes,
        /// Receivers.
        #[serde(default)]
        to: Nodes,
        /// How badly.
        quality: Quality,
    },
    /// Nothing crosses from `from` to `to`, nor back unless one-way.
    Cut {
        /// One side.
        from: Nodes,
        /// The other.
        to: Nodes,
        /// Only from the first to the second.
        #[serde(default)]
        one_way: bool,
    },
    /// A cut that comes and goes: on for `every`, off for `every`, by turns.
    Flap {
        /// One side.
        from: Nodes,
        /// The other.
        to: Nodes,
        /// Only from the first to the second.
        #[serde(default)]
        one_way: bool,
        /// Half of its period; at least 1 ms.
        #[serde(with = "text::span")]
        every: Duration,
    },
    /// The process stands still: no timer, no I/O (SIGSTOP, a long collection, a suspended
    /// machine).
    FullPause(u32),
    /// Timers run; what the node sends and receives waits until the end (`IoBlock` of the Lifeguard
    /// experiment).
    IoBlock(u32),
    /// The node takes in one payload in `every` at most; others wait in its sockets, whose buffers
    /// overflow.
    SlowReader {
        /// Which.
        node: u32,
        /// Between two payloads.
        #[serde(with = "text::span")]
        every: Duration,
    },
    /// The process dies at the begin and starts again at the end, under its id.
    Crash {
        /// Which.
        node: u32,
        /// It comes back on another port.
        #[serde(default)]
        moves: bool,
        /// It wrote down its clock's bounds (`docs/protocol.md` §3.9).
        #[serde(default)]
        keeps_clock: bool,
    },
    /// The process dies at the begin. At the end a process of its id starts on another port, on a
    /// wall clock that is set back, and nothing of the run before was written down.
    RestartBehind {
        /// Which.
        node: u32,
        /// By how much the clock is set back.
        #[serde(with = "text::span")]
        behind: Duration,
    },
    /// The wall clock is stepped, and the clock drifts until the end.
    Clock {
        /// Whose.
        node: u32,
        /// Milliseconds forward, or back.
        #[serde(default)]
        step_ms: i64,
        /// Parts per million fast.
        #[serde(default)]
        drift_ppm: i64,
    },
    /// The wall clock is wrong from before the start of the run on, for ever; its time span counts
    /// for nothing.
    Offset {
        /// Whose.
        node: u32,
        /// Milliseconds ahead, or behind.
        ms: i64,
    },
    /// The names of the seeds cannot be looked up.
    LookupFails(u32),
    /// The names of the seeds are answered oddly.
    Names {
        /// For whom.
        node: u32,
        /// How.
        answers: Answers,
    },
    /// The address of a node is odd.
    Addresses {
        /// Whose.
        node: u32,
        /// How.
        odd: Addresses,
    },
    /// What is sent to the address of one node reaches another one.
    TakeOver {
        /// Whose address it is.
        node: u32,
        /// The node that it reaches.
        by: u32,
    },
    /// The node has an IPv6 address from before the start of the run on, for ever; its time span
    /// counts for nothing.
    Ipv6(u32),
    /// The host is suspended: nothing runs, and its monotonic clock stands still.
    Suspend {
        /// Which.
        node: u32,
        /// Its wall clock stands still, too.
        #[serde(default)]
        wall_stops: bool,
    },
    /// The node says goodbye, and its process ends.
    Leave(u32),
    /// The node replaces its metadata.
    Metadata(u32),
    /// The node broadcasts a payload.
    Broadcast(u32),
    /// The node's timer fires too early about once in 16 times.
    EarlyTimers(u32),
}

/// The families that the swarm draws, as reports name them; [`ODD_FAMILIES`] are the others.
pub const FAMILIES: [&str; 25] = [
    "loss",
    "burst",
    "delay",
    "duplicate",
    "reorder",
    "corrupt",
    "truncate",
    "mtu",
    "no_datagrams",
    "partition",
    "one_way",
    "full_pause",
    "io_block",
    "crash",
    "clock",
    "leave",
    "user",
    "early_timers",
    "bandwidth",
    "half_open",
    "stream_reset",
    "flapping",
    "slow_reader",
    "offset",
    "lookup",
];

impl Fault {
    /// The name of its family in [`FAMILIES`] or [`ODD_FAMILIES`]; a link with several ills goes by
    /// the first.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Link { quality, .. } => match quality {
                Quality { corrupt: 1.., .. } => "corrupt",
                Quality { truncate: 1.., .. } => "truncate",
                Quality { mtu: Some(_), .. } => "mtu",
                Quality { no_datagrams: true, .. } => "no_datagrams",
                Quality { bandwidth: Some(_), .. } => "bandwidth",
                Quality { no_streams: true, .. } => "no_streams",
                Quality { opens_lost: true, .. } => "opens_lost",
                Quality { opens_refused: true, .. } => "opens_refused",
                Quality { proxy: true, .. } => "proxy",
                Quality { half_open: 1.., .. } => "half_open",
                Quality { reset: 1.., .. } => "stream_reset",
                Quality { burst: Some(_), .. } => "burst",
                Quality { loss: 1.., .. } => "loss",
                Quality { duplicate: 1.., .. } => "duplicate",
                Quality { reorder: 1.., .. } => "reorder",
                _ => "delay",
            },
            Self::Cut { one_way: true, .. } => "one_way",
            Self::Cut { .. } => "partition",
            Self::Flap { .. } => "flapping",
            Self::FullPause(_) => "full_pause",
            Self::IoBlock(_) => "io_block",
            Self::SlowReader { .. } => "slow_reader",
            Self::Crash { .. } => "crash",
            Self::RestartBehind { .. } => "restart_behind",
            Self::Clock { .. } => "clock",
            Self::Offset { .. } => "offset",
            Self::LookupFails(_) => "lookup",
            Self::Names { answers, .. } => answers.family(),
            Self::Addresses { odd, .. } => odd.family(),
            Self::TakeOver { .. } => "take_over",
            Self::Ipv6(_) => "ipv6",
            Self::Suspend { wall_stops: false, .. } => "suspend",
            Self::Suspend { wall_stops: true, .. } => "suspend_wall",
            Self::Leave(_) => "leave",
            Self::Metadata(_) | Self::Broadcast(_) => "user",
            Self::EarlyTimers(_) => "early_timers",
        }
    }

    /// Whether two live members may come to think ill of each other because of it: what excuses a
    /// death of the living. Up to a twentieth of loss, jitter, duplicates and clocks that step
    /// excuse none (C8 of the invariants).
    #[doc(hidden)]
    pub fn excuses_deaths(&self) -> bool {
        match self {
            Self::Link { quality, .. } => {
                let Quality {
                    loss,
                    burst,
                    delay,
                    jitter,
                    corrupt,
                    mtu,
                    no_datagrams,
                    bandwidth,
                    ..
                } = *quality;
                let is_slow = delay + jitter > Duration::from_millis(50) || bandwidth.is_some();
                loss > 50_000
                    || burst.is_some()
                    || is_slow
                    || corrupt > 0
                    || mtu.is_some()
                    || no_datagrams
            }
            Self::Cut { .. } | Self::Flap { .. } => true,
            Self::Crash { .. } | Self::RestartBehind { .. } => true,
            Self::FullPause(_) | Self::IoBlock(_) | Self::SlowReader { .. } => true,
            Self::Clock { drift_ppm, .. } => drift_ppm.abs() > 1_000,
            Self::Leave(_) | Self::Metadata(_) | Self::Broadcast(_) | Self::EarlyTimers(_) => false,
            Self::Offset { .. } | Self::LookupFails(_) | Self::Names { .. } => false,
            Self::TakeOver { .. } | Self::Suspend { .. } => true,
            // Whoever is heard from elsewhere than where it says it is can be reached all the same.
            Self::Addresses { odd, .. } => matches!(odd, Addresses::Moves),
            Self::Ipv6(_) => false,
        }
    }

    /// Whether it is a fault of the network between nodes, and not of one host.
    #[doc(hidden)]
    pub const fn is_between_nodes(&self) -> bool {
        matches!(self, Self::Link { .. } | Self::Cut { .. } | Self::Flap { .. })
    }

    /// The one node that it is about, if it is about one.
    #[doc(hidden)]
    pub fn node(&self) -> Option<u32> {
        match self {
            &Self::FullPause(node)
            | &Self::IoBlock(node)
            | &Self::Crash { node, .. }
            | &Self::RestartBehind { node, .. }
            | &Self::Clock { node, .. }
            | &Self::Leave(node)
            | &Self::Metadata(node)
            | &Self::Broadcast(node)
            | &Self::EarlyTimers(node)
            | &Self::SlowReader { node, .. }
            | &Self::Offset { node, .. }
            | &Self::LookupFails(node)
            | &Self::Names { node, .. }
            | &Self::Addresses { node, .. }
            | &Self::TakeOver { node, .. }
            | &Self::Ipv6(node)
            | &Self::Suspend { node, .. } => Some(node),
            Self::Link { .. } | Self::Cut { .. } | Self::Flap { .. } => None,
        }
    }

    /// What users do, as against what befalls them.
    #[doc(hidden)]
    pub const fn is_operation(&self) -> bool {
        matches!(self, Self::Leave(_) | Self::Metadata(_) | Self::Broadcast(_))
    }

    /// Whom it is about, as two sides: senders and receivers, the halves of a cut, or the one node.
    /// Empty means all, or nobody.
    #[doc(hidden)]
    pub fn sides(&self) -> (Nodes, Nodes) {
        match self {
            Self::Link { from, to, .. }
            | Self::Cut { from, to, .. }
            | Self::Flap { from, to, .. } => (from.clone(), to.clone()),
            Self::TakeOver { node, by } => (vec![*node], vec![*by]),
            other => (other.node().into_iter().collect(), Nodes::new()),
        }
    }

    /// The same fault as far as it is about nodes for which `stays`; none if nothing is left of it.
    #[must_use]
    #[doc(hidden)]
    pub fn among(&self, stays: impl Fn(u32) -> bool) -> Option<Self> {
        if self.node().is_some_and(|node| !stays(node)) {
            return None;
        }
        if let Self::TakeOver { by, .. } = self
            && !stays(*by)
        {
            return None;
        }
        let mut fault = self.clone();
        match &mut fault {
            Self::Link { from, to, .. } => {
                for side in [from, to].into_iter().filter(|side| !side.is_empty()) {
                    side.retain(|&node| stays(node));
                    if side.is_empty() {
                        return None;
                    }
                }
            }
            Self::Cut { from, to, .. } | Self::Flap { from, to, .. } => {
                from.retain(|&node| stays(node));
                to.retain(|&node| stays(node));
                if from.is_empty() || to.is_empty() {
                    return None;
                }
            }
            _ => {}
        }
        Some(fault)
    }
}

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

#[cfg(test)]
mod tests;
