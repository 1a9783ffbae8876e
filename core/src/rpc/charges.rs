//! What large messages that come in are charged, from their first frame on (`docs/protocol.md`
//! §5.12.3, §5.12.7).

use alloc::vec::Vec;

use bytes::Bytes;

use super::budget::{ALL_OF_IT, Charge, charged, share};
use super::close::Answer;
use super::config::COPY_LEN_MAX;
use super::connection::Connection;
use super::credit::{Overdrawn, charge_of};
use super::dispatch::{BAD_PARTS, Verdict};
use super::event::CloseReason;
use super::frame::{FrameHeader, Kind, LANES, split};
use super::mutant::Defect;
use super::status::Code;
use super::stream::Held;
use crate::time::Now;

/// What the large requests and one-way messages are charged that are coming in: one that comes
/// whole, and one on each lane.
#[derive(Debug, Default)]
pub(super) struct Charges {
    whole: Option<Charge>,
    lanes: [Option<Charge>; LANES as usize],
}

impl Charges {
    fn of(&mut self, header: FrameHeader) -> &mut Option<Charge> {
        if header.is_fragmented() { &mut self.lanes[header.lane()] } else { &mut self.whole }
    }

    /// The message is whole, or is aborted.
    pub(super) fn take(&mut self, header: FrameHeader) -> Option<Charge> {
        if !is_large(header) {
            return None;
        }
        self.of(header).take()
    }
}

/// Whether a message has a buffer of its own, and is charged.
pub(super) fn is_large(header: FrameHeader) -> bool {
    header.body_len as usize > COPY_LEN_MAX
}

pub(super) fn charge_of_message(header: FrameHeader) -> u32 {
    charge_of(header.body_len as usize)
}

/// Calls around a request or a one-way message (§5.12.3).
pub(super) fn depth_of(header: FrameHeader) -> u8 {
    u8::try_from(header.code).unwrap_or(u8::MAX)
}

/// How many quarters of the request budget requests of this depth may use (§5.12.3).
fn quarters_of(depth: u8) -> usize {
    match depth {
        0 => 2,
        1 => 3,
        _ => ALL_OF_IT,
    }
}

/// Bytes of a request budget that requests of this depth may use (§5.12.3).
pub(super) fn share_of_budget(budget: usize, depth: u8) -> usize {
    share(budget, quarters_of(depth))
}

/// What a request with a body of this length is charged: nothing if it is small.
pub(super) fn charge_of_request(body_len: usize) -> u32 {
    if body_len > COPY_LEN_MAX { charge_of(body_len) } else { 0 }
}

/// The body proper and the attachments of a request or a one-way message, which hold what it is
/// charged.
pub(super) fn split_charged(
    body: Bytes,
    parts: &[u32],
    charge: Option<Charge>,
) -> Result<(Bytes, Vec<Bytes>), CloseReason> {
    let (mut body, mut attachments) = split(body, parts).ok_or(BAD_PARTS)?;
    if let Some(charge) = charge {
        charged(charge, &mut body, &mut attachments);
    }
    Ok((body, attachments))
}

impl Connection {
    /// A large answer begins. What it takes of the window can make a grant due of what is released
    /// already: those who answer callers that are not slow must not wait for the slow ones' next
    /// release (§5.12.8).
    pub(super) fn begin_answer(&mut self, header: FrameHeader) -> Result<(), Overdrawn> {
        let answers = &mut self.flow.answers;
        answers.begin(charge_of_message(header))?;
        self.flow.is_due |= answers.is_shared_grant_due();
        Ok(())
    }

    /// A large answer that began will not be taken by anybody.
    pub(super) fn release_large_answer(&mut self, now: Now, header: FrameHeader) {
        if header.kind == Kind::Response && is_large(header) {
            self.flow.release_answer(&self.config, now.mono, charge_of_message(header));
        }
    }

    /// A large request or one-way message begins, against which nothing else is to be said: it is
    /// charged whole, or refused (§5.12.3).
    pub(super) fn charge_request(
        &mut self,
        now: Now,
        header: FrameHeader,
    ) -> Result<Verdict, CloseReason> {
        let charge = charge_of_message(header) as usize;
        if let Some(charge) = self.flow.requests.draw(charge, quarters_of(depth_of(header))) {
            *self.charges.of(header) = Some(charge);
            return Ok(Verdict::Take);
        }
        if self.has_defect(Defect::BudgetIsWaitedFor) {
            return Ok(Verdict::Wait);
        }
        if header.kind == Kind::OneWay {
            self.stats.one_way_dropped += 1;
        } else {
            let why = "requests hold as much as this node keeps for one peer";
            self.refuse(now, header.call, Code::Overloaded, why)?;
        }
        Ok(Verdict::Skip)
    }

    /// An answer to the call of this number, which is charged so much.
    pub(super) fn on_response(&mut self, now: Now, number: u32, charge: u32, answer: Answer) {
        let Some(call) = self.calls.find(number) else {
            self.stats.late_replies += 1;
            return self.flow.release_answer(&self.config, now.mono, charge);
        };
        let Some(open) = self.calls.end(call) else { return };
        let held = match charge {
            0 => Held::NOTHING,
            charge => self.flow.hold_answer(now.mono, call, charge),
        };
        self.complete(call, &open, Answer { held, ..answer });
        // At once, and not when all that has come has been read: so it does not matter how the
        // stream is split (§5.2).
        self.begin_waiting(now);
    }
}
