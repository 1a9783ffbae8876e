//! Whether the views of the nodes are the truth, and whether they can become it.

use std::net::SocketAddr;

use chinwag::{Node, State};

use super::{Cluster, SEEDS};
use crate::checker::views::{id, rank};
use crate::host::{addr, first_addr};

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
                let is_same = seen.metadata == truth.metadata && seen.addr == truth.addr;
                if rank(seen) != rank(truth) || seen.state != State::Alive || !is_same {
                    return Some(format!("node {observer} holds {seen:?}, which is {truth:?}"));
                }
            }
        }
        None
    }

    /// Whether the well can find each other at all: counting whoever knows, or has known, the
    /// present address of another as joined to it, they are one group.
    pub(crate) fn can_meet(&self) -> bool {
        let well = self.well();
        let seeds: Vec<SocketAddr> = (0..self.hosts().min(SEEDS)).map(first_addr).collect();
        let at =
            |host: u32| addr(host, first_addr(host).port() + self.sites[host as usize].port_offset);
        let knows = |a: u32, b: u32| {
            let process = self.sites[a as usize].process.as_ref();
            let known = process.and_then(|process| process.known.get(&b));
            seeds.contains(&at(b)) || known == Some(&at(b))
        };
        let Some((&first, rest)) = well.split_first() else { return true };
        let (mut reached, mut apart) = (vec![first], rest.to_vec());
        while let Some(node) = reached.pop() {
            let (met, left) =
                apart.into_iter().partition(|&other| knows(node, other) || knows(other, node));
            apart = left;
            reached.extend::<Vec<u32>>(met);
        }
        apart.is_empty()
    }
}
