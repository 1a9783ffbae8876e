//! A small cluster without a common time: its state is what its machines hold and what is under
//! way, and each step is one delivery, one timer, one crash or one restart.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc};
use chinwag_core::id::Epoch;
use chinwag_core::membership::{
    Config, Event, Local, Membership, Metadata, Plane, State, StreamPeer,
};
use chinwag_core::rng::mix;
use chinwag_core::time::{Instant, Now};

use crate::checker::machine::{Machines, POLLS_MAX};
use crate::checker::suspicions::Suspicions;
use crate::checker::views::{Views, Word, id, index, rank};
use crate::checker::{Check, Violation, ensure};
use crate::clock::HostClock;
use crate::host::{Payload, first_addr, node_at};
use crate::mutant::{Mutant, Mutation};
use crate::world::{TOLD, told_as};

/// A process that starts again does so this much later by its own clock: its epoch is another.
const RESTART_TAKES: u64 = 1_000_000_000;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The payload at this place of those under way arrives.
    Deliver(usize),
    /// The next timer of a node fires.
    Fire(u32),
    Crash(u32),
    Restart(u32),
}

/// One process, and the clock that it goes by. The clock stands still until one of its own timers
/// fires.
struct Process {
    machine: Option<Membership>,
    at: u64,
    starts: u32,
    own_version: u64,
    /// Of all that the machine holds, once it is asked for.
    digest: Option<[u64; 2]>,
}

impl Process {
    fn now(&self) -> Now {
        HostClock::right().read(self.at)
    }
}

/// See the [module](self).
pub(super) struct Cluster {
    config: Config,
    processes: Vec<Process>,
    /// In the order of sending.
    flight: Vec<(Payload, u32)>,
    crashes_left: u32,
    restarts_left: u32,
    /// Every life that anybody has suspected, by node, epoch and incarnation.
    suspected: BTreeSet<(u32, u64, u32)>,
    views: Views,
    suspicions: Suspicions,
    machines: Machines,
    mutation: Option<Mutation>,
    /// Events told, by [`TOLD`].
    pub(super) told: [u64; TOLD.len()],
    pub(super) lines: Vec<String>,
    is_telling: bool,
}

impl Cluster {
    /// Processes that have been started, with nothing delivered.
    pub(super) fn new(
        nodes: usize,
        config: &Config,
        mutant: Option<Mutant>,
    ) -> Result<Self, Violation> {
        let process =
            || Process { machine: None, at: 0, starts: 0, own_version: u64::MAX, digest: None };
        let mut cluster = Self {
            config: config.clone(),
            processes: (0..nodes).map(|_| process()).collect(),
            flight: Vec::new(),
            crashes_left: 0,
            restarts_left: 0,
            suspected: BTreeSet::new(),
            views: Views::new(nodes, false),
            suspicions: Suspicions::new(config, false),
            machines: Machines::new(nodes, config.datagram_len_max),
            mutation: mutant.map(Mutation::new),
            told: [0; TOLD.len()],
            lines: Vec::new(),
            is_telling: false,
        };
        for node in 0..cluster.count() {
            cluster.start(node)?;
        }
        Ok(cluster)
    }

    /// From now on so many crashes and restarts may happen, and only what happens from now on is
    /// counted and told.
    pub(super) fn let_go(&mut self, crashes: u32, restarts: u32, tells: bool) {
        (self.crashes_left, self.restarts_left, self.is_telling) = (crashes, restarts, tells);
        self.suspected.clear();
        self.told = [0; TOLD.len()];
    }

    fn count(&self) -> u32 {
        u32::try_from(self.processes.len()).expect("a few nodes")
    }

    /// Lives that have been suspected.
    pub(super) fn suspected(&self) -> usize {
        self.suspected.len()
    }

    /// Everything that can happen next, what is usual first: what was sent first arrives, else what
    /// is due first fires.
    pub(super) fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        for (at, (payload, _)) in self.flight.iter().enumerate() {
            // A stream keeps its order; datagrams have none.
            let is_first = payload.transmit.plane == Plane::Datagram
                || self.flight[..at].iter().all(|(other, _)| !is_same_stream(other, payload));
            if is_first {
                acts.push(Act::Deliver(at));
            }
        }
        let mut due: Vec<(Instant, u32)> =
            (0..self.count()).filter_map(|node| Some((self.due(node)?, node))).collect();
        due.sort_unstable();
        acts.extend(due.into_iter().map(|(_, node)| Act::Fire(node)));
        let is_up = |node: &u32| self.processes[*node as usize].machine.is_some();
        if self.crashes_left > 0 {
            acts.extend((0..self.count()).filter(is_up).map(Act::Crash));
        }
        if self.restarts_left > 0 {
            acts.extend((0..self.count()).filter(|node| !is_up(node)).map(Act::Restart));
        }
        acts
    }

    fn due(&self, node: u32) -> Option<Instant> {
        self.processes[node as usize].machine.as_ref()?.poll_timeout()
    }

    /// Does one thing.
    pub(super) fn act(&mut self, act: Act) -> Check {
        match act {
            Act::Deliver(at) => {
                let (payload, to_start) = self.flight.remove(at);
                self.tell(|| {
                    let (to, says) =
                        (payload.transmit.to.addr, crate::world::told::says(&payload.bytes));
                    format!("{} -> {}: {says}", payload.from, node_at(to).unwrap_or(u32::MAX))
                });
                self.deliver(&payload, to_start)
            }
            Act::Fire(node) => self.fire(node),
            Act::Crash(node) => {
                self.crashes_left -= 1;
                self.tell(|| format!("{node} crashes"));
                self.processes[node as usize].machine = None;
                self.processes[node as usize].digest = None;
                Ok(())
            }
            Act::Restart(node) => {
                self.restarts_left -= 1;
                self.tell(|| format!("{node} starts again"));
                self.processes[node as usize].at += RESTART_TAKES;
                self.start(node)
            }
        }
    }

    fn start(&mut self, node: u32) -> Check {
        let process = &mut self.processes[node as usize];
        process.starts += 1;
        process.own_version = u64::MAX;
        let now = process.now();
        let metadata = Metadata::new().with("dc", "eu").unwrap_or_default();
        let local =
            Local { id: id(node), epoch: Epoch::at(now.wall), addr: first_addr(node), metadata };
        let seed = mix(u64::from(node) << 32 | u64::from(process.starts));
        let clock = Arc::new(SharedHlc::new(DRIFT_MAX_DEFAULT));
        let machine = Membership::new(self.config.clone(), local, clock, seed, now);
        let mut machine = machine.expect("the configuration is checked, and ports are not 0");
        machine.join(now);
        process.machine = Some(machine);
        self.views.started(node);
        self.suspicions.started(node);
        self.settle(node).map(|_| ())
    }

    fn fire(&mut self, node: u32) -> Check {
        let Some(due) = self.due(node) else { return Ok(()) };
        let process = &mut self.processes[node as usize];
        process.at = process.at.max(due.as_nanos());
        let now = process.now();
        let Some(machine) = &mut process.machine else { return Ok(()) };
        let reason = machine.timeout_reason();
        machine.handle_timeout(now);
        self.tell(|| format!("{node}: {reason:?} is due, at {:?}", now.mono));
        self.settle(node)?;
        self.machines.fired(node, now.mono, self.due(node))
    }

    fn deliver(&mut self, payload: &Payload, to_start: u32) -> Check {
        let Some(node) = node_at(payload.transmit.to.addr).filter(|&node| node < self.count())
        else {
            return Ok(());
        };
        let is_stream = payload.transmit.plane == Plane::Stream;
        let process = &self.processes[node as usize];
        let is_there = process.machine.is_some() && (!is_stream || process.starts == to_start);
        if !is_there {
            return if is_stream { self.fail(payload) } else { Ok(()) };
        }
        let altered = self.mutation.as_ref().map(|mutation| mutation.input(node, 0, payload));
        let bytes = match &altered {
            None => &payload.bytes,
            Some(Some(altered)) => altered,
            Some(None) => return Ok(()),
        };
        let process = &mut self.processes[node as usize];
        let now = process.now();
        let Some(machine) = &mut process.machine else { return Ok(()) };
        if is_stream {
            machine.handle_stream(now, payload.peer, bytes);
        } else {
            machine.handle_datagram(now, payload.peer.addr, bytes);
        }
        let stats = machine.stats();
        self.machines.counted(node, &stats)?;
        self.settle(node)
    }

    /// The sender of a stream payload learns that it went nowhere, if it still runs.
    fn fail(&mut self, payload: &Payload) -> Check {
        let process = &mut self.processes[payload.from as usize];
        let now = process.now();
        let Some(machine) =
            process.machine.as_mut().filter(|_| process.starts == payload.generation)
        else {
            return Ok(());
        };
        machine.handle_stream_failed(now, payload.transmit.to);
        self.settle(payload.from)
    }

    /// Does what a driver does after every input, and shows the oracles what the machine says.
    fn settle(&mut self, node: u32) -> Check {
        let (mut polls, mut touched) = (0, Vec::new());
        self.show_own(node)?;
        while polls <= POLLS_MAX {
            polls += 1;
            let process = &mut self.processes[node as usize];
            let (now, starts) = (process.now(), process.starts);
            let Some(machine) = &mut process.machine else { return Ok(()) };
            let mut bytes = Vec::new();
            if let Some(transmit) = machine.poll_transmit(now, &mut bytes) {
                let peer = StreamPeer {
                    id: id(node),
                    epoch: machine.local().epoch,
                    addr: first_addr(node),
                };
                self.machines.sent(node, now.mono, transmit.plane, bytes.len())?;
                let there =
                    node_at(transmit.to.addr).and_then(|to| self.processes.get(to as usize));
                let to_start = there.map_or(0, |process| process.starts);
                let payload = Payload {
                    from: node,
                    generation: starts,
                    peer,
                    transmit,
                    sent_at: 0,
                    number: 0,
                    bytes,
                    digest: 0,
                };
                self.flight.push((payload, to_start));
            } else if let Some(event) = machine.poll_event() {
                self.hear(node, now, &event, &mut touched)?;
            } else if machine.poll_lookup() {
                let seeds: Vec<_> = (0..self.count()).map(first_addr).collect();
                if let Some(machine) = &mut self.processes[node as usize].machine {
                    machine.handle_seeds(now, &seeds);
                }
            } else {
                break;
            }
        }
        self.machines.drained(node, polls)?;
        self.look(node, &touched)?;
        self.processes[node as usize].digest = None;
        Ok(())
    }

    /// A life may be told of before the step that began it is over.
    fn show_own(&mut self, node: u32) -> Check {
        let process = &mut self.processes[node as usize];
        let Some(machine) =
            process.machine.as_ref().filter(|machine| machine.version() != process.own_version)
        else {
            return Ok(());
        };
        process.own_version = machine.version();
        let (local, has_left) = (machine.local(), machine.has_left());
        let word = Word { has_left, refutations: machine.stats().refutations };
        self.views.local(node, &local, has_left)?;
        self.views.life(node, &local, word)
    }

    fn hear(&mut self, node: u32, now: Now, event: &Event, touched: &mut Vec<u32>) -> Check {
        let altered = self.mutation.as_mut().and_then(|mutation| mutation.event(node, 0, event));
        for event in altered.as_deref().unwrap_or(std::slice::from_ref(event)) {
            self.tell(|| format!("    {node} is told: {event:?}"));
            self.views.event(node, event)?;
            self.suspicions.event(node, now.mono, event)?;
            if let Some(kind) = told_as(event) {
                self.told[kind] += 1;
            }
            let Some(member) = event.member() else { continue };
            let Some(subject) = index(member.id, self.processes.len()) else { continue };
            touched.push(subject);
            if member.state == State::Suspect {
                self.suspected.insert((subject, member.epoch.get(), member.incarnation.get()));
            }
        }
        Ok(())
    }

    /// Shows the oracles the whole view.
    fn look(&mut self, node: u32, touched: &[u32]) -> Check {
        self.show_own(node)?;
        let Some(machine) = &self.processes[node as usize].machine else { return Ok(()) };
        for &subject in touched {
            self.views.got(node, subject, machine.get(id(subject)).as_ref())?;
        }
        self.machines.is_aware(node, machine.awareness(), machine.config().awareness_max)?;
        self.views.snapshot(node, machine.snapshot().members(), machine.live_count())
    }

    /// Whether nothing is under way and every process that runs sees the others that run, alive and
    /// in their present life, and nobody else.
    pub(super) fn is_converged(&self) -> bool {
        let up: Vec<(u32, &Membership)> = (0..)
            .zip(&self.processes)
            .filter_map(|(node, process)| Some((node, process.machine.as_ref()?)))
            .collect();
        self.flight.is_empty()
            && up.iter().all(|(observer, machine)| {
                machine.live_count() + 1 == up.len()
                    && up.iter().filter(|(subject, _)| subject != observer).all(
                        |(subject, other)| {
                            machine.get(id(*subject)).as_ref().map(rank)
                                == Some(rank(&other.local()))
                        },
                    )
            })
    }

    /// The latest that any clock reads.
    pub(super) fn latest(&self) -> u64 {
        self.processes.iter().map(|process| process.at).max().unwrap_or(0)
    }

    /// From here on everything is usual: what was sent arrives, and of all timers the one that is
    /// due first fires.
    pub(super) fn heals(&mut self, within: u64) -> Check {
        (self.crashes_left, self.restarts_left) = (0, 0);
        let until = self.latest() + within;
        while !self.is_converged() {
            ensure(self.latest() <= until, "convergence", || {
                "nothing is lost or late any more, and not all see all".to_owned()
            })?;
            let Some(&act) = self.acts().first() else { break };
            self.act(act)?;
        }
        Ok(())
    }

    /// A hash of all that can matter later: what the machines hold, to the last private field, as
    /// their `Debug` shows it; their clocks; what is under way, in no order but that of
    /// streams; what may still go wrong; and what the oracles remember.
    pub(super) fn digest(&mut self) -> u128 {
        let mut all = Digest::default();
        for process in &mut self.processes {
            let digest = process.digest();
            all.add(&format_args!("{} {} {digest:?}", process.at, process.starts));
        }
        let mut flight = [0_u64; 2];
        for (at, (payload, to_start)) in self.flight.iter().enumerate() {
            let before = self.flight[..at]
                .iter()
                .filter(|(other, _)| is_same_stream(other, payload))
                .count();
            let Payload { from, generation, transmit, peer, bytes, .. } = payload;
            let mut one = Digest::default();
            one.add(&format_args!(
                "{from} {generation} {to_start} {before} {transmit:?} {peer:?} {bytes:?}"
            ));
            flight[0] = flight[0].wrapping_add(one.0[0]);
            flight[1] = flight[1].wrapping_add(one.0[1]);
        }
        let Self {
            crashes_left,
            restarts_left,
            suspected,
            views,
            suspicions,
            machines,
            mutation,
            ..
        } = self;
        all.add(&format_args!(
            "{flight:?} {crashes_left} {restarts_left} {suspected:?} {mutation:?}"
        ));
        all.add(&format_args!("{views:?} {suspicions:?} {machines:?}"));
        all.value()
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.is_telling {
            self.lines.push(line());
        }
    }
}

impl Process {
    fn digest(&mut self) -> [u64; 2] {
        let Self { machine, digest, .. } = self;
        *digest.get_or_insert_with(|| {
            let mut fresh = Digest::default();
            fresh.add(&format_args!("{machine:?}"));
            fresh.0
        })
    }
}

fn is_same_stream(one: &Payload, other: &Payload) -> bool {
    let of = |payload: &Payload| (payload.from, payload.transmit.to.addr);
    let is_stream = |payload: &Payload| payload.transmit.plane == Plane::Stream;
    is_stream(one) && is_stream(other) && of(one) == of(other)
}

/// 128 bits over text, without the text being built.
#[derive(Default)]
pub(super) struct Digest([u64; 2]);

impl Digest {
    pub(super) fn add(&mut self, text: &std::fmt::Arguments<'_>) {
        self.write_fmt(*text).expect("digests take all");
    }

    pub(super) fn value(&self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }
}

impl std::fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        for word in words.iter().chain([&last]).copied().map(u64::from_le_bytes) {
            self.0[0] = (self.0[0] ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            self.0[1] = (self.0[1].rotate_left(23) ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        Ok(())
    }
}
