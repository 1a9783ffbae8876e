//! Many seeds of one story, on several threads.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::panics::quietly;
use super::report::{Test, say};
use super::story::{Ask, Failed, Told, tell, tell_with};
use super::token::{Chance, Kept, Token};
use super::world::World;
use crate::choices::Bytes;
use crate::fault::Timed;
use crate::minimise::{Parts, minimise};
use crate::node::lock;
use crate::progress::Progress;
use crate::repeat::Twice;

/// So many times a failing seed is repeated, each time with the same trace and the same failure,
/// before it is made small.
const REPEATS: usize = 2;
/// So many times at most, to find two runs of it that are not the same.
const REPEATS_MAX: usize = 6;
/// Runs that making a failing seed small takes at most: some seconds.
const RUNS_MAX: usize = 150;
/// Lines of what happened that a failing seed shows.
const LINES: usize = 30;

/// Runs `story` in a world of its own under every seed, and panics if a seed fails, with what
/// failed and how to repeat it. Of several failing seeds the lowest is reported. It is made small
/// first: the report names the faults that the failure needs, as short and weak as it needs them,
/// and the kinds of chance.
///
/// A seed must always give the same run. One seed in 16, at least one, is therefore run twice, and
/// the two runs are compared; with `SIM_TWICE=all` in the environment, every seed is. A failure
/// that does not come again when its seed is repeated is reported too, with what to look for.
///
/// Each run has a thread of its own that has entered no other runtime, also when `check` is called
/// from inside of one. `SIM_SEEDS`, `SIM_JOBS`, `SIM_TWICE` and `SIM_REPLAY` in the environment
/// override the arguments.
///
/// # Panics
/// If a seed fails: an invariant does not hold, or the story panics, or waits for what does not
/// happen, or depends on something outside of its seed. If a variable makes no sense.
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
        let told = isolated(|| tell(&ask, &story));
        if let Some(failed) = &told.failed {
            test.report(&ask, &told, failed);
        }
        say(&format!("{} did not fail", ask.token.text()));
        return;
    }
    let seeds = variable("SIM_SEEDS").map_or(seeds, |text| {
        parse_seeds(&text).unwrap_or_else(|| panic!("SIM_SEEDS={text} are no seeds: 0..100"))
    });
    let jobs = variable("SIM_JOBS").map_or_else(available, |text| {
        text.parse().unwrap_or_else(|_| panic!("SIM_JOBS={text} is no number of threads"))
    });
    let twice = variable("SIM_TWICE").map_or(Twice::Some, |text| match text.as_str() {
        "all" => Twice::All,
        _ => panic!("SIM_TWICE={text} is not known: all"),
    });
    if let Some((seed, first)) = first_failing(seeds, jobs, twice, &story) {
        examine(&test, seed, &first, &story);
    }
}

/// Repeats a seed that has failed, and panics with what that shows. `first` is kept whatever the
/// repetitions do: a failure that was seen is never taken back.
fn examine<F, S>(test: &Test, seed: u64, first: &Failed, story: &F)
where
    F: Fn(World) -> S + Sync,
    S: Future<Output = ()>,
{
    let traced = |ask: &Ask| {
        let ask = Ask { traces: true, story_lines: LINES, ..ask.clone() };
        isolated(|| quietly(|| tell(&ask, story)))
    };
    let what = first.clone().what();
    let fails_alike = |told: &Told| told.failed.clone().map(Failed::what).as_ref() == Some(&what);
    let mut again: Vec<Told> = (0..REPEATS).map(|_| traced(&ask(seed))).collect();
    let has_parted = |again: &[Told]| again.iter().any(|told| told.hash != again[0].hash);
    if has_parted(&again) || !again.iter().all(fails_alike) {
        while !has_parted(&again) && again.len() < REPEATS_MAX {
            again.push(traced(&ask(seed)));
        }
        return test.report_once(seed, first, &again, fails_alike);
    }
    let small = isolated(|| quietly(|| make_small(&ask(seed), story)));
    let told = traced(&small);
    match &told.failed {
        Some(failed) if fails_alike(&told) => test.report(&small, &told, failed),
        _ => {
            again.push(told);
            test.report_once(seed, first, &again, fails_alike);
        }
    }
}

/// Runs `work` on a thread of its own, which has entered no runtime.
fn isolated<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| resume_unwind(panic))
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

/// The lowest seed that fails, as far as the threads have come, and how it failed.
fn first_failing<F, S>(
    seeds: Range<u64>,
    jobs: usize,
    twice: Twice,
    story: &F,
) -> Option<(u64, Failed)>
where
    F: Fn(World) -> S + Sync,
    S: Future<Output = ()>,
{
    let next = AtomicU64::new(seeds.start);
    let failing: Mutex<Option<(u64, Failed)>> = Mutex::new(None);
    let is_past = |seed| lock(&failing).as_ref().is_some_and(|(failing, _)| *failing < seed);
    let progress = Progress::new(seeds.end.saturating_sub(seeds.start));
    let done = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || is_past(seed) {
                return;
            }
            let told = quietly(|| tell(&ask(seed), story));
            let failed = told.failed.clone().or_else(|| {
                let again = twice.holds(seed - seeds.start);
                let again = again.then(|| quietly(|| tell(&ask(seed), story)))?;
                let has_parted = again.hash != told.hash;
                again.failed.or_else(|| has_parted.then(|| Failed::of_two_runs(told.ended_at)))
            });
            progress.done(done.fetch_add(1, Ordering::Relaxed) + 1);
            if let Some(failed) = failed
                && !is_past(seed)
            {
                *lock(&failing) = Some((seed, failed));
            }
        }
    };
    std::thread::scope(|scope| (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work))));
    progress.end();
    failing.into_inner().unwrap_or_else(PoisonError::into_inner)
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

fn parse_seeds(text: &str) -> Option<Range<u64>> {
    let (first, end) = text.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

#[expect(clippy::disallowed_methods, reason = "how a test is run is its environment's to say")]
pub(super) fn variable(name: &str) -> Option<String> {
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
}
