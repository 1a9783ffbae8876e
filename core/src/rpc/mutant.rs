//! What a search over connections needs, and nobody else has: defects that are put in on purpose,
//! so that it can be seen to find what each of the rules of credit is for (`docs/protocol.md`
//! §5.12.10), stamps that stand still, and a whole machine as text. They are in this crate's own
//! tests and behind its feature `fuzzing`; elsewhere the questions are constants.

use super::connection::Connection;
use crate::clock::Timestamp;
use crate::time::Now;

/// A rule of credit that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "for searches"))]
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

#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "for searches"))]
impl Defect {
    /// All of them.
    pub const ALL: [Self; 6] = [
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
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn has_defect(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether this connection has a defect: never.
    #[cfg(not(any(test, feature = "fuzzing")))]
    #[expect(clippy::unused_self, reason = "a mutant asks itself")]
    pub(super) const fn has_defect(&self, _: Defect) -> bool {
        false
    }

    /// Gives this connection a defect.
    #[cfg(any(test, feature = "fuzzing"))]
    #[doc(hidden)]
    pub fn make_mutant(&mut self, defect: Defect) {
        self.streams.has_reserves = defect != Defect::NoReserve;
        self.defect = Some(defect);
    }

    /// The stamp of what is sent next.
    pub(super) fn stamp(&self, now: Now) -> Timestamp {
        #[cfg(feature = "fuzzing")]
        if self.has_no_stamps {
            return Timestamp::from_raw(0);
        }
        self.clock.tick(now.wall)
    }

    /// All that it sends from now on has the same stamp: else whatever is sent in another order
    /// would leave another state, and no two orders could be seen to come to the same one.
    #[cfg(feature = "fuzzing")]
    #[doc(hidden)]
    pub fn stop_stamps(&mut self) {
        self.has_no_stamps = true;
    }

    /// All that this machine holds and can matter later: not who it is, its limits, its counters
    /// and its clock.
    #[cfg(feature = "fuzzing")]
    #[doc(hidden)]
    pub fn state(&self) -> impl core::fmt::Debug {
        #[rustfmt::skip]
        let Self {
            side: _, config: _, hello: _, clock: _, stats: _, defect: _, has_no_stamps: _,
            phase, outbox, flows, streams, answers_out, flow, charges,
            events, room, calls, inbound, deadlines, named, methods,
            started, last_received, ping_sent, pong_at, went_away,
            has_peer_gone_away, owes_go_away, is_resting,
        } = self;
        (
            (phase, outbox, flows, streams, answers_out, flow, charges),
            (events, room, calls, inbound, deadlines, named, methods),
            (started, last_received, ping_sent, pong_at, went_away),
            (has_peer_gone_away, owes_go_away, is_resting),
        )
    }
}
