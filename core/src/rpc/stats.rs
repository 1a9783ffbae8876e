//! What a connection has counted since it began.

/// Counters of one connection. All only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes received, hello and padding included.
    pub bytes_in: u64,
    /// Bytes given out by `poll_transmit`.
    pub bytes_out: u64,
    /// Frames received whole and understood.
    pub frames_in: u64,
    /// Frames queued to be sent.
    pub frames_out: u64,
    /// Calls begun here.
    pub calls_out: u64,
    /// Calls begun here that have ended, however.
    pub calls_out_ended: u64,
    /// Calls of the peer that became a `Request` event.
    pub calls_in: u64,
    /// Calls of the peer that were answered without an event: limits, deadlines, go-away.
    pub refused: u64,
    /// Replies to calls that had ended, or never were.
    pub late_replies: u64,
    /// Cancels of calls that had ended, or never were.
    pub late_cancels: u64,
    /// Chunks and ends of streams that were read.
    pub chunks_in: u64,
    /// Chunks and ends of streams that were queued.
    pub chunks_out: u64,
    /// Chunks, ends and grants for calls that had ended, or never were.
    pub late_chunks: u64,
    /// Answers that nobody took and that were dropped because others needed their room.
    pub answers_dropped: u64,
    /// One-way messages dropped: expired, too large, or the event queue was full.
    pub one_way_dropped: u64,
    /// Gossip frames dropped: too large, or the event queue was full.
    pub gossip_dropped: u64,
    /// Frames of unknown kinds that were skipped.
    pub unknown_frames: u64,
    /// Pings not answered because an answer was already waiting.
    pub pings_merged: u64,
    /// Stamps that the clock refused as too far ahead.
    pub stamps_refused: u64,
}
