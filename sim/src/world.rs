//! The world of one run: nodes, network, clocks, and one queue of what happens next.

mod agreement;
mod faults;
mod names;
mod node;
pub(crate) mod told;

use std::collections::BTreeMap;

use chinwag_core::clock::DRIFT_MAX_DEFAULT;
use chinwag_core::membership::{Config, Destination, Event, Plane};

use crate::checker::clocks::Clocks;
use crate::checker::deaths::Deaths;
use crate::checker::machine::Machines;
use crate::checker::suspicions::Suspicions;
use crate::checker::views::Views;
use crate::checker::{Check, Violation};
use crate::choices::{Choices, Key, Odds, Site};
use crate::fault::{Fault, Plan};
use crate::host::{FIRST_PORT, Host, Payload, Spares};
use crate::mutant::{Mutant, Mutation};
use crate::network::Network;
use crate::queue::{Queue, Timers};
use crate::trace::record::{Trace, What as Told};
use crate::trace::{Story, TraceHash};

/// A stream that cannot deliver fails to its sender after this long, as a dial or a write that
/// times out does.
const STREAM_TIMEOUT: u64 = 3_000_000_000;
/// A stream that is stopped on its way tries again after this long.
const STREAM_RETRY: u64 = 200_000_000;
/// A proxy resets a connection this long after something was sent on it to a host that is down.
const PROXY_RESETS_AFTER: u64 = 5_000_000;
/// Up to this many nodes, every change of a view is compared with the whole snapshot; beyond, one
/// in so many times more.
const SNAPSHOT_EVERY_UP_TO: usize = 16;
/// Seeds that every node is given: the first so many nodes.
const SEEDS: usize = 8;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many nodes.
    pub nodes: usize,
    /// Of each of them.
    pub config: Config,
    /// Nanoseconds between one node's start and the next's.
    pub start_every: u64,
    /// Lines of the story to keep; 0 for none.
    pub story_lines: usize,
    /// Whether the oracles look.
    pub checks: bool,
    /// Whether a trace is kept.
    pub traces: bool,
    /// Nodes that never start: those that a failure does not need. The others keep their index,
    /// and so their choices.
    pub absent: Vec<u32>,
    /// A defect put in on purpose, to see the oracles bite.
    pub mutant: Option<Mutant>,
}

/// Five nodes that start 10 ms after one another, with all oracles and nothing kept.
impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 5,
            config: Config::lan(),
            start_every: 10_000_000,
            story_lines: 0,
            checks: true,
            traces: false,
            absent: Vec::new(),
            mutant: None,
        }
    }
}

/// What happens.
#[derive(Debug)]
enum What {
    Arrive(Box<Payload>),
    Start(u32),
    Begin(usize),
    End(usize),
    Flap(usize),
    Read(u32),
    StreamFailed(Box<StreamFailed>),
    ProxyGivesUp(Box<Payload>),
    /// A slow look-up of this node, in this run of it, is answered.
    Seeds(u32, u32),
}

/// The sender of a stream payload is to learn that it went nowhere.
#[derive(Debug)]
struct StreamFailed {
    node: u32,
    generation: u32,
    to: Destination,
    /// Whether the host refused: it is there, and nothing listens.
    is_refused: bool,
}

/// What a run has come to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Inputs that a machine has handled: datagrams, stream payloads and their failures, timers,
    /// seeds. Not what was lost, what came to a process that was gone, or what the plan did.
    pub events: u64,
    /// Datagrams sent, and their bytes.
    pub datagrams: u64,
    /// Bytes of them.
    pub datagram_bytes: u64,
    /// Stream payloads sent.
    pub streams: u64,
    /// Bytes of them.
    pub stream_bytes: u64,
    /// Events told to users, by kind: joined, suspected, recovered, died, left, updated, conflict,
    /// isolated.
    pub told: [u64; 8],
    /// Refutations, of all nodes.
    pub refutations: u64,
    /// Broadcasts given out.
    pub broadcasts: u64,
}

/// The names of [`Tally::told`].
pub const TOLD: [&str; 8] =
    ["joined", "suspected", "recovered", "died", "left", "updated", "conflict", "isolated"];

/// Which of [`TOLD`] an event counts as, if any.
pub(crate) fn told_as(event: &Event) -> Option<usize> {
    Some(match event {
        Event::Joined(_) => 0,
        Event::Suspected(_) => 1,
        Event::Recovered(_) => 2,
        Event::Died(_) => 3,
        Event::Left(_) => 4,
        Event::Updated(_) => 5,
        Event::Conflict { .. } => 6,
        Event::Isolated => 7,
        _ => return None,
    })
}

/// Somebody has declared somebody dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Burial {
    /// When, nanoseconds of true time.
    pub at: u64,
    /// At whom.
    pub observer: u32,
    /// Who.
    pub subject: u32,
    /// Which word of its own: epoch and incarnation.
    pub life: (u64, u32),
}

/// A virtual cluster.
pub struct World {
    setup: Setup,
    plan: Plan,
    choices: Box<dyn Choices>,
    now: u64,
    queue: Queue<What>,
    timers: Timers,
    spares: Spares,
    hosts: Vec<Host>,
    /// The network, and what it has done to payloads.
    pub network: Network,
    hash: TraceHash,
    story: Story,
    /// What is believed.
    pub views: Views,
    clocks: Clocks,
    machines: Machines,
    /// Who is there, and who was declared dead.
    pub deaths: Deaths,
    tally: Tally,
    /// How often each family has struck, as far as the network does not count it.
    strikes: BTreeMap<&'static str, u64>,
    /// What happened, if it is kept.
    pub trace: Trace,
    /// Payloads put on their way.
    carried: u64,
    mutation: Option<Mutation>,
    suspicions: Suspicions,
    /// No fault is left and all agree: nobody may be doubted from now on.
    rests: bool,
    seed: u64,
    /// Whom events of the present step were about.
    told: Vec<u32>,
    /// Every death that was declared, if they are written down.
    burials: Option<Vec<Burial>>,
}

impl World {
    /// A world in which nothing has happened yet. `seed` is of the machines; all else is left to
    /// `choices`.
    pub fn new(setup: Setup, plan: Plan, seed: u64, choices: Box<dyn Choices>) -> Self {
        let nodes = setup.nodes;
        let drift_max = u64::try_from(DRIFT_MAX_DEFAULT.as_micros()).unwrap_or(u64::MAX);
        let mut world = Self {
            network: Network::new(nodes),
            queue: Queue::default(),
            timers: Timers::new(nodes),
            spares: Spares::default(),
            hosts: (0..nodes).map(|_| Host::new()).collect(),
            hash: TraceHash::default(),
            story: Story::of_last(setup.story_lines),
            views: Views::new(if setup.checks { nodes } else { 0 }, plan.forges()),
            clocks: Clocks::new(nodes, drift_max),
            machines: Machines::new(nodes, setup.config.datagram_len_max),
            deaths: Deaths::new(nodes),
            tally: Tally::default(),
            strikes: BTreeMap::new(),
            trace: Trace::new(setup.traces),
            carried: 0,
            mutation: setup.mutant.map(Mutation::new),
            suspicions: Suspicions::new(&setup.config, plan.forges()),
            rests: false,
            now: 0,
            seed,
            told: Vec::new(),
            burials: None,
            choices,
            plan,
            setup,
        };
        for (node, at) in (0..world.count()).zip((0..).step_by(world.step_of_starts())) {
            if !world.setup.absent.contains(&node) {
                world.queue.push(at, What::Start(node));
            }
        }
        for (number, timed) in world.plan.faults.clone().iter().enumerate() {
            match timed.fault {
                Fault::Offset { node, ms } => {
                    world.hosts[node as usize].clock.step(ms);
                    world.strike("offset");
                }
                Fault::Ipv6(node) => {
                    world.network.addresses.is_v6(node);
                    world.strike("ipv6");
                }
                _ => {}
            }
            world.queue.push(timed.at, What::Begin(number));
            if timed.until != u64::MAX {
                world.queue.push(timed.until, What::End(number));
            }
        }
        world
    }

    fn step_of_starts(&self) -> usize {
        usize::try_from(self.setup.start_every).unwrap_or(usize::MAX).max(1)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.hosts.len()).expect("nodes are counted in 32 bits")
    }

    /// Runs up to and including true nanosecond `until`.
    ///
    /// # Errors
    /// The first [`Violation`]; the world stands where it happened.
    pub fn run_until(&mut self, until: u64) -> Result<(), Violation> {
        loop {
            let queued = self.queue.next().unwrap_or((u64::MAX, u64::MAX));
            match self.timers.next() {
                Some((at, order, node)) if at <= until && (at, order) < queued => {
                    self.now = at;
                    self.wake(node)?;
                }
                _ => {
                    let Some((at, what)) = self.queue.pop(until) else { break };
                    self.now = at;
                    self.happen(what)?;
                }
            }
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, what: What) -> Check {
        match what {
            What::Arrive(payload) => self.arrive(payload),
            What::Start(node) => {
                self.hash.add(self.now, 1 << 32 | u64::from(node), 0);
                self.start(node)
            }
            What::Begin(number) => {
                self.hash.add(self.now, 2 << 32, number as u64);
                self.begin(number)
            }
            What::End(number) => {
                self.hash.add(self.now, 3 << 32, number as u64);
                self.end(number)
            }
            What::Flap(number) => {
                self.hash.add(self.now, 9 << 32, number as u64);
                self.flap(number);
                Ok(())
            }
            What::Read(node) => self.read_one(node),
            What::ProxyGivesUp(payload) => self.fail_stream(&payload),
            What::Seeds(node, generation) => self.seeds_come(node, generation),
            What::StreamFailed(failed) => {
                let StreamFailed { node, generation, to, is_refused } = *failed;
                let is_same_run = self.hosts[node as usize].generation == generation;
                if !is_same_run || self.hosts[node as usize].pauses > 0 {
                    return Ok(());
                }
                self.hash.add(self.now, 4 << 32 | u64::from(node), 0);
                let now = self.hosts[node as usize].now(self.now);
                let Some(machine) = &mut self.hosts[node as usize].machine else { return Ok(()) };
                self.tally.events += 1;
                machine.handle_stream_failed(now, to);
                if is_refused {
                    machine.handle_refused(now, to.addr);
                }
                self.settle(node).map(|_| ())
            }
        }
    }

    /// A payload has come to the end of its way.
    fn arrive(&mut self, payload: Box<Payload>) -> Check {
        let to = payload.transmit.to.addr;
        let node = self.network.addresses.host_at(self.now, to);
        let is_stream = payload.transmit.plane == Plane::Stream;
        if is_stream && node.is_some_and(|node| self.network.refuses(payload.from, node)) {
            return self.fail_stream(&payload);
        }
        if is_stream && node.is_some_and(|node| self.network.stops_stream(payload.from, node, true))
        {
            if self.now - payload.sent_at >= STREAM_TIMEOUT {
                return self.fail_stream(&payload);
            }
            self.queue.push(self.now + STREAM_RETRY, What::Arrive(payload));
            return Ok(());
        }
        let there = node.filter(|&node| {
            let host = &self.hosts[node as usize];
            host.machine.is_some() && host.port == to.port()
        });
        match there {
            Some(node) if is_stream && self.is_broken(node, &payload) => self.fail_stream(&payload),
            Some(node) if self.hosts[node as usize].reads_at_once() => {
                let checked = self.receive(node, &payload);
                self.spares.give(payload);
                checked
            }
            Some(node) => {
                self.hold(node, payload);
                Ok(())
            }
            None if is_stream => match node {
                Some(node) if self.network.is_proxied(payload.from, node) => {
                    self.queue.push(self.now + PROXY_RESETS_AFTER, What::ProxyGivesUp(payload));
                    Ok(())
                }
                // The host is there, and nothing listens.
                Some(_) => self.fail_stream_as(&payload, true),
                None => self.fail_stream(&payload),
            },
            None => {
                self.tell_drop(&payload, "nobody");
                Ok(())
            }
        }
    }

    /// Whether the connection that this was sent on is no more.
    fn is_broken(&self, node: u32, payload: &Payload) -> bool {
        let has_restarted = self.hosts[node as usize].started_at > payload.sent_at;
        has_restarted || self.network.was_reset(payload.from, node, payload.sent_at)
    }

    /// Present true time, nanoseconds.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// The hash of everything so far.
    pub const fn hash(&self) -> TraceHash {
        self.hash
    }

    /// What the run has come to.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether nothing goes wrong in this run at all.
    pub fn is_faultless(&self) -> bool {
        self.plan.faults.is_empty()
    }

    /// Whether bytes are forged in this run, so that nobody's word counts.
    pub fn forges(&self) -> bool {
        self.plan.forges()
    }

    /// How often each family of faults has struck: changed what became of a payload, a process, a
    /// clock, a look-up. A family that is in the plan and met nothing is not in here.
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        let mut struck = self.strikes.clone();
        for (family, count) in self.network.struck.by_family() {
            if count > 0 {
                *struck.entry(family).or_default() += count;
            }
        }
        struck
    }

    fn strike(&mut self, family: &'static str) {
        *self.strikes.entry(family).or_default() += 1;
    }

    /// The worst that one of the well thinks of itself at present.
    pub fn awareness_max(&self) -> u8 {
        let well = self.hosts.iter().filter(|host| host.is_well());
        let scores = well
            .filter_map(|host| host.machine.as_ref())
            .map(chinwag_core::membership::Membership::awareness);
        scores.max().unwrap_or(0)
    }

    /// Whether a fault between nodes never ends.
    pub fn disturbs_for_ever(&self) -> bool {
        self.plan.disturbs_for_ever()
    }

    /// Whether a fault between nodes never ends that may keep them apart.
    pub fn parts_for_ever(&self) -> bool {
        self.plan.parts_for_ever()
    }

    /// From now on nobody of the well may doubt another of them.
    pub fn rest(&mut self) {
        self.rests = true;
    }

    /// The run ends in this violation.
    pub fn tell_failure(&mut self, violation: &Violation) {
        let Violation { oracle, detail } = violation;
        self.trace.tell(self.now, None, || Told::Fail {
            oracle: (*oracle).into(),
            detail: detail.clone(),
        });
    }

    /// The last lines of the story.
    pub fn take_story(&mut self) -> Vec<String> {
        std::mem::take(&mut self.story).into_lines()
    }

    /// What was chosen other than 0, if the choices are recorded.
    pub fn take_tape(&mut self) -> Option<crate::choices::Tape> {
        self.choices.take_tape()
    }

    /// Writes down every death that is declared from now on.
    pub fn record_burials(&mut self) {
        self.burials = Some(Vec::new());
    }

    /// The deaths written down since [`World::record_burials`] or since they were last taken.
    pub fn take_burials(&mut self) -> Vec<Burial> {
        self.burials.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn choose(&mut self, site: Site, node: u32, nth: u32, odds: Odds) -> u32 {
        self.choices.choose(Key { site, who: node, whom: 0, nth }, odds)
    }

    fn seeds(&self) -> Vec<std::net::SocketAddr> {
        (0..self.count())
            .take(SEEDS)
            .map(|node| self.network.addresses.home(node, FIRST_PORT))
            .collect()
    }

    fn count_told(&mut self, event: &Event) {
        match told_as(event) {
            Some(kind) => self.tally.told[kind] += 1,
            None => self.tally.broadcasts += u64::from(matches!(event, Event::Broadcast { .. })),
        }
    }
}
