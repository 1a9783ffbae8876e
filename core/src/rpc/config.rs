//! The limits and timers of a [`Connection`](super::Connection): every number a peer could push
//! against is here, with the reason for it (`docs/protocol.md` §5.7, §5.8).

use core::fmt;
use core::time::Duration;

use super::credit::charge_of;
use super::frame::LANES;

/// Bytes of one frame header, and the unit everything on a stream is padded to (§5.2): rkyv's
/// largest alignment.
pub const ALIGN: usize = 16;

/// Bytes of a hello, without its 16-byte prefix: about eight times what one needs today, so that
/// later versions can add to it, and little enough to hold for a stranger.
pub const HELLO_LEN_MAX: usize = 1_024;

/// Bytes of a service's or a method's name, and of a cluster's name in a hello: their length is one
/// byte.
pub const NAME_LEN_MAX: usize = 255;

/// Bytes of a status message; longer ones are cut at a character boundary. A message is for a
/// human's eyes.
pub const STATUS_MESSAGE_LEN_MAX: usize = 1_024;

/// Bytes of one gossip frame's payload: a bounded chunk of a member table, room for 64 KiB and its
/// framing, and little enough that it delays calls on the same connection by well under a
/// millisecond.
pub const GOSSIP_LEN_MAX: usize = 256 * 1024;

/// Bodies up to this many bytes are copied (out of the receive slab, into the send queue): a copy
/// of 8 KiB costs about 200 ns, less than the bookkeeping of not making it. Larger ones have a
/// buffer of their own.
pub const COPY_LEN_MAX: usize = 8 * 1024;

/// Bytes of buffers for large bodies that a connection keeps to use again: four of a megabyte are
/// as many as are under way at once where bodies are handled as they come. Freed when the
/// connection has nothing but keepalives to do.
pub const POOL_LEN_MAX: usize = 4 * 1024 * 1024;

/// Attachments of one message. A few blobs are what they are for; their lengths stay a small part
/// of an extension.
pub const ATTACHMENTS_MAX: usize = 16;

/// Bytes of the largest chunk of a call that declares none: one fragment (`docs/protocol.md`
/// §5.12.5).
pub const CHUNK_LEN_DEFAULT: u32 = 64 * 1024;

/// The least that a direction of a stream is promised: more than two chunks that are copied.
pub(super) const RESERVE_LEN_MIN: u32 = 16 * 1024;

/// Bytes of gossip that may wait to be sent: two of the largest frames.
pub(super) const GOSSIP_OUT_LEN_MAX: usize = 2 * GOSSIP_LEN_MAX;

/// The largest body that is skipped; a header that announces more ends the connection. A reader of
/// an older version must be able to pass over what it does not know, but not for ever.
pub const SKIP_LEN_MAX: usize = 256 * 1024 * 1024;

/// Bytes of answers that the machine itself owes (refusals, pongs) and that the peer has not let
/// out. A peer within its limits is owed at most one refusal a slot, which is below this; one that
/// is owed more floods without reading.
pub const OWED_LEN_MAX: usize = 2 * 1024 * 1024;

/// Slots of calls in one direction of one connection: a call id has 14 bits for them (§5.4).
pub const SLOTS_MAX: u32 = 1 << 14;

/// The largest message that can be configured.
pub const MESSAGE_LEN_CEILING: u32 = 128 * 1024 * 1024;

/// The largest header block that can be configured: with the fixed fields it still has a 16-bit
/// length.
pub const HEADERS_LEN_CEILING: u32 = 32 * 1024;

/// The smallest window: more than one body that is copied.
const WINDOW_FLOOR: u32 = 16 * 1024;
/// The largest window to begin with.
const WINDOW_CEILING: u32 = 64 * 1024 * 1024;
/// The largest that a window can be let grow to, and the largest budget.
const BUDGET_CEILING: u32 = 1024 * 1024 * 1024;

/// How many times `outbound_len_max` of answers, and of chunks to the peer's calls, may wait before
/// new requests are refused.
pub const ANSWERS_FACTOR: usize = 4;

/// Limits and timers of a connection. The first group travels in the hello and binds the peer.
///
/// Values outside the stated ranges are refused by [`Config::validate`] and moved to the nearest
/// end of the range by [`Connection::new`](super::Connection::new), which cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Calls from the peer that are open at once, and calls to it: 1..=16,384. Default 1,024: at
    /// 100 µs a call that is ten million calls a second, and an idle entry costs some 32
    /// bytes.
    pub in_flight_max: u32,
    /// Bytes of one message's body that are accepted: 1,024..=128 MiB. Default 16 MiB: one such
    /// message is held in memory whole, per connection.
    pub message_len_max: u32,
    /// Bytes of one message's encoded headers that are accepted: 256..=32 KiB. Default 8 KiB, what
    /// web servers settled on.
    pub headers_len_max: u32,
    /// Bytes of requests and one-way messages of more than 8 KiB that are held for the peer,
    /// whoever holds them: at least twice `message_len_max`, ..=1 GiB. Default 64 MiB: four of the
    /// largest, or thousands of ten kilobytes, each of which a handler may keep for as long as it
    /// likes.
    pub request_budget: u32,
    /// Bytes that all open directions of streams are promised together: 64 KiB..=1 GiB. Default 64
    /// MiB: a thousand directions whose chunks have 64 KiB.
    pub stream_reserve_max: u32,
    /// Bytes that all streams may have beyond what they are promised: ..=1 GiB. Default 16 MiB.
    pub stream_pool_max: u32,
    /// What a stream's window grows to with its first chunk: 16 KiB..=16 MiB. Default 256 KiB: 25
    /// MB/s at 10 ms of round trip, and it grows when it is used up fast.
    pub stream_window: u32,
    /// What that may grow to: at least `stream_window`, and at most a quarter of the pool whatever
    /// is said here. Default 4 MiB.
    pub stream_window_max: u32,
    /// Bytes of responses of more than 8 KiB that are accepted before any are taken: 16 KiB..=64
    /// MiB. Default 1 MiB.
    pub response_window: u32,
    /// What that may grow to: `response_window`..=1 GiB. Default 16 MiB.
    pub response_window_max: u32,
    /// How long an answer that nobody takes may keep others out: default 10 s, longer than any
    /// caller that still runs should be away.
    pub answer_wait_max: Duration,

    /// Calls that wait for room: 1..=1,048,576. Default 16,384: as many as may be open at most. One
    /// caller may have as many as are left for all others: half of them while it is alone.
    pub waiting_calls_max: usize,
    /// Bytes of calls that wait for room: at least 64 KiB. Default 128 MiB: a caller that is alone
    /// may have half of it, which is as much as the peer may hold of those that have room.
    pub waiting_len_max: usize,
    /// How long a call waits for room. Default 2 s: a burst has passed by then; what has not is
    /// overload, and is better known early.
    pub room_wait_max: Duration,

    /// Methods the peer may name on one connection: 1..=65,535. Default 1,024: a thousand
    /// services' worth, at most half a megabyte of names.
    pub methods_max: u16,

    /// Bytes that wait for the socket beyond which calls wait for room and no one-way message is
    /// taken (each may overshoot by one message): at least 64 KiB. Default 8 MiB, about 70 ms of a
    /// 1 Gbit/s link.
    pub outbound_len_max: usize,
    /// Bytes of answers that wait to be sent beyond which no further large one is kept: at least 64
    /// KiB. Default 64 MiB.
    pub answers_out_max: usize,
    /// Events queued beyond which new requests are refused, and one-way messages and gossip
    /// dropped: at least 16. Default 8,192: as many as one full receive slab can hold, so a
    /// driver that drains after each read never meets it.
    pub events_max: usize,
    /// Bytes the receive slab may grow to: 32 KiB..=1 MiB. Default 128 KiB: a hundred calls of a
    /// kilobyte in one read; with half of it, 64 of them came in two, of 61 and of 3.
    /// The slab begins with 2 KiB, grows to this when reads fill it, and is given back when only
    /// keepalives come.
    pub recv_len: usize,
    /// Bytes one `poll_transmit` adds at most: 4 KiB..=16 MiB. Default 256 KiB: larger writes gain
    /// nothing, and a peer on another core starts earlier.
    pub transmit_len_max: usize,

    /// Bytes of a body above which a message travels in fragments, and of a fragment while others
    /// wait: 16 KiB..=1 MiB, a multiple of 16. Default 64 KiB: 50 µs at 10 Gbit/s.
    pub fragment_len: usize,
    /// Messages in fragments that are under way at once: 1..=4. Default 3, one of them for messages
    /// of at most 256 KiB: one that is slow to come does not hold up all others, and no more than
    /// three are half done.
    pub interleaved_max: u8,

    /// Time the peer has for its hello. Default 5 s: a few round trips on the worst link, and
    /// short enough that strangers who connect and say nothing do not pile up.
    pub hello_timeout: Duration,
    /// Silence after which a ping is sent while calls are open. Default 5 s.
    pub keepalive_calls: Duration,
    /// Silence after which a ping is sent while none are. Default 30 s: below the idle time of
    /// common middleboxes.
    pub keepalive_idle: Duration,
    /// Silence after a ping that ends the connection. Default 10 s.
    pub keepalive_timeout: Duration,
    /// Time that open calls have to end after a go-away. Default 30 s.
    pub drain_timeout: Duration,

    /// The lowest stream version spoken. For tests of the negotiation; default
    /// [`STREAM_VERSION_MIN`](super::STREAM_VERSION_MIN).
    pub version_min: u8,
    /// The highest stream version spoken. Default
    /// [`STREAM_VERSION_MAX`](super::STREAM_VERSION_MAX).
    pub version_max: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_flight_max: 1_024,
            message_len_max: 16 * 1024 * 1024,
            headers_len_max: 8 * 1024,
            request_budget: 64 * 1024 * 1024,
            stream_reserve_max: 64 * 1024 * 1024,
            stream_pool_max: 16 * 1024 * 1024,
            stream_window: 256 * 1024,
            stream_window_max: 4 * 1024 * 1024,
            response_window: 1024 * 1024,
            response_window_max: 16 * 1024 * 1024,
            answer_wait_max: Duration::from_secs(10),
            waiting_calls_max: 16_384,
            waiting_len_max: 128 * 1024 * 1024,
            room_wait_max: Duration::from_secs(2),
            methods_max: 1_024,
            outbound_len_max: 8 * 1024 * 1024,
            answers_out_max: 64 * 1024 * 1024,
            events_max: 8_192,
            recv_len: 128 * 1024,
            transmit_len_max: 256 * 1024,
            fragment_len: 64 * 1024,
            interleaved_max: 3,
            hello_timeout: Duration::from_secs(5),
            keepalive_calls: Duration::from_secs(5),
            keepalive_idle: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            version_min: super::STREAM_VERSION_MIN,
            version_max: super::STREAM_VERSION_MAX,
        }
    }
}

impl Config {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// The name of the first field that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let c = self.clamped();
        let checks = [
            ("in_flight_max", c.in_flight_max == self.in_flight_max),
            ("message_len_max", c.message_len_max == self.message_len_max),
            ("headers_len_max", c.headers_len_max == self.headers_len_max),
            ("request_budget", c.request_budget == self.request_budget),
            ("stream_reserve_max", c.stream_reserve_max == self.stream_reserve_max),
            ("stream_pool_max", c.stream_pool_max == self.stream_pool_max),
            ("stream_window", c.stream_window == self.stream_window),
            ("stream_window_max", c.stream_window_max == self.stream_window_max),
            ("response_window", c.response_window == self.response_window),
            ("response_window_max", c.response_window_max == self.response_window_max),
            ("answer_wait_max", c.answer_wait_max == self.answer_wait_max),
            ("waiting_calls_max", c.waiting_calls_max == self.waiting_calls_max),
            ("waiting_len_max", c.waiting_len_max == self.waiting_len_max),
            ("room_wait_max", c.room_wait_max == self.room_wait_max),
            ("methods_max", c.methods_max == self.methods_max),
            ("outbound_len_max", c.outbound_len_max == self.outbound_len_max),
            ("answers_out_max", c.answers_out_max == self.answers_out_max),
            ("events_max", c.events_max == self.events_max),
            ("recv_len", c.recv_len == self.recv_len),
            ("transmit_len_max", c.transmit_len_max == self.transmit_len_max),
            ("fragment_len", c.fragment_len == self.fragment_len),
            ("interleaved_max", c.interleaved_max == self.interleaved_max),
            ("hello_timeout", c.hello_timeout == self.hello_timeout),
            ("keepalive_calls", c.keepalive_calls == self.keepalive_calls),
            ("keepalive_idle", c.keepalive_idle == self.keepalive_idle),
            ("keepalive_timeout", c.keepalive_timeout == self.keepalive_timeout),
            ("drain_timeout", c.drain_timeout == self.drain_timeout),
            ("version_max", c.version_max == self.version_max),
        ];
        match checks.iter().find(|(_, is_in_range)| !is_in_range) {
            Some(&(field, _)) => Err(ConfigError { field }),
            None => Ok(()),
        }
    }

    /// Bytes of memory that a connection holds for its peer at most, whatever the peer does
    /// (`docs/protocol.md` §5.7.7). What the node's own application asked to send comes beside it.
    pub fn held_max(&self) -> usize {
        let of = |bytes: u32| bytes as usize;
        let third_more = |bytes: usize| bytes + bytes / 3;
        let small = 16 * 1024 + of(self.headers_len_max) + 1024;
        let largest = of(self.message_len_max) + 208;
        third_more(
            of(self.request_budget)
                + of(self.stream_reserve_max)
                + of(self.stream_pool_max)
                + of(self.response_window_max)
                + largest,
        ) + usize::from(LANES) * largest
            + (2 * of(self.in_flight_max) + self.events_max) * small
            + usize::from(self.methods_max) * 600
            + OWED_LEN_MAX
            + POOL_LEN_MAX
            + self.recv_len
            + small
    }

    /// This configuration with every value moved into its range. Timers are at least 1 ms, so that
    /// a timer that fires always moves time forward.
    pub(super) fn clamped(&self) -> Self {
        let at_least = |timer: Duration| timer.max(Duration::from_millis(1));
        let message_len_max = self.message_len_max.clamp(1_024, MESSAGE_LEN_CEILING);
        let stream_window = self.stream_window.clamp(WINDOW_FLOOR, WINDOW_CEILING / 4);
        let response_window = self.response_window.clamp(WINDOW_FLOOR, WINDOW_CEILING);
        Self {
            in_flight_max: self.in_flight_max.clamp(1, SLOTS_MAX),
            message_len_max,
            headers_len_max: self.headers_len_max.clamp(256, HEADERS_LEN_CEILING),
            request_budget: self
                .request_budget
                .clamp(2 * charge_of(message_len_max as usize), BUDGET_CEILING),
            stream_reserve_max: self.stream_reserve_max.clamp(64 * 1024, BUDGET_CEILING),
            stream_pool_max: self.stream_pool_max.min(BUDGET_CEILING),
            stream_window,
            stream_window_max: self.stream_window_max.clamp(stream_window, BUDGET_CEILING),
            response_window,
            response_window_max: self.response_window_max.clamp(response_window, BUDGET_CEILING),
            answer_wait_max: at_least(self.answer_wait_max),
            waiting_calls_max: self.waiting_calls_max.clamp(1, 1 << 20),
            waiting_len_max: self.waiting_len_max.max(64 * 1024),
            room_wait_max: at_least(self.room_wait_max),
            methods_max: self.methods_max.max(1),
            outbound_len_max: self.outbound_len_max.max(64 * 1024),
            answers_out_max: self.answers_out_max.max(64 * 1024),
            events_max: self.events_max.max(16),
            recv_len: self.recv_len.clamp(32 * 1024, 1024 * 1024),
            transmit_len_max: self.transmit_len_max.clamp(4 * 1024, 16 * 1024 * 1024),
            fragment_len: (self.fragment_len & !(ALIGN - 1)).clamp(2 * COPY_LEN_MAX, 1024 * 1024),
            interleaved_max: self.interleaved_max.clamp(1, LANES),
            hello_timeout: at_least(self.hello_timeout),
            keepalive_calls: at_least(self.keepalive_calls),
            keepalive_idle: at_least(self.keepalive_idle),
            keepalive_timeout: at_least(self.keepalive_timeout),
            drain_timeout: at_least(self.drain_timeout),
            version_min: self.version_min,
            version_max: self.version_max.max(self.version_min),
        }
    }
}

/// A value of a [`Config`] is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc: `{}` is out of its range", self.field)
    }
}

impl core::error::Error for ConfigError {}
