//! The odd swarm: names, addresses, planes and clocks as a tidy network does not have them, with
//! crashes and users among them.

use std::time::Duration;

use super::{Draw, MILLI, SECOND};
use crate::choices::Choices;
use crate::fault::{Addresses, Answers, Fault, ODD_FAMILIES, Plan, Quality, Timed};

/// The number of the first family that only this swarm has.
const FAMILY_FIRST: u32 = 100;
/// Families that are not drawn, because a defect is open that they find: each has its entry in
/// `sim/tests/expected_failures/list.txt`, and is drawn again once that entry is gone.
pub const NOT_DRAWN: [&str; 0] = [];

/// Draws the faults of a run over `nodes` nodes that end by `span` nanoseconds, apart from those
/// that never end.
pub fn plan(choices: &mut dyn Choices, nodes: usize, span: u64) -> Plan {
    let span = span.max(4 * SECOND);
    let mut draw = Draw {
        choices,
        nodes,
        span,
        family: FAMILY_FIRST,
        nth: 0,
        gone: Vec::new(),
        faults: Vec::new(),
    };
    draw.planes();
    draw.names();
    draw.addresses();
    draw.suspends();
    draw.crashes();
    draw.users();
    draw.restarts_behind();
    draw.faults.retain(|timed| !NOT_DRAWN.contains(&timed.fault.family()));
    Plan { faults: draw.faults }
}

/// The families of which the odd swarm draws faults.
pub fn odd_families() -> Vec<&'static str> {
    ODD_FAMILIES.into_iter().filter(|family| !NOT_DRAWN.contains(family)).collect()
}

impl Draw<'_> {
    fn planes(&mut self) {
        let qualities = [
            Quality { no_streams: true, ..Quality::default() },
            Quality { no_datagrams: true, ..Quality::default() },
            Quality { opens_lost: true, ..Quality::default() },
            Quality { opens_refused: true, ..Quality::default() },
            Quality { proxy: true, ..Quality::default() },
        ];
        for quality in qualities {
            for _ in 0..self.family(250_000, 2) {
                self.link(quality);
            }
        }
        for _ in 0..self.family(250_000, 1) {
            let reset = self.parts(10_000, 300_000);
            self.link(Quality { reset, ..Quality::default() });
        }
    }

    fn names(&mut self) {
        for kind in 0..5 {
            for _ in 0..self.family(200_000, 2) {
                let node = self.node();
                let answers = match kind {
                    0 => Answers::Partial,
                    1 => Answers::Changing,
                    2 => Answers::Foreign,
                    3 => Answers::Slow(Duration::from_nanos(self.scale(MILLI, 20 * SECOND))),
                    _ => Answers::Never,
                };
                // Some from before the cluster has formed.
                let fault = Fault::Names { node, answers };
                if self.one_in(2) {
                    let until = self.scale(100 * MILLI, self.span);
                    self.faults.push(Timed { at: 0, until, fault });
                } else {
                    self.push(SECOND, self.span, fault);
                }
            }
        }
    }

    fn addresses(&mut self) {
        for _ in 0..self.family(200_000, 3) {
            let node = self.node();
            self.faults.push(Timed { at: 0, until: u64::MAX, fault: Fault::Ipv6(node) });
        }
        for kind in 0..4 {
            for _ in 0..self.family(250_000, 2) {
                let node = self.node();
                let odd = match kind {
                    0 => Addresses::Nat(Duration::from_nanos(self.scale(SECOND, 60 * SECOND))),
                    1 => Addresses::Other,
                    2 => Addresses::Mapped,
                    _ => Addresses::Moves,
                };
                self.push(SECOND, self.span, Fault::Addresses { node, odd });
            }
        }
        for _ in 0..self.family(200_000, 1) {
            let (node, by) = (self.node(), self.node());
            if node != by {
                self.push(SECOND, self.span, Fault::TakeOver { node, by });
            }
        }
    }

    /// After the families above, so that the plans of seeds kept from before keep their numbers.
    fn restarts_behind(&mut self) {
        for _ in 0..self.family(300_000, 2) {
            let node = self.node();
            let behind = Duration::from_millis(self.scale(1, 3_600_000));
            self.push(MILLI, self.span / 2, Fault::RestartBehind { node, behind });
        }
    }

    fn suspends(&mut self) {
        for _ in 0..self.family(400_000, 2) {
            let (node, wall_stops) = (self.node(), self.one_in(2));
            self.push(50 * MILLI, self.span / 2, Fault::Suspend { node, wall_stops });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::choices::{Seeded, Tape};

    #[test]
    fn benign_choices_plan_nothing() {
        assert_eq!(plan(&mut Tape::default(), 5, 60 * SECOND), Plan::default());
    }

    #[test]
    fn every_family_comes_up_unless_it_is_listed_and_plans_are_read_as_written() {
        let mut families = BTreeSet::new();
        for seed in 0..300 {
            let plan = plan(&mut Seeded::new(seed), 5, 60 * SECOND);
            families.extend(plan.faults.iter().map(|timed| timed.fault.family()));
            let json = serde_json::to_string(&plan).expect("plans are JSON");
            assert_eq!(Plan::parse(&json, 5), Ok(plan), "{json}");
        }
        for family in ODD_FAMILIES {
            assert_ne!(families.contains(family), NOT_DRAWN.contains(&family), "{family}");
        }
    }
}
