//! The local node, and the peer of a stream, as the driver names them.

use core::net::SocketAddr;

use crate::id::{Epoch, NodeId};
use crate::membership::Metadata;
use crate::rpc::PeerHello;

/// Who the local node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its id, unique in the cluster.
    pub id: NodeId,
    /// Its run, normally [`Epoch::at`] the wall time of its start.
    pub epoch: Epoch,
    /// Where others reach it, by datagram and by stream; the port is not 0.
    pub addr: SocketAddr,
    /// What it says about itself.
    pub metadata: Metadata,
}

/// The peer of a stream-plane payload, as its connection's hello and socket say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPeer {
    /// Who.
    pub id: NodeId,
    /// Which run.
    pub epoch: Epoch,
    /// The address that the peer's hello advertises.
    pub addr: SocketAddr,
}

impl From<&PeerHello> for StreamPeer {
    fn from(hello: &PeerHello) -> Self {
        Self { id: hello.id, epoch: hello.epoch, addr: hello.addr }
    }
}
