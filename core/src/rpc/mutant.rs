//! Defects that are put in on purpose, so that a search can be seen to find what each of the rules
//! of credit is for (`docs/protocol.md` §5.12.10). There are none but in this crate's own tests.

use super::connection::Connection;

/// A rule of credit that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Defect {
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

#[cfg(test)]
impl Defect {
    pub(super) const ALL: [Self; 6] = [
        Self::BudgetIsWaitedFor,
        Self::RoomWaitHasNoEnd,
        Self::UntakenStays,
        Self::ChunkExceedsReserve,
        Self::NoReserve,
        Self::OneLimitForAll,
    ];
}

impl Connection {
    /// Whether this connection has a defect.
    #[cfg(test)]
    pub(super) fn has_defect(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether this connection has a defect: never.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "a mutant asks itself")]
    pub(super) const fn has_defect(&self, _: Defect) -> bool {
        false
    }

    /// Gives this connection a defect.
    #[cfg(test)]
    pub(super) fn make_mutant(&mut self, defect: Defect) {
        self.streams.has_reserves = defect != Defect::NoReserve;
        self.defect = Some(defect);
    }
}
