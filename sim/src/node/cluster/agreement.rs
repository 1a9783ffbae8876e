//! Whether the views of the nodes are the truth, and whether they can become it.

use std::net::SocketAddr;

use chinwag::{Node, State};

use super::{Cluster, SEEDS};
use crate::checker::groups::groups;
use crate::checker::views::{id, rank};
use crate::host::FIRST_PORT;

impl Cluster {
    /// Why the views of the well are not the truth, if they are not.
    pub(crate) fn unconverged(&self) -> Option<String> {
        let well = self.well();
        let nodes: Vec<(u32, &Node)> =
            well.iter().filter_map(|&host| Some((host, self.node(host)?))).collect();
        for &(observer, node) in &nodes {
            let view = node.members();
            if view.members().len() + 1 != nodes.len() {
                let (sees, others) = (view.members().len(), nodes.len().saturating_sub(1));
                return Some(format!("node {observer} sees {sees} of {others} others"));
            }
            for &(subject, other) in nodes.iter().filter(|(subject, _)| *subject != observer) {
                let others = other.members();
                let truth = others.local();
                let Some(seen) = view.get(id(subject)) else {
                    return Some(format!("node {observer} does not see node {subject}"));
                };
                let mut seen = seen.clone();
                if let Some(mutation) = &self.mutation {
                    mutation.shows(observer, self.engine.now(), &mut seen);
                }
                let seen = &seen;
                let is_same = seen.metadata == truth.metadata && seen.addr == truth.addr;
                if rank(seen) != rank(truth) || seen.state != State::Alive || !is_same {
                    return Some(format!("node {observer} holds {seen:?}, which is {truth:?}"));
                }
            }
        }
        None
    }

    /// Whether the well can find each other at all: counting whoever knows, or has known, the
    /// present address of another as joined to it, they are one group. Nobody can while the address
    /// of some node does not reach it.
    pub(crate) fn can_meet(&self) -> bool {
        if self.engine.with(|state| state.network.addresses.has_strays()) {
            return false;
        }
        let well = self.well();
        let at_first = |seed| self.engine.addr_at(seed, FIRST_PORT);
        let seeds: Vec<SocketAddr> = (0..self.hosts().min(SEEDS)).map(at_first).collect();
        let at = |host: u32| {
            self.engine.addr_at(host, FIRST_PORT + self.sites[host as usize].port_offset)
        };
        let knows = |a: u32, b: u32| {
            let process = self.sites[a as usize].process.as_ref();
            let known = process.and_then(|process| process.known.get(&b));
            seeds.contains(&at(b)) || known == Some(&at(b))
        };
        groups(&well, knows).len() <= 1
    }

    /// The groups of the well that do not see each other: one, if all have met.
    pub(crate) fn groups(&self) -> Vec<Vec<u32>> {
        groups(&self.well(), |a, b| {
            let (Some(node), Some(other)) = (self.node(a), self.node(b)) else { return false };
            let view = node.members();
            view.get(id(b)).is_some_and(|seen| seen.epoch == other.epoch())
        })
    }
}
