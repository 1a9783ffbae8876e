//! The table of `docs/protocol.md` §4.9, row by row, over every case there is.

use core::cmp::Ordering::{self, Equal, Greater, Less};

use super::{Answer, Answers, Case, Decision, Held, Voice, decide};

extern crate std;
use std::vec::Vec;

const HELD: [Held; 3] = [Held::Nobody, Held::Gone, Held::Live];
const ORDERS: [Ordering; 3] = [Less, Equal, Greater];
const VOICES: [Voice; 3] = [Voice::Claimant, Voice::Member, Voice::Anybody];
const ANSWERS: [Answer; 4] = [Answer::Open, Answer::Alive, Answer::Silent, Answer::Refused];

/// Every case with every pair of answers.
fn all() -> Vec<(Case, Answers)> {
    let mut all = Vec::new();
    for held in HELD {
        for order in ORDERS {
            for voice in VOICES {
                for bits in 0..8 {
                    let case = Case {
                        held,
                        order,
                        is_same_address: bits & 1 != 0,
                        is_live: bits & 2 != 0,
                        is_later_word: bits & 4 != 0,
                        voice,
                    };
                    for claimed in ANSWERS {
                        all.extend(ANSWERS.map(|held| (case, Answers { claimed, held })));
                    }
                }
            }
        }
    }
    all
}

/// Checks that every case that `fits` is decided as `expected`, and that there is such a case.
fn row(name: &str, fits: impl Fn(Case, Answers) -> bool, expected: Decision) {
    let fitting: Vec<_> = all().into_iter().filter(|&(case, said)| fits(case, said)).collect();
    assert!(!fitting.is_empty(), "{name}: no case");
    for (case, said) in fitting {
        assert_eq!(decide(case, said), expected, "{name}: {case:?}, {said:?}");
    }
}

fn is_missing(answer: Answer) -> bool {
    matches!(answer, Answer::Silent | Answer::Refused)
}

/// A live claim of `order` at another address than that of the live run.
fn rivals(case: Case, order: Ordering) -> bool {
    case.held == Held::Live && case.order == order && !case.is_same_address && case.is_live
}

#[test]
fn an_id_without_a_live_run_is_free() {
    row("nobody", |case, _| case.held == Held::Nobody, Decision::Merge);
    let is_there = |case: Case, said: Answers| !(case.is_live && is_missing(said.claimed));
    let another =
        |case: Case, said| case.held == Held::Gone && case.order != Equal && is_there(case, said);
    row("dead or left", another, Decision::Merge);
    let clone = |case: Case, said| {
        let is_clone = case.held == Held::Gone && case.order == Equal && !case.is_later_word;
        is_clone && is_there(case, said)
    };
    row("nothing new of a dead run", clone, Decision::Merge);
}

#[test]
fn a_restart_at_one_address_takes_one_answer() {
    let fits = |case: Case| {
        case.held == Held::Live && case.order == Greater && case.is_same_address && case.is_live
    };
    row("asked", |case, said| fits(case) && said.claimed == Answer::Open, Decision::Ask);
    row("answers", |case, said| fits(case) && said.claimed == Answer::Alive, Decision::Take);
    row("does not", |case, said| fits(case) && is_missing(said.claimed), Decision::Refuse);
    let gone = |case: Case, _| {
        case.held == Held::Live && case.order == Greater && case.is_same_address && !case.is_live
    };
    row("and is gone again", gone, Decision::Merge);
    let earlier = |case: Case, said: Answers| {
        case.order == Less && case.is_same_address && said.claimed == Answer::Open
    };
    row("earlier", earlier, Decision::Merge);
}

#[test]
fn a_later_run_elsewhere_needs_the_held_run_to_be_gone() {
    let fits = |case: Case, said: Answers, held| {
        rivals(case, Greater) && said.claimed == Answer::Alive && said.held == held
    };
    row("asked", |case, said| fits(case, said, Answer::Open), Decision::Ask);
    row("lives", |case, said| fits(case, said, Answer::Alive), Decision::Conflict);
    row("refuses", |case, said| fits(case, said, Answer::Refused), Decision::Take);
    row("silent", |case, said| fits(case, said, Answer::Silent), Decision::Wait);
}

#[test]
fn a_claimant_that_does_not_answer_changes_nothing() {
    let fits = |case: Case, said: Answers| {
        case.held != Held::Nobody && case.is_live && is_missing(said.claimed)
    };
    row("silent claimant", fits, Decision::Refuse);
}

#[test]
fn a_later_run_that_is_gone_again_is_believed_if_the_held_one_is() {
    let fits = |case: Case, said: Answers, held| {
        case.held == Held::Live
            && case.order == Greater
            && !case.is_same_address
            && !case.is_live
            && said.held == held
    };
    row("asked", |case, said| fits(case, said, Answer::Open), Decision::Ask);
    row("lives", |case, said| fits(case, said, Answer::Alive), Decision::Refuse);
    for held in [Answer::Silent, Answer::Refused] {
        row("gone", |case, said| fits(case, said, held), Decision::Take);
    }
}

#[test]
fn of_two_runs_in_two_parts_of_a_cluster_the_earliest_holds() {
    let fits = |case: Case, said: Answers| {
        rivals(case, Less) && case.voice == Voice::Member && said.claimed == Answer::Alive
    };
    row("asked", |case, said| fits(case, said) && said.held == Answer::Open, Decision::Ask);
    row("both live", |case, said| fits(case, said) && said.held == Answer::Alive, Decision::Take);
    row("held run gone", |case, said| fits(case, said) && is_missing(said.held), Decision::Refuse);
    let rumour = |case: Case, said: Answers| {
        rivals(case, Less) && case.voice == Voice::Anybody && said.claimed == Answer::Open
    };
    row("second-hand", rumour, Decision::Merge);
}

#[test]
fn a_claimant_with_an_earlier_clock_is_told_what_it_has_to_pass() {
    let fits = |case: Case, said: Answers, held| {
        rivals(case, Less)
            && case.voice == Voice::Claimant
            && said.claimed == Answer::Alive
            && said.held == held
    };
    row("refuses", |case, said| fits(case, said, Answer::Refused), Decision::MovePast);
    row("silent", |case, said| fits(case, said, Answer::Silent), Decision::Wait);
    row("lives", |case, said| fits(case, said, Answer::Alive), Decision::Conflict);
}

#[test]
fn a_run_moves_by_its_own_later_word_alone() {
    let fits = |case: Case| {
        case.held != Held::Nobody
            && case.order == Equal
            && !case.is_same_address
            && case.is_live
            && case.is_later_word
    };
    let answered = |said: Answers| said.claimed == Answer::Alive;
    let moved = |case, said: Answers| fits(case) && answered(said) && is_missing(said.held);
    row("moved", moved, Decision::Take);
    let cloned = |case, said: Answers| fits(case) && answered(said) && said.held == Answer::Alive;
    row("cloned", cloned, Decision::Conflict);
    let stale = |case: Case, said: Answers| {
        case.held == Held::Live
            && said.claimed == Answer::Open
            && case.order == Equal
            && !case.is_same_address
            && !case.is_later_word
            && case.voice != Voice::Claimant
    };
    row("no later word", stale, Decision::Merge);
}

/// Whatever is claimed by whomever, a live run that answers keeps its id against every later run
/// elsewhere.
#[test]
fn a_run_that_answers_is_never_displaced_by_a_later_one_elsewhere() {
    for (case, said) in all() {
        let is_later = case.order == Greater && !case.is_same_address;
        if case.held == Held::Live && is_later && said.held == Answer::Alive {
            let decision = decide(case, said);
            assert!(
                matches!(decision, Decision::Conflict | Decision::Refuse | Decision::Ask),
                "{case:?}, {said:?}: {decision:?}"
            );
        }
    }
}

/// A question ends: once neither address is open, there is a decision.
#[test]
fn every_question_ends() {
    for (case, said) in all() {
        if said.claimed != Answer::Open && said.held != Answer::Open {
            assert_ne!(decide(case, said), Decision::Ask, "{case:?}, {said:?}");
        }
    }
}
