//! [`Ledger`]: what one side has asked, sent and heard, and whether that can be.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chinwag_core::rpc::{
    CallId, Event, Held, InboundId, RequestError, RespondError, Shape, Status, StreamError,
    StreamRef,
};

/// Bytes that say which message they are.
pub(super) fn pattern(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|at| (at.wrapping_mul(31) ^ number as usize).to_le_bytes()[0]));
    bytes
}

fn number_of(body: &Bytes) -> u32 {
    let number = body.first_chunk::<4>().map_or(0, |number| u32::from_le_bytes(*number));
    assert_eq!(
        body[..],
        pattern(number, body.len() - 4)[..],
        "§5.2: what arrives is what was sent"
    );
    number
}

/// A call made here.
struct Call {
    number: u32,
    shape: Shape,
}

/// One half of a stream, as its sender or its receiver counts it.
#[derive(Clone, Copy, Default)]
struct Half {
    chunks: u32,
    is_finished: bool,
}

/// How a call of the peer was answered.
struct Answered {
    is_ok: bool,
    /// Chunks sent before the answer, if the call streams that way.
    chunks: u32,
}

/// See the module.
#[derive(Default)]
pub(super) struct Ledger {
    /// Everything that was heard and sent.
    pub(super) lines: Vec<String>,
    /// How many lines there were when the connection ended, if it did while something came.
    pub(super) closed_at: Option<usize>,
    open: BTreeMap<CallId, Call>,
    /// How calls made here ended, by number: `None` if given up.
    ended: BTreeMap<u32, Option<bool>>,
    /// Chunks that were heard before the answer, of calls that were answered.
    complete: BTreeMap<u32, u32>,
    given_up: BTreeSet<CallId>,
    begun: u32,
    inbound: BTreeMap<InboundId, (u32, Shape)>,
    /// Numbers of calls that ran here, and how they were answered.
    ran: BTreeMap<u32, Option<Answered>>,
    sent: BTreeMap<StreamRef, Half>,
    heard: BTreeMap<StreamRef, Half>,
    held: Vec<Held>,
    /// Calls that ended with a large answer, until the connection may have dropped it.
    untaken: BTreeSet<CallId>,
    /// Bytes of requests and one-way messages that the application keeps (§5.12.4).
    kept: Vec<(Bytes, Vec<Bytes>)>,
    is_closed: bool,
}

impl Ledger {
    /// The connection has ended, which is not heard yet.
    pub(super) fn note_closed(&mut self) {
        self.closed_at.get_or_insert(self.lines.len());
    }

    pub(super) fn note(&mut self, line: String) {
        self.lines.push(line);
    }

    pub(super) fn requested(
        &mut self,
        number: u32,
        shape: Shape,
        result: Result<CallId, RequestError>,
    ) {
        self.note(format!("request {number} {result:?}"));
        if let Ok(id) = result {
            let before = self.open.insert(id, Call { number, shape });
            assert!(before.is_none(), "§5.4.1: an open call's id is not given out");
            // The id may have been another call's.
            self.sent.remove(&StreamRef::Call(id));
            self.heard.remove(&StreamRef::Call(id));
            self.begun += 1;
        }
    }

    pub(super) fn cancelled(&mut self, id: CallId, was_open: bool) {
        self.note(format!("cancel {id:?} {was_open}"));
        if was_open {
            let call = self.open.remove(&id).expect("§5.4.2: only an open call can be given up");
            assert!(self.ended.insert(call.number, None).is_none(), "§5.4.2: a call ends once");
            self.given_up.insert(id);
        }
    }

    pub(super) fn next_chunk(&self, stream: StreamRef) -> u32 {
        self.sent.get(&stream).map_or(0, |half| half.chunks)
    }

    pub(super) fn sent(&mut self, stream: StreamRef, result: Result<(), StreamError>) {
        self.note(format!("send {stream:?} {result:?}"));
        let half = self.sent.entry(stream).or_default();
        if result.is_ok() {
            assert!(!half.is_finished, "§5.11.3: no chunk after the end");
            half.chunks += 1;
        }
    }

    pub(super) fn finished(&mut self, stream: StreamRef, is_ok: bool) {
        self.sent.entry(stream).or_default().is_finished |= is_ok;
    }

    pub(super) fn responded(
        &mut self,
        id: InboundId,
        is_ok: bool,
        result: Result<(), RespondError>,
    ) {
        self.note(format!("respond {id:?} {result:?}"));
        // Of one that is over, that it was cancelled is still to be heard.
        if result != Err(RespondError::Ended)
            && let Some((number, _)) = self.inbound.remove(&id)
        {
            let chunks = self.next_chunk(StreamRef::Inbound(id));
            let answer = Answered { is_ok: is_ok && result.is_ok(), chunks };
            self.ran.insert(number, Some(answer));
        }
    }

    pub(super) fn pick_call(&self, nth: u8) -> Option<CallId> {
        self.open.keys().nth(usize::from(nth) % self.open.len().max(1)).copied()
    }

    pub(super) fn pick_inbound(&self, nth: u8) -> Option<(InboundId, u32)> {
        let (id, &(number, _)) =
            self.inbound.iter().nth(usize::from(nth) % self.inbound.len().max(1))?;
        Some((*id, number))
    }

    /// A stream of an open call, whether or not its shape lets this side send.
    pub(super) fn pick_stream(&self, nth: u8) -> Option<StreamRef> {
        let calls = self.open.keys().map(|&id| StreamRef::Call(id));
        let all: Vec<StreamRef> =
            calls.chain(self.inbound.keys().map(|&id| StreamRef::Inbound(id))).collect();
        all.get(usize::from(nth) % all.len().max(1)).copied()
    }

    pub(super) fn take_held(&mut self, count: usize) -> Vec<Held> {
        self.kept.drain(..count.min(self.kept.len()));
        self.held.drain(..count.min(self.held.len())).collect()
    }

    /// Requests and one-way messages are kept like what is held, and dropped with it.
    fn keep(&mut self, body: Bytes, attachments: Vec<Bytes>) {
        self.kept.push((body, attachments));
    }

    fn hold(&mut self, held: Held) {
        if !held.is_nothing() {
            self.held.push(held);
        }
    }

    pub(super) fn hear(&mut self, event: Event) {
        assert!(!self.is_closed, "§5.9.4: Closed is the last event, not {event:?}");
        match event {
            Event::Request {
                id,
                body,
                shape,
                method_id,
                headers,
                attachments,
                deadline,
                depth,
                ..
            } => {
                let number = number_of(&body);
                let beside = (method_id, headers.encoded_len(), attachments.len(), deadline, depth);
                self.note(format!(
                    "heard request {number} {id:?} {} {shape:?} {beside:?}",
                    body.len()
                ));
                assert!(
                    self.ran.insert(number, None).is_none(),
                    "§5.4.2: a handler runs once for a call"
                );
                assert!(
                    self.inbound.insert(id, (number, shape)).is_none(),
                    "§5.4: an id is given out once"
                );
                self.keep(body, attachments);
            }
            Event::OneWay { body, attachments, .. } => {
                let (number, beside) = (number_of(&body), attachments.len());
                self.note(format!("heard one-way {number} {} {beside}", body.len()));
                self.keep(body, attachments);
            }
            Event::Cancelled(id) => {
                self.note(format!("heard cancelled {id:?}"));
                assert!(
                    self.inbound.remove(&id).is_some(),
                    "§5.4.8: a call that was answered is not cancelled"
                );
            }
            Event::Response { call, result, held, attachments, headers } => {
                self.hear_response(
                    call,
                    &result,
                    (headers.encoded_len(), attachments.len()),
                    &held,
                );
                self.hold(held);
            }
            Event::Chunk { stream, body, attachments, held } => {
                self.hear_chunk(stream, &body, attachments.len());
                self.hold(held);
            }
            Event::Finished(stream) => {
                self.note(format!("heard finished {stream:?}"));
                let half = self.heard.entry(stream).or_default();
                assert!(!half.is_finished, "§5.11.4: a half ends once");
                half.is_finished = true;
            }
            Event::Gossip(body) => {
                number_of(&body);
                self.note(format!("heard gossip {}", body.len()));
            }
            Event::Closed(reason) => {
                self.note(format!("heard closed {reason:?}"));
                self.is_closed = true;
                self.inbound.clear();
                assert!(self.open.is_empty(), "§5.9.4: every call ends with the connection");
            }
            Event::AnswerDropped(call) => {
                self.note(format!("heard answer dropped {call:?}"));
                assert!(self.untaken.remove(&call), "§5.12.7: only what is not taken is dropped");
            }
            Event::Sendable(stream) => self.note(format!("heard sendable {stream:?}")),
            Event::Connected(peer) => self.note(format!("heard hello {peer:?}")),
            Event::GoAway => self.note("heard go-away".into()),
        }
    }

    fn hear_response(
        &mut self,
        call: CallId,
        result: &Result<Bytes, Status>,
        beside: (usize, usize),
        held: &Held,
    ) {
        let heard = self.heard.get(&StreamRef::Call(call)).copied().unwrap_or_default();
        let id = call;
        let call = self.open.remove(&call).unwrap_or_else(|| panic!("§5.4.2: {call:?} ends once"));
        let told =
            result.as_ref().map(Bytes::len).map_err(|status| (status.code, status.may_have_run()));
        self.note(format!(
            "heard response {} {told:?} {beside:?} after {}",
            call.number, heard.chunks
        ));
        if let Ok(body) = result {
            assert_eq!(number_of(body), call.number, "§5.4: an answer is to its own question");
            self.complete.insert(call.number, heard.chunks);
        }
        let is_new = self.ended.insert(call.number, Some(result.is_ok())).is_none();
        assert!(is_new, "§5.4.2: a call ends once");
        if !held.is_nothing() {
            self.untaken.insert(id);
        }
    }

    fn hear_chunk(&mut self, stream: StreamRef, body: &Bytes, attachments: usize) {
        let number = number_of(body);
        self.note(format!("heard chunk {stream:?} {number} {} {attachments}", body.len()));
        let may_come = match stream {
            // Of a call that was given up, chunks that had come before are still heard.
            StreamRef::Call(id) => self
                .open
                .get(&id)
                .map_or(self.given_up.contains(&id), |call| call.shape.streams_out),
            StreamRef::Inbound(id) => {
                self.inbound.get(&id).is_none_or(|(_, shape)| shape.streams_in)
            }
        };
        assert!(may_come, "§5.11: a chunk comes while its call is open, and its shape has it");
        let half = self.heard.entry(stream).or_default();
        assert!(!half.is_finished, "§5.11.4: no chunk after the end");
        assert_eq!(number, half.chunks, "§5.10.7: chunks come in order, each once");
        half.chunks += 1;
    }

    /// The story is over.
    pub(super) fn end(&self) {
        assert!(self.is_closed && self.open.is_empty(), "§5.9.4: the end is told");
        assert_eq!(self.begun as usize, self.ended.len(), "§5.4.2: every call has ended once");
    }

    /// What this side's calls came to is what the other side did with them.
    pub(super) fn agrees(&self, callee: &Self) {
        for (number, ended) in &self.ended {
            let ran = callee.ran.get(number);
            if *ended == Some(true) {
                let is_answered = matches!(ran, Some(Some(answered)) if answered.is_ok);
                assert!(is_answered, "§5.4.2: call {number} has an answer that nobody gave");
            }
        }
        for (number, answered) in &callee.ran {
            assert!(self.ended.contains_key(number), "§5.4: call {number} ran and was never made");
            let Some(Answered { is_ok: true, chunks }) = answered else { continue };
            let is_whole = self.complete.get(number).is_none_or(|heard| heard == chunks);
            assert!(is_whole, "§5.10.7: call {number} was answered after {chunks} chunks");
        }
    }
}
