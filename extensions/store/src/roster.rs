//! [`Roster`]: whom this replica has shared documents with, and what was purged without whom
//! (docs/store.md §1.4, §5).

use std::collections::BTreeMap;

use chinwag::protocol::time::WallTime;
use chinwag::{Bytes, NodeId, Timestamp, View};

use crate::claims::{Bounds, ClockClaim, GenerationClaim, StampClaim};
use crate::limits::{GENERATION_MAX, GENERATION_STEP_MAX, ROSTER_MAX};
use crate::wire::Invalid;

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

    pub(crate) fn lower(&mut self, other: Self) {
        self.generation = self.generation.min(other.generation);
        self.horizon = self.horizon.min(other.horizon);
    }
}

/// A roster as it is stored.
#[derive(Clone, Debug, rkyv::Archive, rkyv::Serialize)]
struct Written {
    /// Node, generation and horizon of its absence, whether it left.
    members: Vec<(u64, u64, u64, bool)>,
    rest: (u64, u64),
    own: (u64, u64),
    cleansed: u64,
    floor: u64,
}

/// What a replica says of itself in an exchange: whom it has shared documents with, and what it has
/// noted about them.
#[derive(Clone, Debug, rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Told {
    pub(crate) members: Vec<(u64, AbsenceClaim)>,
    /// Of all that are not among `members`.
    pub(crate) rest: AbsenceClaim,
    pub(crate) is_cleansed: bool,
    /// The generation of its own absence that it is cleansed of.
    pub(crate) cleansed: GenerationClaim,
    pub(crate) floor: StampClaim,
    /// What its wall clock reads.
    pub(crate) wall: ClockClaim,
}

/// An absence as a peer says it.
#[derive(Clone, Copy, Debug, rkyv::Archive, rkyv::Serialize)]
pub(crate) struct AbsenceClaim {
    pub(crate) generation: GenerationClaim,
    pub(crate) horizon: StampClaim,
}

impl From<Absence> for AbsenceClaim {
    fn from(Absence { generation, horizon }: Absence) -> Self {
        Self { generation: generation.into(), horizon: horizon.into() }
    }
}

impl ArchivedAbsenceClaim {
    pub(crate) fn check(&self, bounds: &Bounds, field: &'static str) -> Result<Absence, Invalid> {
        let generation = self.generation.check(field)?;
        Ok(Absence { generation, horizon: self.horizon.check_horizon(bounds, field)? })
    }
}

/// [`Told`] after it was checked: the statement of one peer about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) members: BTreeMap<NodeId, Absence>,
    pub(crate) rest: Absence,
    pub(crate) is_cleansed: bool,
    pub(crate) cleansed: u64,
    pub(crate) floor: Timestamp,
    pub(crate) wall: WallTime,
}

impl Heard {
    /// What the peer has noted about `node`.
    pub(crate) fn absence(&self, node: NodeId) -> Absence {
        self.members.get(&node).copied().unwrap_or(self.rest)
    }
}

impl ArchivedTold {
    pub(crate) fn check(&self, bounds: &Bounds) -> Result<Heard, Invalid> {
        if self.members.len() > ROSTER_MAX {
            return Err(Invalid("the number of nodes in the roster"));
        }
        let mut members = BTreeMap::new();
        for member in self.members.iter() {
            let absence = member.1.check(bounds, "an absence in the roster")?;
            members.insert(NodeId::new(member.0.to_native()), absence);
        }
        Ok(Heard {
            members,
            rest: self.rest.check(bounds, "the absence of all others")?,
            is_cleansed: self.is_cleansed,
            cleansed: self.cleansed.check("the generation that the sender is cleansed of")?,
            floor: self.floor.check_horizon(bounds, "the floor")?,
            wall: self.wall.for_vote(),
        })
    }
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

    /// Notes what enough others have noted about `node`, which may be `me` (docs/store.md §5.8).
    pub(crate) fn note(&mut self, node: NodeId, agreed: Absence, me: NodeId) {
        if node == me {
            self.own.merge(agreed);
        } else if let Some(standing) = self.members.get_mut(&node) {
            standing.absence.merge(agreed);
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

    /// Accepts a proposal, unless it is behind what is known here, or far past it, or names a node
    /// that is not gone by what this replica has seen itself: then the roster is unchanged, and it
    /// is `false`.
    pub(crate) fn accept(
        &mut self,
        proposal: &[(NodeId, Absence)],
        horizon: Timestamp,
        is_gone: impl Fn(NodeId) -> bool,
    ) -> bool {
        let is_next = |(node, absence): &(NodeId, Absence)| {
            let known = self.absence(*node).generation;
            let steps = known + 1..=known + GENERATION_STEP_MAX;
            is_gone(*node) && steps.contains(&absence.generation) && absence.horizon >= horizon
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

    /// Takes out times past `latest` and generations past [`GENERATION_MAX`], and says whether
    /// there were any (docs/store.md §7).
    pub(crate) fn put_right(&mut self, latest: Timestamp) -> bool {
        let before = self.clone();
        let standings = self.members.values_mut().map(|standing| &mut standing.absence);
        for absence in standings.chain([&mut self.rest, &mut self.own]) {
            if absence.generation > GENERATION_MAX || absence.horizon > latest {
                *absence = Absence::default();
            }
        }
        if self.cleansed > GENERATION_MAX {
            self.cleansed = 0;
        }
        if self.floor > latest {
            self.floor = latest;
        }
        *self != before
    }

    /// What is said of it in an exchange.
    pub(crate) fn told(&self, wall: WallTime) -> Told {
        let member = |(node, standing): (&NodeId, &Standing)| (node.get(), standing.absence.into());
        Told {
            members: self.members.iter().map(member).collect(),
            rest: self.rest.into(),
            is_cleansed: self.is_cleansed(),
            cleansed: self.cleansed.into(),
            floor: self.floor.into(),
            wall: wall.into(),
        }
    }

    fn written(&self) -> Written {
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

    /// As it was stored; `None` if it is larger than a roster may be.
    fn read(written: &rkyv::Archived<Written>) -> Option<Self> {
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
