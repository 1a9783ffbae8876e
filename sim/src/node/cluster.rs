//! [`Cluster`]: processes on machines, what the plan does to them, and the oracles that watch.

mod agreement;
mod observe;
mod users;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use chinwag::{Builder, Config, Node, OnRuntime, StartError, Timestamp, Watch};

use super::clear::Clear;
use super::engine::{Engine, Turn};
use super::ledger::Ledger;
use super::state::{Step, What};
use super::tasks::lock;
use crate::checker::deaths::{Deaths, Truth};
use crate::checker::views::{Views, id};
use crate::checker::{Check, Violation};
use crate::choices::{Choices, Odds, Site};
use crate::clock::nanos;
use crate::fault::{Fault, Plan, Return, Timed};
use crate::host::FIRST_PORT;
use crate::mutant::{Mutant, Mutation};
use crate::trace::Story;
use crate::trace::record::{Trace, What as Told};
use crate::world::Tally;

/// Names of machines that every node is given as seeds: the first so many.
const SEEDS: u32 = 8;
/// A process that crashes takes its machine's word with it (a power cut) about so often, in
/// millionths.
const POWER_CUT_ODDS: u32 = 300_000;

/// Nanoseconds until a mutant looks again whether it can break something.
const PUTS_OFF_FOR: u64 = 100_000;

/// What runs on a node once it has started, at every start of its process.
pub(crate) type Boot = Arc<dyn Fn(&Node, u32) -> Result<(), String> + Send + Sync>;
/// How a node's builder is changed before it starts.
pub(crate) type Configure =
    Arc<dyn Fn(Builder<OnRuntime>, u32) -> Builder<OnRuntime> + Send + Sync>;

/// What a cluster is made of.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) config: Config,
    pub(crate) configure: Configure,
    pub(crate) boot: Boot,
    pub(crate) story_lines: usize,
    pub(crate) traces: bool,
    pub(crate) mutant: Option<Mutant>,
    /// Machines that stay empty.
    pub(crate) absent: Vec<u32>,
}

/// A node that has started.
struct Process {
    node: Node,
    watch: Watch,
    /// Of the last view that was looked at.
    version: u64,
    last_stamp: Timestamp,
    has_left: bool,
    /// Where it knows others to be, or to have been.
    known: BTreeMap<u32, SocketAddr>,
}

/// A machine as its operator knows it.
#[derive(Default)]
struct Operated {
    process: Option<Process>,
    port_offset: u16,
    /// The fault that ended its process: with that, it starts again.
    crashed_by: Option<usize>,
    persisted: Timestamp,
    keeps_clock: bool,
    /// The last stamp of the process before, if its clock was kept.
    floor: Timestamp,
    /// Faults that are commands to a process that stands still.
    commands: Vec<usize>,
}

/// A machine, the how-manieth process on it, and how its start went.
type Started = (u32, u32, Result<(Node, Watch), StartError>);

/// What tasks of the world have for the cluster.
#[derive(Default)]
struct Post {
    started: Vec<Started>,
    /// And the fault by which it left.
    left: Vec<(u32, u32, usize)>,
    shut_down: Vec<(u32, u32)>,
}

/// A cluster of nodes in a world.
pub(crate) struct Cluster {
    pub(crate) engine: Engine,
    pub(crate) setup: Setup,
    pub(crate) ledger: Ledger,
    mutation: Option<Mutation>,
    pub(crate) plan: Plan,
    sites: Vec<Operated>,
    post: Arc<Mutex<Post>>,
    pub(crate) views: Views,
    pub(crate) deaths: Deaths,
    pub(crate) story: Story,
    told: [u64; 8],
    broadcasts: u64,
    pub(super) clear: Clear,
    /// Faults that have begun, and that are over or are never to begin.
    has_begun: Vec<bool>,
    is_over: Vec<bool>,
    /// Set when a node starts or goes; whoever looks clears it.
    pub(crate) has_new_nodes: bool,
}

impl Cluster {
    /// A cluster of which nothing has started.
    pub(crate) fn new(setup: Setup, plan: Plan, choices: Box<dyn Choices>) -> Self {
        let nodes = setup.nodes;
        let engine = Engine::new(nodes, setup.seed, choices);
        engine.stay_here();
        engine.with(|state| state.trace = Trace::new(setup.traces));
        let hosts = u32::try_from(nodes).unwrap_or(u32::MAX);
        (0..hosts).for_each(|host| engine.set_name(&name(host), host));
        let mut cluster = Self {
            engine,
            ledger: Ledger::default(),
            mutation: setup.mutant.map(Mutation::new),
            sites: (0..nodes).map(|_| Operated::default()).collect(),
            post: Arc::default(),
            views: Views::new(nodes, plan.forges()),
            deaths: Deaths::new(nodes),
            story: Story::of_last(setup.story_lines),
            told: [0; 8],
            broadcasts: 0,
            clear: Clear::default(),
            has_begun: Vec::new(),
            is_over: Vec::new(),
            has_new_nodes: false,
            plan: Plan::default(),
            setup,
        };
        for timed in plan.faults {
            cluster.add_fault(timed);
        }
        cluster
    }

    pub(crate) fn hosts(&self) -> u32 {
        u32::try_from(self.sites.len()).unwrap_or(u32::MAX)
    }

    /// Has the process of `host` start at true nanosecond `at`.
    pub(crate) fn start_at(&self, at: u64, host: u32) {
        self.engine.with(|state| state.queue.push(at, What::Step(Step::Start(host))));
    }

    /// One more fault, or one more thing that an operator does.
    pub(crate) fn add_fault(&mut self, timed: Timed) {
        let number = self.plan.faults.len();
        self.engine.with(|state| {
            match timed.fault {
                Fault::Offset { node, ms } => {
                    state.machine(node).clock.step(ms);
                    state.strike("offset");
                }
                Fault::Ipv6(node) => {
                    state.network.addresses.is_v6(node);
                    state.set_name(&name(node), node);
                    state.strike("ipv6");
                }
                _ => {}
            }
            state.queue.push(timed.at.max(state.now), What::Step(Step::Begin(number)));
            if timed.until != u64::MAX {
                state.queue.push(timed.until.max(state.now), What::Step(Step::End(number)));
            }
        });
        self.plan.faults.push(timed);
        self.views.set_forges(self.plan.forges());
        self.ledger.set_forges(self.plan.forges());
        self.has_begun.push(false);
        self.is_over.push(false);
    }

    /// Runs up to and including true nanosecond `until`.
    pub(crate) fn run_until(&mut self, until: u64) -> Check {
        while self.step(until)? {}
        self.engine.with(|state| state.now = until.max(state.now));
        Ok(())
    }

    /// One step, if there is one that is not after `until`.
    pub(crate) fn step(&mut self, until: u64) -> Result<bool, Violation> {
        let turn = self.engine.turn(until);
        self.engine.check_outside()?;
        match turn {
            Turn::Ran(host) => self.observe(host)?,
            Turn::Happened => {
                while let Some(step) = self.engine.with(|state| state.steps.pop_front()) {
                    self.take(step)?;
                }
            }
            Turn::Idle => return Ok(false),
        }
        Ok(true)
    }

    fn take(&mut self, step: Step) -> Check {
        let (what, number) = match step {
            Step::Start(host) => (1, u64::from(host)),
            Step::Begin(number) => (2, number as u64),
            Step::End(number) => (3, number as u64),
            Step::Flap(number) => (4, number as u64),
        };
        self.engine.with(|state| state.hash.add(state.now, what << 32, number));
        match step {
            Step::Start(host) => self.start(host),
            Step::Begin(number) => self.begin(number)?,
            Step::End(number) => self.end(number)?,
            Step::Flap(number) => self.flap(number),
        }
        Ok(())
    }

    /// A cut that comes and goes turns, until its fault has ended.
    fn flap(&mut self, number: usize) {
        let Timed { until, fault: Fault::Flap { every, .. }, .. } = self.plan.faults[number] else {
            return;
        };
        if self.is_over[number] {
            return;
        }
        self.engine.with(|state| {
            if state.now < until {
                state.network.flap(number);
                state.queue.push(state.now + nanos(every).max(1), What::Step(Step::Flap(number)));
            }
        });
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        let at = std::time::Duration::from_nanos(self.engine.now()).as_secs_f64();
        self.story.tell(|| format!("{at:>12.6} {}", line()));
    }

    // ---- processes ----

    /// A process starts on a machine that has none: a node, and what runs on it.
    fn start(&mut self, host: u32) {
        let site = &mut self.sites[host as usize];
        if site.process.is_some() || self.setup.absent.contains(&host) {
            return;
        }
        self.engine.start(host);
        self.ledger.leaves(host, None);
        let (runtime, process) =
            (self.engine.runtime(host), self.engine.with(|state| state.machine(host).process));
        let at = self.engine.addr_at(host, FIRST_PORT + site.port_offset);
        let floor = if site.keeps_clock { site.persisted } else { Timestamp::default() };
        let seeds = (0..self.hosts().min(SEEDS)).map(|seed| format!("{}:{FIRST_PORT}", name(seed)));
        let builder = Node::builder(id(host), at)
            .config(self.setup.config.clone())
            .cluster(self.setup.config.cluster.clone())
            .data_center(["eu", "us"][host as usize % 2])
            .seeds(seeds)
            .clock_floor(floor);
        let builder = (self.setup.configure)(builder, host);
        let (post, on) = (self.post.clone(), runtime.clone());
        runtime.spawn(Box::pin(async move {
            let started = builder.start_watched_on(on).await;
            lock(&post).started.push((host, process, started));
        }));
        self.tell(|| format!("node {host} starts"));
    }

    /// The process of `host` dies.
    fn crash(&mut self, host: u32, number: usize) {
        if self.sites[host as usize].process.is_none() {
            return;
        }
        let is_told = self.engine.with(|state| {
            let odds = Odds::chance(POWER_CUT_ODDS);
            state.choose(Site::PowerCut, host, 0, odds) == 0
        });
        self.engine.kill(host, is_told);
        let site = &mut self.sites[host as usize];
        site.crashed_by = Some(number);
        site.commands.clear();
        self.has_new_nodes = true;
        let process = site.process.take();
        site.floor = process.as_ref().map(|process| process.last_stamp).unwrap_or_default();
        drop(process);
        self.engine
            .with(|state| state.trace.tell(state.now, host, || Told::Stop { why: "crash".into() }));
        self.deaths.is(host, Truth::Down(self.engine.now()));
    }

    /// Ends every node in good order as far as its process goes: no goodbye, no task, no socket.
    pub(crate) fn shutdown(&mut self) {
        for site in &mut self.sites {
            if let Some(process) = site.process.take() {
                drop(process);
            }
        }
    }

    /// The node on `host`, if one runs there.
    pub(crate) fn node(&self, host: u32) -> Option<&Node> {
        self.sites[host as usize].process.as_ref().map(|process| &process.node)
    }

    // ---- the plan ----

    fn begin(&mut self, number: usize) -> Check {
        if self.is_over[number] {
            return Ok(());
        }
        if self.puts_off(number) {
            let step = What::Step(Step::Begin(number));
            self.engine.with(|state| state.queue.push(state.now + PUTS_OFF_FOR, step));
            return Ok(());
        }
        self.has_begun[number] = true;
        self.clear.begin(self.engine.now(), &self.plan.faults[number]);
        let fault = self.plan.faults[number].fault.clone();
        self.tell(|| format!("begins: {fault:?}"));
        self.deaths.fault(&fault, self.plan.is_mild());
        let is_up = fault.node().is_some_and(|host| self.node(host).is_some());
        self.engine.with(|state| {
            state.tell_fault(number, &fault);
            state.begin_fault(number, &fault);
            if let Fault::Flap { every, .. } = fault {
                state.queue.push(state.now + nanos(every).max(1), What::Step(Step::Flap(number)));
            }
            let strikes_at_once = matches!(
                fault,
                Fault::FullPause(_)
                    | Fault::IoBlock(_)
                    | Fault::Crash { .. }
                    | Fault::RestartBehind { .. }
                    | Fault::Clock { .. }
                    | Fault::Suspend { .. }
            );
            if (is_up && strikes_at_once) || matches!(fault, Fault::TakeOver { .. }) {
                state.strike(fault.family());
            }
        });
        match fault {
            Fault::Crash { node, .. } | Fault::RestartBehind { node, .. } => {
                self.crash(node, number);
            }
            Fault::Leave(node) | Fault::Metadata(node) | Fault::Broadcast(node) => {
                if self.engine.with(|state| state.machine(node).pauses) > 0 {
                    self.sites[node as usize].commands.push(number);
                } else {
                    self.command(number);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The process on `host` starts again, if it was this fault that ended it.
    fn come_back(&mut self, host: u32, number: usize, how: Return) {
        let site = &mut self.sites[host as usize];
        if site.crashed_by != Some(number) {
            return;
        }
        site.crashed_by = None;
        site.port_offset += u16::from(how.moves);
        site.keeps_clock = how.keeps_clock;
        self.engine.with(|state| state.machine(host).clock.step(-how.behind_ms));
        self.start(host);
    }

    fn end(&mut self, number: usize) -> Check {
        if std::mem::replace(&mut self.is_over[number], true) {
            return Ok(());
        }
        let fault = self.plan.faults[number].fault.clone();
        self.tell(|| format!("ends: {fault:?}"));
        self.engine.end_fault(number, &fault);
        self.clear.end(self.engine.now(), &self.plan.faults[number]);
        let told = Told::End { fault: u32::try_from(number).unwrap_or(u32::MAX) };
        self.engine.with(|state| state.trace.tell(state.now, fault.node(), || told));
        if let (Some(host), Some(how)) = (fault.node(), fault.comes_back()) {
            self.come_back(host, number, how);
        }
        if let Fault::Leave(host) = fault {
            self.come_back(host, number, Return::default());
        }
        match fault {
            Fault::FullPause(node) | Fault::Suspend { node, .. }
                if self.engine.with(|state| state.machine(node).pauses) == 0 =>
            {
                for number in std::mem::take(&mut self.sites[node as usize].commands) {
                    self.command(number);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Every fault is over, and those that have not begun never do: but those that are for ever, of
    /// nodes that do not come back, stay.
    pub(crate) fn end_faults(&mut self) -> Check {
        for number in 0..self.plan.faults.len() {
            let Timed { until, ref fault, .. } = self.plan.faults[number];
            let stays = fault.comes_back().is_some() || matches!(fault, Fault::Offset { .. });
            let is_for_ever = until == u64::MAX && stays;
            if !self.has_begun[number] {
                self.is_over[number] = true;
            } else if !is_for_ever && !fault.is_operation() {
                self.end(number)?;
            }
        }
        Ok(())
    }

    // ---- what is true ----

    fn is_well(&self, host: u32) -> bool {
        let is_reached = self.engine.with(|state| {
            let machine = state.machine(host);
            machine.pauses == 0 && machine.blocks == 0
        });
        is_reached
            && self.sites[host as usize].process.as_ref().is_some_and(|process| !process.has_left)
    }

    /// Nodes that are up, stay, and can be reached as far as their own machine goes.
    pub(crate) fn well(&self) -> Vec<u32> {
        (0..self.hosts()).filter(|&host| self.is_well(host)).collect()
    }

    /// How often each family of faults has struck.
    pub(crate) fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.engine.with(|state| {
            let mut struck = state.strikes.clone();
            for (family, count) in
                state.network.struck.by_family().into_iter().filter(|(_, count)| *count > 0)
            {
                *struck.entry(family).or_default() += count;
            }
            struck
        })
    }

    /// What the run has come to.
    pub(crate) fn tally(&self) -> Tally {
        self.engine.with(|state| Tally {
            events: state.events + state.polls,
            datagrams: state.datagrams,
            datagram_bytes: state.datagram_bytes,
            stream_bytes: state.stream_bytes,
            told: self.told,
            broadcasts: self.broadcasts,
            ..Tally::default()
        })
    }
}

/// What machine `host` is called.
pub(crate) fn name(host: u32) -> String {
    format!("node{host}")
}
