//! The virtual network: what becomes of each payload on its way.

use std::time::Duration;

use crate::choices::{Choices, Key, Odds, Site};
use crate::clock::nanos;
use crate::fault::{Fault, Nodes, Quality};

/// The least time that a payload takes on a sound link, and what is added to it at most by chance: one local network.
pub const LATENCY_MIN: Duration = Duration::from_micros(250);
/// See [`LATENCY_MIN`].
pub const LATENCY_JITTER: Duration = Duration::from_micros(250);
/// A segment of a stream that is lost is sent again after this time, doubled each time (TCP's usual least).
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);
/// Tables of links are exact up to this many links; beyond, links share cells, which changes only which chance they meet.
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
    /// Stopped by a cut.
    pub cut: u64,
    /// Segments of streams sent again.
    pub retransmitted: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    sent: u32,
    is_bursting: bool,
    /// When the last payload of the stream arrives: the next may not overtake it.
    stream_at: u64,
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
}

/// The network between `nodes` nodes.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
    links: Vec<Link>,
    ills: Vec<Ill>,
    cuts: Vec<Cut>,
    /// How often each family has struck.
    pub struck: Struck,
}

impl Network {
    /// A sound network.
    pub fn new(nodes: usize) -> Self {
        let links = (nodes * nodes).min(LINKS_MAX).next_power_of_two();
        Self {
            nodes,
            links: vec![Link::default(); links],
            ills: Vec::new(),
            cuts: Vec::new(),
            struck: Struck::default(),
        }
    }

    /// The fault with this number begins, if it is one of the network.
    pub fn begin(&mut self, number: usize, fault: &Fault) {
        match fault {
            Fault::Link { from, to, quality } => {
                self.ills.push(Ill { fault: number, from: from.clone(), to: to.clone(), quality: *quality });
            }
            Fault::Cut { from, to, one_way } => {
                self.cuts.push(Cut { fault: number, from: from.clone(), to: to.clone(), one_way: *one_way });
            }
            _ => {}
        }
    }

    /// The fault with this number ends.
    pub fn end(&mut self, number: usize) {
        self.ills.retain(|ill| ill.fault != number);
        self.cuts.retain(|cut| cut.fault != number);
    }

    /// Whether nothing crosses from one node to the other at present.
    pub fn is_cut(&self, from: u32, to: u32) -> bool {
        let crosses =
            |a: &Nodes, b: &Nodes, from, to| a.binary_search(&from).is_ok() && b.binary_search(&to).is_ok();
        self.cuts.iter().any(|cut| {
            crosses(&cut.from, &cut.to, from, to) || (!cut.one_way && crosses(&cut.to, &cut.from, from, to))
        })
    }

    /// What becomes of a datagram of `len` bytes: none, one, or two copies arrive.
    pub fn datagram(
        &mut self,
        choices: &mut dyn Choices,
        from: u32,
        to: u32,
        len: usize,
    ) -> [Option<Fate>; 2] {
        let nth = self.count(from, to);
        if self.is_cut(from, to) {
            self.struck.cut += 1;
            return [None; 2];
        }
        let quality = self.quality(from, to);
        let mut ask = |site, odds| choices.choose(Key { site, who: from, whom: to, nth }, odds);
        if quality.no_datagrams || quality.mtu.is_some_and(|mtu| len > mtu) {
            self.struck.too_long += 1;
            return [None; 2];
        }
        if self.is_lost(&quality, from, to, &mut ask) {
            self.struck.lost += 1;
            return [None; 2];
        }
        let late = ask(Site::Reorder, Odds { per_million: quality.reorder, most: 200 });
        self.struck.reordered += u64::from(late > 0);
        let bits = u32::try_from(len * 8).unwrap_or(u32::MAX);
        let flips = ask(Site::Corrupt, Odds { per_million: quality.corrupt, most: bits }).checked_sub(1);
        let cut_off = ask(Site::Truncate, Odds { per_million: quality.truncate, most: bits / 8 });
        let cut_to = (cut_off > 0).then(|| len - cut_off as usize);
        self.struck.corrupted += u64::from(flips.is_some());
        self.struck.truncated += u64::from(cut_to.is_some());
        let takes = latency(&quality, ask(Site::Jitter, Odds::up_to(256)));
        let first = Fate { takes: takes + u64::from(late) * 1_000_000, flips, cut_to };
        let again = ask(Site::Duplicate, Odds { per_million: quality.duplicate, most: 50 });
        self.struck.duplicated += u64::from(again > 0);
        let second = Fate { takes: takes + u64::from(again) * 1_000_000, flips: None, cut_to: None };
        [Some(first), (again > 0).then_some(second)]
    }

    /// When a stream payload arrives that is sent at `now`: in order, and late where segments are lost.
    pub fn stream(&mut self, choices: &mut dyn Choices, now: u64, from: u32, to: u32) -> u64 {
        let nth = self.count(from, to);
        let quality = self.quality(from, to);
        let mut ask = |site, odds| choices.choose(Key { site, who: from, whom: to, nth }, odds);
        // The chance that a segment is lost again and again, at most four times.
        let worst = quality.burst.map_or(0, |[.., loss]| loss / 2).max(quality.loss);
        let times = ask(Site::Retransmit, Odds { per_million: worst, most: 4 });
        self.struck.retransmitted += u64::from(times > 0);
        let again = nanos(RETRANSMIT_AFTER) * ((1 << times) - 1);
        let takes = 2 * latency(&quality, ask(Site::Jitter, Odds::up_to(256))) + again;
        let link = self.link(from, to);
        let at = (now + takes).max(link.stream_at + 1);
        link.stream_at = at;
        at
    }

    /// How long a segment of one of many connections takes: late where segments are lost.
    pub fn segment(&mut self, choices: &mut dyn Choices, from: u32, to: u32) -> u64 {
        let nth = self.count(from, to);
        let quality = self.quality(from, to);
        let mut ask = |site, odds| choices.choose(Key { site, who: from, whom: to, nth }, odds);
        let worst = quality.burst.map_or(0, |[.., loss]| loss / 2).max(quality.loss);
        let times = ask(Site::Retransmit, Odds { per_million: worst, most: 4 });
        self.struck.retransmitted += u64::from(times > 0);
        latency(&quality, ask(Site::Jitter, Odds::up_to(256))) + nanos(RETRANSMIT_AFTER) * ((1 << times) - 1)
    }

    /// The connection between two nodes is broken; the next is a new one.
    pub fn reset_stream(&mut self, from: u32, to: u32) {
        self.link(from, to).stream_at = 0;
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
        let was = self.link(from, to).is_bursting;
        let turns = if was {
            ask(Site::BurstLeave, Odds::chance(leave))
        } else {
            ask(Site::BurstEnter, Odds::chance(enter))
        };
        let is_bursting = was != (turns > 0);
        self.link(from, to).is_bursting = is_bursting;
        let is_lost = is_bursting && ask(Site::BurstLoss, Odds::chance(loss)) > 0;
        self.struck.burst += u64::from(is_lost);
        is_lost || ask(Site::Loss, Odds::chance(quality.loss)) > 0
    }

    fn quality(&self, from: u32, to: u32) -> Quality {
        let is_of = |nodes: &Nodes, node| nodes.is_empty() || nodes.binary_search(&node).is_ok();
        let sound = Quality { delay: LATENCY_MIN, jitter: LATENCY_JITTER, ..Quality::default() };
        let ills = self.ills.iter().filter(|ill| is_of(&ill.from, from) && is_of(&ill.to, to));
        ills.fold(sound, |quality, ill| quality.worse(&ill.quality))
    }

    fn count(&mut self, from: u32, to: u32) -> u32 {
        let link = self.link(from, to);
        link.sent = link.sent.wrapping_add(1);
        link.sent
    }

    fn link(&mut self, from: u32, to: u32) -> &mut Link {
        let at = from as usize * self.nodes + to as usize;
        let cells = self.links.len();
        &mut self.links[at & (cells - 1)]
    }
}

fn latency(quality: &Quality, jitter: u32) -> u64 {
    nanos(quality.delay) + nanos(quality.jitter) * u64::from(jitter) / 256
}

#[cfg(test)]
mod tests;
