//! [`Checks`]: which questions about a sign of life the machine has open
//! (`docs/protocol.md` §4.9.1, §4.9.4).

use std::time::Duration;

use chinwag_core::time::Instant;

use crate::packet::Run;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Is the claimant there? (§4.9.4)
    Claimant,
    /// Is whoever holds the claimant's id? (§4.9.1)
    Incumbent,
}

struct Check {
    seq: u32,
    asked: Run,
    /// About which claim: its id and epoch.
    run: (u64, u64),
    question: Question,
    ends: Instant,
}

/// The open ones.
#[derive(Default)]
pub(super) struct Checks(Vec<Check>);

impl Checks {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn question_about(&self, run: (u64, u64)) -> Option<Question> {
        self.0.iter().find(|check| check.run == run).map(|check| check.question)
    }

    pub(super) fn begin(
        &mut self,
        seq: u32,
        asked: Run,
        run: (u64, u64),
        question: Question,
        ends: Instant,
    ) {
        self.0.push(Check { seq, asked, run, question, ends });
    }

    /// The ping with this number is answered: which claim waited for that.
    pub(super) fn answered(&mut self, seq: u32, subject: Run) -> Option<((u64, u64), Question)> {
        let at = self.0.iter().position(|check| check.seq == seq && check.asked == subject)?;
        let check = self.0.remove(at);
        Some((check.run, check.question))
    }

    /// The node was asleep for so long (§4.4.1).
    pub(super) fn sleep(&mut self, by: Duration) {
        self.0.iter_mut().for_each(|check| check.ends = check.ends + by);
    }

    /// Those that nobody has answered in time.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<((u64, u64), Question)> {
        let (over, open) =
            std::mem::take(&mut self.0).into_iter().partition(|check| check.ends <= now);
        self.0 = open;
        let over: Vec<Check> = over;
        over.into_iter().map(|check| (check.run, check.question)).collect()
    }
}
