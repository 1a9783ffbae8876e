//! Every knob and every limit of [`Membership`](crate::membership::Membership), in one place, each
//! with the reason for its number.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::wire::datagram::HEADER_LEN;
use crate::wire::update::ACCUSERS_MAX;

/// Members, tombstones included, that a node remembers at most: the largest clusters known of this
/// kind hold some tens of thousands, and a forger must not be able to fill the memory.
pub const MEMBERS_MAX: usize = 65_536;
/// Dead and left members remembered at most: a rolling restart of the largest cluster under new
/// ids.
pub const TOMBSTONES_MAX: usize = 16_384;
/// Events waiting to be taken at most. A driver takes them after every input; one input makes at
/// most a few thousand (a whole table in one chunk).
pub const EVENTS_MAX: usize = 16_384;
/// Messages waiting to be polled at most; a driver polls after every input, which makes a few.
pub const OUTBOX_MAX: usize = 4_096;
/// Probes relayed for others at one time: k per member of a large cluster that all lose one link at
/// once is rare, and a relay that refuses only costs a nack.
pub const RELAYS_MAX: usize = 256;
/// Claims that are kept aside at one time, until addresses have answered (§4.9.1).
pub const CHECKS_MAX: usize = 128;
/// Datagrams that ask one address before it is silent (§4.9.1): at a loss of 30 %, one silence in
/// 123 is of a node that answers, and the connection asks it, too.
pub const CHECK_TRIES: u32 = 4;
/// The shortest wait for an answer of an address that refuses connections (§4.9.1): an ack that was
/// under way when the refusal came is in by then.
pub const REFUSAL_WAIT_MIN: Duration = Duration::from_millis(20);
/// How long a conflict that was reported is not reported again (§4.9.2).
pub const CONFLICT_QUIET: Duration = Duration::from_secs(600);
/// User broadcasts in the queue at one time, own and relayed: 256 KiB at the longest payload.
pub const BROADCASTS_MAX: usize = 256;
/// Numbers of one origin that a receiver tells apart: four times what an origin may have on the way
/// at once, because an early broadcast may arrive after many later ones.
pub const BROADCAST_WINDOW: u32 = 1_024;
/// Bytes of one broadcast payload at most: it must fit one datagram of the smallest MTU allowed.
pub const BROADCAST_LEN_MAX: usize = 1_024;
/// Bytes of one directed payload at most; those over a datagram go by the stream plane.
pub const MESSAGE_LEN_MAX: usize = 16_384;
/// Table transfers in progress at one time, per node: the rest are told to ask somebody else.
pub const TRANSFERS_MAX: usize = 128;
/// Own exchanges outstanding at one time: one to each of [`SEED_TRIES_MAX`] seeds, and room for
/// those with members beside them.
pub const EXCHANGES_MAX: usize = 12;
/// Seeds that are tried at one time (§4.8.4): enough that some that are silent hold up nobody, and
/// few enough that a joiner does not get the table many times.
pub const SEED_TRIES_MAX: usize = 8;
/// Time from one try of a seed to the next, if the one before has not failed by then (§4.8.4): as
/// RFC 8305 has it for connection attempts.
pub const SEED_TRY_INTERVAL: Duration = Duration::from_millis(250);
/// Bytes of one stream-plane payload at most: one gossip frame.
pub const STREAM_LEN_MAX: usize = 32_768;
/// The smallest and largest datagram length that may be configured: IPv6's minimum MTU less
/// headers, and less what sealing adds (`docs/protocol.md` §2.6); UDP's maximum.
pub const DATAGRAM_LEN_RANGE: (usize, usize) = (1_202, 65_507);
/// Addresses of seeds that are tried in one round; further ones are tried once these were.
pub const SEEDS_MAX: usize = 256;
/// Addresses of foreign clusters that are reported; later ones are only counted.
pub const FOREIGN_MAX: usize = 64;
/// Changes learnt from a table transfer are gossiped on only while fewer than this many rumours
/// wait: a few repair quickly by gossip, many are cheaper by further transfers (§4.7).
pub const RELAYED_RUMORS_MAX: usize = 64;

/// Which planes carry membership messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planes {
    /// Datagrams, with streams for table transfers, long messages, and pings whose datagrams go
    /// unanswered.
    Both,
    /// Streams alone, for networks without UDP.
    StreamOnly,
}

/// The configuration of one node's membership. Start from a preset.
///
/// Durations are on the node's monotonic clock. Defaults are those of [`Config::lan`]; figures of
/// the other presets are in `docs/protocol.md` §4.12, which a test compares with the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cluster's name: nodes with another name are not heard. At most 255 bytes. Default
    /// `"chinwag"`.
    pub cluster: String,
    /// Which planes are used. Default [`Planes::Both`].
    pub planes: Planes,
    /// Bytes of one datagram at most, 1,202 to 65,507. Default 1,400. A driver that seals datagrams
    /// gives the machine 30 fewer.
    pub datagram_len_max: usize,

    /// Time from one probe to the next at awareness 0. Default 1 s.
    pub probe_interval: Duration,
    /// A direct ping waits this long at most before helpers are asked. Default 500 ms.
    pub probe_timeout_max: Duration,
    /// A direct ping waits this long at least, however fast the network has been. Default 100 ms.
    pub probe_timeout_min: Duration,
    /// Members asked to ping indirectly (k of SWIM). Default 3.
    pub indirect_probes: usize,
    /// Whether a ping that goes unanswered is repeated on the stream plane beside the indirect
    /// ones. Default true.
    pub stream_pings: bool,
    /// Whether relays are asked to say when they got no answer either (Lifeguard). Default true.
    pub nacks: bool,
    /// The highest awareness score (Lifeguard's S); 0 switches the scaling off. Default 8.
    pub awareness_max: u8,
    /// Suspicion lasts at least this many probe intervals times max(1, log10 n) (Lifeguard's
    /// alpha). Default 4.
    pub suspicion_mult: u32,
    /// And at most this many times that (Lifeguard's beta); 1 switches the shrinking off. Default
    /// 6.
    pub suspicion_max_mult: u32,
    /// Independent confirmations that bring a suspicion to its minimum (Lifeguard's K), at most 7.
    /// Default 3.
    pub confirmations: usize,
    /// Whether a message to a suspect carries the suspicion (Lifeguard's Buddy). Default true.
    pub buddy: bool,
    /// Whether a death that others tell of is doubted until the minimum suspicion is over
    /// (§4.5.1). Without it a member that is told dead is dead at once, as in SWIM. Deaths in
    /// table transfers are always doubted. Default true.
    pub told_deaths_doubted: bool,
    /// Whether a node that finds its own timers late by more than `probe_timeout_max` passes no
    /// verdicts for the time it slept. Default true.
    pub pause_guard: bool,

    /// Time between gossip ticks while rumours wait. Default 200 ms.
    pub gossip_interval: Duration,
    /// Members that a tick sends to. Default 3.
    pub gossip_fanout: usize,
    /// A rumour is sent at most this many times the decimal digits of n. Default 6.
    pub retransmit_mult: u32,

    /// Time between table exchanges up to 32 members; grows with log2 of n beyond (§4.7). Default
    /// 30 s.
    pub sync_interval: Duration,
    /// Time to the next exchange after one that found differences, at least. Default 500 ms.
    pub sync_interval_min: Duration,
    /// An exchange that has not been answered by then has failed. Default 5 s.
    pub sync_timeout: Duration,
    /// Bytes of table sent per second at most, with a burst of twice that; beyond it, askers are
    /// sent on to other members. Default 192 KiB.
    pub sync_rate_max: u32,

    /// First wait before the seeds are looked up again by a node that is alone; doubles up to
    /// `join_retry_max`. Default 250 ms.
    pub join_retry_min: Duration,
    /// Longest wait before a node that is alone looks the seeds up again. Default 10 s.
    pub join_retry_max: Duration,
    /// Seeds that a round begins to try at once, 1 to [`SEED_TRIES_MAX`]. Default 3.
    pub join_fanout: usize,
    /// Time between pings of one remembered dead member, drawn at random. Default 2 s.
    pub reconnect_interval: Duration,
    /// Time between look-ups of the seeds by a node that has found others, up to 8 members; grows
    /// with the number of members beyond (§4.8.1). Default 15 s.
    pub seed_interval: Duration,
    /// How long a dead or left member is remembered, at most. Default 24 h.
    pub tombstone_lifetime: Duration,
    /// Dead and left members remembered, 16 to [`TOMBSTONES_MAX`]: a death is remembered at least
    /// until it is told on. Default 4,096.
    pub tombstones_max: usize,

    /// Members that must acknowledge a leave, if there are as many, 1 to 16: a leave that nobody
    /// acknowledges may be one that nobody has heard, and ends as a death. Default 3.
    pub leave_acks: usize,
    /// A leave completes after this time in any case. Default 5 s.
    pub leave_timeout: Duration,
}

/// The cluster name of the presets: a stand-in, for nodes on loopback. A cluster that others can
/// reach chooses a name of its own.
pub const CLUSTER_DEFAULT: &str = "chinwag";

impl Default for Config {
    fn default() -> Self {
        Self::lan()
    }
}

impl Config {
    /// For nodes on one local network, or in one data centre.
    pub fn lan() -> Self {
        Self {
            cluster: CLUSTER_DEFAULT.into(),
            planes: Planes::Both,
            datagram_len_max: 1_400,
            probe_interval: Duration::from_secs(1),
            probe_timeout_max: Duration::from_millis(500),
            probe_timeout_min: Duration::from_millis(100),
            indirect_probes: 3,
            stream_pings: true,
            nacks: true,
            awareness_max: 8,
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            confirmations: 3,
            buddy: true,
            told_deaths_doubted: true,
            pause_guard: true,
            gossip_interval: Duration::from_millis(200),
            gossip_fanout: 3,
            retransmit_mult: 6,
            sync_interval: Duration::from_secs(30),
            sync_interval_min: Duration::from_millis(500),
            sync_timeout: Duration::from_secs(5),
            sync_rate_max: 192 * 1024,
            join_retry_min: Duration::from_millis(250),
            join_retry_max: Duration::from_secs(10),
            join_fanout: 3,
            reconnect_interval: Duration::from_secs(2),
            seed_interval: Duration::from_secs(15),
            tombstone_lifetime: Duration::from_secs(24 * 3600),
            tombstones_max: 4_096,
            leave_acks: 3,
            leave_timeout: Duration::from_secs(5),
        }
    }

    /// For nodes on one machine: tests, examples, development.
    pub fn local() -> Self {
        Self {
            probe_interval: Duration::from_millis(500),
            probe_timeout_max: Duration::from_millis(200),
            probe_timeout_min: Duration::from_millis(50),
            suspicion_mult: 6,
            suspicion_max_mult: 3,
            gossip_interval: Duration::from_millis(100),
            sync_interval: Duration::from_secs(10),
            sync_interval_min: Duration::from_millis(500),
            sync_timeout: Duration::from_secs(2),
            join_retry_min: Duration::from_millis(100),
            join_retry_max: Duration::from_secs(2),
            reconnect_interval: Duration::from_secs(1),
            seed_interval: Duration::from_secs(3),
            leave_timeout: Duration::from_secs(3),
            ..Self::lan()
        }
    }

    /// For nodes in several data centres.
    pub fn wan() -> Self {
        Self {
            probe_interval: Duration::from_secs(5),
            probe_timeout_max: Duration::from_secs(2),
            probe_timeout_min: Duration::from_millis(500),
            suspicion_mult: 6,
            gossip_interval: Duration::from_millis(500),
            gossip_fanout: 4,
            sync_interval: Duration::from_secs(60),
            sync_interval_min: Duration::from_secs(2),
            sync_timeout: Duration::from_secs(15),
            join_retry_min: Duration::from_secs(1),
            join_retry_max: Duration::from_secs(30),
            reconnect_interval: Duration::from_secs(5),
            seed_interval: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(15),
            ..Self::lan()
        }
    }

    /// Plain SWIM of the 2002 paper with a suspicion of fixed length: every extension of Lifeguard
    /// off, and what goes past Lifeguard.
    #[must_use]
    pub fn without_lifeguard(self) -> Self {
        Self {
            awareness_max: 0,
            suspicion_max_mult: 1,
            buddy: false,
            nacks: false,
            told_deaths_doubted: false,
            pause_guard: false,
            ..self
        }
    }

    /// Checks what the machine relies on.
    ///
    /// # Errors
    /// The first [`ConfigError`] found, which names the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_durations()?;
        let mut rules = self.sizes_rules().into_iter().chain(self.timing_rules());
        match rules.find(|(holds, ..)| !holds) {
            Some((_, field, rule)) => Err(ConfigError { field, rule }),
            None => Ok(()),
        }
    }

    /// Durations that a timer could not keep if they were shorter.
    fn validate_durations(&self) -> Result<(), ConfigError> {
        let nonzero = [
            ("probe_interval", self.probe_interval),
            ("probe_timeout_min", self.probe_timeout_min),
            ("gossip_interval", self.gossip_interval),
            ("sync_interval_min", self.sync_interval_min),
            ("sync_timeout", self.sync_timeout),
            ("join_retry_min", self.join_retry_min),
            ("reconnect_interval", self.reconnect_interval),
            ("seed_interval", self.seed_interval),
            ("tombstone_lifetime", self.tombstone_lifetime),
            ("leave_timeout", self.leave_timeout),
        ];
        if let Some(&(field, _)) =
            nonzero.iter().find(|(_, value)| *value < Duration::from_millis(1))
        {
            return Err(ConfigError { field, rule: "must be at least 1 ms" });
        }
        Ok(())
    }

    /// The rules about sizes and counts: whether each holds, the field, and what it must be.
    fn sizes_rules(&self) -> [(bool, &'static str, &'static str); 10] {
        [
            (
                self.cluster.len() <= 255 && !self.cluster.is_empty(),
                "cluster",
                "must be 1 to 255 bytes long",
            ),
            (
                (DATAGRAM_LEN_RANGE.0..=DATAGRAM_LEN_RANGE.1).contains(&self.datagram_len_max),
                "datagram_len_max",
                "must be 1,202 to 65,507",
            ),
            (self.indirect_probes <= 16, "indirect_probes", "must be at most 16"),
            (self.confirmations < ACCUSERS_MAX, "confirmations", "must be at most 7"),
            ((1..=64).contains(&self.gossip_fanout), "gossip_fanout", "must be 1 to 64"),
            ((1..=100).contains(&self.retransmit_mult), "retransmit_mult", "must be 1 to 100"),
            (self.sync_rate_max >= 4_096, "sync_rate_max", "must be at least 4 KiB a second"),
            ((1..=SEED_TRIES_MAX).contains(&self.join_fanout), "join_fanout", "must be 1 to 8"),
            (
                (16..=TOMBSTONES_MAX).contains(&self.tombstones_max),
                "tombstones_max",
                "must be 16 to 16,384",
            ),
            ((1..=16).contains(&self.leave_acks), "leave_acks", "must be 1 to 16"),
        ]
    }

    /// The rules about time, as [`sizes_rules`](Self::sizes_rules).
    fn timing_rules(&self) -> [(bool, &'static str, &'static str); 8] {
        // Defect D13 of other implementations: a timeout past the interval, silently accepted.
        let indirect = self.probe_interval.saturating_sub(self.probe_timeout_max);
        [
            (
                self.probe_timeout_min <= self.probe_timeout_max,
                "probe_timeout_min",
                "must not be over probe_timeout_max",
            ),
            (
                indirect >= self.probe_timeout_min,
                "probe_timeout_max",
                "must leave probe_timeout_min of the probe_interval for indirect probes",
            ),
            (
                self.probe_interval <= Duration::from_secs(3_600),
                "probe_interval",
                "must be at most an hour",
            ),
            (self.awareness_max <= 64, "awareness_max", "must be at most 64"),
            ((1..=1_000).contains(&self.suspicion_mult), "suspicion_mult", "must be 1 to 1,000"),
            (
                (1..=1_000).contains(&self.suspicion_max_mult),
                "suspicion_max_mult",
                "must be 1 to 1,000",
            ),
            (
                self.sync_interval >= self.sync_interval_min,
                "sync_interval",
                "must not be under sync_interval_min",
            ),
            (
                self.join_retry_max >= self.join_retry_min,
                "join_retry_max",
                "must not be under join_retry_min",
            ),
        ]
    }
}

const _: () = assert!(
    HEADER_LEN + BROADCAST_LEN_MAX + 64 <= DATAGRAM_LEN_RANGE.0,
    "the longest broadcast fits the shortest datagram"
);

/// A configuration that the machine refuses to start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field of [`Config`] that is wrong.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.rule)
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
