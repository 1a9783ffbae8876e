//! Everything of a node-level world but its tasks' futures: one value, behind one lock, that tells
//! what happens next.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;

use chinwag::protocol::rng::mix;
use chinwag::protocol::time::{Instant, Now};
use chinwag::runtime::BoxFuture;

use super::tasks::{Bells, PICKED_FROM_MAX, Running, Tasks, Woken};
use super::tcp::{Conn, Listening};
use super::udp::{Datagram, Udp};
use crate::choices::{Choices, Key, Odds, Site};
use crate::clock::HostClock;
use crate::fault::Answers;
use crate::network::Network;
use crate::queue::Queue;
use crate::trace::frames::{Frame, words};
use crate::trace::record::{Trace, Way, What as Told};
use crate::trace::{TraceHash, short_digest};
use crate::world::told::says;

/// Ports that a machine gives out by itself begin here (IANA's dynamic range).
const PORT_DYNAMIC_MIN: u16 = 49_152;
/// Polls at one instant of true time after which every further one takes a microsecond: a task that
/// asks again and again until time has passed sees time pass.
const POLLS_AT_ONCE_MAX: u32 = 100_000;
/// Later than this is never: 146 years.
const NEVER: u64 = 1 << 62;
/// Tasks run in another order than they were woken in about so often, in millionths.
const SCHEDULE_ODDS: u32 = 150_000;

/// What can happen when its time has come.
#[derive(Debug)]
pub(crate) enum What {
    Datagram(Box<Datagram>),
    /// The front of what is under way on one half of a connection.
    Arrive {
        conn: u64,
        pipe: usize,
    },
    Timer(u64),
    /// A machine's timers wake their tasks too early, for nothing.
    Spurious(u32),
    /// A reader that was slow reads again.
    Readable {
        conn: u64,
        end: usize,
    },
    Step(Step),
    UdpReadable(Port),
    /// A thread that was blocked goes on.
    GoesOn,
}

/// What the world's own doing is, when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The process of this machine starts.
    Start(u32),
    /// The fault with this number begins.
    Begin(usize),
    /// It comes or goes.
    Flap(usize),
    /// It ends.
    End(usize),
}

/// A port of one machine.
pub(crate) type Port = (u32, u16);

/// One machine, and how it fares.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) clock: HostClock,
    /// The how-manieth process runs on it.
    pub(crate) process: u32,
    pub(crate) is_up: bool,
    /// Faults under way; they may overlap.
    pub(crate) pauses: u32,
    /// How often it was made to stand still so far.
    pub(crate) pauses_begun: u32,
    pub(crate) blocks: u32,
    /// The true nanosecond until which a handler blocks the thread of its process.
    pub(crate) stalled_until: u64,
    /// The true nanosecond from which on it has been blocked by that without a pause.
    pub(crate) stalled_since: u64,
    /// Slow reading under way: nanoseconds between two reads, of each.
    pub(crate) slow: Vec<u64>,
    pub(crate) nameless: u32,
    /// How look-ups are answered, one for each such fault under way: the last counts.
    pub(crate) answers: Vec<Answers>,
    pub(crate) lookups: u32,
    pub(crate) early_timers: u32,
    /// Datagrams that wait in the machine because it is blocked, and their bytes.
    pub(crate) unsent: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    pub(crate) unsent_len: usize,
    next_port: u16,
    seeds: u32,
}

impl Machine {
    fn new() -> Self {
        Self {
            clock: HostClock::right(),
            process: 0,
            is_up: true,
            pauses: 0,
            pauses_begun: 0,
            blocks: 0,
            stalled_until: 0,
            stalled_since: 0,
            slow: Vec::new(),
            nameless: 0,
            answers: Vec::new(),
            lookups: 0,
            early_timers: 0,
            unsent: Vec::new(),
            unsent_len: 0,
            next_port: PORT_DYNAMIC_MIN,
            seeds: 0,
        }
    }
}

impl Machine {
    /// Between two reads of a slow reader.
    pub(crate) fn reads_every(&self) -> Option<u64> {
        self.slow.iter().copied().max()
    }
}

/// A timer of a machine, or of the world itself.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(crate) host: Option<u32>,
    deadline: Instant,
    /// The true time of the entry in the queue that counts.
    queued_at: u64,
    pub(crate) waker: Option<Waker>,
}

/// See the module.
pub(crate) struct State {
    pub(crate) now: u64,
    pub(crate) seed: u64,
    pub(crate) queue: Queue<What>,
    choices: Box<dyn Choices>,
    asked: BTreeMap<(Site, u32, u32), u32>,
    pub(crate) network: Network,
    pub(crate) machines: Vec<Machine>,
    pub(crate) tasks: Tasks,
    pub(crate) woken: Woken,
    pub(crate) timers: BTreeMap<u64, Timing>,
    pub(crate) udp: BTreeMap<Port, Udp>,
    pub(crate) listeners: BTreeMap<Port, Listening>,
    pub(crate) conns: BTreeMap<u64, Conn>,
    next_id: u64,
    /// What the world is to do now.
    pub(crate) steps: VecDeque<Step>,
    /// The furthest that any wall clock has been, in microseconds.
    wall_max: u64,
    /// To be woken, and to be dropped, once the lock is free.
    pub(crate) wakers: Vec<Waker>,
    pub(crate) trash: Vec<BoxFuture<()>>,
    pub(crate) names: BTreeMap<String, IpAddr>,
    /// Messages of tasks that panicked.
    pub(crate) panics: Vec<(u32, String)>,
    pub(crate) hash: TraceHash,
    pub(crate) trace: Trace,
    payloads: u64,
    /// How often each family has struck, as far as the network does not count it.
    pub(crate) strikes: BTreeMap<&'static str, u64>,
    pub(crate) events: u64,
    pub(crate) polls: u64,
    pub(crate) datagrams: u64,
    pub(crate) datagram_bytes: u64,
    pub(crate) stream_bytes: u64,
    polls_at_once: u32,
}

impl State {
    pub(crate) fn new(
        hosts: usize,
        seed: u64,
        choices: Box<dyn Choices>,
        bells: Arc<Bells>,
    ) -> Self {
        Self {
            now: 0,
            seed,
            queue: Queue::default(),
            choices,
            asked: BTreeMap::new(),
            network: Network::new(hosts),
            machines: (0..hosts).map(|_| Machine::new()).collect(),
            tasks: Tasks::new(hosts, bells),
            woken: Woken::default(),
            timers: BTreeMap::new(),
            udp: BTreeMap::new(),
            listeners: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_id: 0,
            steps: VecDeque::new(),
            wall_max: 0,
            wakers: Vec::new(),
            trash: Vec::new(),
            names: BTreeMap::new(),
            panics: Vec::new(),
            hash: TraceHash::default(),
            trace: Trace::default(),
            payloads: 0,
            strikes: BTreeMap::new(),
            events: 0,
            polls: 0,
            datagrams: 0,
            datagram_bytes: 0,
            stream_bytes: 0,
            polls_at_once: 0,
        }
    }

    pub(crate) fn machine(&mut self, host: u32) -> &mut Machine {
        &mut self.machines[host as usize]
    }

    /// What a machine reads on its clocks; without a machine, true time.
    pub(crate) fn now_of(&self, host: Option<u32>) -> Now {
        match host {
            Some(host) => self.machines[host as usize].clock.read(self.now),
            None => HostClock::right().read(self.now),
        }
    }

    /// The furthest that any machine's wall clock has been, in microseconds.
    pub(crate) fn wall_max(&mut self) -> u64 {
        let now =
            self.machines.iter().map(|machine| machine.clock.read(self.now).wall.as_micros()).max();
        self.wall_max = self.wall_max.max(now.unwrap_or(0));
        self.wall_max
    }

    /// Answers the next choice of this kind.
    pub(crate) fn choose(&mut self, site: Site, who: u32, whom: u32, odds: Odds) -> u32 {
        let asked = self.asked.entry((site, who, whom)).or_default();
        *asked += 1;
        self.choices.choose(Key { site, who, whom, nth: *asked }, odds)
    }

    /// The choices themselves, with the network that asks them.
    pub(crate) fn network(&mut self) -> (&mut Network, &mut dyn Choices) {
        (&mut self.network, &mut *self.choices)
    }

    pub(crate) fn take_tape(&mut self) -> Option<crate::choices::Tape> {
        self.choices.take_tape()
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A seed for one more node of the present process of `host`.
    pub(crate) fn seed_of(&mut self, host: u32) -> u64 {
        let machine = &mut self.machines[host as usize];
        machine.seeds += 1;
        let place =
            u64::from(host) << 48 | u64::from(machine.process) << 24 | u64::from(machine.seeds);
        mix(self.seed ^ mix(place))
    }

    /// A fault of this family did something.
    pub(crate) fn strike(&mut self, family: &'static str) {
        *self.strikes.entry(family).or_default() += 1;
    }

    /// Writes a payload into the trace, and numbers it. `frames` are those in a stretch of a
    /// stream.
    pub(crate) fn tell_send(
        &mut self,
        host: u32,
        peer: u32,
        way: Way,
        bytes: &[u8],
        frames: Vec<Frame>,
    ) -> u64 {
        self.payloads += 1;
        let id = self.payloads;
        self.trace.tell(self.now, host, || Told::Send {
            peer,
            id,
            way,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            digest: short_digest(bytes),
            says: if way == Way::Datagram { says(bytes) } else { words(&frames) },
            frames,
        });
        id
    }

    /// Has everybody woken in `wakers` run once the lock is free.
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    // ---- tasks ----

    /// The task that runs next, if any can.
    pub(crate) fn pick(&mut self) -> Option<Running> {
        for id in std::mem::take(&mut self.woken.tasks) {
            self.tasks.enqueue(id);
        }
        loop {
            let runs = |host| self.machines[host as usize].runs_at(self.now);
            let (host, waiting) = self.tasks.next_host(runs)?;
            let most = u32::try_from(waiting.min(PICKED_FROM_MAX) - 1).unwrap_or(0);
            let odds = Odds { per_million: SCHEDULE_ODDS, most };
            let place = if most > 0 { self.choose(Site::Schedule, host, 0, odds) } else { 0 };
            let Some(running) = self.tasks.begin(host, place as usize) else { continue };
            self.polls += 1;
            self.polls_at_once += 1;
            return Some(running);
        }
    }

    // ---- what happens ----

    /// Lets the next thing happen, if it is not after `until`; tasks that run without end see time
    /// pass meanwhile.
    pub(crate) fn happen(&mut self, until: u64) -> bool {
        let Some((at, what)) = self.queue.pop(until) else { return false };
        self.now = at.max(self.now);
        self.polls_at_once = 0;
        self.events += 1;
        match what {
            What::Datagram(datagram) => self.datagram_arrives(*datagram),
            What::Arrive { conn, pipe } => self.packets_arrive(conn, pipe),
            What::Timer(id) => self.timer_fires(id, at),
            What::Spurious(host) => self.wake_early(host),
            What::Readable { conn, end } => self.reads_again(conn, end),
            What::Step(step) => self.steps.push_back(step),
            What::UdpReadable(port) => self.udp_reads_again(port),
            What::GoesOn => {}
        }
        true
    }

    /// Whether tasks have run for so long at one instant that time has to go on.
    pub(crate) fn is_busy(&self) -> bool {
        self.polls_at_once > POLLS_AT_ONCE_MAX
    }

    /// Time goes on by a microsecond although tasks want to run.
    pub(crate) fn creep(&mut self, until: u64) {
        let to = (self.now + 1_000).min(until);
        let busy = self.polls_at_once;
        while self.happen(to) {}
        self.now = to.max(self.now);
        self.polls_at_once = busy;
    }

    // ---- timers ----

    pub(crate) fn new_timer(&mut self, host: Option<u32>) -> u64 {
        let id = self.next_id();
        let timing =
            Timing { host, deadline: Instant::FAR_FUTURE, queued_at: u64::MAX, waker: None };
        self.timers.insert(id, timing);
        id
    }

    pub(crate) fn reset_timer(&mut self, id: u64, deadline: Instant) {
        if let Some(timing) = self.timers.get_mut(&id) {
            timing.deadline = deadline;
            timing.waker = None;
            self.queue_timer(id);
        }
    }

    pub(crate) fn has_expired(&mut self, id: u64, waker: &Waker) -> bool {
        let Some(timing) = self.timers.get(&id) else { return false };
        let (host, deadline) = (timing.host, timing.deadline);
        if deadline != Instant::FAR_FUTURE && self.now_of(host).mono >= deadline {
            return true;
        }
        if let Some(timing) = self.timers.get_mut(&id) {
            timing.waker = Some(waker.clone());
        }
        false
    }

    /// Puts the timer's time into the queue, unless an earlier look at it is there already.
    fn queue_timer(&mut self, id: u64) {
        let Some(timing) = self.timers.get_mut(&id) else { return };
        let clock =
            timing.host.map_or(HostClock::right(), |host| self.machines[host as usize].clock);
        let at = clock.true_time(timing.deadline).max(self.now);
        if timing.deadline != Instant::FAR_FUTURE && at < timing.queued_at.min(NEVER) {
            timing.queued_at = at;
            self.queue.push(at, What::Timer(id));
        }
    }

    fn timer_fires(&mut self, id: u64, at: u64) {
        let Some(timing) = self.timers.get_mut(&id).filter(|timing| timing.queued_at == at) else {
            return;
        };
        timing.queued_at = u64::MAX;
        let (host, deadline) = (timing.host, timing.deadline);
        if deadline == Instant::FAR_FUTURE || self.now_of(host).mono < deadline {
            self.queue_timer(id);
        } else {
            let waker = self.timers.get_mut(&id).and_then(|timing| timing.waker.take());
            self.wake(waker);
        }
    }

    /// The clock of a machine runs at another rate: its timers come at other times.
    pub(crate) fn requeue_timers(&mut self, host: u32) {
        let of_host = self.timers.iter_mut().filter(|(_, timing)| timing.host == Some(host));
        let ids: Vec<u64> = of_host
            .map(|(&id, timing)| {
                timing.queued_at = u64::MAX;
                id
            })
            .collect();
        ids.into_iter().for_each(|id| self.queue_timer(id));
    }

    // ---- addresses ----

    /// The port that a socket of `host` gets at `wanted`, if that is an address of the machine;
    /// `None` is not.
    pub(crate) fn port_for(
        &mut self,
        host: u32,
        wanted: SocketAddr,
        is_taken: impl Fn(&Self, Port) -> bool,
    ) -> Option<u16> {
        let is_ours = wanted.ip().is_unspecified()
            || wanted.ip().is_loopback()
            || self.network.addresses.owner(wanted) == Some(host);
        if !is_ours {
            return None;
        }
        let mut port = wanted.port();
        while port == 0 {
            let machine = self.machine(host);
            let next = machine.next_port;
            machine.next_port = next.checked_add(1).unwrap_or(PORT_DYNAMIC_MIN);
            if !is_taken(self, (host, next)) {
                port = next;
            }
        }
        Some(port)
    }

    /// The machine that `to` is an address of, seen from `host`.
    pub(crate) fn host_at(&self, host: u32, to: SocketAddr) -> Option<u32> {
        if to.ip().is_loopback() || to.ip().is_unspecified() {
            return Some(host);
        }
        self.network.addresses.host_at(self.now, to)
    }

    /// Where others see a socket bound at `bound`, when it talks to `to`.
    pub(crate) fn source(&mut self, host: u32, bound: SocketAddr, to: SocketAddr) -> SocketAddr {
        if to.ip().is_loopback() {
            return SocketAddr::new(Ipv4Addr::LOCALHOST.into(), bound.port());
        }
        let book = &self.network.addresses;
        let home = if bound.ip().is_unspecified() { book.home(host, bound.port()) } else { bound };
        let (source, why) = book.source(self.now, host, home);
        if let Some(family) = why {
            self.strike(family);
        }
        source
    }

    // ---- processes ----

    /// Ends the process of `host`: its tasks, its sockets. With `is_told`, its machine tells those
    /// it was connected to; otherwise they find out when they send to it.
    pub(crate) fn kill(&mut self, host: u32, is_told: bool) {
        let machine = self.machine(host);
        machine.process += 1;
        machine.is_up = false;
        machine.stalled_until = 0;
        machine.unsent.clear();
        machine.unsent_len = 0;
        let killed = self.tasks.kill(host);
        self.trash.extend(killed);
        self.udp.retain(|port, _| port.0 != host);
        self.close_streams_of(host, is_told);
    }
}
