//! The virtual network: what becomes of each payload on its way.

mod addresses;
mod struck;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::choices::{Choices, Key, Odds, Site};
use crate::clock::nanos;
use crate::fault::{Fault, HALF_OPEN_FOR, Nodes, QUEUE_MAX, Quality};

pub use addresses::AddressBook;
pub use struck::Struck;

/// The least time that a payload takes on a sound link, and what is added to it at most by chance:
/// one local network.
pub const LATENCY_MIN: Duration = Duration::from_micros(250);
/// See [`LATENCY_MIN`].
pub const LATENCY_JITTER: Duration = Duration::from_micros(250);
/// A segment of a stream that is lost is sent again after this time, doubled each time (TCP's usual
/// least).
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);
/// Tables of links are exact up to this many links; beyond, links share cells, which changes only
/// which chance they meet.
const LINKS_MAX: usize = 1 << 22;

/// What becomes of one copy of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Nanoseconds that it takes.
    pub takes: u64,
    /// A bit that is flipped.
    pub flips: Option<u32>,
    /// The length that is left of it.
    pub cut_to: Option<usize>,
}

/// What becomes of a stretch of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFate {
    /// It arrives at this true nanosecond, unless the stream is reset before.
    Arrives(u64),
    /// It vanishes; its sender learns of it then.
    Vanishes(u64),
}

/// What becomes of a segment of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFate {
    /// Nanoseconds that it takes.
    pub takes: u64,
    /// The connection falls silent: nothing on it arrives any more, and nobody is told.
    pub falls_silent: bool,
    /// The connection is reset, and both ends are told.
    pub is_reset: bool,
}

/// What is wrong with one direction between two nodes, kept only where something is.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    /// The link carries what was sent before until then.
    busy_until: u64,
    /// The stream is half-open until then.
    void_until: u64,
    /// What was sent on the stream before is lost.
    reset_at: u64,
}

/// What is kept of each link, apart, since a quiet network touches nothing but the first: a
/// thousand nodes have a million links.
#[derive(Debug)]
struct Links {
    /// Payloads sent so far.
    sent: Vec<u32>,
    is_bursting: Vec<bool>,
    /// When the last payload of the stream arrives: the next may not overtake it.
    stream_at: Vec<u64>,
}

#[derive(Debug)]
struct Ill {
    fault: usize,
    from: Nodes,
    to: Nodes,
    quality: Quality,
}

#[derive(Debug)]
struct Cut {
    fault: usize,
    from: Nodes,
    to: Nodes,
    one_way: bool,
    /// Where it is counted in [`Struck::cut`].
    kind: usize,
    is_on: bool,
}

/// The network between `nodes` nodes.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
    links: Links,
    ills: Vec<Ill>,
    cuts: Vec<Cut>,
    troubles: BTreeMap<(u32, u32), Trouble>,
    /// Which address is whose.
    pub addresses: AddressBook,
    /// How often each family has struck.
    pub struck: Struck,
}

impl Network {
    /// A sound network.
    pub fn new(nodes: usize) -> Self {
        let links = (nodes * nodes).min(LINKS_MAX).next_power_of_two();
        Self {
            nodes,
            links: Links {
                sent: vec![0; links],
                is_bursting: vec![false; links],
                stream_at: vec![0; links],
            },
            ills: Vec::new(),
            cuts: Vec::new(),
            troubles: BTreeMap::new(),
            addresses: AddressBook::new(nodes),
            struck: Struck::default(),
        }
    }

    /// The fault with this number begins, if it is one of the network.
    pub fn begin(&mut self, number: usize, fault: &Fault) {
        match fault {
            Fault::Link { from, to, quality } => {
                self.ills.push(Ill {
                    fault: number,
                    from: from.clone(),
                    to: to.clone(),
                    quality: *quality,
                });
            }
            Fault::Cut { from, to, one_way } | Fault::Flap { from, to, one_way, .. } => {
                let kind =
                    if matches!(fault, Fault::Flap { .. }) { 2 } else { usize::from(*one_way) };
                let (from, to) = (from.clone(), to.clone());
                self.cuts.push(Cut {
                    fault: number,
                    from,
                    to,
                    one_way: *one_way,
                    kind,
                    is_on: true,
                });
            }
            _ => self.addresses.begin(number, fault),
        }
    }

    /// A cut that comes and goes does so.
    pub fn flap(&mut self, number: usize) {
        self.cuts
            .iter_mut()
            .filter(|cut| cut.fault == number)
            .for_each(|cut| cut.is_on = !cut.is_on);
    }

    /// The fault with this number ends.
    pub fn end(&mut self, number: usize) {
        self.ills.retain(|ill| ill.fault != number);
        self.cuts.retain(|cut| cut.fault != number);
        self.addresses.end(number);
    }

    /// Whether nothing crosses from one node to the other at present.
    pub fn is_cut(&self, from: u32, to: u32) -> bool {
        self.cut_by(from, to).is_some()
    }

    /// Whether a payload of a stream is stopped at present; counted.
    pub fn stops(&mut self, from: u32, to: u32) -> bool {
        let kind = self.cut_by(from, to);
        kind.inspect(|&kind| self.struck.cut[kind] += 1).is_some()
    }

    /// Whether nothing of a stream crosses at present; `is_opening` is an attempt to open one.
    pub fn is_stream_cut(&self, from: u32, to: u32, is_opening: bool) -> bool {
        let quality = self.quality(from, to);
        self.is_cut(from, to) || quality.no_streams || (is_opening && quality.opens_lost)
    }

    /// [`is_stream_cut`](Self::is_stream_cut), counted.
    pub fn stops_stream(&mut self, from: u32, to: u32, is_opening: bool) -> bool {
        if self.stops(from, to) {
            return true;
        }
        let quality = self.quality(from, to);
        let is_lost = is_opening && quality.opens_lost;
        self.struck.planes[0] += u64::from(quality.no_streams);
        self.struck.planes[1] += u64::from(is_lost);
        quality.no_streams || is_lost
    }

    /// Whether an attempt to open a connection is refused on the way; counted.
    pub fn refuses(&mut self, from: u32, to: u32) -> bool {
        let refuses = self.quality(from, to).opens_refused;
        self.struck.planes[2] += u64::from(refuses);
        refuses
    }

    /// Whether a proxy accepts connections for a host that is down; counted.
    pub fn is_proxied(&mut self, from: u32, to: u32) -> bool {
        let is_proxied = self.quality(from, to).proxy;
        self.struck.planes[3] += u64::from(is_proxied);
        is_proxied
    }

    fn cut_by(&self, from: u32, to: u32) -> Option<usize> {
        let crosses = |a: &Nodes, b: &Nodes, from, to| {
            a.binary_search(&from).is_ok() && b.binary_search(&to).is_ok()
        };
        let is_between = |cut: &&Cut| {
            crosses(&cut.from, &cut.to, from, to)
                || (!cut.one_way && crosses(&cut.to, &cut.from, from, to))
        };
        self.cuts.iter().filter(|cut| cut.is_on).find(is_between).map(|cut| cut.kind)
    }

    /// What becomes of a datagram of `len` bytes: none, one, or two copies arrive.
    pub fn datagram(
        &mut self,
        choices: &mut dyn Choices,
        now: u64,
        (from, to): (u32, u32),
        len: usize,
    ) -> [Option<Fate>; 2] {
        let nth = self.count(from, to);
        if self.stops(from, to) {
            return [None; 2];
        }
        let quality = self.quality(from, to);
        let mut ask = |site, odds| ask(choices, Key { site, who: from, whom: to, nth }, odds);
        if quality.no_datagrams || quality.mtu.is_some_and(|mtu| len > mtu) {
            let count = if quality.no_datagrams {
                &mut self.struck.silenced
            } else {
                &mut self.struck.too_long
            };
            *count += 1;
            return [None; 2];
        }
        let Some(waits) = self.waits(now, (from, to), len, quality.bandwidth) else {
            return [None; 2];
        };
        if self.is_lost(&quality, from, to, &mut ask) {
            self.struck.lost += 1;
            return [None; 2];
        }
        let late = ask(Site::Reorder, Odds { per_million: quality.reorder, most: 200 });
        self.struck.reordered += u64::from(late > 0);
        let bits = u32::try_from(len * 8).unwrap_or(u32::MAX);
        let flips =
            ask(Site::Corrupt, Odds { per_million: quality.corrupt, most: bits }).checked_sub(1);
        let cut_off = ask(Site::Truncate, Odds { per_million: quality.truncate, most: bits / 8 });
        let cut_to = (cut_off > 0).then(|| len - cut_off as usize);
        self.struck.corrupted += u64::from(flips.is_some());
        self.struck.truncated += u64::from(cut_to.is_some());
        let takes = waits + latency(&quality, ask(Site::Jitter, Odds::up_to(256)));
        self.struck.delayed += u64::from(quality.delay > LATENCY_MIN);
        let first = Fate { takes: takes + u64::from(late) * 1_000_000, flips, cut_to };
        let again = ask(Site::Duplicate, Odds { per_million: quality.duplicate, most: 50 });
        self.struck.duplicated += u64::from(again > 0);
        let second =
            Fate { takes: takes + u64::from(again) * 1_000_000, flips: None, cut_to: None };
        [Some(first), (again > 0).then_some(second)]
    }

    /// What becomes of a stream payload that is sent at `now`: it comes in order, late where
    /// segments are lost, or not at all.
    pub fn stream(
        &mut self,
        choices: &mut dyn Choices,
        now: u64,
        (from, to): (u32, u32),
        len: usize,
    ) -> StreamFate {
        let nth = self.count(from, to);
        let quality = self.quality(from, to);
        let mut ask = |site, odds| ask(choices, Key { site, who: from, whom: to, nth }, odds);
        // The chance that a segment is lost again and again, at most four times.
        let worst = quality.burst.map_or(0, |[.., loss]| loss / 2).max(quality.loss);
        let times = ask(Site::Retransmit, Odds { per_million: worst, most: 4 });
        self.struck.retransmitted += u64::from(times > 0);
        let again = nanos(RETRANSMIT_AFTER) * ((1 << times) - 1);
        let falls_silent = ask(Site::HalfOpen, Odds::chance(quality.half_open)) > 0;
        let is_reset = ask(Site::Reset, Odds::chance(quality.reset)) > 0;
        let takes = 2 * latency(&quality, ask(Site::Jitter, Odds::up_to(256))) + again;
        if falls_silent {
            self.troubles.entry((from, to)).or_default().void_until = now + nanos(HALF_OPEN_FOR);
        }
        if let Some(trouble) =
            self.troubles.get(&(from, to)).filter(|trouble| trouble.void_until > now)
        {
            self.struck.half_open += 1;
            return StreamFate::Vanishes(trouble.void_until);
        }
        if is_reset {
            self.struck.reset += 1;
            for way in [(from, to), (to, from)] {
                self.troubles.entry(way).or_default().reset_at = now;
            }
        }
        let waits = self.waits(now, (from, to), len, quality.bandwidth).unwrap_or(nanos(QUEUE_MAX));
        let link = self.link(from, to);
        let at = (now + waits + takes).max(self.links.stream_at[link] + 1);
        self.links.stream_at[link] = at;
        StreamFate::Arrives(at)
    }

    /// Whether the stream has been reset since this was sent on it.
    pub fn was_reset(&self, from: u32, to: u32, sent_at: u64) -> bool {
        // The table is empty unless streams are reset on purpose.
        !self.troubles.is_empty()
            && self
                .troubles
                .get(&(from, to))
                .is_some_and(|trouble| trouble.reset_at != 0 && sent_at <= trouble.reset_at)
    }

    /// What becomes of a segment of one of many connections: late where segments are lost, and it
    /// may be the end of the connection.
    pub fn segment(
        &mut self,
        choices: &mut dyn Choices,
        now: u64,
        (from, to): (u32, u32),
        len: usize,
    ) -> SegmentFate {
        let nth = self.count(from, to);
        let quality = self.quality(from, to);
        let mut ask = |site, odds| choices.choose(Key { site, who: from, whom: to, nth }, odds);
        let worst = quality.burst.map_or(0, |[.., loss]| loss / 2).max(quality.loss);
        let times = ask(Site::Retransmit, Odds { per_million: worst, most: 4 });
        self.struck.retransmitted += u64::from(times > 0);
        let falls_silent = ask(Site::HalfOpen, Odds::chance(quality.half_open)) > 0;
        let is_reset = ask(Site::Reset, Odds::chance(quality.reset)) > 0;
        let takes = latency(&quality, ask(Site::Jitter, Odds::up_to(256)));
        self.struck.half_open += u64::from(falls_silent);
        self.struck.reset += u64::from(is_reset);
        let waits = self.waits(now, (from, to), len, quality.bandwidth).unwrap_or(nanos(QUEUE_MAX));
        let again = nanos(RETRANSMIT_AFTER) * ((1 << times) - 1);
        SegmentFate { takes: waits + takes + again, falls_silent, is_reset }
    }

    /// The connection between two nodes is broken; the next is a new one.
    pub fn reset_stream(&mut self, from: u32, to: u32) {
        let link = self.link(from, to);
        self.links.stream_at[link] = 0;
    }

    /// How long a payload waits until a link of limited bandwidth has carried it and all before it;
    /// none if too much waits already.
    fn waits(
        &mut self,
        now: u64,
        way: (u32, u32),
        len: usize,
        bandwidth: Option<u32>,
    ) -> Option<u64> {
        let Some(bandwidth) = bandwidth else { return Some(0) };
        let trouble = self.troubles.entry(way).or_default();
        let before = trouble.busy_until.saturating_sub(now);
        self.struck.queued += u64::from(before > 0);
        if before > nanos(QUEUE_MAX) {
            return None;
        }
        let carries = len as u64 * 1_000_000_000 / u64::from(bandwidth.max(1));
        trouble.busy_until = now + before + carries;
        Some(before + carries)
    }

    fn is_lost(
        &mut self,
        quality: &Quality,
        from: u32,
        to: u32,
        ask: &mut impl FnMut(Site, Odds) -> u32,
    ) -> bool {
        let Some([enter, leave, loss]) = quality.burst else {
            return ask(Site::Loss, Odds::chance(quality.loss)) > 0;
        };
        let link = self.link(from, to);
        let was = self.links.is_bursting[link];
        let turns = if was {
            ask(Site::BurstLeave, Odds::chance(leave))
        } else {
            ask(Site::BurstEnter, Odds::chance(enter))
        };
        let is_bursting = was != (turns > 0);
        self.links.is_bursting[link] = is_bursting;
        let is_lost = is_bursting && ask(Site::BurstLoss, Odds::chance(loss)) > 0;
        self.struck.burst += u64::from(is_lost);
        is_lost || ask(Site::Loss, Odds::chance(quality.loss)) > 0
    }

    fn quality(&self, from: u32, to: u32) -> Quality {
        let is_of = |nodes: &Nodes, node| nodes.is_empty() || nodes.binary_search(&node).is_ok();
        let sound = Quality { delay: LATENCY_MIN, jitter: LATENCY_JITTER, ..Quality::default() };
        if self.ills.is_empty() {
            return sound;
        }
        let ills = self.ills.iter().filter(|ill| is_of(&ill.from, from) && is_of(&ill.to, to));
        ills.fold(sound, |quality, ill| quality.worse(&ill.quality))
    }

    fn count(&mut self, from: u32, to: u32) -> u32 {
        let link = self.link(from, to);
        let sent = &mut self.links.sent[link];
        *sent = sent.wrapping_add(1);
        *sent
    }

    fn link(&self, from: u32, to: u32) -> usize {
        let at = from as usize * self.nodes + to as usize;
        at & (self.links.sent.len() - 1)
    }
}

/// A choice, unless there is nothing to choose: on a sound link that is nearly always.
fn ask(choices: &mut dyn Choices, key: Key, odds: Odds) -> u32 {
    if odds.per_million == 0 || odds.most == 0 { 0 } else { choices.choose(key, odds) }
}

fn latency(quality: &Quality, jitter: u32) -> u64 {
    nanos(quality.delay) + nanos(quality.jitter) * u64::from(jitter) / 256
}

#[cfg(test)]
mod tests;
