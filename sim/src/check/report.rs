//! What a failing seed leaves: a report, a trace, and a timeline.

use std::fmt::Write as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::seeds::variable;
use super::story::{Ask, Failed, Told};
use super::token::Chance;
use crate::case::{write_timeline, write_trace};
use crate::repeat::{CAUSES, difference};
use crate::trace::timeline::Heading;

const TAKES_ALL: &str = "strings take all";

/// Which test this is, and how it is run again.
pub(super) struct Test {
    name: String,
    /// The arguments of `cargo test` that choose the test's program.
    target: String,
    folder: PathBuf,
}

impl Test {
    /// Reads the name of the test off its thread, where the harness has written it.
    pub(super) fn here() -> Self {
        let thread = std::thread::current();
        let name = thread.name().filter(|name| *name != "main").unwrap_or("story");
        let program = std::env::current_exe().unwrap_or_default();
        // It lies in `target/PROFILE/deps`.
        let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
        // Tests of two programs may have one name.
        let folder = target.join("chinwag-sim").join(name_of(&program));
        Self { name: name.to_owned(), target: target_of(&program), folder }
    }

    /// Reports a failure that its seed repeats, and panics.
    pub(super) fn report(&self, ask: &Ask, told: &Told, failed: &Failed) {
        let mut text = format!("seed {} fails: {failed}\n", ask.token.seed);
        lines_of(&mut text, told);
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
        let replay = self.command(&format!("SIM_REPLAY={}", ask.token.text()));
        writeln!(text, "  repeat it with: {replay}").expect(TAKES_ALL);
        self.leave_and_fail(text, told, failed, replay, ask.token.seed);
    }

    /// Reports a seed whose runs are not all alike, and panics. `first` is the failure as it was
    /// first seen; `again` are repetitions of the seed.
    pub(super) fn report_once(
        &self,
        seed: u64,
        first: &Failed,
        again: &[Told],
        fails_alike: impl Fn(&Told) -> bool,
    ) {
        let mut text = format!("seed {seed} fails: {first}\n");
        let repeated = again.iter().filter(|told| fails_alike(told)).count();
        let of = again.len();
        match repeated {
            _ if first.is_of_two_runs() => Ok(()),
            0 => writeln!(text, "  It failed once and not again ({of} more runs of the seed)."),
            _ => writeln!(text, "  It failed again in {repeated} of {of} more runs of the seed."),
        }
        .expect(TAKES_ALL);
        writeln!(text, "  {CAUSES}").expect(TAKES_ALL);
        let mut others = again.iter().skip(1);
        let parted = others.find_map(|told| difference(&again.first()?.trace, &told.trace));
        if let Some(parted) = parted {
            writeln!(text, "  Two runs of the seed parted:").expect(TAKES_ALL);
            parted.lines().for_each(|line| writeln!(text, "    {line}").expect(TAKES_ALL));
        }
        let last = again.iter().rfind(|told| fails_alike(told)).or(again.last());
        let seeds = format!("SIM_SEEDS={seed}..{} SIM_TWICE=all", seed + 1);
        let replay = self.command(&seeds);
        writeln!(text, "  run the seed again with: {replay}").expect(TAKES_ALL);
        match last {
            Some(told) => {
                lines_of(&mut text, told);
                self.leave_and_fail(text, told, first, replay, seed);
            }
            None => fail(text),
        }
    }

    fn leave_and_fail(
        &self,
        mut text: String,
        told: &Told,
        failed: &Failed,
        replay: String,
        seed: u64,
    ) {
        let left = match self.leave(told, failed, replay, seed) {
            Ok(folder) => format!("look at it in: {}", folder.join("timeline.html").display()),
            Err(error) => format!("no timeline was left: {error}"),
        };
        writeln!(text, "  {left}").expect(TAKES_ALL);
        fail(text);
    }

    fn leave(
        &self,
        told: &Told,
        failed: &Failed,
        replay: String,
        seed: u64,
    ) -> std::io::Result<PathBuf> {
        let folder = self.folder.join(format!("{}-{seed}", self.name.replace("::", "-")));
        std::fs::create_dir_all(&folder)?;
        replace(&folder.join("trace.jsonl"), |path| write_trace(&told.trace, path))?;
        let heading = Heading {
            title: format!("{}: seed {seed}: {}", self.name, failed.violation.oracle),
            nodes: (0..told.nodes).map(|node| format!("node {node}")).collect(),
            replay: Some(replay),
        };
        replace(&folder.join("timeline.html"), |path| write_timeline(&heading, &told.trace, path))?;
        Ok(folder)
    }

    /// The command that runs this test with these variables.
    fn command(&self, variables: &str) -> String {
        let name = match self.name.as_str() {
            "story" => String::new(),
            name => format!(" -- --exact {name}"),
        };
        format!("{variables} cargo test{}{name}", self.target)
    }
}

fn lines_of(text: &mut String, told: &Told) {
    for line in &told.lines {
        writeln!(text, "    {line}").expect(TAKES_ALL);
    }
}

/// Writes one line for the author of a test.
pub(super) fn say(text: &str) {
    #[expect(clippy::print_stderr, reason = "a test speaks to its author")]
    {
        eprintln!("chinwag-sim: {text}");
    }
}

fn fail(text: String) {
    say(&text);
    // Not `panic!`, whose backtrace would be of this function.
    resume_unwind(Box::new(text));
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

/// The arguments of `cargo test` that choose `program`, as far as the program can know them.
fn target_of(program: &Path) -> String {
    let Some(package) = variable("CARGO_PKG_NAME") else { return String::new() };
    let mut arguments = format!(" -p {package}");
    let name = name_of(program);
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR").unwrap_or_default());
    let tests = manifest.join("tests");
    if tests.join(format!("{name}.rs")).is_file() || tests.join(name).join("main.rs").is_file() {
        arguments.push_str(&format!(" --test {name}"));
    } else if name == package.replace('-', "_") {
        arguments.push_str(" --lib");
    }
    if program.components().any(|part| part.as_os_str() == "release") {
        arguments.push_str(" --release");
    }
    arguments
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

#[cfg(test)]
mod tests {
    use super::*;

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
