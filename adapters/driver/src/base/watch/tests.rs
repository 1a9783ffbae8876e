use std::time::Duration;

use chinwag_core::clock::SharedHlc;
use chinwag_core::id::Epoch;
use chinwag_core::membership::{Config, Local, Membership, Metadata};
use chinwag_core::time::{Instant, Now, WallTime};

use super::*;

fn numbered(number: u64) -> Event {
    Event::Broadcast { from: number.into(), payload: bytes::Bytes::new() }
}

#[test]
fn a_slow_reader_is_told_how_much_it_missed_and_where() {
    let queue = Queue::default();
    let burst: Vec<Event> = (0..).map(numbered).take(WATCH_EVENTS_MAX + 10).collect();
    assert!(queue.push(&burst).is_none());
    let mut state = lock(&queue.state);
    assert_eq!(state.pop(), Some(numbered(0)));
    assert_eq!(state.pop(), Some(numbered(1)));
    state.push(&numbered(5_000));
    let rest: Vec<Event> = std::iter::from_fn(|| state.pop()).collect();
    assert_eq!(rest.len(), WATCH_EVENTS_MAX, "never more than the limit");
    assert_eq!(rest[rest.len() - 2..], [Event::Lost(10), numbered(5_000)]);
}

#[test]
fn a_watch_is_registered_until_it_is_dropped() {
    let local = Local {
        id: 1.into(),
        epoch: Epoch::new(1),
        addr: "10.0.0.1:1".parse().expect("an address"),
        metadata: Metadata::new(),
    };
    let now = Now { mono: Instant::ZERO, wall: WallTime::from_nanos(1 << 60) };
    let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
    let machine = Membership::new(Config::lan(), local, clock, 1, now).expect("a valid config");
    let board = Board::new(machine.snapshot());
    for _ in 0..10_000 {
        drop(board.watch());
    }
    let kept = board.watch();
    assert_eq!(lock(&board.watches).queues.len(), 1);
    drop(kept);
    assert!(lock(&board.watches).queues.is_empty());
}

#[test]
fn what_was_lost_last_is_told_too() {
    let queue = Queue::default();
    let burst: Vec<Event> = (0..).map(numbered).take(WATCH_EVENTS_MAX + 3).collect();
    queue.push(&burst);
    let mut state = lock(&queue.state);
    let all: Vec<Event> = std::iter::from_fn(|| state.pop()).collect();
    assert_eq!(all.len(), WATCH_EVENTS_MAX + 1);
    assert_eq!(all.last(), Some(&Event::Lost(3)));
    assert_eq!(state.pop(), None);
}
