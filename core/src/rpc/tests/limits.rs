//! §5.7.

use super::*;
use crate::rpc::config::{GOSSIP_LEN_MAX, OWED_LEN_MAX, SKIP_LEN_MAX};
use crate::rpc::frame::NO_TIMEOUT;

fn tight() -> Config {
    Config { message_len_max: 10_000, headers_len_max: 256, ..Config::default() }
}

#[test]
fn s5_7_1_a_sender_refuses_what_the_receiver_would_not_take() {
    let mut pair = Pair::connected_with(Config::default(), tight());
    let before = pair.a.stats();
    let wide = Headers::new().with("k", &[0; 300]).expect("small");
    let too_large = RequestError::TooLarge { len: 10_001, len_max: 10_000 };
    assert_eq!(pair.a.request(pair.now, request(&[0; 10_001])), Err(too_large));
    assert_eq!(pair.a.one_way(pair.now, request(&[0; 10_001])), Err(too_large));
    let request_with = Request { headers: wide.clone(), ..request(b"") };
    assert_eq!(
        pair.a.request(pair.now, request_with),
        Err(RequestError::HeadersTooLarge { len: 304, len_max: 256 })
    );
    assert_eq!(
        pair.a.request(pair.now, Request { service: "", ..request(b"") }),
        Err(RequestError::Name)
    );
    let long: &'static str = alloc::boxed::Box::leak("n".repeat(256).into_boxed_str());
    assert_eq!(
        pair.a.request(pair.now, Request { method: long, ..request(b"") }),
        Err(RequestError::Name)
    );
    assert_eq!(pair.a.gossip(pair.now, &vec![0; GOSSIP_LEN_MAX + 1]), Err(GossipError::TooLarge));
    assert_eq!((pair.a.stats(), pair.a_to_b()), (before, 0), "nothing changed");
    assert!(pair.a.request(pair.now, request(&[0; 10_000])).is_ok());

    // The same for a response; its call ends all the same.
    for (headers, body) in [(Headers::new(), vec![0; 10_001]), (wide, vec![])] {
        pair.b.request(pair.now, request(b"much, please")).expect("taken");
        pair.pump();
        let inbound = inbound_ids(&events(&mut pair.a))[0];
        let result = pair.a.respond_with(pair.now, inbound, &headers, &[], Ok(body.into()));
        assert_eq!(result, Err(RespondError::TooLarge));
        pair.pump();
        let all = responses(events(&mut pair.b));
        let status = all[0].1.clone().expect_err("too large");
        assert!(status.code == Code::TooLarge && status.may_have_run());
    }
}

#[test]
fn s5_7_1_what_waited_for_the_hello_meets_the_peers_limits_then() {
    let mut pair =
        Pair::with(Config::default(), Config { in_flight_max: 1, methods_max: 1, ..tight() });
    let fits = pair.a.request(pair.now, request(b"fits")).expect("taken");
    let waits = pair.a.request(pair.now, request(b"one too many")).expect("taken");
    let beyond = pair.a.request(pair.now, request(&[0; 20_000])).expect("taken");
    pair.a.one_way(pair.now, request(&[0; 20_000])).expect("taken");
    pair.pump();
    assert!(matches!(events(&mut pair.a)[..], [Event::Connected(_)]));
    assert_eq!(pair.a.stats().one_way_dropped, 1);
    let ids = inbound_ids(&events(&mut pair.b));
    assert_eq!((ids.len(), pair.a.number_of(waits)), (1, None), "it waits for room");
    pair.b.respond(pair.now, ids[0], Ok(Body::EMPTY)).expect("open");
    pair.pump();
    // Queues take turns, and that of large requests is next.
    let all = responses(events(&mut pair.a));
    let [(first, Ok(_)), (call, Err(status))] = &all[..] else { panic!("{all:?}") };
    assert_eq!((*first, *call, status.code), (fits, beyond, Code::TooLarge));
    assert!(status.never_sent());
    let ids = inbound_ids(&events(&mut pair.b));
    pair.b.respond(pair.now, ids[0], Ok(Body::EMPTY)).expect("open");
    pair.pump();
    assert_eq!(response(&mut pair.a).0, waits);
    let other = Request { method: "other", ..request(b"") };
    assert_eq!(pair.a.one_way(pair.now, other), Err(RequestError::TooManyMethods));
}

#[test]
fn s5_7_1_own_and_peers_number_of_calls_both_bind() {
    let few = |in_flight_max| Config { in_flight_max, ..Config::default() };
    for (a, b) in [(2, 100), (100, 2)] {
        let mut pair = Pair::connected_with(few(a), few(b));
        let first = pair.call(b"x");
        pair.call(b"x");
        let waits = pair.a.request(pair.now, request(b"")).expect("it waits");
        assert_eq!(pair.a.number_of(waits), None);
        pair.b.respond(pair.now, first.1, Ok(Body::EMPTY)).expect("open");
        pair.pump();
        assert!(pair.a.number_of(waits).is_some(), "room again");
    }
}

#[test]
fn s5_7_2_too_large_is_skipped_and_answered() {
    for chunk in [usize::MAX, 1_000] {
        let mut connection = beside_a_hand_written_peer(tight());
        let mut wide = extension(0, NO_TIMEOUT);
        wide.extend_from_slice(&257u16.to_le_bytes());
        wide.resize(16 + 2 + 257, 0);
        let huge_extension = vec![0; 60_000];
        let request = |ext: &[u8], len: usize, call| {
            frame(FrameHeader::new(Kind::Request, call), ext, &vec![0; len])
        };
        let one_way =
            |ext: &[u8], len: usize| frame(FrameHeader::new(Kind::OneWay, 0), ext, &vec![0; len]);
        let plain = extension(0, NO_TIMEOUT);
        for (ext, len) in [(&plain, 10_001), (&wide, 1), (&wide, 9_000), (&huge_extension, 1)] {
            deliver(&mut connection, start(), &request(ext, len, 1), chunk);
            deliver(&mut connection, start(), &one_way(ext, len), chunk);
        }
        assert!(events(&mut connection).is_empty());
        let answers = parse(&drain(&mut connection, start()));
        assert_eq!(answers.len(), 4);
        for (header, ..) in &answers {
            assert_eq!((header.code, header.flags, header.call), (Code::TooLarge.get(), 1, 1));
        }
        assert_eq!(connection.stats().one_way_dropped, 4);

        connection.request(start(), super::request(b"x")).expect("taken");
        let answer = frame(FrameHeader::new(Kind::Response, FIRST), &plain, &[0; 10_001]);
        deliver(&mut connection, start(), &answer, chunk);
        let status = status(&mut connection);
        assert!(status.code == Code::TooLarge && status.may_have_run());
        deliver(&mut connection, start(), &request(&plain, 10_000, 1), chunk);
        assert_eq!(inbound_ids(&events(&mut connection)).len(), 1, "the stream is still in step");
    }
}

#[test]
fn s5_7_2_a_body_beyond_all_sense_ends_the_connection() {
    for kind in 0..=255 {
        let mut connection = beside_a_hand_written_peer(Config::default());
        for body_len in [u32::try_from(SKIP_LEN_MAX + 1).expect("below 4 GiB"), u32::MAX] {
            let mut bytes = FrameHeader { body_len, ..FrameHeader::new(Kind::Ping, 0) }.encode();
            bytes[8] = kind;
            deliver(&mut connection, start(), &bytes, usize::MAX);
        }
        assert!(matches!(closed(&mut connection), Some(CloseReason::Protocol(_))), "kind {kind}");
    }
}

#[test]
fn s5_7_3_an_announcement_costs_nothing_and_a_body_at_most_four_times_its_bytes() {
    let mut connection = beside_a_hand_written_peer(Config::default());
    let body = vec![3; 4 * 1024 * 1024];
    let bytes = raw_request(1, NO_TIMEOUT, &body);
    deliver(&mut connection, start(), &bytes[..32], usize::MAX);
    let mut at = 32;
    while at < bytes.len() {
        let arrived = at - 32;
        let offered = connection.receiver.buffer().len();
        let held_max = (4 * arrived).max(64 * 1024) + 64;
        assert!(arrived + offered <= held_max, "{offered} offered after {arrived}");
        let len = offered.min(bytes.len() - at).min(30_000);
        deliver(&mut connection, start(), &bytes[at..at + len], usize::MAX);
        at += len;
    }
    assert_eq!(inbound_ids(&events(&mut connection)).len(), 1);
}

#[test]
fn s5_7_4_a_full_queue_refuses_and_changes_nothing() {
    for is_connected in [true, false] {
        let small =
            Config { outbound_len_max: 64 * 1024, waiting_len_max: 64 * 1024, ..Config::default() };
        let mut pair = Pair::with(small, Config::default());
        if is_connected {
            pair.pump();
            pair.a.one_way(pair.now, request(&[0; 100_000])).expect("may overshoot by one");
        } else {
            pair.a.one_way(pair.now, request(&[0; 64_000])).expect("room");
        }
        let body = vec![0; if is_connected { 0 } else { 2_000 }];
        let before = pair.a.queued_len();
        assert_eq!(pair.a.one_way(pair.now, request(&body)), Err(RequestError::Full));
        for _ in 0..2 {
            assert_eq!(pair.a.gossip(pair.now, &vec![0; 250_000]), Ok(()), "it has its own");
        }
        assert_eq!(pair.a.gossip(pair.now, &vec![0; 250_000]), Err(GossipError::Full));
        assert_eq!(pair.a.calls_open(), 0);
        assert!(pair.a.queued_len() < before + 501_000);
        pair.pump();
        assert!(pair.a.one_way(pair.now, request(b"")).is_ok());
        assert!(pair.a.gossip(pair.now, &vec![0; 250_000]).is_ok());
    }
}

#[test]
fn s5_7_4_responses_are_always_taken_and_then_new_requests_refused() {
    let mut connection =
        beside_a_hand_written_peer(Config { outbound_len_max: 64 * 1024, ..Config::default() });
    for call in 0..3 {
        deliver(&mut connection, start(), &raw_request(call, NO_TIMEOUT, b"x"), usize::MAX);
    }
    for id in inbound_ids(&events(&mut connection)) {
        connection.respond(start(), id, Ok(vec![0; 100_000].into())).expect("always taken");
    }
    deliver(&mut connection, start(), &raw_request(9, NO_TIMEOUT, b"x"), usize::MAX);
    assert!(events(&mut connection).is_empty());
    let mut answers = parse(&drain(&mut connection, start()));
    answers.retain(|(header, ..)| header.kind == Kind::Response);
    assert_eq!(answers.len(), 4);
    assert_eq!(
        (answers[0].0.call, answers[0].0.code),
        (9, Code::Overloaded.get()),
        "§5.10.5: small first"
    );
}

/// A grant that is due when the connection ends is not sent: it would stand behind half a frame,
/// and the peer would take it for the other half.
#[test]
fn s5_12_8_a_grant_that_is_due_dies_with_the_connection() {
    let slow = Config { transmit_len_max: 4 * 1024, ..Config::default() };
    let mut pair = Pair::connected_with(Config::default(), slow);
    let (ours, _, id) = pair.open(Shape::CLIENT_STREAMING);
    pair.b.one_way(pair.now, request(&[0; 100_000])).expect("taken");
    let mut out = Transmit::new();
    assert!(pair.b.poll_transmit(pair.now, &mut out) > 0, "half of it");
    pair.a.send(pair.now, ours, (&[1; 700_000]).into(), &[]).expect("room");
    pair.a_to_b();
    for event in events(&mut pair.b) {
        if let Event::Chunk { held, .. } = event {
            pair.b.release(pair.now, held);
        }
    }
    assert!(pair.b.is_grant_due());
    pair.b.go_away(pair.now);
    let over = later(pair.now, Config::default().drain_timeout);
    pair.b.handle_timeout(over);
    assert!(pair.b.is_closed());
    assert_eq!((pair.b.flush(), pair.b.poll_transmit(over, &mut out)), (Flush::Nothing, 0));
    assert_eq!(pair.b.respond(over, id, Ok(Body::EMPTY)), Err(RespondError::Ended));
}

#[test]
fn s5_7_5_a_flood_whose_answers_are_not_read_ends_the_connection() {
    let mut connection =
        beside_a_hand_written_peer(Config { in_flight_max: 1, ..Config::default() });
    let refused = raw_request(7, NO_TIMEOUT, b"x");
    let mut sent = 0;
    while !connection.is_closed() {
        deliver(&mut connection, start(), &refused, usize::MAX);
        sent += 1;
        assert!(connection.queued_len() <= OWED_LEN_MAX + 1_024);
        assert!(sent < 100_000);
    }
    assert_eq!(closed(&mut connection), Some(CloseReason::Overrun));

    // One that reads, however slowly, is never ended for it.
    let mut connection = beside_a_hand_written_peer(Config {
        in_flight_max: 1,
        transmit_len_max: 4_096,
        ..Config::default()
    });
    for _ in 0..3 * sent {
        deliver(&mut connection, start(), &refused, usize::MAX);
        let mut out = Transmit::new();
        if connection.queued_len() > 20_000 {
            connection.poll_transmit(start(), &mut out);
        }
    }
    assert!(!connection.is_closed());
}

#[test]
fn s5_7_5_at_most_one_pong_waits() {
    let mut connection = beside_a_hand_written_peer(Config::default());
    for call in 0..1_000 {
        deliver(&mut connection, start(), &bare(Kind::Ping, call), usize::MAX);
    }
    assert_eq!(parse(&drain(&mut connection, start())).len(), 1);
    assert_eq!(connection.stats().pings_merged, 999);
    deliver(&mut connection, start(), &bare(Kind::Ping, 5), usize::MAX);
    assert_eq!(parse(&drain(&mut connection, start()))[0].0.call, 5);
}

#[test]
fn s5_7_6_a_driver_that_does_not_take_events_sheds_what_may_be_shed() {
    let mut connection = beside_a_hand_written_peer(Config { events_max: 16, ..Config::default() });
    connection.request(start(), request(b"x")).expect("taken");
    drain(&mut connection, start());
    for at in 0..100 {
        deliver(
            &mut connection,
            start(),
            &frame(FrameHeader::new(Kind::Gossip, 0), &[], b"g"),
            usize::MAX,
        );
        deliver(
            &mut connection,
            start(),
            &frame(FrameHeader::new(Kind::OneWay, 0), &[], b"o"),
            usize::MAX,
        );
        deliver(&mut connection, start(), &raw_request(at, NO_TIMEOUT, b"r"), usize::MAX);
    }
    deliver(
        &mut connection,
        start(),
        &frame(FrameHeader::new(Kind::Response, FIRST), &[], b"y"),
        usize::MAX,
    );
    let all = events(&mut connection);
    assert_eq!(all.len(), 17);
    assert!(matches!(all.last(), Some(Event::Response { .. })), "a response always passes");
    let stats = connection.stats();
    assert_eq!(stats.gossip_dropped + stats.one_way_dropped + stats.refused, 300 - 16);
    let answers = parse(&drain(&mut connection, start()));
    assert!(answers.iter().all(|(header, ..)| header.code == Code::Overloaded.get()));
    assert_eq!(answers.len() as u64, stats.refused);
}

#[test]
fn one_transmit_is_bounded_and_a_large_body_leaves_in_pieces() {
    let mut pair = Pair::connected_with(
        Config { transmit_len_max: 10_000, ..Config::default() },
        Config::default(),
    );
    pair.a.one_way(pair.now, request(&[1; 100_000])).expect("taken");
    pair.a.one_way(pair.now, request(b"after")).expect("taken");
    let (mut out, mut calls) = (Transmit::new(), 0);
    loop {
        let before = out.len();
        let len = pair.a.poll_transmit(pair.now, &mut out);
        assert!(len <= 10_000 && out.len() == before + len);
        if len == 0 {
            break;
        }
        calls += 1;
    }
    assert!((11..=14).contains(&calls), "{calls}");
    deliver(&mut pair.b, pair.now, &write(&mut out), usize::MAX);
    assert_eq!(events(&mut pair.b).len(), 2);
}

#[test]
fn configurations_out_of_range_are_named_and_moved_into_it() {
    assert_eq!(Config::default().validate(), Ok(()));
    let wild = Config {
        in_flight_max: u32::MAX,
        message_len_max: u32::MAX,
        headers_len_max: u32::MAX,
        recv_len: 0,
        transmit_len_max: 0,
        events_max: 0,
        keepalive_timeout: Duration::ZERO,
        ..Config::default()
    };
    assert_eq!(wild.validate(), Err(ConfigError { field: "in_flight_max" }));
    assert_eq!(wild.clamped().validate(), Ok(()));
    let mut pair = Pair::connected_with(wild.clone(), wild);
    pair.call(b"works");
}

/// Nothing may be left to be written, so the next write is too late to tell those who wait.
#[test]
fn s5_11_5_a_stream_is_told_of_room_that_a_call_leaves_which_is_over_before_it_began() {
    let small = Config { outbound_len_max: 64 * 1024, ..Config::default() };
    let mut pair = Pair::connected_with(small, Config::default());
    let (stream, ..) = pair.open(Shape::CLIENT_STREAMING);
    let now = pair.now;
    let call = pair.a.request(now, request(&[0; 100_000])).expect("taken");
    pair.a.send(now, stream, (&[0; 9_000]).into(), &[]).expect("one may wait");
    assert_eq!(pair.a.send(now, stream, b"x".into(), &[]), Err(StreamError::Blocked));
    assert!(pair.a.cancel(now, call));
    assert!(matches!(events(&mut pair.a)[..], [Event::Sendable(of)] if of == stream));
    assert_eq!(pair.a.send(now, stream, b"x".into(), &[]), Ok(()));
}
