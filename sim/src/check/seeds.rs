//! Many seeds of one story, on several threads; and what a failing one leaves.

use std::cell::Cell;
use std::fmt::Write as _;
use std::future::Future;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;

use super::story::{Ask, Failed, Told, tell, tell_with};
use super::world::World;
use crate::case::{write_timeline, write_trace};
use crate::choices::Bytes;
use crate::minimise::{Parts, minimise};
use crate::node::lock;
use crate::trace::timeline::Heading;

/// Runs that making a failing seed small takes at most: some seconds.
const RUNS_MAX: usize = 150;
const TAKES_ALL: &str = "strings take all";
/// Lines of what happened that a failing seed shows.
const LINES: usize = 30;

/// Tells `story` in a world of its own under every seed, and panics at the first seed that fails, with what failed and how to repeat it. The
/// lowest failing seed is reported, made small: of the faults that the story asked for, those that the failure needs.
///
/// `SIM_SEEDS`, `SIM_JOBS` and `SIM_REPLAY` in the environment have the last word.
///
/// # Panics
/// If a seed fails: an invariant does not hold, or the story panics, or waits for what does not happen. If the environment makes no sense.
pub fn check<F, S>(seeds: Range<u64>, story: F)
where
    F: Fn(World) -> S + Sync,
    S: Future<Output = ()>,
{
    let test = Test::here();
    if let Some(token) = variable("SIM_REPLAY") {
        let (seed, kept) =
            parse_token(&token).unwrap_or_else(|| panic!("SIM_REPLAY={token} is no token: 17 or 17.0-3"));
        let ask = Ask { seed, kept, traces: true, story_lines: LINES };
        let told = tell(&ask, &story);
        report(&test, &ask, &told);
        return;
    }
    let seeds = variable("SIM_SEEDS").map_or(seeds, |text| {
        parse_seeds(&text).unwrap_or_else(|| panic!("SIM_SEEDS={text} are no seeds: 0..100"))
    });
    let jobs = variable("SIM_JOBS").map_or_else(available, |text| {
        text.parse().unwrap_or_else(|_| panic!("SIM_JOBS={text} is no number of threads"))
    });
    if let Some(ask) = first_failing(seeds, jobs, &story) {
        let small = quietly(|| make_small(&ask, &story));
        let told = quietly(|| tell(&Ask { traces: true, story_lines: LINES, ..small.clone() }, &story));
        report(&test, &small, &told);
    }
}

/// Tells `story` once in a world in which everything that is left to chance is read from `bytes`
/// ([`choices::Bytes`](crate::choices::Bytes)); past their end all is calm. It is the body of a fuzz target for one's own services
/// (`docs/fuzzing.md`): a fuzzer that sees which code an input has reached finds the schedules that seeds meet by luck.
///
/// # Panics
/// If an invariant does not hold, or the story panics, or waits for what does not happen.
pub fn check_bytes<F, S>(bytes: &[u8], story: F)
where
    F: FnOnce(World) -> S,
    S: Future<Output = ()>,
{
    let ask = Ask { story_lines: LINES, ..ask(0) };
    let told = tell_with(&ask, Box::new(Bytes::new(bytes)), story);
    if let Some(failed) = told.failed {
        panic!("{failed}\n    {}", told.lines.join("\n    "));
    }
}

/// The lowest seed that fails, as far as the threads have come.
fn first_failing<F, S>(seeds: Range<u64>, jobs: usize, story: &F) -> Option<Ask>
where
    F: Fn(World) -> S + Sync,
    S: Future<Output = ()>,
{
    let next = AtomicU64::new(seeds.start);
    let failing: Mutex<Option<u64>> = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || lock(&failing).is_some_and(|failing| failing < seed) {
                return;
            }
            let told = quietly(|| tell(&ask(seed), story));
            if told.failed.is_some() {
                let mut failing = lock(&failing);
                *failing = Some(failing.map_or(seed, |other| other.min(seed)));
            }
        }
    };
    std::thread::scope(|scope| (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work))));
    let seed = *lock(&failing);
    seed.map(ask)
}

const fn ask(seed: u64) -> Ask {
    Ask { seed, kept: None, traces: false, story_lines: 0 }
}

/// Leaves out every fault that the failure does not need.
fn make_small<F, S>(ask: &Ask, story: &F) -> Ask
where
    F: Fn(World) -> S + Sync,
    S: Future<Output = ()>,
{
    let told = tell(ask, story);
    let oracle = told.failed.as_ref().map(|failed| failed.violation.oracle);
    let all = Ask { kept: Some(told.faults.keys().copied().collect()), ..ask.clone() };
    let fails = |ask: &Ask| {
        let told = tell(ask, story);
        (oracle.is_some() && told.failed.as_ref().map(|failed| failed.violation.oracle) == oracle)
            .then_some(())
    };
    minimise(all, (), RUNS_MAX, fails).scenario
}

impl Parts for Ask {
    type Outcome = ();
    const GROUPS: &'static [&'static str] = &["faults"];

    fn count(&self, _: usize) -> usize {
        self.kept.as_ref().map_or(0, Vec::len)
    }

    fn without(&self, _: usize, parts: Range<usize>) -> Option<Self> {
        let mut fewer = self.clone();
        fewer.kept.as_mut()?.drain(parts);
        Some(fewer)
    }

    fn simpler(&self, (): &()) -> Vec<Self> {
        Vec::new()
    }
}

/// Says what a run came to; panics if it failed.
fn report(test: &Test, ask: &Ask, told: &Told) {
    let Some(failed) = &told.failed else { return };
    let mut text = format!("seed {} fails: {failed}\n", ask.seed);
    for line in &told.lines {
        writeln!(text, "    {line}").expect(TAKES_ALL);
    }
    for timed in told.faults.values() {
        let at = Duration::from_nanos(timed.at);
        let until = if timed.until == u64::MAX {
            "the calm".into()
        } else {
            format!("{:?}", Duration::from_nanos(timed.until))
        };
        writeln!(text, "  it needs: {at:?} to {until}: {}", timed.fault).expect(TAKES_ALL);
    }
    writeln!(text, "  repeat it with: {}", test.replay(ask)).expect(TAKES_ALL);
    let left = match leave(test, ask, told, failed) {
        Ok(folder) => format!("look at it in: {}", folder.join("timeline.html").display()),
        Err(error) => format!("no timeline was left: {error}"),
    };
    writeln!(text, "  {left}").expect(TAKES_ALL);
    resume(text);
}

fn resume(text: String) {
    #[expect(clippy::print_stderr, reason = "a failing test speaks to its author")]
    {
        eprintln!("chinwag-sim: {text}");
    }
    // Not `panic!`, whose backtrace would be of this function.
    resume_unwind(Box::new(text));
}

fn leave(test: &Test, ask: &Ask, told: &Told, failed: &Failed) -> std::io::Result<PathBuf> {
    let folder = test.folder.join(format!("{}-{}", test.name.replace("::", "-"), ask.seed));
    std::fs::create_dir_all(&folder)?;
    write_trace(&told.trace, &folder.join("trace.jsonl"))?;
    let heading = Heading {
        title: format!("{}: seed {}: {}", test.name, ask.seed, failed.violation.oracle),
        nodes: (0..told.nodes).map(|node| format!("node {node}")).collect(),
        replay: Some(test.replay(ask)),
    };
    write_timeline(&heading, &told.trace, &folder.join("timeline.html"))?;
    Ok(folder)
}

/// Which test this is, and how it is run again.
struct Test {
    name: String,
    package: Option<String>,
    folder: PathBuf,
}

impl Test {
    /// The harness names a test's thread after it.
    fn here() -> Self {
        let thread = std::thread::current();
        let name = thread.name().filter(|name| *name != "main").unwrap_or("story");
        let target = std::env::current_exe().ok();
        let target = target.as_deref().and_then(Path::parent).and_then(Path::parent).and_then(Path::parent);
        let folder = target.map_or_else(|| PathBuf::from("target"), Path::to_path_buf).join("chinwag-sim");
        Self { name: name.to_owned(), package: variable("CARGO_PKG_NAME"), folder }
    }

    fn replay(&self, ask: &Ask) -> String {
        let package = self.package.as_ref().map(|package| format!(" -p {package}")).unwrap_or_default();
        let name = if self.name == "story" { String::new() } else { format!(" {}", self.name) };
        format!("SIM_REPLAY={} cargo test{package}{name}", token(ask))
    }
}

fn token(ask: &Ask) -> String {
    match &ask.kept {
        None => ask.seed.to_string(),
        Some(kept) if kept.is_empty() => format!("{}.none", ask.seed),
        Some(kept) => {
            let numbers: Vec<String> = kept.iter().map(ToString::to_string).collect();
            format!("{}.{}", ask.seed, numbers.join("-"))
        }
    }
}

fn parse_token(token: &str) -> Option<(u64, Option<Vec<usize>>)> {
    let Some((seed, kept)) = token.split_once('.') else { return Some((token.parse().ok()?, None)) };
    let kept = match kept {
        "none" => Vec::new(),
        list => list.split('-').map(|number| number.parse().ok()).collect::<Option<_>>()?,
    };
    Some((seed.parse().ok()?, Some(kept)))
}

fn parse_seeds(text: &str) -> Option<Range<u64>> {
    let (first, end) = text.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

#[expect(clippy::disallowed_methods, reason = "how a test is run is its environment's to say")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` without a message for every panic on this thread: a search meets one failure again and again, and reports it once.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                shown(panic);
            }
        }));
    });
    let was_quiet = IS_QUIET.replace(true);
    let done = work();
    IS_QUIET.set(was_quiet);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for kept in [None, Some(vec![]), Some(vec![4]), Some(vec![0, 3, 17])] {
            let ask = Ask { kept: kept.clone(), ..ask(42) };
            assert_eq!(parse_token(&token(&ask)), Some((42, kept)));
        }
        for wrong in ["", "x", "1.", "1.x", "1.2-", ".3"] {
            assert_eq!(parse_token(wrong), None, "{wrong}");
        }
        assert_eq!(parse_seeds("3..9"), Some(3..9));
        assert_eq!(parse_seeds("3"), None);
    }
}
