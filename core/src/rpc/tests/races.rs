//! What crosses on its way: cancels and what they cancel, ids that come back, go-aways and streams,
//! deadlines and credit.

use super::*;

/// The only slot there is passes to the next call while chunks and the answer of the one before are
/// under way: neither hears of the other.
#[test]
fn s5_4_3_chunks_and_answers_of_a_cancelled_call_are_not_the_next_one_s() {
    let narrow = Config { in_flight_max: 1, ..Config::default() };
    let shape = Shape::BIDIRECTIONAL;
    // Short chunks, and long ones, which are cut off in the middle.
    for len in [10, 200_000] {
        let mut pair = Pair::connected_with(narrow.clone(), narrow.clone());
        let (mut last, mut theirs, mut id) = pair.open(shape);
        for round in 0..20_u8 {
            let now = pair.now;
            let chunk = vec![round; len];
            for (side, of) in [(&mut pair.a, last), (&mut pair.b, theirs)] {
                side.send(now, of, chunk[..].into(), &[]).expect("credit");
            }
            // Some of it has left each side when both have had enough.
            let (mut to_b, mut to_a) = (Transmit::new(), Transmit::new());
            pair.a.poll_transmit(now, &mut to_b);
            pair.b.poll_transmit(now, &mut to_a);
            let StreamRef::Call(call) = last else { panic!("ours") };
            assert!(pair.a.cancel(now, call));
            pair.b.respond(now, id, Ok(b"late"[..].into())).expect("not yet heard of");
            let next = pair
                .a
                .request(now, Request { shape, ..request(b"open") })
                .expect("the slot is free");
            pair.a.send(now, StreamRef::Call(next), b"next".into(), &[]).expect("credit");

            deliver(&mut pair.b, now, &write(&mut to_b), usize::MAX);
            deliver(&mut pair.a, now, &write(&mut to_a), usize::MAX);
            pair.pump();
            let at_b = events(&mut pair.b);
            let is_new = |stream: &StreamRef| *stream != theirs;
            let chunks = at_b.iter().filter(|event| matches!(event, Event::Chunk { stream, body, .. } if is_new(stream) && body == &b"next"[..]));
            assert_eq!(chunks.count(), 1, "{round}: {at_b:?}");
            let stray = at_b.iter().any(|event| matches!(event, Event::Chunk { stream, body, .. } if is_new(stream) && body != &b"next"[..]));
            assert!(!stray, "{round}: {at_b:?}");
            let new = inbound_ids(&at_b);
            for event in at_b {
                if let Event::Chunk { held, .. } = event {
                    pair.b.release(now, held);
                }
            }
            assert_eq!(new.len(), 1, "{round}");
            assert!(
                events(&mut pair.a).is_empty(),
                "{round}: the new call hears nothing of the old one"
            );
            (last, theirs, id) = (StreamRef::Call(next), StreamRef::Inbound(new[0]), new[0]);
        }
        let now = pair.now;
        pair.b.respond(now, id, Ok(b"in time"[..].into())).expect("open");
        pair.pump();
        assert_eq!(response(&mut pair.a).1, Ok("in time".into()));
        assert!(pair.a.stats().late_replies >= 20 && !pair.b.is_closed());
        nothing_is_held(&mut pair.a);
        nothing_is_held(&mut pair.b);
    }
}

/// Streams of both sides go on in both directions until they are answered; only then is the
/// connection drained.
#[test]
fn s5_9_1_streams_both_ways_outlive_a_go_away() {
    for both in [false, true] {
        let mut pair = Pair::connected();
        let now = pair.now;
        let (ours, theirs, id) = pair.open(Shape::BIDIRECTIONAL);
        let call = pair
            .b
            .request(now, Request { shape: Shape::BIDIRECTIONAL, ..request(b"back") })
            .expect("taken");
        pair.pump();
        let back = inbound_ids(&events(&mut pair.a))[0];
        pair.a.go_away(now);
        if both {
            pair.b.go_away(now);
        }
        let streams = [(ours, theirs), (StreamRef::Inbound(back), StreamRef::Call(call))];
        for len in [5, 300_000, 0] {
            for (at_a, at_b) in streams {
                pair.a.send(now, at_a, vec![1; len][..].into(), &[]).expect("it goes on");
                pair.b.send(now, at_b, vec![2; len][..].into(), &[]).expect("it goes on");
            }
            pair.pump();
            for side in [&mut pair.a, &mut pair.b] {
                let chunks = events(side).into_iter().filter_map(|event| match event {
                    Event::Chunk { body, held, .. } => Some((body.len(), held)),
                    _ => None,
                });
                let chunks: Vec<_> = chunks.collect();
                assert_eq!(chunks.iter().map(|(len, _)| *len).collect::<Vec<_>>(), [len, len]);
                chunks.into_iter().for_each(|(_, held)| side.release(now, held));
            }
            pair.pump();
        }
        pair.b.respond(now, id, Ok(Body::EMPTY)).expect("open");
        pair.pump();
        assert!(!pair.a.is_closed() && !pair.b.is_closed(), "one is still open");
        pair.a.respond(now, back, Ok(Body::EMPTY)).expect("open");
        pair.pump();
        assert!(matches!(closed(&mut pair.a), Some(CloseReason::Drained)));
        assert!(matches!(closed(&mut pair.b), Some(CloseReason::Drained)));
    }
}

/// It was never sent, and whoever waits behind it takes its place.
#[test]
fn s5_12_2_a_deadline_passes_while_a_call_waits_for_room() {
    let narrow = Config { in_flight_max: 2, ..Config::default() };
    let mut pair = Pair::connected_with(Config::default(), narrow);
    let body = vec![1; 40_000];
    for _ in 0..2 {
        pair.a.request(pair.now, request(&body)).expect("taken");
    }
    let hurried = pair.a.request(pair.now, within(10 * MS, &body)).expect("taken");
    let behind = pair.a.request(pair.now, request(&[2; 40_000])).expect("taken");
    pair.pump();
    let ids = inbound_ids(&events(&mut pair.b));
    assert_eq!(ids.len(), 2, "there are no slots for more");
    pair.pass(10 * MS);
    let (call, ended) = response(&mut pair.a);
    let status = ended.expect_err("late");
    assert_eq!(
        (call, status.code, status.never_sent()),
        (hurried, Code::DeadlineExceeded, true),
        "{status}"
    );
    pair.pump();
    assert!(events(&mut pair.b).is_empty(), "nothing of it leaves");
    pair.b.respond(pair.now, ids[0], Ok(Body::EMPTY)).expect("open");
    pair.pump();
    let at_b = events(&mut pair.b);
    let [Event::Request { id, body, .. }] = &at_b[..] else { panic!("{at_b:?}") };
    assert_eq!(body, &[2; 40_000][..]);
    let (last, id) = (ids[1], *id);
    for id in [last, id] {
        pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("open");
    }
    drop(at_b);
    pair.pump();
    let ended = responses(events(&mut pair.a));
    assert!(ended.len() == 3 && ended[2].0 == behind, "{ended:?}");
    nothing_is_held(&mut pair.b);
}
