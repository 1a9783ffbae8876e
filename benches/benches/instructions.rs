//! `cargo bench -p chinwag-benches [--features peers] --bench instructions [-- --json FILE]`: how
//! many instructions single cases take, counted by valgrind's callgrind: the figures that are the
//! same on a busy machine, and from one run to the next.
//!
//! It runs itself under valgrind twice for each case, with a small count of iterations and a larger
//! one, and divides the difference: what starts a process and prepares a case drops out. (gungraun
//! does more, but takes a second program, installed in exactly its version.)

use std::hint::black_box;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

use chinwag_benches::args::Common;
use chinwag_benches::machines::rpc::{NOW, Pair, body, receive, request};
use chinwag_benches::membership::{Make, UPDATES};
use chinwag_benches::table::{Better, Role, Table};
use chinwag_core::clock::{DRIFT_MAX_DEFAULT, Hlc, SharedHlc};
use chinwag_core::id::NodeId;
use chinwag_core::select::{Consistency, NodeSelector, Picks, Spread, Topology};
use clap::Parser;

#[derive(Parser)]
#[command(
    about = "Instructions of single cases, counted by callgrind; --quick makes no difference, \
        --test counts one case"
)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// Runs one case, so many times: what this program asks of itself
    #[arg(long, hide = true, num_args = 2)]
    case: Option<Vec<u64>>,
}

/// Members that a machine knows.
const MEMBERS: u64 = 1_000;
/// Iterations of the two runs.
const COUNTS: [u64; 2] = [50, 250];

/// What is counted.
struct Case {
    group: String,
    name: String,
    role: Role,
    /// Whether it stands beside peers.
    is_compared: bool,
    /// What is to be divided by: updates in a datagram, calls in a batch.
    by: u64,
    run: Box<dyn Fn(u64)>,
}

#[expect(clippy::print_stdout, reason = "a bench prints what it found")]
fn main() -> ExitCode {
    let args = Args::parse();
    let mut cases = cases();
    if let Some([case, count]) = args.case.as_deref() {
        (cases[usize::try_from(*case).expect("few")].run)(*count);
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("instructions: valgrind is not installed, so nothing is counted");
        return ExitCode::SUCCESS;
    }
    if args.common.test {
        cases.truncate(1);
    }
    let mut compared = Table::new(
        "instructions-membership",
        "Instructions of a membership machine",
        "instructions",
        Better::Lower,
    );
    compared = compared.about(COMPARED).base("chinwag");
    let mut core = Table::new(
        "instructions-core",
        "Instructions of chinwag's hot paths",
        "instructions",
        Better::Lower,
    );
    core = core.about(CORE);
    for (at, case) in cases.iter().enumerate() {
        let table = if case.is_compared { &mut compared } else { &mut core };
        table.add(case.role, &case.name, &case.group, vec![count(at) / case.by as f64]);
    }
    args.common.report(vec![compared, core]);
    ExitCode::SUCCESS
}

const COMPARED: &str = "What a machine that knows 1,000 members executes, counted by callgrind: \
    the same on every run, whatever else the machine does. The cases are those of the tables of \
    nanoseconds above.";

const CORE: &str = "Counted by callgrind. A frame is counted without its socket, a call with both \
    machines in batches of 64, a selection from 1,000 members in ten data centres, a stamp with \
    the time given.";

/// Instructions of an iteration.
fn count(case: usize) -> f64 {
    let [few, many] = COUNTS.map(|count| total(case, count));
    (many - few) as f64 / (COUNTS[1] - COUNTS[0]) as f64
}

/// Instructions of a whole run.
fn total(case: usize, count: u64) -> u64 {
    let program = env::current_exe().expect("a program that runs");
    let out =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{}", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-line=no", "--dump-instr=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["--case", &case.to_string(), &count.to_string()])
        .output()
        .expect("valgrind has just told its version");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let counted = fs::read_to_string(&out).expect("callgrind has written it");
    let _ = fs::remove_file(&out);
    let totals = counted.lines().find_map(|line| line.strip_prefix("totals: "));
    totals
        .and_then(|total| total.trim().parse().ok())
        .unwrap_or_else(|| panic!("no totals: {said}"))
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Make::EVERY.iter().flat_map(|make| membership(*make)).collect();
    cases.extend([
        alone("stamp, one owner", 1, |count| {
            let mut clock = Hlc::new(DRIFT_MAX_DEFAULT);
            (0..count).for_each(|_| {
                _ = black_box(clock.tick(black_box(NOW.wall)));
            });
        }),
        alone("stamp, shared", 1, |count| {
            let clock = SharedHlc::new(DRIFT_MAX_DEFAULT);
            (0..count).for_each(|_| {
                _ = black_box(clock.tick(black_box(NOW.wall)));
            });
        }),
        alone("1,000 stamps reserved", 1, |count| {
            let clock = SharedHlc::new(DRIFT_MAX_DEFAULT);
            let thousand = NonZeroU32::new(1_000).expect("not zero");
            (0..count).for_each(|_| {
                _ = black_box(clock.reserve(black_box(NOW.wall), thousand));
            });
        }),
    ]);
    for size in [32, 1_024] {
        cases.push(alone(&format!("frame out, {size} bytes"), 1, move |count| {
            frames_out(size, count);
        }));
        cases.push(alone(&format!("frame in, {size} bytes"), 1, move |count| {
            frames_in(size, count);
        }));
    }
    cases.push(alone("call, both machines", 64, |count| {
        let (mut pair, body) = (Pair::open(), body(32));
        (0..count).for_each(|_| pair.calls(64, &body));
    }));
    cases.push(alone("select one", 1, |count| select(Consistency::One, count)));
    cases.push(alone("select three", 1, |count| select(Consistency::Three, count)));
    cases
}

/// A case of chinwag alone.
fn alone(group: &str, by: u64, run: impl Fn(u64) + 'static) -> Case {
    let (group, name) = (group.into(), "chinwag".into());
    Case { group, name, role: Role::Main, is_compared: false, by, run: Box::new(run) }
}

fn membership(make: Make) -> [Case; 3] {
    let case = |group: &str, by, run: fn(Make, u64)| Case {
        group: group.into(),
        name: make.name().into(),
        role: make.role(),
        is_compared: true,
        by,
        run: Box::new(move |count| run(make, count)),
    };
    [
        case("update, known", UPDATES, |make, count| updates(make, count, false)),
        case("update, new", UPDATES, |make, count| updates(make, count, true)),
        case("ping, answered", 1, |make, count| {
            let mut machine = make.start(MEMBERS);
            let ping = machine.ping();
            (0..count).for_each(|_| {
                _ = black_box(machine.answer(black_box(&ping)));
            });
        }),
    ]
}

/// Of every member in turn; both runs prepare as many datagrams.
fn updates(make: Make, count: u64, is_new: bool) {
    let mut machine = make.start(MEMBERS);
    let [.., most] = COUNTS;
    let datagrams: Vec<Vec<u8>> = (0..most)
        .map(|at| {
            let round = u32::try_from(at * UPDATES / MEMBERS).expect("few");
            machine.updates(at * UPDATES % MEMBERS, if is_new { 1 + round } else { 0 })
        })
        .collect();
    let count = usize::try_from(count).expect("few");
    datagrams.iter().take(count).for_each(|datagram| machine.hear(black_box(datagram)));
}

fn frames_out(size: u64, count: u64) {
    let (mut pair, body) = (Pair::open(), body(size));
    for _ in 0..count {
        pair.out.clear();
        pair.dialer.one_way(NOW, request(&body)).expect("there is room");
        black_box(pair.dialer.poll_transmit(NOW, &mut pair.out));
    }
}

fn frames_in(size: u64, count: u64) {
    let (mut pair, body) = (Pair::open(), body(size));
    // The second frame, since the first brings the method's name along.
    pair.one_way(&body);
    let frame = pair.one_way(&body);
    for _ in 0..count {
        receive(&mut pair.acceptor, &mut pair.acceptor_reads, black_box(&frame));
        black_box(pair.acceptor.poll_event());
    }
}

fn select(level: Consistency, count: u64) {
    const DATA_CENTERS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let members = (1..=MEMBERS).zip(DATA_CENTERS.into_iter().cycle());
    let on = Topology::new(1, NodeId::new(1), "a", members.map(|(id, dc)| (NodeId::new(id), dc)));
    let mut picks = Picks::new();
    for _ in 0..count {
        black_box(Spread.select(black_box(&on), black_box(level), &mut picks))
            .expect("there are enough");
        black_box(&picks);
    }
}
