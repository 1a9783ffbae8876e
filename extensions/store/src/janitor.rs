//! [`Janitor`]: purges tombstones once all are past them (docs/store.md §5).

use std::collections::BTreeMap;
use std::sync::Arc;

use chinwag::protocol::time::{Instant, WallTime};
use chinwag::{NodeId, Status, Timestamp};

use crate::config::Config;
use crate::document::Version;
use crate::join::join_all;
use crate::key::Key;
use crate::limits::{BATCH_MAX, ROSTER_MAX};
use crate::replica::{Failure, Replica};
use crate::service::StoreService;
use crate::wire::{Confirm, Named, OriginClaim, Purge, Turn};

/// What the replica with the lowest id does.
pub(crate) struct Janitor {
    replica: Arc<Replica>,
    config: Config,
    /// Nodes of the roster that are not live replicas, and since when, as far as this run of this
    /// node has seen.
    away: BTreeMap<NodeId, Instant>,
    /// Nodes that others have shared documents with and this replica has not, and since when it
    /// knows that: they hold back purges as those that are away do.
    named: BTreeMap<NodeId, Instant>,
}

/// Tombstones that are old enough, of one keyspace.
struct Candidates {
    keyspace: String,
    tombstones: Vec<(Key, Version)>,
}

/// What a node that has confirmed says.
struct Confirmed {
    turn: Turn,
    /// Whom it has shared documents with.
    names: Vec<NodeId>,
}

/// Why nothing was purged this time.
enum NotNow {
    /// Somebody is away who may come back with an older document.
    Away,
    /// Somebody has not confirmed.
    Refused,
    Failed,
}

impl Janitor {
    pub(crate) const fn new(replica: Arc<Replica>, config: Config) -> Self {
        Self { replica, config, away: BTreeMap::new(), named: BTreeMap::new() }
    }

    /// One round: a batch of each keyspace.
    pub(crate) async fn round(&mut self) -> Result<(), Failure> {
        let peers = self.replica.peers();
        let now = self.replica.node()?.now();
        self.away = self.replica.update_away(now.mono)?;
        let roster = self.replica.roster();
        self.named.retain(|node, _| !roster.members.contains_key(node) && !peers.contains(node));
        if peers.first().is_some_and(|first| *first < self.replica.me) {
            return Ok(());
        }
        let age = u64::try_from(self.config.purge_after.as_nanos()).unwrap_or(u64::MAX);
        let before = Timestamp::at(WallTime::from_nanos(now.wall.as_nanos().saturating_sub(age)));
        for candidates in self.candidates(before) {
            // The next round tries again, by what is known then.
            if self.purge(&candidates, now.mono).await.is_err() {
                self.replica.counters.purges_failed.add(1);
            }
        }
        Ok(())
    }

    fn candidates(&self, before: Timestamp) -> Vec<Candidates> {
        let of = |keyspace: String| {
            let tombstones = self.replica.index(&keyspace, |index| {
                let oldest = index.oldest_tombstones(BATCH_MAX);
                let old = oldest.take_while(|(version, _)| version.stamp <= before);
                old.map(|(version, key)| (key.clone(), *version)).collect::<Vec<_>>()
            });
            (!tombstones.is_empty()).then_some(Candidates { keyspace, tombstones })
        };
        self.replica.keyspaces().into_iter().filter_map(of).collect()
    }

    /// Has all confirm, and then all purge.
    async fn purge(&mut self, candidates: &Candidates, now: Instant) -> Result<(), NotNow> {
        let Candidates { keyspace, tombstones } = candidates;
        let horizon = tombstones.iter().map(|(_, version)| version.stamp).max().unwrap_or_default();
        let without = self.without(now)?;
        // This replica confirms as all others do: it holds them durably, and its later turns are
        // past them.
        let proposal = self.replica.roster().proposed(&without, horizon);
        let is_absent = |node| without.contains(&node);
        let accepted =
            self.replica.amend(|roster| roster.accept(&proposal, horizon, is_absent)).await;
        if !accepted.map_err(|_| NotNow::Failed)? {
            return Err(NotNow::Refused);
        }
        let mut turns = BTreeMap::from([(self.replica.me, self.own_turn()?)]);
        // Whoever turns up in a roster is asked, too, until nobody new does. Rosters are bounded,
        // so this ends.
        loop {
            let ask = self.required(&without).into_iter().filter(|node| !turns.contains_key(node));
            let ask: Vec<NodeId> = ask.collect();
            if ask.is_empty() {
                break;
            }
            let names = named(tombstones);
            let without =
                proposal.iter().map(|(node, absence)| (node.get(), (*absence).into())).collect();
            let message = Confirm {
                origin: own_origin(&self.replica)?,
                keyspace: keyspace.clone(),
                tombstones: names,
                without,
            };
            let asked = join_all(ask.iter().map(|&node| self.confirm(node, &message))).await;
            for (node, confirmed) in ask.into_iter().zip(asked) {
                let Confirmed { turn, names } = confirmed?;
                turns.insert(node, turn);
                self.name(names, now)?;
            }
        }
        self.forget(keyspace, tombstones, &turns).await
    }

    /// The nodes of the roster that are purged without: none, or those that are forgotten
    /// (docs/store.md §5.5).
    fn without(&self, now: Instant) -> Result<Vec<NodeId>, NotNow> {
        let roster = self.replica.roster();
        let has_left =
            |node: &NodeId| roster.members.get(node).is_some_and(|standing| standing.has_left);
        let is_long_gone = |since: &Instant| now.since(*since) >= self.config.forget_after;
        if self.away.iter().any(|(node, since)| !has_left(node) && !is_long_gone(since)) {
            return Err(NotNow::Away);
        }
        let missing = self.away.keys().filter(|node| !has_left(node)).count();
        let live = roster.members.len() - self.away.len() + 1;
        if missing > 0 && live <= missing {
            return Err(NotNow::Away);
        }
        if self.named.values().any(|since| !is_long_gone(since)) {
            return Err(NotNow::Away);
        }
        Ok(self.away.keys().copied().collect())
    }

    /// All nodes that must confirm, this one apart.
    fn required(&self, without: &[NodeId]) -> Vec<NodeId> {
        let roster = self.replica.roster();
        roster.members.keys().copied().filter(|node| !without.contains(node)).collect()
    }

    /// Asks one node. What it says, if it holds all of it.
    async fn confirm(&self, node: NodeId, message: &Confirm) -> Result<Confirmed, NotNow> {
        let client = self.replica.node().map_err(|_| NotNow::Failed)?.client::<StoreService>(node);
        let confirmed =
            client.timeout(self.config.timeout).call(message).await.map_err(|_| NotNow::Failed)?;
        let replica = &self.replica;
        let bounds = replica.bounds().map_err(|_| NotNow::Failed)?;
        let heard = confirmed.roster.check(&bounds).map_err(|_| {
            replica.counters.refused.add(1);
            NotNow::Failed
        })?;
        let (cleansed, names) = (heard.cleansed, heard.members.keys().copied().collect());
        replica.hear(node, heard).await.map_err(|_| NotNow::Failed)?;
        if !confirmed.is_held || replica.roster().absence(node).generation > cleansed {
            return Err(NotNow::Refused);
        }
        Ok(Confirmed { turn: confirmed.origin.turn.of_answer(), names })
    }

    /// Notes whom another replica has shared documents with. Those that are neither in the roster
    /// nor purged without hold this purge back.
    fn name(&mut self, names: Vec<NodeId>, now: Instant) -> Result<(), NotNow> {
        let roster = self.replica.roster();
        let is_new = |node: &NodeId| {
            *node != self.replica.me
                && !roster.members.contains_key(node)
                && !self.named.contains_key(node)
        };
        let new: Vec<NodeId> = names.into_iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let room = ROSTER_MAX.saturating_sub(self.named.len());
        self.named.extend(new.into_iter().take(room).map(|node| (node, now)));
        Err(NotNow::Away)
    }

    fn own_turn(&self) -> Result<Turn, NotNow> {
        self.replica.turn().map_err(|_| NotNow::Failed)
    }

    /// All have confirmed: this replica forgets, and so does every other that hears of it. One that
    /// does not is asked again when its tombstone has come back by an exchange.
    async fn forget(
        &self,
        keyspace: &str,
        tombstones: &[(Key, Version)],
        turns: &BTreeMap<NodeId, Turn>,
    ) -> Result<(), NotNow> {
        let message = Purge {
            keyspace: keyspace.to_owned(),
            tombstones: named(tombstones),
            turns: turns.iter().map(|(node, turn)| (node.get(), (*turn).into())).collect(),
        };
        let node = self.replica.node().map_err(|_| NotNow::Failed)?;
        let others = turns.keys().filter(|node| **node != self.replica.me);
        let told = join_all(others.map(|&other| {
            let client = node.client::<StoreService>(other).timeout(self.config.timeout);
            let message = &message;
            async move { client.call(message).await }
        }));
        let failed = told.await.into_iter().filter_map(Result::err).collect::<Vec<Status>>();
        let turns = turns.iter().map(|(node, turn)| (*node, *turn)).collect();
        let purged = self.replica.purge(keyspace, tombstones.to_vec(), turns).await;
        match purged {
            Ok(Some(_)) if failed.is_empty() => Ok(()),
            _ => Err(NotNow::Failed),
        }
    }
}

fn own_origin(replica: &Replica) -> Result<OriginClaim, NotNow> {
    replica.origin(None).map_err(|_| NotNow::Failed)
}

fn named(tombstones: &[(Key, Version)]) -> Vec<Named> {
    tombstones.iter().map(|(key, version)| Named::new(key, Some(*version))).collect()
}
