//! §5.3.5, §5.10: attachments, fragments, and who goes first.

use super::halves::{Half, data, first, fragment};
use super::*;
use crate::rpc::frame::{FLAG_ABORT, FLAG_END, FLAG_MORE, NO_TIMEOUT};

fn bytes(len: usize, salt: usize) -> Bytes {
    (0..len).map(|at| u8::try_from((at * 7 + salt) % 251).expect("small")).collect()
}

fn blobs(lens: &[usize]) -> Vec<Bytes> {
    lens.iter().enumerate().map(|(salt, &len)| bytes(len, salt)).collect()
}

fn are_aligned(all: &[Bytes]) -> bool {
    all.iter().all(|bytes| bytes.as_ptr().addr().is_multiple_of(16))
}

/// §5.3.6: chunks among them.
#[test]
fn s5_3_5_attachments_of_every_size_arrive_beside_every_message() {
    let cases: [&[usize]; 6] =
        [&[0], &[1, 15, 16, 17, 0], &[9_000], &[100_000, 3, 300_000], &[1; 16], &[30_000; 16]];
    for (lens, chunk) in cases.iter().flat_map(|lens| [(lens, usize::MAX), (lens, 1_001)]) {
        let mut pair = Pair::connected();
        pair.chunk = chunk;
        let (given, body, shape) = (blobs(lens), bytes(lens[0] / 2 + 1, 9), Shape::BIDIRECTIONAL);
        let attachments = &given[..];
        let headers = Headers::new().with("k", b"v").expect("small");
        let with = |headers: &Headers| Request {
            shape,
            attachments,
            headers: headers.clone(),
            ..request(&body)
        };
        let call = pair.a.request(pair.now, with(&headers)).expect("taken");
        pair.a.one_way(pair.now, with(&Headers::new())).expect("taken");
        // The stream of a large request is held until that begins.
        pair.pump();
        pair.a
            .send(pair.now, StreamRef::Call(call), body.clone().into(), attachments)
            .expect("credit");
        pair.pump();
        let (mut inbound, mut seen) = (None, 0);
        for event in events(&mut pair.b) {
            let (got, beside) = match event {
                Event::Request { id, body, attachments, headers: got, .. } => {
                    assert_eq!(got, headers);
                    inbound = Some(id);
                    (body, attachments)
                }
                Event::OneWay { body, attachments, .. }
                | Event::Chunk { body, attachments, .. } => (body, attachments),
                other => panic!("{other:?}"),
            };
            assert!(got == body && beside == given && are_aligned(&beside), "{lens:?}");
            seen += 1;
        }
        assert_eq!(seen, 3);
        let id = inbound.expect("the request came");
        pair.b
            .respond_with(pair.now, id, &headers, attachments, Ok(body.clone().into()))
            .expect("open");
        pair.pump();
        let at_a = events(&mut pair.a);
        let [Event::Response { result: Ok(got), attachments: beside, headers: back, .. }] =
            &at_a[..]
        else {
            panic!("{} events", at_a.len())
        };
        assert!(got == &body && beside == &given && back == &headers && are_aligned(beside));
    }
}

#[test]
fn s5_3_5_too_many_attachments_are_refused_by_their_sender_and_end_the_connection_at_their_reader()
{
    let mut pair = Pair::connected();
    let many = vec![Bytes::new(); 17];
    let with = Request { attachments: &many, ..request(b"") };
    assert_eq!(
        pair.a.request(pair.now, with),
        Err(RequestError::TooLarge { len: 0, len_max: 16 << 20 })
    );
    let (of, _, id) = pair.open(Shape::BIDIRECTIONAL);
    assert_eq!(
        pair.a.send(pair.now, of, Body::EMPTY, &many),
        Err(StreamError::TooLarge { len: 0, len_max: 1 << 20 })
    );
    let result = pair.b.respond_with(pair.now, id, &Headers::new(), &many, Ok(Body::EMPTY));
    assert_eq!(result, Err(RespondError::TooLarge));

    let table = |count: u8, lens: &[u32]| {
        let mut table = vec![count];
        lens.iter().for_each(|len| table.extend_from_slice(&len.to_le_bytes()));
        table
    };
    // A body of 40 bytes: 20 (32 with its padding) and 8.
    let cases = [
        (table(1, &[20, 8]), true),
        (table(0, &[]), true),
        (table(1, &[20, 9]), false),
        (table(1, &[20, 7]), false),
        (table(1, &[33, 8]), false),
        (table(1, &[u32::MAX, 8]), false),
        (table(2, &[20, 8]), false),
        (table(17, &[0; 18]), false),
        (table(1, &[20]), false),
    ];
    for (case, (table, is_right)) in cases.iter().enumerate() {
        let mut connection = beside_a_hand_written_peer(Config::default());
        let ext = [&extension(0, NO_TIMEOUT)[..], &[0, 0], table].concat();
        let bytes = frame(FrameHeader::new(Kind::Request, 1), &ext, &[1; 40]);
        deliver(&mut connection, start(), &bytes, usize::MAX);
        let all = events(&mut connection);
        match (&all[..], is_right) {
            ([Event::Request { .. }], true)
            | ([Event::Closed(CloseReason::Protocol(_))], false) => {}
            _ => panic!("case {case}: {all:?}"),
        }
    }
}

#[test]
fn s5_10_2_lanes_misused_end_the_connection() {
    let begin = |lane| first(Kind::Data, 1, 0, lane, 100, &[]);
    let other = first(Kind::OneWay, 0, 0, 2, 64, &extension(0, NO_TIMEOUT));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "a busy lane",
            [begin(0), first(Kind::OneWay, 0, 0, 0, 64, &extension(0, NO_TIMEOUT))].concat(),
        ),
        ("an idle lane", fragment(3, 0, &[1; 16])),
        ("an abort of nothing", fragment(3, FLAG_ABORT, &[])),
        ("an empty fragment", [begin(0), fragment(0, 0, &[])].concat()),
        ("beyond the end", [begin(0), fragment(0, 0, &[1; 101])].concat()),
        (
            "beyond the end, later",
            [begin(0), fragment(0, 0, &[1; 96]), fragment(0, 0, &[1; 16])].concat(),
        ),
        ("not a multiple of 16", [begin(0), fragment(0, 0, &[1; 20])].concat()),
        ("after the end", [begin(0), fragment(0, 0, &[1; 100]), fragment(0, 0, &[1; 16])].concat()),
        ("no bytes", first(Kind::Data, 1, 0, 0, 0, &[])),
        ("an end in fragments", data(1, FLAG_END | FLAG_MORE, &[])),
        ("an undefined method", {
            let header =
                FrameHeader { method: 7, flags: FLAG_MORE, ..FrameHeader::new(Kind::Request, 9) };
            frame(FrameHeader { body_len: 100, ..header }, &extension(0, NO_TIMEOUT), &[])
        }),
        ("an extension", {
            let header = FrameHeader::new(Kind::Fragment, 0);
            [begin(0), frame(header, &[0; 16], &[1; 16])].concat()
        }),
        ("a chunk beyond all limits", data(1, 0, &vec![0; 17 << 20])),
    ];
    for (what, bytes) in cases {
        let mut half = Half::open(false, Shape::BIDIRECTIONAL);
        let heard = half.hear(&[&other[..], &bytes].concat());
        assert!(
            matches!(heard.last(), Some(Event::Closed(CloseReason::Protocol(_)))),
            "{what}: {heard:?}"
        );
    }
}

#[test]
fn s5_10_1_lanes_interleave_in_any_order_and_every_split_gives_the_same() {
    let lens = [100u32, 64, 9_000, 40];
    let mut stream = Vec::new();
    for (lane, len) in (0..).zip(lens) {
        stream.extend(first(Kind::OneWay, 0, 0, lane, len, &extension(0, NO_TIMEOUT)));
    }
    stream.extend(fragment(3, 0, &[3; 32]));
    stream.extend(fragment(0, 0, &[0; 48]));
    stream.extend(raw_request(1, NO_TIMEOUT, b"overtakes"));
    stream.extend(fragment(2, 0, &[2; 8_992]));
    stream.extend(fragment(3, 0, &[3; 8]));
    stream.extend(fragment(0, FLAG_ABORT, &[]));
    stream.extend(fragment(1, 0, &[1; 64]));
    stream.extend(first(Kind::OneWay, 0, 0, 0, 32, &extension(0, NO_TIMEOUT)));
    stream.extend(fragment(2, 0, &[2; 8]));
    stream.extend(fragment(0, 0, &[9; 32]));
    let told = |splits: &[usize]| {
        let mut connection = beside_a_hand_written_peer(Config::default());
        let mut from = 0;
        for &to in splits.iter().chain([&stream.len()]) {
            deliver(&mut connection, start(), &stream[from..to], usize::MAX);
            from = to;
        }
        let body = |event: &Event| match event {
            Event::Request { body, .. } | Event::OneWay { body, .. } => (body.len(), body[0]),
            other => panic!("{other:?}"),
        };
        events(&mut connection).iter().map(body).collect::<Vec<_>>()
    };
    let expected = [(9, b'o'), (40, 3), (64, 1), (9_000, 2), (32, 9)];
    assert_eq!(told(&[]), expected);
    for at in 0..stream.len() {
        assert_eq!(told(&[at]), expected, "split at {at}");
    }
    for step in [1, 15, 16, 17, 1_000] {
        let splits: Vec<usize> = (0..stream.len()).step_by(step).collect();
        assert_eq!(told(&splits), expected, "pieces of {step}");
    }
}

/// A stream with long chunks, short ones and attachments, as A's bytes. At every byte, a shorter
/// exchange is split in `splits`.
#[test]
fn long_streams_split_around_every_frame_give_the_same_events() {
    let small = Config { fragment_len: 16 * 1024, ..Config::default() };
    let mut pair = Pair::connected_with(small, Config::default());
    let from = pair.sent_by_a.len();
    let shape = Shape::BIDIRECTIONAL;
    let call = pair.a.request(pair.now, Request { shape, ..request(b"open") }).expect("taken");
    let of = StreamRef::Call(call);
    for (len, beside) in [(5, 0), (20_000, 0), (0, 1), (17_000, 2)] {
        pair.a
            .send(pair.now, of, bytes(len, 3).into(), &blobs(&[9][..beside.min(1)]))
            .expect("credit");
    }
    pair.a.finish(pair.now, of).expect("open");
    let cancelled = pair.a.request(pair.now, request(&[5; 40_000])).expect("taken");
    let mut out = Transmit::new();
    pair.a.poll_transmit(pair.now, &mut out);
    assert!(pair.a.cancel(pair.now, cancelled));
    let mut stream = write(&mut out);
    stream.extend(drain(&mut pair.a, pair.now));
    assert_eq!(from, pair.sent_by_a.len());

    let told = |splits: &[usize]| {
        let mut pair = Pair::connected();
        let mut from = 0;
        for &to in splits.iter().chain([&stream.len()]) {
            deliver(&mut pair.b, pair.now, &stream[from..to], usize::MAX);
            from = to;
        }
        events(&mut pair.b).iter().map(|event| format!("{event:?}")).collect::<Vec<_>>()
    };
    let expected = told(&[]);
    assert!(expected.len() >= 6, "{}", expected.len());
    let mut edges = vec![0];
    while edges[edges.len() - 1] < stream.len() {
        let at = edges[edges.len() - 1];
        let header = FrameHeader::decode(stream[at..].first_chunk().expect("a header"));
        let body_len = if header.is_fragmented() { 0 } else { header.body_padded() };
        edges.push(at + 16 + header.extension_padded() + body_len);
    }
    assert!(edges.len() > 12, "{edges:?}");
    let near = edges.iter().flat_map(|edge| {
        [edge.saturating_sub(1), *edge, edge + 1, edge + 15, edge + 16, edge + 17]
    });
    for at in near.chain((0..stream.len()).step_by(499)).filter(|&at| at <= stream.len()) {
        assert!(told(&[at]) == expected, "split at {at}");
    }
}

#[test]
fn s5_10_3_a_request_that_is_aborted_was_never_made() {
    let mut pair = Pair::connected_with(
        Config { transmit_len_max: 10_000, ..Config::default() },
        Config::default(),
    );
    let call = pair.a.request(pair.now, within(5 * MS, &[1; 500_000])).expect("taken");
    let mut out = Transmit::new();
    pair.a.poll_transmit(pair.now, &mut out);
    deliver(&mut pair.b, pair.now, &write(&mut out), usize::MAX);
    pair.pass(5 * MS);
    let (ended, result) = response(&mut pair.a);
    let status = result.expect_err("expired");
    assert!(ended == call && !status.may_have_run() && !status.never_sent(), "§5.5.3");
    pair.pump();
    assert!(events(&mut pair.b).is_empty());
    assert_eq!((pair.b.stats().late_cancels, pair.b.inbound_open()), (0, 0));
    assert_eq!(pair.b.requests_held(), 0, "§5.12.3");
    pair.call(&[2; 500_000]);
}

#[test]
fn s5_10_4_fragments_of_what_is_refused_are_skipped() {
    let config = Config { message_len_max: 50_000, in_flight_max: 2, ..Config::default() };
    let mut connection = beside_a_hand_written_peer(config);
    let ext = extension(0, NO_TIMEOUT);
    let mut stream = Vec::new();
    for (lane, kind, call, len) in [
        (0, Kind::Request, 1, 60_000),
        (1, Kind::OneWay, 0, 60_000),
        (2, Kind::Request, 7, 100),
        (3, Kind::Response, 9, 20_000),
    ] {
        stream.extend(first(kind, call, 0, lane, len, &ext));
        stream.extend(fragment(lane, 0, &[1; 48]));
    }
    for (lane, len) in [(0, 60_000), (1, 60_000), (2, 100), (3, 20_000)] {
        stream.extend(fragment(lane, 0, &vec![1; len - 48]));
    }
    stream.extend(raw_request(0, NO_TIMEOUT, b"in step"));
    deliver(&mut connection, start(), &stream, 999);
    assert_eq!(inbound_ids(&events(&mut connection)).len(), 1);
    let codes: Vec<u16> = parse(&drain(&mut connection, start()))
        .iter()
        .filter(|f| f.0.kind == Kind::Response)
        .map(|f| f.0.code)
        .collect();
    assert_eq!(codes, [Code::TooLarge.get(), Code::Overloaded.get()]);
    assert_eq!((connection.stats().one_way_dropped, connection.stats().late_replies), (1, 1));
    assert_eq!((connection.requests_held(), connection.flow.answers.held()), (0, 0));
}

#[test]
fn s5_10_5_a_small_call_overtakes_large_ones_at_the_next_write() {
    let config = Config::default();
    let mut pair = Pair::connected();
    let (of, ..) = pair.open(Shape::CLIENT_STREAMING);
    let mut large = 0;
    for _ in 0..4 {
        pair.a.request(pair.now, request(&[1; 1 << 20])).expect("taken");
        large += 1;
    }
    while pair.a.send(pair.now, of, (&[2; 50_000]).into(), &[]).is_ok() {
        large += 1;
    }
    assert!(large > 8);
    let mut out = Transmit::new();
    pair.a.poll_transmit(pair.now, &mut out);
    let ahead = write(&mut out).len();
    pair.a.request(pair.now, request(b"small")).expect("taken");
    pair.a.poll_transmit(pair.now, &mut out);
    let bytes = write(&mut out);
    assert!(ahead <= config.transmit_len_max);
    let header = FrameHeader::decode(bytes.first_chunk().expect("a header"));
    // The rest of the last turn may be before it, and nothing else.
    let position = bytes.windows(5).position(|w| w == b"small").expect("it is in the next write");
    assert!(position <= config.fragment_len + 1_024, "{position} bytes ahead, {header:?}");
}

#[test]
fn s5_10_5_long_messages_are_under_way_at_once_on_all_lanes_but_one_in_order() {
    // More than 256 KiB leave the last lane to others, if there is another one.
    for (interleaved_max, len, at_once) in
        [(1, 300_000, 1), (2, 300_000, 1), (4, 300_000, 3), (4, 200_000, 4)]
    {
        let mut pair = Pair::connected_with(
            Config { interleaved_max, ..Config::default() },
            Config::default(),
        );
        for _ in 0..8 {
            pair.a.request(pair.now, request(&vec![1; len])).expect("taken");
        }
        let frames = drain(&mut pair.a, pair.now);
        let (mut under_way, mut most, mut begun) = (Vec::new(), 0, Vec::new());
        for (header, _, body) in parse(&frames) {
            match header.kind {
                Kind::Request => {
                    assert!(header.is_fragmented());
                    begun.push(header.call);
                    under_way.push((header.lane(), len));
                }
                Kind::Fragment => {
                    let at = under_way
                        .iter()
                        .position(|(lane, _)| *lane == header.lane())
                        .expect("begun");
                    under_way[at].1 -= body.len();
                    if under_way[at].1 == 0 {
                        under_way.remove(at);
                    }
                }
                _ => {}
            }
            most = most.max(under_way.len());
        }
        assert!(under_way.is_empty());
        assert_eq!((most, begun.len()), (at_once, 8));
        assert!(
            begun.is_sorted_by_key(|call| call & 0x3fff),
            "first come, first served: {begun:?}"
        );
        deliver(&mut pair.b, pair.now, &frames, usize::MAX);
        assert_eq!(inbound_ids(&events(&mut pair.b)).len(), 8);
    }
}

#[test]
fn s5_10_6_small_and_large_share() {
    let mut pair = Pair::connected();
    pair.a.request(pair.now, request(&[1; 900_000])).expect("taken");
    // Small messages come as fast as they are written, and faster.
    let (mut small, mut large, mut out) = (0, 0, Transmit::new());
    while pair.a.flows.len() > 0 {
        for _ in 0..300 {
            pair.a.one_way(pair.now, request(&[2; 1_000])).expect("taken");
        }
        pair.a.poll_transmit(pair.now, &mut out);
        let bytes = write(&mut out);
        deliver(&mut pair.b, pair.now, &bytes, usize::MAX);
        assert!(small + large < 50_000_000, "large ones are starved");
        small += bytes.iter().filter(|&&byte| byte == 2).count();
        large += bytes.iter().filter(|&&byte| byte == 1).count();
    }
    assert!(
        small > 2 * large && small < 8 * large,
        "{small} bytes of small ones, {large} of large ones"
    );
}

#[test]
fn s5_10_7_messages_of_a_call_keep_their_order() {
    let mut pair = Pair::connected();
    let (_, theirs, id) = pair.open(Shape::SERVER_STREAMING);
    for len in [100_000, 1, 70_000, 0, 20_000] {
        pair.b.send(pair.now, theirs, bytes(len, 0).into(), &[]).expect("credit");
    }
    pair.b.finish(pair.now, theirs).expect("open");
    pair.b.respond(pair.now, id, Ok(b"end".into())).expect("open");
    pair.pump();
    let lens: Vec<usize> = events(&mut pair.a)
        .iter()
        .map(|event| match event {
            Event::Chunk { body, .. } => body.len(),
            Event::Finished(_) => 777,
            Event::Response { result: Ok(body), .. } => body.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lens, [100_000, 1, 70_000, 0, 20_000, 777, 3]);
}

#[test]
fn s5_10_8_a_cancel_drops_what_waits_on_both_sides() {
    let mut pair = Pair::connected_with(
        Config { transmit_len_max: 20_000, ..Config::default() },
        Config { transmit_len_max: 20_000, ..Config::default() },
    );
    let (ours, theirs, id) = pair.open(Shape::BIDIRECTIONAL);
    let StreamRef::Call(call) = ours else { panic!("ours") };
    pair.a.send(pair.now, ours, bytes(200_000, 0).into(), &[]).expect("credit");
    pair.b.send(pair.now, theirs, bytes(200_000, 0).into(), &[]).expect("credit");
    pair.b.respond(pair.now, id, Ok(bytes(100_000, 0).into())).expect("open");
    let mut out = Transmit::new();
    pair.a.poll_transmit(pair.now, &mut out);
    deliver(&mut pair.b, pair.now, &write(&mut out), usize::MAX);
    pair.b.poll_transmit(pair.now, &mut out);
    deliver(&mut pair.a, pair.now, &write(&mut out), usize::MAX);
    assert!(pair.a.cancel(pair.now, call));
    pair.pump();
    assert_eq!((pair.a.queued_len(), pair.b.queued_len()), (0, 0));
    let sent = pair.sent_by_a.len() + pair.sent_by_b.len();
    assert!(sent < 60_000, "{sent}");
    assert!(events(&mut pair.a).is_empty() && events(&mut pair.b).is_empty());
    for side in [&mut pair.a, &mut pair.b] {
        assert_eq!(side.flow.reserves.reserves.held(), 0);
    }
    // The lanes and windows are as before.
    let (ours, ..) = pair.open(Shape::BIDIRECTIONAL);
    pair.a.send(pair.now, ours, bytes(200_000, 0).into(), &[]).expect("credit");
    pair.pump();
    assert!(matches!(events(&mut pair.b)[..], [Event::Chunk { .. }]));
}
