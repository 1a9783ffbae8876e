//! [`Picks`]: the members that a selector chose.

use core::fmt;
use core::ops::Deref;

use smallvec::SmallVec;

use super::PICKS_INLINE;
use crate::id::NodeId;

/// The selected members, in the selector's order, as a slice of their ids. The caller owns it: a
/// [`NodeSelector`](super::NodeSelector) clears and fills it, so that it can be used again. Up to
/// [`PICKS_INLINE`] members need no memory of their own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Picks {
    members: SmallVec<[NodeId; PICKS_INLINE]>,
}

impl Picks {
    /// No members.
    pub fn new() -> Self {
        Self::default()
    }

    /// No members, and room for `count` of them.
    pub fn with_capacity(count: usize) -> Self {
        Self { members: SmallVec::with_capacity(count) }
    }

    /// Makes room for `additional` more members.
    pub fn reserve(&mut self, additional: usize) {
        self.members.reserve(additional);
    }

    /// Whether there are so many members that they need memory of their own.
    pub fn has_spilled(&self) -> bool {
        self.members.spilled()
    }

    /// Adds a member at the end.
    pub fn push(&mut self, member: NodeId) {
        self.members.push(member);
    }

    /// Removes all members.
    pub fn clear(&mut self) {
        self.members.clear();
    }

    /// Keeps the first `count` members, and removes the others.
    pub fn truncate(&mut self, count: usize) {
        self.members.truncate(count);
    }

    /// The members, to be put into another order.
    pub fn as_mut_slice(&mut self) -> &mut [NodeId] {
        &mut self.members
    }
}

impl Deref for Picks {
    type Target = [NodeId];

    fn deref(&self) -> &[NodeId] {
        &self.members
    }
}

impl Extend<NodeId> for Picks {
    fn extend<I: IntoIterator<Item = NodeId>>(&mut self, members: I) {
        self.members.extend(members);
    }
}

impl FromIterator<NodeId> for Picks {
    fn from_iter<I: IntoIterator<Item = NodeId>>(members: I) -> Self {
        Self { members: members.into_iter().collect() }
    }
}

impl IntoIterator for Picks {
    type Item = NodeId;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter { members: self.members.into_iter() }
    }
}

impl<'a> IntoIterator for &'a Picks {
    type Item = &'a NodeId;
    type IntoIter = core::slice::Iter<'a, NodeId>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.iter()
    }
}

/// The members of [`Picks`], one after the other.
#[derive(Clone, Debug)]
pub struct IntoIter {
    members: smallvec::IntoIter<[NodeId; PICKS_INLINE]>,
}

impl Iterator for IntoIter {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        self.members.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.members.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}

impl fmt::Debug for Picks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.members.fmt(f)
    }
}
