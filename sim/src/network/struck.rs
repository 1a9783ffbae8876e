//! [`Struck`]: how often the network did something to a payload.

/// How often each family has struck a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Struck {
    /// Lost, each by itself or in a burst.
    pub lost: u64,
    /// Lost in a burst.
    pub burst: u64,
    /// Came twice.
    pub duplicated: u64,
    /// Came late.
    pub reordered: u64,
    /// Came with a bit flipped.
    pub corrupted: u64,
    /// Came short.
    pub truncated: u64,
    /// Too long for the link.
    pub too_long: u64,
    /// On a link that carries no datagrams.
    pub silenced: u64,
    /// Crossed a link that is slower than a sound one.
    pub delayed: u64,
    /// Stopped by a cut: a whole one, a one-way one, one that comes and goes.
    pub cut: [u64; 3],
    /// Waited for, or dropped before, a link of limited bandwidth.
    pub queued: u64,
    /// Segments of streams sent again.
    pub retransmitted: u64,
    /// Vanished on a half-open stream.
    pub half_open: u64,
    /// Streams reset.
    pub reset: u64,
    /// Stopped where only one plane is open, by kind: streams, openings that vanish, openings
    /// refused, and openings that a proxy accepts.
    pub planes: [u64; 4],
}

impl Struck {
    /// The family that has struck since, if one has: why a payload was lost.
    pub(crate) fn since(&self, before: &Self) -> &'static str {
        let pairs = self.by_family().into_iter().zip(before.by_family());
        pairs.filter(|(now, was)| now.1 > was.1).map(|(now, _)| now.0).next_back().unwrap_or("lost")
    }

    /// How often each family has struck, by its name in [`FAMILIES`](crate::fault::FAMILIES).
    pub fn by_family(&self) -> [(&'static str, u64); 19] {
        [
            ("loss", self.lost - self.burst + self.retransmitted),
            ("burst", self.burst),
            ("delay", self.delayed),
            ("duplicate", self.duplicated),
            ("reorder", self.reordered),
            ("corrupt", self.corrupted),
            ("truncate", self.truncated),
            ("mtu", self.too_long),
            ("no_datagrams", self.silenced),
            ("partition", self.cut[0]),
            ("one_way", self.cut[1]),
            ("flapping", self.cut[2]),
            ("bandwidth", self.queued),
            ("half_open", self.half_open),
            ("stream_reset", self.reset),
            ("no_streams", self.planes[0]),
            ("opens_lost", self.planes[1]),
            ("opens_refused", self.planes[2]),
            ("proxy", self.planes[3]),
        ]
    }
}
