//! How calls and connections end: deadlines, timers, go-away, the close (`docs/protocol.md` §5.4,
//! §5.8, §5.9).

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::calls::{Open, Progress};
use super::charges::Charges;
use super::connection::{Connection, Phase};
use super::deadlines::Due;
use super::event::{CallId, CloseReason, Event, InboundId};
use super::flows::Owner;
use super::frame::{FrameHeader, Kind};
use super::headers::Headers;
use super::status::{Code, Status};
use super::stream::{Held, StreamRef};
use crate::time::{Instant, Now};

/// A response as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: Headers,
    pub(super) result: Result<Bytes, Status>,
    pub(super) attachments: Vec<Bytes>,
    pub(super) held: Held,
}

impl Answer {
    /// No answer that came could be taken.
    pub(super) fn failed(status: Status) -> Self {
        Self {
            headers: Headers::new(),
            result: Err(status),
            attachments: Vec::new(),
            held: Held::NOTHING,
        }
    }
}

impl Connection {
    /// Ends an open call with what its one event says. The call has been taken out of the table.
    pub(super) fn complete(&mut self, call: CallId, open: &Open, answer: Answer) {
        if open.has_deadline {
            self.forget_deadline();
        }
        if open.class.is_streaming {
            self.streams.end(StreamRef::Call(call));
        }
        self.drop_queued(Owner::Call(call));
        self.stats.calls_out_ended += 1;
        let Answer { headers, result, attachments, held } = answer;
        self.events.push_back(Event::Response { call, headers, result, attachments, held });
    }

    /// Takes a call of the peer out of the table, with what ends with it. Returns whether it was
    /// open.
    pub(super) fn close_inbound(&mut self, id: InboundId) -> bool {
        let Some(ends) = self.inbound.end(id) else {
            return false;
        };
        if ends.has_deadline {
            self.forget_deadline();
        }
        if ends.is_streaming {
            self.streams.end(StreamRef::Inbound(id));
        }
        true
    }

    /// What waits of a call that is over is dropped. Returns whether its request had not wholly
    /// left.
    pub(super) fn drop_queued(&mut self, owner: Owner) -> bool {
        let has_request = self.flows.drop_call(owner, &mut self.outbox.trash);
        if self.owes_go_away {
            self.say_go_away();
        }
        // Nothing may be left to be written, so the next write is too late to tell those who waited
        // for this room.
        self.unblock();
        has_request
    }

    /// Ends an open call from this side, with an event; the peer is told if it may know of the call
    /// (§5.4.3).
    pub(super) fn end_call(&mut self, call: CallId, code: Code, message: &str) {
        let Some(open) = self.calls.end(call) else {
            return;
        };
        // On a connection that goes on, what is queued of a request still leaves: with a cancel
        // after it if that is all of it, and the peer may begin the one before it reads the
        // other; else with an abort.
        let status = match open.position() {
            Some(_) if self.flows.has_request(Owner::Call(call)) => {
                Status::never_ran(code, message)
            }
            Some(_) => Status::new(code, message),
            None => Status::unsent(code, message),
        };
        self.forget_call(call, open);
        self.events.push_back(Event::failed(call, status));
    }

    /// The status of a call that ends without an answer: it says how far the request got (§5.5.3).
    fn status_of_ended(
        &self,
        call: CallId,
        open: &Open,
        code: Code,
        message: impl Into<String>,
    ) -> Status {
        if !self.has_left(open) {
            Status::unsent(code, message)
        } else if self.flows.has_request(Owner::Call(call)) {
            Status::never_ran(code, message)
        } else {
            Status::new(code, message)
        }
    }

    /// Whether the first byte of a call's request was given out (§5.5.3).
    fn has_left(&self, open: &Open) -> bool {
        open.position().is_some_and(|position| self.outbox.has_left(position))
    }

    /// What remains of a call that ended before its response: its deadline, and its request, here
    /// or at the peer.
    pub(super) fn forget_call(&mut self, call: CallId, open: Open) {
        self.stats.calls_out_ended += 1;
        if open.has_deadline {
            self.forget_deadline();
        }
        if open.class.is_streaming {
            self.streams.end(StreamRef::Call(call));
        }
        let has_request = self.drop_queued(Owner::Call(call));
        match open.progress {
            // The peer has not got all of it: there is nothing to cancel.
            _ if has_request => {}
            Progress::Begun { number, position: Some(_) } => {
                self.outbox.plain(FrameHeader::new(Kind::Cancel, number), &[]);
            }
            Progress::Begun { .. } => {}
            Progress::Waiting(waiting) => {
                self.room.leave(&waiting);
                waiting.discard(&mut self.outbox.trash);
            }
        }
    }

    /// A call with a deadline ended.
    pub(super) fn forget_deadline(&mut self) {
        let (calls, inbound) = (&self.calls, &self.inbound);
        self.deadlines.remove(|due| match due {
            Due::Call(call) => calls.get(call).is_some(),
            Due::Inbound(id) => inbound.is_open(id),
        });
    }

    /// Ends every call that is past its deadline, at both ends (§5.4.2, §5.4.7).
    pub(super) fn expire_calls(&mut self, now: Now) {
        while let Some(due) = self.deadlines.pop_due(now.mono) {
            match due {
                Due::Call(call) => {
                    self.end_call(call, Code::DeadlineExceeded, "the deadline passed");
                }
                Due::Inbound(id) => self.expire_inbound(now, id),
            }
        }
    }

    fn expire_inbound(&mut self, now: Now, id: InboundId) {
        if self.close_inbound(id) {
            self.drop_queued(Owner::Inbound(id.call));
            self.events.push_back(Event::Cancelled(id));
            let status =
                Status::new(Code::DeadlineExceeded, "the deadline passed while the call ran");
            self.send_response(now, id.call, &Headers::new(), &[], Err(status));
        }
    }

    /// The connection's own timers (§5.8.1, §5.1.6, §5.9.3).
    pub(super) fn expire_timers(&mut self, now: Instant) {
        match self.phase {
            Phase::Closed => return,
            Phase::Greeting if now >= self.started + self.config.hello_timeout => {
                return self.close(CloseReason::HelloTimeout);
            }
            Phase::Greeting => {}
            Phase::Open(_) if now >= self.keepalive_at() => {
                if self.ping_sent.is_some() {
                    return self.close(CloseReason::KeepaliveTimeout);
                }
                self.ping_sent = Some(now);
                self.outbox.plain(FrameHeader::new(Kind::Ping, 0), &[]);
            }
            Phase::Open(_) => {}
        }
        if self.drain_at().is_some_and(|at| now >= at) {
            self.close(CloseReason::DrainTimeout);
        }
    }

    /// When silence is next acted upon.
    pub(super) fn keepalive_at(&self) -> Instant {
        let is_in_use = self.calls.open_count() + self.inbound.open_count() > 0;
        match self.ping_sent {
            Some(at) => at + self.config.keepalive_timeout,
            None if is_in_use => self.last_received + self.config.keepalive_calls,
            None => self.last_received + self.config.keepalive_idle,
        }
    }

    /// When a go-away has taken too long.
    pub(super) fn drain_at(&self) -> Option<Instant> {
        self.went_away.map(|at| at + self.config.drain_timeout)
    }

    /// Says the go-away, or owes it while requests and one-way messages wait: small frames overtake
    /// them, and none may come after it (§5.9.1).
    pub(super) fn say_go_away(&mut self) {
        self.owes_go_away = self.flows.has_new_calls();
        if !self.owes_go_away {
            self.outbox.plain(FrameHeader::new(Kind::GoAway, 0), &[]);
        }
    }

    /// The connection ends when both sides have gone away and nothing is left of either's calls
    /// (§5.9.2).
    pub(super) fn close_if_drained(&mut self) {
        let is_drained = matches!(self.phase, Phase::Open(_))
            && self.went_away.is_some()
            && self.has_peer_gone_away
            && !self.owes_go_away
            && self.calls.open_count() == 0
            && self.inbound.open_count() == 0
            && self.queued_len() == 0;
        if is_drained {
            self.close(CloseReason::Drained);
        }
    }

    /// The end: every call has its event, in slot order, then `Closed` (§5.9.4). Later ends change
    /// nothing.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        let mut slot = 0;
        while let Some((call, open)) = self.calls.end_any(slot) {
            slot = call.slot() + 1;
            let status = self.last_status(&reason, call, &open);
            self.stats.calls_out_ended += 1;
            if let Progress::Waiting(waiting) = open.progress {
                waiting.discard(&mut self.outbox.trash);
            }
            self.events.push_back(Event::failed(call, status));
        }
        self.room.clear(&mut self.outbox.trash);
        self.deadlines.clear();
        self.inbound.clear();
        self.streams.clear();
        self.flows.clear(&mut self.outbox.trash);
        self.flow.clear();
        self.charges = Charges::default();
        if matches!(self.phase, Phase::Open(_)) {
            self.outbox.clear();
        }
        self.phase = Phase::Closed;
        self.events.push_back(Event::Closed(reason));
    }

    /// How an open call ends with the connection (§5.5.4).
    fn last_status(&self, reason: &CloseReason, call: CallId, open: &Open) -> Status {
        let has_left = self.has_left(open);
        let code = match reason {
            CloseReason::PeerGone => Code::PeerGone,
            _ if has_left => Code::ConnectionLost,
            _ => Code::Unavailable,
        };
        self.status_of_ended(call, open, code, alloc::format!("{reason}"))
    }
}
