//! [`Gate`]: which messages a purge has made stale (docs/store.md §5.2).

use std::collections::BTreeMap;

use chinwag::NodeId;

use crate::limits::ROSTER_MAX;
use crate::wire::{Origin, Ticket, Turn};

/// From which turn on messages of each node are taken. In memory alone: a process that is gone has
/// no connection that something old could come by.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The turn, and the number of the purge that has asked for it.
    first: BTreeMap<NodeId, (Turn, u64)>,
    /// Purges so far.
    purges: u64,
}

impl Gate {
    /// Returns whether a message of `from` is past all purges: by its turn, or because its sender
    /// shows a ticket of the run `epoch` that was given after them. So a turn that a third node has
    /// made up costs one more message, and nothing else.
    pub(crate) fn admits(&self, from: NodeId, origin: &Origin, epoch: u64) -> bool {
        let Some((first, purge)) = self.first.get(&from) else { return true };
        let Ticket { epoch: of, purges } = origin.ticket;
        origin.turn >= *first || of == epoch && (*purge..=self.purges).contains(&purges)
    }

    /// Returns the number of purges so far.
    pub(crate) const fn purges(&self) -> u64 {
        self.purges
    }

    /// Requires these turns from now on, unless there are too many.
    pub(crate) fn require(
        &mut self,
        turns: Vec<(NodeId, Turn)>,
        is_live: impl Fn(NodeId) -> bool,
    ) -> bool {
        if self.first.len() + turns.len() > 2 * ROSTER_MAX {
            self.first.retain(|node, _| is_live(*node));
        }
        if self.first.len() + turns.len() > 2 * ROSTER_MAX {
            return false;
        }
        self.purges += 1;
        for (node, turn) in turns {
            let (first, purge) = self.first.entry(node).or_default();
            (*first, *purge) = (turn.max(*first), self.purges);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(count: u64, ticket: Ticket) -> Origin {
        Origin { turn: Turn { epoch: 1, count }, cleansed: 0, ticket }
    }

    /// docs/store.md §5.2.
    #[test]
    fn a_ticket_is_as_good_as_a_turn() {
        let (node, other) = (NodeId::new(1), NodeId::new(2));
        let none = Ticket::default();
        let ticket = |purges| Ticket { epoch: 9, purges };
        let mut gate = Gate::default();
        assert!(gate.admits(node, &origin(0, none), 9), "nothing was purged");
        let last = Turn { epoch: u64::MAX, count: u64::MAX };
        assert!(gate.require(vec![(node, last)], |_| true));
        assert!(!gate.admits(node, &origin(u64::MAX, none), 9));
        assert!(gate.admits(other, &origin(0, none), 9), "another node");
        assert!(gate.admits(node, &origin(1, ticket(1)), 9));
        assert!(!gate.admits(node, &origin(1, ticket(0)), 9), "given before the purge");
        assert!(!gate.admits(node, &origin(1, ticket(2)), 9), "never given");
        assert!(!gate.admits(node, &origin(1, ticket(1)), 8), "given by another run");
        assert!(gate.require(vec![(node, Turn { epoch: 1, count: 5 })], |_| true));
        assert!(!gate.admits(node, &origin(9, ticket(1)), 9), "a purge has come since");
        assert!(gate.admits(node, &origin(1, ticket(2)), 9));
    }

    #[test]
    fn turns_are_so_many() {
        let mut gate = Gate::default();
        let turns = |from: u64| {
            let of = |id| (NodeId::new(id), Turn::default());
            (from..from + ROSTER_MAX as u64).map(of).collect::<Vec<_>>()
        };
        assert!(gate.require(turns(0), |_| true) && gate.require(turns(10_000), |_| true));
        assert!(!gate.require(turns(20_000), |_| true), "all are live");
        assert!(gate.require(turns(20_000), |node| node.get() < 20_000 / 2));
    }
}
