//! What other replicas say of themselves, and who is away (docs/store.md §5.5, §5.8).

use std::collections::{BTreeMap, BTreeSet};

use chinwag::protocol::time::{Instant, WallTime};
use chinwag::{NodeId, Timestamp};

use super::{Failure, Replica, lock};
use crate::config::Config;
use crate::peers;
use crate::roster::{Heard, Roster};
use crate::wire::Ticket;

/// The other replicas that count (docs/store.md §3.8).
#[derive(Clone, Debug, Default)]
pub(crate) struct Voters {
    pub(crate) live: Vec<NodeId>,
    /// In the roster, and no live replicas now.
    pub(crate) away: Vec<NodeId>,
}

impl Voters {
    /// How many replicas count, with the local one.
    pub(crate) fn count(&self, config: &Config) -> usize {
        let known = 1 + self.live.len() + self.away.len();
        config.replicas.unwrap_or(known.max(config.replicas_min))
    }
}

impl Replica {
    /// Takes in what `peer` says of itself. What it says about others is its vote, and no more.
    pub(crate) async fn hear(&self, peer: NodeId, heard: Heard) -> Result<(), Failure> {
        let now = self.node()?.now().mono;
        let peers = self.peers();
        self.update_away(now)?;
        let named: Vec<NodeId> = heard.members.keys().copied().collect();
        let votes = {
            let mut votes = lock(&self.votes);
            votes.retain(&peers);
            votes.hear(peer, now, heard);
            if now.since(votes.first_heard(now)) < self.config.exchange_interval {
                // Perhaps most of the others are not known yet, and a few would decide alone.
                return Ok(());
            }
            let count = |node: &NodeId| (*node, votes.naming(*node));
            named.iter().map(count).collect::<BTreeMap<_, _>>()
        };
        let amended = self.amend(|roster| {
            for (&node, &naming) in &votes {
                let is_seen = peers.contains(&node);
                if node != self.me && (is_seen || naming >= self.majority(roster, node)) {
                    roster.add(node, |node| self.is_live(node));
                }
            }
            let members: Vec<NodeId> = roster.members.keys().copied().collect();
            for node in members.into_iter().chain([self.me]) {
                let needed = self.majority(roster, node);
                let (agreed, at_most) = {
                    let votes = lock(&self.votes);
                    (votes.agreed(node, needed), votes.at_most(node, needed))
                };
                roster.note(node, agreed, self.me);
                if let Some(at_most) = at_most
                    && node == self.me
                {
                    // What a few had made this replica believe of itself. Those whom it sends
                    // documents go by what they have noted, so this lets nothing in.
                    roster.own.lower(at_most);
                }
            }
            let needed = self.majority(roster, self.me);
            let floor = lock(&self.votes).floor(needed);
            roster.floor = roster.floor.max(floor).max(roster.own.horizon);
        });
        Ok(amended.await?)
    }

    /// How many replicas must have noted something about `node` before this one does so, too: more
    /// than half of those that have a say.
    fn majority(&self, roster: &Roster, node: NodeId) -> usize {
        let has_say = |other: &NodeId| *other != node && !self.is_gone_of(roster, *other);
        let known = roster.members.keys().copied().filter(has_say);
        let live = self.peers().into_iter().filter(|other| *other != node);
        known.chain(live).collect::<BTreeSet<_>>().len() / 2 + 1
    }

    /// Whether `node` is no live replica and has left, or is away for `forget_after`, by what this
    /// run of this replica has seen itself.
    pub(crate) fn is_gone(&self, node: NodeId) -> bool {
        self.is_gone_of(&self.roster(), node)
    }

    fn is_gone_of(&self, roster: &Roster, node: NodeId) -> bool {
        let Ok(running) = self.node() else { return false };
        let Some(since) = lock(&self.away).get(&node).copied() else {
            // It is live, or this replica has never met it.
            return !roster.members.contains_key(&node) && !self.is_live(node);
        };
        let has_left = roster.members.get(&node).is_some_and(|standing| standing.has_left);
        has_left || running.now().mono.since(since) >= self.config.forget_after
    }

    /// The other replicas that count (docs/store.md §3.8).
    pub(crate) fn voters(&self) -> Result<Voters, Failure> {
        let node = self.node()?;
        self.update_away(node.now().mono)?;
        let roster = self.roster();
        let live = peers::replicas(&node);
        let is_away = |other: &NodeId| !live.contains(other) && !self.is_gone_of(&roster, *other);
        let away = roster.members.keys().copied().filter(is_away).collect();
        Ok(Voters { live, away })
    }

    /// Notes who of the roster is no live replica, and gives it.
    pub(crate) fn update_away(&self, now: Instant) -> Result<BTreeMap<NodeId, Instant>, Failure> {
        let peers = self.node().map(|_| self.peers())?;
        let roster = self.roster();
        let mut away = lock(&self.away);
        let gone = roster.members.keys().filter(|node| !peers.contains(node));
        *away = gone.map(|node| (*node, *away.get(node).unwrap_or(&now))).collect();
        Ok(away.clone())
    }

    /// Whether the clocks of most other replicas say that this one is wrong (docs/store.md §2.5).
    pub(crate) fn is_clock_wrong(&self) -> Result<bool, Failure> {
        let now = self.node()?.now();
        Ok(lock(&self.votes).contradict(now.mono, now.wall))
    }

    /// The latest stamp of a tombstone that this replica helps to purge: half of its own
    /// `purge_after` ago (docs/store.md §5.3). Half, since clocks differ.
    pub(crate) fn purged_before(&self) -> Result<Timestamp, Failure> {
        let wall = self.node()?.now().wall.as_nanos();
        let age = u64::try_from(self.config.purge_after.as_nanos() / 2).unwrap_or(u64::MAX);
        Ok(Timestamp::at(WallTime::from_nanos(wall.saturating_sub(age))))
    }

    /// What is asked now is answered past all purges until now (docs/store.md §5.2).
    pub(crate) fn ticket(&self) -> Result<Ticket, Failure> {
        let purges = self.purges.load(std::sync::atomic::Ordering::Acquire);
        Ok(Ticket { epoch: self.node()?.epoch().get(), purges })
    }
}
