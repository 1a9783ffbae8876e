//! What the calls of a connection say when it ends, or is never made: which peer, at which address,
//! and the system's error.

use std::fmt;

use chinwag_core::rpc::{CloseReason, Code, Status};

use super::handle::State;

impl State {
    /// Has the failure of a call that this side ended name the peer and the system's error.
    pub(super) fn explain(&self, status: &mut Status, ending: Option<&CloseReason>) {
        if let Some(reason) = ending.filter(|reason| reason.to_string() == status.message) {
            status.message = self.end_text(reason);
        } else if status.code == Code::DeadlineExceeded
            && status.never_sent()
            && self.machine.peer().is_none()
        {
            status.message = match &self.trouble {
                Some(trouble) => format!("the deadline passed; {trouble}"),
                None => format!("the deadline passed before {} was connected", self.peer_text()),
            };
        }
    }

    /// Why the connection ended, with the name of the peer.
    pub(super) fn end_text(&self, reason: &CloseReason) -> String {
        match (reason, &self.trouble) {
            (CloseReason::Lost, Some(trouble)) => trouble.clone(),
            _ => format!("{}: {reason}", self.peer_text()),
        }
    }

    /// The peer's id and address, as far as they are known.
    fn peer_text(&self) -> String {
        let hello = self.machine.peer();
        let id = hello.map(|hello| hello.id).or_else(|| self.target?.id);
        let addr = self.target.map(|target| target.addr).or_else(|| Some(hello?.addr));
        match (id, addr) {
            (Some(id), Some(addr)) => format!("node {id} at {addr}"),
            (None, Some(addr)) => format!("the node at {addr}"),
            _ => "the peer".into(),
        }
    }

    /// Keeps why the stream was not made, or was lost, for the calls that end with it.
    pub(super) fn note_trouble(&mut self, error: &dyn fmt::Display) -> &str {
        let peer = self.peer_text();
        self.trouble.insert(match self.machine.peer() {
            None => format!("cannot connect to {peer}: {error}"),
            Some(_) => format!("the connection to {peer} was lost: {error}"),
        })
    }
}
