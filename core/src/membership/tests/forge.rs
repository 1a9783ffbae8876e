//! Datagrams as another node, or a forger, would write them.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::net::Net;
use crate::clock::Timestamp;
use crate::id::{Epoch, Fence, Incarnation, NodeId};
use crate::membership::{Member, State};
use crate::wire::datagram::{Header, encode};
use crate::wire::update::{Accusers, Details, Update};

pub(crate) struct Forge {
    pub(crate) header: Header,
}

impl Forge {
    /// Writes as node `host` of `net`.
    pub(crate) fn of(net: &Net, host: usize) -> Self {
        Self { header: Self::of_member(&net.hosts[host].machine.local(), &net.config.cluster) }
    }

    /// The header under which `member` of `cluster` would write.
    pub(crate) fn of_member(member: &Member, cluster: &str) -> Header {
        Header {
            version: 1,
            fence: Fence::of(cluster),
            sender: member.id,
            epoch: member.epoch,
            incarnation: member.incarnation,
            stamp: Timestamp::from_raw(0),
        }
    }

    pub(crate) fn payload(&self, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.header.encode(&mut bytes);
        fill(&mut bytes);
        bytes
    }

    fn update(&self, update: &Update<'_>) -> Vec<u8> {
        self.payload(|bytes| encode::update(bytes, update))
    }

    /// A claim by the sender: an accusation in its own name, if it is one.
    pub(crate) fn claim(
        &mut self,
        about: NodeId,
        epoch: Epoch,
        incarnation: Incarnation,
        state: State,
        at: Option<SocketAddr>,
    ) -> Vec<u8> {
        let details = at.map(|addr| Details { incarnation, versions: 0x11, addr, metadata: b"" });
        let accusers: Accusers = [self.header.sender].into_iter().collect();
        let accusers = if state == State::Suspect { accusers } else { Accusers::new() };
        self.update(&Update { id: about, epoch, incarnation, state, accusers, age: None, details })
    }

    pub(crate) fn alive(
        &mut self,
        about: NodeId,
        epoch: Epoch,
        incarnation: Incarnation,
        at: SocketAddr,
    ) -> Vec<u8> {
        self.claim(about, epoch, incarnation, State::Alive, Some(at))
    }

    /// An accusation in the names of others.
    pub(crate) fn accusation(
        &self,
        about: NodeId,
        epoch: Epoch,
        incarnation: Incarnation,
        accusers: &[NodeId],
    ) -> Vec<u8> {
        let accusers = accusers.iter().copied().collect();
        self.update(&Update {
            id: about,
            epoch,
            incarnation,
            state: State::Suspect,
            accusers,
            age: None,
            details: None,
        })
    }
}
