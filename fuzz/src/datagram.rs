//! Target `datagram`: anything at all on both planes of a running [`Membership`], from members,
//! strangers and forgers.
//!
//! It must not panic, spin or grow past its limits; a stranger gets no more than it sent; and a
//! payload that fails a check leaves no trace: a twin that never gets those says, sends and holds
//! the same for ever after (`docs/protocol.md` §2.3, §4).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::SharedHlc;
use chinwag_core::id::{Epoch, Fence, NodeId};
use chinwag_core::membership::{
    BROADCASTS_MAX, CHECKS_MAX, Config, EVENTS_MAX, EXCHANGES_MAX, Event, FOREIGN_MAX, Local,
    MEMBERS_MAX, Member, Membership, Metadata, OUTBOX_MAX, Plane, RELAYS_MAX, STREAM_LEN_MAX,
    Sizes, StreamPeer, TRANSFERS_MAX, Transmit,
};
use chinwag_core::time::{Instant, Now};

use crate::forge::{self, CLUSTER, WALL_START, home};
use crate::input::Input;
use crate::packet::{self, Claim, Details, Message, Run};

/// Steps of one input at most, and payloads of one flood.
const STEPS_MAX: usize = 200;
const FLOOD_MAX: usize = 600;
/// Tombstones kept by the node under test: the fewest that can be configured, so that an input can
/// reach it.
const TOMBSTONES: usize = 16;
/// Timers that are due at one instant: as many kinds as there are, and each suspicion.
const TURNS_MAX: usize = 1_000;

/// One input: steps of payloads, time and verbs.
///
/// # Panics
/// If an invariant does not hold.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut story = Story::new(input.u64());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        story.step(&mut input);
    }
    story.is_lazy = false;
    story.settle();
}

/// Where a payload comes from.
#[derive(Clone, Copy)]
enum From {
    Datagram(SocketAddr),
    Stream(StreamPeer),
}

struct Story {
    /// Hears everything.
    node: Membership,
    /// Hears what passes the checks of §2.3.
    twin: Membership,
    mono: Instant,
    wall: u64,
    /// Nothing is polled: the driver is held up.
    is_lazy: bool,
    folded: BTreeMap<NodeId, Member>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mono = Instant::from_nanos(1_000_000_000);
        let now = Now { mono, wall: WALL_START };
        let node = || {
            let local = Local {
                id: NodeId::new(1),
                epoch: Epoch::at(WALL_START),
                addr: home(1),
                metadata: Metadata::new(),
            };
            let config =
                Config { cluster: CLUSTER.into(), tombstones_max: TOMBSTONES, ..Config::lan() };
            let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
            Membership::new(config, local, clock, seed, now)
                .expect("a preset with fewer tombstones is sound")
        };
        Self {
            node: node(),
            twin: node(),
            mono,
            wall: WALL_START.as_nanos(),
            is_lazy: false,
            folded: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.mono, wall: chinwag_core::time::WallTime::from_nanos(self.wall) }
    }

    fn both<R: PartialEq + std::fmt::Debug>(&mut self, act: impl Fn(&mut Membership, Now) -> R) {
        let now = self.now();
        assert_eq!(
            act(&mut self.node, now),
            act(&mut self.twin, now),
            "§2.3: what failed a check is felt"
        );
        self.settle();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 16 {
            0 => {
                let from = From::Datagram(forge::addr(input));
                self.receive(from, input.slice());
            }
            1 => {
                let head = forge::head(input);
                let from = From::Stream(forge::stream_peer(input, &head));
                self.receive(from, input.slice());
            }
            tag @ 2..=3 => {
                let head = forge::head(input);
                let from = Self::from(input, &head, tag == 3);
                let bytes = [&packet::encode(&head, &[]), input.slice()].concat();
                self.receive(from, &bytes);
            }
            tag @ 4..=8 => {
                let head = forge::head(input);
                let from = Self::from(input, &head, tag == 8);
                let bytes = packet::encode(&head, &forge::messages(input));
                self.receive(from, &bytes);
            }
            9 => self.pass(Duration::from_millis(u64::from(input.u16()))),
            10 => self.pass(Duration::from_secs(u64::from(input.u16()))),
            // To the next deadline, or past it.
            11 => {
                let late = Duration::from_millis(u64::from(input.u8()) * u64::from(input.u8() % 4));
                if let Some(due) = self.node.poll_timeout() {
                    self.pass(due.since(self.mono) + late);
                }
            }
            12 => self.verb(input),
            13 => self.flood(input),
            14 => self.wall = self.wall.wrapping_add(input.uneven()),
            _ => {
                self.is_lazy = input.bit();
                self.settle();
            }
        }
    }

    fn from(input: &mut Input<'_>, head: &packet::Head, is_stream: bool) -> From {
        if is_stream {
            return From::Stream(forge::stream_peer(input, head));
        }
        From::Datagram(if input.u8() % 4 == 1 { forge::addr(input) } else { home(head.sender.id) })
    }

    fn receive(&mut self, from: From, bytes: &[u8]) {
        let now = self.now();
        let is_heard = self.passes(from, bytes);
        let is_stranger = self.is_stranger(from, bytes);
        let before = self.node.stats();
        for machine in [&mut self.node, &mut self.twin].into_iter().take(1 + usize::from(is_heard))
        {
            match from {
                From::Datagram(addr) => machine.handle_datagram(now, addr, bytes),
                From::Stream(peer) => machine.handle_stream(now, peer, bytes),
            }
        }
        let after = self.node.stats();
        let refused = |stats: &chinwag_core::membership::Stats| {
            stats.malformed + stats.foreign_version + stats.foreign_cluster + stats.misdirected
        };
        assert!(
            is_heard || refused(&after) == refused(&before) + 1,
            "§2.3: what is dropped is counted, once"
        );
        let answered = self.settle();
        if let (From::Datagram(addr), true) = (from, is_stranger && !self.is_lazy) {
            let answers = answered.iter().filter(|(to, bytes)| *to == addr && is_answer(bytes));
            let len: usize = answers.map(|(_, bytes)| bytes.len()).sum();
            assert!(
                len <= bytes.len(),
                "§4.6: {len} bytes answer {} of somebody unknown",
                bytes.len()
            );
        }
    }

    /// The checks of §2.3, as they are written there.
    fn passes(&self, from: From, bytes: &[u8]) -> bool {
        let Some(head) = packet::head(bytes) else { return false };
        let own = self.node.local();
        let is_own_run = head.sender == Run { id: own.id.get(), epoch: own.epoch.get() };
        let is_other = matches!(from, From::Stream(peer) if peer.id.get() != head.sender.id);
        head.version == 1 && head.fence == Fence::of(CLUSTER).get() && !is_own_run && !is_other
    }

    /// Whether it comes from an address that is not known to be its sender's.
    fn is_stranger(&self, from: From, bytes: &[u8]) -> bool {
        let From::Datagram(addr) = from else { return false };
        let sender = packet::head(bytes).map(|head| NodeId::new(head.sender.id));
        sender.and_then(|sender| self.node.get(sender)).is_none_or(|known| known.addr != addr)
    }

    fn pass(&mut self, time: Duration) {
        self.mono = self.mono + time;
        self.wall = self.wall.wrapping_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.both(|machine, now| machine.handle_timeout(now));
        let mut turns = 0;
        while self.node.poll_timeout().is_some_and(|due| due <= self.mono) {
            self.both(|machine, now| machine.handle_timeout(now));
            turns += 1;
            assert!(
                turns < TURNS_MAX,
                "a timer that fires moves on: {:?}",
                self.node.timeout_reason()
            );
        }
    }

    fn verb(&mut self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0 => self.both(|machine, now| machine.leave(now)),
            1 => self.both(|machine, now| machine.join(now)),
            2 => {
                let seeds: Vec<SocketAddr> =
                    (0..input.below(4)).map(|_| forge::addr(input)).collect();
                self.both(|machine, now| machine.handle_seeds(now, &seeds));
            }
            3 => {
                let payload = input.slice();
                self.both(|machine, now| machine.broadcast(now, payload));
            }
            4 => {
                let (to, payload) = (NodeId::new(forge::id(input)), input.slice());
                self.both(|machine, _| machine.send_to(to, payload.to_vec().into()));
            }
            5 => {
                let value = input.below(4).to_string();
                let metadata = Metadata::new().with("dc", &value).expect("short");
                self.both(|machine, now| machine.set_metadata(now, metadata.clone()));
            }
            6 => {
                let id = NodeId::new(forge::id(input));
                let to =
                    chinwag_core::membership::Destination { addr: home(id.get()), id: Some(id) };
                self.both(|machine, now| machine.handle_stream_failed(now, to));
            }
            _ => {
                let name = input.below(100).to_string();
                let from = forge::addr(input);
                // An event and a counter, which the twin does without.
                self.node.handle_foreign_hello(from, &name);
                self.settle();
            }
        }
    }

    /// Many payloads that differ in whom they name.
    fn flood(&mut self, input: &mut Input<'_>) {
        let (kind, count) = (input.u8() % 8, 1 + usize::from(input.u16()) % FLOOD_MAX);
        let (base, head) = (input.u64() >> 16, forge::head(input));
        let state = input.u8() % 4;
        for number in 0..count as u64 {
            let run = Run { id: base + number, epoch: forge::epoch() };
            let claim = Claim {
                about: run,
                incarnation: 0,
                state,
                accusers: Vec::new(),
                age: (state > 1).then_some(1),
                details: Some(Details {
                    incarnation: 0,
                    versions: 0x11,
                    addr: home(run.id),
                    metadata: Vec::new(),
                }),
            };
            let seq = u32::try_from(number).unwrap_or(u32::MAX);
            let own = Run { id: 1, epoch: self.node.local().epoch.get() };
            let (from, message) = match kind {
                0 | 1 => (home(head.sender.id), Message::Update(claim)),
                2 => (home(base + number), Message::Ping { seq, target: own }),
                3 => (home(head.sender.id), Message::PingReq { seq, target: run, budget: 500 }),
                4 => (
                    home(head.sender.id),
                    Message::Broadcast { origin: run, number: seq, payload: Vec::new() },
                ),
                5 => (
                    home(head.sender.id),
                    Message::Conflict {
                        rival: Run { id: 1, ..run },
                        addr: home(run.id),
                        is_awaited: false,
                    },
                ),
                6 => (
                    home(head.sender.id),
                    Message::SyncRequest {
                        exchange: seq,
                        is_joining: false,
                        digest: vec![0; 64],
                        own: claim,
                    },
                ),
                _ => (
                    home(base + number),
                    Message::Broadcast { origin: head.sender, number: seq, payload: Vec::new() },
                ),
            };
            self.receive(From::Datagram(from), &packet::encode(&head, &[message]));
        }
    }

    /// What a driver does after every input, unless it is held up; then the invariants. Answers the
    /// datagrams that were sent.
    fn settle(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        if !self.is_lazy {
            let now = self.now();
            let (own, others) = (drain(&mut self.node, now), drain(&mut self.twin, now));
            assert!(own == others, "§2.3: what failed a check has changed what is sent");
            let of_datagrams = |(transmit, bytes): (Transmit, Vec<u8>)| {
                (transmit.plane == Plane::Datagram).then_some((transmit.to.addr, bytes))
            };
            sent.extend(own.into_iter().filter_map(of_datagrams));
            self.tell();
            assert_eq!(
                self.node.poll_lookup(),
                self.twin.poll_lookup(),
                "§2.3: what failed a check is felt"
            );
        }
        within_limits(&self.node);
        assert_eq!(
            self.node.poll_timeout(),
            self.twin.poll_timeout(),
            "§2.3: what failed a check is felt"
        );
        let (snapshot, other) = (self.node.snapshot(), self.twin.snapshot());
        assert_eq!(snapshot, other, "§2.3: what failed a check has changed the view");
        sent
    }

    /// Events fold to the snapshot, and the twin's are the same.
    fn tell(&mut self) {
        let (own, others) = (events(&mut self.node), events(&mut self.twin));
        let is_common =
            |event: &&Event| !matches!(event, Event::ForeignCluster { .. } | Event::Lost(_));
        let has_lost = own.iter().chain(&others).any(|event| matches!(event, Event::Lost(_)));
        if has_lost {
            self.folded = self
                .node
                .snapshot()
                .members()
                .iter()
                .map(|member| (member.id, member.clone()))
                .collect();
            return;
        }
        assert!(
            own.iter().filter(is_common).eq(others.iter().filter(is_common)),
            "§2.3: a failed check has told of more"
        );
        for event in own {
            match event {
                Event::Joined(member)
                | Event::Suspected(member)
                | Event::Recovered(member)
                | Event::Updated(member) => {
                    self.folded.insert(member.id, member);
                }
                Event::Died(member) | Event::Left(member) => {
                    self.folded.remove(&member.id);
                }
                _ => {}
            }
        }
        assert!(
            self.node.snapshot().members().iter().eq(self.folded.values()),
            "§4.13: events fold to the snapshot"
        );
    }
}

/// Whether a datagram answers something, rather than asks or tells.
fn is_answer(bytes: &[u8]) -> bool {
    let packet = packet::decode(bytes).expect("what is sent can be read");
    packet
        .messages
        .iter()
        .any(|message| matches!(message, Message::Ack { .. } | Message::Nack { .. }))
}

/// Everything that is to be sent, each payload whole and no longer than it may be.
fn drain(machine: &mut Membership, now: Now) -> Vec<(Transmit, Vec<u8>)> {
    let (mut all, mut buf) = (Vec::new(), Vec::new());
    while let Some(transmit) = machine.poll_transmit(now, &mut buf) {
        let len_max = match transmit.plane {
            Plane::Datagram => machine.config().datagram_len_max,
            Plane::Stream => STREAM_LEN_MAX,
        };
        let packet = packet::decode(&buf).expect("§2.3: what is sent has a header");
        assert!(
            buf.len() <= len_max && !packet.is_cut && packet.unknown == 0,
            "§2.3: what is sent can be read"
        );
        all.push((transmit, buf.clone()));
    }
    all
}

fn events(machine: &mut Membership) -> Vec<Event> {
    std::iter::from_fn(|| machine.poll_event()).collect()
}

/// Every limit of `config.rs`.
fn within_limits(machine: &Membership) {
    let sizes = machine.sizes();
    let Sizes { members, tombstones, suspicions, rumors, broadcasts, origins, .. } = sizes;
    let records = members + tombstones;
    let holds = records < MEMBERS_MAX
        && tombstones <= TOMBSTONES
        && suspicions <= members
        && broadcasts <= BROADCASTS_MAX
        && rumors <= records + 1 + broadcasts
        && origins <= records + 1
        && sizes.messages <= OUTBOX_MAX
        && sizes.events <= EVENTS_MAX
        && sizes.relays <= RELAYS_MAX
        && sizes.checks <= CHECKS_MAX
        && sizes.conflicts <= CHECKS_MAX
        && sizes.exchanges <= EXCHANGES_MAX
        && sizes.transfers <= TRANSFERS_MAX
        && sizes.foreign <= FOREIGN_MAX;
    assert!(holds, "past a limit: {sizes:?}");
    assert_eq!(members, machine.live_count(), "§4.1: counts are exact");
}
