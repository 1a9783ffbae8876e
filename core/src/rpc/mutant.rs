//! Defects that are put in on purpose, so that a search can be seen to find what each of the rules
//! of credit is for (`docs/protocol.md` §5.12.10). Without the feature `mutants` there are none.

use super::connection::Connection;

/// A rule of credit that is left out.
#[cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "for the feature alone"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// A request that does not fit into the budget waits there until it does.
    BudgetIsWaitedFor,
    /// A call waits for room for ever.
    RoomWaitHasNoEnd,
    /// An answer that nobody takes stays.
    UntakenStays,
    /// A chunk may be longer than what its stream is promised.
    ChunkExceedsReserve,
    /// A stream is promised nothing.
    NoReserve,
    /// What waits for room counts against what waits for the socket.
    OneLimitForAll,
}

impl Connection {
    /// Whether this connection has a defect.
    #[cfg(feature = "mutants")]
    pub(super) fn has_defect(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether this connection has a defect: never.
    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "a mutant asks itself")]
    pub(super) const fn has_defect(&self, _: Defect) -> bool {
        false
    }

    /// Gives this connection a defect.
    #[cfg(feature = "mutants")]
    pub fn make_mutant(&mut self, defect: Defect) {
        self.streams.has_reserves = defect != Defect::NoReserve;
        self.defect = Some(defect);
    }
}
