//! What waited for the peer's hello goes out (`docs/protocol.md` §5.1.1).

use super::connection::{Connection, Phase};
use super::event::{CallId, Event};
use super::flows::Outflows;
use super::frame::{FrameHeader, Kind};
use super::hello::PeerHello;
use super::sending::{Carried, Early, Waiting, are_fitting, exceeds, micros};
use super::status::Code;
use crate::time::{Instant, Now};

impl Connection {
    /// The peer's hello is accepted: what waited for it goes out (§5.1.1).
    pub(super) fn connected(&mut self, now: Now, peer: &PeerHello) {
        self.events.push_back(Event::Connected(peer.clone()));
        self.phase = Phase::Open(peer.clone());
        self.outflows = Outflows::new(peer);
        self.waiting_len = 0;
        for waiting in core::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Gossip(payload) => {
                    self.outbox.plain(FrameHeader::new(Kind::Gossip, 0), &payload);
                }
                Waiting::Message { call, message, deadline } => {
                    let is_streaming = message.shape.is_streaming();
                    if let Err((code, why)) = self.send_waiting(now, peer, call, message, deadline)
                    {
                        match call {
                            Some(call) => self.end_call(call, code, why),
                            None => self.stats.one_way_dropped += 1,
                        }
                    } else if is_streaming && let Some(call) = call {
                        self.begin_stream(now, call);
                    }
                }
            }
        }
        self.unblock();
        if self.went_away.is_some() {
            self.say_go_away();
        }
    }

    /// Sends what was asked for before the peer's limits were known, or says why not.
    fn send_waiting(
        &mut self,
        now: Now,
        peer: &PeerHello,
        call: Option<CallId>,
        message: Early,
        deadline: Option<Instant>,
    ) -> Result<(), (Code, &'static str)> {
        let timeout = deadline.map(|at| micros(at.since(now.mono)));
        if timeout == Some(0) {
            return Err((Code::DeadlineExceeded, "the deadline passed before the peer's hello"));
        }
        if call.is_some_and(|call| exceeds(call.slot() + 1, peer.in_flight_max)) {
            return Err((Code::Overloaded, "the peer accepts fewer calls at once"));
        }
        if !are_fitting(message.body.len(), &message.attachments, peer.message_len_max)
            || exceeds(message.headers.encoded_len(), peer.headers_len_max)
        {
            return Err((Code::TooLarge, "the message is larger than the peer accepts"));
        }
        let Early { service, method, fingerprint, headers, body, attachments, shape } = message;
        match self.method_id(&service, &method, fingerprint) {
            Ok(Some(method)) => {
                let carried = Carried {
                    headers: &headers,
                    body: body.into(),
                    attachments: &attachments,
                    shape,
                };
                self.send_message(now, call, method, timeout, carried);
                Ok(())
            }
            _ => Err((Code::Overloaded, "the peer's table of methods is full")),
        }
    }
}
