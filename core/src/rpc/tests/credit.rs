//! §5.12, §5.7.7: credit, and what a peer cannot make a node hold.

use super::halves::{Half, data, first, fragment, grant};
use super::*;
use crate::rpc::credit::cost;
use crate::rpc::frame::{FLAG_ABORT, NO_TIMEOUT};
use crate::rpc::stream::Window;

fn tight() -> Config {
    Config {
        stream_window: 16 * 1024,
        stream_window_max: 64 * 1024,
        data_window: 64 * 1024,
        data_window_max: 256 * 1024,
        request_window: 64 * 1024,
        request_window_max: 256 * 1024,
        response_window: 64 * 1024,
        response_window_max: 256 * 1024,
        ..Config::default()
    }
}

fn ends(heard: &[Event]) -> bool {
    matches!(heard.last(), Some(Event::Closed(CloseReason::Protocol(_))))
}

#[test]
fn s5_12_4_bad_grants_end_the_connection_and_the_largest_is_no_overflow() {
    let window = Config::default().stream_window;
    let cases = [
        (vec![grant(1, 0, 0, u64::from(window) - 1)], true),
        (vec![grant(1, 0, 0, 1 << 40), grant(1, 0, 0, (1 << 40) - 1)], true),
        (vec![grant(0, 0, 1, 0)], true),
        (vec![grant(0, 0, 2, 1 << 40), grant(0, 0, 2, 5)], true),
        (vec![grant(0, 0, 3, 7)], true),
        (vec![grant(0, 0, 4, u64::MAX)], true),
        (vec![frame(FrameHeader::new(Kind::Credit, 1), &[], &[1; 7])], true),
        (vec![frame(FrameHeader::new(Kind::Credit, 1), &[], &[1; 9_000])], true),
        (vec![grant(1, 0, 0, u64::MAX), grant(0, 0, 1, u64::MAX), grant(0, 0, 2, u64::MAX)], false),
        (vec![grant(1, 0, 0, u64::from(window)); 50], false),
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
fn s5_12_5_messages_without_credit_end_the_connection() {
    let ext = extension(0, NO_TIMEOUT);
    let chunk = |len: usize| data(1, 0, &vec![0; len]);
    let one_way = |len: usize| frame(FrameHeader::new(Kind::OneWay, 0), &ext, &vec![0; len]);
    let floods: [(&str, Vec<u8>, u32); 5] = [
        ("chunks", chunk(1_000), cost(1_000)),
        ("empty chunks", chunk(0), cost(0)),
        ("large chunks", chunk(9_000), cost(9_000)),
        (
            "chunks in fragments",
            [first(Kind::Data, 1, 0, 0, 32, &[]), fragment(0, 0, &[0; 32])].concat(),
            cost(32),
        ),
        ("large one-way messages", one_way(9_000), cost(9_000)),
    ];
    for (what, frame, cost) in floods {
        let mut half = Half::open(false, Shape::BIDIRECTIONAL);
        let config = Config::default();
        let window =
            if what.contains("one-way") { config.request_window } else { config.stream_window };
        let mut heard = Vec::new();
        for at in 0..window.div_ceil(cost) {
            heard = half.hear(&frame);
            assert!(
                matches!(heard[..], [Event::Chunk { .. } | Event::OneWay { .. }]),
                "{what} {at}"
            );
        }
        heard.extend(half.hear(&frame));
        assert!(ends(&heard), "{what}");
    }
}

#[test]
fn s5_12_3_a_chunk_larger_than_every_window_goes_and_then_nothing_until_it_is_taken() {
    let mut pair = Pair::connected_with(Config::default(), tight());
    let (ours, ..) = pair.open(Shape::CLIENT_STREAMING);
    let chunk = vec![3; 2 << 20];
    for _ in 0..3 {
        pair.a.send(pair.now, ours, chunk[..].into(), &[]).expect("nothing is outstanding");
        assert_eq!(pair.a.send(pair.now, ours, b"x".into(), &[]), Err(StreamError::Blocked));
        pair.pump();
        let mut at_b = events(&mut pair.b);
        let Some(Event::Chunk { body, held, .. }) = at_b.pop() else {
            panic!("{} events", at_b.len())
        };
        assert!(at_b.is_empty() && body == chunk);
        assert!(events(&mut pair.a).is_empty());
        pair.b.release(pair.now, held);
        pair.pump();
        assert!(matches!(events(&mut pair.a)[..], [Event::Sendable(of)] if of == ours));
    }
}

#[test]
fn s5_12_2_large_requests_and_responses_wait_for_credit_apart_from_each_other() {
    let mut pair = Pair::connected_with(tight(), tight());
    let body = vec![1; 40_000];
    for _ in 0..5 {
        pair.a.request(pair.now, request(&body)).expect("taken");
    }
    pair.pump();
    let ids = inbound_ids(&events(&mut pair.b));
    assert_eq!(ids.len(), 2, "the third would begin beyond the window");
    // A small one passes, and so does an answer of the other direction, and a nested call.
    pair.call(b"small");
    let nested = pair.b.request(pair.now, request(&body)).expect("taken");
    pair.pump();
    let id = inbound_ids(&events(&mut pair.a))[0];
    pair.a.respond(pair.now, id, Ok(body[..].into())).expect("open");
    pair.pump();
    let at_b = events(&mut pair.b);
    let [Event::Response { call, result: Ok(_), .. }] = &at_b[..] else { panic!("{}", at_b.len()) };
    assert_eq!(*call, nested);
    // As calls end, requests come. Responses go on while the caller takes them, and no further.
    let (mut all, mut answers, mut kept) = (ids, 0, Vec::new());
    while let Some(id) = all.pop() {
        pair.b.respond(pair.now, id, Ok(body[..].into())).expect("open");
        pair.pump();
        all.extend(inbound_ids(&events(&mut pair.b)));
        for event in events(&mut pair.a) {
            let Event::Response { held, .. } = event else { panic!("{event:?}") };
            kept.push(held);
            answers += 1;
        }
    }
    assert_eq!(answers, 2, "the caller has taken none");
    for _ in 0..5 {
        kept.drain(..).for_each(|held| pair.a.release(pair.now, held));
        pair.pump();
        for event in events(&mut pair.a) {
            let Event::Response { held, .. } = event else { panic!("{event:?}") };
            kept.push(held);
            answers += 1;
        }
    }
    assert_eq!((answers, pair.a.queued_len() + pair.b.queued_len()), (5, 0));
}

#[test]
fn s5_12_6_a_request_is_released_early_once() {
    let mut pair = Pair::connected_with(tight(), tight());
    let (_, id) = pair.call(&[1; 60_000]);
    let held = |pair: &mut Pair| pair.b.inflows.of(Window::Requests).held();
    assert_eq!(held(&mut pair), u64::from(cost(60_000)));
    for _ in 0..2 {
        pair.b.release_request(pair.now, id);
        assert_eq!(held(&mut pair), 0);
    }
    pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("open");
    assert_eq!(held(&mut pair), 0);
}

#[test]
fn s5_12_6_what_is_late_or_refused_or_aborted_is_released_at_once() {
    let mut half = Half::open(false, Shape::BIDIRECTIONAL);
    half.end_call();
    let ext = extension(0, NO_TIMEOUT);
    for _ in 0..2_000 {
        let mut bytes = data(1, 0, &[0; 9_000]);
        bytes.extend(data(1, 0, &[0; 10]));
        bytes.extend(first(Kind::Data, 1, 0, 0, 500, &[]));
        bytes.extend(fragment(0, FLAG_ABORT, &[]));
        bytes.extend(frame(FrameHeader::new(Kind::Response, 5), &ext, &[0; 9_000]));
        bytes.extend(raw_request(20_000, NO_TIMEOUT, &[0; 9_000]));
        bytes.extend(frame(FrameHeader::new(Kind::OneWay, 0), &extension(0, 0), &[0; 9_000]));
        assert!(half.hear(&bytes).is_empty());
        drain(&mut half.end, start());
    }
    for window in Window::ALL {
        assert_eq!(half.end.inflows.of(window).held(), 0);
    }
}

#[test]
fn s5_12_7_grants_are_few_and_a_peer_that_does_not_read_gets_none() {
    let mut half = Half::open(false, Shape::CLIENT_STREAMING);
    let config = Config::default();
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
    assert_eq!(sent, config.stream_window.div_ceil(cost(5_000)));
}

#[test]
fn s5_12_8_windows_grow_to_their_limit_on_a_long_fast_path_and_not_on_a_short_one() {
    for (round_trip, is_growing) in [(50 * MS, true), (Duration::ZERO, false)] {
        let mut pair = Pair::connected_with(Config::default(), tight());
        let (ours, ..) = pair.open(Shape::CLIENT_STREAMING);
        let mut most = 0;
        for _ in 0..200 {
            let mut sent = 0;
            while pair.a.send(pair.now, ours, (&[1; 4_000]).into(), &[]).is_ok() {
                sent += 1;
            }
            most = most.max(sent * cost(4_000));
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
        let limit = if is_growing { tight().stream_window_max } else { tight().stream_window };
        assert!(most >= limit && most <= limit + 2 * cost(4_000), "{most} of {limit}");
        assert!(pair.b.inflows.of(Window::Data).window() <= u64::from(tight().data_window_max));
    }
}

#[test]
fn a_slow_consumer_blocks_its_own_stream_and_no_other() {
    let mut pair = Pair::connected();
    let slow: Vec<StreamRef> = (0..8).map(|_| pair.open(Shape::CLIENT_STREAMING).0).collect();
    for &of in &slow {
        while pair.a.send(pair.now, of, (&[1; 10_000]).into(), &[]).is_ok() {}
    }
    pair.pump();
    let kept = events(&mut pair.b);
    assert!(kept.len() > 8 * 20, "they are full");
    let (fast, ..) = pair.open(Shape::CLIENT_STREAMING);
    let mut got = 0;
    for _ in 0..100 {
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
        assert_eq!(pair.a.send(pair.now, of, b"x".into(), &[]), Err(StreamError::Blocked));
    }
    let (_, id) = pair.call(&[3; 100_000]);
    pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("calls go on");
}

#[test]
fn s5_11_5_those_who_wait_for_the_connection_are_told_in_order_once() {
    let mut pair = Pair::connected_with(Config::default(), tight());
    let streams: Vec<StreamRef> = (0..10).map(|_| pair.open(Shape::CLIENT_STREAMING).0).collect();
    // Four streams fill the connection's window; the others have credit of their own and none of
    // the connection.
    let mut refused = Vec::new();
    for &of in &streams {
        while pair.a.send(pair.now, of, (&[1; 5_000]).into(), &[]).is_ok() {}
        refused.push(of);
    }
    pair.pump();
    let kept = events(&mut pair.b);
    assert!(events(&mut pair.a).is_empty());
    for event in kept {
        if let Event::Chunk { held, .. } = event {
            pair.b.release(pair.now, held);
        }
    }
    pair.pump();
    let told: Vec<StreamRef> = events(&mut pair.a)
        .iter()
        .map(|event| if let Event::Sendable(of) = event { *of } else { panic!("{event:?}") })
        .collect();
    assert_eq!(told.len(), 10);
    let expected: Vec<StreamRef> = refused.iter().copied().filter(|of| told.contains(of)).collect();
    let (mut sorted_told, mut sorted) = (told.clone(), expected);
    sorted_told.sort_unstable();
    sorted.sort_unstable();
    assert_eq!(sorted_told, sorted, "each once");
    let own = |of: &StreamRef| streams.iter().position(|other| other == of).expect("ours");
    let waiting_for_connection: Vec<usize> = told.iter().map(own).filter(|at| *at > 4).collect();
    assert!(waiting_for_connection.is_sorted(), "{waiting_for_connection:?}");
}

#[test]
fn s5_7_7_what_a_peer_can_make_a_node_hold_is_bounded() {
    let config = Config { in_flight_max: 8, message_len_max: 200_000, ..tight() };
    let windows = config.data_window_max + config.request_window_max + config.response_window_max;
    let small = (2 * 8 + u32::try_from(config.events_max).expect("small")) * (16 + 8 + 1) * 1024;
    let bound = 4 * (windows + 3 * (config.message_len_max + 144)) + small;
    for seed in 0..30 {
        let mut rng = crate::rng::Rng::new(seed);
        let mut connection = beside_a_hand_written_peer(config.clone());
        let (mut kept, mut out) = (Vec::new(), Transmit::new());
        for round in 0..400u32 {
            let (call, lane) = (rng.below(8), u8::try_from(rng.below(4)).expect("small"));
            let len = [0, 10, 5_000, 20_000, 190_000][rng.index(5)];
            let flags = Shape::BIDIRECTIONAL.flags();
            let ext = extension(0, NO_TIMEOUT);
            let bytes = match rng.below(6) {
                0 => frame(
                    FrameHeader { flags, ..FrameHeader::new(Kind::Request, call) },
                    &ext,
                    &vec![0; len],
                ),
                1 => frame(FrameHeader::new(Kind::OneWay, 0), &ext, &vec![0; len]),
                2 | 3 => data(call, 0, &vec![0; len]),
                4 => first(Kind::OneWay, 0, 0, lane, 150_000, &ext),
                _ => fragment(lane, 0, &vec![0; 16 * (1 + rng.index(1_000))]),
            };
            deliver(&mut connection, start(), &bytes, usize::MAX);
            // The application takes nothing; now and then what is to be written leaves.
            kept.extend(events(&mut connection));
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
        assert!(held <= bound as usize, "seed {seed}: {held} of {bound}");
    }
}

/// What is released does not make a grant due while much of the window is free; what others then
/// send and nobody takes makes it due, with no further release to notice it by.
#[test]
fn s5_12_7_a_window_that_slow_consumers_fill_is_granted_to_the_others_without_a_release() {
    let mut pair = Pair::connected_with(tight(), tight());
    let fast = pair.open(Shape::CLIENT_STREAMING).0;
    let slow = [(); 3].map(|()| pair.open(Shape::CLIENT_STREAMING).0);
    // A little less than half of the window comes and is taken.
    for _ in 0..3 {
        pair.pass(MS);
        pair.a.send(pair.now, fast, vec![1; 8_000][..].into(), &[]).expect("room");
        pair.pump();
        for event in events(&mut pair.b) {
            let Event::Chunk { held, .. } = event else { panic!("{event:?}") };
            pair.b.release(pair.now, held);
        }
        pair.pump();
    }
    // The rest of what was granted comes to consumers that take nothing.
    let mut kept = Vec::new();
    for of in slow {
        while pair.a.send(pair.now, of, vec![2; 1_000][..].into(), &[]).is_ok() {
            pair.pump();
            kept.extend(events(&mut pair.b));
        }
    }
    let sent = pair.a.send(pair.now, fast, vec![1; 1_000][..].into(), &[]);
    assert_eq!(sent, Ok(()), "{} bytes are kept", kept.len() * 1_136);
}
