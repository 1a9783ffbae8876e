//! How far a search over seeds has come: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal, a line each time so many more seeds are done, at the least: a search of
/// fewer says nothing before its end.
const LINE_EVERY: u64 = 500;

/// On standard error, so that what a command prints stays what it prints.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    every: u64,
}

impl Progress {
    /// Of a search over so many seeds.
    pub fn new(seeds: u64) -> Self {
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left");
        let bar = style.ok().filter(|_| std::io::stderr().is_terminal());
        let bar = bar.map(|style| ProgressBar::new(seeds).with_style(style));
        Self { bar, every: (seeds / 10).max(LINE_EVERY) }
    }

    /// So many of them are done.
    #[expect(clippy::print_stderr, reason = "whoever waits for a search wants to know")]
    pub fn done(&self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if done.is_multiple_of(self.every) => eprintln!("{done} seeds"),
            None => {}
        }
    }

    /// The search is over.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
