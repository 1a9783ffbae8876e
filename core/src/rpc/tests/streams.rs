//! §5.11: streams of every shape and every ending, and the state table, one test per cell.

use super::halves::{Half, grant};
use super::*;
use crate::rpc::frame::FLAG_FROM_CALLEE;

const SHAPES: [Shape; 4] =
    [Shape::UNARY, Shape::CLIENT_STREAMING, Shape::SERVER_STREAMING, Shape::BIDIRECTIONAL];

impl Pair {
    /// A opens a call of this shape; its two ends.
    pub(super) fn open(&mut self, shape: Shape) -> (StreamRef, StreamRef, InboundId) {
        let call = self
            .a
            .request(self.now, Request { shape, ..request(b"open") })
            .expect("the call is taken");
        self.pump();
        let at_b = events(&mut self.b);
        let Some(Event::Request { id, shape: got, .. }) = at_b.last() else { panic!("{at_b:?}") };
        assert_eq!(*got, shape);
        (StreamRef::Call(call), StreamRef::Inbound(*id), *id)
    }
}

#[test]
fn s5_11_1_every_shape_goes_there_and_back() {
    for shape in SHAPES {
        let mut pair = Pair::connected();
        let (ours, theirs, id) = pair.open(shape);
        let now = pair.now;
        for (may, from_a) in [(shape.streams_in, true), (shape.streams_out, false)] {
            let (from, of) = if from_a { (&mut pair.a, ours) } else { (&mut pair.b, theirs) };
            let expected = if may { Ok(()) } else { Err(StreamError::Finished) };
            for body in [&b""[..], b"one", &[7; 9_000], &[8; 200_000], b"two"] {
                assert_eq!(from.send(now, of, body.into(), &[]), expected);
            }
            assert_eq!(from.finish(now, of), expected);
            assert_eq!(from.finish(now, of), Err(StreamError::Finished));
            assert_eq!(from.send(now, of, Body::EMPTY, &[]), Err(StreamError::Finished));
        }
        pair.pump();
        for (may, to, of) in
            [(shape.streams_in, &mut pair.b, theirs), (shape.streams_out, &mut pair.a, ours)]
        {
            let all = events(to);
            let mut lens = Vec::new();
            for event in &all {
                match event {
                    Event::Chunk { stream, body, .. } => {
                        assert_eq!(*stream, of);
                        lens.push(body.len());
                    }
                    Event::Finished(stream) => {
                        assert_eq!(*stream, of);
                        lens.push(usize::MAX);
                    }
                    other => panic!("{other:?}"),
                }
            }
            let expected: &[usize] = if may { &[0, 3, 9_000, 200_000, 3, usize::MAX] } else { &[] };
            assert_eq!(lens, expected, "{shape:?}");
        }
        let trailers = Headers::new().with("count", b"5").expect("small");
        pair.b.respond_with(now, id, &trailers, &[], Ok(b"done".into())).expect("open");
        pair.pump();
        let at_a = events(&mut pair.a);
        let [Event::Response { headers, result: Ok(body), .. }] = &at_a[..] else {
            panic!("{at_a:?}")
        };
        assert_eq!((headers, &body[..]), (&trailers, &b"done"[..]));
        for (side, of) in [(&mut pair.a, ours), (&mut pair.b, theirs)] {
            assert_eq!(side.send(now, of, Body::EMPTY, &[]), Err(StreamError::Ended));
            assert_eq!(side.finish(now, of), Err(StreamError::Ended));
            assert_eq!(side.calls_open() + side.inbound_open(), 0);
            assert_eq!(side.queued_len(), 0);
        }
    }
}

#[test]
fn s5_11_1_a_stream_opened_before_the_hello_waits_for_it() {
    let mut pair = Pair::new();
    let shape = Shape::CLIENT_STREAMING;
    let call = pair.a.request(pair.now, Request { shape, ..request(b"early") }).expect("taken");
    let of = StreamRef::Call(call);
    assert_eq!(pair.a.send(pair.now, of, b"x".into(), &[]), Err(StreamError::Blocked));
    assert_eq!(pair.a.send(pair.now, of, b"x".into(), &[]), Err(StreamError::Blocked));
    pair.pump();
    let at_a = events(&mut pair.a);
    assert!(
        matches!(&at_a[..], [Event::Connected(_), Event::Sendable(to)] if *to == of),
        "once: {at_a:?}"
    );
    assert_eq!(pair.a.send(pair.now, of, b"x".into(), &[]), Ok(()));

    let mut pair = Pair::new();
    let call = pair.a.request(pair.now, Request { shape, ..request(b"early") }).expect("taken");
    assert_eq!(pair.a.finish(pair.now, StreamRef::Call(call)), Ok(()));
    assert_eq!(pair.a.finish(pair.now, StreamRef::Call(call)), Err(StreamError::Finished));
    pair.pump();
    let at_b = events(&mut pair.b);
    assert!(
        matches!(&at_b[..], [Event::Connected(_), Event::Request { .. }, Event::Finished(_)]),
        "kept for then: {at_b:?}"
    );
}

/// A request that waits in its flow, or for a slot, holds its chunks back, and takes no room from
/// others.
#[test]
fn s5_11_3_chunks_of_a_call_whose_request_waits_do_not_go() {
    let narrow = Config { in_flight_max: 4, ..Config::default() };
    let mut pair = Pair::connected_with(Config::default(), narrow);
    let (shape, now) = (Shape::CLIENT_STREAMING, pair.now);
    let (first, _, id) = pair.open(shape);
    let mut open = || {
        let call = pair.a.request(now, Request { shape, ..request(&[1; 70_000]) }).expect("taken");
        assert_eq!(
            pair.a.send(now, StreamRef::Call(call), b"x".into(), &[]),
            Err(StreamError::Blocked)
        );
        StreamRef::Call(call)
    };
    // Streams have three of the four slots: two more begin, two wait.
    let of = [(); 4].map(|()| open());
    assert_eq!(pair.a.finish(now, of[3]), Ok(()));
    assert_eq!(pair.a.send(now, first, b"x".into(), &[]), Ok(()), "what is open goes on");
    pair.pump();
    let at_b = events(&mut pair.b);
    assert_eq!(inbound_ids(&at_b).len(), 2);
    assert!(at_b.iter().any(|event| matches!(event, Event::Chunk { .. })));
    let told = events(&mut pair.a);
    let [Event::Sendable(one), Event::Sendable(other)] = told[..] else { panic!("{told:?}") };
    assert_eq!([one, other], [of[0], of[1]], "their requests have begun");
    let deep = Request { depth: 1, ..request(b"a handler's") };
    let deep = pair.a.request(now, deep).expect("taken");
    assert!(pair.a.number_of(deep).is_some(), "calls of handlers have the last slot");
    pair.pump();
    events(&mut pair.b);
    // One ends, and the next request begins, and with it its stream.
    pair.b.respond(now, id, Ok(Body::EMPTY)).expect("open");
    pair.pump();
    let at_a = events(&mut pair.a);
    assert!(
        matches!(at_a[..], [Event::Response { .. }, Event::Sendable(to)] if to == of[2]),
        "once, and only it: {at_a:?}"
    );
    let id = inbound_ids(&events(&mut pair.b))[0];
    // The one after it was finished before it began.
    pair.b.respond(now, id, Ok(Body::EMPTY)).expect("open");
    pair.pump();
    let at_b = events(&mut pair.b);
    assert!(
        matches!(at_b[..], [Event::Request { .. }, Event::Finished(_)]),
        "kept for then: {at_b:?}"
    );
}

#[test]
fn s5_11_3_credit_for_a_call_whose_request_has_not_begun_ends_the_connection() {
    let mut stranger = Half::open(true, Shape::UNARY);
    let request = Request { shape: Shape::CLIENT_STREAMING, ..request(&[1; 70_000]) };
    let large = stranger.end.request(start(), request).expect("taken");
    let number = stranger.end.number_of(large).expect("it has a slot");
    let heard = stranger.hear(&grant(number, FLAG_FROM_CALLEE, 0, 1 << 30));
    assert!(
        matches!(heard.last(), Some(Event::Closed(CloseReason::Protocol(_)))),
        "credit comes: {heard:?}"
    );
}
