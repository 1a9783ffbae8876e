//! Faults as data: a plan is a list of them, and what a run is made small by.

use std::time::Duration;

use crate::clock::nanos;

/// What a link does to what crosses it. Chances are in millionths a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Lost, each by itself.
    pub loss: u32,
    /// Chance to enter a burst, chance to leave it, chance of loss within it (Gilbert and Elliott).
    pub burst: Option<[u32; 3]>,
    /// Added to the time that a payload takes.
    pub delay: Duration,
    /// At most this much is added, by chance.
    pub jitter: Duration,
    /// Datagrams that come twice.
    pub duplicate: u32,
    /// Datagrams that come up to 200 ms late, after later ones.
    pub reorder: u32,
    /// Datagrams with one bit flipped, past UDP's checksum. Only a key (`docs/protocol.md` §6) tells them from true ones.
    pub corrupt: u32,
    /// Datagrams that lose their end.
    pub truncate: u32,
    /// Datagrams longer than this vanish.
    pub mtu: Option<usize>,
    /// No datagram crosses; streams do.
    pub no_datagrams: bool,
}

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
        }
    }
}

/// Nodes by their index, rising.
pub type Nodes = Vec<u32>;

/// One thing that goes wrong, or that a user does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What goes from one of `from` to one of `to` fares badly. Empty means all.
    Link {
        /// Senders.
        from: Nodes,
        /// Receivers.
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
        one_way: bool,
    },
    /// The process stands still: no timer, no I/O (SIGSTOP, a long collection, a suspended machine).
    FullPause(u32),
    /// Timers run; what the node sends and receives waits until the end (`IoBlock` of the Lifeguard experiment).
    IoBlock(u32),
    /// The process dies at the begin and starts again at the end, under its id.
    Crash {
        /// Which.
        node: u32,
        /// It comes back on another port.
        moves: bool,
        /// It wrote down its clock's bounds (`docs/protocol.md` §3.9).
        keeps_clock: bool,
    },
    /// The wall clock is stepped, and the clock drifts until the end.
    Clock {
        /// Whose.
        node: u32,
        /// Milliseconds forward, or back.
        step_ms: i64,
        /// Parts per million fast.
        drift_ppm: i64,
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

/// Every family of faults, as reports name them.
pub const FAMILIES: [&str; 18] = [
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
                Quality { burst: Some(_), .. } => "burst",
                Quality { loss: 1.., .. } => "loss",
                Quality { duplicate: 1.., .. } => "duplicate",
                Quality { reorder: 1.., .. } => "reorder",
                _ => "delay",
            },
            Self::Cut { one_way: true, .. } => "one_way",
            Self::Cut { .. } => "partition",
            Self::FullPause(_) => "full_pause",
            Self::IoBlock(_) => "io_block",
            Self::Crash { .. } => "crash",
            Self::Clock { .. } => "clock",
            Self::Leave(_) => "leave",
            Self::Metadata(_) | Self::Broadcast(_) => "user",
            Self::EarlyTimers(_) => "early_timers",
        }
    }

    /// Whether two live members may come to think ill of each other because of it: what excuses a death of the living.
    /// Up to a twentieth of loss, jitter, duplicates and clocks that step excuse none (C8 of the invariants).
    pub fn excuses_deaths(&self) -> bool {
        match self {
            Self::Link { quality, .. } => {
                let Quality { loss, burst, delay, jitter, corrupt, mtu, no_datagrams, .. } = *quality;
                let is_slow = delay + jitter > Duration::from_millis(50);
                loss > 50_000 || burst.is_some() || is_slow || corrupt > 0 || mtu.is_some() || no_datagrams
            }
            Self::Cut { .. } | Self::FullPause(_) | Self::IoBlock(_) | Self::Crash { .. } => true,
            Self::Clock { drift_ppm, .. } => drift_ppm.abs() > 1_000,
            Self::Leave(_) | Self::Metadata(_) | Self::Broadcast(_) | Self::EarlyTimers(_) => false,
        }
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
            | &Self::EarlyTimers(node) => Some(node),
            Self::Link { .. } | Self::Cut { .. } => None,
        }
    }
}

/// A fault and its span, in nanoseconds of true time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// When it begins.
    pub at: u64,
    /// When it ends; `u64::MAX` for never: such nodes stay outside the healthy core.
    pub until: u64,
    /// What.
    pub fault: Fault,
}

/// What goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

    /// Whether forged bytes may reach a machine that has no key: what identity then means is undefined (§4.9).
    pub fn forges(&self) -> bool {
        self.faults.iter().any(|timed| timed.fault.family() == "corrupt")
    }
}
