//! [`Context`]: what a handler knows about the call it answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::Timestamp;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::rpc::Headers;
use chinwag_core::time::Instant;

use crate::client::Client;
use crate::node::Node;
use crate::shared::Shared;

/// The call a handler answers: who calls, until when, with what.
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
    caller: Caller,
    deadline: Option<Instant>,
    headers: Headers,
    stamp: Timestamp,
}

/// The other end of a call, as its hello says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The node.
    pub id: NodeId,
    /// The run of it.
    pub epoch: Epoch,
    /// Where it says it is reached.
    pub addr: SocketAddr,
}

/// What came with a call.
pub(crate) struct Given {
    pub(crate) deadline: Option<Instant>,
    pub(crate) headers: Headers,
    pub(crate) stamp: Timestamp,
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, caller: Caller, given: Given) -> Self {
        let Given { deadline, headers, stamp } = given;
        Self { shared, caller, deadline, headers, stamp }
    }

    /// Who calls. Without security this is the caller's own word.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// When the caller stops waiting, on the runtime's monotonic clock. `None`: it waits without end, or this is one-way.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What is left until the deadline.
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.deadline?.since(self.shared.runtime.now().mono))
    }

    /// The metadata sent with the call.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The caller's clock when it sent. Already observed: whatever this node stamps from now on is later.
    pub fn stamp(&self) -> Timestamp {
        self.stamp
    }

    /// The node that runs the handler; `None` once its last handle is gone. Not to be kept in the service.
    pub fn node(&self) -> Option<Node> {
        self.shared.node()
    }

    /// A client for a nested call, whose deadline is this call's if that is sooner than the default.
    pub fn client<S>(&self, peer: NodeId) -> Client<S> {
        let client = Client::new(self.shared.clone(), peer);
        match self.deadline {
            Some(deadline) => client.until(deadline),
            None => client,
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("caller", &self.caller)
            .field("deadline", &self.deadline)
            .field("headers", &self.headers)
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}
