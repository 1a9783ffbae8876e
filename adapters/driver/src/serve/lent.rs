//! The bytes of a streaming call's request, whose credit goes back to the caller when the handler
//! has let go of them all: the handler may live for long after that. Those of a unary call have
//! theirs until it is answered.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use chinwag_core::rpc::InboundId;
use chinwag_core::rpc::config::COPY_LEN_MAX;

use crate::link::handle::Link;

/// Bytes of the request that somebody holds.
struct Lent {
    bytes: Bytes,
    _credit: Arc<Credit>,
}

/// What they hold together.
struct Credit {
    link: Weak<Link>,
    id: InboundId,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.let_go(self.id);
        }
    }
}

/// The request's body and what came beside it. Short ones hold no credit.
pub(super) fn lend(link: &Arc<Link>, id: InboundId, body: &mut Bytes, attachments: &mut [Bytes]) {
    if body.len() + attachments.iter().map(Bytes::len).sum::<usize>() <= COPY_LEN_MAX {
        return;
    }
    let credit = Arc::new(Credit { link: Arc::downgrade(link), id });
    for bytes in std::iter::once(body).chain(attachments) {
        let lent = Lent { bytes: std::mem::take(bytes), _credit: credit.clone() };
        *bytes = Bytes::from_owner(lent);
    }
}
