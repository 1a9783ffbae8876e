//! What stands for encryption where the feature `secure` is off: a type without a value, so that
//! nothing is ever sealed.

use std::io;

use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::seal::{self, Opened, Refusal};
use chinwag_core::time::Now;

use crate::base::runtime::Stream;

#[derive(Debug)]
pub(crate) enum Security {}

impl Security {
    pub(crate) fn dial(&self, _: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        match *self {}
    }

    pub(crate) fn accept(&self, _: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        match *self {}
    }

    pub(crate) fn seal(&self, _: Now, _: Epoch, _: NodeId, _: &mut Vec<u8>) -> bool {
        match *self {}
    }

    pub(crate) fn open(&self, _: Now, _: &mut [u8]) -> Result<Opened, Refusal> {
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
