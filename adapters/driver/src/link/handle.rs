//! [`Link`]: one connection as callers see it. Its task is in [`task`](super::task).
//!
//! Callers lock the machine, put a request in, ring the task's bell and leave a waker in a table:
//! no channel, no timer and no task per call. The task owns the stream and does all reading and
//! writing.

use std::collections::VecDeque;
use std::future::Future;
use std::mem::{replace, take};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::Destination;
use chinwag_core::rpc::config::COPY_LEN_MAX;
use chinwag_core::rpc::{
    Body, CallId, Code, Connection, Event, GossipError, Held, InboundId, MethodName, PeerHello,
    Receiver, Request, RequestError, RespondError, Side, Status, StreamRef,
};
use chinwag_core::time::{Instant, Now};

use crate::base::limits::{IDLE_MAX, IDLE_RETIRED_MAX};
use crate::base::pipe::Arrival;
use crate::base::runtime::Runtime;
use crate::base::state::NodeState;
use crate::base::sync::Bell;
use crate::message::answer::Response;

use super::calls::{Calls, Entry};
use super::serve::PeerMethod;
use super::state::Guarded;
use super::strangers::Host;
use super::streams::{Port, Ports};

/// How a call ended, and when its connection heard of it.
pub(crate) type Ended = (Instant, Response);

/// The half of a connection that everybody shares.
pub(crate) struct Link {
    /// Its number in the node; never used again.
    pub(crate) key: u64,
    /// Whom it was dialled for; `None` if it was accepted.
    pub(crate) target: Option<Destination>,
    /// The host that dialled, if it was accepted and that is known.
    pub(super) host: Option<Host>,
    pub(crate) bell: Bell,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) peer: OnceLock<PeerHello>,
    /// Cleared once no new call may be put on it: replaced by another link, going away, or over.
    pub(super) is_usable: AtomicBool,
    pub(super) state: Guarded,
}

pub(super) struct State {
    pub(super) machine: Connection,
    /// Whom the connection was dialled for; `None` if it was accepted.
    pub(super) target: Option<Destination>,
    /// What went wrong with the stream, in the system's words: why it was not made, or was lost.
    pub(super) trouble: Option<String>,
    pub(super) calls: Calls,
    pub(super) ports: Ports,
    /// The last time a call or gossip went over it, either way.
    pub(super) used_at: Instant,
    /// The peer left before it has said hello: go away once what is queued has been written.
    pub(super) has_peer_left: bool,
    /// The stream is open: the peer may have this side's hello.
    pub(super) has_stream: bool,
    /// Bytes that the machine gave out are not written yet.
    pub(super) has_unwritten: bool,
    /// Gossip was queued after everything queued had last been written.
    pub(super) is_gossip_unflushed: bool,
    /// A one-way message was queued before the peer had said who it is.
    pub(super) has_early_one_way: bool,
}

impl State {
    /// Takes the machine's events. Responses and what belongs to a stream go where they are waited
    /// for; their shells stay in the queue.
    pub(super) fn take_events(
        &mut self,
        now: Now,
        events: &mut VecDeque<Event>,
        wakers: &mut Vec<Waker>,
    ) {
        self.machine.take_events(events);
        let ending = match events.back() {
            Some(Event::Closed(reason)) => Some(reason.clone()),
            _ => None,
        };
        for event in events {
            match event {
                Event::Response { call, headers, result, attachments, held } => {
                    if let Err(status) = result {
                        self.explain(status, ending.as_ref());
                    }
                    self.end_stream(now, StreamRef::Call(*call), result.as_ref().err(), wakers);
                    let answered = Response {
                        headers: take(headers),
                        attachments: take(attachments),
                        result: replace(result, Ok(Bytes::new())),
                    };
                    match self.calls.end(*call, (now.mono, answered), replace(held, Held::NOTHING))
                    {
                        Ok(waker) => wakers.extend(waker),
                        // Its future was dropped.
                        Err(held) => self.machine.release(now, held),
                    }
                }
                Event::Chunk { stream, body, attachments, held } => {
                    let (body, attachments) = (take(body), take(attachments));
                    let arrival = Arrival { body, attachments, held: replace(held, Held::NOTHING) };
                    if let Err(held) = self.ports.push(*stream, arrival, wakers) {
                        self.machine.release(now, held);
                    }
                }
                Event::AnswerDropped(call) => self.calls.drop_answer(*call),
                Event::Connected(_) => self.trouble = None,
                Event::Finished(stream) => self.ports.finished(*stream, wakers),
                Event::Sendable(stream) => self.ports.sendable(*stream, wakers),
                Event::Request { id, shape, .. } if shape.is_streaming() => self.open_inbound(*id),
                Event::Cancelled(id) => {
                    let cancelled = Status::new(Code::Cancelled, "the caller gave up");
                    self.end_stream(now, StreamRef::Inbound(*id), Some(&cancelled), wakers);
                }
                Event::Closed(_) => self.ports.end_theirs(wakers),
                _ => {}
            }
        }
    }

    /// Answers a call of the peer. The answer stays with whoever gave it, and is dropped where
    /// nothing is locked; a short one is copied anyway. Returns why it was not sent.
    fn respond(
        &mut self,
        now: Now,
        id: InboundId,
        answered: &Response,
        wakers: &mut Vec<Waker>,
    ) -> Option<RespondError> {
        self.end_stream(now, StreamRef::Inbound(id), None, wakers);
        let Response { headers, attachments, result } = answered;
        let result = match result {
            Ok(body) if body.len() <= COPY_LEN_MAX => Ok(Body::Borrowed(body)),
            Ok(body) => Ok(Body::Owned(body.clone())),
            Err(status) => Err(status.clone()),
        };
        self.machine.respond_with(now, id, headers, attachments, result).err()
    }
}

impl Link {
    /// A link, and the half of its machine that reads the stream: its task's.
    pub(crate) fn new(
        node: &NodeState,
        key: u64,
        target: Option<Destination>,
        host: Option<Host>,
        now: Now,
    ) -> (Arc<Self>, Receiver) {
        let side = if target.is_some() { Side::Dialer } else { Side::Acceptor };
        let (mut machine, receiver) =
            Connection::new(side, node.rpc.clone(), node.hello(), node.clock.clone(), now);
        machine.draw_on(&node.budget);
        let state = State {
            machine,
            target,
            trouble: None,
            calls: Calls::default(),
            ports: Ports::default(),
            used_at: now.mono,
            has_peer_left: false,
            // Whoever accepts has one.
            has_stream: target.is_none(),
            has_unwritten: false,
            is_gossip_unflushed: false,
            has_early_one_way: false,
        };
        let link = Arc::new(Self {
            key,
            target,
            host,
            bell: Bell::default(),
            runtime: node.runtime.clone(),
            peer: OnceLock::new(),
            is_usable: AtomicBool::new(true),
            state: Guarded::new(state),
        });
        (link, receiver)
    }

    pub(crate) fn peer(&self) -> Option<&PeerHello> {
        self.peer.get()
    }

    /// Which node dialled: of two links between the same nodes, both keep the one that the lower id
    /// dialled.
    pub(crate) fn dialer(&self, local: NodeId) -> Option<NodeId> {
        if self.target.is_some() { Some(local) } else { self.peer().map(|peer| peer.id) }
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.is_usable.load(Ordering::SeqCst)
    }

    /// Whether either side has said that it takes no more calls on it.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state.lock().machine.is_going_away()
    }

    /// No new calls from here. The dialler closes it once it is quiet.
    pub(crate) fn retire(&self) {
        self.is_usable.store(false, Ordering::SeqCst);
        self.bell.ring();
    }

    /// Hands a call over to the connection, which sends it when there is room for it; its future
    /// only takes the outcome, and cancels when dropped.
    ///
    /// `waker` is that of the task that is about to poll the future, if it does so before it does
    /// anything else.
    pub(crate) fn begin(
        &self,
        now: Now,
        request: Request<'_>,
        port: Option<&Arc<Port>>,
        waker: Option<&Waker>,
    ) -> Result<Begun, RequestError> {
        let (waker, has_waker) = (waker.cloned(), waker.is_some());
        let (id, entry) = {
            let mut state = self.state.lock();
            let call = state.machine.request(now, request)?;
            state.used_at = now.mono;
            if let Some(port) = port {
                state.ports.open(StreamRef::Call(call), port.clone());
            }
            (call, state.calls.begin(call, waker))
        };
        self.bell.ring();
        Ok(Begun { id, entry, has_waker })
    }

    pub(crate) fn one_way(&self, now: Now, request: Request<'_>) -> Result<(), RequestError> {
        self.state.lock().one_way(now, request)?;
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn gossip(&self, now: Now, frame: &[u8]) -> Result<(), GossipError> {
        {
            let mut state = self.state.lock();
            state.machine.gossip(now, frame)?;
            state.used_at = now.mono;
            state.is_gossip_unflushed = true;
        }
        self.bell.ring();
        Ok(())
    }

    /// Membership declared the peer dead or restarted: pending calls end at once.
    pub(crate) fn peer_gone(&self, now: Now) {
        self.state.lock().machine.handle_peer_gone(now);
        self.retire();
    }

    /// The peer left in good order: no new calls; those in flight have until the peer closes, or
    /// the drain's time is over (docs/protocol.md §5.9.5). What is queued, the acknowledgement of
    /// the leave, say, goes first.
    pub(crate) fn peer_left(&self, now: Now) {
        {
            let mut state = self.state.lock();
            // Before the peer's hello, going away would drop the gossip that waits for it.
            if state.machine.peer().is_some() {
                state.machine.go_away(now);
            } else {
                state.has_peer_left = true;
            }
        }
        self.retire();
    }

    /// This node leaves: no new calls either way, those in flight finish (docs/protocol.md §5.9).
    /// One that is still being dialled stays as it is: what leaves over it is a handler's call,
    /// or gossip, and what comes is refused by the node.
    pub(crate) fn drain(&self, now: Now) {
        {
            let mut state = self.state.lock();
            if state.machine.peer().is_none() {
                return;
            }
            state.machine.go_away(now);
        }
        self.retire();
    }

    /// Whether a call of this node is open or waits, or a one-way message has waited for the hello.
    pub(super) fn has_calls(&self) -> bool {
        let state = self.state.lock();
        state.machine.calls_open() > 0 || state.has_early_one_way
    }

    /// Whether a call is open either way, or something of one may not have been written; or, if the
    /// peer is waited for, one may be on its way here (docs/protocol.md §5.9.5).
    pub(crate) fn is_busy(&self, awaits_peer: bool) -> bool {
        let state = self.state.lock();
        let is_open = state.machine.peer().is_some();
        // Whoever has this node's hello may send, and takes a connection's end for a loss.
        let is_greeting = !is_open && state.has_stream && !state.machine.is_closed();
        awaits_peer && (is_greeting || is_open && state.machine.awaits_go_away())
            || state.machine.calls_open() + state.machine.inbound_open() > 0
            || state.has_unwritten
            || (is_open && state.machine.queued_len() > 0)
    }

    /// Answers a call of the peer. The caller may be gone by now: that changes nothing.
    #[expect(clippy::needless_pass_by_value, reason = "it is dropped here, under no lock")]
    pub(crate) fn respond(&self, now: Now, id: InboundId, answered: Response) {
        let mut wakers = Vec::new();
        let refused = {
            let mut state = self.state.lock();
            state.used_at = now.mono;
            state.respond(now, id, &answered, &mut wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        refused.into_iter().for_each(log_unsent);
        self.bell.ring();
    }

    /// Answers the calls of one batch, whose task writes next.
    pub(crate) fn respond_all<'a>(
        &self,
        now: Now,
        answers: impl Iterator<Item = (InboundId, &'a Response)>,
    ) {
        let (mut wakers, mut refused) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.lock();
            for (id, answered) in answers {
                refused.extend(state.respond(now, id, answered, &mut wakers));
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        refused.into_iter().for_each(log_unsent);
    }

    /// The method that the peer has given this number.
    pub(crate) fn method(&self, method_id: u16) -> Option<PeerMethod> {
        let state = self.state.lock();
        let MethodName { service, method, fingerprint } = state.machine.method(method_id)?;
        Some(PeerMethod { service: service.into(), method: method.into(), fingerprint })
    }

    /// What an earlier dial to the same address came to, for the calls that wait for the next one.
    pub(super) fn remember_trouble(&self, trouble: String) {
        self.state.lock().trouble = Some(trouble);
    }

    /// Why the connection was not made, if it was not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state.lock().trouble.clone()
    }

    /// Gives back what a message held.
    pub(crate) fn release(&self, held: Held) {
        if !held.is_nothing() {
            let now = self.runtime.now();
            {
                self.state.lock().machine.release(now, held);
            }
            self.bell.ring();
        }
    }

    /// Where to say that gossip did not leave.
    pub(super) fn destination(&self) -> Option<Destination> {
        let of_peer = |peer: &PeerHello| Destination { addr: peer.addr, id: Some(peer.id) };
        self.target.or_else(|| self.peer().map(of_peer))
    }

    /// When it has been quiet for long enough, if that is for this side to say.
    pub(super) fn idle_at(&self, state: &State) -> Option<Instant> {
        let is_quiet = state.machine.calls_open() + state.machine.inbound_open() == 0
            && !state.machine.is_going_away();
        let is_ours = self.target.is_some() && self.peer().is_some();
        let limit = if self.is_usable() { IDLE_MAX } else { IDLE_RETIRED_MAX };
        (is_quiet && is_ours).then(|| state.used_at + limit)
    }

    /// The epoch that the peer's hello names.
    pub(crate) fn peer_epoch(&self) -> Option<Epoch> {
        self.peer().map(|peer| peer.epoch)
    }
}

fn log_unsent(error: RespondError) {
    tracing::debug!(target: "chinwag::call", %error, "an answer was not sent");
}

/// A call that was begun. Dropping it cancels, and the handler feels it.
pub(crate) struct Call {
    pub(super) link: Arc<Link>,
    pub(super) id: CallId,
    /// `None` once the outcome is taken.
    entry: Option<u32>,
    /// It has not been polled, and whoever does so first left its waker when the call was begun.
    is_fresh: bool,
}

/// What [`Link::begin`] began: to be made a [`Call`] at once.
pub(crate) struct Begun {
    id: CallId,
    entry: u32,
    has_waker: bool,
}

impl Future for Call {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let entry = self.entry.expect("a finished call is not polled again");
        if take(&mut self.is_fresh) {
            return Poll::Pending;
        }
        let this = &mut *self;
        // A waker is user code: it is cloned and dropped while nothing is locked.
        let mut fresh: Option<Waker> = None;
        loop {
            let mut state = this.link.state.lock();
            if let Entry::Waiting { waker, .. } = state.calls.entry(entry) {
                if waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    return Poll::Pending;
                }
                if fresh.is_some() {
                    let replaced = replace(waker, fresh.take());
                    drop(state);
                    drop(replaced);
                    return Poll::Pending;
                }
                drop(state);
                fresh = Some(cx.waker().clone());
                continue;
            }
            this.entry = None;
            let Entry::Ended(ended, held) = state.calls.release(entry) else {
                unreachable!("an entry is free only after its future has let go of it")
            };
            drop(state);
            this.link.release(held);
            return Poll::Ready(ended);
        }
    }
}

impl Call {
    /// The call that [`Link::begin`] began.
    pub(crate) fn new(link: Arc<Link>, Begun { id, entry, has_waker }: Begun) -> Self {
        Self { link, id, entry: Some(entry), is_fresh: has_waker }
    }

    /// The connection it was made on.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Whether the connection it was made on takes no more calls.
    pub(crate) fn is_leaving(&self) -> bool {
        self.link.is_leaving()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let (now, mut wakers) = (self.link.runtime.now(), Vec::new());
        let _released = {
            let mut state = self.link.state.lock();
            let mut released = state.calls.release(entry);
            match &mut released {
                Entry::Waiting { call, .. } => {
                    let call = *call;
                    state.machine.cancel(now, call);
                    let cancelled = Status::new(Code::Cancelled, "the call was dropped");
                    state.end_stream(now, StreamRef::Call(call), Some(&cancelled), &mut wakers);
                    state.used_at = now.mono;
                }
                Entry::Ended(_, held) => state.machine.release(now, replace(held, Held::NOTHING)),
                Entry::Free => {}
            }
            released
        };
        wakers.into_iter().for_each(Waker::wake);
        self.link.bell.ring();
    }
}
