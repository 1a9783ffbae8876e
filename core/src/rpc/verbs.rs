//! The verbs of a connection that are about calls, messages and the end: what the user commands
//! (`docs/protocol.md` §5.4, §5.6, §5.9). Those of streams are in [`stream`](super::stream).

use alloc::format;

use bytes::Bytes;

use super::body::Body;
use super::calls::Open;
use super::config::GOSSIP_LEN_MAX;
use super::connection::{Connection, Phase};
use super::content::content_len;
use super::deadlines::Due;
use super::event::{CallId, GossipError, InboundId, Request, RequestError, RespondError};
use super::frame::{FrameHeader, Kind};
use super::headers::Headers;
use super::outbound::{Carried, WAITING_OVERHEAD, Waiting, are_fitting, exceeds, micros};
use super::status::{Code, Status};
use super::stream::{Shape, StreamRef};
use crate::time::Now;

impl Connection {
    /// Calls the peer. The call's one [`Event::Response`] follows, unless it is cancelled.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing changed.
    pub fn request(&mut self, now: Now, request: Request<'_>) -> Result<CallId, RequestError> {
        self.check(&request)?;
        let limit = match &self.phase {
            Phase::Open(peer) => self.config.in_flight_max.min(peer.in_flight_max),
            _ => self.config.in_flight_max,
        };
        if self.calls.open_count() >= limit {
            return Err(RequestError::Overloaded);
        }
        let is_expired = request.deadline.is_some_and(|timeout| micros(timeout) == 0);
        let method = match is_expired {
            true => None,
            false => self.method_id(request.service, request.method, request.fingerprint)?,
        };
        let is_streaming = request.shape.is_streaming();
        let open = Open { has_deadline: request.deadline.is_some(), is_streaming, position: None };
        let call = self.calls.open(limit, open).ok_or(RequestError::Overloaded)?;
        if is_streaming {
            self.open_stream(now, StreamRef::Call(call), request.shape);
        }
        self.stats.calls_out += 1;
        if let Some(timeout) = request.deadline {
            self.deadlines.insert(now.mono + timeout, Due::Call(call));
        }
        if is_expired {
            self.end_call(
                call,
                Code::DeadlineExceeded,
                "the deadline had passed when the call was made",
            );
            return Ok(call);
        }
        match method {
            Some(method) => {
                let timeout = request.deadline.map(micros);
                let Request { ref headers, body, attachments, shape, .. } = request;
                let carried = Carried { headers, body, attachments, shape };
                self.send_message(now, Some(call), method, timeout, carried);
                if is_streaming {
                    self.begin_stream(now, call);
                }
            }
            None => self.wait(now, Some(call), request),
        }
        Ok(call)
    }

    /// Sends a message that wants no answer. Whether it arrives cannot be known.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing changed. A deadline that has passed is no error: the message
    /// is dropped and counted.
    pub fn one_way(&mut self, now: Now, request: Request<'_>) -> Result<(), RequestError> {
        self.check(&request)?;
        if request.deadline.is_some_and(|timeout| micros(timeout) == 0) {
            self.stats.one_way_dropped += 1;
            return Ok(());
        }
        match self.method_id(request.service, request.method, request.fingerprint)? {
            Some(method) => {
                let timeout = request.deadline.map(micros);
                let Request { ref headers, body, attachments, .. } = request;
                let carried = Carried { headers, body, attachments, shape: Shape::UNARY };
                self.send_message(now, None, method, timeout, carried);
            }
            None => self.wait(now, None, request),
        }
        Ok(())
    }

    /// Answers a call of the peer.
    ///
    /// # Errors
    /// See [`RespondError`].
    pub fn respond(
        &mut self,
        now: Now,
        id: InboundId,
        result: Result<Body<'_>, Status>,
    ) -> Result<(), RespondError> {
        self.respond_with(now, id, &Headers::new(), &[], result)
    }

    /// Answers a call of the peer, with headers, and with bytes beside the body of a success. It
    /// ends the call in both directions; chunks sent before it arrive before it.
    ///
    /// # Errors
    /// See [`RespondError`].
    pub fn respond_with(
        &mut self,
        now: Now,
        id: InboundId,
        headers: &Headers,
        attachments: &[Bytes],
        result: Result<Body<'_>, Status>,
    ) -> Result<(), RespondError> {
        let Phase::Open(peer) = &self.phase else {
            return Err(RespondError::Ended);
        };
        let (headers_len_max, message_len_max) = (peer.headers_len_max, peer.message_len_max);
        if !self.close_inbound(now, id) {
            return Err(RespondError::Ended);
        }
        let body_len = result.as_ref().map_or(0, |body| body.len());
        let is_too_large = exceeds(headers.encoded_len(), headers_len_max)
            || (result.is_ok() && !are_fitting(body_len, attachments, message_len_max));
        if is_too_large {
            let status = Status::new(
                Code::TooLarge,
                format!(
                    "the reply has {} bytes and headers of {}, and the caller takes at most \
                     {message_len_max} (`message_len_max`) and {headers_len_max} \
                     (`headers_len_max`)",
                    content_len(body_len, attachments),
                    headers.encoded_len(),
                ),
            );
            self.send_response(now, id.call, &Headers::new(), &[], Err(status));
        } else {
            self.send_response(now, id.call, headers, attachments, result);
        }
        self.close_if_drained();
        if is_too_large { Err(RespondError::TooLarge) } else { Ok(()) }
    }

    /// Gives a call up; its handler is told. No event follows but chunks that are in the queue.
    /// Returns whether the call was open: if not, its [`Event::Response`] is in the queue or
    /// was given out.
    pub fn cancel(&mut self, _now: Now, call: CallId) -> bool {
        let Some(open) = self.calls.end(call) else {
            return false;
        };
        self.forget_call(call, open);
        self.close_if_drained();
        true
    }

    /// Sends a gossip frame.
    ///
    /// # Errors
    /// See [`GossipError`]; nothing changed.
    pub fn gossip(&mut self, now: Now, payload: &[u8]) -> Result<(), GossipError> {
        if payload.len() > GOSSIP_LEN_MAX {
            return Err(GossipError::TooLarge);
        }
        match self.phase {
            Phase::Closed => return Err(GossipError::Closed),
            _ if self.is_full() => return Err(GossipError::Full),
            Phase::Open(_) => {
                self.outbox.plain(FrameHeader::new(Kind::Gossip, 0), payload);
                self.share(now);
            }
            Phase::Greeting => {
                self.waiting_len += payload.len() + WAITING_OVERHEAD;
                self.waiting.push_back(Waiting::Gossip(payload.to_vec()));
            }
        }
        Ok(())
    }

    /// Takes no new calls from either side, lets the open ones finish, then closes (§5.9). A second
    /// call changes nothing.
    pub fn go_away(&mut self, now: Now) {
        if self.is_closed() || self.went_away.is_some() {
            return;
        }
        self.went_away = Some(now.mono);
        if matches!(self.phase, Phase::Open(_)) {
            self.say_go_away();
        } else {
            self.end_waiting(Code::Unavailable, "this node is going away");
        }
    }
}
