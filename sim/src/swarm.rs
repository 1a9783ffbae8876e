//! The plan of a seed: a random subset of fault families, each with intensities of its own.

use crate::choices::{Choices, Key, Odds, Site};
use crate::clock::nanos;
use crate::fault::{Fault, MILD_PAUSE_MAX, Nodes, Plan, Quality, Timed};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// Before this nothing goes wrong: the cluster may form.
const QUIET_START: u64 = 2 * SECOND;
/// A cluster keeps at least so many nodes that come back.
const STAYING_MIN: usize = 2;

/// Draws the faults of a run over `nodes` nodes that end by `span` nanoseconds, apart from those
/// that never end.
pub fn plan(choices: &mut dyn Choices, nodes: usize, span: u64) -> Plan {
    let span = span.max(4 * SECOND);
    let mut draw =
        Draw { choices, nodes, span, family: 0, nth: 0, gone: Vec::new(), faults: Vec::new() };
    draw.links();
    draw.cuts();
    draw.stops();
    draw.crashes();
    draw.clocks();
    draw.users();
    draw.streams();
    draw.names_and_offsets();
    Plan { faults: draw.faults }
}

/// Draws mild faults alone: what a healthy network and healthy hosts do now and then. None of them
/// excuses a death, and none keeps a view from the truth ([`Plan::is_mild`]).
pub fn mild(choices: &mut dyn Choices, nodes: usize, span: u64) -> Plan {
    let span = span.max(4 * SECOND);
    let mut draw =
        Draw { choices, nodes, span, family: 0, nth: 0, gone: Vec::new(), faults: Vec::new() };
    draw.mild_links();
    draw.mild_hosts();
    Plan { faults: draw.faults }
}

struct Draw<'a> {
    choices: &'a mut dyn Choices,
    nodes: usize,
    span: u64,
    family: u32,
    nth: u32,
    /// Nodes that do not come back.
    gone: Vec<u32>,
    faults: Vec<Timed>,
}

impl Draw<'_> {
    /// Whether the next family is in this plan, and how many faults of it: 0 is none.
    fn family(&mut self, per_million: u32, most: u32) -> u32 {
        self.family += 1;
        self.nth = 0;
        let key = Key { site: Site::Family, who: self.family, whom: 0, nth: 0 };
        self.choices.choose(key, Odds { per_million, most })
    }

    /// Uniform in `least..=most`.
    fn number(&mut self, least: u64, most: u64) -> u64 {
        self.nth += 1;
        let key = Key { site: Site::Plan, who: self.family, whom: 0, nth: self.nth };
        // Exact where the range is small; a grid of so many points where it is large.
        let grid = (most - least).min(1 << 20);
        let step = self.choices.choose(key, Odds::up_to(u32::try_from(grid).unwrap_or(1 << 20)));
        least + (most - least) / grid.max(1) * u64::from(step)
    }

    /// Between `least` and `most`, all magnitudes alike.
    fn scale(&mut self, least: u64, most: u64) -> u64 {
        let doublings = u64::from((most / least.max(1)).max(1).ilog2());
        let shift = self.number(0, doublings);
        let low = least << shift;
        self.number(low, (low * 2).min(most.max(low)))
    }

    fn parts(&mut self, least: u64, most: u64) -> u32 {
        u32::try_from(self.scale(least, most)).unwrap_or(u32::MAX)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.number(0, count - 1) == count - 1
    }

    fn node(&mut self) -> u32 {
        let last = self.nodes as u64 - 1;
        u32::try_from(self.number(0, last)).unwrap_or(0)
    }

    /// Some nodes, at least one and not all.
    fn some(&mut self) -> Nodes {
        let count = self.number(1, (self.nodes as u64 - 1).max(1));
        let mut nodes: Nodes = (0..count).map(|_| self.node()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn others(&self, of: &Nodes) -> Nodes {
        let all = 0..u32::try_from(self.nodes).unwrap_or(u32::MAX);
        all.filter(|node| of.binary_search(node).is_err()).collect()
    }

    fn push(&mut self, shortest: u64, longest: u64, fault: Fault) {
        let at = self.number(QUIET_START, self.span * 8 / 10);
        let lasts = self.scale(shortest, longest);
        // A third lasts until the calm begins, so that the calm has something to heal.
        let until =
            if self.one_in(3) { self.span } else { at.saturating_add(lasts).min(self.span) };
        self.faults.push(Timed { at, until, fault });
    }

    /// Begins and never ends: the node stays outside the healthy core. Not if too few would stay.
    fn push_for_ever(&mut self, node: u32, fault: Fault) {
        if self.gone.contains(&node) || self.nodes - self.gone.len() <= STAYING_MIN {
            return;
        }
        self.gone.push(node);
        let at = self.number(QUIET_START, self.span * 8 / 10);
        self.faults.push(Timed { at, until: u64::MAX, fault });
    }

    fn link(&mut self, quality: Quality) {
        let is_everywhere = self.one_in(2);
        let (from, to) =
            if is_everywhere { (Vec::new(), Vec::new()) } else { (self.some(), self.some()) };
        self.push(SECOND, self.span, Fault::Link { from, to, quality });
    }

    fn links(&mut self) {
        for _ in 0..self.family(400_000, 2) {
            let loss = self.parts(1_000, 400_000);
            self.link(Quality { loss, ..Quality::default() });
        }
        for _ in 0..self.family(200_000, 2) {
            let burst = [
                self.parts(1_000, 50_000),
                self.parts(20_000, 300_000),
                self.parts(500_000, 1_000_000),
            ];
            self.link(Quality { burst: Some(burst), ..Quality::default() });
        }
        for _ in 0..self.family(300_000, 2) {
            let delay = std::time::Duration::from_nanos(self.scale(MILLI, 800 * MILLI));
            let jitter = std::time::Duration::from_nanos(self.scale(MILLI, 800 * MILLI));
            self.link(Quality { delay, jitter, ..Quality::default() });
        }
        for _ in 0..self.family(300_000, 1) {
            let duplicate = self.parts(1_000, 400_000);
            self.link(Quality { duplicate, ..Quality::default() });
        }
        for _ in 0..self.family(300_000, 1) {
            let reorder = self.parts(1_000, 400_000);
            self.link(Quality { reorder, ..Quality::default() });
        }
        // Rare, for it switches the oracles of identity off: without a key a flipped bit is a lie.
        for _ in 0..self.family(60_000, 1) {
            let corrupt = self.parts(1_000, 100_000);
            self.link(Quality { corrupt, ..Quality::default() });
        }
        for _ in 0..self.family(200_000, 1) {
            let truncate = self.parts(1_000, 200_000);
            self.link(Quality { truncate, ..Quality::default() });
        }
        for _ in 0..self.family(150_000, 1) {
            let mtu = usize::try_from(self.scale(60, 1_400)).ok();
            self.link(Quality { mtu, ..Quality::default() });
        }
        for _ in 0..self.family(150_000, 1) {
            self.link(Quality { no_datagrams: true, ..Quality::default() });
        }
    }

    fn mild_links(&mut self) {
        for _ in 0..self.family(700_000, 2) {
            let loss = self.parts(1_000, 50_000).min(50_000);
            self.link(Quality { loss, ..Quality::default() });
        }
        for _ in 0..self.family(500_000, 1) {
            let delay = std::time::Duration::from_nanos(self.scale(MILLI, 20 * MILLI));
            let jitter = std::time::Duration::from_nanos(self.scale(MILLI, 10 * MILLI));
            self.link(Quality { delay, jitter, ..Quality::default() });
        }
        for _ in 0..self.family(500_000, 1) {
            let duplicate = self.parts(1_000, 200_000);
            self.link(Quality { duplicate, ..Quality::default() });
        }
        for _ in 0..self.family(500_000, 1) {
            let reorder = self.parts(1_000, 200_000);
            self.link(Quality { reorder, ..Quality::default() });
        }
    }

    fn mild_hosts(&mut self) {
        for _ in 0..self.family(500_000, 2) {
            let node = self.node();
            let size = i64::try_from(self.scale(1, 60_000)).unwrap_or(0);
            let step_ms = if self.one_in(2) { size } else { -size };
            let drift = i64::try_from(self.scale(1, 500)).unwrap_or(0);
            let drift_ppm = if self.one_in(2) { drift } else { -drift };
            self.push(SECOND, self.span, Fault::Clock { node, step_ms, drift_ppm });
        }
        for _ in 0..self.family(700_000, 1) {
            let node = self.node();
            let at = self.number(QUIET_START, self.span * 8 / 10);
            let lasts = self.scale(50 * MILLI, nanos(MILD_PAUSE_MAX)).min(nanos(MILD_PAUSE_MAX));
            let until = (at + lasts).min(self.span);
            self.faults.push(Timed { at, until, fault: Fault::FullPause(node) });
        }
    }

    fn cuts(&mut self) {
        for _ in 0..self.family(350_000, 3) {
            let from = self.some();
            let to = self.others(&from);
            self.push(200 * MILLI, self.span, Fault::Cut { from, to, one_way: false });
        }
        for _ in 0..self.family(350_000, 3) {
            let (from, to) = if self.one_in(2) {
                let from = self.some();
                let to = self.others(&from);
                (from, to)
            } else {
                (vec![self.node()], vec![self.node()])
            };
            if from != to {
                self.push(200 * MILLI, self.span, Fault::Cut { from, to, one_way: true });
            }
        }
    }

    fn stops(&mut self) {
        for _ in 0..self.family(300_000, 3) {
            let node = self.node();
            if self.one_in(8) {
                self.push_for_ever(node, Fault::FullPause(node));
            } else {
                self.push(50 * MILLI, self.span / 2, Fault::FullPause(node));
            }
        }
        for _ in 0..self.family(300_000, 3) {
            let node = self.node();
            if self.one_in(8) {
                self.push_for_ever(node, Fault::IoBlock(node));
            } else {
                self.push(50 * MILLI, self.span / 2, Fault::IoBlock(node));
            }
        }
    }

    fn crashes(&mut self) {
        for _ in 0..self.family(500_000, 4) {
            let node = self.node();
            let (moves, keeps_clock) = (self.one_in(4), self.one_in(2));
            let fault = Fault::Crash { node, moves, keeps_clock };
            if self.one_in(4) {
                self.push_for_ever(node, fault);
            } else {
                self.push(MILLI, self.span / 2, fault);
            }
        }
    }

    fn clocks(&mut self) {
        for _ in 0..self.family(400_000, 3) {
            let node = self.node();
            let size = i64::try_from(self.scale(1, 3_600_000)).unwrap_or(0);
            let step_ms = if self.one_in(2) { size } else { -size };
            let drift = i64::try_from(self.scale(1, 2_000)).unwrap_or(0);
            let drift_ppm = if self.one_in(2) { drift } else { -drift };
            self.push(SECOND, self.span, Fault::Clock { node, step_ms, drift_ppm });
        }
    }

    fn users(&mut self) {
        for _ in 0..self.family(250_000, 2) {
            let node = self.node();
            self.push_for_ever(node, Fault::Leave(node));
        }
        for _ in 0..self.family(500_000, 12) {
            let node = self.node();
            let fault = if self.one_in(2) { Fault::Metadata(node) } else { Fault::Broadcast(node) };
            self.push(MILLI, SECOND, fault);
        }
        for _ in 0..self.family(300_000, 3) {
            let node = self.node();
            self.push(SECOND, self.span, Fault::EarlyTimers(node));
        }
    }

    /// After the families above, so that the plans of seeds kept from before them keep their
    /// numbers.
    fn streams(&mut self) {
        for _ in 0..self.family(200_000, 1) {
            let bandwidth = Some(self.parts(2_000, 200_000));
            self.link(Quality { bandwidth, ..Quality::default() });
        }
        for _ in 0..self.family(200_000, 1) {
            let half_open = self.parts(10_000, 500_000);
            self.link(Quality { half_open, ..Quality::default() });
        }
        for _ in 0..self.family(200_000, 1) {
            let reset = self.parts(10_000, 800_000);
            self.link(Quality { reset, ..Quality::default() });
        }
        for _ in 0..self.family(200_000, 2) {
            let from = self.some();
            let to = self.others(&from);
            let every = std::time::Duration::from_nanos(self.scale(10 * MILLI, 16 * SECOND));
            let one_way = self.one_in(3);
            self.push(SECOND, self.span, Fault::Flap { from, to, one_way, every });
        }
        for _ in 0..self.family(200_000, 2) {
            let node = self.node();
            let every = std::time::Duration::from_nanos(self.scale(MILLI, 1_000 * MILLI));
            self.push(200 * MILLI, self.span / 2, Fault::SlowReader { node, every });
        }
    }

    fn names_and_offsets(&mut self) {
        for _ in 0..self.family(250_000, 3) {
            let node = self.node();
            let size = i64::try_from(self.scale(1, 3_600_000)).unwrap_or(0);
            let ms = if self.one_in(2) { size } else { -size };
            self.faults.push(Timed { at: 0, until: u64::MAX, fault: Fault::Offset { node, ms } });
        }
        for _ in 0..self.family(250_000, 3) {
            let node = self.node();
            // Some from before the cluster has formed.
            let fault = Fault::LookupFails(node);
            if self.one_in(2) {
                let until = self.scale(100 * MILLI, self.span);
                self.faults.push(Timed { at: 0, until, fault });
            } else {
                self.push(SECOND, self.span, fault);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::{Seeded, Tape};
    use crate::fault::FAMILIES;
    use std::collections::BTreeSet;

    #[test]
    fn benign_choices_plan_nothing() {
        assert_eq!(plan(&mut Tape::default(), 5, 60 * SECOND), Plan::default());
    }

    #[test]
    fn every_family_comes_up_and_ends_in_time() {
        let mut families = BTreeSet::new();
        for seed in 0..300 {
            let plan = plan(&mut Seeded::new(seed), 5, 60 * SECOND);
            for timed in &plan.faults {
                families.insert(timed.fault.family());
                let is_from_start =
                    matches!(timed.fault, Fault::Offset { .. } | Fault::LookupFails(_));
                assert!(timed.at >= QUIET_START || is_from_start, "{timed:?}");
                assert!(timed.at < timed.until, "{timed:?}");
                assert!(timed.until <= 60 * SECOND || timed.until == u64::MAX, "{timed:?}");
                assert!(timed.fault.node().is_none_or(|node| node < 5));
            }
        }
        assert_eq!(families, BTreeSet::from(FAMILIES));
    }
}
