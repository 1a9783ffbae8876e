//! How calls, messages and answers are put into frames, and what waits until they may be
//! (`docs/protocol.md` §5.1.1, §5.3, §5.7).

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::calls::{Class, Open};
use super::config::{ATTACHMENTS_MAX, COPY_LEN_MAX};
use super::connection::{Connection, Phase};
use super::content::{Content, content_len};
use super::event::{CallId, Fingerprint, Request, RequestError};
use super::flows::{Message, Owner};
use super::frame::{FLAG_NEVER_RAN, FrameHeader, Kind};
use super::headers::Headers;
use super::methods::{Method, are_names_valid};
use super::mutant::Defect;
use super::status::{Code, Status};
use super::stream::{Shape, chunk_len_max};
use crate::time::Now;

/// Bytes of a write that are left for the headers of what is composed into it.
const COMPOSE_RESERVE: usize = 1_024;

/// What a request or a one-way message carries.
#[derive(Debug)]
pub(super) struct Carried<'a> {
    pub(super) headers: &'a Headers,
    pub(super) body: Body<'a>,
    pub(super) attachments: &'a [Bytes],
    pub(super) shape: Shape,
    pub(super) depth: u8,
    pub(super) chunk_len_max: u32,
}

impl Connection {
    /// Whether so much waits for the socket that what can wait elsewhere does (§5.7.4).
    pub(super) fn is_socket_behind(&self) -> bool {
        let waiting = match self.has_defect(Defect::OneLimitForAll) {
            true => self.flows.len() + self.room.len(),
            false => self.flows.socket_len(),
        };
        self.outbox.len() + waiting >= self.config.outbound_len_max
    }

    /// The same for a call of this class (§5.12.2). A small request waits for nothing but other
    /// small ones, and a large one may always begin if it need not wait for a lane: whoever sends
    /// one large message holds up nobody else's calls.
    pub(super) fn is_socket_behind_for(&self, class: Class) -> bool {
        let is_behind = match class.is_charged() {
            _ if self.has_defect(Defect::OneLimitForAll) => true,
            false => self.outbox.len() >= self.config.outbound_len_max,
            true => self.flows.are_lanes_wanted(),
        };
        is_behind && self.is_socket_behind()
    }

    /// Bytes of answers and chunks to the peer's calls that wait.
    pub(super) fn inbound_out_len(&self) -> usize {
        self.outbox.len() + self.flows.inbound_len()
    }

    /// What a request must be to be taken (§5.7.1, §5.7.4).
    pub(super) fn check(&self, request: &Request<'_>) -> Result<(), RequestError> {
        let (message_len_max, headers_len_max) = match &self.phase {
            Phase::Closed => return Err(RequestError::Closed),
            Phase::Open(peer) => (peer.message_len_max, peer.headers_len_max),
            Phase::Greeting => (self.config.message_len_max, self.config.headers_len_max),
        };
        let len = content_len(request.body.len(), request.attachments);
        let headers_len = request.headers.encoded_len();
        let chunk_len = chunk_len_max(request.chunk_len_max);
        if self.is_going_away() {
            Err(RequestError::GoingAway)
        } else if !are_names_valid(request.service, request.method) {
            Err(RequestError::Name)
        } else if !are_fitting(request.body.len(), request.attachments, message_len_max) {
            Err(RequestError::TooLarge { len, len_max: message_len_max as usize })
        } else if exceeds(headers_len, headers_len_max) {
            let len_max = headers_len_max as usize;
            Err(RequestError::HeadersTooLarge { len: headers_len, len_max })
        } else if request.shape.is_streaming() && chunk_len > message_len_max {
            let (len, len_max) = (chunk_len as usize, message_len_max as usize);
            Err(RequestError::ChunkTooLarge { len, len_max })
        } else {
            Ok(())
        }
    }

    /// The id of a method, defined to the peer if it is new; `None` before the peer's hello
    /// (§5.2.5).
    pub(super) fn method_id(
        &mut self,
        service: &str,
        method: &str,
        fingerprint: Fingerprint,
    ) -> Result<Option<u16>, RequestError> {
        let Phase::Open(peer) = &self.phase else {
            return Ok(None);
        };
        if let Some(id) = self.named.find(service, method, fingerprint) {
            return Ok(Some(id));
        }
        let named = Method { service: service.into(), method: method.into(), fingerprint };
        let mut body = Vec::new();
        named.encode(&mut body);
        let id = self.named.name(named, peer.methods_max).ok_or(RequestError::TooManyMethods)?;
        self.outbox.plain(FrameHeader { method: id, ..FrameHeader::new(Kind::Intern, 0) }, &body);
        Ok(Some(id))
    }

    /// Queues a `Request` (with a call) or a `OneWay`.
    pub(super) fn send_message(
        &mut self,
        now: Now,
        call: Option<CallId>,
        method: u16,
        timeout: Option<u64>,
        request: Carried<'_>,
    ) {
        let flags = request.shape.flags();
        let number = call.and_then(|call| self.calls.get(call)).and_then(Open::number);
        let (header, owner) = match (call, number) {
            (Some(call), Some(number)) => (
                FrameHeader { flags, ..FrameHeader::new(Kind::Request, number) },
                Owner::Call(call),
            ),
            _ => (FrameHeader::new(Kind::OneWay, 0), Owner::Nobody),
        };
        let header = FrameHeader { method, code: request.depth.into(), ..header };
        let Carried { headers, body, attachments, chunk_len_max, .. } = request;
        let stamp = self.stamp(now);
        let chunk_len_max = if flags == 0 || call.is_none() { 0 } else { chunk_len_max };
        if body.is_small() && attachments.is_empty() && chunk_len_max == 0 {
            if let Some(call) = call {
                self.calls.set_position(call, self.outbox.position());
            }
            self.outbox.message(header, stamp, timeout, headers, body);
            return self.share(now);
        }
        let deadline = timeout.map(|micros| now.mono + Duration::from_micros(micros));
        let content = Content::new(body, attachments, &mut self.outbox.trash);
        let mut message =
            Message { header, stamp, deadline, headers: headers.clone(), content, chunk_len_max };
        if message.content.len() <= COPY_LEN_MAX {
            if let Some(call) = call {
                self.calls.set_position(call, self.outbox.position());
            }
            self.outbox.whole(now.mono, &mut message);
            return self.share(now);
        }
        self.flows.push(owner, message, self.outbox.position());
    }

    /// A small message was queued: one turn of what waits behind small ones, if it is time
    /// (§5.10.6).
    pub(super) fn share(&mut self, now: Now) {
        if self.flows.is_overdue(self.outbox.position()) {
            self.turn(now, self.config.fragment_len);
        }
    }

    /// Lets the next flow have its turn. Returns whether any could.
    fn turn(&mut self, now: Now, len_max: usize) -> bool {
        let Some(turn) =
            self.flows.turn(now.mono, &mut self.answers_out, &mut self.outbox, len_max)
        else {
            return false;
        };
        if let Some((call, position)) = turn.began {
            self.calls.set_position(call, position);
            self.open_sender(now, call);
        }
        if self.owes_go_away {
            self.say_go_away();
        }
        true
    }

    /// Fills the next write with what waits in the flows.
    pub(super) fn compose(&mut self, now: Now) {
        let len_max = self.config.transmit_len_max;
        while let Some(left) = len_max.checked_sub(self.outbox.len() + COMPOSE_RESERVE)
            && self.turn(now, left)
        {}
    }

    /// Queues a `Response`.
    pub(super) fn send_response(
        &mut self,
        now: Now,
        call: u32,
        headers: &Headers,
        attachments: &[Bytes],
        result: Result<Body<'_>, Status>,
    ) {
        let mut header = FrameHeader::new(Kind::Response, call);
        let status = match result {
            Ok(body) => return self.send_answer(now, header, headers, attachments, body),
            Err(status) => status,
        };
        set_status(&mut header, &status);
        self.send_answer(now, header, headers, &[], status.wire_message().as_bytes().into());
    }

    fn send_answer(
        &mut self,
        now: Now,
        header: FrameHeader,
        headers: &Headers,
        attachments: &[Bytes],
        body: Body<'_>,
    ) {
        let owner = Owner::Inbound(header.call);
        let stamp = self.stamp(now);
        let has_earlier = self.flows.has(owner);
        if body.is_small() && attachments.is_empty() && !has_earlier {
            self.outbox.message(header, stamp, None, headers, body);
            return self.share(now);
        }
        let content = Content::new(body, attachments, &mut self.outbox.trash);
        let is_small = content.len() <= COPY_LEN_MAX;
        let headers = headers.clone();
        let mut message =
            Message { header, stamp, deadline: None, headers, content, chunk_len_max: 0 };
        if is_small && !has_earlier {
            self.outbox.whole(now.mono, &mut message);
            return self.share(now);
        }
        self.flows.push(owner, message, self.outbox.position());
    }

    /// Answers a request that no handler sees, before whatever else waits.
    pub(super) fn send_refusal(&mut self, now: Now, call: u32, status: &Status) {
        let mut header = FrameHeader::new(Kind::Response, call);
        set_status(&mut header, status);
        let stamp = self.stamp(now);
        self.outbox.message(
            header,
            stamp,
            None,
            &Headers::new(),
            status.wire_message().as_bytes().into(),
        );
    }
}

fn set_status(header: &mut FrameHeader, status: &Status) {
    // 0 is success and no code: one that claims it is kept a failure.
    header.code = if status.code.get() == 0 { Code::Internal.get() } else { status.code.get() };
    header.flags = if status.may_have_run() { 0 } else { FLAG_NEVER_RAN };
}

/// Whether a body with its attachments is within a limit of the wire.
pub(super) fn are_fitting(body_len: usize, attachments: &[Bytes], len_max: u32) -> bool {
    attachments.len() <= ATTACHMENTS_MAX && !exceeds(content_len(body_len, attachments), len_max)
}

/// Whether `len` is beyond a limit of the wire.
pub(super) fn exceeds(len: usize, len_max: u32) -> bool {
    u32::try_from(len).map_or(true, |len| len > len_max)
}

/// A timeout as it travels: whole microseconds, rounded down, so that it only shrinks (§5.3.4).
/// More than the field holds is the largest that is not "none".
pub(super) fn micros(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX).min(u64::MAX - 1)
}
