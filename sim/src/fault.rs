//! Faults as data: a plan is a list of them, and what a run is made small by. Plans are written and
//! read as JSON (`docs/simulation.md`).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest pause of one process that every preset forgives, whatever mild faults are beside it.
pub const MILD_PAUSE_MAX: Duration = Duration::from_secs(2);

mod plan;
pub(crate) mod text;

/// What a link does to what crosses it. Chances are in millionths a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quality {
    /// Lost, each by itself.
    #[serde(with = "text::share", skip_serializing_if = "text::is_default")]
    pub loss: u32,
    /// Chance to enter a burst, chance to leave it, chance of loss within it (Gilbert and
    /// Elliott).
    #[serde(with = "text::shares", skip_serializing_if = "text::is_default")]
    pub burst: Option<[u32; 3]>,
    /// Added to the time that a payload takes.
    #[serde(with = "text::span", skip_serializing_if = "text::is_default")]
    pub delay: Duration,
    /// At most this much is added, by chance.
    #[serde(with = "text::span", skip_serializing_if = "text::is_default")]
    pub jitter: Duration,
    /// Datagrams that come twice.
    #[serde(with = "text::share", skip_serializing_if = "text::is_default")]
    pub duplicate: u32,
    /// Datagrams that come up to 200 ms late, after later ones.
    #[serde(with = "text::share", skip_serializing_if = "text::is_default")]
    pub reorder: u32,
    /// Datagrams with one bit flipped, past UDP's checksum. Only a key (`docs/protocol.md` §6)
    /// tells them from true ones.
    #[serde(with = "text::share", skip_serializing_if = "text::is_default")]
    pub corrupt: u32,
    /// Datagrams that lose their end.
    #[serde(with = "text::share", skip_serializing_if = "text::is_default")]
    pub truncate: u32,
    /// Datagrams longer than this vanish.
    #[serde(skip_serializing_if = "text::is_default")]
    pub mtu: Option<usize>,
    /// No datagram crosses; streams do.
    #[serde(skip_serializing_if = "text::is_default")]
    pub no_datagrams: bool,
    /// Bytes a second that it carries; what waits longer than [`QUEUE_MAX`] to enter is dropped,
    /// on streams late.
    #[serde(skip_serializing_if = "text::is_default")]
    pub bandwidth: Option<u32>,
    /// Chance that a stream falls silent: what is sent on it vanishes, and its sender learns of it
    /// [`HALF_OPEN_FOR`] later.
    #[serde(with = "text::share", skip_serializing_if = "text::is_default")]
    pub half_open: u32,
    /// Chance that a stream is reset: what is under way on it, either way, is lost, and its
    /// senders are told.
    #[serde(with = "text::share", skip_serializing_if = "text::is_default")]
    pub reset: u32,
}

/// The longest wait before a link of limited bandwidth: a home router's buffer, much of which is
/// too much.
pub const QUEUE_MAX: Duration = Duration::from_millis(500);
/// A half-open stream is noticed after this time, as by keepalives or an unanswered retransmission.
pub const HALF_OPEN_FOR: Duration = Duration::from_secs(8);

impl Quality {
    /// Both at once: the worse of each.
    #[must_use]
    pub fn worse(self, other: &Self) -> Self {
        Self {
            loss: self.loss.max(other.loss),
            burst: self.burst.max(other.burst),
            delay: self.delay + other.delay,
            jitter: self.jitter.max(other.jitter),
            duplicate: self.duplicate.max(other.duplicate),
            reorder: self.reorder.max(other.reorder),
            corrupt: self.corrupt.max(other.corrupt),
            truncate: self.truncate.max(other.truncate),
            mtu: self.mtu.into_iter().chain(other.mtu).min(),
            no_datagrams: self.no_datagrams || other.no_datagrams,
            bandwidth: self.bandwidth.into_iter().chain(other.bandwidth).min(),
            half_open: self.half_open.max(other.half_open),
            reset: self.reset.max(other.reset),
        }
    }
}

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
    /// The node says goodbye, and its process ends.
    Leave(u32),
    /// The node replaces its metadata.
    Metadata(u32),
    /// The node broadcasts a payload.
    Broadcast(u32),
    /// The node's timer fires too early about once in 16 times.
    EarlyTimers(u32),
}

/// Every family of faults, as reports name them.
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
    /// The name of its family in [`FAMILIES`]; a link with several ills goes by the first.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Link { quality, .. } => match quality {
                Quality { corrupt: 1.., .. } => "corrupt",
                Quality { truncate: 1.., .. } => "truncate",
                Quality { mtu: Some(_), .. } => "mtu",
                Quality { no_datagrams: true, .. } => "no_datagrams",
                Quality { bandwidth: Some(_), .. } => "bandwidth",
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
            Self::Clock { .. } => "clock",
            Self::Offset { .. } => "offset",
            Self::LookupFails(_) => "lookup",
            Self::Leave(_) => "leave",
            Self::Metadata(_) | Self::Broadcast(_) => "user",
            Self::EarlyTimers(_) => "early_timers",
        }
    }

    /// Whether two live members may come to think ill of each other because of it: what excuses a
    /// death of the living. Up to a twentieth of loss, jitter, duplicates and clocks that step
    /// excuse none (C8 of the invariants).
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
            Self::Cut { .. } | Self::Flap { .. } | Self::Crash { .. } => true,
            Self::FullPause(_) | Self::IoBlock(_) | Self::SlowReader { .. } => true,
            Self::Clock { drift_ppm, .. } => drift_ppm.abs() > 1_000,
            Self::Leave(_) | Self::Metadata(_) | Self::Broadcast(_) | Self::EarlyTimers(_) => false,
            Self::Offset { .. } | Self::LookupFails(_) => false,
        }
    }

    /// Whether it is a fault of the network between nodes, and not of one host.
    pub const fn is_between_nodes(&self) -> bool {
        matches!(self, Self::Link { .. } | Self::Cut { .. } | Self::Flap { .. })
    }

    /// The one node that it is about, if it is about one.
    pub fn node(&self) -> Option<u32> {
        match self {
            &Self::FullPause(node)
            | &Self::IoBlock(node)
            | &Self::Crash { node, .. }
            | &Self::Clock { node, .. }
            | &Self::Leave(node)
            | &Self::Metadata(node)
            | &Self::Broadcast(node)
            | &Self::EarlyTimers(node)
            | &Self::SlowReader { node, .. }
            | &Self::Offset { node, .. }
            | &Self::LookupFails(node) => Some(node),
            Self::Link { .. } | Self::Cut { .. } | Self::Flap { .. } => None,
        }
    }

    /// What users do, as against what befalls them.
    pub const fn is_operation(&self) -> bool {
        matches!(self, Self::Leave(_) | Self::Metadata(_) | Self::Broadcast(_))
    }

    /// Whom it is about, as two sides: senders and receivers, the halves of a cut, or the one node.
    /// Empty means all, or nobody.
    pub fn sides(&self) -> (Nodes, Nodes) {
        match self {
            Self::Link { from, to, .. }
            | Self::Cut { from, to, .. }
            | Self::Flap { from, to, .. } => (from.clone(), to.clone()),
            other => (other.node().into_iter().collect(), Nodes::new()),
        }
    }

    /// The same fault as far as it is about nodes for which `stays`; none if nothing is left of it.
    #[must_use]
    pub fn among(&self, stays: impl Fn(u32) -> bool) -> Option<Self> {
        if self.node().is_some_and(|node| !stays(node)) {
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

/// Nodes as people write them: 0-3,7; all if there are none.
fn side(nodes: &Nodes) -> String {
    let mut text = String::new();
    for stretch in nodes.chunk_by(|a, b| a + 1 == *b) {
        let comma = if text.is_empty() { "" } else { "," };
        text += &match stretch {
            [one] => format!("{comma}{one}"),
            [first, .., last] => format!("{comma}{first}-{last}"),
            [] => String::new(),
        };
    }
    if text.is_empty() { "all".into() } else { text }
}

/// In few words, for a person.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = |one_way: &bool| if *one_way { "→" } else { "|" };
        match self {
            Self::Link { from, to, quality } => {
                let ills = serde_json::to_string(quality)
                    .map_err(|_| fmt::Error)?
                    .replace(['{', '}', '"'], "");
                write!(
                    f,
                    "{} → {}: {}",
                    side(from),
                    side(to),
                    ills.replace(',', ", ").replace(':', " ")
                )
            }
            Self::Cut { from, to, one_way } => {
                write!(f, "{} {} {}", side(from), arrow(one_way), side(to))
            }
            Self::Flap { from, to, one_way, every } => {
                let every = text::span_text(*every);
                write!(f, "{} {} {} on and off every {every}", side(from), arrow(one_way), side(to))
            }
            Self::FullPause(node) => write!(f, "node {node} paused"),
            Self::IoBlock(node) => write!(f, "node {node} I/O blocked"),
            Self::SlowReader { node, every } => {
                write!(f, "node {node} reads once in {}", text::span_text(*every))
            }
            Self::Crash { node, moves, keeps_clock } => {
                let moves = if *moves { ", back elsewhere" } else { "" };
                write!(
                    f,
                    "node {node} crashed{moves}{}",
                    if *keeps_clock { ", clock kept" } else { "" }
                )
            }
            Self::Clock { node, step_ms, drift_ppm } => {
                write!(f, "clock of node {node} {step_ms:+} ms, {drift_ppm:+} ppm")
            }
            Self::Offset { node, ms } => write!(f, "clock of node {node} off by {ms:+} ms"),
            Self::LookupFails(node) => write!(f, "node {node} finds no names"),
            Self::Leave(node) => write!(f, "node {node} leaves"),
            Self::Metadata(node) => write!(f, "node {node} sets metadata"),
            Self::Broadcast(node) => write!(f, "node {node} broadcasts"),
            Self::EarlyTimers(node) => write!(f, "node {node} wakes early"),
        }
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
