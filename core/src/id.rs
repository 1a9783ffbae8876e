//! Who is speaking: [`NodeId`], [`Epoch`], [`Incarnation`], and the [`Fence`] that keeps clusters
//! apart.

use core::fmt;

use crate::time::WallTime;

/// Who: the stable identity of a node, the same over restarts.
///
/// Ids are compared as integers. Two live nodes must not share one; see the `Conflict` event.
/// It is the same over restarts (`docs/protocol.md` §1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The id `id`.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// An id made from a name, such as a host name: 64-bit FNV-1a of its bytes, then a finaliser
    /// ([`mix`](crate::rng::mix)) so that similar names differ in every bit. The same name gives
    /// the same id on every node and in every version.
    pub const fn from_name(name: &str) -> Self {
        Self(crate::rng::mix(fnv1a(name.as_bytes())))
    }

    /// The id as an integer.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for NodeId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

impl From<&str> for NodeId {
    fn from(name: &str) -> Self {
        Self::from_name(name)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Which run of a node: wall-clock milliseconds at its start, 47 bits (`docs/protocol.md` §1).
/// Its range is in `docs/protocol.md` §1.2.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The largest epoch that is valid on the wire.
    pub const MAX: Self = Self((1 << 47) - 1);

    /// The epoch of a run that starts at `wall`.
    pub const fn at(wall: WallTime) -> Self {
        Self::new(wall.as_millis())
    }

    /// The epoch `millis`, capped at [`Epoch::MAX`].
    pub const fn new(millis: u64) -> Self {
        if millis > Self::MAX.0 { Self::MAX } else { Self(millis) }
    }

    /// Milliseconds since the UNIX epoch.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next epoch, or `None` at the end of the range.
    pub const fn next(self) -> Option<Self> {
        if self.0 >= Self::MAX.0 { None } else { Some(Self(self.0 + 1)) }
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How often a node has spoken about itself within its epoch: raised by refutations and metadata
/// changes, by the node itself and nobody else.
/// When it rises is in `docs/protocol.md` §1.3.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u32);

impl Incarnation {
    /// The first incarnation of an epoch.
    pub const ZERO: Self = Self(0);
    /// The last one; a node that is pushed past it begins a new epoch.
    pub const MAX: Self = Self(u32::MAX);

    /// The incarnation `count`.
    pub const fn new(count: u32) -> Self {
        Self(count)
    }

    /// The count.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The hash of a cluster's name that stands in every datagram and hello: nodes of other clusters
/// are not heard.
/// It stands in every datagram and every hello (`docs/protocol.md` §1.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence(u64);

impl Fence {
    /// The fence of the cluster called `name`.
    pub const fn of(name: &str) -> Self {
        Self(crate::rng::mix(fnv1a(name.as_bytes())))
    }

    /// The fence with the value `raw`, as read from the wire.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The value on the wire.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fence({:016x})", self.0)
    }
}

/// 64-bit FNV-1a (Fowler, Noll, Vo; offset basis 0xcbf29ce484222325, prime 0x100000001b3).
pub const fn fnv1a(bytes: &[u8]) -> u64 {
    fnv1a_from(0xcbf2_9ce4_8422_2325, bytes)
}

/// [`fnv1a`] continued from an earlier hash, so that parts can be hashed without joining them.
pub const fn fnv1a_from(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_matches_its_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn epochs_stay_in_47_bits() {
        assert_eq!(Epoch::new(u64::MAX), Epoch::MAX);
        assert_eq!(Epoch::MAX.next(), None);
        assert_eq!(Epoch::new(5).next(), Some(Epoch::new(6)));
    }

    /// `docs/protocol.md` §1.1
    #[test]
    fn names_give_stable_distinct_ids() {
        assert_eq!(NodeId::from_name("alpha"), NodeId::from("alpha"));
        assert_ne!(NodeId::from_name("alpha"), NodeId::from_name("alphb"));
        assert_ne!(Fence::of("a"), Fence::of("b"));
    }
}
