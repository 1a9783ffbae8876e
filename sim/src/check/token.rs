//! Which run of a story: its seed, and how much of what the story asks for and of chance is left in
//! it.

use crate::case::weaker;
use crate::choices::{Choices, Key, Odds, Site};
use crate::fault::Timed;

/// A fault whose span is no longer than this is not made shorter, nanoseconds.
const SHORTEST: u64 = 20_000_000;

/// A fault that is kept, by its number in the order in which the story asks, and how much less of
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) number: usize,
    /// How often its span is halved.
    pub(super) halvings: u32,
    /// Which of the weaker forms of it is taken, again and again.
    pub(super) weaker: Vec<usize>,
}

impl Kept {
    pub(super) fn all_of(number: usize) -> Self {
        Self { number, ..Self::default() }
    }

    /// What is left of `timed`.
    pub(super) fn applied(&self, mut timed: Timed) -> Timed {
        if timed.until != u64::MAX {
            let lasts = timed.until.saturating_sub(timed.at);
            timed.until = timed.at + lasts.checked_shr(self.halvings).unwrap_or(0);
        }
        for &which in &self.weaker {
            if let Some(weaker) = weaker(&timed.fault).into_iter().nth(which) {
                timed.fault = weaker;
            }
        }
        timed
    }

    /// Less of it, each in another way; `applied` is what is left of it so far.
    pub(super) fn less(&self, applied: &Timed) -> Vec<Self> {
        let mut less = Vec::new();
        let lasts = applied.until.saturating_sub(applied.at);
        if applied.until != u64::MAX && lasts > SHORTEST {
            less.push(Self { halvings: self.halvings + 1, ..self.clone() });
        }
        for (which, fault) in weaker(&applied.fault).into_iter().enumerate() {
            if fault != applied.fault {
                let mut weaker = self.clone();
                weaker.weaker.push(which);
                less.push(weaker);
            }
        }
        less
    }

    fn text(&self) -> String {
        let mut text = self.number.to_string();
        if self.halvings > 0 {
            text += &format!("h{}", self.halvings);
        }
        self.weaker.iter().for_each(|which| text += &format!("w{which}"));
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('w');
        let first = words.next()?;
        let (number, halvings) = first.split_once('h').unwrap_or((first, "0"));
        let weaker = words.map(|which| which.parse().ok()).collect::<Option<_>>()?;
        Some(Self { number: number.parse().ok()?, halvings: halvings.parse().ok()?, weaker })
    }
}

/// A kind of chance that a run can do without: all its choices are 0 then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    /// What the network does to payloads: jitter, and what faults of links leave to chance.
    Network,
    /// In which order tasks run that were woken.
    Tasks,
    /// How much a read or a write takes.
    Splits,
    /// Early wake-ups, what is read first after a pause, whether a machine dies with its process.
    Nodes,
    /// What the story itself chooses.
    Story,
}

impl Chance {
    pub(super) const ALL: [Self; 5] =
        [Self::Network, Self::Tasks, Self::Splits, Self::Nodes, Self::Story];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Tasks => "tasks",
            Self::Splits => "splits",
            Self::Nodes => "nodes",
            Self::Story => "story",
        }
    }

    /// The kind of a site; none for what draws the swarm, whose faults are left out one by one.
    const fn of(site: Site) -> Option<Self> {
        match site {
            Site::Family | Site::Plan | Site::Order => None,
            Site::Schedule => Some(Self::Tasks),
            Site::Split => Some(Self::Splits),
            Site::EarlyWake | Site::ReadFirst | Site::PowerCut => Some(Self::Nodes),
            Site::Call => Some(Self::Story),
            _ => Some(Self::Network),
        }
    }
}

/// Another source's choices, less some kinds.
pub(super) struct Without<C> {
    pub(super) source: C,
    pub(super) calm: Vec<Chance>,
}

impl<C: Choices> Choices for Without<C> {
    fn choose(&mut self, key: Key, odds: Odds) -> u32 {
        let is_calm = Chance::of(key.site).is_some_and(|kind| self.calm.contains(&kind));
        if is_calm { 0 } else { self.source.choose(key, odds) }
    }
}

/// What a run of a story follows from, and what a failing one prints to be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) seed: u64,
    /// Of the faults that the story asks for, these; all of them, if `None`.
    pub(super) kept: Option<Vec<Kept>>,
    /// Kinds of chance that are left out.
    pub(super) calm: Vec<Chance>,
}

impl Token {
    pub(super) const fn of(seed: u64) -> Self {
        Self { seed, kept: None, calm: Vec::new() }
    }

    /// `SEED`, `SEED.FAULTS` or `SEED.FAULTS.calm-KINDS`.
    pub(super) fn text(&self) -> String {
        let mut text = self.seed.to_string();
        let kept = self.kept.as_ref().map(|kept| kept.iter().map(Kept::text).collect::<Vec<_>>());
        match kept {
            None if self.calm.is_empty() => return text,
            None => text += ".all",
            Some(kept) if kept.is_empty() => text += ".none",
            Some(kept) => text += &format!(".{}", kept.join("-")),
        }
        if !self.calm.is_empty() {
            text += ".calm";
            self.calm.iter().for_each(|kind| text += &format!("-{}", kind.name()));
        }
        text
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let seed = parts.next()?.parse().ok()?;
        let kept = match parts.next() {
            None | Some("all") => None,
            Some("none") => Some(Vec::new()),
            Some(list) => Some(list.split('-').map(Kept::parse).collect::<Option<_>>()?),
        };
        let named = |name| Chance::ALL.into_iter().find(|kind| kind.name() == name);
        let calm = match parts.next() {
            None => Vec::new(),
            Some(list) => {
                list.strip_prefix("calm-")?.split('-').map(named).collect::<Option<_>>()?
            }
        };
        parts.next().is_none().then_some(Self { seed, kept, calm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Seeded;
    use crate::fault::{Fault, Quality};

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let half = Kept { number: 3, halvings: 2, weaker: vec![0, 12] };
        let texts = [
            ("42", None, vec![]),
            ("42.none", Some(vec![]), vec![]),
            ("42.4", Some(vec![Kept::all_of(4)]), vec![]),
            ("42.0-3h2w0w12", Some(vec![Kept::all_of(0), half]), vec![]),
            ("42.all.calm-tasks", None, vec![Chance::Tasks]),
            ("42.none.calm-network-story", Some(vec![]), vec![Chance::Network, Chance::Story]),
        ];
        for (text, kept, calm) in texts {
            let token = Token { seed: 42, kept, calm };
            assert_eq!(token.text(), text);
            assert_eq!(Token::parse(text), Some(token));
        }
        for wrong in [
            "",
            "x",
            "1.",
            "1.x",
            "1.2-",
            ".3",
            "1.2h",
            "1.2w",
            "1.none.x",
            "1.none.calm-x",
            "1.2.calm-tasks.4",
        ] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn less_of_a_fault_is_less_and_comes_to_an_end() {
        let quality = Quality { loss: 400_000, ..Quality::default() };
        let fault = Fault::Link { from: vec![0, 1], to: vec![2], quality };
        let timed = Timed { at: 5, until: 8_000_000_005, fault };
        let mut kept = Kept::all_of(7);
        let mut steps = 0;
        while let Some(less) = kept.less(&kept.applied(timed.clone())).pop() {
            kept = less;
            steps += 1;
            assert!(steps < 100, "{kept:?}");
        }
        let left = kept.applied(timed.clone());
        assert!(left.until - left.at <= SHORTEST && left.until > left.at, "{left:?}");
        assert!(
            matches!(left.fault, Fault::Link { quality, .. } if quality.loss <= 2_000),
            "{left:?}"
        );
        assert_eq!(Kept::all_of(7).applied(timed.clone()), timed);
    }

    #[test]
    fn what_is_calm_is_0_and_nothing_else_changes() {
        let mut all = Seeded::new(3);
        let mut some = Without { source: Seeded::new(3), calm: vec![Chance::Tasks] };
        for nth in 0..100 {
            for site in Site::ALL {
                let key = Key { site, who: 1, whom: 0, nth };
                let expected =
                    if site == Site::Schedule { 0 } else { all.choose(key, Odds::up_to(9)) };
                assert_eq!(some.choose(key, Odds::up_to(9)), expected);
            }
        }
    }
}
