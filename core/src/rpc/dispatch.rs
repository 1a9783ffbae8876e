//! What each frame that comes in does (`docs/protocol.md` §5.2.2 to §5.7).

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::config::{COPY_LEN_MAX, GOSSIP_LEN_MAX, OWED_LEN_MAX, SKIP_LEN_MAX};
use super::connection::{Connection, Phase};
use super::deadlines::Due;
use super::event::{CallId, CloseReason, Event};
use super::frame::{Extension, FLAG_ESSENTIAL, FLAG_NEVER_RAN, FrameHeader, Kind, headers_len};
use super::headers::Headers;
use super::hello::PeerHello;
use super::methods::Method;
use super::receive::{Frame, Receiver};
use super::sending::{Message, Waiting, exceeds, micros};
use super::status::{Code, Status};
use super::stream::{Held, Shape};
use crate::time::{Instant, Now};

/// What to do with a frame whose header is in.
enum Verdict {
    /// Wait for all of it.
    Take,
    /// Wait for its extension.
    Wait,
    /// It was dealt with, or is to be ignored: pass over it.
    Skip,
    /// It can be neither passed over nor read.
    End(&'static str),
}

impl Connection {
    /// Reads all that has arrived.
    pub(super) fn read(&mut self, now: Now, receiver: &mut Receiver) -> Result<(), CloseReason> {
        if matches!(self.phase, Phase::Greeting) {
            let accepted = self.hello.accept(&self.config, receiver.waiting())?;
            let Some((peer, len)) = accepted else {
                return Ok(());
            };
            receiver.skip(len);
            receiver.open();
            self.connected(now, &peer);
        }
        loop {
            let frame = match receiver.header() {
                Some(header) => match self.judge(now, receiver, header)? {
                    Verdict::Take => take(now, receiver, header)?,
                    Verdict::Wait => return Ok(()),
                    Verdict::Skip => {
                        pass_over(receiver, header);
                        continue;
                    }
                    Verdict::End(rule) => return Err(CloseReason::Protocol(rule)),
                },
                None => receiver.finished(),
            };
            let Some(frame) = frame else {
                return Ok(());
            };
            self.stats.frames_in += 1;
            self.dispatch(now, frame)?;
        }
    }

    /// The peer's hello is accepted: what waited for it goes out (§5.1.1).
    fn connected(&mut self, now: Now, peer: &PeerHello) {
        self.events.push_back(Event::Connected(peer.clone()));
        self.phase = Phase::Open(peer.clone());
        self.waiting_len = 0;
        for waiting in core::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Gossip(payload) => self.outbox.plain(FrameHeader::new(Kind::Gossip, 0), &payload),
                Waiting::Message { call, message, deadline } => {
                    if let Err((code, why)) = self.send_waiting(now, peer, call, message, deadline) {
                        match call {
                            Some(call) => self.end_call(call, code, why),
                            None => self.stats.one_way_dropped += 1,
                        }
                    }
                }
            }
        }
        if self.went_away.is_some() {
            self.outbox.plain(FrameHeader::new(Kind::GoAway, 0), &[]);
        }
    }

    /// Sends what was asked for before the peer's limits were known, or says why not.
    fn send_waiting(
        &mut self,
        now: Now,
        peer: &PeerHello,
        call: Option<CallId>,
        message: Message,
        deadline: Option<Instant>,
    ) -> Result<(), (Code, &'static str)> {
        let timeout = deadline.map(|at| micros(at.since(now.mono)));
        if timeout == Some(0) {
            return Err((Code::DeadlineExceeded, "the deadline passed before the peer's hello"));
        }
        if call.is_some_and(|call| exceeds(call.slot() + 1, peer.in_flight_max)) {
            return Err((Code::Overloaded, "the peer accepts fewer calls at once"));
        }
        if exceeds(message.body.len(), peer.message_len_max)
            || exceeds(message.headers.encoded_len(), peer.headers_len_max)
        {
            return Err((Code::TooLarge, "the message is larger than the peer accepts"));
        }
        let Message { service, method, fingerprint, headers, body } = message;
        match self.method_id(&service, &method, fingerprint) {
            Ok(Some(method)) => {
                self.send_message(now, call, method, timeout, &headers, body.into());
                Ok(())
            }
            _ => Err((Code::Overloaded, "the peer's table of methods is full")),
        }
    }

    /// Decides on a frame by its header, and deals with those that are nothing but a header.
    fn judge(&mut self, now: Now, receiver: &Receiver, header: FrameHeader) -> Result<Verdict, CloseReason> {
        let body_len = header.body_len as usize;
        if body_len > SKIP_LEN_MAX {
            return Ok(Verdict::End("a body has at most 256 MiB"));
        }
        match header.kind {
            Kind::Request | Kind::OneWay | Kind::Response => {
                return self.judge_message(now, receiver, header);
            }
            Kind::Intern if body_len > COPY_LEN_MAX || !receiver.is_extension_fitting(header) => {
                return Ok(Verdict::End("a method's definition is small"));
            }
            Kind::Intern => return Ok(Verdict::Take),
            Kind::Gossip if body_len > GOSSIP_LEN_MAX || !receiver.is_extension_fitting(header) => {
                self.stats.gossip_dropped += 1;
                return Ok(Verdict::Skip);
            }
            Kind::Gossip => return Ok(Verdict::Take),
            Kind::Unknown(_) if header.flags & FLAG_ESSENTIAL != 0 => {
                return Ok(Verdict::End("an essential frame is of a kind this version has not"));
            }
            Kind::Unknown(_) => {
                self.stats.unknown_frames += 1;
                return Ok(Verdict::Skip);
            }
            Kind::Cancel => self.on_cancel(header.call),
            Kind::Ping => {
                self.rest();
                self.on_ping(header.call)?;
            }
            Kind::Pong => self.rest(),
            Kind::GoAway => self.on_go_away(now),
        }
        self.stats.frames_in += 1;
        Ok(Verdict::Skip)
    }

    /// Decides on a message: it is waited for only if it will be wanted (§5.7.2).
    fn judge_message(
        &mut self,
        now: Now,
        receiver: &Receiver,
        header: FrameHeader,
    ) -> Result<Verdict, CloseReason> {
        if header.kind != Kind::Response && usize::from(header.method) >= self.methods.len() {
            return Ok(Verdict::End("a method is defined before it is used"));
        }
        let mut is_too_large = exceeds(header.body_len as usize, self.config.message_len_max);
        if !receiver.is_extension_fitting(header) {
            is_too_large = true;
        } else if !is_too_large {
            let Some(extension) = receiver.extension(header) else {
                return Ok(Verdict::Wait);
            };
            is_too_large = exceeds(headers_len(extension), self.config.headers_len_max);
        }
        let is_large = header.body_len as usize > COPY_LEN_MAX;
        match header.kind {
            Kind::Request => {
                let refusal = match self.refusal(header.call) {
                    Some(refusal) => Some(refusal),
                    None if is_too_large => {
                        Some((Code::TooLarge, "the request is larger than this node accepts"))
                    }
                    None => None,
                };
                match refusal {
                    Some((code, why)) if is_too_large || is_large => {
                        self.refuse(now, header.call, code, why)?;
                        Ok(Verdict::Skip)
                    }
                    _ => Ok(Verdict::Take),
                }
            }
            Kind::Response if is_too_large => {
                let result =
                    Err(Status::new(Code::TooLarge, "the response is larger than this node accepts"));
                self.on_response(CallId(header.call), Headers::new(), result);
                Ok(Verdict::Skip)
            }
            Kind::Response if is_large && self.calls.get(CallId(header.call)).is_none() => {
                self.stats.late_replies += 1;
                Ok(Verdict::Skip)
            }
            Kind::OneWay if is_too_large || self.went_away.is_some() && is_large => {
                self.stats.one_way_dropped += 1;
                Ok(Verdict::Skip)
            }
            _ => Ok(Verdict::Take),
        }
    }

    fn dispatch(&mut self, now: Now, frame: Frame) -> Result<(), CloseReason> {
        let Frame { header, extension, body, .. } = &frame;
        match header.kind {
            Kind::Request => self.on_request(now, frame),
            Kind::OneWay => {
                self.on_one_way(now, frame);
                Ok(())
            }
            Kind::Response => {
                self.observe(now, extension);
                let result = match header.code {
                    0 => Ok(body.clone()),
                    code => Err(Status::decode(code, header.flags & FLAG_NEVER_RAN != 0, body)),
                };
                self.on_response(CallId(header.call), extension.headers.clone(), result);
                Ok(())
            }
            Kind::Intern => self.on_intern(header.method, body),
            Kind::Gossip => {
                if self.has_events_full() {
                    self.stats.gossip_dropped += 1;
                } else {
                    self.events.push_back(Event::Gossip(frame.body));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Why a request in this slot is not run, whatever it says (§5.4.5, §5.7.4, §5.7.6, §5.9.1).
    fn refusal(&self, call: u32) -> Option<(Code, &'static str)> {
        if self.went_away.is_some() {
            Some((Code::Unavailable, "this node is going away"))
        } else if !self.inbound.has_room(call) {
            Some((Code::Overloaded, "more calls than this node accepts at once"))
        } else if self.outbox.len() >= self.config.outbound_len_max {
            Some((Code::Overloaded, "answers wait to be read"))
        } else if self.has_events_full() {
            Some((Code::Overloaded, "events wait to be handled"))
        } else {
            None
        }
    }

    fn has_events_full(&self) -> bool {
        self.events.len() >= self.config.events_max
    }

    fn on_request(&mut self, now: Now, frame: Frame) -> Result<(), CloseReason> {
        let Frame { header, extension, body, since } = frame;
        self.observe(now, &extension);
        if let Some((code, why)) = self.refusal(header.call) {
            return self.refuse(now, header.call, code, why);
        }
        let deadline = extension.timeout.map(|micros| since + Duration::from_micros(micros));
        if deadline.is_some_and(|at| at <= now.mono) {
            return self.refuse(now, header.call, Code::DeadlineExceeded, "the deadline passed on the way");
        }
        let Some(Method { service, method, fingerprint }) =
            self.methods.get(usize::from(header.method)).cloned()
        else {
            return Err(CloseReason::Protocol("a method is defined before it is used"));
        };
        let id = self.inbound.open(header.call, deadline.is_some());
        if let Some(at) = deadline {
            self.deadlines.insert(at, Due::Inbound(id));
        }
        self.stats.calls_in += 1;
        let Extension { stamp, headers, .. } = extension;
        self.events.push_back(Event::Request {
            id,
            service,
            method,
            fingerprint,
            headers,
            deadline,
            stamp,
            body,
            attachments: Vec::new(),
            shape: Shape::UNARY,
        });
        Ok(())
    }

    fn on_one_way(&mut self, now: Now, frame: Frame) {
        let Frame { header, extension, body, since } = frame;
        self.observe(now, &extension);
        let deadline = extension.timeout.map(|micros| since + Duration::from_micros(micros));
        let is_late = deadline.is_some_and(|at| at <= now.mono);
        let method = self.methods.get(usize::from(header.method)).cloned();
        match method {
            Some(Method { service, method, fingerprint })
                if !is_late && self.went_away.is_none() && !self.has_events_full() =>
            {
                let Extension { stamp, headers, .. } = extension;
                let (attachments, held) = (Vec::new(), Held::NOTHING);
                self.events.push_back(Event::OneWay {
                    service,
                    method,
                    fingerprint,
                    headers,
                    deadline,
                    stamp,
                    body,
                    attachments,
                    held,
                });
            }
            _ => self.stats.one_way_dropped += 1,
        }
    }

    fn on_response(&mut self, call: CallId, headers: Headers, result: Result<Bytes, Status>) {
        match self.calls.end(call) {
            Some(open) => self.complete(call, open, headers, result),
            None => self.stats.late_replies += 1,
        }
    }

    fn on_cancel(&mut self, call: u32) {
        let Some(id) = self.inbound.find(call) else {
            self.stats.late_cancels += 1;
            return;
        };
        if self.inbound.end(id) == Some(true) {
            self.forget_deadline();
        }
        self.events.push_back(Event::Cancelled(id));
    }

    fn on_intern(&mut self, id: u16, body: &[u8]) -> Result<(), CloseReason> {
        if usize::from(id) != self.methods.len() || id >= self.config.methods_max {
            return Err(CloseReason::Protocol("method ids count up from 0, below the limit"));
        }
        let method = Method::decode(body).ok_or(CloseReason::Protocol("a method has two names"))?;
        self.methods.push(method);
        Ok(())
    }

    /// A keepalive while no call is open: a time to give back what busier ones needed.
    fn rest(&mut self) {
        self.is_resting = self.calls.open_count() + self.inbound.open_count() == 0;
        if self.is_resting {
            self.outbox.rest();
        }
    }

    /// At most one pong waits, so pings cannot fill the queue of a peer that does not read (§5.7.5).
    fn on_ping(&mut self, call: u32) -> Result<(), CloseReason> {
        if self.pong_at.is_some_and(|at| !self.outbox.has_left(at)) {
            self.stats.pings_merged += 1;
            return Ok(());
        }
        let at = self.outbox.position();
        self.pong_at = Some(at);
        self.outbox.plain(FrameHeader::new(Kind::Pong, call), &[]);
        self.owe_since(at)
    }

    fn on_go_away(&mut self, now: Now) {
        if !core::mem::replace(&mut self.has_peer_gone_away, true) {
            self.events.push_back(Event::GoAway);
        }
        self.go_away(now);
    }

    /// Answers a request that no handler will see.
    fn refuse(&mut self, now: Now, call: u32, code: Code, why: &str) -> Result<(), CloseReason> {
        self.stats.refused += 1;
        let at = self.outbox.position();
        self.send_response(now, call, &Headers::new(), Err(Status::never_ran(code, why)));
        self.owe_since(at)
    }

    /// Counts what was queued since `at` among the answers the machine owes (§5.7.5).
    fn owe_since(&mut self, at: u64) -> Result<(), CloseReason> {
        let len = usize::try_from(self.outbox.position() - at).unwrap_or(usize::MAX);
        self.outbox.owe(len);
        if self.outbox.owed() > OWED_LEN_MAX { Err(CloseReason::Overrun) } else { Ok(()) }
    }

    /// Causality needs nothing from the user (§5.3.2).
    fn observe(&mut self, now: Now, extension: &Extension) {
        if self.clock.observe(now.wall, extension.stamp).is_err() {
            self.stats.stamps_refused += 1;
        }
    }
}

fn take(now: Now, receiver: &mut Receiver, header: FrameHeader) -> Result<Option<Frame>, CloseReason> {
    let taken = receiver.take(header, now.mono);
    taken.map_err(|_| CloseReason::Protocol("a header block holds whole pairs"))
}

fn pass_over(receiver: &mut Receiver, header: FrameHeader) {
    receiver.skip(FrameHeader::LEN + header.extension_padded() + header.body_padded());
}
