//! How calls, messages and answers are put into frames, and what waits until they may be (`docs/protocol.md` §5.1.1, §5.3, §5.7).

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::connection::{Connection, Phase};
use super::event::{CallId, Fingerprint, Request, RequestError};
use super::frame::{FLAG_NEVER_RAN, FrameHeader, Kind};
use super::headers::Headers;
use super::methods::{Method, are_names_valid};
use super::status::{Code, Status};
use crate::time::{Instant, Now};

/// What a request that waits for the peer's hello counts against `outbound_len_max` beside its parts.
pub(super) const WAITING_OVERHEAD: usize = 128;

/// A verb that waits for the peer's hello.
#[derive(Debug)]
pub(super) enum Waiting {
    Message { call: Option<CallId>, message: Message, deadline: Option<Instant> },
    Gossip(Vec<u8>),
}

/// A request that owns its names.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) service: String,
    pub(super) method: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
}

impl Connection {
    pub(super) fn is_full(&self) -> bool {
        self.queued_len() >= self.config.outbound_len_max
    }

    /// What a request must be to be taken (§5.7.1, §5.7.4).
    pub(super) fn check(&self, request: &Request<'_>) -> Result<(), RequestError> {
        let (message_len_max, headers_len_max) = match &self.phase {
            Phase::Closed => return Err(RequestError::Closed),
            Phase::Open(peer) => (peer.message_len_max, peer.headers_len_max),
            Phase::Greeting => (self.config.message_len_max, self.config.headers_len_max),
        };
        if self.is_going_away() {
            Err(RequestError::GoingAway)
        } else if !are_names_valid(request.service, request.method) {
            Err(RequestError::Name)
        } else if !request.attachments.is_empty()
            || request.shape.is_streaming()
            || exceeds(request.body.len(), message_len_max)
        {
            Err(RequestError::TooLarge)
        } else if exceeds(request.headers.encoded_len(), headers_len_max) {
            Err(RequestError::HeadersTooLarge)
        } else if self.is_full() {
            Err(RequestError::Full)
        } else {
            Ok(())
        }
    }

    /// The id of a method, defined to the peer if it is new; `None` before the peer's hello (§5.2.5).
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
        headers: &Headers,
        body: Body<'_>,
    ) {
        let header = match call {
            Some(call) => {
                self.calls.set_position(call, self.outbox.position());
                FrameHeader { method, ..FrameHeader::new(Kind::Request, call.0) }
            }
            None => FrameHeader { method, ..FrameHeader::new(Kind::OneWay, 0) },
        };
        let stamp = self.clock.tick(now.wall);
        self.outbox.message(header, stamp, timeout, headers, body);
    }

    /// Keeps a request until the peer's hello is in.
    pub(super) fn wait(&mut self, now: Now, call: Option<CallId>, request: Request<'_>) {
        let deadline = request.deadline.map(|timeout| now.mono + timeout);
        let message = Message {
            service: request.service.into(),
            method: request.method.into(),
            fingerprint: request.fingerprint,
            headers: request.headers,
            body: request.body.into_bytes(),
        };
        self.waiting_len += message.len();
        self.waiting.push_back(Waiting::Message { call, message, deadline });
    }

    /// Queues a `Response`.
    pub(super) fn send_response(
        &mut self,
        now: Now,
        call: u32,
        headers: &Headers,
        result: Result<Body<'_>, Status>,
    ) {
        let mut header = FrameHeader::new(Kind::Response, call);
        let stamp = self.clock.tick(now.wall);
        let status = match result {
            Ok(body) => return self.outbox.message(header, stamp, None, headers, body),
            Err(status) => status,
        };
        // 0 is success and no code: one that claims it is kept a failure.
        header.code = if status.code.get() == 0 { Code::Internal.get() } else { status.code.get() };
        header.flags = if status.may_have_run() { 0 } else { FLAG_NEVER_RAN };
        let message = status.wire_message().as_bytes();
        self.outbox.message(header, stamp, None, headers, message.into());
    }
}

impl Waiting {
    pub(super) fn is_of(&self, of: CallId) -> bool {
        matches!(self, Self::Message { call: Some(call), .. } if *call == of)
    }
}

impl Message {
    /// What it counts against `outbound_len_max` while it waits.
    pub(super) fn len(&self) -> usize {
        let names = self.service.len() + self.method.len();
        names + self.headers.encoded_len() + self.body.len() + WAITING_OVERHEAD
    }
}

/// Whether `len` is beyond a limit of the wire.
pub(super) fn exceeds(len: usize, len_max: u32) -> bool {
    u32::try_from(len).map_or(true, |len| len > len_max)
}

/// A timeout as it travels: whole microseconds, rounded down, so that it only shrinks (§5.3.4). More than the field holds is the
/// largest that is not "none".
pub(super) fn micros(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX).min(u64::MAX - 1)
}
