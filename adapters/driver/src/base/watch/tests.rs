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
