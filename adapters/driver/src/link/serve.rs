//! [`Serve`]: what a link needs of whatever answers its peer's calls.

use std::collections::VecDeque;
use std::sync::Arc;

use chinwag_core::rpc::{Event, Fingerprint, MethodName};
use chinwag_core::time::Now;

use crate::link::handle::Link;

/// Whatever answers the calls of peers. A link knows no services: it hands the calls that arrive
/// to the [`Inbound`] that this makes for it.
pub(crate) trait Serve: Send + Sync {
    /// The inbound calls of `link`, for the link's task to drive.
    fn inbound(self: Arc<Self>, link: &Arc<Link>) -> Box<dyn Inbound>;
}

/// The inbound calls of one connection.
pub(crate) trait Inbound: Send {
    /// Acts on the requests, one-way messages and cancellations among `events`, in order, and
    /// takes their contents. Leaves all other events alone. Called without a lock.
    fn handle(&mut self, now: Now, events: &mut VecDeque<Event>);

    /// Ends every call, because the connection is over.
    fn finish(&mut self);
}

/// A method as the peer names it.
pub(crate) struct PeerMethod {
    pub(super) service: String,
    pub(super) method: String,
    pub(super) fingerprint: Fingerprint,
}

impl PeerMethod {
    pub(crate) fn name(&self) -> MethodName<'_> {
        let Self { service, method, fingerprint } = self;
        MethodName { service, method, fingerprint: *fingerprint }
    }
}
