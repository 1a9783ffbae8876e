//! [`Inbound`]: the peer's calls that wait for an answer, and how a request becomes one
//! (`docs/protocol.md` §5.4, §5.4.5).

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::charges::depth_of;
use super::config::SLOTS_MAX;
use super::connection::Connection;
use super::deadlines::Due;
use super::event::{Event, InboundId};
use super::frame::FrameHeader;
use super::headers::Headers;
use super::slots::Slots;
use super::stream::{Shape, StreamRef};
use crate::clock::Timestamp;
use crate::time::{Instant, Now};

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: InboundId,
    ends: Ends,
}

/// What ends with a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) has_deadline: bool,
    pub(super) is_streaming: bool,
}

/// Open calls by slot. The caller picks the slot, so finding a call is indexing, and the number of
/// slots is the limit.
#[derive(Debug)]
pub(super) struct Inbound {
    slots: Slots<Entry>,
    slots_max: u32,
    serial: u32,
}

impl Inbound {
    pub(super) fn new(slots_max: u32) -> Self {
        Self { slots: Slots::default(), slots_max, serial: 0 }
    }

    /// Calls that wait for an answer.
    pub(super) fn open_count(&self) -> u32 {
        self.slots.count()
    }

    /// Whether the peer may use the slot of this id now.
    pub(super) fn has_room(&self, call: u32) -> bool {
        slot(call) < self.slots_max as usize && self.slots.get(slot(call)).is_none()
    }

    /// Opens a call; [`Inbound::has_room`] was asked.
    pub(super) fn open(&mut self, call: u32, ends: Ends) -> InboundId {
        debug_assert!(self.has_room(call), "the slot is free");
        self.serial = self.serial.wrapping_add(1);
        let id = InboundId { call, serial: self.serial };
        self.slots.put(slot(call), Entry { id, ends });
        id
    }

    /// Whether this call waits for an answer.
    pub(super) fn is_open(&self, id: InboundId) -> bool {
        self.slots.get(id.slot()).is_some_and(|entry| entry.id == id)
    }

    /// Whether the call the peer means by `call` is open, and streams.
    pub(super) fn find_streaming(&self, call: u32) -> Option<(InboundId, bool)> {
        let entry = self.slots.get(slot(call))?;
        (entry.id.call == call).then_some((entry.id, entry.ends.is_streaming))
    }

    /// Ends this call; `None` if it is over.
    pub(super) fn end(&mut self, id: InboundId) -> Option<Ends> {
        Some(self.slots.take_if(id.slot(), |entry| entry.id == id)?.ends)
    }

    /// The open call the peer means by `call`.
    pub(super) fn find(&self, call: u32) -> Option<InboundId> {
        let entry = self.slots.get(slot(call))?;
        (entry.id.call == call).then_some(entry.id)
    }

    /// Every call is over.
    pub(super) fn clear(&mut self) {
        self.slots = Slots::default();
    }
}

fn slot(call: u32) -> usize {
    (call & (SLOTS_MAX - 1)) as usize
}

/// A request beside its contents.
#[derive(Clone, Copy)]
pub(super) struct InboundRequest {
    pub(super) stamp: Timestamp,
    /// Microseconds from `since`, when its header was read.
    pub(super) timeout: Option<u64>,
    pub(super) since: Instant,
    pub(super) shape: Shape,
    /// As it is declared: 0 if it is not.
    pub(super) chunk_len_max: u32,
}

impl Connection {
    /// A request that nothing is to be said against, in a method that has been defined. `false`:
    /// its stream has no room.
    pub(super) fn open_request(
        &mut self,
        now: Now,
        header: FrameHeader,
        request: InboundRequest,
        headers: Headers,
        body: Bytes,
        attachments: Vec<Bytes>,
    ) -> bool {
        let InboundRequest { stamp, timeout, since, shape, chunk_len_max } = request;
        debug_assert!(
            usize::from(header.method) < self.methods.len(),
            "methods are looked for before a request is waited for"
        );
        let deadline = timeout.map(|micros| since + Duration::from_micros(micros));
        let ends = Ends { has_deadline: deadline.is_some(), is_streaming: shape.is_streaming() };
        let id = self.inbound.open(header.call, ends);
        if ends.is_streaming
            && !self.accept_stream(now, StreamRef::Inbound(id), shape, chunk_len_max)
        {
            self.inbound.end(id);
            return false;
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
            depth: depth_of(header),
        });
        true
    }
}
