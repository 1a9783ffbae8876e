//! Making a failing scenario small: parts are dropped for as long as what is left still fails, then
//! what is left is made simpler.
//!
//! Nothing here knows what a scenario is. The protocol level drops faults, nodes, operations and
//! choices ([`crate::case::Case`]); any other kind of scenario that can name its parts is made
//! small in the same way.

use std::ops::Range;

/// A scenario that is made of parts.
pub trait Parts: Clone {
    /// What a run of it comes to.
    type Outcome;

    /// The groups of its parts, in the order in which they are dropped.
    const GROUPS: &'static [&'static str];

    /// How many parts of a group there are.
    fn count(&self, group: usize) -> usize;

    /// The scenario without these parts of a group; none if it cannot do without them.
    fn without(&self, group: usize, parts: Range<usize>) -> Option<Self>;

    /// Scenarios that are simpler in another way than by a dropped part, the simplest first:
    /// shorter, weaker, rounder. Taking one of them again and again must come to an end.
    fn simpler(&self, outcome: &Self::Outcome) -> Vec<Self>;
}

/// What is left of a scenario.
#[derive(Clone, Debug)]
pub struct Minimised<S, T> {
    /// The scenario.
    pub scenario: S,
    /// What it comes to.
    pub outcome: T,
    /// Runs that it took.
    pub runs: usize,
}

/// Makes `scenario`, which comes to `outcome`, small in at most `runs_max` runs. `fails` runs a
/// scenario and answers what it comes to if that is still the failure that is looked for.
pub fn minimise<S: Parts>(
    scenario: S,
    outcome: S::Outcome,
    runs_max: usize,
    mut fails: impl FnMut(&S) -> Option<S::Outcome>,
) -> Minimised<S, S::Outcome> {
    let mut best = Minimised { scenario, outcome, runs: 0 };
    loop {
        let mut is_smaller = false;
        for group in 0..S::GROUPS.len() {
            is_smaller |= drop_parts(&mut best, group, runs_max, &mut fails);
        }
        is_smaller |= simplify(&mut best, runs_max, &mut fails);
        if !is_smaller || best.runs >= runs_max {
            return best;
        }
    }
}

/// Drops parts of one group: halves first, then smaller stretches, at last each by itself (Zeller's
/// ddmin, without its complements).
fn drop_parts<S: Parts>(
    best: &mut Minimised<S, S::Outcome>,
    group: usize,
    runs_max: usize,
    fails: &mut impl FnMut(&S) -> Option<S::Outcome>,
) -> bool {
    let mut was_dropped = false;
    let mut chunk = best.scenario.count(group);
    while chunk > 0 {
        let mut at = 0;
        while at < best.scenario.count(group) && best.runs < runs_max {
            let parts = at..(at + chunk).min(best.scenario.count(group));
            let Some(fewer) = best.scenario.without(group, parts) else {
                at += chunk;
                continue;
            };
            if take(best, fewer, fails) {
                was_dropped = true;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    was_dropped
}

fn simplify<S: Parts>(
    best: &mut Minimised<S, S::Outcome>,
    runs_max: usize,
    fails: &mut impl FnMut(&S) -> Option<S::Outcome>,
) -> bool {
    let mut was_simplified = false;
    loop {
        let candidates = best.scenario.simpler(&best.outcome);
        let mut was_taken = false;
        for candidate in candidates {
            if best.runs >= runs_max {
                return was_simplified;
            }
            if take(best, candidate, fails) {
                (was_taken, was_simplified) = (true, true);
                break;
            }
        }
        if !was_taken {
            return was_simplified;
        }
    }
}

fn take<S: Parts>(
    best: &mut Minimised<S, S::Outcome>,
    candidate: S,
    fails: &mut impl FnMut(&S) -> Option<S::Outcome>,
) -> bool {
    best.runs += 1;
    let Some(outcome) = fails(&candidate) else { return false };
    (best.scenario, best.outcome) = (candidate, outcome);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Numbers {
        odd: Vec<u32>,
        even: Vec<u32>,
        size: u32,
    }

    impl Parts for Numbers {
        type Outcome = ();
        const GROUPS: &'static [&'static str] = &["odd", "even"];

        fn count(&self, group: usize) -> usize {
            [&self.odd, &self.even][group].len()
        }

        fn without(&self, group: usize, parts: Range<usize>) -> Option<Self> {
            let mut fewer = self.clone();
            [&mut fewer.odd, &mut fewer.even][group].drain(parts);
            Some(fewer)
        }

        fn simpler(&self, (): &()) -> Vec<Self> {
            let sizes = [self.size / 2, self.size.saturating_sub(1)];
            let smaller = sizes.into_iter().filter(|&size| size < self.size);
            smaller.map(|size| Self { size, ..self.clone() }).collect()
        }
    }

    #[test]
    fn what_is_left_is_what_is_needed() {
        let all = Numbers {
            odd: (0..200).map(|n| 2 * n + 1).collect(),
            even: (0..200).map(|n| 2 * n).collect(),
            size: 1_000,
        };
        let fails = |numbers: &Numbers| {
            let has =
                [3, 77, 301].iter().all(|n| numbers.odd.contains(n)) && numbers.even.contains(&128);
            (has && numbers.size >= 37).then_some(())
        };
        let small = minimise(all.clone(), (), 2_000, fails);
        assert_eq!(small.scenario, Numbers { odd: vec![3, 77, 301], even: vec![128], size: 37 });
        assert!(small.runs < 300, "{} runs", small.runs);
        let cut_short = minimise(all.clone(), (), 10, fails);
        assert!(cut_short.runs == 10 && fails(&cut_short.scenario).is_some(), "and still it fails");
        let nothing = minimise(all.clone(), (), 2_000, |_| None);
        assert_eq!(nothing.scenario, all);
    }
}
