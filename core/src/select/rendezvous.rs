//! [`Rendezvous`]: for one key the same members, wherever it is asked.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

use smallvec::SmallVec;

use super::{Consistency, NodeSelector, PICKS_INLINE, Picks, SelectError, Topology, feasible};
use crate::id::{NodeId, fnv1a};
use crate::rng::mix;

/// Rendezvous hashing (Thaler and Ravishankar, 1998): a key ranks all nodes, and the first in rank
/// are selected.
///
/// Every node with the same members ranks them alike, in every version. A node that leaves moves
/// only the keys it was selected for; one that joins takes only the keys it is now selected for.
/// Data centres count only for `LocalQuorum` and `EachQuorum`, which rank the members of each.
///
/// [`NodeSelector::select`] never selects the local node, so a node that is itself high in rank
/// gets the next one instead. Who holds a key, the local node included and the same everywhere, is
/// [`Rendezvous::owners`].
///
/// Costs a hash per member, about 2 ns each, whatever the level: the one selector whose price grows
/// with the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    /// The key's hash, finalised.
    key: u64,
}

impl Rendezvous {
    /// The selector for the key `key`.
    pub const fn new(key: &[u8]) -> Self {
        Self::from_hash(fnv1a(key))
    }

    /// The selector for a key that is a number or is hashed already; all nodes must hash alike.
    pub const fn from_hash(hash: u64) -> Self {
        Self { key: mix(hash) }
    }

    /// Clears `out` and fills it with the first `count` nodes in rank, the local one included: on
    /// every node with the same members the same.
    ///
    /// # Errors
    /// [`SelectError::NotEnoughNodes`] if there are fewer nodes; `live` then includes the local
    /// one.
    pub fn owners(&self, on: &Topology, count: usize, out: &mut Picks) -> Result<(), SelectError> {
        out.clear();
        let live = on.len() + 1;
        if count > live {
            return Err(SelectError::NotEnoughNodes { live, required: count });
        }
        self.first(on.iter().chain([on.local()]), count, out);
        Ok(())
    }

    /// The rank of a node: greater comes first. For one key `mix` is a bijection, so no two ids
    /// tie.
    const fn score(&self, id: NodeId) -> u64 {
        mix(id.get() ^ self.key)
    }

    /// Adds the first `count` of `nodes`, in rank.
    fn first(&self, nodes: impl Iterator<Item = NodeId>, count: usize, out: &mut Picks) {
        let scored = nodes.map(|id| (self.score(id), id));
        if count == 0 {
            return;
        }
        if count <= PICKS_INLINE {
            let mut best: SmallVec<[(u64, NodeId); PICKS_INLINE]> = SmallVec::new();
            let mut floor = 0; // what a node must beat once `best` is full
            for node in scored {
                if best.len() == count {
                    if node.0 <= floor {
                        continue;
                    }
                    best.pop();
                }
                best.insert(best.partition_point(|better| better.0 > node.0), node);
                floor = best[best.len() - 1].0;
            }
            out.extend(best.iter().map(|(_, id)| *id));
        } else {
            let mut all: Vec<_> = scored.collect();
            if count < all.len() {
                all.select_nth_unstable_by_key(count, |node| Reverse(*node));
                all.truncate(count);
            }
            all.sort_unstable_by_key(|node| Reverse(*node));
            out.extend(all.iter().map(|(_, id)| *id));
        }
    }
}

impl NodeSelector for Rendezvous {
    fn select(
        &self,
        on: &Topology,
        level: Consistency,
        out: &mut Picks,
    ) -> Result<(), SelectError> {
        out.clear();
        let mut ranked = |members: Range<usize>, count| {
            self.first(members.map(|member| on.id_at(member)), count, out);
        };
        match level {
            Consistency::LocalQuorum => {
                ranked(on.zone(on.local_zone()), on.zone_quorum(on.local_zone()));
            }
            Consistency::EachQuorum => {
                on.zones().for_each(|z| ranked(on.zone(z), on.zone_quorum(z)));
            }
            _ => ranked(0..on.len(), feasible(on, level.required(on))?),
        }
        Ok(())
    }
}
