//! What each frame that comes in does (`docs/protocol.md` §5.2.2 to §5.7).

use core::time::Duration;

use super::charges::{charge_of_message, depth_of, is_large, split_charged};
use super::close::Answer;
use super::config::{ANSWERS_FACTOR, COPY_LEN_MAX, GOSSIP_LEN_MAX, OWED_LEN_MAX, SKIP_LEN_MAX};
use super::connection::{Connection, Phase};
use super::credit::Overdrawn;
use super::event::{CloseReason, Event};
use super::flows::Owner;
use super::frame::{
    Extension, FLAG_ABORT, FLAG_ESSENTIAL, FLAG_NEVER_RAN, FrameHeader, Kind, headers_len, split,
};
use super::inbound::InboundRequest;
use super::lanes::BadFragment;
use super::methods::Method;
use super::outbound::exceeds;
use super::receive::{BadExtension, Frame, Receiver};
use super::status::{Code, Status};
use super::stream::{Held, Shape};
use crate::clock::Timestamp;
use crate::time::Now;

/// What to do with a frame whose header is in.
pub(super) enum Verdict {
    /// Wait for all of it. If it comes in fragments, keep them.
    Take,
    /// It is a `Fragment`.
    Piece,
    /// It is a `Fragment` that aborts.
    Abort,
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
            while self.read_plain(now, receiver) {}
            let frame = match receiver.header() {
                Some(header) => match self.judge(now, receiver, header)? {
                    Verdict::Take if header.is_fragmented() => {
                        receiver.begin(header, now.mono).map_err(bad_extension)?;
                        continue;
                    }
                    Verdict::Take => receiver.take(header, now.mono).map_err(bad_extension)?,
                    Verdict::Piece => match receiver.piece(header).map_err(bad_fragment)? {
                        Some(frame) => Some(frame),
                        None if receiver.has_more() => continue,
                        None => None,
                    },
                    Verdict::Abort => {
                        let aborted = receiver.abort(header).map_err(bad_fragment)?;
                        self.on_abort(now, aborted)?;
                        continue;
                    }
                    Verdict::Wait => return Ok(()),
                    // `docs/protocol.md` §5.10.4
                    Verdict::Skip if header.is_fragmented() => {
                        receiver.begin_skipping(header);
                        continue;
                    }
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

    /// Decides on a frame by its header, and deals with those that are nothing but a header.
    fn judge(
        &mut self,
        now: Now,
        receiver: &Receiver,
        header: FrameHeader,
    ) -> Result<Verdict, CloseReason> {
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
            Kind::Data => return Ok(self.judge_data(receiver, header)),
            Kind::Fragment if header.flags & FLAG_ABORT != 0 => return Ok(Verdict::Abort),
            Kind::Fragment => return Ok(Verdict::Piece),
            Kind::Credit if body_len != 8 || !receiver.is_extension_fitting(header) => {
                return Ok(Verdict::End("a grant is a number of 8 bytes"));
            }
            Kind::Credit => return Ok(Verdict::Take),
            Kind::Cancel => self.on_cancel(header.call),
            Kind::Ping => {
                self.rest();
                self.on_ping(header.call)?;
            }
            Kind::Pong => {
                self.rest();
                self.flow.measured(now.mono, header.call);
            }
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
        if let Some(rule) = broken_rule(receiver, header) {
            return Ok(Verdict::End(rule));
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
        let is_large = is_large(header);
        let is_large_answer = is_large && header.kind == Kind::Response;
        if is_large_answer && let Err(Overdrawn) = self.begin_answer(header) {
            return Ok(Verdict::End("an answer begins with credit"));
        }
        match self.judge_size(now, header, is_too_large, is_large || header.is_fragmented())? {
            Verdict::Skip => {
                self.release_large_answer(now, header);
                Ok(Verdict::Skip)
            }
            Verdict::Take if is_large && !is_large_answer => self.charge_request(now, header),
            verdict => Ok(verdict),
        }
    }

    /// Decides on a message, of which is known whether it is too large, and whether its body comes
    /// apart from its header.
    fn judge_size(
        &mut self,
        now: Now,
        header: FrameHeader,
        is_too_large: bool,
        is_large: bool,
    ) -> Result<Verdict, CloseReason> {
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
                let status =
                    Status::new(Code::TooLarge, "the response is larger than this node accepts");
                self.on_response(now, header.call, 0, Answer::failed(status));
                Ok(Verdict::Skip)
            }
            Kind::Response if is_large && self.calls.find(header.call).is_none() => {
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
        let Frame { header, body, .. } = &frame;
        match header.kind {
            Kind::Request => self.on_request(now, frame),
            Kind::OneWay => self.on_one_way(now, frame),
            Kind::Response => self.on_answer(now, frame),
            Kind::Data => self.on_data(now, frame),
            Kind::Credit => self.on_credit(*header, body),
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
    pub(super) fn refusal(&self, call: u32) -> Option<(Code, &'static str)> {
        if self.went_away.is_some() {
            Some((Code::Unavailable, "this node is going away"))
        } else if !self.inbound.has_room(call) {
            Some((Code::Overloaded, "more calls than this node accepts at once"))
        } else if self.inbound_out_len()
            >= self.config.outbound_len_max.saturating_mul(ANSWERS_FACTOR)
        {
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
        let charge = self.charges.take(frame.header);
        let Frame { header, extension, body, since } = frame;
        let Extension { stamp, timeout, headers, parts, chunk_len_max } = extension;
        self.observe(now, stamp);
        if let Some((code, why)) = self.refusal(header.call) {
            return self.refuse(now, header.call, code, why);
        }
        // `docs/protocol.md` §5.4.6
        let is_late = |micros| since + Duration::from_micros(micros) <= now.mono;
        if timeout.is_some_and(is_late) {
            return self.refuse(
                now,
                header.call,
                Code::DeadlineExceeded,
                "the deadline passed on the way",
            );
        }
        let shape = Shape::of(header.flags);
        let (body, attachments) = split_charged(body, &parts, charge)?;
        let request = InboundRequest { stamp, timeout, since, shape, chunk_len_max };
        if chunk_len_max > self.config.message_len_max {
            let why = "the call's chunks are larger than this node accepts";
            return self.refuse(now, header.call, Code::TooLarge, why);
        }
        if !self.open_request(now, header, request, headers, body, attachments) {
            let why = "streams are promised as much as this node keeps for one peer";
            return self.refuse(now, header.call, Code::Overloaded, why);
        }
        Ok(())
    }

    fn on_one_way(&mut self, now: Now, frame: Frame) -> Result<(), CloseReason> {
        let charge = self.charges.take(frame.header);
        let Frame { header, extension, body, since } = frame;
        self.observe(now, extension.stamp);
        let deadline = extension.timeout.map(|micros| since + Duration::from_micros(micros));
        let is_late = deadline.is_some_and(|at| at <= now.mono);
        let (body, attachments) = split_charged(body, &extension.parts, charge)?;
        if is_late || self.went_away.is_some() || self.has_events_full() {
            self.stats.one_way_dropped += 1;
            return Ok(());
        }
        let (method_id, Extension { stamp, headers, .. }) = (header.method, extension);
        self.events.push_back(Event::OneWay {
            method_id,
            headers,
            deadline,
            stamp,
            body,
            attachments,
            depth: depth_of(header),
        });
        Ok(())
    }

    fn on_answer(&mut self, now: Now, frame: Frame) -> Result<(), CloseReason> {
        self.observe(now, frame.extension.stamp);
        let Frame { header, extension, body, .. } = frame;
        let (body, attachments) = split(body, &extension.parts).ok_or(BAD_PARTS)?;
        let mut charge = if is_large(header) { charge_of_message(header) } else { 0 };
        let result = match header.code {
            0 => Ok(body),
            code => {
                self.release_large_answer(now, header);
                charge = 0;
                Err(Status::decode(code, header.flags & FLAG_NEVER_RAN != 0, &body))
            }
        };
        let (headers, held) = (extension.headers, Held::NOTHING);
        let answer = Answer { headers, result, attachments, held };
        self.on_response(now, header.call, charge, answer);
        Ok(())
    }

    fn on_cancel(&mut self, call: u32) {
        // Also of a call that was answered: the answer may wait, and nobody waits for it.
        self.drop_queued(Owner::Inbound(call));
        let Some(id) = self.inbound.find(call) else {
            // `docs/protocol.md` §5.4.4
            self.stats.late_cancels += 1;
            return;
        };
        self.close_inbound(id);
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

    /// At most one pong waits, so pings cannot fill the queue of a peer that does not read
    /// (§5.7.5).
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
    pub(super) fn refuse(
        &mut self,
        now: Now,
        call: u32,
        code: Code,
        why: &str,
    ) -> Result<(), CloseReason> {
        self.stats.refused += 1;
        let at = self.outbox.position();
        self.send_refusal(now, call, &Status::never_ran(code, why));
        self.owe_since(at)
    }

    /// Counts what was queued since `at` among the answers the machine owes (§5.7.5).
    fn owe_since(&mut self, at: u64) -> Result<(), CloseReason> {
        let len = usize::try_from(self.outbox.position() - at).unwrap_or(usize::MAX);
        self.outbox.owe(len);
        if self.outbox.owed() > OWED_LEN_MAX { Err(CloseReason::Overrun) } else { Ok(()) }
    }

    /// Causality needs nothing from the user (§5.3.2).
    pub(super) fn observe(&mut self, now: Now, stamp: Timestamp) {
        if self.clock.observe(now.wall, stamp).is_err() {
            self.stats.stamps_refused += 1;
        }
    }
}

/// §5.3.5.
pub(super) const BAD_PARTS: CloseReason =
    CloseReason::Protocol("a body and its attachments add up");

fn bad_extension(_: BadExtension) -> CloseReason {
    CloseReason::Protocol("a header block holds whole pairs, and attachments are few")
}

fn bad_fragment(BadFragment(rule): BadFragment) -> CloseReason {
    CloseReason::Protocol(rule)
}

/// What the first frame of a message must be, whatever its kind (§5.10.2).
pub(super) fn broken_rule(receiver: &Receiver, header: FrameHeader) -> Option<&'static str> {
    if !header.is_fragmented() {
        None
    } else if header.body_len == 0 {
        Some("a message in fragments has a body")
    } else if receiver.is_lane_busy(header) {
        Some("a lane carries one message at a time")
    } else {
        None
    }
}

fn pass_over(receiver: &mut Receiver, header: FrameHeader) {
    receiver.skip(FrameHeader::LEN + header.extension_padded() + header.body_padded());
}
