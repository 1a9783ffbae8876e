//! The limits and timers of a [`Connection`](super::Connection): every number a peer could push
//! against is here, with the reason for it (`docs/protocol.md` §5.7, §5.8).

use core::fmt;
use core::time::Duration;

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
/// The largest that a window can be let grow to.
const WINDOW_MAX_CEILING: u32 = 1024 * 1024 * 1024;

/// How many times `outbound_len_max` of answers may wait before new requests are refused. From once
/// on, large requests get no more credit; those under way (16 MiB of them by default) and answers
/// as large as they still find room.
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
    /// Bytes of chunks of one stream that are accepted before any are released: 16 KiB..=16 MiB.
    /// Default 256 KiB: 25 MB/s at 10 ms of round trip, and it grows when it is used up fast.
    pub stream_window: u32,
    /// What that may grow to: at least `stream_window`, at most a quarter of `data_window_max`.
    /// Default 4 MiB.
    pub stream_window_max: u32,
    /// Bytes of chunks of all streams that are accepted before any are released: four times
    /// `stream_window`..=64 MiB. Default 4 MiB: sixteen consumers that stall before others on
    /// the connection feel it.
    pub data_window: u32,
    /// What that may grow to: `data_window`..=1 GiB. Default 16 MiB.
    pub data_window_max: u32,
    /// Bytes of requests and one-way messages of more than 8 KiB that are accepted before any are
    /// released: 16 KiB..=64 MiB. Default 1 MiB: more of them at once only waits in buffers
    /// for handlers, in front of others' small calls.
    pub request_window: u32,
    /// What that may grow to: `request_window`..=1 GiB. Default 16 MiB.
    pub request_window_max: u32,
    /// The same of responses of more than 8 KiB: 16 KiB..=64 MiB. Default 1 MiB.
    pub response_window: u32,
    /// What that may grow to: `response_window`..=1 GiB. Default 16 MiB.
    pub response_window_max: u32,

    /// Methods the peer may name on one connection: 1..=65,535. Default 1,024: a thousand
    /// services' worth, at most half a megabyte of names.
    pub methods_max: u16,

    /// Bytes queued to be sent beyond which no new request, one-way message or gossip is taken
    /// (each may overshoot by one message): at least 64 KiB. Default 8 MiB, about 70 ms of a 1
    /// Gbit/s link.
    pub outbound_len_max: usize,
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
    /// Messages in fragments that are under way at once: 1..=4. Default 2: one that is slow to
    /// come does not hold up all others, and no more than two are half done.
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
            stream_window: 256 * 1024,
            stream_window_max: 4 * 1024 * 1024,
            data_window: 4 * 1024 * 1024,
            data_window_max: 16 * 1024 * 1024,
            request_window: 1024 * 1024,
            request_window_max: 16 * 1024 * 1024,
            response_window: 1024 * 1024,
            response_window_max: 16 * 1024 * 1024,
            methods_max: 1_024,
            outbound_len_max: 8 * 1024 * 1024,
            events_max: 8_192,
            recv_len: 128 * 1024,
            transmit_len_max: 256 * 1024,
            fragment_len: 64 * 1024,
            interleaved_max: 2,
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
            ("stream_window", c.stream_window == self.stream_window),
            ("data_window", c.data_window == self.data_window),
            ("data_window_max", c.data_window_max == self.data_window_max),
            ("stream_window_max", c.stream_window_max == self.stream_window_max),
            ("request_window", c.request_window == self.request_window),
            ("request_window_max", c.request_window_max == self.request_window_max),
            ("response_window", c.response_window == self.response_window),
            ("response_window_max", c.response_window_max == self.response_window_max),
            ("methods_max", c.methods_max == self.methods_max),
            ("outbound_len_max", c.outbound_len_max == self.outbound_len_max),
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

    /// This configuration with every value moved into its range. Timers are at least 1 ms, so that
    /// a timer that fires always moves time forward.
    pub(super) fn clamped(&self) -> Self {
        let at_least = |timer: Duration| timer.max(Duration::from_millis(1));
        let window = |first: u32, first_min: u32, max: u32| {
            let first = first.clamp(first_min, WINDOW_CEILING);
            (first, max.clamp(first, WINDOW_MAX_CEILING))
        };
        let stream_window = self.stream_window.clamp(WINDOW_FLOOR, WINDOW_CEILING / 4);
        let (data_window, data_window_max) =
            window(self.data_window, 4 * stream_window, self.data_window_max);
        let (request_window, request_window_max) =
            window(self.request_window, WINDOW_FLOOR, self.request_window_max);
        let (response_window, response_window_max) =
            window(self.response_window, WINDOW_FLOOR, self.response_window_max);
        Self {
            in_flight_max: self.in_flight_max.clamp(1, SLOTS_MAX),
            message_len_max: self.message_len_max.clamp(1_024, MESSAGE_LEN_CEILING),
            headers_len_max: self.headers_len_max.clamp(256, HEADERS_LEN_CEILING),
            stream_window,
            stream_window_max: self.stream_window_max.clamp(stream_window, data_window_max / 4),
            data_window,
            data_window_max,
            request_window,
            request_window_max,
            response_window,
            response_window_max,
            methods_max: self.methods_max.max(1),
            outbound_len_max: self.outbound_len_max.max(64 * 1024),
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
