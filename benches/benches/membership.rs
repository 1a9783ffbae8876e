//! `cargo bench -p chinwag-benches --features peers --bench membership [-- --quick] [--json FILE]`:
//! chinwag's membership beside that of other projects, which do the same work in rounds that take
//! turns: first one machine of each, to which everybody else is played, then clusters of them in
//! virtual time.

use std::cell::RefCell;
use std::hint::black_box;
use std::process::Command;
use std::time::Duration;

use chinwag_benches::args::Common;
use chinwag_benches::cluster::{self, Cluster, SECOND, Sent, Virtual};
use chinwag_benches::membership::{Machine, Make, UPDATES};
use chinwag_benches::table::{Better, Role, Table, figure};
use chinwag_benches::turns::{Entrant, Pace, cpu_time, measure, prepared};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Membership, beside other projects")]
struct Args {
    #[command(flatten)]
    common: Common,
}

fn main() {
    let Args { common } = Args::parse();
    let pace = common.pace();
    let members: &[u64] = if common.test { &[100] } else { &[100, 1_000, 10_000] };
    let nodes: &[u32] = match (common.test, common.quick) {
        (true, _) => &[8],
        (_, true) => &[32, 128],
        _ => &[32, 256, 1_000],
    };
    let mut tables = vec![
        update(
            "membership-known",
            "An update that says what is known",
            KNOWN,
            members,
            pace,
            false,
        ),
        update("membership-new", "An update that changes a record", NEW, members, pace, true),
        ping(members, pace),
        heap(members),
    ];
    tables.extend(clusters(nodes, if common.quick || common.test { 3 } else { 9 }));
    common.report(tables);
}

const KNOWN: &str = "One machine knows so many members, and one of them sends it datagrams of 20 \
    updates each, going through all members in turn, of which none says anything new: nearly all \
    that a cluster in health ever says. Nanoseconds an update, the datagram's decoding and the \
    polls after it included. The datagrams are in each project's own format. chitchat has no such \
    updates: its state travels as digests and deltas, and only its own tasks can handle them.";

const NEW: &str = "The same, but every update raises a member's incarnation, as a refutation does: \
    the record changes, and the news is queued to be passed on.";

/// A column of a table.
fn group(count: u64, of: &str) -> String {
    let count = if count < 1_000 { count.to_string() } else { figure(count as f64) };
    format!("{count} {of}")
}

/// Nanoseconds an update.
fn update(id: &str, title: &str, about: &str, members: &[u64], pace: Pace, is_new: bool) -> Table {
    let mut table =
        Table::new(id, title, "ns an update", Better::Lower).about(about).base("chinwag");
    for &members in members {
        let entrants = Make::EVERY.iter().map(|make| {
            let machine = make.start(members);
            if is_new { new(*make, machine, members) } else { known(*make, machine, members) }
        });
        measure(&mut table, &group(members, "members"), entrants.collect(), pace, UPDATES as f64);
    }
    table
}

fn known<'a>(make: Make, mut machine: Box<dyn Machine>, members: u64) -> Entrant<'a> {
    let datagrams = (0..members / UPDATES).map(|at| machine.updates(at * UPDATES, 0));
    let datagrams: Vec<Vec<u8>> = datagrams.collect();
    let mut at = 0;
    Entrant::new(make.role(), make.name(), move || {
        at = (at + 1) % datagrams.len();
        machine.hear(black_box(&datagrams[at]));
    })
}

fn new<'a>(make: Make, machine: Box<dyn Machine>, members: u64) -> Entrant<'a> {
    let machine = RefCell::new(machine);
    let mut next = members;
    Entrant::timed(make.role(), make.name(), move |count| {
        let prepare = || {
            let incarnation =
                u32::try_from(next / members).expect("a bench does not run for so long");
            let datagram = machine.borrow().updates(next % members, incarnation);
            next += UPDATES;
            datagram
        };
        prepared(count, prepare, |datagram| machine.borrow_mut().hear(black_box(datagram)))
    })
}

/// Nanoseconds from a ping to its answer.
fn ping(members: &[u64], pace: Pace) -> Table {
    let about = "The same machine is pinged and answers, with no news to pass on: half of what a \
        node does in an idle second.";
    let mut table = Table::new("membership-ping", "A ping, answered", "ns", Better::Lower);
    table = table.about(about).base("chinwag");
    for &members in members {
        let entrants = Make::EVERY.iter().map(|make| {
            let mut machine = make.start(members);
            let ping = machine.ping();
            Entrant::new(make.role(), make.name(), move || {
                black_box(machine.answer(black_box(&ping)));
            })
        });
        measure(&mut table, &group(members, "members"), entrants.collect(), pace, 1.0);
    }
    table
}

/// Heap bytes for each known member.
fn heap(members: &[u64]) -> Table {
    let about = "What a machine's heap grows by for each member that it comes to know, counted in \
        a process of its own. A member is what each \
        project knows of one: an address, an id or a name, a state, no metadata; foca's identity \
        is the address alone.";
    let mut table = Table::new("membership-heap", "Memory of a member", "bytes", Better::Lower);
    table = table.about(about).base("chinwag");
    for &members in members {
        for make in Make::EVERY {
            let child = env!("CARGO_BIN_EXE_membership-child");
            let output = Command::new(child).args([make.name(), &members.to_string()]).output();
            let output = output.expect("cargo has built it");
            let bytes = String::from_utf8_lossy(&output.stdout).trim().parse();
            let bytes = bytes
                .unwrap_or_else(|_| panic!("{child}: {}", String::from_utf8_lossy(&output.stderr)));
            table.add(make.role(), make.name(), &group(members, "members"), vec![bytes]);
        }
    }
    table
}

/// One whose clusters take part.
struct Kind {
    name: &'static str,
    role: Role,
    /// More would take minutes.
    nodes_max: u32,
    /// Seconds after which its news has been told, and as many in which its idle bytes are
    /// counted.
    settles_for: u64,
    start: fn(u32) -> Box<dyn Virtual>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "chinwag",
        role: Role::Main,
        nodes_max: u32::MAX,
        settles_for: 120,
        start: |nodes| Box::new(Cluster::<cluster::Chinwag>::new(nodes)),
    },
    #[cfg(feature = "peers")]
    Kind {
        name: "foca",
        role: Role::Peer,
        nodes_max: u32::MAX,
        settles_for: 120,
        start: |nodes| Box::new(Cluster::<cluster::Foca>::new(nodes)),
    },
    #[cfg(feature = "peers")]
    Kind {
        name: "kinship",
        role: Role::Peer,
        nodes_max: u32::MAX,
        settles_for: 120,
        start: |nodes| Box::new(Cluster::<cluster::Kinship>::new(nodes)),
    },
    #[cfg(feature = "peers")]
    Kind {
        name: "chitchat",
        role: Role::Peer,
        nodes_max: 256,
        // It says the same every second from the first.
        settles_for: 5,
        start: |nodes| Box::new(cluster::Chitchat::new(nodes, false)),
    },
    #[cfg(feature = "peers")]
    Kind {
        name: "chitchat, compressing",
        role: Role::Peer,
        nodes_max: 256,
        settles_for: 5,
        start: |nodes| Box::new(cluster::Chitchat::new(nodes, true)),
    },
];

/// Seconds of virtual time after which a cluster that still is not whole has no number.
const JOINS_FOR_MAX: u64 = 600;

const CLUSTERS: &str = "Clusters of each project's machines with its settings for a local network, \
    on one thread, in virtual time, with latencies of 250 to 500 us and no faults; the queue's own \
    work is included. chitchat gossips once a second; its machine cannot be had without its tasks, \
    which run on a tokio runtime whose time is virtual, over its own transport without sockets; \
    its newer format, which it does not use unless it is told to, compresses digests. ";

fn clusters(sizes: &[u32], rounds: usize) -> Vec<Table> {
    let table = |id: &str, title: &str, unit: &str, about: &str| {
        Table::new(id, title, unit, Better::Lower)
            .about(&format!("{CLUSTERS}{about}"))
            .base("chinwag")
    };
    let joins =
        "Nodes start a millisecond after one another; the first three are the seeds of all.";
    let mut tables = Joins {
        time: table(
            "join-time",
            "A join: until all see all",
            "seconds of virtual time",
            &format!(
                "{joins} Without a number: not whole after {JOINS_FOR_MAX} s. One run: another \
                    seed gives another number."
            ),
        ),
        bytes: table("join-bytes", "A join: bytes", "kB sent by each node", joins),
        cpu: table("join-cpu", "A join: CPU", "ms a node", joins),
    };
    let (settled, mut cpu, mut bytes, mut datagrams) = (
        "All see all and all news has been told.",
        table(
            "idle-cpu",
            "An idle second: CPU",
            "ns a node-second",
            "All see all and all news has been told.",
        ),
        table("idle-bytes", "An idle second: bytes", "bytes sent by each node a second", ""),
        table(
            "idle-datagrams",
            "An idle second: datagrams",
            "datagrams sent by each node a second",
            "",
        ),
    );
    bytes.about.push_str(settled);
    datagrams.about.push_str(settled);
    for &nodes in sizes {
        let group = group(u64::from(nodes), "nodes");
        let joined = join(&mut tables, nodes, if nodes < 1_000 { rounds.min(3) } else { 1 });
        let mut entrants = Vec::new();
        for (kind, mut cluster) in joined {
            cluster.run_for(kind.settles_for * SECOND);
            let before = cluster.sent();
            cluster.run_for(kind.settles_for * SECOND);
            let sent = cluster.sent().since(before);
            let node_seconds = (kind.settles_for * u64::from(nodes)) as f64;
            bytes.add(kind.role, kind.name, &group, vec![total(sent) / node_seconds]);
            datagrams.add(kind.role, kind.name, &group, vec![sent.datagrams as f64 / node_seconds]);
            entrants.push(Entrant::new(kind.role, kind.name, move || cluster.run_for(SECOND)));
        }
        // Long enough for several seconds of everybody's virtual time.
        let pace = Pace { rounds, time: Duration::from_millis(100) };
        measure(&mut cpu, &group, entrants, pace, f64::from(nodes));
    }
    vec![cpu, bytes, datagrams, tables.time, tables.bytes, tables.cpu]
}

struct Joins {
    time: Table,
    bytes: Table,
    cpu: Table,
}

/// Lets clusters of each kind join, in turns; gives those that became whole.
fn join(tables: &mut Joins, nodes: u32, rounds: usize) -> Vec<(&'static Kind, Box<dyn Virtual>)> {
    let group = group(u64::from(nodes), "nodes");
    let mut cpu = vec![Vec::new(); KINDS.len()];
    let mut last = Vec::new();
    for _ in 0..rounds {
        last.clear();
        for (kind, cpu) in KINDS.iter().zip(&mut cpu).filter(|(kind, _)| nodes <= kind.nodes_max) {
            let mut cluster = (kind.start)(nodes);
            let mut took = Duration::ZERO;
            while !cluster.is_converged() && cluster.now() < JOINS_FOR_MAX * SECOND {
                let begun = cpu_time();
                cluster.run_for(SECOND / 10);
                took += cpu_time() - begun;
            }
            if cluster.is_converged() {
                cpu.push(took.as_secs_f64() * 1e3 / f64::from(nodes));
                last.push((kind, cluster));
            }
        }
    }
    for (kind, cpu) in KINDS.iter().zip(cpu) {
        tables.cpu.add(kind.role, kind.name, &group, cpu);
    }
    for (kind, cluster) in &last {
        let seconds = cluster.now() as f64 / SECOND as f64;
        tables.time.add(kind.role, kind.name, &group, vec![seconds]);
        let bytes = total(cluster.sent()) / 1e3 / f64::from(nodes);
        tables.bytes.add(kind.role, kind.name, &group, vec![bytes]);
    }
    last
}

/// All bytes of it.
fn total(sent: Sent) -> f64 {
    (sent.datagram_bytes + sent.stream_bytes) as f64
}
