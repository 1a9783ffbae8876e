//! [`NodeTask`]: the one task that drives `Membership`, the datagram socket and the listener.
//!
//! A turn takes in what has come (connections, names, gossip, datagrams, time), then sends what the
//! machine wants, then publishes: the view first, the events after it. Each part is bounded, so
//! that none starves another.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use chinwag_core::membership::{Destination, Event, Member, Plane};
use chinwag_core::time::{Instant, Now};

use crate::base::inbox::DialFailure;
use crate::base::life::{Alive, LeaveReport};
use crate::base::limits::{
    ACCEPT_PAUSE, ACCEPTS_PER_TURN_MAX, DATAGRAM_LEN_MAX, DATAGRAMS_PER_TURN_MAX, TURNS_MAX,
};
use crate::base::runtime::{Alarm, Listener, UdpSocket};
use crate::base::secure::Security;
use crate::base::sync::lock;
use crate::link::table::Gone;
use crate::node::report::report;
use crate::node::seeds::{self, Seeds};
use crate::serve::shared::Shared;

/// What a node is bound to.
pub(crate) struct Sockets {
    pub(crate) addr: SocketAddr,
    pub(crate) listener: Box<dyn Listener>,
    /// `None` where streams are the only plane.
    pub(crate) udp: Option<Box<dyn UdpSocket>>,
}

pub(crate) struct NodeTask {
    sockets: Sockets,
    shared: Arc<Shared>,
    seeds: Seeds,
    /// Whether there has been another member.
    was_joined: bool,
    received: Box<[u8]>,
    /// What the machine wrote last, and where it is to go if the socket was not ready to take it.
    transmit: Vec<u8>,
    unsent: Option<SocketAddr>,
    alarm: Alarm,
    /// When to accept again, after a failure.
    accept_at: Option<Instant>,
    events: Vec<Event>,
    published: u64,
    _alive: Alive,
}

impl NodeTask {
    pub(crate) fn spawn(shared: &Arc<Shared>, sockets: Sockets) {
        let task = Self {
            received: vec![0; if sockets.udp.is_some() { DATAGRAM_LEN_MAX } else { 0 }]
                .into_boxed_slice(),
            sockets,
            shared: shared.clone(),
            seeds: seeds::of(&shared.node),
            was_joined: false,
            transmit: Vec::new(),
            unsent: None,
            alarm: Alarm::new(&*shared.node.runtime),
            accept_at: None,
            events: Vec::new(),
            published: shared.board.members().version(),
            _alive: Alive::new(&shared.node.life),
        };
        shared.node.runtime.spawn(Box::pin(task));
    }

    fn accept(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if self.accept_at.is_some_and(|at| at > now.mono) {
            return false;
        }
        self.accept_at = None;
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.sockets.listener.poll_accept(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(stream)) => self.shared.links.accept(now, stream),
                Poll::Ready(Err(error)) => {
                    tracing::warn!(
                        target: "chinwag::node",
                        local = %self.shared.node.id,
                        "a connection was not accepted: {error}"
                    );
                    self.shared.links.counters.accepts_failed.add(1);
                    self.accept_at = Some(now.mono + ACCEPT_PAUSE);
                    return false;
                }
            }
        }
        true
    }

    /// Begins a round of joining when the machine wants one (`docs/protocol.md` §4.8).
    fn look_up(&mut self, now: Now) -> bool {
        if !lock(&self.shared.machine).poll_lookup() {
            return false;
        }
        let is_alone = self.shared.board.members().members().is_empty();
        self.seeds.begin_round(now.mono, is_alone, self.shared.node.id);
        self.use_seeds(now);
        true
    }

    /// The machine tries what is known, and what is due is looked up.
    fn use_seeds(&mut self, now: Now) {
        let addrs = self.seeds.addrs();
        lock(&self.shared.machine).handle_seeds(now, &addrs);
        self.seeds.look_up(&self.shared.node, now.mono);
    }

    /// What has come of look-ups, and of changes of the list of seeds.
    fn take_seeds(&mut self, now: Now, answers: Vec<(u64, seeds::Answer)>, has_new_seeds: bool) {
        if answers.is_empty() && !has_new_seeds {
            return;
        }
        if has_new_seeds {
            let list = lock(&self.shared.node.seeds).clone();
            self.seeds.set_list(&list);
        }
        for (number, answer) in answers {
            let is_failed = self.seeds.answered(number, answer);
            self.shared.links.counters.lookups_failed.add(u64::from(is_failed));
        }
        self.use_seeds(now);
    }

    /// What connections have brought.
    fn take_inbox(&mut self, now: Now) -> bool {
        let inbox = self.shared.node.inbox.take();
        let has_any = !inbox.is_empty();
        for DialFailure { addr, why, is_refused } in inbox.dial_failures {
            if is_refused {
                lock(&self.shared.machine).handle_refused(now, addr);
            }
            let is_seed = self.seeds.dial_failed(addr, why);
            self.shared.links.counters.seed_dials_failed.add(u64::from(is_seed));
        }
        self.take_seeds(now, inbox.lookups, inbox.has_new_seeds);
        for (peer, frame) in inbox.frames {
            lock(&self.shared.machine).handle_stream(now, peer, &frame);
        }
        for to in inbox.failures {
            lock(&self.shared.machine).handle_stream_failed(now, to);
        }
        for (from, cluster) in inbox.foreigners {
            lock(&self.shared.machine).handle_foreign_hello(from, &cluster);
        }
        has_any
    }

    fn receive(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Some(udp) = &mut self.sockets.udp else { return false };
        for count in 0..DATAGRAMS_PER_TURN_MAX {
            match udp.poll_recv_from(cx, &mut self.received) {
                Poll::Pending => return count > 0,
                Poll::Ready(Ok((len, from))) => {
                    let datagram = &mut self.received[..len];
                    take_in(&self.shared, now, from, datagram);
                }
                // Some systems report here that an earlier datagram was not wanted.
                Poll::Ready(Err(error)) => {
                    tracing::trace!(target: "chinwag::node", %error, "receiving failed");
                }
            }
        }
        true
    }

    /// Time, and nothing else: datagrams that wait have been taken in before.
    fn tick(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let machine_at = lock(&self.shared.machine).poll_timeout();
        let deadline = [machine_at, self.accept_at].into_iter().flatten().min();
        if self.alarm.poll_at(cx, now.mono, deadline).is_pending() {
            return false;
        }
        lock(&self.shared.machine).handle_timeout(now);
        true
    }

    fn send(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        for count in 0..DATAGRAMS_PER_TURN_MAX {
            if let Some(to) = self.unsent {
                if !self.send_datagram(cx, to) {
                    return count > 0;
                }
                continue;
            }
            let wanted = lock(&self.shared.machine).poll_transmit(now, &mut self.transmit);
            let Some(wanted) = wanted else { return count > 0 };
            match wanted.plane {
                Plane::Datagram if self.is_sendable(now, wanted.to) => {
                    self.unsent = Some(wanted.to.addr);
                }
                Plane::Datagram => self.shared.links.counters.datagrams_unsent.add(1),
                Plane::Stream => self.send_frame(now, wanted.to),
            }
        }
        true
    }

    /// Seals the datagram that waits for `to`, where the cluster has a secret. False if it cannot
    /// be sealed: then it is not sent.
    fn is_sendable(&mut self, now: Now, to: Destination) -> bool {
        let node = &self.shared.node;
        let Some(security) = &node.security else { return true };
        // Nobody in particular is the rival of this node's id (docs/protocol.md §2.6).
        let to = to.id.unwrap_or(node.id);
        security.seal(now, node.epoch(), to, &mut self.transmit)
    }

    /// Whether the datagram is off this task's hands.
    fn send_datagram(&mut self, cx: &mut Context<'_>, to: SocketAddr) -> bool {
        if let Some(udp) = &mut self.sockets.udp {
            match udp.poll_send_to(cx, &self.transmit, to) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    tracing::trace!(target: "chinwag::node", %to, %error, "a datagram was not sent");
                    self.shared.links.counters.datagrams_unsent.add(1);
                }
            }
        }
        self.unsent = None;
        true
    }

    fn send_frame(&mut self, now: Now, to: Destination) {
        let is_queued = match self.shared.links.find_or_dial(now, to) {
            Ok(link) => link.gossip(now, &self.transmit).is_ok(),
            Err(_) => false,
        };
        if !is_queued {
            self.shared.node.inbox.post_failure(to);
        }
    }

    fn publish(&mut self, now: Now) -> bool {
        let snapshot = {
            let mut machine = lock(&self.shared.machine);
            while let Some(event) = machine.poll_event() {
                self.events.push(event);
            }
            (machine.version() != self.published).then(|| machine.snapshot())
        };
        if self.events.is_empty() && snapshot.is_none() {
            return false;
        }
        if let Some(snapshot) = &snapshot {
            self.published = snapshot.version();
            self.shared.node.set_epoch(snapshot.local().epoch);
        }
        // Before anybody can see the view: a call that follows it goes to the run that it shows.
        for event in &self.events {
            if let Some(security) = &self.shared.node.security {
                tell(security, event);
            }
            if let Event::Joined(member) = event {
                self.shared.links.forget_failures(member.addr);
                self.shared.links.hold(member, now);
            }
        }
        self.shared.board.publish(snapshot, &self.events);
        for event in std::mem::take(&mut self.events) {
            self.act_on(&event, now);
        }
        true
    }

    /// What an event means for connections and for those who wait, and what an operator is told.
    fn act_on(&mut self, event: &Event, now: Now) {
        self.was_joined |= matches!(event, Event::Joined(_));
        // Of a node that never had company the log says what came of each seed instead.
        if self.was_joined || !matches!(event, Event::Isolated) {
            report(self.shared.node.id, &self.shared.node.cluster, event);
        }
        let gone = |member: &Member, gone| self.shared.links.peer_gone(member, gone, now);
        match event {
            Event::Died(member) => gone(member, Gone::Died),
            Event::Left(member) => gone(member, Gone::Left),
            Event::LeaveCompleted { acked, needed } => {
                self.shared.node.life.complete_leave(LeaveReport::new(*acked, *needed));
            }
            _ => {}
        }
    }
}

/// What an event says about who encrypts.
fn tell(security: &Security, event: &Event) {
    match event {
        Event::Joined(member) | Event::Updated(member) => security.handle_member(member),
        Event::Died(member) | Event::Left(member) => security.handle_gone(member.id),
        _ => {}
    }
}

/// Gives a datagram to the machine: opened first, where the cluster has a secret.
fn take_in(shared: &Shared, now: Now, from: SocketAddr, datagram: &mut [u8]) {
    let Some(security) = &shared.node.security else {
        return lock(&shared.machine).handle_datagram(now, from, datagram);
    };
    let Ok(opened) = security.open(now, datagram) else { return };
    let payload = opened.payload(datagram);
    // docs/protocol.md §2.9
    if !opened.is_proven() {
        if !lock(&shared.machine).handle_unproven(from, payload) {
            return;
        }
        security.prove(&opened);
    }
    lock(&shared.machine).handle_datagram(now, from, payload);
}

impl Future for NodeTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.node.inbox.bell.begin(cx.waker());
        for _ in 0..TURNS_MAX {
            if this.shared.node.life.is_closed() {
                return Poll::Ready(());
            }
            let now = this.shared.node.runtime.now();
            this.shared.node.coarse_wall.store(now.wall.as_nanos(), Ordering::Relaxed);
            let mut has_progressed = this.accept(cx, now);
            has_progressed |= this.look_up(now);
            has_progressed |= this.take_inbox(now);
            has_progressed |= this.receive(cx, now);
            has_progressed |= this.tick(cx, now);
            has_progressed |= this.send(cx, now);
            has_progressed |= this.publish(now);
            if !has_progressed {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
