//! `cargo bench -p chinwag-benches --features peers --bench sim [-- --quick]`: how fast virtual
//! clusters run in steady state, chinwag without oracles, chinwag with them, and foca on a bare
//! event queue, in rounds that take turns, so that a busy machine hurts all alike.
//!
//! `-- --json FILE` writes the figures down, `-- --test` only shows whether it runs.
//!
//! `-- join [NODES]` instead lets so many nodes (10,000) join one cluster, and tells, once a
//! virtual second and at the end, how many pairs do not see each other yet, how long it took, and
//! the memory.
//!
//! An event is an input that a machine handles: a datagram, a stream payload, a timer. A machine
//! with more timers has more of them for the same work, so the figure to compare is node-seconds:
//! seconds of virtual time, times nodes, a second of real time.
#![expect(clippy::print_stdout, reason = "a bench speaks to its user")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is where time is measured"
)]

use std::time::{Duration, Instant};

#[cfg(feature = "peers")]
use chinwag_benches::cluster::{self, Foca, Virtual};
use chinwag_benches::table::{Better, Role, Table, Tables};
use chinwag_core::membership::Config;
use chinwag_sim::choices::Seeded;
use chinwag_sim::fault::Plan;
use chinwag_sim::world::{Setup, World};

const SECOND: u64 = 1_000_000_000;
/// Between one node's start and the next's.
const START_EVERY: u64 = 1_000_000;
/// After all see all, rumours die down and exchanges grow rare for so long.
const SETTLES_FOR: u64 = 120 * SECOND;

const ABOUT: &str = "How many seconds of one node's life a second of real time simulates, on one \
    core, once all see all and rumours have died down. chinwag runs in its simulator: every output \
    hashed, faults decided; with oracles, every view is judged as well. foca's machines run on a \
    bare event queue, without either.";

/// A cluster that can be run on.
trait Cluster {
    /// Runs this much virtual time; gives the events handled.
    fn run_for(&mut self, nanos: u64) -> u64;
}

struct Chinwag(World);

impl Chinwag {
    fn new(nodes: usize, checks: bool) -> Self {
        Self(World::new(setup(nodes, checks), Plan::default(), 1, Box::new(Seeded::new(1))))
    }

    /// Runs until all have started and all see all, and shows the world once a virtual second;
    /// gives the virtual time.
    fn converge(&mut self, nodes: usize, mut show: impl FnMut(&World)) -> u64 {
        // A world in which nobody has started yet disagrees about nothing.
        let all_started = START_EVERY * nodes as u64;
        let pairs = nodes as u64 * (nodes as u64 - 1);
        loop {
            self.run_for(SECOND / 10);
            let now = self.0.now();
            if now.is_multiple_of(SECOND) {
                show(&self.0);
            }
            // Counted first: to compare every pair of ten thousand nodes takes longer than to
            // simulate the tenth of a second.
            if now >= all_started && self.0.sights() == pairs && self.0.unconverged().is_none() {
                return now;
            }
        }
    }
}

#[cfg(feature = "peers")]
impl Cluster for cluster::Cluster<Foca> {
    fn run_for(&mut self, nanos: u64) -> u64 {
        self.events(nanos)
    }
}

impl Cluster for Chinwag {
    fn run_for(&mut self, nanos: u64) -> u64 {
        let before = self.0.tally().events;
        self.0.run_until(self.0.now() + nanos).expect("a calm network violates nothing");
        self.0.tally().events - before
    }
}

fn setup(nodes: usize, checks: bool) -> Setup {
    Setup { nodes, config: Config::lan(), start_every: START_EVERY, checks, ..Setup::default() }
}

struct Entrant {
    name: &'static str,
    role: Role,
    cluster: Box<dyn Cluster>,
    /// Node-seconds and events a second of real time, a round each.
    rounds: Vec<(f64, f64)>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "join") {
        let nodes = args
            .get(1)
            .and_then(|nodes| nodes.parse().ok())
            .filter(|&nodes| nodes > 0)
            .unwrap_or(10_000);
        return join(nodes);
    }
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let mut table =
        Table::new("sim", "Steady state in virtual time", "node-seconds a second", Better::Higher);
    table = table.about(ABOUT).base("chinwag");
    println!(
        "{:>6}  {:<24} {:>14} {:>12} {:>10} {:>10}",
        "nodes", "", "node-s/s", "events/s", "real time", "ratio"
    );
    for nodes in if has("--test") { &[5][..] } else { &[5, 50, 1_000] } {
        steady(*nodes, has("--quick") || has("--test"), &mut table);
    }
    if let Some(path) = args.iter().skip_while(|arg| *arg != "--json").nth(1) {
        Tables { tables: vec![table] }.write(path.as_ref()).expect("a file that can be written");
    }
}

/// Steady state at one size.
fn steady(nodes: usize, is_quick: bool, table: &mut Table) {
    let mut entrants = Vec::new();
    let worlds = [("chinwag", Role::Main, false), ("chinwag, oracles", Role::Chinwag, true)];
    for (name, role, checks) in worlds {
        let mut chinwag = Chinwag::new(nodes, checks);
        chinwag.converge(nodes, |_| {});
        chinwag.run_for(SETTLES_FOR);
        entrants.push(Entrant { name, role, cluster: Box::new(chinwag), rounds: Vec::new() });
    }
    #[cfg(feature = "peers")]
    {
        let mut foca = cluster::Cluster::<Foca>::new(u32::try_from(nodes).expect("few"));
        // Feeds are told apart by no digest, so who has missed somebody asks again in 30 s.
        while !foca.is_converged() {
            foca.events(SECOND);
        }
        foca.events(SETTLES_FOR);
        entrants.push(Entrant {
            name: "foca",
            role: Role::Peer,
            cluster: Box::new(foca),
            rounds: Vec::new(),
        });
    }
    let (rounds, node_seconds) = if is_quick { (3, 20_000) } else { (11, 200_000) };
    let span = node_seconds * SECOND / nodes as u64;
    for _ in 0..rounds {
        for entrant in &mut entrants {
            let began = Instant::now();
            let events = entrant.cluster.run_for(span);
            let took = began.elapsed().as_secs_f64();
            entrant.rounds.push((real(node_seconds) / took, real(events) / took));
        }
    }
    for entrant in &entrants {
        let speeds = entrant.rounds.iter().map(|round| round.0).collect();
        table.add(entrant.role, entrant.name, &format!("{nodes} nodes"), speeds);
    }
    let last =
        entrants.last_mut().map_or(1.0, |entrant| median(&mut entrant.rounds, |round| round.0));
    for entrant in &mut entrants {
        let speed = median(&mut entrant.rounds, |round| round.0);
        let events = median(&mut entrant.rounds, |round| round.1);
        println!(
            "{nodes:>6}  {:<24} {speed:>14.0} {events:>12.0} {:>9.0}x {:>10.2}",
            entrant.name,
            speed / real(nodes as u64),
            speed / last
        );
    }
}

fn join(nodes: usize) {
    let began = Instant::now();
    let mut chinwag = Chinwag::new(nodes, false);
    let pairs = nodes as u64 * (nodes as u64 - 1);
    let converged = chinwag.converge(nodes, |world| {
        let tally = world.tally();
        println!(
            "{:>4.0} s: {:>9} of {pairs} pairs apart; {:.1} s real, {} events, {} MB sent, {} of \
                memory",
            Duration::from_nanos(world.now()).as_secs_f64(),
            pairs - world.sights(),
            began.elapsed().as_secs_f64(),
            tally.events,
            (tally.datagram_bytes + tally.stream_bytes) / 1_000_000,
            memory("VmRSS:"),
        );
    });
    let took = began.elapsed();
    let tally = chinwag.0.tally();
    println!(
        "{nodes} nodes, one started a millisecond: all see all after {:.1} s, simulated in {:.1} \
            s with {} events",
        Duration::from_nanos(converged).as_secs_f64(),
        took.as_secs_f64(),
        tally.events
    );
    println!(
        "sent by each: {:.0} datagrams, {:.0} KB; at most {} of memory",
        per(tally.datagrams, nodes),
        per(tally.datagram_bytes + tally.stream_bytes, nodes) / 1e3,
        memory("VmHWM:")
    );
}

/// The memory that this process uses (`VmRSS:`), or has used at most (`VmHWM:`), as Linux tells it.
fn memory(which: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(which));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}

fn median(rounds: &mut [(f64, f64)], pick: fn(&(f64, f64)) -> f64) -> f64 {
    rounds.sort_by(|a, b| pick(a).total_cmp(&pick(b)));
    rounds.get(rounds.len() / 2).map_or(0.0, pick)
}

fn per(sum: u64, nodes: usize) -> f64 {
    real(sum) / real(nodes as u64)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn real(count: u64) -> f64 {
    count as f64
}
