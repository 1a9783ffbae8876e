//! Target `membership_ops`: claims, timers early and late, answers and verbs, to a [`Membership`]
//! and to [`model::Model`], which was written from `docs/protocol.md` alone. After every step both
//! must believe the same of everybody.
//!
//! The model does not know whom the machine probes or pings: what comes of that (a verdict, a check
//! that ends) is taken from the machine and told to the model. Each payload holds one claim, so
//! that what the text leaves open can be looked up before the next.

pub(crate) mod beliefs;
mod checks;
mod mutated;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::SharedHlc;
use chinwag_core::id::{Epoch, Fence, NodeId};
use chinwag_core::membership::{Config, Event, Local, Membership, Metadata, Plane};
use chinwag_core::time::{Instant, Now, WallTime};

use crate::coverage::Reached;
use crate::forge::{self, CLUSTER, WALL_START, home};
use crate::input::Input;
use crate::model::{self, Model, Origin, Outcome, Own};
use crate::packet::{self, Head, Message, Run};
use crate::tell;
use checks::Checks;
use mutated::Heard;

/// Steps of one input at most.
const STEPS_MAX: usize = 250;
/// Deadlines that one step goes through at most.
const TURNS_MAX: usize = 400;
/// Pings that can still be answered.
const PINGS_MAX: usize = 16;
/// The node under test.
const OWN: u64 = 1;

/// One input: a configuration and steps. Answers which states met which messages.
///
/// # Panics
/// If machine and model disagree.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let mut story = Story::new(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_empty() || story.is_over {
            break;
        }
        story.step(&mut input);
    }
    story.reached
}

/// A ping that the machine has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ping {
    seq: u32,
    target: Run,
    to: SocketAddr,
    plane: Plane,
}

struct Story {
    machine: Membership,
    model: Model,
    mono: Instant,
    wall: u64,
    pings: Vec<Ping>,
    checks: Checks,
    /// Payloads with claims that came before.
    past: Vec<Heard>,
    reached: Reached,
    /// The leave is complete, and the node hears nothing more.
    is_over: bool,
}

impl Story {
    fn new(input: &mut Input<'_>) -> Self {
        let (seed, flags) = (u64::from(input.u16()), input.u8());
        let config = Config {
            cluster: CLUSTER.into(),
            suspicion_mult: 1 + u32::from(flags >> 6),
            suspicion_max_mult: 1 + u32::from(flags >> 4 & 3) * 2,
            confirmations: usize::from(flags >> 2 & 3),
            told_deaths_doubted: flags & 1 == 0,
            pause_guard: flags & 2 == 0,
            tombstone_lifetime: Duration::from_secs(120),
            tombstones_max: 16,
            ..Config::lan()
        };
        let local = Local {
            id: NodeId::new(OWN),
            epoch: Epoch::at(WALL_START),
            addr: home(OWN),
            metadata: Metadata::new(),
        };
        let mono = Instant::from_nanos(1_000_000_000);
        let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
        let model =
            Model::new(beliefs::config(&config), Own::new(OWN, local.epoch.get(), local.addr));
        let now = Now { mono, wall: WALL_START };
        let machine = Membership::new(config, local, clock, seed, now)
            .expect("every such configuration is sound");
        Self {
            machine,
            model,
            mono,
            wall: WALL_START.as_nanos(),
            pings: Vec::new(),
            checks: Checks::default(),
            past: Vec::new(),
            reached: Reached::default(),
            is_over: false,
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.mono, wall: WallTime::from_nanos(self.wall) }
    }

    fn nanos(&self) -> model::Nanos {
        self.mono.as_nanos().into()
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let before = beliefs::doubts(&self.machine);
        let code = input.u8();
        match code % 16 {
            6 if code >= 128 => self.mutated(input),
            0..=6 => self.claim(input),
            7 => self.ask_for_table(input),
            8 => self.answer(input),
            9 => self.pass(Duration::from_millis(u64::from(input.u8()))),
            10 => self.pass(Duration::from_millis(u64::from(input.u16()))),
            11 => self.pass(Duration::from_secs(u64::from(input.u8()))),
            // Late: the process was held up.
            12 => {
                self.move_clock(Duration::from_millis(u64::from(input.u16())));
                self.tell_time();
            }
            13 => {
                if let Some(due) = self.machine.poll_timeout() {
                    self.pass(due.since(self.mono));
                }
            }
            14 => self.verb(input),
            _ => self.wall = self.wall.wrapping_add(input.uneven()),
        }
        for (id, state) in beliefs::doubts(&self.machine) {
            let was = before.get(&id).copied().unwrap_or_default();
            if was != state {
                self.reached.turn(was, state);
            }
        }
        // §4.11: a node whose leave is complete is silent, and lets its timers go.
        if self.is_over {
            return;
        }
        beliefs::agree(&self.machine, &self.model);
        let open = self.machine.sizes().checks;
        assert_eq!(open, self.checks.len(), "§4.9: as many are kept aside as the text says");
    }

    /// A payload of one claim, in whatever it comes.
    fn claim(&mut self, input: &mut Input<'_>) {
        let (head, claim) = (self.head(input), forge::claim(input));
        let (dress, exchange) = (input.u8() % 8, u32::from(input.u8() % 4));
        let chunk =
            |is_reply| Message::SyncChunk { exchange, is_reply, is_last: true, mask: u64::MAX };
        let is_stream = input.bit();
        let told = self.transfer_of(head.sender, is_stream);
        let (first, origin) = match dress {
            0 => (Some(chunk(false)), told),
            1 => (Some(chunk(true)), told),
            2 => (Some(Message::SyncBusy { exchange }), Origin::Transfer),
            3 => (Some(Message::Ping { seq: exchange, target: self.own_run() }), Origin::Gossip),
            4 => (Some(Message::Leave { seq: exchange }), Origin::Gossip),
            _ => (None, Origin::Gossip),
        };
        let messages: Vec<Message> =
            first.into_iter().chain([Message::Update(claim.clone())]).collect();
        let from = if input.u8() % 8 == 1 { forge::addr(input) } else { home(head.sender.id) };
        if !self.receive(&head, from, is_stream, &messages) {
            return;
        }
        let outcome = self.model.hear(self.nanos(), &beliefs::claim(&claim), origin);
        let known = || self.model.records().get(&claim.about.id);
        tell(|| {
            format!("{} {origin:?} {claim:?}\n  {outcome:?} {:?}", self.mono.as_nanos(), known())
        });
        self.settle(&claim, outcome);
    }

    /// A payload goes in; whether it is heard.
    fn receive(
        &mut self,
        head: &Head,
        from: SocketAddr,
        is_stream: bool,
        messages: &[Message],
    ) -> bool {
        let (now, bytes) = (self.now(), packet::encode(head, messages));
        if messages.iter().any(|message| matches!(message, Message::Update(_))) {
            self.keep(Heard { bytes: bytes.clone(), sender: head.sender, from, is_stream });
        }
        let state = beliefs::doubt(&self.machine, head.sender.id);
        for message in messages {
            self.reached.meet(state, kind_of(message));
        }
        if is_stream {
            self.machine.handle_stream(now, mutated::peer(head.sender, from), &bytes);
        } else {
            self.machine.handle_datagram(now, from, &bytes);
        }
        head.sender != self.model_run()
    }

    fn head(&self, input: &mut Input<'_>) -> Head {
        let fence = Fence::of(CLUSTER).get();
        Head { version: 1, fence, sender: forge::run(input), incarnation: 0, stamp: 0 }
    }

    fn own_run(&self) -> Run {
        let own = self.machine.local();
        Run { id: own.id.get(), epoch: own.epoch.get() }
    }

    fn model_run(&self) -> Run {
        Run { id: OWN, epoch: self.model.own().epoch }
    }

    /// Somebody asks for the table under some id (§4.9.1).
    fn ask_for_table(&mut self, input: &mut Input<'_>) {
        let mut claim = forge::claim(input);
        claim.state = 0;
        claim.accusers.clear();
        if let Some(details) = &mut claim.details {
            details.incarnation = claim.incarnation;
        }
        let head = Head { sender: claim.about, ..self.head(input) };
        let at = claim.details.as_ref().map_or(home(claim.about.id), |details| details.addr);
        let request = Message::SyncRequest {
            exchange: 1,
            is_joining: input.bit(),
            digest: vec![0; 64],
            own: claim.clone(),
        };
        if !self.receive(&head, at, true, &[request]) {
            return;
        }
        let said = beliefs::claim(&claim);
        let is_heard = claim.about.id != OWN && !said.malformed() && !self.machine.has_left();
        let outcome = if is_heard {
            let outcome = self.model.hear(self.nanos(), &said, Origin::FirstHand);
            if outcome == Outcome::Waits {
                self.model.asks((said.id, said.epoch));
            }
            outcome
        } else {
            Outcome::Nothing
        };
        tell(|| format!("{} asks {claim:?}\n  {outcome:?}", self.mono.as_nanos()));
        self.settle(&claim, outcome);
    }

    /// One of the pings that were sent is answered.
    fn answer(&mut self, input: &mut Input<'_>) {
        let nth = usize::from(input.u8());
        let Some(ping) = self.pings.get(nth % self.pings.len().max(1)).copied() else { return };
        let head = Head { sender: ping.target, ..self.head(input) };
        let ack = Message::Ack { seq: ping.seq, subject: ping.target };
        if !self.receive(&head, ping.to, ping.plane == Plane::Stream, &[ack]) {
            return;
        }
        let sent = self.drain();
        if let Some(at) = self.checks.answered(ping.seq, ping.target) {
            self.decide(at, &sent);
        }
        self.look_up();
    }

    /// Decides what the text leaves open as the machine has.
    fn look_up(&mut self) {
        let now = self.nanos();
        beliefs::settle(&self.machine, &mut self.model, now);
    }

    /// Takes everything that is to be sent and told; answers the pings.
    fn drain(&mut self) -> Vec<Ping> {
        let (now, mut buf, mut sent) = (self.now(), Vec::new(), Vec::new());
        while let Some(transmit) = self.machine.poll_transmit(now, &mut buf) {
            let packet = packet::decode(&buf).expect("what is sent can be read");
            for message in packet.messages {
                if let Message::Ping { seq, target } = message {
                    sent.push(Ping { seq, target, to: transmit.to.addr, plane: transmit.plane });
                }
            }
        }
        while let Some(event) = self.machine.poll_event() {
            self.is_over |= matches!(event, Event::LeaveCompleted { .. });
        }
        self.machine.poll_lookup();
        self.pings.extend(&sent);
        self.pings.drain(..self.pings.len().saturating_sub(PINGS_MAX));
        sent
    }

    fn move_clock(&mut self, by: Duration) {
        self.mono = self.mono + by;
        self.wall = self.wall.wrapping_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Time passes, and the machine's timers are told in time.
    fn pass(&mut self, by: Duration) {
        let until = self.mono + by;
        for _ in 0..TURNS_MAX {
            let due = self.machine.poll_timeout().filter(|&due| due <= until && !self.is_over);
            let Some(due) = due else { break };
            self.move_clock(due.since(self.mono));
            self.tell_time();
        }
        // Whoever stops half way has let less time pass.
        if self.machine.poll_timeout().is_none_or(|due| due > until) {
            self.move_clock(until.since(self.mono));
            self.tell_time();
        }
    }

    fn tell_time(&mut self) {
        let overdue =
            self.machine.poll_timeout().map_or(Duration::ZERO, |due| self.mono.since(due));
        let (before, probed, now) = (self.machine.stats(), self.machine.probed(), self.now());
        self.machine.handle_timeout(now);
        let (after, sent) = (self.machine.stats(), self.drain());
        let rounds = || (after.probes - before.probes, after.probes_failed - before.probes_failed);
        tell(|| {
            format!(
                "{} time, overdue {overdue:?}, rounds {:?}, of {probed:?}",
                self.mono.as_nanos(),
                rounds()
            )
        });
        if after.pauses > before.pauses {
            self.checks.sleep(overdue);
        }
        let is_awake = after.pauses == before.pauses;
        if after.probes_failed > before.probes_failed
            && let Some((id, (epoch, incarnation), ends)) = probed
        {
            // A machine that is late does what was due in the order in which it was.
            if is_awake {
                self.decide_late(&sent, ends.as_nanos().into());
            }
            self.model.bury_due(self.nanos(), ends.min(self.mono).as_nanos().into());
            self.model.accuse(self.nanos(), id.get(), epoch.get(), incarnation.get());
        }
        if is_awake {
            self.decide_late(&sent, self.nanos());
        }
        self.model.pass(self.nanos(), i128::try_from(overdue.as_nanos()).unwrap_or(i128::MAX));
        self.look_up();
        for _ in 0..TURNS_MAX {
            if !self.decide_due(&sent, self.nanos()) {
                break;
            }
            // Who waits accuses the held run, which may leave its suspicion a length that is over
            // already: the machine ends it in the same turn.
            self.model.pass(self.nanos(), 0);
            self.look_up();
        }
        self.asked_again();
    }

    fn verb(&mut self, input: &mut Input<'_>) {
        let now = self.now();
        match input.u8() % 16 {
            0..=7 => {
                let value = input.below(4).to_string();
                let metadata = Metadata::new().with("dc", &value).expect("short");
                let taken = self.machine.set_metadata(now, metadata).is_ok();
                let expected = self.model.set_metadata(model::metadata::bytes(&[("dc", &value)]));
                assert_eq!(taken, expected, "§4.2, §1.3: metadata is taken until the node leaves");
            }
            8 if input.u8() > 128 => {
                self.machine.leave(now);
                self.model.leave();
            }
            9 => self.machine.join(now),
            10 => self.machine.handle_seeds(now, &[home(2), home(3)]),
            _ => {}
        }
        self.drain();
        self.look_up();
    }
}

fn kind_of(message: &Message) -> u8 {
    match message {
        Message::Ping { .. } => 1,
        Message::PingReq { .. } => 2,
        Message::Ack { .. } => 3,
        Message::Nack { .. } => 4,
        Message::Update(_) => 5,
        Message::Broadcast { .. } => 6,
        Message::Payload { .. } => 7,
        Message::SyncRequest { .. } => 8,
        Message::SyncChunk { .. } => 9,
        Message::SyncBusy { .. } => 10,
        Message::Leave { .. } => 11,
        Message::Conflict { .. } => 12,
    }
}
