//! [`Streams`]: the halves of streaming calls that are open (`docs/protocol.md` §5.11.3, §5.11.4).
//! Unary calls are not here.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::types::{Shape, StreamRef};
use crate::rpc::budget::{ALL_OF_IT, Budget, Charge};
use crate::rpc::config::{CHUNK_LEN_DEFAULT, RESERVE_LEN_MIN};
use crate::rpc::credit::{Inflow, Outflow, charge_of};
use crate::rpc::slots::Slots;
use crate::time::Instant;

/// The half that sends, as the table of §5.11.3 has it. Its fifth state, ended, is that the call
/// has no entry any more.
#[derive(Debug)]
pub(in crate::rpc) enum Sending {
    /// The call's shape has no such half.
    None,
    /// The request waits.
    Held {
        /// The end is to be sent when the request begins.
        finishes: bool,
    },
    /// The request has begun: it is with the peer, or before the chunks in the queue.
    Open(Outflow),
    /// The end has been queued.
    Finished,
}

/// The half that receives.
#[derive(Debug)]
pub(in crate::rpc) struct Reader {
    pub(in crate::rpc) inflow: Inflow,
    pub(in crate::rpc) state: Reading,
    pub(in crate::rpc) window: Arc<WindowCharge>,
    /// A chunk has begun.
    pub(in crate::rpc) has_begun: bool,
    /// It is in the list of those whose grant is due.
    is_due: bool,
}

impl Reader {
    /// Widens the window to so many bytes, if the pool has room for it.
    pub(in crate::rpc) fn widen_to(&mut self, window: u32) {
        let more = u64::from(window).saturating_sub(self.inflow.window());
        if more > 0 && self.window.grow(more) {
            self.inflow.widen(u64::from(window));
        }
    }
}

/// What the window of a direction is charged, by its receiver (§5.12.5, §5.12.6). It is given back
/// when the direction has ended and no chunk of it is held.
#[derive(Debug)]
pub(in crate::rpc) struct WindowCharge {
    _reserve: Charge,
    /// What the window is beyond the reserve.
    pool: Charge,
}

impl WindowCharge {
    /// Takes `more` out of the pool, if it has room.
    pub(in crate::rpc) fn grow(&self, more: u64) -> bool {
        usize::try_from(more).is_ok_and(|more| self.pool.add(more))
    }
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
    /// Bytes of the largest chunk, either way.
    pub(in crate::rpc) chunk_len_max: u32,
    pub(in crate::rpc) sending: Sending,
    pub(in crate::rpc) reader: Option<Reader>,
    /// What the receiving half of a call of ours will have when its request begins.
    reserved: Option<Charge>,
    /// Whether a receiving half is wanted.
    reads: bool,
    /// `send` was refused, and nobody has said yet that it may try again.
    is_blocked: bool,
    /// The chunk that was refused needs so much of the stream's window.
    blocked_charge: u32,
    /// It is in the list of those who wait.
    is_listed: bool,
}

/// Streams by the slots of their calls.
#[derive(Debug)]
pub(in crate::rpc) struct Streams {
    ours: Slots<Box<Stream>>,
    theirs: Slots<Box<Stream>>,
    /// Those that were refused, oldest first; some may be gone, or told already.
    blocked: VecDeque<StreamRef>,
    /// Those whose grant is due; some may be gone.
    due: Vec<StreamRef>,
    /// Always, but for a mutant.
    pub(in crate::rpc) has_reserves: bool,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            ours: Slots::default(),
            theirs: Slots::default(),
            blocked: VecDeque::new(),
            due: Vec::new(),
            has_reserves: true,
        }
    }
}

/// The budgets of the streams of one connection.
#[derive(Debug)]
pub(in crate::rpc) struct Reserves {
    pub(in crate::rpc) reserves: Arc<Budget>,
    pub(in crate::rpc) pool: Arc<Budget>,
}

/// The largest chunk of a call that declares this one (§5.12.5).
pub(in crate::rpc) const fn chunk_len_max(declared: u32) -> u32 {
    if declared == 0 { CHUNK_LEN_DEFAULT } else { declared }
}

/// The first window of a direction whose chunks have at most this many bytes (§5.12.5).
pub(in crate::rpc) fn reserve_of(chunk_len_max: u32) -> u32 {
    charge_of(chunk_len_max as usize).max(RESERVE_LEN_MIN)
}

impl Streams {
    /// A streaming call of ours was made. Its halves open when its request begins.
    pub(in crate::rpc) fn make(&mut self, of: StreamRef, shape: Shape, declared: u32) {
        let sending =
            if shape.streams_in { Sending::Held { finishes: false } } else { Sending::None };
        self.put(of, declared, sending, shape.streams_out);
    }

    /// A streaming call of the peer opens. `false`: there is no room for its reserve, and it does
    /// not.
    pub(in crate::rpc) fn accept(
        &mut self,
        of: StreamRef,
        shape: Shape,
        declared: u32,
        reserves: &Reserves,
        now: Instant,
    ) -> bool {
        let window = self.first_window(chunk_len_max(declared));
        let sending =
            if shape.streams_out { Sending::Open(Outflow::new(window)) } else { Sending::None };
        self.put(of, declared, sending, shape.streams_in);
        let is_open = self.reserve(of, reserves);
        if is_open {
            self.open_reader(of, reserves, now);
        } else {
            self.end(of);
        }
        is_open
    }

    fn put(&mut self, of: StreamRef, declared: u32, sending: Sending, reads: bool) {
        let stream = Stream {
            of,
            chunk_len_max: chunk_len_max(declared),
            sending,
            reader: None,
            reserved: None,
            reads,
            is_blocked: false,
            blocked_charge: 0,
            is_listed: false,
        };
        let (slots, slot) = self.slots(of);
        slots.put(slot, Box::new(stream));
    }

    /// Draws the reserve of the receiving half, if there is one and it has none. Whether it has
    /// room.
    pub(in crate::rpc) fn reserve(&mut self, of: StreamRef, reserves: &Reserves) -> bool {
        let Some(stream) = self.get(of).filter(|stream| stream.reads) else { return true };
        if stream.reserved.is_none() {
            let amount = reserve_of(stream.chunk_len_max) as usize;
            stream.reserved = reserves.reserves.draw(amount, ALL_OF_IT);
        }
        stream.reserved.is_some()
    }

    /// The request is on its way: the receiving half opens, which has been reserved for.
    pub(in crate::rpc) fn open_reader(&mut self, of: StreamRef, budgets: &Reserves, now: Instant) {
        let first_window = self.get(of).map_or(0, |stream| stream.chunk_len_max);
        let first_window = self.first_window(first_window);
        let Some(stream) = self.get(of) else { return };
        let (Some(reserve), Some(pool)) = (stream.reserved.take(), budgets.pool.draw(0, ALL_OF_IT))
        else {
            return;
        };
        let window = Arc::new(WindowCharge { _reserve: reserve, pool });
        let inflow = Inflow::new(first_window, now);
        let (state, has_begun) = (Reading::Open, false);
        stream.reader = Some(Reader { inflow, state, window, has_begun, is_due: false });
    }

    /// The first window of a direction whose chunks have at most this many bytes.
    pub(in crate::rpc) fn first_window(&self, chunk_len_max: u32) -> u32 {
        if self.has_reserves { reserve_of(chunk_len_max) } else { 0 }
    }

    pub(in crate::rpc) fn get(&mut self, of: StreamRef) -> Option<&mut Stream> {
        let (slots, slot) = self.slots(of);
        slots.get_mut(slot).map(Box::as_mut).filter(|stream| stream.of == of)
    }

    /// The window of the half that sends, while it is open or has finished.
    pub(in crate::rpc) fn outflow(&mut self, of: StreamRef) -> Option<&mut Outflow> {
        match &mut self.get(of)?.sending {
            Sending::Open(outflow) => Some(outflow),
            _ => None,
        }
    }

    pub(in crate::rpc) fn reader(&mut self, of: StreamRef) -> Option<&mut Reader> {
        self.get(of)?.reader.as_mut()
    }

    /// The call is over.
    pub(in crate::rpc) fn end(&mut self, of: StreamRef) {
        let (slots, slot) = self.slots(of);
        slots.take_if(slot, |stream| stream.of == of);
        // Streams that are refused and end, over and over while nothing can be written, must not
        // fill the list.
        let open = (self.ours.count() + self.theirs.count()) as usize;
        if self.blocked.len() > 2 * open + 64 {
            let mut blocked = core::mem::take(&mut self.blocked);
            blocked.retain(|&of| self.get(of).is_some());
            self.blocked = blocked;
        }
    }

    /// `send` was refused a chunk that is charged so much: the stream waits to be told.
    pub(in crate::rpc) fn block(&mut self, of: StreamRef, charge: u32) {
        if let Some(stream) = self.get(of) {
            (stream.is_blocked, stream.blocked_charge) = (true, charge);
            if !core::mem::replace(&mut stream.is_listed, true) {
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
        self.get(of)
            .is_some_and(|stream| stream.is_sendable() && core::mem::take(&mut stream.is_blocked))
    }

    /// All streams that wait, may send as far as their own windows go, and for which `has_room`, in
    /// the order in which they were refused. They are told now.
    pub(in crate::rpc) fn unblock_all(
        &mut self,
        has_room: impl Fn(StreamRef) -> bool,
        mut tell: impl FnMut(StreamRef),
    ) {
        for _ in 0..self.blocked.len() {
            let Some(of) = self.blocked.pop_front() else { break };
            let Some(stream) = self.get(of) else { continue };
            if stream.is_blocked && !(stream.is_sendable() && has_room(of)) {
                self.blocked.push_back(of);
                continue;
            }
            stream.is_listed = false;
            if core::mem::take(&mut stream.is_blocked) {
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

    fn slots(&mut self, of: StreamRef) -> (&mut Slots<Box<Stream>>, usize) {
        match of {
            StreamRef::Call(call) => (&mut self.ours, call.slot()),
            StreamRef::Inbound(id) => (&mut self.theirs, id.slot()),
        }
    }
}

impl Stream {
    /// The request has begun: chunks may go.
    pub(in crate::rpc) fn open_sending(&mut self, window: u32) {
        self.sending = Sending::Open(Outflow::new(window));
    }

    /// Whether the chunk that was refused may go, as far as the stream's own window is concerned;
    /// or nothing more may, which its sender is to find out.
    fn is_sendable(&self) -> bool {
        match &self.sending {
            Sending::Open(outflow) => outflow.has_room(self.blocked_charge),
            Sending::Held { .. } => false,
            Sending::Finished | Sending::None => true,
        }
    }
}
