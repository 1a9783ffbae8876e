//! `cargo bench -p chinwag-benches --bench core [-- --json FILE]`: what the machines of core cost,
//! a module to a group. Criterion's own arguments apply.

#[path = "core/membership.rs"]
mod membership;
#[path = "core/rpc.rs"]
mod rpc;
#[path = "core/summary.rs"]
mod summary;

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Where the figures are written, for the process that measures: criterion takes no arguments but
/// its own.
const JSON: &str = "CHINWAG_BENCH_JSON";

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == "--json") {
        let named: Vec<String> = args.drain(at..args.len().min(at + 2)).collect();
        let program = env::current_exe().expect("a program that runs");
        let file = named.get(1).expect("--json FILE");
        let status = Command::new(program).args(args).env(JSON, file).status();
        return if status.is_ok_and(|status| status.success()) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let (mut summary, mut criterion) = summary::Summary::with_criterion();
    clock::benches(&mut criterion, &mut summary);
    select::benches(&mut criterion, &mut summary);
    membership::benches(&mut criterion, &mut summary);
    rpc::benches(&mut criterion, &mut summary);
    criterion.final_summary();
    summary.print();
    if let Some(file) = env::var_os(JSON) {
        summary.tables().write(Path::new(&file)).expect("a file that can be written");
    }
    ExitCode::SUCCESS
}

/// Nanoseconds per stamp with given time, beside the floor: a bare atomic addition.
mod clock {
    use std::hint::black_box;
    use std::num::NonZeroU32;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc, Timestamp};
    use chinwag_core::time::WallTime;
    use criterion::Criterion;

    use crate::summary::Summary;

    /// A day in 2026.
    const TODAY: WallTime = WallTime::from_nanos(1_790_000_000_000_000_000);

    pub(super) fn benches(c: &mut Criterion, summary: &mut Summary) {
        let mut group = c.benchmark_group("clock");
        let floor = AtomicU64::new(0);
        group.bench_function("floor: AtomicU64 fetch_add", |b| {
            b.iter(|| floor.fetch_add(black_box(1), Relaxed));
        });
        let clock = SharedHlc::new(DRIFT_MAX_DEFAULT);
        group.bench_function("tick, given time", |b| b.iter(|| clock.tick(black_box(TODAY))));
        let clock = SharedHlc::new(DRIFT_MAX_DEFAULT);
        let mut nanos = TODAY.as_nanos();
        group.bench_function("tick, time moves 1 us each", |b| {
            b.iter(|| {
                nanos += 1_000;
                clock.tick(black_box(WallTime::from_nanos(nanos)))
            });
        });
        let clock = SharedHlc::new(DRIFT_MAX_DEFAULT);
        let thousand = NonZeroU32::new(1_000).unwrap_or(NonZeroU32::MIN);
        group.bench_function("reserve 1,000", |b| {
            b.iter(|| clock.reserve(black_box(TODAY), thousand));
        });
        let clock = SharedHlc::new(DRIFT_MAX_DEFAULT);
        clock.tick(TODAY);
        group.bench_function("observe, old stamp", |b| {
            b.iter(|| clock.observe(black_box(TODAY), black_box(Timestamp::default())));
        });
        let mut remote = Timestamp::at(TODAY).get();
        group.bench_function("observe, new stamp", |b| {
            b.iter(|| {
                remote += 1;
                clock.observe(
                    Timestamp::from_raw(remote).wall(),
                    black_box(Timestamp::from_raw(remote)),
                )
            });
        });
        group.finish();
        summary.measured_plain(
            "ns per bare atomic add",
            "clock",
            "floor_ AtomicU64 fetch_add",
            None,
        );
        summary.measured_plain("ns per stamp, given time", "clock", "tick, given time", Some(3.0));
    }
}

/// Nanoseconds per selection at 1,000 members in 10 data centres, into picks that are used again.
mod select {
    use std::hint::black_box;

    use chinwag_core::id::NodeId;
    use chinwag_core::select::{
        Consistency, LocalFirst, NodeSelector, Picks, PowerOfTwo, Rendezvous, Spread, Topology,
    };
    use criterion::Criterion;

    use crate::summary::{Shown, Summary};

    const DATA_CENTERS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

    pub(super) fn benches(c: &mut Criterion, summary: &mut Summary) {
        let members = (1..=1_000).zip(DATA_CENTERS.into_iter().cycle());
        let on =
            Topology::new(1, NodeId::new(1), "a", members.map(|(id, dc)| (NodeId::new(id), dc)));
        let mut group = c.benchmark_group("select");
        let mut picks = Picks::with_capacity(on.len());
        let mut run = |name: &str, selector: &dyn NodeSelector, level: Consistency| {
            // What fits goes to fresh inline picks, the rest to picks with room, so that nothing
            // allocates.
            let mut inline = Picks::new();
            let out = if level.required(&on) <= chinwag_core::select::PICKS_INLINE {
                &mut inline
            } else {
                &mut picks
            };
            group.bench_function(format!("{name} {level:?}"), |b| {
                b.iter(|| {
                    // Not the result itself: criterion would copy it, which costs as much as the
                    // selection.
                    let is_found =
                        black_box(selector).select(black_box(&on), black_box(level), out).is_ok();
                    black_box(&*out);
                    is_found
                });
            });
            let aim = match level {
                Consistency::One => Some(10.0),
                Consistency::Three => Some(25.0),
                _ => None,
            };
            let id = format!("{name} {level:?}");
            let aim = aim.filter(|_| name == "Spread");
            summary.measured_plain(&format!("ns per selection, {id}"), "select", &id, aim);
            summary.shown(Shown::Select, name, &format!("{level:?}"));
        };
        for level in Consistency::EVERY {
            run("Spread", &Spread, level);
        }
        let (two, key) = (PowerOfTwo::new(1), Rendezvous::new(b"key"));
        for level in [Consistency::One, Consistency::Three] {
            run("LocalFirst", &LocalFirst, level);
            run("PowerOfTwo", &two, level);
            run("Rendezvous", &key, level);
        }
        group.finish();
    }
}
