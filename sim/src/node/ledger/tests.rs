//! Each rule of the books is broken once, and a sound story is not.

use std::time::Duration;

use chinwag::protocol::time::Instant;
use chinwag::{Code, Status};

use super::{Ledger, Pieces};

fn caught(story: impl FnOnce(&Ledger)) -> Option<&'static str> {
    let ledger = Ledger::default();
    story(&ledger);
    ledger
        .check()
        .and_then(|()| ledger.is_quiet(&[0, 1, 2]))
        .err()
        .map(|violation| violation.oracle)
}

#[test]
fn sound_calls_pass() {
    let found = caught(|ledger| {
        let answered = ledger.begin(0, 1);
        drop(ledger.runs(answered.id, 1, true));
        answered.is_in_time(Instant::ZERO, Instant::ZERO, false);
        answered.ends(Ok(()));
        ledger.begin(0, 1).ends(Err(&Status::new(Code::Unavailable, "")));
        let lost = ledger.begin(1, 0);
        drop(ledger.runs(lost.id, 0, true));
        lost.ends(Err(&Status::new(Code::ConnectionLost, "")));
        let dropped = ledger.begin(1, 0);
        let id = dropped.id;
        drop(dropped);
        drop(ledger.runs(id, 0, true));
        ledger.begin(2, 0).leaves();
        let mut pieces = Pieces::new(ledger, 5, 2);
        (0..2).for_each(|number| pieces.takes(5, number, true));
        pieces.are_all();
        // One that ended early, and was not told to be whole.
        Pieces::new(ledger, 6, 2).takes(6, 0, true);
    });
    assert_eq!(found, None);
}

#[test]
fn what_is_unsound_is_caught() {
    let twice = caught(|ledger| {
        let call = ledger.begin(0, 1);
        drop(ledger.runs(call.id, 1, true));
        drop(ledger.runs(call.id, 1, true));
    });
    assert_eq!(twice, Some("rpc_once"));
    let elsewhere = caught(|ledger| drop(ledger.runs(ledger.begin(0, 1).id, 2, true)));
    assert_eq!(elsewhere, Some("rpc_once"));
    assert_eq!(caught(|ledger| drop(ledger.runs(7, 2, true))), Some("rpc_once"), "made by nobody");
    let unanswered = caught(|ledger| ledger.begin(0, 1).ends(Ok(())));
    assert_eq!(unanswered, Some("rpc_never_ran"));
    let lied = caught(|ledger| {
        let call = ledger.begin(0, 1);
        drop(ledger.runs(call.id, 1, true));
        call.ends(Err(&Status::never_ran(Code::Overloaded, "")));
    });
    assert_eq!(lied, Some("rpc_never_ran"));
    let lied_ahead = caught(|ledger| {
        let call = ledger.begin(0, 1);
        let id = call.id;
        call.ends(Err(&Status::unsent(Code::Unavailable, "")));
        drop(ledger.runs(id, 1, true));
    });
    assert_eq!(lied_ahead, Some("rpc_never_ran"));
    let removed = caught(|ledger| {
        let call = ledger.begin(0, 1);
        drop(ledger.runs(call.id, 1, false));
    });
    assert_eq!(removed, Some("rpc_removed"));
    let late = caught(|ledger| {
        let call = ledger.begin(0, 1);
        call.is_in_time(
            Instant::ZERO + Duration::from_secs(2),
            Instant::ZERO + Duration::from_secs(1),
            false,
        );
    });
    assert_eq!(late, Some("rpc_deadline"));
    let pending = caught(|ledger| std::mem::forget(ledger.begin(0, 1)));
    assert_eq!(pending, Some("rpc_pending"));
    let leaked = caught(|ledger| {
        let call = ledger.begin(0, 1);
        std::mem::forget(ledger.runs(call.id, 1, true));
    });
    assert_eq!(leaked, Some("rpc_handlers"));
}

#[test]
fn chunks_that_are_not_those_that_were_sent_are_caught() {
    let stories: [&[(u64, u32, bool)]; 6] = [
        &[(5, 0, true), (5, 0, true)],
        &[(5, 1, true), (5, 0, true)],
        &[(5, 0, true), (5, 2, true)],
        &[(6, 0, true)],
        &[(5, 0, false)],
        &[(5, 0, true), (5, 1, true), (5, 2, true), (5, 3, true)],
    ];
    for story in stories {
        let found = caught(|ledger| {
            let mut pieces = Pieces::new(ledger, 5, 3);
            story.iter().for_each(|&(of, number, is_whole)| pieces.takes(of, number, is_whole));
        });
        assert_eq!(found, Some("rpc_chunks"), "{story:?}");
    }
    let short = caught(|ledger| {
        let mut pieces = Pieces::new(ledger, 5, 3);
        pieces.takes(5, 0, true);
        pieces.are_all();
    });
    assert_eq!(short, Some("rpc_chunks"), "the end of the stream is taken for the whole");
}

const SECOND: u64 = 1_000_000_000;

/// What the books catch when they are looked at every second for half a minute.
fn watched(clear_since: Option<u64>, mut story: impl FnMut(&Ledger, u64)) -> Option<&'static str> {
    let ledger = Ledger::default();
    let mut seconds = 0..30;
    let found = seconds.find_map(|second| {
        story(&ledger, second);
        ledger.watch(second * SECOND, clear_since, |host| host != 9).err()
    });
    found.map(|violation| violation.oracle)
}

#[test]
fn a_call_that_does_not_move_is_caught_unless_something_disturbs_it() {
    let mut kept = Vec::new();
    let mut stands = |from| {
        kept.clear();
        let mut begin = |ledger: &Ledger, second| {
            if second == 0 {
                kept.push(ledger.begin(from, 1));
            }
        };
        (
            watched(Some(0), &mut begin),
            watched(None, &mut begin),
            watched(Some(25 * SECOND), &mut begin),
        )
    };
    assert_eq!(stands(0), (Some("progress"), None, None));
    // Its caller stands still itself.
    assert_eq!(stands(9), (None, None, None));
}

#[test]
fn a_call_that_moves_ends_or_is_not_polled_is_not_caught() {
    let (mut calls, mut pieces) = (Vec::new(), None);
    let moves = watched(Some(0), |ledger, second| {
        if second == 0 {
            calls.push(ledger.begin(0, 1));
            pieces = Some(Pieces::new(ledger, calls[0].id, 100));
        }
        if second % 5 == 0 {
            let taken = u32::try_from(second / 5).expect("a few");
            pieces.as_mut().expect("begun").takes(0, taken, true);
        }
    });
    assert_eq!(moves, None);
    calls.clear();
    let ends = watched(Some(0), |ledger, second| match second {
        0 => calls.push(ledger.begin(0, 1)),
        5 => calls.clear(),
        _ => {}
    });
    assert_eq!(ends, None);
    let is_held = |polled_again_at| {
        let mut held = Vec::new();
        watched(Some(0), |ledger, second| {
            if second == 0 {
                held.push(ledger.begin(0, 1));
                held[0].is_polled(false);
            } else if second == polled_again_at {
                held[0].is_polled(true);
            }
        })
    };
    assert_eq!((is_held(25), is_held(15)), (None, Some("progress")));
}

#[test]
fn a_call_reaches_a_run_that_its_caller_has_held_since_it_was_begun() {
    let reaches = |before: &[Option<u64>], since: &[Option<u64>], epoch| {
        caught(|ledger| {
            before.iter().for_each(|&epoch| ledger.holds(0, 1, epoch));
            let call = ledger.begin(0, 1);
            since.iter().for_each(|&epoch| ledger.holds(0, 1, epoch));
            ledger.reaches(call.id, epoch);
        })
    };
    assert_eq!(reaches(&[Some(5)], &[], 5), None);
    assert_eq!(reaches(&[Some(4), Some(5)], &[Some(6)], 5), None);
    assert_eq!(reaches(&[Some(4), Some(5)], &[Some(6)], 6), None);
    assert_eq!(reaches(&[Some(4), Some(5)], &[Some(6)], 4), Some("who_is_reached"));
    assert_eq!(reaches(&[Some(5)], &[], 6), Some("who_is_reached"));
    // A process that has moved from one epoch to another is reached by whoever holds either.
    let moves = |starts_anew: bool| {
        caught(|ledger| {
            ledger.holds(1, 1, Some(5));
            ledger.holds(0, 1, Some(5));
            if starts_anew {
                ledger.leaves(1, None);
            }
            ledger.holds(1, 1, Some(6));
            let call = ledger.begin(0, 1);
            ledger.reaches(call.id, 6);
        })
    };
    assert_eq!((moves(false), moves(true)), (None, Some("who_is_reached")));
    // While no run is held, any may be reached.
    assert_eq!(reaches(&[], &[], 6), None);
    assert_eq!(reaches(&[Some(5)], &[None], 6), None);
    assert_eq!(reaches(&[None, Some(5)], &[], 6), Some("who_is_reached"));
}

#[test]
fn a_call_to_a_leaver_is_not_lost_before_its_time() {
    let lost_at = |lost_at, clear_since| {
        watched(clear_since, |ledger, second| {
            if second == 2 {
                ledger.leaves(1, Some(2 * SECOND));
            }
            if second == lost_at {
                ledger.begin(0, 1).ends(Err(&Status::new(Code::ConnectionLost, "")));
            }
        })
    };
    assert_eq!(lost_at(1, Some(0)), None);
    assert_eq!(lost_at(3, Some(0)), Some("leave"));
    assert_eq!(lost_at(3, None), None);
    assert_eq!(lost_at(8, Some(7 * SECOND)), None, "a fault was there when it began to leave");
}
