//! What the page of benchmarks shows of a [`Report`]: a table for each metric, with the sizes of
//! payloads for its columns.

use super::report::{Metric, Report, bytes};
use super::{CONNECTIONS, Kind, SIZES, in_flight};
use crate::table::{Better, Role, Table};

/// In the order of the page.
pub(super) fn of(report: &Report) -> Vec<Table> {
    let mut tables = calls();
    tables.extend(others());
    for (metric, factor, table) in &mut tables {
        for &kind in report.kinds() {
            for &size in report.sizes() {
                if let Some(values) = report.values(kind, *metric, size) {
                    let values = values.iter().map(|value| value * *factor).collect();
                    table.add(role(kind), name(kind), &bytes(size), values);
                }
            }
        }
    }
    tables.into_iter().map(|(_, _, table)| table).collect()
}

/// A metric, what its values are multiplied by, and its table.
type Shown = (Metric, f64, Table);

/// Latency, throughput and CPU.
fn calls() -> Vec<Shown> {
    let one = format!(
        "{} callers on one connection, fewer with the largest payload.",
        in_flight(SIZES[0], 1)
    );
    let four = format!(
        "The same on {CONNECTIONS} connections, each to a server of its own; the floor's four go \
            to one."
    );
    let alone = "One call at a time on one connection: the median call, and the one that 99 of a \
        hundred are faster than.";
    let first = format!("{HOW} {alone}");
    vec![
        (Metric::P50, 1.0, table("rpc-p50", "A call alone, median", "us", Better::Lower, &first)),
        (
            Metric::P99,
            1.0,
            table("rpc-p99", "A call alone, 99th of 100", "us", Better::Lower, alone),
        ),
        (
            Metric::OneCalls,
            1.0,
            table("rpc-one", "Calls on one connection", "calls a second", Better::Higher, &one),
        ),
        (
            Metric::OneCpu,
            1.0,
            table(
                "rpc-one-cpu",
                "CPU of a call on one connection",
                "us, both sides",
                Better::Lower,
                CPU,
            ),
        ),
        (
            Metric::FourCalls,
            1.0,
            table("rpc-four", "Calls on four connections", "calls a second", Better::Higher, &four),
        ),
        (
            Metric::FourCpu,
            1.0,
            table(
                "rpc-four-cpu",
                "CPU of a call on four connections",
                "us, both sides",
                Better::Lower,
                CPU,
            ),
        ),
    ]
}

/// What else a call costs, and what it costs others.
fn others() -> Vec<Shown> {
    let small = "A call of 32 bytes on a connection on which four callers send 1 MiB each, one \
        call after another.";
    vec![
        (
            Metric::Allocations,
            1.0,
            table(
                "rpc-allocations",
                "Allocations of a call",
                "allocations, both sides",
                Better::Lower,
                ALLOCATIONS,
            ),
        ),
        (
            Metric::BehindP50,
            1.0,
            table(
                "rpc-behind-p50",
                "A small call behind large ones, median",
                "us",
                Better::Lower,
                small,
            ),
        ),
        (
            Metric::BehindP99,
            1.0,
            table(
                "rpc-behind-p99",
                "A small call behind large ones, 99th of 100",
                "us",
                Better::Lower,
                small,
            ),
        ),
        (
            Metric::BehindCalls,
            1.0,
            table(
                "rpc-behind-calls",
                "The large ones meanwhile",
                "calls a second",
                Better::Higher,
                "How many of the large ones went in that time.",
            ),
        ),
        (Metric::Memory, 1e-6, table("rpc-memory", "Peak memory", "MB", Better::Lower, MEMORY)),
    ]
}

fn table(id: &str, title: &str, unit: &str, better: Better, about: &str) -> Table {
    Table::new(id, title, unit, better).about(about).base(name(Kind::Floor))
}

const HOW: &str = "An echo of so many bytes over loopback TCP, clients and servers in one process \
    on the two threads of one runtime. The floor is a hand-written, length-prefixed, multiplexed \
    echo on tokio; `pingpong` has one caller and no multiplexing. chinwag's rows: raw bytes; typed \
    messages with a `Bytes` field; the same with a `Vec<u8>`, which is copied; typed messages on \
    the other runtimes: smol has one thread unless told otherwise, async-std one for each core. \
    Peers carry the same typed message: datacake-rpc (rkyv over HTTP/2), tonic (gRPC), tarpc \
    (bincode).";

const CPU: &str =
    "User and system time of both sides, of the process, for each call of the table above.";

const ALLOCATIONS: &str = "Counted in a process of its own, after a warm-up, one call at a time.";

const MEMORY: &str = "The most memory that a process with both sides had, with up to 64 calls of \
    up to 1 MiB in flight.";

fn role(kind: Kind) -> Role {
    match kind {
        Kind::PingPong
        | Kind::PingPongSmol
        | Kind::PingPongSmol2
        | Kind::Floor
        | Kind::FloorCopy => Role::Floor,
        Kind::Typed => Role::Main,
        Kind::Raw
        | Kind::TypedVec
        | Kind::Encrypted
        | Kind::Smol
        | Kind::Smol2
        | Kind::AsyncStd => Role::Chinwag,
        #[cfg(feature = "peers")]
        Kind::Datacake | Kind::Tonic | Kind::Tarpc => Role::Peer,
    }
}

/// As the page has it.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::PingPong => "pingpong",
        Kind::PingPongSmol => "pingpong, smol",
        Kind::PingPongSmol2 => "pingpong, smol, 2 threads",
        Kind::Floor => "floor",
        Kind::FloorCopy => "floor, copying",
        Kind::Raw => "chinwag, raw",
        Kind::Typed => "chinwag",
        Kind::TypedVec => "chinwag, Vec",
        Kind::Encrypted => "chinwag, encrypted",
        Kind::Smol => "chinwag on smol",
        Kind::Smol2 => "chinwag on smol, 2 threads",
        Kind::AsyncStd => "chinwag on async-std",
        #[cfg(feature = "peers")]
        Kind::Datacake => "datacake-rpc",
        #[cfg(feature = "peers")]
        Kind::Tonic => "tonic",
        #[cfg(feature = "peers")]
        Kind::Tarpc => "tarpc",
    }
}
