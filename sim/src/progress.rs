//! How far a search over seeds has come: a bar on a terminal, with the feature `cli`; elsewhere a
//! line now and then.

#[cfg(feature = "cli")]
use std::io::IsTerminal as _;

#[cfg(feature = "cli")]
use indicatif::{ProgressBar, ProgressStyle};

/// Without a bar, a line is printed when this many more seeds are done, or a tenth of all if that
/// is more. A search of fewer seeds prints nothing before its end.
const LINE_EVERY: u64 = 500;

/// Progress on standard error, so that standard output holds only what a command prints.
#[derive(Debug)]
pub struct Progress {
    #[cfg(feature = "cli")]
    bar: Option<ProgressBar>,
    every: u64,
}

impl Progress {
    /// Returns the progress of a search over this many seeds.
    pub fn new(seeds: u64) -> Self {
        Self {
            #[cfg(feature = "cli")]
            bar: bar(seeds),
            every: (seeds / 10).max(LINE_EVERY),
        }
    }

    /// Shows that this many of them are done.
    pub fn done(&self, done: u64) {
        #[cfg(feature = "cli")]
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        if self.is_line_due(done) {
            #[expect(clippy::print_stderr, reason = "whoever waits for a search wants to know")]
            {
                eprintln!("{done} seeds");
            }
        }
    }

    const fn is_line_due(&self, done: u64) -> bool {
        done.is_multiple_of(self.every)
    }

    /// Shows that the search is over.
    pub fn end(&self) {
        #[cfg(feature = "cli")]
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(feature = "cli")]
fn bar(seeds: u64) -> Option<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left");
    let style = style.ok().filter(|_| std::io::stderr().is_terminal())?;
    Some(ProgressBar::new(seeds).with_style(style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_ten_times_at_most() {
        let lines = |seeds| {
            let progress = Progress::new(seeds);
            (1..=seeds).filter(|&done| progress.is_line_due(done)).count()
        };
        assert_eq!((lines(499), lines(1_000), lines(20_003)), (0, 2, 10));
    }
}
