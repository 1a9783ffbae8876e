//! [`Peers`]: which nodes encrypt, for a node that still speaks to some that do not
//! (`docs/protocol.md` §2.10).

use alloc::collections::BTreeMap;

use super::keyring::KeyId;
use crate::id::{Epoch, NodeId};

/// Nodes that are remembered because they were heard, beside the members.
const HEARD_MAX: usize = 1_024;

/// What a run of a member says about itself.
#[derive(Clone, Copy)]
struct Member {
    epoch: Epoch,
    /// The key that it uses, if it has a secret.
    key: Option<KeyId>,
}

/// Which nodes encrypt.
#[derive(Default)]
pub(super) struct Peers {
    /// By what members say in their metadata.
    members: BTreeMap<NodeId, Member>,
    /// The latest run of each node of which something sealed has been opened.
    heard: BTreeMap<NodeId, Epoch>,
}

impl Peers {
    pub(super) fn joined(&mut self, id: NodeId, epoch: Epoch, key: Option<KeyId>) {
        let is_later = |heard: &Epoch| *heard < epoch || (*heard == epoch && key.is_some());
        if self.heard.get(&id).is_some_and(is_later) {
            self.heard.remove(&id);
        }
        self.members.insert(id, Member { epoch, key });
    }

    /// The node is no member any more. It may still be there.
    pub(super) fn gone(&mut self, id: NodeId) {
        if let Some(Member { epoch, key: Some(_) }) = self.members.remove(&id) {
            self.heard(id, epoch);
        }
    }

    /// Something sealed by this run has been opened.
    pub(super) fn heard(&mut self, id: NodeId, epoch: Epoch) {
        if self.members.get(&id).is_some_and(|member| member.epoch >= epoch && member.key.is_some())
        {
            return;
        }
        if self.heard.len() >= HEARD_MAX && !self.heard.contains_key(&id) {
            // They are heard again.
            self.heard.clear();
        }
        let latest = self.heard.entry(id).or_insert(epoch);
        *latest = (*latest).max(epoch);
    }

    /// Whether the node encrypts with one of `keys`. `None` if nothing is known of it.
    pub(super) fn encrypts(&self, id: NodeId, has: impl Fn(KeyId) -> bool) -> Option<bool> {
        let heard = self.heard.get(&id);
        match self.members.get(&id) {
            Some(member) if heard.is_none_or(|heard| *heard < member.epoch) => {
                Some(member.key.is_some_and(has))
            }
            _ => heard.map(|_| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_heard_have_an_end() {
        let mut peers = Peers::default();
        for id in 0..3_000 {
            peers.heard(NodeId::new(id), Epoch::new(1));
            assert!(peers.heard.len() <= HEARD_MAX);
        }
        assert_eq!(peers.encrypts(NodeId::new(2_999), |_| false), Some(true));
    }
}
