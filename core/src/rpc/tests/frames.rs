//! §5.2, §5.3: frames, extensions, and the same events however the stream is split.

use super::*;
use crate::rpc::frame::{FLAG_ESSENTIAL, FLAG_NEVER_RAN, NO_TIMEOUT, headers_len};

#[test]
fn s5_2_1_headers_are_as_specified_and_round_trip() {
    let header = FrameHeader {
        body_len: 0x0403_0201,
        call: 0x0807_0605,
        kind: Kind::Response,
        flags: FLAG_NEVER_RAN,
        method: 0x0c0b,
        extension_len: 0x0e0d,
        code: 0x100f,
    };
    let bytes = header.encode();
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 3, 1, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10]);
    for kind in 0..=255 {
        let mut bytes = bytes;
        bytes[8] = kind;
        assert_eq!(FrameHeader::decode(&bytes).encode(), bytes);
    }
}

/// A stream from A to B with every kind of frame; the second has a large body too. B has made three
/// calls.
fn script(large: &[&[u8]]) -> (Vec<u8>, impl Fn() -> End + use<>) {
    let fresh_b = || {
        let mut b = connection(2, Config::default());
        for body in [b"one", b"two", b"six"] {
            b.request(start(), request(body)).expect("taken");
        }
        b
    };
    let mut pair = Pair { b: fresh_b(), ..Pair::new() };
    pair.pump();
    let ids = inbound_ids(&events(&mut pair.a));
    let headers = Headers::new().with("trace", b"42").expect("small");
    let now = pair.now;
    pair.a.respond_with(now, ids[0], &headers, &[], Ok(b"eins".into())).expect("open");
    pair.a.respond(now, ids[1], Err(Status::new(Code::AppError, "no"))).expect("open");
    let cancelled = pair.a.request(now, Request { headers, ..within(MS, b"hi") }).expect("taken");
    pair.a.one_way(now, request(b"")).expect("taken");
    pair.a.gossip(now, b"news from the cluster").expect("taken");
    for body in large {
        pair.a.request(now, request(body)).expect("taken");
    }
    assert!(pair.a.cancel(now, cancelled));
    deliver(&mut pair.a, now, &bare(Kind::Ping, 5), usize::MAX);
    pair.a_to_b();
    pair.pass(Config::default().keepalive_calls);
    pair.a.go_away(now);
    pair.a_to_b();
    (pair.sent_by_a, fresh_b)
}

fn told(b: &mut Connection) -> (Vec<String>, Vec<u8>) {
    (events(b).iter().map(|event| format!("{event:?}")).collect(), drain(b, start()))
}

#[test]
fn every_split_of_a_stream_gives_the_same_events() {
    let (stream, fresh) = script(&[&[7; 9_000]]);
    let mut whole = fresh();
    deliver(&mut whole, start(), &stream, usize::MAX);
    let expected = told(&mut whole);
    assert_eq!(expected.0.len(), 9, "{:?}", expected.0);

    for at in 0..stream.len() {
        let mut b = fresh();
        deliver(&mut b, start(), &stream[..at], usize::MAX);
        deliver(&mut b, start(), &stream[at..], usize::MAX);
        assert_eq!(told(&mut b), expected, "split at {at}");
    }
    for chunk in [1, 2, 3, 15, 16, 17, 4_096] {
        let mut b = fresh();
        deliver(&mut b, start(), &stream, chunk);
        assert_eq!(told(&mut b), expected, "chunks of {chunk}");
    }
}

#[test]
fn bodies_of_every_size_arrive_whole_and_aligned() {
    let mut sizes: Vec<usize> = (0..70).collect();
    for edge in [8 * 1024, 64 * 1024, 256 * 1024, 1024 * 1024] {
        sizes.extend([edge - 1, edge, edge + 1, edge + 16]);
    }
    for chunk in [usize::MAX, 1_000] {
        let mut pair = Pair::connected();
        pair.chunk = chunk;
        for &size in &sizes {
            let body: Vec<u8> =
                (0..size).map(|at| u8::try_from(at % 251).expect("small")).collect();
            let call = pair.a.request(pair.now, request(&body)).expect("taken");
            pair.pump();
            let at_b = events(&mut pair.b);
            let [Event::Request { id, body: got, .. }] = &at_b[..] else {
                panic!("{size}: {at_b:?}")
            };
            assert_eq!(*got, body, "{size}");
            pair.b.respond(pair.now, *id, Ok(got.clone().into())).expect("open");
            pair.pump();
            let mut at_a = events(&mut pair.a);
            let Some(Event::Response { call: ended, result: Ok(back), held, .. }) = at_a.pop()
            else {
                panic!("{size}")
            };
            assert!(at_a.is_empty() && ended == call && back == body, "{size}");
            pair.a.release(pair.now, held);
        }
    }
}

#[test]
fn every_frame_begins_at_a_multiple_of_16() {
    let (stream, _) = script(&[&[7; 9_001]]);
    let hello_len = hello(1).encode(&Config::default()).len();
    let kinds: Vec<u8> =
        parse(&stream[hello_len..]).iter().map(|(header, ..)| header.kind.get()).collect();
    assert_eq!(kinds, [3, 3, 5, 1, 2, 6, 4, 8, 1, 7, 9], "every kind, Intern before its first use");
}

#[test]
fn s5_2_3_unknown_kinds_are_skipped_and_essential_ones_end_the_connection() {
    let mut old = beside_a_hand_written_peer(Config::default());
    for (call, len) in [(0, 0), (5, 5), (4, 10_000), (5, 100_000)] {
        let unknown = frame(FrameHeader::new(Kind::Unknown(30), 3), &[1; 21], &vec![0xcc; len]);
        deliver(&mut old, start(), &unknown, 777);
        deliver(&mut old, start(), &raw_request(call, NO_TIMEOUT, b"x"), usize::MAX);
    }
    assert_eq!(old.stats().unknown_frames, 4);
    assert_eq!(
        inbound_ids(&events(&mut old)).len(),
        3,
        "the stream is still in step; 5 and 100,000 share a slot"
    );

    let essential = FrameHeader { flags: FLAG_ESSENTIAL, ..FrameHeader::new(Kind::Unknown(30), 3) };
    deliver(&mut old, start(), &frame(essential, &[], &[]), usize::MAX);
    assert!(matches!(closed(&mut old), Some(CloseReason::Protocol(_))));
}

#[test]
fn s5_2_3_unknown_flags_and_unexpected_parts_are_ignored() {
    let mut old = beside_a_hand_written_peer(Config::default());
    let flagged = FrameHeader { flags: 0x8c, ..FrameHeader::new(Kind::Request, 1) };
    deliver(&mut old, start(), &frame(flagged, &extension(0, NO_TIMEOUT), b"x"), usize::MAX);
    deliver(
        &mut old,
        start(),
        &frame(FrameHeader::new(Kind::Ping, 6), &[3; 9], &[4; 33]),
        usize::MAX,
    );
    deliver(
        &mut old,
        start(),
        &frame(FrameHeader::new(Kind::Cancel, 1), &[3; 9], &[4; 33]),
        usize::MAX,
    );
    assert!(matches!(events(&mut old)[..], [Event::Request { .. }, Event::Cancelled(_)]));
    let answers = parse(&drain(&mut old, start()));
    assert!(matches!(&answers[..], [(pong, ..)] if pong.kind == Kind::Pong && pong.call == 6));
}

#[test]
fn s5_2_5_methods_are_named_once_and_in_order() {
    let mut pair = Pair::connected();
    for _ in 0..3 {
        pair.a.one_way(pair.now, request(b"x")).expect("taken");
        pair.a.one_way(pair.now, Request { method: "shout", ..request(b"x") }).expect("taken");
        pair.a
            .one_way(pair.now, Request { fingerprint: Fingerprint::new(1), ..request(b"x") })
            .expect("taken");
    }
    let bytes = drain(&mut pair.a, pair.now);
    let interns = parse(&bytes).iter().filter(|(header, ..)| header.kind == Kind::Intern).count();
    assert_eq!(interns, 3, "name and layout make a method");
    deliver(&mut pair.b, pair.now, &bytes, usize::MAX);
    let got: Vec<_> = events(&mut pair.b)
        .into_iter()
        .map(|event| match event {
            Event::OneWay { method_id, .. } => {
                let MethodName { service, method, fingerprint } =
                    pair.b.method(method_id).expect("named");
                format!("{service}.{method}.{}", fingerprint.get())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = ["echo.say.9", "echo.shout.9", "echo.say.1"];
    assert_eq!(got, expected.repeat(3));
}

#[test]
fn s5_2_5_bad_definitions_end_the_connection() {
    let undefined = FrameHeader { method: 1, ..FrameHeader::new(Kind::Request, 1) };
    let nameless =
        frame(FrameHeader { method: 1, ..FrameHeader::new(Kind::Intern, 0) }, &[], &[0; 9]);
    let huge =
        frame(FrameHeader { method: 1, ..FrameHeader::new(Kind::Intern, 0) }, &[], &[1; 9_000]);
    let bad = [
        intern(0, "a", "b"),
        intern(2, "a", "b"),
        intern(1, "", "b"),
        nameless,
        huge,
        frame(undefined, &[], b"x"),
    ];
    for (case, bytes) in bad.iter().enumerate() {
        let mut connection = beside_a_hand_written_peer(Config::default());
        deliver(&mut connection, start(), bytes, usize::MAX);
        assert!(matches!(closed(&mut connection), Some(CloseReason::Protocol(_))), "case {case}");
    }
    let mut connection = beside_a_hand_written_peer(Config { methods_max: 2, ..Config::default() });
    deliver(&mut connection, start(), &intern(1, "a", "b"), usize::MAX);
    assert!(!connection.is_closed());
    deliver(&mut connection, start(), &intern(2, "a", "c"), usize::MAX);
    assert!(connection.is_closed(), "the table is full");
}

#[test]
fn s5_3_1_fields_may_be_missing_from_the_end_and_unknown_ones_are_skipped() {
    let headers = Headers::new().with("k", b"v").expect("small").with("k", b"w").expect("small");
    let mut all = extension(5, 6);
    all.extend_from_slice(&u16::try_from(headers.encoded_len()).expect("small").to_le_bytes());
    all.extend_from_slice(headers.as_bytes());
    let full = Extension {
        stamp: Timestamp::from_raw(5),
        timeout: Some(6),
        headers,
        parts: Vec::new(),
        chunk_len_max: 0,
    };
    assert_eq!(Extension::decode(&all), Some(full.clone()));
    assert_eq!(headers_len(&all), full.headers.encoded_len());
    all.push(0);
    assert_eq!(Extension::decode(&all), Some(full.clone()));
    all.extend_from_slice(&7u32.to_le_bytes());
    all.extend_from_slice(&[0xee; 40]);
    let with_chunks = Extension { chunk_len_max: 7, ..full.clone() };
    assert_eq!(Extension::decode(&all), Some(with_chunks), "later fields are skipped");
    let no_headers = Extension { headers: Headers::new(), ..full };
    assert_eq!(Extension::decode(&all[..16]), Some(no_headers.clone()));
    assert_eq!(Extension::decode(&all[..8]), Some(Extension { timeout: None, ..no_headers }));
    assert_eq!(Extension::decode(&[]), Some(Extension::default()));
    assert_eq!(Extension::decode(&extension(5, NO_TIMEOUT)).and_then(|e| e.timeout), None);
}

#[test]
fn s5_3_2_stamps_carry_causality_and_a_refused_one_is_counted() {
    let mut pair = Pair::new();
    let ahead = 100 * MS;
    pair.a = End::new(
        Side::Dialer,
        Arc::new(Config::default()),
        hello(1),
        Arc::new(SharedHlc::new(ahead)),
        pair.now,
    );
    pair.pump();
    let fast = later(pair.now, ahead);
    pair.a.one_way(fast, request(b"from ahead")).expect("taken");
    pair.pump();
    let stamps: Vec<_> = events(&mut pair.b)
        .iter()
        .filter_map(
            |event| if let Event::OneWay { stamp, .. } = event { Some(*stamp) } else { None },
        )
        .collect();
    assert!(pair.b.clock.tick(pair.now.wall) > stamps[0], "B's clock has moved past what it saw");

    let mut connection = beside_a_hand_written_peer(Config::default());
    let wild = frame(FrameHeader::new(Kind::Request, 1), &extension(u64::MAX, NO_TIMEOUT), b"x");
    deliver(&mut connection, start(), &wild, usize::MAX);
    assert_eq!(connection.stats().stamps_refused, 1);
    let id = inbound_ids(&events(&mut connection))[0];
    connection.respond(start(), id, Ok(Body::EMPTY)).expect("the call is handled all the same");
    let answer = &parse(&drain(&mut connection, start()))[0];
    assert!(
        stamp_of(&answer.1) < Timestamp::from_raw(u64::MAX / 2),
        "and the clock was not dragged"
    );
    assert!(stamp_of(&answer.1) > Timestamp::from_raw(0), "an answer has a stamp");
}

#[test]
fn s5_3_3_bad_header_blocks_end_the_connection() {
    let bad: [&[u8]; 5] =
        [&[1, 0, 0], &[0, 0, 0], &[1, 0, 0, 0xff], &[1, 5, 0, b'k', 1, 2], &[1, 0, 0, b'k', 9]];
    for block in bad {
        assert_eq!(Headers::decode(block), None);
        let mut ext = extension(0, NO_TIMEOUT);
        ext.extend_from_slice(&u16::try_from(block.len()).expect("small").to_le_bytes());
        ext.extend_from_slice(block);
        for body_len in [1, 10_000] {
            let mut connection = beside_a_hand_written_peer(Config::default());
            let bytes = frame(FrameHeader::new(Kind::OneWay, 0), &ext, &vec![0; body_len]);
            deliver(&mut connection, start(), &bytes, usize::MAX);
            assert!(matches!(closed(&mut connection), Some(CloseReason::Protocol(_))));
        }
    }
}

#[test]
fn s5_3_3_headers_travel_both_ways_in_order() {
    let headers =
        Headers::new().with("a", b"1").expect("small").with("b", &[0xff; 300]).expect("small");
    assert_eq!(headers.get("b"), Some(&[0xff; 300][..]));
    let mut pair = Pair::connected();
    pair.a.request(pair.now, Request { headers: headers.clone(), ..request(b"x") }).expect("taken");
    pair.pump();
    let at_b = events(&mut pair.b);
    let [Event::Request { id, headers: got, .. }] = &at_b[..] else { panic!("{at_b:?}") };
    assert_eq!(*got, headers);
    pair.b.respond_with(pair.now, *id, got, &[], Ok(Body::EMPTY)).expect("open");
    pair.pump();
    let at_a = events(&mut pair.a);
    let [Event::Response { headers: back, .. }] = &at_a[..] else { panic!("{at_a:?}") };
    assert_eq!(*back, headers);
    assert_eq!(Headers::new().push("", b"x"), Err(HeadersError::Key));
    assert_eq!(Headers::new().push("k", &[0; 40_000]), Err(HeadersError::TooLarge));
}

#[test]
fn s5_3_4_a_deadline_only_shrinks() {
    let mut pair = Pair::connected();
    let timeout = Duration::from_nanos(1_500_999);
    pair.a.request(pair.now, within(timeout, b"x")).expect("taken");
    pair.pump();
    let at_b = events(&mut pair.b);
    let [Event::Request { deadline: Some(deadline), .. }] = &at_b[..] else { panic!("{at_b:?}") };
    assert_eq!(*deadline, pair.now.mono + Duration::from_micros(1_500));
}

/// Every truncation and every flipped bit: no panic, and no call ends twice.
#[test]
fn every_truncation_and_every_bit_flip_is_survived() {
    let (stream, fresh) = script(&[]);
    let check = |bytes: &[u8], what: &str, at: usize| {
        let mut b = fresh();
        deliver(&mut b, start(), bytes, usize::MAX);
        b.handle_closed(start());
        let all = events(&mut b);
        assert!(matches!(all.last(), Some(Event::Closed(_))), "{what} {at}");
        let mut ended: Vec<CallId> = responses(all).iter().map(|(call, _)| *call).collect();
        ended.sort_unstable();
        ended.dedup();
        assert_eq!(ended.len(), 3, "each call ended exactly once: {what} {at}");
        assert_eq!(b.stats().calls_out_ended, 3, "{what} {at}");
    };
    for len in 0..stream.len() {
        check(&stream[..len], "truncated at", len);
    }
    let mut flipped = stream.clone();
    for bit in 0..stream.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        check(&flipped, "flipped bit", bit);
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}
