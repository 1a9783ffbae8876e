//! A hand-driven network of machines: virtual time, real wire bytes, no sockets and no sleeping.
//!
//! One event queue holds payloads under way; node timers are asked for. Faults are what a test
//! sets: loss, one-way cuts, stalls. Everything follows from the seed.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use crate::clock::SharedHlc;
use crate::id::{Epoch, NodeId};
use crate::membership::{
    Config, Destination, Event, Local, Member, Membership, Metadata, Plane, StreamPeer,
};
use crate::rng::Rng;
use crate::time::{Instant, Now, WallTime};

/// Wall time at the start of every run: 2023-11-14.
pub(crate) const WALL_START: WallTime = WallTime::from_nanos(1_700_000_000_000_000_000);

pub(crate) struct Host {
    pub(crate) machine: Membership,
    pub(crate) addr: SocketAddr,
    pub(crate) is_up: bool,
    /// While stalled a node fires nothing and reads nothing; what comes waits.
    pub(crate) stalled_until: Instant,
    waiting: VecDeque<Payload>,
    pub(crate) events: Vec<(Instant, Event)>,
    /// Events folded over an empty map.
    pub(crate) folded: BTreeMap<NodeId, Member>,
    pub(crate) seeds: Vec<SocketAddr>,
    /// When its machine wanted the addresses of its seeds.
    pub(crate) lookups: Vec<Instant>,
    pub(crate) bytes_sent: u64,
    pub(crate) datagrams_sent: u64,
    timer_at: Option<Instant>,
}

#[derive(Clone)]
struct Payload {
    from: usize,
    to: SocketAddr,
    /// Whom a stream payload is for; a stream to a restarted node is another stream.
    to_id: Option<NodeId>,
    plane: Plane,
    bytes: Vec<u8>,
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    by_addr: BTreeMap<SocketAddr, usize>,
    queue: BTreeMap<(Instant, u64), Payload>,
    timers: BTreeSet<(Instant, usize)>,
    sent_count: u64,
    rng: Rng,
    pub(crate) loss_percent: u32,
    /// Pairs (from, to) that no datagram and no stream crosses.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) no_datagrams: bool,
    /// Addresses of hosts that are gone as a whole: nobody refuses there.
    pub(crate) silent: BTreeSet<SocketAddr>,
    /// Addresses of which no dial ever hears anything.
    pub(crate) swallowed: BTreeSet<SocketAddr>,
    pub(crate) config: Config,
    /// Whether every event is checked against the snapshot: on but in the largest runs.
    pub(crate) checks_folds: bool,
    /// What was sent, for tests that look at the wire.
    pub(crate) tap: Option<Vec<(usize, Plane, Vec<u8>)>>,
    /// Where it was sent on the stream plane.
    pub(crate) tap_to: Option<Vec<SocketAddr>>,
}

pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn addr(host: usize) -> SocketAddr {
    let [_, _, high, low] = u32::try_from(host).unwrap().to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, high, low)), 7_000)
}

pub(crate) fn id(host: usize) -> NodeId {
    NodeId::new(host as u64 + 1)
}

impl Net {
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            hosts: Vec::new(),
            by_addr: BTreeMap::new(),
            queue: BTreeMap::new(),
            timers: BTreeSet::new(),
            sent_count: 0,
            rng: Rng::new(seed),
            loss_percent: 0,
            cut: BTreeSet::new(),
            no_datagrams: false,
            silent: BTreeSet::new(),
            swallowed: BTreeSet::new(),
            config,
            checks_folds: true,
            tap: None,
            tap_to: None,
        }
    }

    /// `count` nodes that know the first one as their seed and have converged.
    pub(crate) fn converged(seed: u64, config: Config, count: usize) -> Self {
        let mut net = Self::new(seed, config);
        for host in 0..count {
            net.start(host, &[0]);
        }
        assert!(net.run_until(secs(60), Net::is_converged), "{count} nodes converge");
        net
    }

    pub(crate) fn clock(&self) -> Now {
        Now { mono: self.now, wall: WALL_START + self.now.since(Instant::ZERO) }
    }

    /// Starts node `host` at its usual address, or again after a crash.
    pub(crate) fn start(&mut self, host: usize, seeds: &[usize]) {
        self.start_as(host, id(host), addr(host), Epoch::at(self.clock().wall), seeds);
    }

    pub(crate) fn start_as(
        &mut self,
        host: usize,
        id: NodeId,
        at: SocketAddr,
        epoch: Epoch,
        seeds: &[usize],
    ) {
        let metadata = Metadata::new().with("dc", "eu").unwrap();
        let local = Local { id, epoch, addr: at, metadata };
        let clock = Arc::new(SharedHlc::new(millis(500)));
        let seed = self.rng.next_u64();
        let machine =
            Membership::new(self.config.clone(), local, clock, seed, self.clock()).unwrap();
        let seeds = seeds.iter().map(|&seed| addr(seed)).collect::<Vec<_>>();
        let fresh = Host {
            machine,
            addr: at,
            is_up: true,
            stalled_until: Instant::ZERO,
            waiting: VecDeque::new(),
            events: Vec::new(),
            folded: BTreeMap::new(),
            seeds,
            lookups: Vec::new(),
            bytes_sent: 0,
            datagrams_sent: 0,
            timer_at: None,
        };
        if host == self.hosts.len() {
            self.hosts.push(fresh);
        } else {
            self.by_addr.remove(&self.hosts[host].addr);
            self.hosts[host] = fresh;
        }
        self.by_addr.insert(at, host);
        let now = self.clock();
        self.hosts[host].machine.join(now);
        self.drain(host);
    }

    pub(crate) fn crash(&mut self, host: usize) {
        self.hosts[host].is_up = false;
        self.by_addr.remove(&self.hosts[host].addr);
    }

    pub(crate) fn stall(&mut self, host: usize, span: Duration) {
        self.hosts[host].stalled_until = self.now + span;
        self.rearm(host);
    }

    /// Cuts every link between the two groups, both ways.
    pub(crate) fn partition(&mut self, a: &[usize], b: &[usize]) {
        for &one in a {
            for &other in b {
                self.cut.insert((one, other));
                self.cut.insert((other, one));
            }
        }
    }

    pub(crate) fn with<R>(
        &mut self,
        host: usize,
        verb: impl FnOnce(&mut Membership, Now) -> R,
    ) -> R {
        let now = self.clock();
        let result = verb(&mut self.hosts[host].machine, now);
        self.drain(host);
        result
    }

    /// Puts raw bytes into `host` as a datagram from `from`.
    pub(crate) fn inject(&mut self, host: usize, from: SocketAddr, bytes: &[u8]) {
        self.with(host, |machine, now| machine.handle_datagram(now, from, bytes));
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.run_until_instant(end, |_| false);
        self.now = end;
    }

    /// Runs until `done`, looked at once a virtual millisecond at most; false if `span` is over
    /// first.
    pub(crate) fn run_until(&mut self, span: Duration, done: impl Fn(&Net) -> bool) -> bool {
        let end = self.now + span;
        self.run_until_instant(end, done)
    }

    fn run_until_instant(&mut self, end: Instant, done: impl Fn(&Net) -> bool) -> bool {
        let mut looked_at = Instant::ZERO;
        loop {
            if self.now.since(looked_at) >= millis(10) {
                looked_at = self.now;
                if done(self) {
                    return true;
                }
            }
            let payload_at = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let timer_at = self.timers.first().map(|&(at, _)| at);
            let Some(next) =
                payload_at.into_iter().chain(timer_at).min().filter(|&next| next <= end)
            else {
                self.now = end;
                return done(self);
            };
            self.now = self.now.max(next);
            if payload_at == Some(next) {
                let (_, payload) = self.queue.pop_first().unwrap();
                self.deliver(payload);
            } else {
                let (_, host) = self.timers.pop_first().unwrap();
                self.hosts[host].timer_at = None;
                self.fire(host);
            }
        }
    }

    fn fire(&mut self, host: usize) {
        if !self.hosts[host].is_up {
            return;
        }
        let now = self.clock();
        // A node that wakes from a stall fires its timers before it reads what has waited.
        self.hosts[host].machine.handle_timeout(now);
        self.drain(host);
        while let Some(payload) = self.hosts[host].waiting.pop_front() {
            self.deliver(payload);
        }
    }

    fn deliver(&mut self, payload: Payload) {
        if self.swallowed.contains(&payload.to) {
            return;
        }
        let Some(&host) = self.by_addr.get(&payload.to).filter(|_| !self.is_cut(&payload)) else {
            if payload.plane == Plane::Stream && self.hosts[payload.from].is_up {
                let to = Destination { addr: payload.to, id: payload.to_id };
                // A host whose process has ended refuses; behind a cut nobody says anything.
                let is_refused =
                    !self.by_addr.contains_key(&payload.to) && !self.silent.contains(&payload.to);
                self.with(payload.from, |machine, now| {
                    machine.handle_stream_failed(now, to);
                    if is_refused {
                        machine.handle_refused(now, to.addr);
                    }
                });
            }
            return;
        };
        if self.hosts[host].stalled_until > self.now {
            self.hosts[host].waiting.push_back(payload);
            return;
        }
        let from = &self.hosts[payload.from];
        let (from_addr, speaker) = (from.addr, from.machine.local());
        let now = self.clock();
        let machine = &mut self.hosts[host].machine;
        match payload.plane {
            Plane::Datagram => machine.handle_datagram(now, from_addr, &payload.bytes),
            Plane::Stream => {
                let peer = StreamPeer { id: speaker.id, epoch: speaker.epoch, addr: from_addr };
                machine.handle_stream(now, peer, &payload.bytes);
            }
        }
        self.drain(host);
    }

    fn is_cut(&self, payload: &Payload) -> bool {
        self.by_addr.get(&payload.to).is_some_and(|&to| self.cut.contains(&(payload.from, to)))
    }

    /// Does what a driver does after every input.
    fn drain(&mut self, host: usize) {
        let now = self.clock();
        let mut buf = Vec::new();
        while let Some(transmit) = self.hosts[host].machine.poll_transmit(now, &mut buf) {
            self.carry(host, transmit.to, transmit.plane, &buf);
        }
        while let Some(event) = self.hosts[host].machine.poll_event() {
            self.fold(host, &event);
            self.hosts[host].events.push((self.now, event));
        }
        if self.checks_folds {
            self.check_fold(host);
        }
        if self.hosts[host].machine.poll_lookup() {
            self.hosts[host].lookups.push(self.now);
            let seeds = self.hosts[host].seeds.clone();
            self.with(host, |machine, now| machine.handle_seeds(now, &seeds));
        }
        self.rearm(host);
    }

    fn carry(&mut self, from: usize, to: Destination, plane: Plane, bytes: &[u8]) {
        let sender = &mut self.hosts[from];
        sender.bytes_sent += bytes.len() as u64;
        sender.datagrams_sent += u64::from(plane == Plane::Datagram);
        if let Some(tap) = &mut self.tap {
            tap.push((from, plane, bytes.to_vec()));
        }
        if let Some(tap) = self.tap_to.as_mut().filter(|_| plane == Plane::Stream) {
            tap.push(to.addr);
        }
        let is_lost = self.rng.below(100) < self.loss_percent;
        let latency = Duration::from_nanos(500_000 + self.rng.below_u64(1_500_000));
        if plane == Plane::Datagram && (is_lost || self.no_datagrams) {
            return;
        }
        // A stream that loses a segment delivers it later; the first payload pays for the
        // connection.
        let latency = match plane {
            Plane::Datagram => latency,
            Plane::Stream if is_lost => latency * 2 + millis(200),
            Plane::Stream => latency * 2,
        };
        self.sent_count += 1;
        let payload = Payload { from, to: to.addr, to_id: to.id, plane, bytes: bytes.to_vec() };
        self.queue.insert((self.now + latency, self.sent_count), payload);
    }

    fn rearm(&mut self, host: usize) {
        let subject = &mut self.hosts[host];
        if let Some(at) = subject.timer_at.take() {
            self.timers.remove(&(at, host));
        }
        let wanted = subject.machine.poll_timeout().filter(|_| subject.is_up);
        let is_stalled = subject.stalled_until > self.now;
        let at = if is_stalled { Some(subject.stalled_until) } else { wanted };
        if let Some(at) = at {
            subject.timer_at = Some(at);
            self.timers.insert((at, host));
        }
    }

    fn fold(&mut self, host: usize, event: &Event) {
        let folded = &mut self.hosts[host].folded;
        let Some(member) = event.member() else { return };
        match event {
            Event::Died(_) | Event::Left(_) => folded.remove(&member.id),
            _ => folded.insert(member.id, member.clone()),
        };
    }

    /// E2: events fold to exactly the snapshot. V6: the digest is what it should be.
    fn check_fold(&self, host: usize) {
        let host = &self.hosts[host];
        let snapshot = host.machine.snapshot();
        assert!(snapshot.members().iter().eq(host.folded.values()), "events fold to the snapshot");
        assert_eq!(snapshot.members().len(), host.machine.live_count());
        let digest = host.machine.claims.table().digest_from_scratch();
        assert_eq!(
            *host.machine.claims.table().digest(),
            digest,
            "the digest is kept as members change"
        );
    }

    /// Every node that is up sees exactly the nodes that are up, alive.
    pub(crate) fn is_converged(&self) -> bool {
        let up = self.hosts.iter().filter(|host| host.is_up && !host.machine.has_left()).count();
        self.hosts.iter().filter(|host| host.is_up && !host.machine.has_left()).all(|host| {
            host.machine.live_count() == up - 1
                && host.machine.claims.table().iter().skip(1).all(|(slot, record)| {
                    record.state != crate::membership::State::Suspect
                        && (!record.state.is_live()
                            || self.by_addr.contains_key(&host.machine.claims.table().addr(slot)))
                })
        })
    }

    /// What `observer` was told of `subject`, by name.
    pub(crate) fn told(&self, observer: usize, subject: usize) -> Vec<&'static str> {
        let about = |event: &Event| match event {
            Event::Updated(_) => None,
            Event::Conflict { id, .. } => Some((event.name(), *id)),
            event => event.member().map(|member| (event.name(), member.id)),
        };
        let events = self.hosts[observer].events.iter().filter_map(|(_, event)| about(event));
        events.filter(|&(_, who)| who == id(subject)).map(|(name, _)| name).collect()
    }

    pub(crate) fn count_told(&self, name: &str) -> usize {
        let pairs = (0..self.hosts.len()).flat_map(|a| (0..self.hosts.len()).map(move |b| (a, b)));
        pairs.map(|(a, b)| self.told(a, b).iter().filter(|&&told| told == name).count()).sum()
    }
}
