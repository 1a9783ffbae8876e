//! [`Streams`]: the halves of streaming calls that are open (`docs/protocol.md` §5.11.3, §5.11.4). Unary calls are not here.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::rpc::credit::{Inflow, Outflow};
use crate::rpc::stream::{Shape, StreamRef};
use crate::time::Instant;

/// The half that sends.
#[derive(Debug)]
pub(in crate::rpc) struct Sender {
    pub(in crate::rpc) outflow: Outflow,
    /// The request has begun: it is with the peer, or before us in the queue.
    pub(in crate::rpc) is_open: bool,
    pub(in crate::rpc) is_finished: bool,
    /// `send` was refused, and nobody has said yet that it may try again.
    is_blocked: bool,
    /// It is in the list of those who wait.
    is_listed: bool,
}

/// The half that receives.
#[derive(Debug)]
pub(in crate::rpc) struct Reader {
    pub(in crate::rpc) inflow: Inflow,
    pub(in crate::rpc) state: Reading,
    /// It is in the list of those whose grant is due.
    is_due: bool,
}

/// Where the half that receives stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rpc) enum Reading {
    Open,
    /// A long chunk comes in.
    Arriving,
    Finished,
    /// A long chunk was aborted: the call is about to end.
    Aborted,
}

#[derive(Debug)]
pub(in crate::rpc) struct Stream {
    of: StreamRef,
    pub(in crate::rpc) sender: Option<Sender>,
    pub(in crate::rpc) reader: Option<Reader>,
}

/// Streams by the slots of their calls.
#[derive(Debug, Default)]
pub(in crate::rpc) struct Streams {
    ours: Vec<Option<Box<Stream>>>,
    theirs: Vec<Option<Box<Stream>>>,
    /// Those that were refused, oldest first; some may be gone, or told already.
    blocked: VecDeque<StreamRef>,
    /// Those whose grant is due; some may be gone.
    due: Vec<StreamRef>,
    /// Streams that are open.
    open: usize,
}

impl Streams {
    /// A streaming call opened. `outgoing` is the peer's window, if it is known.
    pub(in crate::rpc) fn open(
        &mut self,
        of: StreamRef,
        shape: Shape,
        incoming: u32,
        outgoing: Option<u32>,
        now: Instant,
    ) {
        let (sends, reads) = match of {
            StreamRef::Call(_) => (shape.streams_in, shape.streams_out),
            StreamRef::Inbound(_) => (shape.streams_out, shape.streams_in),
        };
        let sender = Sender {
            outflow: Outflow::new(outgoing.unwrap_or(0)),
            is_open: outgoing.is_some(),
            is_finished: false,
            is_blocked: false,
            is_listed: false,
        };
        let reader =
            Reader { inflow: Inflow::new(incoming, now), state: Reading::Open, is_due: false };
        let stream =
            Stream { of, sender: sends.then_some(sender), reader: reads.then_some(reader) };
        let (slots, slot) = self.slots(of);
        if slots.len() <= slot {
            slots.resize_with(slot + 1, || None);
        }
        let is_new = slots[slot].replace(Box::new(stream)).is_none();
        self.open += usize::from(is_new);
    }

    pub(in crate::rpc) fn get(&mut self, of: StreamRef) -> Option<&mut Stream> {
        let (slots, slot) = self.slots(of);
        slots.get_mut(slot)?.as_deref_mut().filter(|stream| stream.of == of)
    }

    pub(in crate::rpc) fn sender(&mut self, of: StreamRef) -> Option<&mut Sender> {
        self.get(of)?.sender.as_mut()
    }

    pub(in crate::rpc) fn reader(&mut self, of: StreamRef) -> Option<&mut Reader> {
        self.get(of)?.reader.as_mut()
    }

    /// The call is over.
    pub(in crate::rpc) fn end(&mut self, of: StreamRef) {
        let (slots, slot) = self.slots(of);
        if slots.get_mut(slot).is_some_and(|slot| slot.take_if(|stream| stream.of == of).is_some())
        {
            self.open -= 1;
        }
        // Streams that are refused and end, over and over while nothing can be written, must not
        // fill the list.
        if self.blocked.len() > 2 * self.open + 64 {
            let mut blocked = core::mem::take(&mut self.blocked);
            blocked.retain(|&of| self.sender(of).is_some());
            self.blocked = blocked;
        }
    }

    /// `send` was refused: the stream waits to be told.
    pub(in crate::rpc) fn block(&mut self, of: StreamRef) {
        if let Some(sender) = self.sender(of) {
            sender.is_blocked = true;
            if !core::mem::replace(&mut sender.is_listed, true) {
                self.blocked.push_back(of);
            }
        }
    }

    /// Whether any stream may wait to be told.
    pub(in crate::rpc) fn has_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether this stream waits, and may send as far as its own window goes. It is told now.
    pub(in crate::rpc) fn unblock(&mut self, of: StreamRef) -> bool {
        self.sender(of)
            .is_some_and(|sender| sender.is_sendable() && core::mem::take(&mut sender.is_blocked))
    }

    /// All streams that wait and may send as far as their own windows go, in the order in which
    /// they were refused. They are told now.
    pub(in crate::rpc) fn unblock_all(&mut self, mut tell: impl FnMut(StreamRef)) {
        for _ in 0..self.blocked.len() {
            let Some(of) = self.blocked.pop_front() else { break };
            let Some(sender) = self.sender(of) else { continue };
            if sender.is_blocked && !sender.is_sendable() {
                self.blocked.push_back(of);
                continue;
            }
            sender.is_listed = false;
            if core::mem::take(&mut sender.is_blocked) {
                tell(of);
            }
        }
    }

    /// The stream's grant is due.
    pub(in crate::rpc) fn owe_grant(&mut self, of: StreamRef) {
        if let Some(reader) = self.reader(of)
            && !core::mem::replace(&mut reader.is_due, true)
        {
            self.due.push(of);
        }
    }

    /// The next grant that is due: whose, and the total.
    pub(in crate::rpc) fn pop_grant(&mut self) -> Option<(StreamRef, u64)> {
        while let Some(of) = self.due.pop() {
            if let Some(reader) = self.reader(of) {
                reader.is_due = false;
                return Some((of, reader.inflow.grant()));
            }
        }
        None
    }

    /// Every call is over.
    pub(in crate::rpc) fn clear(&mut self) {
        *self = Self::default();
    }

    fn slots(&mut self, of: StreamRef) -> (&mut Vec<Option<Box<Stream>>>, usize) {
        match of {
            StreamRef::Call(call) => (&mut self.ours, call.slot()),
            StreamRef::Inbound(id) => (&mut self.theirs, id.slot()),
        }
    }
}

impl Sender {
    /// The request is on its way, and the peer's window known.
    pub(in crate::rpc) fn begin(&mut self, window: u32) {
        (self.outflow, self.is_open) = (Outflow::new(window), true);
    }

    /// Whether a chunk may go, as far as the stream's own window is concerned.
    pub(in crate::rpc) fn is_sendable(&self) -> bool {
        self.is_open && self.outflow.is_open()
    }
}
