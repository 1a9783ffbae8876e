//! Many seeds of one story, on several threads; and what a failing one leaves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::panics::quietly;
use super::story::{Ask, Failed, Told, tell, tell_with};
use super::token::{Chance, Kept, Token};
use super::world::World;
use crate::case::{write_timeline, write_trace};
use crate::choices::Bytes;
use crate::fault::Timed;
use crate::minimise::{Parts, minimise};
use crate::node::lock;
use crate::progress::Progress;
use crate::trace::timeline::Heading;

/// Runs that making a failing seed small takes at most: some seconds.
const RUNS_MAX: usize = 150;
const TAKES_ALL: &str = "strings take all";
/// Lines of what happened that a failing seed shows.
const LINES: usize = 30;

/// Tells `story` in a world of its own under every seed, and panics at the first seed that fails,
/// with what failed and how to repeat it. The lowest failing seed is reported, made small: of the
/// faults that the story asked for, those that the failure needs, as short and weak as it needs
/// them; and of chance, the kinds that it needs.
///
/// `SIM_SEEDS`, `SIM_JOBS` and `SIM_REPLAY` in the environment have the last word.
///
/// # Panics
/// If a seed fails: an invariant does not hold, or the story panics, or waits for what does not
/// happen. If the environment makes no sense.
pub fn check<F, S>(seeds: Range<u64>, story: F)
where
    F: Fn(World) -> S + Sync,
    S: Future<Output = ()>,
{
    let test = Test::here();
    if let Some(token) = variable("SIM_REPLAY") {
        let token = Token::parse(&token).unwrap_or_else(|| {
            panic!("SIM_REPLAY={token} is no token: 17, 17.0-3 or 17.0h2-3.calm-tasks")
        });
        let ask = Ask { token, traces: true, story_lines: LINES };
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
        let told =
            quietly(|| tell(&Ask { traces: true, story_lines: LINES, ..small.clone() }, &story));
        report(&test, &small, &told);
    }
}

/// Tells `story` once in a world in which everything that is left to chance is read from `bytes`
/// ([`choices::Bytes`](crate::choices::Bytes)); past their end all is calm. It is the body of a
/// fuzz target for one's own services (`docs/fuzzing.md`): a fuzzer that sees which code an input
/// has reached finds the schedules that seeds meet by luck.
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
    let progress = Progress::new(seeds.end.saturating_sub(seeds.start));
    let done = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || lock(&failing).is_some_and(|failing| failing < seed) {
                return;
            }
            let told = quietly(|| tell(&ask(seed), story));
            progress.done(done.fetch_add(1, Ordering::Relaxed) + 1);
            if told.failed.is_some() {
                let mut failing = lock(&failing);
                *failing = Some(failing.map_or(seed, |other| other.min(seed)));
            }
        }
    };
    std::thread::scope(|scope| (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work))));
    progress.end();
    let seed = *lock(&failing);
    seed.map(ask)
}

const fn ask(seed: u64) -> Ask {
    Ask { token: Token::of(seed), traces: false, story_lines: 0 }
}

/// Leaves out every fault and every kind of chance that the failure does not need, and takes as
/// little as it needs of the rest.
fn make_small<F, S>(ask: &Ask, story: &F) -> Ask
where
    F: Fn(World) -> S + Sync,
    S: Future<Output = ()>,
{
    let told = tell(ask, story);
    // Another assertion of the story is another failure.
    let what = told.failed.map(Failed::what);
    let kept = Some(told.faults.keys().map(|&number| Kept::all_of(number)).collect());
    let all = Ask { token: Token { kept, ..ask.token.clone() }, ..ask.clone() };
    let fails = |ask: &Ask| {
        let told = tell(ask, story);
        let fails_alike = what.is_some() && told.failed.map(Failed::what) == what;
        fails_alike.then_some(told.faults)
    };
    minimise(all, told.faults, RUNS_MAX, fails).scenario
}

impl Parts for Ask {
    /// The faults that are left, as they are.
    type Outcome = BTreeMap<usize, Timed>;
    const GROUPS: &'static [&'static str] = &["faults", "chance"];

    fn count(&self, group: usize) -> usize {
        match group {
            0 => self.token.kept.as_ref().map_or(0, Vec::len),
            _ => Chance::ALL.len() - self.token.calm.len(),
        }
    }

    fn without(&self, group: usize, parts: Range<usize>) -> Option<Self> {
        let mut fewer = self.clone();
        if group == 0 {
            fewer.token.kept.as_mut()?.drain(parts);
        } else {
            let left = Chance::ALL.into_iter().filter(|kind| !self.token.calm.contains(kind));
            fewer.token.calm.extend(left.skip(parts.start).take(parts.len()));
        }
        Some(fewer)
    }

    fn simpler(&self, faults: &BTreeMap<usize, Timed>) -> Vec<Self> {
        let mut simpler = Vec::new();
        let kept = self.token.kept.as_deref().unwrap_or_default();
        for (at, kept) in kept.iter().enumerate() {
            // One that the failure came before is dropped, and not made less.
            let Some(applied) = faults.get(&kept.number) else { continue };
            for less in kept.less(applied) {
                let mut simple = self.clone();
                if let Some(kept) = simple.token.kept.as_mut().and_then(|kept| kept.get_mut(at)) {
                    *kept = less;
                }
                simpler.push(simple);
            }
        }
        simpler
    }
}

/// Says what a run came to; panics if it failed.
fn report(test: &Test, ask: &Ask, told: &Told) {
    let Some(failed) = &told.failed else { return };
    let mut text = format!("seed {} fails: {failed}\n", ask.token.seed);
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
    let chance: Vec<&str> = Chance::ALL
        .iter()
        .filter(|kind| !ask.token.calm.contains(kind))
        .map(|kind| kind.name())
        .collect();
    if !chance.is_empty() {
        writeln!(text, "  by chance it needs: {}", chance.join(", ")).expect(TAKES_ALL);
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
    let folder = test.folder.join(format!("{}-{}", test.name.replace("::", "-"), ask.token.seed));
    std::fs::create_dir_all(&folder)?;
    replace(&folder.join("trace.jsonl"), |path| write_trace(&told.trace, path))?;
    let heading = Heading {
        title: format!("{}: seed {}: {}", test.name, ask.token.seed, failed.violation.oracle),
        nodes: (0..told.nodes).map(|node| format!("node {node}")).collect(),
        replay: Some(test.replay(ask)),
    };
    replace(&folder.join("timeline.html"), |path| write_timeline(&heading, &told.trace, path))?;
    Ok(folder)
}

/// Writes a file beside `path` and then gives it that name. The same test may run in several
/// processes at once, and whoever reads the file finds all of one version.
fn replace(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    /// Makes names of one process differ.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}.{number}.new", std::process::id()));
    let written = write(&new).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // The first error is the one to report.
        _ = std::fs::remove_file(&new);
    }
    written
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
        let program = std::env::current_exe().unwrap_or_default();
        // It lies in `target/PROFILE/deps`.
        let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
        // Tests of two programs may have one name.
        let folder = target.join("chinwag-sim").join(name_of(&program));
        Self { name: name.to_owned(), package: variable("CARGO_PKG_NAME"), folder }
    }

    fn replay(&self, ask: &Ask) -> String {
        let package =
            self.package.as_ref().map(|package| format!(" -p {package}")).unwrap_or_default();
        let name = if self.name == "story" { String::new() } else { format!(" {}", self.name) };
        format!("SIM_REPLAY={} cargo test{package}{name}", ask.token.text())
    }
}

/// The name of a test program without the hash that cargo appends.
fn name_of(program: &Path) -> &str {
    let stem = program.file_stem().and_then(|stem| stem.to_str()).unwrap_or("tests");
    match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            name
        }
        _ => stem,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range() {
        assert_eq!(parse_seeds("3..9"), Some(3..9));
        assert_eq!(parse_seeds("3"), None);
    }

    #[test]
    fn a_program_is_named_without_its_hash() {
        for (program, name) in [
            ("target/debug/deps/check-1e7f41f13703631a", "check"),
            ("target/debug/deps/two-words-1e7f41f13703631a.exe", "two-words"),
            ("rust_out", "rust_out"),
            ("leader-hint", "leader-hint"),
            ("", "tests"),
        ] {
            assert_eq!(name_of(Path::new(program)), name, "{program}");
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = std::env::temp_dir().join(format!("chinwag-seeds-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let path = folder.join("trace.jsonl");
        let read = || std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, "old").expect("written");
        let written = replace(&path, |new| {
            std::fs::write(new, "n")?;
            assert_eq!(read(), "old", "what is half written is not seen");
            std::fs::write(new, "new")
        });
        assert!(written.is_ok() && read() == "new");
        let failed = replace(&path, |new| {
            std::fs::write(new, "half")?;
            Err(std::io::Error::other("full"))
        });
        assert!(failed.is_err() && read() == "new", "the old version stays");
        let left = std::fs::read_dir(&folder).expect("a folder").count();
        std::fs::remove_dir_all(&folder).expect("its own");
        assert_eq!(left, 1, "nothing is left beside it");
    }
}
