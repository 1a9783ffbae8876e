//! [`Roster`]: whom this replica has shared documents with, and what was purged without whom
//! (docs/store.md §1.4, §5).

use std::collections::BTreeMap;

use chinwag::{Bytes, NodeId, Timestamp, View};

use crate::limits::ROSTER_MAX;

/// What a replica remembers besides its documents. Durable: it is saved before anything relies on
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    pub(crate) members: BTreeMap<NodeId, Standing>,
    /// Of all nodes that are not in the roster, once one had to make room.
    pub(crate) rest: Absence,
    /// Of this replica itself, as others have told it.
    pub(crate) own: Absence,
    /// The generation of `own` that this replica is cleansed of.
    pub(crate) cleansed: u64,
    /// Writes of this replica are past it.
    pub(crate) floor: Timestamp,
}

/// What is known of another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) absence: Absence,
    /// It left, and has not been seen since.
    pub(crate) has_left: bool,
}

/// What was purged without a node (docs/store.md §5.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Absence {
    /// How many purges, as far as is known: rises with each of them.
    pub(crate) generation: u64,
    /// The greatest stamp of what was purged: the horizon.
    pub(crate) horizon: Timestamp,
}

impl Absence {
    fn merge(&mut self, other: Self) {
        self.generation = self.generation.max(other.generation);
        self.horizon = self.horizon.max(other.horizon);
    }
}

/// A roster as it is stored and sent.
#[derive(Clone, Debug, rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Written {
    /// Node, generation and horizon of its absence, whether it left.
    members: Vec<(u64, u64, u64, bool)>,
    rest: (u64, u64),
    own: (u64, u64),
    cleansed: u64,
    floor: u64,
}

/// The name of the mark.
pub(crate) const MARK: &str = "roster";

impl Roster {
    /// What was purged without a node: it must be cleansed of that before documents of it are
    /// taken.
    pub(crate) fn absence(&self, node: NodeId) -> Absence {
        self.members.get(&node).map_or(self.rest, |standing| standing.absence)
    }

    /// Whether this replica is past all that was purged without it, as far as it knows.
    pub(crate) fn is_cleansed(&self) -> bool {
        self.own.generation <= self.cleansed
    }

    /// Adds a node; `is_live` says who must stay. Makes room if there is none (docs/store.md §6),
    /// and is `false` if it cannot.
    pub(crate) fn add(&mut self, node: NodeId, is_live: impl Fn(NodeId) -> bool) -> bool {
        if self.members.contains_key(&node) {
            return true;
        }
        if self.members.len() >= ROSTER_MAX {
            let order = |standing: &Standing| (!standing.has_left, standing.absence.horizon);
            let away = self.members.iter().filter(|(node, _)| !is_live(**node));
            let Some((&first, _)) = away.min_by_key(|(_, standing)| order(standing)) else {
                return false;
            };
            let Some(standing) = self.members.remove(&first) else { return false };
            self.rest.merge(standing.absence);
            // From now on purges are without it.
            self.rest.generation = self.rest.generation.max(1);
        }
        self.members.insert(node, Standing { absence: self.rest, has_left: false });
        true
    }

    /// Takes over what another knows (docs/store.md §4.4); what it knows of `me` is this replica's
    /// own absence.
    pub(crate) fn merge(&mut self, other: &Self, me: NodeId, is_live: impl Fn(NodeId) -> bool) {
        self.rest.merge(other.rest);
        self.floor = self.floor.max(other.floor);
        for (&node, standing) in &other.members {
            if node == me {
                self.own.merge(standing.absence);
            } else if self.add(node, &is_live)
                && let Some(known) = self.members.get_mut(&node)
            {
                known.absence.merge(standing.absence);
            }
        }
    }

    /// What the purge of all up to `horizon` without `absent` makes of the roster, as the janitor
    /// proposes it (docs/store.md §5.5).
    pub(crate) fn proposed(&self, absent: &[NodeId], horizon: Timestamp) -> Vec<(NodeId, Absence)> {
        let next = |absence: Absence| Absence {
            generation: absence.generation + 1,
            horizon: absence.horizon.max(horizon),
        };
        absent.iter().map(|&node| (node, next(self.absence(node)))).collect()
    }

    /// Accepts a proposal, unless it is behind what is known here: then the roster is unchanged,
    /// and it is `false`.
    pub(crate) fn accept(&mut self, proposal: &[(NodeId, Absence)], horizon: Timestamp) -> bool {
        let is_next = |(node, absence): &(NodeId, Absence)| {
            absence.generation > self.absence(*node).generation && absence.horizon >= horizon
        };
        if !proposal.iter().all(is_next) {
            return false;
        }
        for (node, absence) in proposal {
            if let Some(standing) = self.members.get_mut(node) {
                standing.absence.merge(*absence);
            }
        }
        if self.rest.generation > 0 {
            self.rest.merge(Absence { generation: self.rest.generation + 1, horizon });
        }
        self.floor = self.floor.max(horizon);
        true
    }

    /// As it is stored and sent.
    pub(crate) fn written(&self) -> Written {
        let pair = |absence: Absence| (absence.generation, absence.horizon.get());
        let member = |(node, standing): (&NodeId, &Standing)| {
            let (generation, horizon) = pair(standing.absence);
            (node.get(), generation, horizon, standing.has_left)
        };
        Written {
            members: self.members.iter().map(member).collect(),
            rest: pair(self.rest),
            own: pair(self.own),
            cleansed: self.cleansed,
            floor: self.floor.get(),
        }
    }

    /// As it was stored or sent; `None` if it is larger than a roster may be.
    pub(crate) fn read(written: &rkyv::Archived<Written>) -> Option<Self> {
        let stamp = |raw: u64| Timestamp::from_raw(raw).min(Timestamp::MAX);
        // Generations count purges: half of the numbers are enough, and leave room to count on.
        let absence = |generation: u64, horizon| Absence {
            generation: generation.min(u64::MAX / 2),
            horizon: stamp(horizon),
        };
        let member = |member: &rkyv::Archived<(u64, u64, u64, bool)>| {
            let absence = absence(member.1.to_native(), member.2.to_native());
            (NodeId::new(member.0.to_native()), Standing { absence, has_left: member.3 })
        };
        (written.members.len() <= ROSTER_MAX).then(|| Self {
            members: written.members.iter().map(member).collect(),
            rest: absence(written.rest.0.to_native(), written.rest.1.to_native()),
            own: absence(written.own.0.to_native(), written.own.1.to_native()),
            cleansed: written.cleansed.to_native(),
            floor: stamp(written.floor.to_native()),
        })
    }

    /// The bytes of the mark.
    pub(crate) fn to_mark(&self) -> Bytes {
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&self.written());
        Bytes::copy_from_slice(&bytes.expect("numbers in memory: nothing that could fail"))
    }

    /// What the bytes of a mark say; `None` if they are none.
    pub(crate) fn from_mark(mark: Bytes) -> Option<Self> {
        Self::read(&*View::<Written>::new(mark).ok()?)
    }
}

#[cfg(test)]
mod tests;
