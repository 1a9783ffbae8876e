//! [`LinkTask`]: the one task that owns a connection's stream.
//!
//! A turn reads once, hands out what the machine made of it, lets handlers answer in place, and
//! writes what there is. Reading never waits for writing. Whether to write now or after one turn of
//! the run queue is the machine's decision. The machine is locked for what it does with a batch,
//! never while the system reads or writes.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::Future;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use chinwag_core::membership::StreamPeer;
use chinwag_core::rpc::{CloseReason, Event, PeerHello, Receiver, Transmit};
use chinwag_core::time::{Instant, Now};

use super::handle::{Link, State};
use super::writing::write;
use crate::base::inbox::DialFailure;
use crate::base::life::Alive;
use crate::base::limits::{TURNS_MAX, WAKE_GROUP_MIN, WAKE_GROUPS};
use crate::base::runtime::{Alarm, BoxFuture, Stream};
use crate::base::state::NodeState;
use crate::link::serve::{Inbound, Serve};
use crate::link::table::{Links, Verdict};

/// Where the stream comes from.
pub(crate) enum Origin {
    /// Dial the link's target, not before this.
    Dial(Instant),
    /// A peer dialled.
    Accepted(Box<dyn Stream>),
}

pub(crate) struct LinkTask {
    pub(super) io: Io,
    pub(super) link: Arc<Link>,
    node: Arc<NodeState>,
    links: Arc<Links>,
    receiver: Receiver,
    /// What the machine gave out and is not written yet.
    pub(super) out: Transmit,
    pub(super) turn: FlushTurn,
    /// The stream holds nothing of what it has taken.
    pub(super) is_flushed: bool,
    /// The machine may have something to say.
    pub(super) is_due: bool,
    /// Callers that were woken in this poll.
    woken: usize,
    /// The number of the last batch of answers, among those of all the node's connections.
    batch: u64,
    alarm: Alarm,
    events: VecDeque<Event>,
    wakers: Vec<Waker>,
    /// The peer's calls.
    inbound: Box<dyn Inbound>,
    /// Where the other end is.
    remote: Option<std::net::SocketAddr>,
    ended: Option<CloseReason>,
    /// Why the dial came to nothing, in the system's words.
    dial_error: Option<String>,
    is_refused: bool,
    /// How long the last bytes of a drained connection may take.
    linger_until: Option<Instant>,
    has_finished: bool,
    _alive: Alive,
}

pub(super) enum Io {
    /// Until the peer's last failure is long enough ago.
    Waiting(Instant),
    Dialing(BoxFuture<std::io::Result<Box<dyn Stream>>>),
    Open(Box<dyn Stream>),
}

/// Where a write stands that lets the run queue turn once, so that callers who are about to add to
/// it can.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FlushTurn {
    Idle,
    /// The task has woken itself.
    Asked,
    /// It has come round: write whatever there is.
    Done,
}

impl LinkTask {
    pub(crate) fn spawn(
        links: &Arc<Links>,
        serve: Arc<dyn Serve>,
        link: Arc<Link>,
        receiver: Receiver,
        origin: Origin,
    ) {
        let node = &links.node;
        let remote = match &origin {
            Origin::Dial(_) => link.target.map(|target| target.addr),
            Origin::Accepted(stream) => stream.peer_addr().ok(),
        };
        let io = match origin {
            Origin::Dial(not_before) => Io::Waiting(not_before),
            Origin::Accepted(stream) => Io::Open(node.accepted(stream)),
        };
        let task = Self {
            io,
            remote,
            inbound: serve.inbound(&link),
            link,
            node: node.clone(),
            links: links.clone(),
            receiver,
            out: Transmit::new(),
            turn: FlushTurn::Idle,
            is_flushed: true,
            is_due: true,
            woken: 0,
            batch: u64::MAX,
            alarm: Alarm::new(&*node.runtime),
            events: VecDeque::new(),
            wakers: Vec::new(),
            ended: None,
            dial_error: None,
            is_refused: false,
            linger_until: None,
            has_finished: false,
            _alive: Alive::new(&node.life),
        };
        node.runtime.spawn(Box::pin(task));
    }

    /// Gets closer to an open stream. The machine's time for the peer's hello bounds all of it.
    fn establish(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        match &mut self.io {
            Io::Waiting(until) if *until <= now.mono => {
                let Some(target) = self.link.target else { return false };
                self.links.counters.dialed.add(1);
                self.io = Io::Dialing(self.node.connect(target.addr, target.id));
                true
            }
            Io::Waiting(_) | Io::Open(_) => false,
            Io::Dialing(connecting) => match connecting.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok(stream)) => {
                    self.io = Io::Open(stream);
                    self.link.state.lock().has_stream = true;
                    true
                }
                Poll::Ready(Err(error)) => {
                    self.dial_error = Some(error.to_string());
                    self.is_refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
                    self.fail(now, &error);
                    true
                }
            },
        }
    }

    /// The stream is of no more use, because of `error`.
    pub(super) fn fail(&mut self, now: Now, error: &dyn Display) {
        if self.link.peer().is_none() && self.dial_error.is_none() {
            self.dial_error = Some(error.to_string());
        }
        // What records it is user code: it runs while nothing is locked.
        let why = self.link.state.lock().note_trouble(error).to_owned();
        tracing::debug!(target: "chinwag::link", link = self.link.key, "{why}");
        self.lose(now);
    }

    fn lose(&mut self, now: Now) {
        self.is_due = true;
        self.io = Io::Waiting(Instant::FAR_FUTURE);
        self.link.state.lock().machine.handle_closed(now);
    }

    /// How many bytes have come.
    fn read(&mut self, cx: &mut Context<'_>, now: Now) -> usize {
        let Io::Open(stream) = &mut self.io else { return 0 };
        if self.ended.is_some() {
            return 0;
        }
        match stream.poll_read(cx, self.receiver.buffer()) {
            Poll::Pending => 0,
            Poll::Ready(Ok(len)) if len > 0 => len,
            Poll::Ready(Ok(_)) => {
                self.fail(now, &"the peer closed it");
                0
            }
            Poll::Ready(Err(error)) => {
                self.fail(now, &error);
                0
            }
        }
    }

    /// Gives the machine what has come and takes everything it has to say under one lock, then acts
    /// on it under none.
    fn handle(&mut self, now: Now, received: usize) -> bool {
        if !take(&mut self.is_due) && received == 0 {
            return false;
        }
        {
            let mut state = self.link.state.lock();
            if received > 0 {
                state.machine.handle_received(now, &mut self.receiver, received);
            }
            state.take_events(now, &mut self.events, &mut self.wakers);
            if !self.events.is_empty() || !self.wakers.is_empty() {
                state.used_at = now.mono;
            }
        }
        let has_any = received > 0 || !self.events.is_empty() || !self.wakers.is_empty();
        self.wake_group();
        let mut events = take(&mut self.events);
        // In place: an event is large, and most of it is not wanted.
        for event in &mut events {
            self.handle_event(now, event);
        }
        self.inbound.handle(now, &mut events);
        events.clear();
        self.events = events;
        has_any
    }

    fn handle_event(&mut self, now: Now, event: &mut Event) {
        match event {
            Event::Connected(hello) => self.connected(now, hello.clone()),
            // Acted on by `self.inbound`.
            Event::Request { .. } | Event::OneWay { .. } | Event::Cancelled(_) => {}
            // Taken where the machine is locked.
            Event::Response { .. }
            | Event::Chunk { .. }
            | Event::Finished(_)
            | Event::Sendable(_)
            | Event::AnswerDropped(_) => {}
            Event::Gossip(frame) => {
                if let Some(peer) = self.link.peer() {
                    let peer = StreamPeer { id: peer.id, epoch: peer.epoch, addr: peer.addr };
                    if !self.node.inbox.post_gossip(peer, take(frame)) {
                        self.links.counters.gossip_shed.add(1);
                    }
                }
            }
            // The machine goes away too, by itself.
            Event::GoAway => self.link.retire(),
            Event::Closed(reason) => self.ended = Some(reason.clone()),
        }
    }

    fn connected(&mut self, now: Now, hello: PeerHello) {
        tracing::debug!(target: "chinwag::link", link = self.link.key, peer = %hello.id, epoch = %hello.epoch, addr = %hello.addr, "connected");
        // docs/protocol.md §5.14.3
        if matches!(&self.io, Io::Open(stream) if !stream.may_be(hello.id)) {
            let why =
                format!("its certificate is not that of node {}, which it says it is", hello.id);
            return self.fail(now, &why);
        }
        if self.link.peer.set(hello).is_err() {
            return;
        }
        match self.links.connected(&self.link, now) {
            Verdict::Keep => {}
            Verdict::Close => self.lose(now),
        }
    }

    /// Wakes some of those who wait to be woken. If all whose answers came together called again
    /// together, in one write, the two ends of the connection would take turns to work, and
    /// idle threads be woken for each: so the peer begins with the calls of the first while the
    /// next are woken. Where other connections have had answers since, there is work meanwhile, and
    /// all are woken.
    fn wake_group(&mut self) {
        let mut group = self.wakers.len();
        if group > WAKE_GROUP_MIN {
            let batch = self.links.count_batch();
            if std::mem::replace(&mut self.batch, batch).wrapping_add(1) == batch {
                group = group.div_ceil(WAKE_GROUPS).max(WAKE_GROUP_MIN);
            }
        }
        self.woken += group;
        self.wakers.drain(..group).for_each(Waker::wake);
    }

    /// Callers that were woken together call again together, as often as not. So the task comes
    /// round after them by itself, rather than be woken by the first of them and find one call:
    /// runtimes poll what was woken last next.
    fn come_round(&mut self, cx: &Context<'_>) {
        let is_due = take(&mut self.woken) > 1 && self.turn == FlushTurn::Idle;
        if is_due || !self.wakers.is_empty() {
            self.turn = FlushTurn::Asked;
            self.link.bell.mute();
            cx.waker().wake_by_ref();
        }
    }

    /// One timer for the machine's deadlines, the wait before a dial, and idleness.
    fn tick(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let deadline = {
            let state = self.link.state.lock();
            self.deadline(&state)
        };
        if self.alarm.poll_at(cx, now.mono, deadline).is_pending() {
            return false;
        }
        self.is_due = true;
        let is_idle = {
            let mut state = self.link.state.lock();
            state.machine.handle_timeout(now);
            let is_idle = self.link.idle_at(&state).is_some_and(|at| at <= now.mono);
            if is_idle {
                self.link.is_usable.store(false, Ordering::SeqCst);
                state.used_at = now.mono;
                state.machine.go_away(now);
            }
            is_idle
        };
        if is_idle {
            tracing::debug!(target: "chinwag::link", link = self.link.key, "closing, because it is idle");
            self.link.retire();
        }
        true
    }

    fn deadline(&self, state: &State) -> Option<Instant> {
        let dial_at = match &self.io {
            Io::Waiting(until) => Some(*until),
            _ => None,
        };
        [state.machine.poll_timeout(), self.link.idle_at(state), dial_at, self.linger_until]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the stream has yet to take the last answers of a connection that has drained: the
    /// machine is done once they have left it.
    fn is_lingering(&mut self, now: Now) -> bool {
        let is_unwritten = matches!(self.ended, Some(CloseReason::Drained))
            && (!self.out.is_empty() || !self.is_flushed);
        let until = *self.linger_until.get_or_insert(now.mono + self.node.rpc.keepalive_timeout);
        is_unwritten && matches!(self.io, Io::Open(_)) && now.mono < until
    }

    /// What can still be written without waiting: a go-away when the node ends, the reason of a
    /// refusal when the peer does not fit (docs/protocol.md §5.1.5).
    fn farewell(&mut self, cx: &mut Context<'_>, now: Now) {
        if self.ended.is_none() {
            self.link.state.lock().machine.go_away(now);
        }
        let Io::Open(stream) = &mut self.io else { return };
        loop {
            if self.out.is_empty()
                && self.link.state.lock().machine.poll_transmit(now, &mut self.out) == 0
            {
                break;
            }
            match write(&mut **stream, cx, &self.out) {
                Poll::Ready(Ok(len)) if len > 0 => self.out.advance(len),
                _ => break,
            }
        }
        let _closed_or_not = stream.poll_close(cx);
    }

    /// Ends every call and handler, however the task ends: also when its runtime drops it.
    fn finish(&mut self) {
        if std::mem::replace(&mut self.has_finished, true) {
            return;
        }
        let now = self.node.runtime.now();
        self.link.is_usable.store(false, Ordering::SeqCst);
        let is_gossip_lost = {
            let mut state = self.link.state.lock();
            state.machine.handle_closed(now);
            self.events.clear();
            state.take_events(now, &mut self.events, &mut self.wakers);
            if let Some(Event::Closed(reason)) = self.events.pop_back() {
                self.ended = Some(reason);
            }
            state.has_unwritten = false;
            state.is_gossip_unflushed
        };
        self.links.remove(&self.link, now);
        if let Some(target) = self.link.target.filter(|_| self.link.peer().is_none()) {
            let reason = self.ended.as_ref().map(ToString::to_string).unwrap_or_default();
            let why = self.dial_error.take().unwrap_or(reason);
            let (addr, is_refused) = (target.addr, self.is_refused);
            self.node.inbox.post_dial_failure(DialFailure { addr, why, is_refused });
        }
        self.wakers.drain(..).for_each(Waker::wake);
        self.inbound.finish();
        if is_gossip_lost && let Some(to) = self.link.destination() {
            self.node.inbox.post_failure(to);
        }
        if let Some(CloseReason::ForeignCluster { theirs, .. }) = &self.ended
            && let Some(from) = self.remote
        {
            self.node.inbox.post_foreigner(from, theirs.to_string());
        }
        self.node.life.notice_drain();
        self.report();
    }

    fn report(&self) {
        let (link, peer) = (self.link.key, self.link.peer().map(|peer| peer.id.get()));
        match &self.ended {
            Some(reason @ (CloseReason::Version { .. } | CloseReason::Format { .. })) => {
                let addr = self.remote.map(|addr| addr.to_string()).unwrap_or_default();
                tracing::warn!(target: "chinwag::link", link, "cannot talk to the node at {addr}: {reason}");
            }
            // Of a foreign cluster membership says so, once.
            Some(reason) => {
                tracing::debug!(target: "chinwag::link", link, ?peer, %reason, "connection closed");
            }
            None => tracing::debug!(target: "chinwag::link", link, ?peer, "connection dropped"),
        }
    }
}

impl Future for LinkTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.link.bell.begin(cx.waker());
        if this.turn == FlushTurn::Asked {
            this.turn = FlushTurn::Done;
        }
        (this.woken, this.is_due) = (0, true);
        let mut now = this.node.runtime.now();
        for _ in 0..TURNS_MAX {
            if this.node.life.is_closed() {
                this.farewell(cx, now);
                this.finish();
                return Poll::Ready(());
            }
            let mut has_progressed = this.establish(cx, now);
            let received = this.read(cx, now);
            has_progressed |= this.handle(now, received);
            let has_handled = has_progressed;
            if this.ended.is_some() && !this.is_lingering(now) {
                this.farewell(cx, now);
                this.finish();
                return Poll::Ready(());
            }
            has_progressed |= this.write(cx, now);
            let is_over = !has_progressed || !this.wakers.is_empty();
            if is_over && !this.tick(cx, now) {
                this.come_round(cx);
                if this.node.life.is_leaving() && !this.link.is_busy(false) {
                    this.node.life.notice_drain();
                }
                return Poll::Pending;
            }
            // Handlers may have taken their time; a write does not.
            if has_handled {
                now = this.node.runtime.now();
            }
        }
        // However much there is to do, time is looked at.
        this.tick(cx, now);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for LinkTask {
    fn drop(&mut self) {
        self.finish();
    }
}
