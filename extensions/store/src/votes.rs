//! [`Votes`]: what the other replicas say that they have noted (docs/store.md §5.8), and what
//! their clocks read (docs/store.md §2.5).

use std::collections::BTreeMap;

use chinwag::protocol::time::{Instant, WallTime};
use chinwag::{NodeId, Timestamp};

use crate::limits::CLOCK_APART_MAX;
use crate::roster::{Absence, Heard};

/// The latest statement of each live replica. One replica has one vote, whatever it says.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    by_peer: BTreeMap<NodeId, (Instant, Heard)>,
    /// When the first statement of this run came.
    first: Option<Instant>,
}

impl Votes {
    /// Replaces what `peer` has said.
    pub(crate) fn hear(&mut self, peer: NodeId, at: Instant, heard: Heard) {
        self.by_peer.insert(peer, (at, heard));
    }

    /// Returns when the first statement of this run came; that is `now` if none did.
    pub(crate) fn first_heard(&mut self, now: Instant) -> Instant {
        *self.first.get_or_insert(now)
    }

    /// Forgets what others than `peers` have said.
    pub(crate) fn retain(&mut self, peers: &[NodeId]) {
        self.by_peer.retain(|peer, _| peers.contains(peer));
    }

    /// Returns how many name `node` in their rosters.
    pub(crate) fn naming(&self, node: NodeId) -> usize {
        self.by_peer.values().filter(|(_, heard)| heard.members.contains_key(&node)).count()
    }

    /// Returns the greatest generation that `needed` replicas have noted for `node` or exceeded,
    /// and the greatest horizon likewise.
    pub(crate) fn agreed(&self, node: NodeId, needed: usize) -> Absence {
        let (generations, horizons) = self.noted(node);
        let at = needed.max(1) - 1;
        Absence {
            generation: generations.iter().rev().nth(at).copied().unwrap_or_default(),
            horizon: horizons.iter().rev().nth(at).copied().unwrap_or_default(),
        }
    }

    /// Returns the least generation and the least horizon that `needed` replicas have noted for
    /// `node` or stayed below; `None` if fewer have said anything.
    pub(crate) fn at_most(&self, node: NodeId, needed: usize) -> Option<Absence> {
        let (generations, horizons) = self.noted(node);
        let at = needed.max(1) - 1;
        Some(Absence { generation: *generations.get(at)?, horizon: *horizons.get(at)? })
    }

    /// Returns the generations and the horizons that others have noted for `node`, each in rising
    /// order.
    fn noted(&self, node: NodeId) -> (Vec<u64>, Vec<Timestamp>) {
        let voters = self.by_peer.iter().filter(|(peer, _)| **peer != node);
        let absences: Vec<Absence> = voters.map(|(_, (_, heard))| heard.absence(node)).collect();
        let mut generations: Vec<u64> = absences.iter().map(|it| it.generation).collect();
        let mut horizons: Vec<_> = absences.iter().map(|it| it.horizon).collect();
        generations.sort_unstable();
        horizons.sort_unstable();
        (generations, horizons)
    }

    /// Returns the greatest floor that `needed` replicas have or exceed.
    pub(crate) fn floor(&self, needed: usize) -> Timestamp {
        let mut floors: Vec<_> = self.by_peer.values().map(|(_, heard)| heard.floor).collect();
        floors.sort_unstable_by(|one, other| other.cmp(one));
        floors.get(needed.max(1) - 1).copied().unwrap_or_default()
    }

    /// Returns whether the clocks of more than half of the replicas that have said anything are
    /// further than [`CLOCK_APART_MAX`] from `wall`.
    pub(crate) fn contradict(&self, now: Instant, wall: WallTime) -> bool {
        let max = u64::try_from(CLOCK_APART_MAX.as_nanos()).unwrap_or(u64::MAX);
        let is_far = |(at, heard): &&(Instant, Heard)| {
            let since = u64::try_from(now.since(*at).as_nanos()).unwrap_or(u64::MAX);
            let theirs = heard.wall.as_nanos().saturating_add(since);
            theirs.abs_diff(wall.as_nanos()) > max
        };
        self.by_peer.values().filter(is_far).count() * 2 > self.by_peer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(absence: Absence, wall: u64) -> Heard {
        let members = BTreeMap::from([(NodeId::new(7), absence)]);
        Heard { members, wall: WallTime::from_nanos(wall), ..Heard::default() }
    }

    fn absence(generation: u64, horizon: u64) -> Absence {
        Absence { generation, horizon: Timestamp::from_raw(horizon) }
    }

    /// One vote each: a single replica moves nothing, however great what it says is.
    #[test]
    fn one_replica_has_one_vote() {
        let mut votes = Votes::default();
        let (node, at) = (NodeId::new(7), Instant::from_nanos(0));
        for _ in 0..5 {
            votes.hear(NodeId::new(1), at, heard(absence(u64::MAX, u64::MAX), 0));
        }
        assert_eq!(votes.agreed(node, 2), Absence::default());
        votes.hear(NodeId::new(2), at, heard(absence(3, 30), 0));
        votes.hear(NodeId::new(3), at, heard(absence(2, 40), 0));
        assert_eq!(votes.agreed(node, 2), absence(3, 40));
        assert_eq!(votes.agreed(node, 3), absence(2, 30));
        assert_eq!(votes.agreed(node, 4), Absence::default());
        assert_eq!(votes.at_most(node, 2), Some(absence(3, 40)));
        assert_eq!(votes.at_most(node, 4), None, "too few have said anything");
        votes.hear(node, at, heard(absence(9, 90), 0));
        assert_eq!(votes.agreed(node, 4), Absence::default(), "nobody votes on itself");
        assert_eq!(votes.naming(node), 4);
        votes.retain(&[NodeId::new(2)]);
        assert_eq!((votes.naming(node), votes.agreed(node, 1)), (1, absence(3, 30)));
    }

    /// docs/store.md §5.8.
    #[test]
    fn a_floor_is_raised_by_many() {
        let mut votes = Votes::default();
        for (peer, floor) in [(1, u64::MAX), (2, 5), (3, 7)] {
            let floor = Timestamp::from_raw(floor);
            let heard = Heard { floor, ..Heard::default() };
            votes.hear(NodeId::new(peer), Instant::from_nanos(0), heard);
        }
        assert_eq!(votes.floor(2), Timestamp::from_raw(7));
        assert_eq!(votes.floor(3), Timestamp::from_raw(5));
        assert_eq!(votes.floor(4), Timestamp::default());
    }

    /// docs/store.md §2.5.
    #[test]
    fn a_clock_is_wrong_if_most_others_are_far_from_it() {
        let mut votes = Votes::default();
        let at = Instant::from_nanos(0);
        let apart = u64::try_from(CLOCK_APART_MAX.as_nanos()).expect("hours");
        let now = 10 * apart;
        assert!(!votes.contradict(at, WallTime::from_nanos(now)), "nobody is asked");
        for (peer, wall) in [(1, now), (2, now + apart), (3, u64::MAX), (4, 0)] {
            votes.hear(NodeId::new(peer), at, heard(Absence::default(), wall));
        }
        assert!(!votes.contradict(at, WallTime::from_nanos(now)), "two of four are no majority");
        assert!(votes.contradict(at, WallTime::from_nanos(now - apart / 2)), "three of four");
        assert!(votes.contradict(at, WallTime::from_nanos(now * 2)), "a clock in the future");
        let later = Instant::from_nanos(apart);
        assert!(!votes.contradict(later, WallTime::from_nanos(now + apart)), "clocks go on");
    }
}
