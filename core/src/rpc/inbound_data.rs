//! Streams on their way in: chunks, their ends and aborts, and the peer's grants
//! (`docs/protocol.md` §5.11, §5.12).

use super::charges::charge_of_message;
use super::config::COPY_LEN_MAX;
use super::connection::Connection;
use super::credit::{Overdrawn, TakenBack};
use super::dispatch::{BAD_PARTS, Verdict, broken_rule};
use super::event::{CloseReason, Event};
use super::frame::{FLAG_END, FLAG_FROM_CALLEE, FrameHeader, Kind, split};
use super::mutant::Defect;
use super::outbound::exceeds;
use super::receive::{Frame, Receiver};
use super::stream::{ANSWERS, Held, Reading, Sending, StreamRef, What};
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
            let call = self.calls.find(header.call);
            let open = call.and_then(|call| Some((call, self.calls.get(call)?)));
            open.map(|(call, open)| (StreamRef::Call(call), open.class.is_streaming))
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
    /// (`docs/protocol.md` §5.11.2)
    pub(super) fn judge_data(&mut self, receiver: &Receiver, header: FrameHeader) -> Verdict {
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
        match self.begin_chunk(header) {
            Ok(Some(_)) => Verdict::Take,
            Ok(None) => Verdict::Skip,
            Err(rule) => Verdict::End(rule),
        }
    }

    /// A chunk begins (§5.12.6): whose it is, or `None` if its call is over.
    fn begin_chunk(&mut self, header: FrameHeader) -> Result<Option<StreamRef>, &'static str> {
        if header.is_fragmented() {
            self.flow.arriving[header.lane()] = None;
        }
        match self.target(header) {
            Target::Unary => Err(ORDER),
            Target::Late => {
                self.stats.late_chunks += 1;
                Ok(None)
            }
            Target::Stream(of) => {
                self.begin_chunk_of(of, header)?;
                if header.is_fragmented() {
                    self.flow.arriving[header.lane()] = Some(of);
                }
                Ok(Some(of))
            }
        }
    }

    /// A chunk of an open stream begins: all of it fits into what its sender was granted. With the
    /// first, the window grows into the pool (§5.12.6).
    fn begin_chunk_of(&mut self, of: StreamRef, header: FrameHeader) -> Result<(), &'static str> {
        let is_bounded = !self.has_defect(Defect::ChunkExceedsReserve);
        let wanted = self.config.stream_window.min(self.config.stream_pool_max / 4);
        let stream = self.streams.get(of).ok_or(ORDER)?;
        let is_too_large = is_bounded && header.body_len > stream.chunk_len_max;
        let reader = stream.reader.as_mut().filter(|reader| reader.state == Reading::Open);
        let reader = reader.ok_or(ORDER)?;
        if is_too_large {
            return Err("a chunk is no longer than its call declares");
        }
        let overdrawn = |_: Overdrawn| "a chunk begins with credit";
        reader.inflow.begin_within(charge_of_message(header)).map_err(overdrawn)?;
        if header.is_fragmented() {
            reader.state = Reading::Arriving;
        }
        if !core::mem::replace(&mut reader.has_begun, true) {
            reader.widen_to(wanted);
            if reader.inflow.is_grant_due() {
                self.streams.owe_grant(of);
                self.flow.is_due = true;
            }
        }
        Ok(())
    }

    /// A `Data` is whole.
    pub(super) fn on_data(&mut self, now: Now, frame: Frame) -> Result<(), CloseReason> {
        let Frame { header, extension, body, .. } = frame;
        let has_begun = header.is_fragmented() || header.body_len as usize > COPY_LEN_MAX;
        let of = if has_begun {
            self.end_arrival(header)
        } else {
            self.begin_chunk(header).map_err(CloseReason::Protocol)?
        };
        let (body, attachments) = split(body, &extension.parts).ok_or(BAD_PARTS)?;
        match of {
            Some(stream) => {
                let Some(reader) = self.streams.reader(stream) else { return Ok(()) };
                let (charge, window) = (charge_of_message(header), reader.window.clone());
                let held = Held(What::Chunk { stream, charge, _window: window });
                if let StreamRef::Call(call) = stream
                    && self.calls.uncharge(call)
                {
                    self.begin_waiting(now);
                }
                self.stats.chunks_in += 1;
                self.events.push_back(Event::Chunk { stream, body, attachments, held });
            }
            None if has_begun => self.stats.late_chunks += 1,
            None => {}
        }
        Ok(())
    }

    /// A long chunk is whole: whose it is, or `None` if its call is over by now.
    fn end_arrival(&mut self, header: FrameHeader) -> Option<StreamRef> {
        if header.is_fragmented() {
            let of = self.flow.arriving[header.lane()].take()?;
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
        drop(self.charges.take(header));
        self.release_large_answer(now, header);
        match header.kind {
            Kind::Response if self.calls.find(header.call).is_some() => {
                Err(CloseReason::Protocol("an answer that has begun is finished"))
            }
            Kind::Data => {
                if let Some(of) = self.flow.arriving[header.lane()].take()
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
        if header.code == ANSWERS {
            self.answers_out.raise(total).map_err(taken_back)?;
            self.flows.unpark();
            return Ok(());
        }
        if header.code != 0 {
            return Err(CloseReason::Protocol("a grant is of a stream, or of the answers"));
        }
        match self.target(header) {
            Target::Late => self.stats.late_chunks += 1,
            Target::Unary => return Err(CloseReason::Protocol(ORDER)),
            Target::Stream(of) => {
                // Nobody grants for a call whose request has not begun.
                let stream = self.streams.get(of).ok_or(CloseReason::Protocol(ORDER))?;
                match &mut stream.sending {
                    Sending::Open(outflow) => outflow.raise(total).map_err(taken_back)?,
                    Sending::Finished => {}
                    Sending::None | Sending::Held { .. } => {
                        return Err(CloseReason::Protocol(ORDER));
                    }
                }
                self.unblock_one(of);
            }
        }
        Ok(())
    }
}
