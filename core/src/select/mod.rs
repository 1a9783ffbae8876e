//! Which members to talk to: consistency levels over an immutable [`Topology`].
//!
//! ```
//! use chinwag_core::id::NodeId;
//! use chinwag_core::select::{Consistency, NodeSelector, Picks, Spread, Topology};
//!
//! let members = [(2, "ams"), (3, "ams"), (4, "fra"), (5, "lon")];
//! let members = members.map(|(id, dc)| (NodeId::new(id), dc));
//! let topology = Topology::new(1, NodeId::new(1), "ams", members);
//! let mut picks = Picks::new();
//! Spread.select(&topology, Consistency::Two, &mut picks)?;
//! // Other data centres come first, one of each.
//! assert_eq!(picks[..], [NodeId::new(4), NodeId::new(5)]);
//! # Ok::<(), chinwag_core::select::SelectError>(())
//! ```
//!
//! A selector takes `&self` and a borrowed topology, no lock, and no memory for up to
//! [`PICKS_INLINE`] picks (more need memory only as long as the caller's [`Picks`] is smaller).
//! Every selector keeps the contract of [`NodeSelector`]; they differ in whom they prefer:
//!
//! | selector | prefers |
//! |---|---|
//! | [`Spread`] | other data centres, one member of each; all in turn. The default |
//! | [`LocalFirst`] | the local data centre, then as `Spread` |
//! | [`PowerOfTwo`] | of two at random, the one with fewer calls outstanding |
//! | [`Rendezvous`] | for one key always the same members, on every node |
//!
//! What is not here: nesting of selectors (their effects on each other are hard to predict),
//! exclusion by latency, and caching of answers (which would stop the rotation).

mod load;
mod power_of_two;
mod rendezvous;
mod spread;
#[cfg(test)]
mod tests;
mod topology;

pub use load::{Load, Outstanding};
pub use power_of_two::PowerOfTwo;
pub use rendezvous::Rendezvous;
pub use spread::{LocalFirst, Spread};
pub use topology::Topology;

use core::fmt;

use smallvec::SmallVec;

use crate::id::NodeId;

/// How many picks fit without memory of their own: `Three` with room to spare, and a majority of
/// 16.
pub const PICKS_INLINE: usize = 8;

/// Selected members: the caller's, cleared and filled by [`NodeSelector::select`], to be used
/// again.
pub type Picks = SmallVec<[NodeId; PICKS_INLINE]>;

/// How many members, and where. The local node is never selected and counts towards its own
/// majority.
///
/// With `total` nodes in the cluster and `len` in a data centre, the local node included in both:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Nobody. Never an error.
    None,
    /// One other member.
    One,
    /// Two other members.
    Two,
    /// Three other members.
    Three,
    /// A majority of the cluster with the local node: `total / 2` others.
    Quorum,
    /// A majority of the local data centre with the local node: `len / 2` others of it.
    LocalQuorum,
    /// A majority of each data centre: `len / 2` others of the local one, `len / 2 + 1` of each
    /// other one.
    EachQuorum,
    /// Everybody else.
    All,
}

impl Consistency {
    /// Every level, in the order of declaration.
    pub const EVERY: [Self; 8] = [
        Self::None,
        Self::One,
        Self::Two,
        Self::Three,
        Self::Quorum,
        Self::LocalQuorum,
        Self::EachQuorum,
        Self::All,
    ];

    /// How many members a selection of this level has on `on`: exactly, or it is an error.
    pub fn required(self, on: &Topology) -> usize {
        match self {
            Self::None => 0,
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Quorum => on.quorum(),
            Self::LocalQuorum => on.zone_quorum(on.local_zone()),
            Self::EachQuorum => on.zones().map(|zone| on.zone_quorum(zone)).sum(),
            Self::All => on.len(),
        }
    }
}

/// Why nobody was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectError {
    /// There are fewer other members than the level needs. Only `One`, `Two` and `Three` can fail
    /// so: a majority of what is there is always there. Nothing is selected and nothing
    /// rotates.
    NotEnoughNodes {
        /// How many other members there are.
        live: usize,
        /// How many the level needs.
        required: usize,
    },
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnoughNodes { live, required } => {
                write!(
                    f,
                    "not enough live members: {required} needed besides this node, {live} there; \
                     wait for them with `Node::wait_for`, or ask for fewer"
                )
            }
        }
    }
}

impl core::error::Error for SelectError {}

/// A rule for choosing members.
///
/// Contract: on `Ok`, `out` holds exactly [`Consistency::required`] members of `on`, each once,
/// none of them the local node, and for `LocalQuorum` and `EachQuorum` as many of each data centre
/// as the level says. The selection fails only if there are not that many, and then `out` is empty.
/// The order within `out` means nothing.
pub trait NodeSelector: Send + Sync {
    /// Clears `out` and fills it with the members of `on` that `level` asks for.
    ///
    /// # Errors
    /// [`SelectError::NotEnoughNodes`] if `on` has too few; `out` is then empty.
    fn select(&self, on: &Topology, level: Consistency, out: &mut Picks)
    -> Result<(), SelectError>;
}

/// `required` members can be had, or the error that says they cannot.
#[inline]
fn feasible(on: &Topology, required: usize) -> Result<usize, SelectError> {
    let live = on.len();
    if required <= live {
        Ok(required)
    } else {
        Err(SelectError::NotEnoughNodes { live, required })
    }
}
