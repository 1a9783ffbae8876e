//! The streams of one connection: which [`Port`] a chunk belongs to, and what the ends of streams
//! do to the machine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chinwag_core::rpc::config::COPY_LEN_MAX;
use chinwag_core::rpc::{Body, Code, Held, InboundId, Status, StreamError, StreamRef};
use chinwag_core::time::Now;

use super::handle::{Call, Link, State};
use crate::base::pipe::{Arrival, Pipe, over, too_large};
use crate::base::sync::lock;
use crate::message::answer::Response;

/// One streaming call as its connection sees it.
#[derive(Default)]
pub(crate) struct Port {
    /// What the peer sends.
    pub(crate) incoming: Pipe,
    /// Who waits to send.
    writer: Mutex<Option<Waker>>,
    /// How the call ended, for who still wants to send.
    failure: Mutex<Option<Status>>,
    /// [`RemoteEnd`]s that are left. When the last goes, so does what nobody can take any more.
    ends: AtomicUsize,
}

impl Port {
    fn end(&self, status: Option<&Status>, wakers: &mut Vec<Waker>) {
        *lock(&self.failure) = status.cloned();
        self.incoming.end(status, wakers);
        wakers.extend(lock(&self.writer).take());
    }
}

/// Ports by the slots of their calls. Unary calls have none.
#[derive(Default)]
pub(super) struct Ports {
    ours: Slots,
    theirs: Slots,
    /// Of calls whose end is in the machine's queue while another call has their slot.
    displaced: BTreeMap<StreamRef, Arc<Port>>,
}

type Slots = Vec<Option<(StreamRef, Arc<Port>)>>;

impl Ports {
    fn place(&mut self, of: StreamRef) -> (&mut Slots, usize) {
        match of {
            StreamRef::Call(call) => (&mut self.ours, call.slot()),
            StreamRef::Inbound(id) => (&mut self.theirs, id.slot()),
        }
    }

    pub(super) fn open(&mut self, of: StreamRef, port: Arc<Port>) {
        let (table, slot) = self.place(of);
        if table.len() <= slot {
            table.resize(slot + 1, None);
        }
        let displaced = table[slot].replace((of, port));
        self.displaced.extend(displaced);
    }

    pub(super) fn get(&self, of: StreamRef) -> Option<&Arc<Port>> {
        let Self { ours, theirs, displaced } = self;
        let latest = match of {
            StreamRef::Call(call) => ours.get(call.slot()),
            StreamRef::Inbound(id) => theirs.get(id.slot()),
        };
        match latest {
            Some(Some((known, port))) if *known == of => Some(port),
            _ => displaced.get(&of),
        }
    }

    fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.theirs.is_empty() && self.displaced.is_empty()
    }

    fn remove(&mut self, of: StreamRef) -> Option<Arc<Port>> {
        let (table, slot) = self.place(of);
        let latest =
            table.get_mut(slot).and_then(|latest| latest.take_if(|(known, _)| *known == of));
        latest.map(|(_, port)| port).or_else(|| self.displaced.remove(&of))
    }

    /// The call is over. What came for a handler that never was is held by nobody: it is given
    /// back.
    #[must_use]
    pub(super) fn end(
        &mut self,
        of: StreamRef,
        status: Option<&Status>,
        wakers: &mut Vec<Waker>,
    ) -> Vec<Held> {
        // Most connections have unary calls alone.
        if self.is_empty() {
            return Vec::new();
        }
        let Some(port) = self.remove(of) else { return Vec::new() };
        port.end(status, wakers);
        // The caller's own end may be about to be made; its drop gives back what is left.
        let is_unclaimed =
            matches!(of, StreamRef::Inbound(_)) && port.ends.load(Ordering::SeqCst) == 0;
        if is_unclaimed { port.incoming.abandon() } else { Vec::new() }
    }

    /// The connection is over, and with it the peer's calls.
    pub(super) fn end_theirs(&mut self, wakers: &mut Vec<Waker>) {
        let lost = Status::new(Code::ConnectionLost, "the connection ended");
        self.theirs.drain(..).flatten().for_each(|(_, port)| port.end(Some(&lost), wakers));
        self.displaced.retain(|of, port| {
            let is_theirs = matches!(of, StreamRef::Inbound(_));
            if is_theirs {
                port.end(Some(&lost), wakers);
            }
            !is_theirs
        });
    }

    /// A chunk, to whom it belongs; or what it holds, if to nobody. Its bytes are the connection's
    /// own, so that they may be dropped here.
    pub(super) fn push(
        &mut self,
        of: StreamRef,
        arrival: Arrival,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), Held> {
        match self.get(of) {
            Some(port) => port.incoming.push(arrival, wakers).map_err(|arrival| arrival.held),
            None => Err(arrival.held),
        }
    }

    pub(super) fn finished(&mut self, of: StreamRef, wakers: &mut Vec<Waker>) {
        if let Some(port) = self.get(of) {
            port.incoming.finish(wakers);
        }
    }

    pub(super) fn sendable(&mut self, of: StreamRef, wakers: &mut Vec<Waker>) {
        if let Some(port) = self.get(of) {
            wakers.extend(lock(&port.writer).take());
        }
    }
}

/// One end of a stream over a connection.
pub(crate) struct RemoteEnd {
    pub(crate) link: Arc<Link>,
    pub(crate) stream: StreamRef,
    pub(crate) port: Arc<Port>,
}

impl RemoteEnd {
    /// The end of a call of this node.
    pub(crate) fn of_call(call: &Call, port: Arc<Port>) -> Self {
        Self::new(&call.link, StreamRef::Call(call.id), port)
    }

    /// The end of a call of the peer, while that is open.
    pub(crate) fn of_inbound(link: &Arc<Link>, id: InboundId) -> Option<Self> {
        let stream = StreamRef::Inbound(id);
        // Under the lock: a call that ends from here on leaves what it brought to this end.
        let state = link.state.lock();
        state.ports.get(stream).map(|port| Self::new(link, stream, port.clone()))
    }

    fn new(link: &Arc<Link>, stream: StreamRef, port: Arc<Port>) -> Self {
        port.ends.fetch_add(1, Ordering::SeqCst);
        Self { link: link.clone(), stream, port }
    }

    /// Another handle to the same end: one for what comes, one for what goes.
    pub(crate) fn twin(&self) -> Self {
        Self::new(&self.link, self.stream, self.port.clone())
    }

    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        body: &Bytes,
        attachments: &[Bytes],
    ) -> Poll<Result<(), Status>> {
        let (waker, now) = (cx.waker().clone(), self.link.runtime.now());
        let sent = {
            let mut state = self.link.state.lock();
            let sent = state.machine.send(now, self.stream, sent_as(body), attachments);
            // The machine ends a call before it is asked how: that is told, and wakes, with the
            // call's event.
            let is_untold =
                matches!(sent, Err(StreamError::Ended)) && state.ports.get(self.stream).is_some();
            if is_untold || matches!(sent, Err(StreamError::Blocked)) {
                // Under the lock: what says that there is room comes after this.
                let replaced = { lock(&self.port.writer).replace(waker) };
                drop(state);
                drop(replaced);
                return Poll::Pending;
            }
            if sent.is_ok() {
                state.used_at = now.mono;
            }
            sent
        };
        Poll::Ready(match sent {
            Ok(()) => {
                self.link.bell.ring();
                Ok(())
            }
            Err(StreamError::TooLarge { len, len_max }) => Err(too_large(len, len_max)),
            Err(StreamError::Ended) => Err(lock(&self.port.failure).clone().unwrap_or_else(over)),
            // It was finished from here: blocked sends have returned above.
            Err(_) => Err(over()),
        })
    }

    /// No further chunks go. Of a call that is over, this says nothing.
    pub(crate) fn finish(&self) {
        let now = self.link.runtime.now();
        let finished = { self.link.state.lock().machine.finish(now, self.stream) };
        if finished.is_ok() {
            self.link.bell.ring();
        }
    }

    pub(crate) fn release(&self, held: Held) {
        self.link.release(held);
    }

    /// Ends the call, if it is one of ours and open: its future gets `Cancelled`.
    pub(crate) fn cancel(&self) {
        let StreamRef::Call(call) = self.stream else { return };
        let (now, mut wakers) = (self.link.runtime.now(), Vec::new());
        {
            let mut state = self.link.state.lock();
            if state.machine.cancel(now, call) {
                let status =
                    Status::new(Code::Cancelled, "the caller's stream was dropped unfinished");
                state.end_stream(now, self.stream, Some(&status), &mut wakers);
                let ended = (now.mono, Response::from(status));
                wakers.extend(state.calls.end(call, ended, Held::NOTHING).ok().flatten());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        self.link.bell.ring();
    }
}

/// Also of an end that was never made a stream's, because an interceptor refused the call or its
/// handler was cancelled first.
impl Drop for RemoteEnd {
    fn drop(&mut self) {
        if self.port.ends.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.port.incoming.abandon().into_iter().for_each(|held| self.link.release(held));
        }
    }
}

impl State {
    /// The call is over, and its stream with it.
    pub(super) fn end_stream(
        &mut self,
        now: Now,
        of: StreamRef,
        status: Option<&Status>,
        wakers: &mut Vec<Waker>,
    ) {
        for held in self.ports.end(of, status, wakers) {
            self.machine.release(now, held);
        }
    }

    /// What a call of the peer brought is to be had from now on.
    pub(super) fn open_inbound(&mut self, id: InboundId) {
        self.ports.open(StreamRef::Inbound(id), Arc::default());
    }
}

/// A body as it is handed to the machine, which copies a short one anyway.
fn sent_as(body: &Bytes) -> Body<'_> {
    match body.len() {
        0..=COPY_LEN_MAX => Body::Borrowed(body),
        _ => Body::Owned(body.clone()),
    }
}
