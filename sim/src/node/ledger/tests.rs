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
