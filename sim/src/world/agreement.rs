//! Whether the nodes agree on who is there, as seen from outside.

use super::World;
use crate::checker::groups::groups;
use crate::checker::views::{id, rank};

impl World {
    /// Why the views of the well are not the truth, if they are not: every well node believes every
    /// other well one alive, in its present life, and nobody else to be there.
    pub fn unconverged(&self) -> Option<String> {
        let well = || (0..self.count()).filter(|&node| self.hosts[node as usize].is_well());
        let expected = well().count();
        for observer in well() {
            let live = self.hosts[observer as usize].machine.as_ref()?.live_count();
            if live + 1 != expected {
                return Some(format!(
                    "node {observer} sees {live} of {} others",
                    expected.saturating_sub(1)
                ));
            }
        }
        for (observer, subject) in
            well().flat_map(|a| well().map(move |b| (a, b))).filter(|(a, b)| a != b)
        {
            let truth = self.hosts[subject as usize].machine.as_ref()?.local();
            let mut got = self.hosts[observer as usize].machine.as_ref()?.get(id(subject));
            if let (Some(got), Some(mutation)) = (&mut got, &self.mutation) {
                mutation.shows(observer, self.now, got);
            }
            // What its events have said, if they are followed: its user has nothing else.
            let got_rank = got.as_ref().map(rank);
            let seen = if self.setup.checks { self.views.of(observer, subject) } else { got_rank };
            let expected = rank(&truth);
            if seen != Some(expected) {
                return Some(format!(
                    "node {observer} holds node {subject} {seen:?}, which is {expected:?}"
                ));
            }
            if got.is_none_or(|got| got.metadata != truth.metadata || got.addr != truth.addr) {
                return Some(format!("node {observer} has old details of node {subject}"));
            }
        }
        None
    }

    /// How many others every node sees, all added up: n (n - 1) where n nodes see each other.
    pub fn sights(&self) -> u64 {
        let machines = self.hosts.iter().filter_map(|host| host.machine.as_ref());
        machines.map(|machine| machine.live_count() as u64).sum()
    }

    /// Whether the well can find each other at all: counting whoever knows the present address of
    /// another, from its seeds or from its table, as joined to it, they are one group. Two
    /// nodes that both came back elsewhere, with nobody left who knew them, are not;
    /// nor is anybody while the address of some node does not reach it.
    pub fn can_meet(&self) -> bool {
        if self.network.addresses.has_strays() {
            return false;
        }
        let seeds = self.seeds();
        let knows = |a: u32, b: u32| {
            let at = self.network.addresses.home(b, self.hosts[b as usize].port);
            let machine = self.hosts[a as usize].machine.as_ref();
            let known = machine.and_then(|machine| machine.get(id(b)));
            seeds.contains(&at) || known.is_some_and(|known| known.addr == at)
        };
        groups(&self.well(), knows).len() <= 1
    }

    /// The groups of the well that do not see each other: one, if all have met.
    pub fn groups(&self) -> Vec<Vec<u32>> {
        groups(&self.well(), |a, b| {
            let present = self.hosts[b as usize].machine.as_ref().map(|of| of.local().epoch);
            let machine = self.hosts[a as usize].machine.as_ref();
            let seen = machine.and_then(|machine| machine.get(id(b)));
            seen.is_some_and(|seen| seen.state.is_live() && Some(seen.epoch) == present)
        })
    }

    fn well(&self) -> Vec<u32> {
        (0..self.count()).filter(|&node| self.hosts[node as usize].is_well()).collect()
    }
}
