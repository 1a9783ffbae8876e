//! Why a call was not made: the statuses with which [`Target`] refuses one before a byte of it is
//! sent.

use chinwag_core::rpc::config::ATTACHMENTS_MAX;
use chinwag_core::rpc::{Code, RequestError, Status};

use super::target::{OutboundRequest, Target};
use crate::link::handle::Link;

impl Target {
    /// The peer is not in the view.
    pub(super) fn not_a_member(&self, others: usize) -> Status {
        let text = format!(
            "node {} is not among the live members ({others} besides this node): wait until it \
             has joined, with `Node::wait_for`",
            self.peer
        );
        Status::unsent(Code::Unavailable, text)
    }

    /// Each connection that there was, was going away.
    pub(super) fn no_connection(&self) -> Status {
        let text = format!("each connection to node {} was going away", self.peer);
        Status::unsent(Code::Unavailable, text)
    }

    /// Why the connection did not take a request: nothing of it was sent. One that is too large is
    /// so by the peer's limits, or before its hello by this node's own.
    pub(super) fn refused(
        &self,
        link: Option<&Link>,
        request: &OutboundRequest,
        error: RequestError,
    ) -> Status {
        let peer = link.and_then(Link::peer);
        let own = &self.shared.node.rpc;
        let text = match error {
            RequestError::TooLarge { .. } if request.attachments.len() > ATTACHMENTS_MAX => {
                let len = request.attachments.len();
                format!("the message has {len} attachments, and may have {ATTACHMENTS_MAX}")
            }
            RequestError::TooLarge { .. } => format!(
                "the message has {} bytes, and node {} takes at most {}: send it as a stream, or \
                 raise `message_len_max` there",
                request.len(),
                self.peer,
                peer.map_or(own.message_len_max, |peer| peer.message_len_max)
            ),
            RequestError::HeadersTooLarge { .. } => format!(
                "the headers have {} bytes, and node {} takes at most {}: send less, or raise \
                 `headers_len_max` there",
                request.headers.encoded_len(),
                self.peer,
                peer.map_or(own.headers_len_max, |peer| peer.headers_len_max)
            ),
            error => error.to_string(),
        };
        Status::unsent(code_of(error), text)
    }

    /// The peer's hello says that it takes less than was sent before that came.
    pub(super) fn too_large(&self, link: &Link, request: &OutboundRequest) -> Status {
        let is_message = link.peer().is_none_or(|peer| {
            exceeds(request.len(), peer.message_len_max)
                || request.attachments.len() > ATTACHMENTS_MAX
        });
        let (len, len_max) = (request.len(), 0);
        let error = match is_message {
            true => RequestError::TooLarge { len, len_max },
            false => RequestError::HeadersTooLarge { len, len_max },
        };
        self.refused(Some(link), request, error)
    }

    /// What a request of the node to itself must be to be taken: as to any other node of the same
    /// configuration.
    pub(super) fn check_local(&self, request: &OutboundRequest) -> Result<(), Status> {
        let limits = &self.shared.node.rpc;
        if exceeds(request.len(), limits.message_len_max)
            || request.attachments.len() > ATTACHMENTS_MAX
        {
            let (len, len_max) = (request.len(), limits.message_len_max as usize);
            return Err(self.refused(None, request, RequestError::TooLarge { len, len_max }));
        }
        if exceeds(request.headers.encoded_len(), limits.headers_len_max) {
            let len = request.headers.encoded_len();
            let len_max = limits.headers_len_max as usize;
            let error = RequestError::HeadersTooLarge { len, len_max };
            return Err(self.refused(None, request, error));
        }
        Ok(())
    }
}

fn exceeds(len: usize, len_max: u32) -> bool {
    u32::try_from(len).map_or(true, |len| len > len_max)
}

/// The code of a call that its connection did not take.
const fn code_of(error: RequestError) -> Code {
    match error {
        RequestError::Full | RequestError::TooManyMethods => Code::Overloaded,
        RequestError::TooLarge { .. }
        | RequestError::HeadersTooLarge { .. }
        | RequestError::ChunkTooLarge { .. } => Code::TooLarge,
        RequestError::Name => Code::UnknownMethod,
        RequestError::GoingAway | RequestError::Closed => Code::Unavailable,
        // A reason that this version of the driver does not know.
        _ => Code::Internal,
    }
}
