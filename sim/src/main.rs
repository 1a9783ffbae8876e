//! `chinwag-sim`: virtual clusters from the command line. `docs/simulation.md` shows it at work.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to its user")]

#[path = "main/exhaustive.rs"]
mod exhaustive;
#[path = "main/families.rs"]
mod families;
#[path = "main/lifeguard.rs"]
mod lifeguard;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chinwag_sim::args;
use chinwag_sim::case::{self, Case};
use chinwag_sim::explore::{Search, search};
use chinwag_sim::fault::{Fault, Plan, Quality, Timed};
use chinwag_sim::progress::Progress;
use chinwag_sim::repeat::Twice;
use chinwag_sim::run::{Faults, Level, Outcome, Scenario, run};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};

/// Runs chinwag's membership in virtual clusters: deterministic, faulty on purpose, checked at
/// every step.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One cluster, with the faults that you name
    Run(RunArgs),
    /// Many seeds; ends with 1 at the first that violates an invariant, made small
    Explore(ExploreArgs),
    /// One run again, from the token that a failure printed
    Replay(ReplayArgs),
    /// Every order of deliveries, timeouts, a crash and a restart of two or three nodes, to a
    /// bounded depth; or of all that two connections may do
    Exhaustive(exhaustive::ExhaustiveArgs),
    /// The published experiment with slow members: SWIM, each part of Lifeguard alone, Lifeguard,
    /// and chinwag as shipped
    Lifeguard(lifeguard::LifeguardArgs),
    /// The families of faults, in how many seeds each struck at either level, and the oracles that
    /// watch them, as a table in Markdown
    Families(families::FamiliesArgs),
}

#[derive(Clone, Copy, ValueEnum)]
enum Detector {
    /// The paper of 2002, with a suspicion of fixed length
    Swim,
    /// With all of Lifeguard: what ships
    Lifeguard,
}

#[derive(Clone, Copy, ValueEnum)]
enum Depth {
    Protocol,
    Node,
}

impl From<Depth> for Level {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Protocol => Self::Protocol,
            Depth::Node => Self::Node,
        }
    }
}

#[derive(Args)]
struct RunArgs {
    /// protocol: machines and nothing else; node: the driver that ships, under a workload of calls
    #[arg(long, value_enum, default_value = "protocol")]
    level: Depth,
    /// Nodes in the cluster
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    nodes: u32,
    /// Decides everything that is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Virtual time
    #[arg(long = "for", default_value = "60s", value_parser = args::span)]
    span: Duration,
    /// local, lan or wan
    #[arg(long, default_value = "lan", value_parser = args::PRESETS)]
    preset: String,
    /// Share of datagrams lost, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Nodes that crash, by index from 0: 3@30s, 10-19@30s; 3@30s+5s comes back
    #[arg(long, value_name = "NODES@T[+D]")]
    crash: Vec<String>,
    /// Nodes that stand still: 3@30s+5s
    #[arg(long, value_name = "NODES@T+D")]
    pause: Vec<String>,
    /// Groups that do not reach each other: 0,1|2-4@30s+20s
    #[arg(long, value_name = "A|B@T+D")]
    partition: Vec<String>,
    /// Failure detector
    #[arg(long, value_enum, default_value = "lifeguard")]
    detector: Detector,
    /// A plan of faults, as JSON, on top of those named here
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Does not check the invariants: for measuring
    #[arg(long)]
    unchecked: bool,
    #[command(flatten)]
    keep: KeepArgs,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct KeepArgs {
    /// Writes what happened, one JSON object a line
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Writes what happened as one HTML page
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
}

impl KeepArgs {
    const fn is_wanted(&self) -> bool {
        self.trace.is_some() || self.timeline.is_some()
    }

    fn keep(&self, scenario: &Scenario, outcome: &Outcome) -> Result<(), String> {
        if let Some(path) = &self.trace {
            case::write_trace(&outcome.trace, path).map_err(|error| told(path, &error))?;
        }
        if let Some(path) = &self.timeline {
            let heading = case::heading(scenario, None);
            case::write_timeline(&heading, &outcome.trace, path)
                .map_err(|error| told(path, &error))?;
        }
        Ok(())
    }
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[derive(Args)]
struct ExploreArgs {
    /// Seeds: A..B
    #[arg(long, default_value = "0..100", value_parser = seeds)]
    seeds: Range<u64>,
    /// Nodes in each cluster
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    nodes: u32,
    /// Virtual time with faults; a calm phase follows
    #[arg(long = "for", default_value = "60s", value_parser = args::span)]
    span: Duration,
    /// swarm or odd (drawn per seed), mild (drawn per seed, and nothing is excused), none, or a
    /// file with a plan as JSON
    #[arg(long, default_value = "swarm")]
    faults: String,
    /// Runs every seed twice, and not one in 16 only, to see that both runs are the same
    #[arg(long, env = "SIM_TWICE", value_parser = ["all"], value_name = "all")]
    twice: Option<String>,
    /// local, lan or wan
    #[arg(long, default_value = "lan", value_parser = args::PRESETS)]
    preset: String,
    /// protocol: machines and nothing else; node: the driver that ships, under a workload of calls
    #[arg(long, value_enum, default_value = "protocol")]
    level: Depth,
    /// Threads; one world each
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Goes on until so many seeds have failed
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Where a failing seed leaves its tape, trace and timeline, each in a folder of its own
    #[arg(long, value_name = "FOLDER", default_value = "target/sim")]
    out: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ReplayArgs {
    /// A tape that a failure left, or a token such as v1.lan.5.42.60000.all
    what: String,
    /// Lines of what happened to show, the last ones
    #[arg(long, default_value_t = 60)]
    lines: usize,
    #[command(flatten)]
    keep: KeepArgs,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("`{text}` are not seeds such as 0..1000");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let range = first.parse().map_err(|_| wrong())?..end.parse().map_err(|_| wrong())?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run_command(&args),
        Command::Explore(args) => explore_command(&args),
        Command::Replay(args) => replay_command(&args),
        Command::Exhaustive(args) => Ok(exhaustive::command(&args)),
        Command::Lifeguard(args) => Ok(lifeguard::command(&args)),
        Command::Families(args) => Ok(families::command(&args)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(complaint) => {
            eprintln!("chinwag-sim: {complaint}");
            ExitCode::from(2)
        }
    }
}

fn run_command(args: &RunArgs) -> Result<bool, String> {
    let nodes = args.nodes as usize;
    let config = args::preset(&args.preset).ok_or("no such preset")?;
    let scenario = Scenario {
        level: args.level.into(),
        nodes,
        seed: args.seed,
        span: chinwag_sim::clock::nanos(args.span),
        config: match args.detector {
            Detector::Swim => config.without_lifeguard(),
            Detector::Lifeguard => config,
        },
        faults: Faults::These(plan_of(args, nodes)?),
        calms: false,
        checks: !args.unchecked,
        traces: args.keep.is_wanted(),
        ..Scenario::default()
    };
    let (outcome, wall_s) = timed(|| run(&scenario));
    args.keep.keep(&scenario, &outcome)?;
    show(&scenario, &outcome, wall_s, args.json);
    Ok(outcome.failure.is_none())
}

fn plan_of(args: &RunArgs, nodes: usize) -> Result<Plan, String> {
    let mut faults = match &args.faults {
        Some(path) => read_plan(path, nodes)?.faults,
        None => Vec::new(),
    };
    for text in &args.crash {
        let crash = |node| Fault::Crash { node, moves: false, keeps_clock: false };
        faults.extend(args::stops(text, nodes, crash)?);
    }
    for text in &args.pause {
        faults.extend(args::stops(text, nodes, Fault::FullPause)?);
    }
    for text in &args.partition {
        faults.push(args::partition(text, nodes)?);
    }
    if !(0.0..=1.0).contains(&args.loss) {
        return Err("--loss is a share, 0 to 1".into());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a million"
    )]
    let loss = (args.loss * 1_000_000.0) as u32;
    if loss > 0 {
        let quality = Quality { loss, ..Quality::default() };
        faults.push(Timed {
            at: 0,
            until: u64::MAX,
            fault: Fault::Link { from: vec![], to: vec![], quality },
        });
    }
    Ok(Plan { faults })
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| told(path, &error))
}

fn read_plan(path: &Path, nodes: usize) -> Result<Plan, String> {
    Plan::parse(&read(path)?, nodes).map_err(|wrong| format!("{}: {wrong}", path.display()))
}

fn explore_command(args: &ExploreArgs) -> Result<bool, String> {
    let nodes = args.nodes as usize;
    let faults = match args.faults.as_str() {
        "swarm" => Faults::Swarm(None),
        "odd" => Faults::Odd(None),
        "mild" => Faults::Mild,
        "none" => Faults::Swarm(Some(Vec::new())),
        path => Faults::These(read_plan(Path::new(path), nodes)?),
    };
    let scenario = Scenario {
        level: args.level.into(),
        nodes,
        seed: args.seeds.start,
        span: chinwag_sim::clock::nanos(args.span),
        config: args::preset(&args.preset).ok_or("no such preset")?,
        faults,
        ..Scenario::default()
    };
    let twice = if args.twice.is_some() { Twice::All } else { Twice::Some };
    let progress = Progress::new(args.seeds.end - args.seeds.start);
    let told = |done| progress.done(done);
    let (found, wall_s) =
        timed(|| search(&scenario, args.seeds.clone(), args.jobs, twice, args.failures, &told));
    progress.end();
    let unreached = found.unreached_of(&scenario.faults);
    let mut failures = Vec::new();
    for (seed, outcome) in &found.failures {
        let failing = Scenario { seed: *seed, ..scenario.clone() };
        failures.push(make_small(&failing, outcome, args)?);
    }
    show_search(&found, wall_s, &unreached, &failures, args.json);
    Ok(found.failures.is_empty() && unreached.is_empty())
}

/// Makes a failing seed small, leaves its files, and says how to repeat it.
fn make_small(scenario: &Scenario, outcome: &Outcome, args: &ExploreArgs) -> Result<Value, String> {
    let seed = scenario.seed;
    let small = case::shrink_failure(scenario, outcome);
    let level = if scenario.level == Level::Node { "node-" } else { "" };
    let folder = args.out.join(format!("{level}{}-{}-{seed}", args.preset, scenario.nodes));
    let files = case::leave(&small.scenario, &args.preset, &folder)
        .map_err(|error| told(&folder, &error))?;
    let of = |outcome: &Outcome| outcome.failure.as_ref().map(ToString::to_string);
    let (what, left) = (of(outcome), of(&small.outcome));
    let plan = small.scenario.plan();
    let present = small.scenario.scenario.nodes - small.scenario.scenario.absent.len();
    let span_s = Duration::from_nanos(small.scenario.scenario.span).as_secs_f64();
    let choices = small.scenario.tape.as_ref().map(chinwag_sim::choices::Tape::len);
    let replay = format!(
        "cargo run --release -p chinwag-sim --features cli -- replay {}",
        files.tape.display()
    );
    eprintln!("seed {seed} FAILED: {}", what.as_deref().unwrap_or_default());
    eprintln!("made small in {} runs: {}", small.runs, left.unwrap_or_default());
    eprintln!(
        "  {} of {} faults, {present} of {} nodes, {span_s} s, {} choices",
        plan.faults.len(),
        outcome.plan.faults.len(),
        scenario.nodes,
        choices.map_or_else(|| "the seed's".into(), |count| count.to_string()),
    );
    for timed in &plan.faults {
        let at = Duration::from_nanos(timed.at).as_secs_f64();
        let until = match timed.until {
            u64::MAX => "the end".into(),
            until => format!("{} s", Duration::from_nanos(until).as_secs_f64()),
        };
        eprintln!("  {at} s to {until}: {}, {}", timed.fault.family(), timed.fault);
    }
    eprintln!("  trace: {}, timeline: {}", files.trace.display(), files.timeline.display());
    eprintln!("  replay: {replay}");
    Ok(json!({
        "seed": seed, "what": what, "faults": plan.faults.len(), "nodes": present,
        "virtual_s": span_s, "choices": choices,
        "token": args::token(scenario, &args.preset), "tape": files.tape, "trace": files.trace,
        "timeline": files.timeline,
        "replay": replay,
    }))
}

fn show_search(found: &Search, wall_s: f64, unreached: &[&str], failures: &[Value], as_json: bool) {
    let Search { seeds, events, hash, healed_max, healed_sum, false_deaths, excused, .. } = found;
    let nanos = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
    let healed_mean = nanos(healed_sum / (*seeds).max(1));
    if as_json {
        let report = json!({
            "seeds": seeds, "events": events, "wall_s": wall_s,
            "trace_hash": format!("{hash:016x}"),
            "healed_max_s": nanos(*healed_max), "healed_mean_s": healed_mean,
            "false_deaths": false_deaths, "excused": excused,
            "faults": found.struck, "fault_seeds": found.struck_seeds,
            "events_told": found.told, "unreached": unreached,
            "failures": failures,
        });
        println!("{report}");
        return;
    }
    println!("{seeds} seeds, {events} events in {wall_s:.1} s; trace {hash:016x}");
    println!(
        "healed in {healed_mean:.1} s, at most {:.1} s; {false_deaths} deaths of the living",
        nanos(*healed_max)
    );
    println!("excused by: {excused:?}");
    println!("faults: {:?}", found.struck);
    println!("told: {:?}", found.told);
    if !unreached.is_empty() {
        println!("VACUOUS: never reached {unreached:?}");
    }
}

fn replay_command(args: &ReplayArgs) -> Result<bool, String> {
    let is_token =
        ["v1.", "n1.", "v1o.", "n1o."].iter().any(|version| args.what.starts_with(version))
            && !Path::new(&args.what).exists();
    let mut case = if is_token {
        Case::new(&args::parse_token(&args.what)?.0)
    } else {
        let path = Path::new(&args.what);
        Case::parse(&read(path)?).map_err(|wrong| format!("{}: {wrong}", path.display()))?.0
    };
    case.scenario.story_lines = args.lines;
    case.scenario.traces = args.keep.is_wanted();
    let (outcome, wall_s) = timed(|| case.run());
    args.keep.keep(&case.scenario, &outcome)?;
    if !args.json {
        outcome.story.iter().for_each(|line| println!("{line}"));
    }
    show(&case.scenario, &outcome, wall_s, args.json);
    Ok(outcome.failure.is_none())
}

fn show(scenario: &Scenario, outcome: &Outcome, wall_s: f64, as_json: bool) {
    let report = outcome.report(scenario, wall_s);
    if as_json {
        println!("{report}");
        return;
    }
    if let Some(fields) = report.as_object() {
        for (name, value) in fields {
            println!("{name:>22}  {value}");
        }
    }
    if let Some(failure) = &outcome.failure {
        eprintln!("FAILED: {failure}");
    }
}

/// What `work` gives, and how long it took.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the speed of a run is real time; nothing in the run sees it"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = std::time::Instant::now();
    let result = work();
    (result, began.elapsed().as_secs_f64())
}
