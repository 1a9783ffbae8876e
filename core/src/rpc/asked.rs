//! [`Asked`]: a request that has come and is to be run (`docs/protocol.md` §5.4).

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::connection::Connection;
use super::deadlines::Due;
use super::event::Event;
use super::frame::FrameHeader;
use super::headers::Headers;
use super::inbound::Ends;
use super::stream::{Held, Shape, StreamRef};
use crate::clock::Timestamp;
use crate::time::{Instant, Now};

/// A request beside its contents.
pub(super) struct Asked {
    pub(super) stamp: Timestamp,
    /// Microseconds from `since`, when its header was read.
    pub(super) timeout: Option<u64>,
    pub(super) since: Instant,
    pub(super) held: Held,
    pub(super) shape: Shape,
}

impl Connection {
    /// A request that nothing is to be said against, in a method that has been defined.
    pub(super) fn open_request(
        &mut self,
        now: Now,
        header: FrameHeader,
        asked: Asked,
        headers: Headers,
        body: Bytes,
        attachments: Vec<Bytes>,
    ) {
        let Asked { stamp, timeout, since, held, shape } = asked;
        debug_assert!(
            usize::from(header.method) < self.methods.len(),
            "methods are looked for before a request is waited for"
        );
        let deadline = timeout.map(|micros| since + Duration::from_micros(micros));
        let ends = Ends {
            has_deadline: deadline.is_some(),
            is_streaming: shape.is_streaming(),
            held: held.cost,
        };
        let id = self.inbound.open(header.call, ends);
        if ends.is_streaming {
            self.open_stream(now, StreamRef::Inbound(id), shape);
        }
        if let Some(at) = deadline {
            self.deadlines.insert(at, Due::Inbound(id));
        }
        self.stats.calls_in += 1;
        self.events.push_back(Event::Request {
            id,
            method_id: header.method,
            headers,
            deadline,
            stamp,
            body,
            attachments,
            shape,
        });
    }
}
