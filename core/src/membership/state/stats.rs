//! What a node has counted since it started.

/// Counters since the start; they only rise.
///
/// What is dropped is counted by reason, so that a cluster that does not form says why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams handed out by `poll_transmit`.
    pub datagrams_out: u64,
    /// Bytes of them.
    pub datagram_bytes_out: u64,
    /// Datagrams taken in, whatever became of them.
    pub datagrams_in: u64,
    /// Bytes of them.
    pub datagram_bytes_in: u64,
    /// Stream-plane payloads handed out.
    pub streams_out: u64,
    /// Bytes of them.
    pub stream_bytes_out: u64,
    /// Stream-plane payloads taken in.
    pub streams_in: u64,
    /// Bytes of them.
    pub stream_bytes_in: u64,
    /// Dropped: not a whole header, or a message that breaks the format.
    pub malformed: u64,
    /// Dropped: of a protocol version this build does not speak.
    pub foreign_version: u64,
    /// Dropped: of another cluster.
    pub foreign_cluster: u64,
    /// Dropped: claims to come from this node itself, or is meant for another.
    pub misdirected: u64,
    /// Messages of a kind this build does not know, skipped.
    pub unknown_kind: u64,
    /// Claims that changed something.
    pub updates_applied: u64,
    /// Claims that lost to what was known already.
    pub updates_stale: u64,
    /// Claims refused: a full table, an id at another address, an epoch nobody can have.
    pub updates_refused: u64,
    /// Stamps refused because they were too far ahead.
    pub stamps_refused: u64,
    /// Probe rounds begun.
    pub probes: u64,
    /// Probe rounds that ended with no answer.
    pub probes_failed: u64,
    /// Answers that matched nothing outstanding: late, duplicate or forged.
    pub acks_unmatched: u64,
    /// Times the node refuted a claim about itself.
    pub refutations: u64,
    /// Times its own timers were so late that it passed no verdicts (see `Config::pause_guard`).
    pub pauses: u64,
    /// Table exchanges begun.
    pub syncs: u64,
    /// Table exchanges that found the tables equal.
    pub syncs_equal: u64,
    /// Table exchanges that failed or were not answered in time.
    pub syncs_failed: u64,
    /// Askers sent on to other members.
    pub syncs_busy: u64,
    /// Outgoing messages shed because the outbox was full.
    pub outbox_shed: u64,
    /// Events shed because nobody took them.
    pub events_shed: u64,
    /// Relayed user broadcasts shed because the queue was full.
    pub broadcasts_shed: u64,
    /// User broadcasts dropped as already seen.
    pub broadcasts_seen: u64,
    /// User broadcasts dropped as too old to tell, or of an unknown origin.
    pub broadcasts_stale: u64,
    /// Requests to relay a probe that were answered with a nack at once.
    pub relays_refused: u64,
    /// Tombstones forgotten by age or number.
    pub tombstones_forgotten: u64,
}

/// What a node holds, each with the limit that bounds it whatever others send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Other live members; with the tombstones at most
    /// [`MEMBERS_MAX`](crate::membership::MEMBERS_MAX).
    pub members: usize,
    /// Dead and left members remembered: at most `Config::tombstones_max`.
    pub tombstones: usize,
    /// Running suspicions: at most one a live member.
    pub suspicions: usize,
    /// Rumours that wait, broadcasts among them: at most one a record, and
    /// [`BROADCASTS_MAX`](crate::membership::BROADCASTS_MAX).
    pub rumors: usize,
    /// Broadcasts among the rumours: at most [`BROADCASTS_MAX`](crate::membership::BROADCASTS_MAX).
    pub broadcasts: usize,
    /// Origins whose broadcasts are told apart: at most one a record.
    pub origins: usize,
    /// Messages to be polled: at most [`OUTBOX_MAX`](crate::membership::OUTBOX_MAX).
    pub messages: usize,
    /// Events to be taken: at most [`EVENTS_MAX`](crate::membership::EVENTS_MAX).
    pub events: usize,
    /// Probes relayed for others: at most [`RELAYS_MAX`](crate::membership::RELAYS_MAX).
    pub relays: usize,
    /// Liveness checks of claimants: at most [`CHECKS_MAX`](crate::membership::CHECKS_MAX).
    pub checks: usize,
    /// Conflicts that were reported: at most [`CHECKS_MAX`](crate::membership::CHECKS_MAX).
    pub conflicts: usize,
    /// Own exchanges: at most [`EXCHANGES_MAX`](crate::membership::EXCHANGES_MAX).
    pub exchanges: usize,
    /// Tables being sent: at most [`TRANSFERS_MAX`](crate::membership::TRANSFERS_MAX).
    pub transfers: usize,
    /// Foreign addresses and clusters that were reported: at most
    /// [`FOREIGN_MAX`](crate::membership::FOREIGN_MAX).
    pub foreign: usize,
}
