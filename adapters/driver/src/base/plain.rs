//! What stands for encryption where the feature `secure` is off: a type without a value, so that
//! nothing is ever sealed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chinwag_core::clock::Timestamp;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{Member, Metadata, MetadataError};
use chinwag_core::seal::{self, Opened, Refusal};
use chinwag_core::time::Now;

use crate::base::runtime::{BoxFuture, Runtime, Stream};

#[derive(Debug)]
pub(crate) enum Security {}

/// There is none to give.
#[derive(Debug)]
pub(crate) enum Secret {}

/// There are none to give.
#[derive(Clone, Debug)]
pub(crate) enum Certificates {}

#[derive(Debug)]
pub(crate) enum Fault {}

/// What a builder was told of encryption: nothing.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) secret: Option<Secret>,
    pub(crate) certificates: Option<Certificates>,
}

pub(crate) fn start(
    _: Wanted,
    _: &Arc<dyn Runtime>,
    _: &str,
    _: NodeId,
    _: Timestamp,
) -> Result<Option<Arc<Security>>, Fault> {
    Ok(None)
}

impl Security {
    pub(crate) fn connect(
        self: &Arc<Self>,
        _: SocketAddr,
        _: Option<NodeId>,
    ) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        match **self {}
    }

    pub(crate) fn accept(&self, _: Box<dyn Stream>) -> Box<dyn Stream> {
        match *self {}
    }

    pub(crate) fn seal(&self, _: Now, _: Epoch, _: NodeId, _: &mut Vec<u8>) -> bool {
        match *self {}
    }

    pub(crate) fn open(&self, _: Now, _: &mut [u8]) -> Result<Opened, Refusal> {
        match *self {}
    }

    pub(crate) fn handle_member(&self, _: &Member) {
        match *self {}
    }

    pub(crate) fn handle_gone(&self, _: NodeId) {
        match *self {}
    }

    pub(crate) fn own(&self, _: &Metadata) -> Result<Metadata, MetadataError> {
        match *self {}
    }

    pub(crate) fn is_transitional(&self) -> bool {
        match *self {}
    }

    pub(crate) fn connections_plain(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn key_in_use(&self) -> seal::KeyId {
        match *self {}
    }

    pub(crate) fn prove(&self, _: &Opened) {
        match *self {}
    }

    pub(crate) fn datagram_stats(&self) -> seal::Stats {
        match *self {}
    }

    pub(crate) fn handshakes_refused(&self) -> u64 {
        match *self {}
    }
}
