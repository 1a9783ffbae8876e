//! [`Quality`]: how a link treats what crosses it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text;

/// What a link does to what crosses it. Chances are in millionths a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a way of its own in which a link is ill"
)]
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
    /// No stream crosses; datagrams do. What is under way on one waits.
    #[serde(skip_serializing_if = "text::is_default")]
    pub no_streams: bool,
    /// Attempts to open a connection vanish; connections that are open go on. At the protocol
    /// level, which has no connections, as `no_streams`.
    #[serde(skip_serializing_if = "text::is_default")]
    pub opens_lost: bool,
    /// Attempts to open a connection are refused at once, as by a firewall's `REJECT`. At the
    /// protocol level every stream payload is.
    #[serde(skip_serializing_if = "text::is_default")]
    pub opens_refused: bool,
    /// A proxy on the way accepts connections for a host that is down, and resets them as soon as
    /// something is sent on them.
    #[serde(skip_serializing_if = "text::is_default")]
    pub proxy: bool,
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
#[doc(hidden)]
pub const QUEUE_MAX: Duration = Duration::from_millis(500);
/// A half-open stream is noticed after this time, as by keepalives or an unanswered retransmission.
#[doc(hidden)]
pub const HALF_OPEN_FOR: Duration = Duration::from_secs(8);

impl Quality {
    /// Both at once: the worse of each.
    #[must_use]
    #[doc(hidden)]
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
            no_streams: self.no_streams || other.no_streams,
            opens_lost: self.opens_lost || other.opens_lost,
            opens_refused: self.opens_refused || other.opens_refused,
            proxy: self.proxy || other.proxy,
            bandwidth: self.bandwidth.into_iter().chain(other.bandwidth).min(),
            half_open: self.half_open.max(other.half_open),
            reset: self.reset.max(other.reset),
        }
    }
}
