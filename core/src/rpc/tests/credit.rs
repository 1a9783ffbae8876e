//! §5.12, §5.7.7: credit, and what a peer cannot make a node hold.

use super::halves::{Half, WINDOW, data, first, fragment, grant};
use super::*;
use crate::rpc::connection::Phase;
use crate::rpc::credit::charge_of;
use crate::rpc::frame::{FLAG_ABORT, NO_TIMEOUT};

fn tight() -> Config {
    Config {
        message_len_max: 200_000,
        request_budget: 512 * 1024,
        stream_reserve_max: 256 * 1024,
        stream_pool_max: 256 * 1024,
        stream_window: 64 * 1024,
        stream_window_max: 64 * 1024,
        response_window: 64 * 1024,
        response_window_max: 256 * 1024,
        ..Config::default()
    }
}

fn ends(heard: &[Event]) -> bool {
    matches!(heard.last(), Some(Event::Closed(CloseReason::Protocol(_))))
}

fn deep(depth: u8, body: &[u8]) -> Request<'_> {
    Request { depth, ..request(body) }
}

#[test]
fn s5_12_8_bad_grants_end_the_connection_and_the_largest_is_no_overflow() {
    let window = u64::from(WINDOW);
    let cases = [
        (vec![grant(1, 0, 0, window - 1)], true),
        (vec![grant(1, 0, 0, 1 << 40), grant(1, 0, 0, (1 << 40) - 1)], true),
        (vec![grant(0, 0, 1, 1 << 40)], true),
        (vec![grant(0, 0, 2, 1 << 40)], true),
        (vec![grant(0, 0, 3, 7)], true),
        (vec![grant(0, 0, 4, u64::MAX)], true),
        (vec![frame(FrameHeader::new(Kind::Credit, 1), &[], &[1; 7])], true),
        (vec![frame(FrameHeader::new(Kind::Credit, 1), &[], &[1; 9_000])], true),
        (vec![grant(1, 0, 0, u64::MAX), grant(0, 0, 3, u64::MAX)], false),
        (vec![grant(1, 0, 0, window); 50], false),
        (vec![grant(77, 0, 0, 1), grant(77, 2, 0, 1)], false),
    ];
    for (case, (frames, is_bad)) in cases.iter().enumerate() {
        let mut half = Half::open(false, Shape::BIDIRECTIONAL);
        let heard = half.hear(&frames.concat());
        assert_eq!(ends(&heard), *is_bad, "case {case}: {heard:?}");
        if !is_bad {
            // With all the credit there is, the own queue bounds what waits.
            while half.end.send(start(), half.of, (&[0; 60_000]).into(), &[]).is_ok() {}
            assert!(half.end.queued_len() <= Config::default().outbound_len_max + 100_000);
        }
    }
}

#[test]
fn s5_12_6_chunks_without_credit_end_the_connection() {
    let floods: [(&str, Vec<u8>, u32); 4] = [
        ("chunks", data(1, 0, &[0; 1_000]), charge_of(1_000)),
        ("empty chunks", data(1, 0, &[]), charge_of(0)),
        ("large chunks", data(1, 0, &[0; 9_000]), charge_of(9_000)),
        (
            "chunks in fragments",
            [first(Kind::Data, 1, 0, 0, 32, &[]), fragment(0, 0, &[0; 32])].concat(),
            charge_of(32),
        ),
    ];
    for (what, frame, charge) in floods {
        let mut half = Half::open(false, Shape::BIDIRECTIONAL);
        let mut heard = Vec::new();
        for at in 0..WINDOW / charge {
            heard = half.hear(&frame);
            assert!(matches!(heard[..], [Event::Chunk { .. }]), "{what} {at}");
        }
        heard.extend(half.hear(&frame));
        assert!(ends(&heard), "{what}");
    }
}

#[test]
fn s5_12_5_a_chunk_is_no_longer_than_its_call_declares() {
    let mut half = Half::open(false, Shape::BIDIRECTIONAL);
    let (len, len_max) = (64 * 1024 + 1, 64 * 1024);
    let long = vec![0; len];
    let sent = half.end.send(start(), half.of, long[..].into(), &[]);
    assert_eq!(sent, Err(StreamError::TooLarge { len, len_max }));
    assert_eq!(half.end.send(start(), half.of, long[1..].into(), &[]), Ok(()));
    assert!(ends(&half.hear(&data(1, 0, &long))));
    let mut half = Half::open(false, Shape::BIDIRECTIONAL);
    assert_eq!(half.hear(&data(1, 0, &long[1..])).len(), 1, "its reserve holds the largest");

    // One that declares more than a message may have is refused by both ends.
    let mut pair = Pair::connected_with(Config::default(), tight());
    let large = Request { shape: Shape::BIDIRECTIONAL, chunk_len_max: 200_001, ..request(b"x") };
    let expected = RequestError::ChunkTooLarge { len: 200_001, len_max: 200_000 };
    assert_eq!(pair.a.request(pair.now, large), Err(expected));
    let mut end = beside_a_hand_written_peer(tight());
    let mut ext = extension(0, NO_TIMEOUT);
    ext.extend_from_slice(&[0; 3]);
    ext.extend_from_slice(&200_001u32.to_le_bytes());
    let flags = Shape::CLIENT_STREAMING.flags();
    let header = FrameHeader { flags, ..FrameHeader::new(Kind::Request, 1) };
    deliver(&mut end, start(), &frame(header, &ext, b"x"), usize::MAX);
    assert!(events(&mut end).is_empty());
    assert_eq!(parse(&drain(&mut end, start()))[0].0.code, Code::TooLarge.get());
}

/// This end no longer knows what the other holds.
fn send_whatever_the_budget(end: &mut Connection) {
    let Phase::Open(peer) = &mut end.phase else { panic!("connected") };
    peer.request_budget = u32::MAX;
}

#[test]
fn s5_12_3_a_burst_of_large_requests_waits_at_the_caller_and_small_ones_pass_it() {
    // Three quarters of half of 2 MiB hold six of these.
    let mut pair = Pair::connected_with(tight(), Config { request_budget: 2 << 20, ..tight() });
    let body = vec![1; 120_000];
    for _ in 0..20 {
        pair.a.request(pair.now, request(&body)).expect("taken");
    }
    assert_eq!((pair.a.calls_open(), pair.a.calls.begun_count()), (20, 6));
    let deeper = pair.a.request(pair.now, deep(1, &body)).expect("taken");
    assert!(pair.a.number_of(deeper).is_some(), "it may use more");
    let small = pair.a.request(pair.now, request(b"small")).expect("taken");
    assert!(pair.a.number_of(small).is_some(), "it waits behind no large one");
    let mut answered = 0;
    while pair.a.calls_open() > 0 {
        pair.pump();
        for id in inbound_ids(&events(&mut pair.b)) {
            pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("open");
        }
        pair.pump();
        for (_, result) in responses(events(&mut pair.a)) {
            result.expect("none is refused");
            answered += 1;
        }
    }
    assert_eq!(answered, 22);

    // One that is larger than the share goes alone.
    let mut pair = Pair::connected_with(tight(), tight());
    let Phase::Open(peer) = &mut pair.a.phase else { panic!("connected") };
    peer.request_budget = 0;
    for expected in [true, false] {
        let call = pair.a.request(pair.now, request(&body)).expect("taken");
        assert_eq!(pair.a.number_of(call).is_some(), expected);
    }
    // The other is sent in the end: only the peer knows what it holds.
    let wait = Config::default().room_wait_max / 4;
    assert_eq!(pair.a.poll_timeout(), Some(pair.now.mono + wait));
    pair.pass(wait);
    assert_eq!(pair.a.calls.begun_count(), 2);
    // Also if it cannot begin when it may: no timer stands still.
    let narrow = Config { in_flight_max: 1, request_budget: 2 << 20, ..tight() };
    let mut pair = Pair::connected_with(tight(), narrow);
    for _ in 0..2 {
        pair.a.request(pair.now, request(&body)).expect("taken");
    }
    pair.pass(wait);
    assert_eq!(pair.a.poll_timeout(), Some(pair.now.mono + 3 * wait));
}

/// One that is given up after it has waited leaves none behind it whose time is over.
#[test]
fn s5_12_3_a_late_timeout_looks_at_all_that_wait() {
    let narrow = Config { in_flight_max: 1, request_budget: 2 << 20, ..tight() };
    let mut pair = Pair::connected_with(tight(), narrow);
    let (body, wait) = (vec![1; 120_000], Config::default().room_wait_max);
    for _ in 0..2 {
        pair.a.request(pair.now, request(&body)).expect("taken");
    }
    pair.pass(wait / 8);
    let behind = pair.a.request(pair.now, request(&body)).expect("taken");
    pair.now.mono = pair.now.mono + wait - wait / 8;
    pair.a.handle_timeout(pair.now);
    assert_eq!(status(&mut pair.a).code, Code::Overloaded);
    assert!(pair.a.number_of(behind).is_none(), "there is no slot for it");
    assert_eq!(pair.a.poll_timeout(), Some(pair.now.mono + wait / 8));
}

/// A handler that streams has had its request, and others need not wait for what that held.
#[test]
fn s5_12_3_a_call_counts_no_longer_once_its_handler_has_sent_a_chunk() {
    let mut pair = Pair::connected_with(tight(), tight());
    let body = vec![1; 120_000];
    let shape = Shape::SERVER_STREAMING;
    let stream = Request { shape, chunk_len_max: 0, ..request(&body) };
    pair.a.request(pair.now, stream).expect("taken");
    pair.pump();
    let id = inbound_ids(&events(&mut pair.b))[0];
    let other = pair.a.request(pair.now, request(&body)).expect("taken");
    assert!(pair.a.number_of(other).is_none(), "three quarters of half of it hold one");
    pair.b.send(pair.now, StreamRef::Inbound(id), (&[1; 10]).into(), &[]).expect("room");
    pair.pump();
    assert!(pair.a.number_of(other).is_some());
}

/// What handlers keep is not waited for: what does not fit is refused, and nothing else is touched.
#[test]
fn s5_12_3_a_request_beyond_the_budget_is_refused_and_deeper_ones_may_use_more() {
    let mut pair = Pair::connected_with(tight(), tight());
    send_whatever_the_budget(&mut pair.a);
    let body = vec![1; 120_000];
    let mut kept = Vec::new();
    // Half of 512 KiB holds two, three quarters three, all of it four.
    for (depth, fits) in [(0, 2), (1, 1), (2, 1), (9, 0)] {
        for _ in 0..fits {
            pair.a.request(pair.now, deep(depth, &body)).expect("taken");
        }
        let beyond = pair.a.request(pair.now, deep(depth, &body)).expect("taken");
        pair.pump();
        let mut at_b = events(&mut pair.b);
        assert!(at_b.iter().all(|event| {
            matches!(event, Event::Request { depth: heard, .. } if *heard == depth)
        }));
        assert_eq!(at_b.len(), fits, "depth {depth}");
        kept.append(&mut at_b);
        let (call, result) = response(&mut pair.a);
        let status = result.expect_err("refused");
        assert_eq!((call, status.code, status.may_have_run()), (beyond, Code::Overloaded, false));
    }
    // Small ones, one-way ones, and chunks go on; a large one-way message is dropped.
    pair.call(b"small");
    pair.a.one_way(pair.now, request(&body)).expect("taken");
    pair.pump();
    assert!(events(&mut pair.b).is_empty());
    assert_eq!(pair.b.stats().one_way_dropped, 1);
    // What is answered and dropped leaves its room.
    let ids = inbound_ids(&kept);
    for id in ids {
        pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("open");
    }
    assert_eq!(pair.b.requests_held(), 4 * charge_of(120_000) as usize, "whoever holds them");
    kept.clear();
    assert_eq!(pair.b.requests_held(), 0);
    pair.pump();
    pair.call(&body);
}

#[test]
fn s5_12_4_a_request_is_charged_until_the_last_view_is_dropped_also_after_the_connection() {
    let mut pair = Pair::connected();
    let beside = [Bytes::from(vec![2; 30_000])];
    let with = Request { attachments: &beside, ..request(&[1; 60_000]) };
    pair.a.request(pair.now, with).expect("taken");
    pair.pump();
    let at_b = events(&mut pair.b);
    let [Event::Request { id, body, attachments, .. }] = &at_b[..] else { panic!("{at_b:?}") };
    let (body_view, attachment_view) = (body.slice(5..6), attachments[0].slice(1..2));
    pair.b.respond(pair.now, *id, Ok(Body::EMPTY)).expect("open");
    let budget = pair.b.flow.requests.clone();
    drop(at_b);
    pair.b.handle_closed(pair.now);
    assert_eq!(budget.held(), charge_of(90_000) as usize);
    drop(body_view);
    assert_eq!(budget.held(), charge_of(90_000) as usize);
    drop((attachment_view, pair));
    assert_eq!(budget.held(), 0);
}

#[test]
fn s5_12_3_a_refusal_aborts_the_fragments_that_are_left() {
    let slow = Config { transmit_len_max: 20_000, ..Config::default() };
    let mut pair = Pair::connected_with(slow, Config { request_budget: 2 << 20, ..tight() });
    send_whatever_the_budget(&mut pair.a);
    let kept = {
        let mut kept = Vec::new();
        for _ in 0..5 {
            pair.a.request(pair.now, request(&[1; 190_000])).expect("taken");
            pair.pump();
            kept.extend(events(&mut pair.b));
        }
        kept
    };
    assert_eq!(kept.len(), 5);
    let before = pair.sent_by_a.len();
    pair.a.request(pair.now, request(&[1; 190_000])).expect("taken");
    let mut out = Transmit::new();
    pair.a.poll_transmit(pair.now, &mut out);
    deliver(&mut pair.b, pair.now, &write(&mut out), usize::MAX);
    pair.b_to_a();
    assert_eq!(status(&mut pair.a).code, Code::Overloaded);
    pair.pump();
    assert!(pair.sent_by_a.len() - before < 20_000, "the rest stays");
    assert_eq!(pair.a.queued_len(), 0);
    pair.call(b"the lane is free");
}

#[test]
fn s5_12_2_calls_without_room_wait_in_order_and_begin_when_there_is_some() {
    let narrow = Config { in_flight_max: 4, ..Config::default() };
    let mut pair = Pair::connected_with(Config::default(), narrow);
    let calls: Vec<CallId> =
        (0..20u8).map(|at| pair.a.request(pair.now, request(&[at; 10])).expect("taken")).collect();
    assert_eq!(
        (pair.a.calls_open(), pair.a.calls.begun_count()),
        (20, 3),
        "depth 0: three of four"
    );
    let deep_call = pair.a.request(pair.now, deep(1, b"deep")).expect("taken");
    assert!(pair.a.number_of(deep_call).is_some(), "calls of handlers have the last slot");
    let mut order = Vec::new();
    while pair.a.calls_open() > 0 {
        pair.pump();
        for event in events(&mut pair.b) {
            let Event::Request { id, body, .. } = event else { panic!("{event:?}") };
            order.push(body[0]);
            pair.b.respond(pair.now, id, Ok(body.into())).expect("open");
        }
        pair.pump();
        for (call, result) in responses(events(&mut pair.a)) {
            result.unwrap_or_else(|status| panic!("{call:?}: {status}"));
        }
    }
    assert_eq!(order.len(), calls.len() + 1);
    order.retain(|&at| at != b'd');
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn s5_12_2_a_call_waits_no_longer_than_it_may_and_was_never_sent() {
    let narrow = Config { in_flight_max: 1, ..Config::default() };
    let mut pair = Pair::connected_with(Config::default(), narrow);
    let wait = Config::default().room_wait_max;
    let (holds, id) = pair.call(b"holds the slot");
    let first = pair.a.request(pair.now, request(b"first")).expect("taken");
    pair.pass(wait / 2);
    let second = pair.a.request(pair.now, request(b"second")).expect("taken");
    assert_eq!(pair.a.poll_timeout(), Some(pair.now.mono + wait / 2));
    pair.pass(wait / 2);
    let (call, result) = response(&mut pair.a);
    let status = result.expect_err("no room");
    assert_eq!((call, status.code, status.never_sent()), (first, Code::Overloaded, true));
    // Room comes: the other begins, and its wait is over.
    pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("open");
    pair.pump();
    assert_eq!(response(&mut pair.a).0, holds);
    assert_eq!(inbound_ids(&events(&mut pair.b)).len(), 1);
    pair.pass(wait);
    assert!(events(&mut pair.a).is_empty() && pair.a.number_of(second).is_some());
}

#[test]
fn s5_12_2_the_wait_for_room_begins_with_the_peers_hello() {
    let mut pair = Pair::with(Config::default(), Config { in_flight_max: 1, ..Config::default() });
    for _ in 0..2 {
        pair.a.request(pair.now, request(b"x")).expect("taken");
    }
    pair.pass(Duration::from_secs(4));
    assert!(events(&mut pair.a).is_empty(), "it may take that long to connect");
    pair.pump();
    assert_eq!(inbound_ids(&events(&mut pair.b)).len(), 1);
    pair.pass(Config::default().room_wait_max - MS);
    assert!(matches!(events(&mut pair.a)[..], [Event::Connected(_)]));
    pair.pass(MS);
    assert_eq!(status(&mut pair.a).code, Code::Overloaded);
}

#[test]
fn s5_12_2_what_waits_for_room_is_bounded_and_given_up_at_once() {
    let few = Config { waiting_calls_max: 20, waiting_len_max: 64 * 1024, ..Config::default() };
    let mut pair = Pair::connected_with(few, Config { in_flight_max: 1, ..Config::default() });
    pair.call(b"holds the slot");
    let waiting: Vec<CallId> =
        (0..10).map(|_| pair.a.request(pair.now, request(b"x")).expect("taken")).collect();
    assert_eq!(pair.a.request(pair.now, request(b"x")), Err(RequestError::Full));
    for &call in &waiting {
        assert!(pair.a.cancel(pair.now, call));
    }
    assert_eq!(pair.a.queued_len(), 0);
    pair.a.request(pair.now, request(&[0; 40_000])).expect("taken");
    assert_eq!(pair.a.request(pair.now, request(&[0; 40_000])), Err(RequestError::Full));
    // Calls that are made and given up, over and over, leave nothing behind.
    for _ in 0..10_000 {
        let other = Request { caller: 1, ..request(b"x") };
        let call = pair.a.request(pair.now, other).expect("taken");
        pair.a.cancel(pair.now, call);
    }
    assert!(pair.a.room.queued() < 200, "{}", pair.a.room.queued());
    // The end of the connection ends what waits: never sent.
    pair.a.handle_closed(pair.now);
    let ended = responses(events(&mut pair.a));
    assert_eq!(ended.len(), 2);
    assert!(
        ended[1].1.as_ref().is_err_and(Status::never_sent)
            || ended[0].1.as_ref().is_err_and(Status::never_sent)
    );
}

#[test]
fn s5_12_5_a_stream_is_promised_its_reserve_or_refused() {
    // 256 KiB hold three of 64 KiB and a little, each way.
    let mut pair = Pair::connected_with(Config::default(), tight());
    let open = |pair: &mut Pair| {
        let shape = Shape::CLIENT_STREAMING;
        let request = Request { shape, chunk_len_max: 0, ..request(b"x") };
        pair.a.request(pair.now, request).expect("taken");
        pair.pump();
        events(&mut pair.b)
    };
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.extend(inbound_ids(&open(&mut pair)));
    }
    assert_eq!(ids.len(), 3);
    assert!(open(&mut pair).is_empty());
    let refused = status(&mut pair.a);
    assert_eq!((refused.code, refused.may_have_run()), (Code::Overloaded, false));
    // Its end gives the reserve back.
    pair.b.respond(pair.now, ids[0], Ok(Body::EMPTY)).expect("open");
    pair.pump();
    assert_eq!(open(&mut pair).len(), 1);

    // At the caller, a call that streams to it waits for its own reserve.
    let mut pair = Pair::connected_with(tight(), Config::default());
    let shape = Shape::SERVER_STREAMING;
    for _ in 0..4 {
        let request = Request { shape, chunk_len_max: 0, ..request(b"x") };
        pair.a.request(pair.now, request).expect("taken");
    }
    pair.pump();
    let ids = inbound_ids(&events(&mut pair.b));
    assert_eq!((ids.len(), pair.a.calls_open()), (3, 4));
    pair.b.respond(pair.now, ids[0], Ok(Body::EMPTY)).expect("open");
    pair.pump();
    assert_eq!(inbound_ids(&events(&mut pair.b)).len(), 1);
}

/// The reserve is given back when the direction has ended and what it brought has been taken.
#[test]
fn s5_12_5_chunks_that_nobody_takes_keep_their_reserve() {
    let mut pair = Pair::connected();
    let (ours, _, id) = pair.open(Shape::CLIENT_STREAMING);
    pair.a.send(pair.now, ours, (&[1; 50_000]).into(), &[]).expect("room");
    pair.pump();
    let kept = events(&mut pair.b);
    pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("open");
    assert!(pair.b.flow.reserves.reserves.held() > 0);
    drop(kept);
    assert_eq!(pair.b.flow.reserves.reserves.held(), 0);
}

#[test]
fn s5_12_6_a_window_grows_into_the_pool_while_that_has_room() {
    // A quarter of 256 KiB at most each: 64 KiB, of which 47 KiB are beyond the reserve.
    let mut pair = Pair::connected_with(Config::default(), tight());
    let shape = Shape::CLIENT_STREAMING;
    let mut windows = Vec::new();
    for _ in 0..8 {
        let request = Request { shape, chunk_len_max: 1_000, ..request(b"x") };
        let call = pair.a.request(pair.now, request).expect("taken");
        pair.pump();
        let id = inbound_ids(&events(&mut pair.b))[0];
        pair.a.send(pair.now, StreamRef::Call(call), b"x".into(), &[]).expect("room");
        pair.pump();
        let reader = pair.b.streams.reader(StreamRef::Inbound(id)).expect("open");
        windows.push(reader.inflow.window());
    }
    let (large, small) = (64 * 1024, 16 * 1024);
    assert_eq!(windows, [large, large, large, large, large, small, small, small]);
}

#[test]
fn s5_12_7_answers_wait_for_who_takes_them_and_are_dropped_when_nobody_does() {
    let mut pair = Pair::connected_with(tight(), Config::default());
    let calls: Vec<CallId> =
        (0..4).map(|_| pair.a.request(pair.now, request(b"x")).expect("taken")).collect();
    pair.pump();
    for id in inbound_ids(&events(&mut pair.b)) {
        pair.b.respond(pair.now, id, Ok(vec![1; 40_000].into())).expect("open");
    }
    pair.pump();
    let taken = |pair: &mut Pair| {
        let helds = events(&mut pair.a).into_iter().map(|event| match event {
            Event::Response { call, held, .. } => (call, held),
            other => panic!("{other:?}"),
        });
        helds.collect::<Vec<_>>()
    };
    let mut kept = taken(&mut pair);
    assert_eq!(kept.iter().map(|(call, _)| *call).collect::<Vec<_>>(), calls[..2]);
    // Nobody takes them for ten seconds, and two more wait.
    pair.pass(Config::default().answer_wait_max - MS);
    assert!(events(&mut pair.a).is_empty());
    assert_eq!(pair.a.poll_timeout(), Some(pair.now.mono + MS));
    pair.pass(MS);
    let dropped = events(&mut pair.a);
    assert!(matches!(dropped[..], [Event::AnswerDropped(call)] if call == calls[0]), "{dropped:?}");
    assert_eq!(pair.a.stats().answers_dropped, 1);
    pair.pump();
    kept.extend(taken(&mut pair));
    assert_eq!(kept.len(), 3);
    // What is dropped is not given back again, what is left is.
    kept.drain(..).for_each(|(_, held)| pair.a.release(pair.now, held));
    pair.pump();
    kept = taken(&mut pair);
    assert_eq!(kept.len(), 1);
    pair.pass(10 * Config::default().answer_wait_max);
    assert!(events(&mut pair.a).is_empty(), "nobody waits for its room");
    kept.drain(..).for_each(|(_, held)| pair.a.release(pair.now, held));
    assert_eq!(pair.a.flow.answers.held(), 0);
}

#[test]
fn s5_7_4_what_a_callee_keeps_of_answers_that_wait_is_bounded() {
    let config = Config { answers_out_max: 100_000, ..Config::default() };
    let mut pair = Pair::connected_with(Config::default(), config);
    let ids: Vec<InboundId> = (0..4).map(|_| pair.call(b"x").1).collect();
    let answer = |pair: &mut Pair, id| pair.b.respond(pair.now, id, Ok(vec![1; 40_000].into()));
    assert_eq!(answer(&mut pair, ids[0]), Ok(()));
    assert_eq!(answer(&mut pair, ids[1]), Ok(()));
    assert_eq!(answer(&mut pair, ids[2]), Err(RespondError::Full));
    assert_eq!(pair.b.respond(pair.now, ids[3], Ok(b"small".into())), Ok(()));
    pair.pump();
    let failed: Vec<Status> =
        responses(events(&mut pair.a)).into_iter().filter_map(|(_, result)| result.err()).collect();
    let [status] = &failed[..] else { panic!("{failed:?}") };
    assert!(status.code == Code::Overloaded && status.may_have_run());
}

/// Requests that wait for room, and answers that wait for a taker, stop neither chunks nor gossip.
#[test]
fn s5_7_4_what_waits_for_room_does_not_count_against_what_waits_for_the_socket() {
    let small = Config { outbound_len_max: 64 * 1024, ..Config::default() };
    let narrow = Config { in_flight_max: 2, response_window: 16 * 1024, ..small.clone() };
    let mut pair = Pair::connected_with(narrow.clone(), narrow);
    let (ours, theirs, _) = pair.open(Shape::BIDIRECTIONAL);
    for _ in 0..5 {
        pair.a.request(pair.now, request(&[1; 40_000])).expect("taken");
    }
    pair.pump();
    // The second answer waits for the first to be taken, and is as much as may wait for the socket.
    for size in [20_000, 70_000] {
        let id = inbound_ids(&events(&mut pair.b))[0];
        pair.b.respond(pair.now, id, Ok(vec![1; size].into())).expect("open");
        pair.pump();
    }
    let kept = events(&mut pair.a);
    assert!(pair.a.queued_len() > 64 * 1024 && pair.b.queued_len() > 64 * 1024);
    for (side, of) in [(&mut pair.a, ours), (&mut pair.b, theirs)] {
        assert_eq!(side.send(pair.now, of, b"x".into(), &[]), Ok(()));
        assert_eq!(side.gossip(pair.now, b"g"), Ok(()));
        assert_eq!(side.one_way(pair.now, request(b"o")), Ok(()));
    }
    drop(kept);
}

#[test]
fn s5_7_4_a_stream_may_always_have_one_chunk_waiting() {
    let small = Config { outbound_len_max: 64 * 1024, ..Config::default() };
    let mut pair = Pair::connected_with(small, Config::default());
    let shape = Shape::CLIENT_STREAMING;
    let [one, other] = [(); 2].map(|()| pair.open(shape).0);
    pair.a.request(pair.now, request(&[1; 100_000])).expect("taken");
    for of in [one, other] {
        assert_eq!(pair.a.send(pair.now, of, (&[2; 9_000]).into(), &[]), Ok(()));
        assert_eq!(
            pair.a.send(pair.now, of, (&[2; 9_000]).into(), &[]),
            Err(StreamError::Blocked),
            "one"
        );
    }
    let waits = pair.a.request(pair.now, request(&[3; 9_000])).expect("taken");
    assert_eq!(pair.a.number_of(waits), None, "large calls wait until less waits for the socket");
    let small = pair.a.request(pair.now, request(b"x")).expect("taken");
    assert!(pair.a.number_of(small).is_some(), "small ones do not");
    assert_eq!(pair.a.one_way(pair.now, request(b"x")), Err(RequestError::Full));
    pair.pump();
    assert!(pair.a.number_of(waits).is_some());
    let told = events(&mut pair.a);
    assert!(matches!(told[..], [Event::Sendable(a), Event::Sendable(b)] if [a, b] == [one, other]));
}

#[test]
fn s5_12_6_what_is_late_or_aborted_is_not_charged() {
    let mut half = Half::open(false, Shape::BIDIRECTIONAL);
    half.end_call();
    let ext = extension(0, NO_TIMEOUT);
    for _ in 0..2_000 {
        let mut bytes = data(1, 0, &[0; 9_000]);
        bytes.extend(data(1, 0, &[0; 10]));
        bytes.extend(first(Kind::Data, 1, 0, 0, 500, &[]));
        bytes.extend(fragment(0, FLAG_ABORT, &[]));
        bytes.extend(first(Kind::Request, 9, 0, 0, 9_000, &ext));
        bytes.extend(fragment(0, FLAG_ABORT, &[]));
        bytes.extend(frame(FrameHeader::new(Kind::Response, 5), &ext, &[0; 9_000]));
        bytes.extend(raw_request(20_000, NO_TIMEOUT, &[0; 9_000]));
        bytes.extend(frame(FrameHeader::new(Kind::OneWay, 0), &extension(0, 0), &[0; 9_000]));
        assert!(half.hear(&bytes).is_empty());
        drain(&mut half.end, start());
    }
    nothing_is_held(&mut half.end);
}

#[test]
fn s5_12_8_grants_are_few_and_a_peer_that_does_not_read_gets_none() {
    let mut half = Half::open(false, Shape::CLIENT_STREAMING);
    let mut sent = 0;
    loop {
        let heard = half.hear(&data(1, 0, &[0; 5_000]));
        let [Event::Chunk { .. }] = &heard[..] else { break };
        sent += 1;
        for event in heard {
            if let Event::Chunk { held, .. } = event {
                half.end.release(start(), held);
            }
        }
        assert!(half.end.queued_len() < 200, "nothing piles up");
    }
    assert!(half.end.is_closed(), "it went on without a grant");
    assert_eq!(sent, WINDOW / charge_of(5_000));
}

#[test]
fn s5_12_6_windows_grow_to_their_limit_on_a_long_fast_path_and_not_on_a_short_one() {
    let roomy = Config {
        stream_pool_max: 4 << 20,
        stream_window: 32 * 1024,
        stream_window_max: 256 * 1024,
        ..Config::default()
    };
    for (round_trip, is_growing) in [(50 * MS, true), (Duration::ZERO, false)] {
        let mut pair = Pair::connected_with(Config::default(), roomy.clone());
        let shape = Shape::CLIENT_STREAMING;
        let request = Request { shape, chunk_len_max: 4_000, ..request(b"x") };
        let ours = StreamRef::Call(pair.a.request(pair.now, request).expect("taken"));
        pair.pump();
        events(&mut pair.b);
        let mut most = 0;
        for _ in 0..200 {
            let mut sent = 0;
            while pair.a.send(pair.now, ours, (&[1; 4_000]).into(), &[]).is_ok() {
                sent += 1;
            }
            most = most.max(sent * charge_of(4_000));
            pair.now = later(pair.now, round_trip / 2);
            pair.a_to_b();
            for event in events(&mut pair.b) {
                if let Event::Chunk { held, .. } = event {
                    pair.b.release(pair.now, held);
                }
            }
            // Where the path is short, the consumer is what takes time.
            pair.now =
                later(pair.now, round_trip / 2 + if is_growing { Duration::ZERO } else { MS });
            pair.b_to_a();
            events(&mut pair.a);
        }
        let limit = if is_growing { roomy.stream_window_max } else { roomy.stream_window };
        assert!(most <= limit && most > limit - 2 * charge_of(4_000), "{most} of {limit}");
    }
}

#[test]
fn a_slow_consumer_blocks_its_own_stream_and_no_other() {
    let mut pair = Pair::connected();
    let open = |pair: &mut Pair| {
        let shape = Shape::CLIENT_STREAMING;
        let request = Request { shape, chunk_len_max: 0, ..request(b"x") };
        let call = pair.a.request(pair.now, request).expect("taken");
        pair.pump();
        events(&mut pair.b);
        StreamRef::Call(call)
    };
    let slow: Vec<StreamRef> = (0..100).map(|_| open(&mut pair)).collect();
    let mut kept = Vec::new();
    for _ in 0..3 {
        for &of in &slow {
            while pair.a.send(pair.now, of, (&[1; 10_000]).into(), &[]).is_ok() {}
        }
        pair.pump();
        kept.extend(events(&mut pair.b));
    }
    assert!(kept.len() > 100 * 6, "they are full");
    let fast = open(&mut pair);
    let mut got = 0;
    for _ in 0..400 {
        while pair.a.send(pair.now, fast, (&[2; 10_000]).into(), &[]).is_ok() {}
        pair.pump();
        for event in events(&mut pair.b) {
            let Event::Chunk { body, held, .. } = event else { panic!("{event:?}") };
            assert_eq!(body[0], 2);
            pair.b.release(pair.now, held);
            got += body.len();
        }
    }
    assert!(got > 20_000_000, "{got}");
    for &of in &slow {
        let sent = pair.a.send(pair.now, of, (&[1; 10_000]).into(), &[]);
        assert_eq!(sent, Err(StreamError::Blocked));
    }
    let (_, id) = pair.call(&[3; 100_000]);
    pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("calls go on");
}

/// §5.12.9.
#[test]
fn s5_12_9_connections_of_one_node_share_its_budget() {
    let node = Budget::new(300_000);
    let mut peers = [(); 2].map(|()| {
        let mut end = connection(1, Config::default());
        end.draw_on(&node);
        let greeting = hello(2).encode(&Config::default());
        deliver(&mut end, start(), &greeting, usize::MAX);
        deliver(&mut end, start(), &intern(0, "echo", "say"), usize::MAX);
        events(&mut end);
        drain(&mut end, start());
        end
    });
    let mut kept = Vec::new();
    let mut hear = |end: &mut End, call| {
        deliver(end, start(), &raw_request(call, NO_TIMEOUT, &[1; 100_000]), usize::MAX);
        let heard = events(end);
        let is_taken = !heard.is_empty();
        kept.extend(heard);
        is_taken
    };
    assert!(hear(&mut peers[0], 1), "depth 0 has half of it");
    assert!(!hear(&mut peers[1], 1), "which the other has used up");
    assert_eq!(node.held(), charge_of(100_000) as usize);
    kept.clear();
    assert_eq!(node.held(), 0);
    deliver(&mut peers[1], start(), &raw_request(2, NO_TIMEOUT, &[1; 100_000]), usize::MAX);
    assert_eq!(events(&mut peers[1]).len(), 1);
}

#[test]
fn s5_7_7_what_a_peer_can_make_a_node_hold_is_bounded() {
    let config = Config { in_flight_max: 8, events_max: 32, ..tight() };
    let bound = config.held_max();
    let mut most = 0;
    for seed in 0..60 {
        let mut rng = crate::rng::Rng::new(seed);
        let mut connection = beside_a_hand_written_peer(config.clone());
        let (mut kept, mut out) = (Vec::new(), Transmit::new());
        // It keeps to the rules, or the connection would end: what is left on each lane, and how
        // many chunks each call had. Calls of even slots stream.
        let (mut left, mut chunks) = ([0usize; 4], [0; 8]);
        for round in 0..600u32 {
            let (call, lane) = (rng.below(8), u8::try_from(rng.below(4)).expect("small"));
            let at = usize::from(lane);
            let len = [0, 10, 8_000, 20_000, 60_000, 190_000][rng.index(6)];
            let shape = if call % 2 == 0 { Shape::BIDIRECTIONAL } else { Shape::UNARY };
            let code = u16::try_from(rng.below(3)).expect("small");
            let (flags, ext) = (shape.flags(), extension(0, NO_TIMEOUT));
            let bytes = match rng.below(6) {
                0 | 1 => frame(
                    FrameHeader { flags, code, ..FrameHeader::new(Kind::Request, call) },
                    &ext,
                    &vec![0; len],
                ),
                2 => frame(FrameHeader::new(Kind::OneWay, 0), &ext, &vec![0; len]),
                3 if call % 2 == 0 && chunks[call as usize] < 7 => {
                    chunks[call as usize] += 1;
                    data(call, 0, &[0; 8_000])
                }
                _ if left[at] == 0 => {
                    left[at] = 150_000;
                    first(Kind::OneWay, 0, 0, lane, 150_000, &ext)
                }
                _ => {
                    let len = left[at].min(16 * (1 + rng.index(1_000)));
                    left[at] -= len;
                    fragment(lane, 0, &vec![0; len])
                }
            };
            deliver(&mut connection, start(), &bytes, usize::MAX);
            kept.extend(events(&mut connection));
            // The application takes nothing; now and then what is to be written leaves.
            if round % 50 == 0 {
                connection.poll_transmit(start(), &mut out);
                write(&mut out);
            }
            if connection.is_closed() {
                break;
            }
        }
        let len = |event: &Event| match event {
            Event::Request { body, .. }
            | Event::OneWay { body, .. }
            | Event::Chunk { body, .. } => body.len() + 256,
            _ => 256,
        };
        let held: usize = kept.iter().map(len).sum::<usize>() + connection.receiver.held_len();
        assert!(held <= bound, "seed {seed}: {held} of {bound}");
        most = most.max(held);
    }
    assert!(most > 500_000, "the peers reach something: {most}");
}

/// A worst peer, by hand: it fills every resource there is, and the bound holds with little to
/// spare.
#[test]
fn s5_7_7_the_worst_peer_fills_what_it_can_and_no_more() {
    let config = Config { in_flight_max: 16, events_max: 64, ..tight() };
    let bound = config.held_max();
    let mut end = beside_a_hand_written_peer(config.clone());
    let ext = extension(0, NO_TIMEOUT);
    let mut kept = Vec::new();
    let mut hear = |end: &mut End, bytes: &[u8]| {
        deliver(end, start(), bytes, usize::MAX);
        kept.extend(events(end));
        assert!(!end.is_closed(), "it keeps to the rules");
        drain(end, start());
    };
    // Streams, whose windows it fills; deep requests, which may use all of the budget; one-way
    // messages; and messages that never become whole, one a lane.
    for call in 0..3 {
        let flags = Shape::CLIENT_STREAMING.flags();
        let header = FrameHeader { flags, ..FrameHeader::new(Kind::Request, call) };
        hear(&mut end, &frame(header, &ext, b"x"));
        hear(&mut end, &data(call, 0, &vec![0; 64 * 1024]));
    }
    for call in 3..16 {
        let header = FrameHeader { code: 2, ..FrameHeader::new(Kind::Request, call) };
        hear(&mut end, &frame(header, &ext, &vec![0; 100_000]));
    }
    for _ in 0..200 {
        hear(&mut end, &frame(FrameHeader::new(Kind::OneWay, 0), &ext, &[0; 8_000]));
    }
    let budget = config.request_budget as usize;
    assert!(end.requests_held() <= budget && end.requests_held() > budget - 110_000);
    let len = |event: &Event| match event {
        Event::Request { body, .. } | Event::OneWay { body, .. } | Event::Chunk { body, .. } => {
            body.len() + 256
        }
        _ => 256,
    };
    let held: usize = kept.iter().map(len).sum::<usize>() + end.receiver.held_len();
    assert!(held <= bound + 200 * 8_300 && held > budget, "{held} of {bound}");
}
