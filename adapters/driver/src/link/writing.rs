//! Writing, as a [`LinkTask`] does it: when it is time, and as much as the stream takes.

use std::io::IoSlice;
use std::task::{Context, Poll};

use chinwag_core::rpc::{Flush, SLICES_MAX, Transmit};
use chinwag_core::time::Now;

use super::task::{FlushTurn, Io, LinkTask};
use crate::base::runtime::Stream;

/// What there is to write now.
enum Fill {
    Nothing,
    /// The run queue turns once before.
    Later,
    Some,
    /// Something else is to be done first.
    Left,
}

/// Writes in a row, where callers queue as fast as is written.
const WRITES_MAX: usize = 4;

/// A write after which reading has its turn.
const WRITE_LEN_MUCH: usize = 16 * 1024;

impl LinkTask {
    /// Writes until nothing is left, or for one write where there is much: reading is not to wait
    /// for it. Whether there may be more.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if !matches!(self.io, Io::Open(_)) {
            return false;
        }
        for _ in 0..WRITES_MAX {
            if self.out.is_empty() {
                match self.fill(now) {
                    Fill::Nothing => return self.flush(cx, now),
                    Fill::Later => {
                        cx.waker().wake_by_ref();
                        return false;
                    }
                    Fill::Left => {
                        self.is_due = true;
                        return true;
                    }
                    Fill::Some => {}
                }
            }
            let is_much = self.out.len() >= WRITE_LEN_MUCH;
            if !self.write_once(cx, now) {
                return false;
            }
            if is_much || !self.out.is_empty() {
                break;
            }
        }
        true
    }

    /// Lets the stream hand on what it holds. Whether it has failed.
    fn flush(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Io::Open(stream) = &mut self.io else { return false };
        if self.is_flushed {
            return false;
        }
        match stream.poll_flush(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => {
                self.is_flushed = true;
                false
            }
            Poll::Ready(Err(error)) => {
                self.fail(now, &error);
                true
            }
        }
    }

    /// Takes what the machine has to write, if it is time.
    fn fill(&mut self, now: Now) -> Fill {
        {
            let mut state = self.link.state.lock();
            if state.machine.has_events() {
                return Fill::Left;
            }
            state.has_unwritten = false;
            match state.machine.flush() {
                // What waits for the peer's hello is queued, and not to be written yet.
                Flush::Nothing if state.machine.queued_len() > 0 => return Fill::Nothing,
                Flush::Nothing => {
                    self.turn = FlushTurn::Idle;
                    state.is_gossip_unflushed = false;
                    if state.has_peer_left {
                        state.has_peer_left = false;
                        state.machine.go_away(now);
                        return Fill::Left;
                    }
                    return Fill::Nothing;
                }
                Flush::AfterTurn if self.turn != FlushTurn::Done => {
                    if self.turn == FlushTurn::Idle {
                        self.turn = FlushTurn::Asked;
                        return Fill::Later;
                    }
                    return Fill::Nothing;
                }
                Flush::AfterTurn | Flush::Now => self.turn = FlushTurn::Idle,
            }
            if state.machine.poll_transmit(now, &mut self.out) == 0 {
                return Fill::Nothing;
            }
            state.has_unwritten = true;
        }
        Fill::Some
    }

    fn write_once(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Io::Open(stream) = &mut self.io else { return false };
        match write(&mut **stream, cx, &self.out) {
            Poll::Pending => false,
            Poll::Ready(Ok(len)) if len > 0 => {
                self.out.advance(len);
                self.is_flushed = false;
                true
            }
            Poll::Ready(Ok(_)) => {
                self.fail(now, &"it takes no more bytes");
                true
            }
            Poll::Ready(Err(error)) => {
                self.fail(now, &error);
                true
            }
        }
    }
}

/// Writes what the stream takes of `out`, in one go.
pub(super) fn write(
    stream: &mut dyn Stream,
    cx: &mut Context<'_>,
    out: &Transmit,
) -> Poll<std::io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut count = 0;
    for (slice, bytes) in slices.iter_mut().zip(out.slices()) {
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    stream.poll_write_vectored(cx, &slices[..count])
}
