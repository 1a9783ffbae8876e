//! The verbs of a connection that are about calls, messages and the end: what the user commands
//! (`docs/protocol.md` §5.4, §5.6, §5.9). Those of streams are in [`stream`](super::stream).

use alloc::format;

use bytes::Bytes;

use super::body::Body;
use super::calls::Class;
use super::charges::charge_of_request;
use super::config::{ATTACHMENTS_MAX, COPY_LEN_MAX, GOSSIP_LEN_MAX, GOSSIP_OUT_LEN_MAX};
use super::connection::{Connection, Phase};
use super::content::content_len;
use super::deadlines::Due;
use super::event::{CallId, GossipError, InboundId, Request, RequestError, RespondError};
use super::headers::Headers;
use super::mutant::Defect;
use super::outbound::{Carried, exceeds, micros};
use super::status::{Code, Status};
use super::stream::{Shape, StreamRef};
use super::trash::Trash;
use crate::time::Now;

impl Connection {
    /// Calls the peer. The call's one [`Response`](super::Event::Response) follows, unless it is
    /// cancelled.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing changed.
    pub fn request(&mut self, now: Now, request: Request<'_>) -> Result<CallId, RequestError> {
        let is_expired = is_expired(&request);
        let method = match self.check(&request) {
            Ok(()) if is_expired => Ok(None),
            Ok(()) => self.method_id(request.service, request.method, request.fingerprint),
            Err(error) => Err(error),
        };
        let method = match method {
            Ok(method) => method,
            Err(error) => {
                self.outbox.trash.put_body(request.body);
                return Err(error);
            }
        };
        let len = content_len(request.body.len(), request.attachments);
        let class = Class {
            is_streaming: request.shape.is_streaming(),
            depth: request.depth,
            charge: charge_of_request(len),
        };
        let (deadline, shape, declared) = (request.deadline, request.shape, request.chunk_len_max);
        let method = method.filter(|_| !class.is_streaming && self.has_room(class));
        let begun = method.and_then(|method| {
            let limits = self.call_limits()?;
            let (call, _) = self.calls.open_begun(deadline.is_some(), class, limits)?;
            Some((call, method))
        });
        let call = match begun {
            Some((call, method)) => {
                self.send_request(now, Some(call), method, request);
                call
            }
            None => self.wait_for_room(now, class, request)?,
        };
        self.stats.calls_out += 1;
        if class.is_streaming {
            self.streams.make(StreamRef::Call(call), shape, declared);
        }
        if let Some(timeout) = deadline {
            self.deadlines.insert(now.mono + timeout, Due::Call(call));
        }
        if is_expired {
            let why = "the deadline had passed when the call was made";
            self.end_call(call, Code::DeadlineExceeded, why);
        } else if begun.is_none() {
            self.begin_waiting(now);
        }
        Ok(call)
    }

    /// Sends a request, or a one-way message, at once.
    fn send_request(&mut self, now: Now, call: Option<CallId>, method: u16, request: Request<'_>) {
        let timeout = request.deadline.map(micros);
        let Request { ref headers, body, attachments, shape, depth, chunk_len_max, .. } = request;
        let carried = Carried { headers, body, attachments, shape, depth, chunk_len_max };
        self.send_message(now, call, method, timeout, carried);
    }

    /// Sends a message that wants no answer. Whether it arrives cannot be known.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing changed. A deadline that has passed is no error: the message
    /// is dropped and counted.
    /// It is a request without an answer or a cancel (`docs/protocol.md` §5.6.1).
    pub fn one_way(&mut self, now: Now, request: Request<'_>) -> Result<(), RequestError> {
        let request = Request { shape: Shape::UNARY, ..request };
        let checked = match self.check(&request) {
            Ok(()) if is_expired(&request) => {
                self.stats.one_way_dropped += 1;
                self.outbox.trash.put_body(request.body);
                return Ok(());
            }
            Ok(()) if self.is_socket_behind() => Err(RequestError::Full),
            Ok(()) => self.method_id(request.service, request.method, request.fingerprint),
            Err(error) => Err(error),
        };
        match checked {
            Ok(Some(method)) => {
                self.send_request(now, None, method, request);
                Ok(())
            }
            Ok(None) => self.wait_for_hello(now, request),
            Err(error) => {
                self.outbox.trash.put_body(request.body);
                Err(error)
            }
        }
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
        let discard = |this: &mut Self, result: Result<Body<'_>, Status>| {
            if let Ok(body) = result {
                this.outbox.trash.put_body(body);
            }
        };
        if self.peer().is_none() || !self.close_inbound(id) {
            discard(self, result);
            // `docs/protocol.md` §5.4.8
            return Err(RespondError::Ended);
        }
        let refusal = match &result {
            _ if self.are_headers_too_large(headers) => Some(RespondError::TooLarge),
            Ok(body) => self.answer_refusal(content_len(body.len(), attachments), attachments),
            Err(_) => None,
        };
        let len = result.as_ref().map_or(0, |body| content_len(body.len(), attachments));
        match refusal {
            None => self.send_response(now, id.call, headers, attachments, result),
            Some(refusal) => {
                discard(self, result);
                let status = self.refused_answer(refusal, len, headers).having_run();
                self.send_response(now, id.call, &Headers::new(), &[], Err(status));
            }
        }
        self.close_if_drained();
        refusal.map_or(Ok(()), Err)
    }

    fn are_headers_too_large(&self, headers: &Headers) -> bool {
        self.peer().is_some_and(|peer| exceeds(headers.encoded_len(), peer.headers_len_max))
    }

    /// What the caller is told instead of an answer of so many bytes.
    fn refused_answer(&self, refusal: RespondError, len: usize, headers: &Headers) -> Status {
        let (len_max, headers_len_max) =
            self.peer().map_or((0, 0), |peer| (peer.message_len_max, peer.headers_len_max));
        match refusal {
            RespondError::Full => Status::new(Code::Overloaded, "too many answers wait to be sent"),
            _ => Status::new(
                Code::TooLarge,
                format!(
                    "the reply has {len} bytes and headers of {}, and the caller takes at most \
                     {len_max} (`message_len_max`) and {headers_len_max} (`headers_len_max`)",
                    headers.encoded_len(),
                ),
            ),
        }
    }

    /// Why an answer of so many bytes is not sent (§5.7.1, §5.7.4).
    fn answer_refusal(&self, len: usize, attachments: &[Bytes]) -> Option<RespondError> {
        let len_max = self.peer().map_or(0, |peer| peer.message_len_max);
        let is_large = len > COPY_LEN_MAX;
        if attachments.len() > ATTACHMENTS_MAX || exceeds(len, len_max) {
            Some(RespondError::TooLarge)
        } else if is_large && self.flows.answers_len() + len > self.config.answers_out_max {
            Some(RespondError::Full)
        } else {
            None
        }
    }

    /// Gives a call up; its handler is told. No event follows but chunks that are in the queue.
    /// Returns whether the call was open: if not, its [`Response`](super::Event::Response) is in
    /// the queue or was given out.
    pub fn cancel(&mut self, now: Now, call: CallId) -> bool {
        let Some(open) = self.calls.end(call) else {
            return false;
        };
        self.forget_call(call, open);
        self.begin_waiting(now);
        self.close_if_drained();
        true
    }

    /// Sends a gossip frame.
    ///
    /// # Errors
    /// See [`GossipError`]; nothing changed.
    /// Its body is opaque to the connection (`docs/protocol.md` §5.6.2).
    pub fn gossip(&mut self, now: Now, payload: &[u8]) -> Result<(), GossipError> {
        if payload.len() > GOSSIP_LEN_MAX {
            return Err(GossipError::TooLarge);
        }
        match self.phase {
            Phase::Closed => return Err(GossipError::Closed),
            Phase::Open(_) => {
                let is_held_up = self.has_defect(Defect::OneLimitForAll) && self.is_socket_behind();
                if is_held_up || self.outbox.gossip_len() + payload.len() > GOSSIP_OUT_LEN_MAX {
                    return Err(GossipError::Full);
                }
                self.send_gossip(payload);
                self.share(now);
            }
            Phase::Greeting => {
                if !self.keep_gossip(payload) {
                    return Err(GossipError::Full);
                }
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
        // None may begin any more: they are safe to be made elsewhere.
        self.end_waiting(Code::Unavailable, "the connection is going away");
        if matches!(self.phase, Phase::Open(_)) {
            self.say_go_away();
        }
    }

    /// Takes out what users gave and this machine has done with. It is to be dropped where no lock
    /// is held: the drop of a user's bytes may do anything, call this connection too. The machine
    /// drops none of them itself, but those that are still in it when it is dropped.
    pub fn take_trash(&mut self) -> Trash {
        core::mem::take(&mut self.outbox.trash)
    }
}

fn is_expired(request: &Request<'_>) -> bool {
    request.deadline.is_some_and(|timeout| micros(timeout) == 0)
}
