//! The bytes of a streaming call's request, whose credit goes back to the caller when the handler
//! has let go of them all: the handler may live for long after that. Those of a unary call have
//! theirs until it is answered.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use chinwag_core::rpc::InboundId;
use chinwag_core::rpc::config::COPY_LEN_MAX;

use crate::link::handle::Link;

/// Bytes of the request that somebody holds.
struct GuardedBytes {
    bytes: Bytes,
    _guard: Arc<CreditGuard>,
}

/// The credit that they hold together, which goes back when it is dropped.
struct CreditGuard {
    link: Weak<Link>,
    id: InboundId,
}

impl AsRef<[u8]> for GuardedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CreditGuard {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.release_request(self.id);
        }
    }
}

/// The request's body and what came beside it. Short ones hold no credit.
pub(super) fn guard_credit(
    link: &Arc<Link>,
    id: InboundId,
    body: &mut Bytes,
    attachments: &mut [Bytes],
) {
    if body.len() + attachments.iter().map(Bytes::len).sum::<usize>() <= COPY_LEN_MAX {
        return;
    }
    let guard = Arc::new(CreditGuard { link: Arc::downgrade(link), id });
    for bytes in std::iter::once(body).chain(attachments) {
        let guarded = GuardedBytes { bytes: std::mem::take(bytes), _guard: guard.clone() };
        *bytes = Bytes::from_owner(guarded);
    }
}
