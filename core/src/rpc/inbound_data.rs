//! Streams on their way in: chunks, their ends and aborts, and the peer's grants
//! (`docs/protocol.md` §5.11, §5.12).

use super::config::COPY_LEN_MAX;
use super::connection::Connection;
use super::credit::{Overdrawn, TakenBack};
use super::dispatch::{BAD_PARTS, Verdict, broken_rule, cost_of};
use super::event::{CallId, CloseReason, Event};
use super::frame::{FLAG_END, FLAG_FROM_CALLEE, FrameHeader, Kind, split};
use super::outbound::exceeds;
use super::receive::{Frame, Receiver};
use super::stream::{Held, Reading, StreamRef, Window};
use crate::time::Now;

/// Which stream a `Data` or `Credit` is about.
enum Target {
    Stream(StreamRef),
    /// Of a call that is open and has no streams.
    Unary,
    /// Of a call that is over, or never was.
    Late,
}

/// A rule of §5.11.4.
const ORDER: &str =
    "chunks come one after the other, in a direction that the call has, before its end";

impl Connection {
    fn target(&self, header: FrameHeader) -> Target {
        let found = if header.flags & FLAG_FROM_CALLEE != 0 {
            let call = CallId(header.call);
            self.calls.get(call).map(|open| (StreamRef::Call(call), open.is_streaming))
        } else {
            let found = self.inbound.find_streaming(header.call);
            found.map(|(id, is_streaming)| (StreamRef::Inbound(id), is_streaming))
        };
        match found {
            Some((of, true)) => Target::Stream(of),
            Some((_, false)) => Target::Unary,
            None => Target::Late,
        }
    }

    /// Decides on a `Data`. One whose body comes apart from its header begins here; others begin
    /// when they are whole.
    pub(super) fn judge_data(
        &mut self,
        now: Now,
        receiver: &Receiver,
        header: FrameHeader,
    ) -> Verdict {
        if header.flags & FLAG_END != 0 && header.is_fragmented() {
            return Verdict::End("the end of a stream is one frame");
        }
        if header.flags & FLAG_END != 0 {
            return match self.on_end(header) {
                Ok(()) => Verdict::Skip,
                Err(rule) => Verdict::End(rule),
            };
        }
        if let Some(rule) = broken_rule(receiver, header) {
            return Verdict::End(rule);
        }
        if exceeds(header.body_len as usize, self.config.message_len_max)
            || !receiver.is_extension_fitting(header)
        {
            return Verdict::End("a chunk is within the limits of its reader");
        }
        if !header.is_fragmented() && header.body_len as usize <= COPY_LEN_MAX {
            return Verdict::Take;
        }
        if receiver.extension(header).is_none() {
            return Verdict::Wait;
        }
        match self.begin_chunk(now, header) {
            Ok(Some(_)) => Verdict::Take,
            Ok(None) => Verdict::Skip,
            Err(rule) => Verdict::End(rule),
        }
    }

    /// A chunk begins (§5.12.3): whose it is, or `None` if its call is over.
    fn begin_chunk(
        &mut self,
        now: Now,
        header: FrameHeader,
    ) -> Result<Option<StreamRef>, &'static str> {
        let cost = cost_of(header);
        let overdrawn = |_: Overdrawn| "a message begins with credit";
        self.inflows.begin(Window::Data, cost).map_err(overdrawn)?;
        if header.is_fragmented() {
            self.inflows.arriving[header.lane()] = None;
        }
        match self.target(header) {
            Target::Unary => Err(ORDER),
            Target::Late => {
                self.stats.late_chunks += 1;
                self.release(now, Held { window: Window::Data, stream: None, cost });
                Ok(None)
            }
            Target::Stream(of) => {
                let reader = self.streams.reader(of).filter(|reader| reader.state == Reading::Open);
                let reader = reader.ok_or(ORDER)?;
                reader.inflow.begin(cost).map_err(overdrawn)?;
                if header.is_fragmented() {
                    reader.state = Reading::Arriving;
                    self.inflows.arriving[header.lane()] = Some(of);
                }
                Ok(Some(of))
            }
        }
    }

    /// A `Data` is whole.
    pub(super) fn on_data(&mut self, now: Now, frame: Frame) -> Result<(), CloseReason> {
        let Frame { header, extension, body, .. } = frame;
        let has_begun = header.is_fragmented() || header.body_len as usize > COPY_LEN_MAX;
        let of = if has_begun {
            self.end_arrival(header)
        } else {
            self.begin_chunk(now, header).map_err(CloseReason::Protocol)?
        };
        let (body, attachments) = split(body, &extension.parts).ok_or(BAD_PARTS)?;
        let held = Held { window: Window::Data, stream: of, cost: cost_of(header) };
        match of {
            Some(stream) => {
                self.stats.chunks_in += 1;
                self.events.push_back(Event::Chunk { stream, body, attachments, held });
            }
            None if has_begun => {
                self.stats.late_chunks += 1;
                self.release(now, held);
            }
            None => {}
        }
        Ok(())
    }

    /// A long chunk is whole: whose it is, or `None` if its call is over by now.
    fn end_arrival(&mut self, header: FrameHeader) -> Option<StreamRef> {
        if header.is_fragmented() {
            let of = self.inflows.arriving[header.lane()].take()?;
            self.streams.reader(of)?.state = Reading::Open;
            return Some(of);
        }
        // No other frame can have come in between.
        match self.target(header) {
            Target::Stream(of) => Some(of),
            _ => None,
        }
    }

    /// The peer has sent its last chunk of a stream.
    fn on_end(&mut self, header: FrameHeader) -> Result<(), &'static str> {
        self.stats.frames_in += 1;
        match self.target(header) {
            Target::Unary => Err(ORDER),
            Target::Late => {
                self.stats.late_chunks += 1;
                Ok(())
            }
            Target::Stream(of) => {
                let reader = self.streams.reader(of).filter(|reader| reader.state == Reading::Open);
                reader.ok_or(ORDER)?.state = Reading::Finished;
                self.stats.chunks_in += 1;
                self.events.push_back(Event::Finished(of));
                Ok(())
            }
        }
    }

    /// The peer goes no further with a message that was under way (§5.10.3).
    pub(super) fn on_abort(
        &mut self,
        now: Now,
        aborted: Option<FrameHeader>,
    ) -> Result<(), CloseReason> {
        self.stats.frames_in += 1;
        let Some(header) = aborted else {
            return Ok(());
        };
        let (window, is_counted) = match header.kind {
            Kind::Data => (Window::Data, true),
            Kind::Response => (Window::Responses, header.body_len as usize > COPY_LEN_MAX),
            _ => (Window::Requests, header.body_len as usize > COPY_LEN_MAX),
        };
        if is_counted {
            self.release(now, Held { window, stream: None, cost: cost_of(header) });
        }
        match header.kind {
            Kind::Response if self.calls.get(CallId(header.call)).is_some() => {
                Err(CloseReason::Protocol("an answer that has begun is finished"))
            }
            Kind::Data => {
                if let Some(of) = self.inflows.arriving[header.lane()].take()
                    && let Some(reader) = self.streams.reader(of)
                {
                    reader.state = Reading::Aborted;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The peer grants more (§5.12.4).
    pub(super) fn on_credit(
        &mut self,
        header: FrameHeader,
        body: &[u8],
    ) -> Result<(), CloseReason> {
        let taken_back = |_: TakenBack| CloseReason::Protocol("what is granted stays granted");
        let Some(&total) = body.first_chunk::<8>() else {
            return Err(CloseReason::Protocol("a grant is a number of 8 bytes"));
        };
        let total = u64::from_le_bytes(total);
        if let Some(window) = Window::ALL.into_iter().find(|&window| window as u16 == header.code) {
            self.outflows.of(window).raise(total).map_err(taken_back)?;
            self.flows.unpark(window);
            if window == Window::Data {
                self.unblock();
            }
            return Ok(());
        }
        if header.code != 0 {
            return Err(CloseReason::Protocol("there are four windows"));
        }
        match self.target(header) {
            Target::Late => self.stats.late_chunks += 1,
            Target::Unary => return Err(CloseReason::Protocol(ORDER)),
            Target::Stream(of) => {
                // Nobody grants for a call whose request has not begun.
                let sender = self.streams.sender(of).filter(|sender| sender.is_open);
                let sender = sender.ok_or(CloseReason::Protocol(ORDER))?;
                sender.outflow.raise(total).map_err(taken_back)?;
                self.unblock_one(of);
            }
        }
        Ok(())
    }
}
