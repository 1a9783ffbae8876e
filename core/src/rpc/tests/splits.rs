//! A scripted exchange of every shape, cut in two at every byte: wherever the cut is, the
//! connection says and sends the same.

use super::halves::{data, first, fragment, grant};
use super::*;
use crate::rpc::frame::{FLAG_ABORT, FLAG_END, FLAG_FROM_CALLEE, NO_TIMEOUT};

const SHAPES: [Shape; 4] =
    [Shape::UNARY, Shape::CLIENT_STREAMING, Shape::SERVER_STREAMING, Shape::BIDIRECTIONAL];

/// The connection under test, with calls of every shape that wait for the peer's hello; and the
/// calls.
fn caller() -> (End, Vec<CallId>) {
    let mut end = connection(1, Config { stream_window: 16 * 1024, ..Config::default() });
    let mut open =
        |shape| end.request(start(), Request { shape, ..request(b"ours") }).expect("taken");
    let calls: Vec<CallId> = SHAPES.into_iter().map(&mut open).collect();
    for &call in &calls {
        let refused = end.send(start(), StreamRef::Call(call), b"early".into(), &[]);
        assert!(refused.is_err(), "nothing goes before the hello");
    }
    (end, calls)
}

/// What the peer says, frame by frame: all that a peer may.
fn script() -> Vec<(Kind, Vec<u8>)> {
    let ext = extension(0, NO_TIMEOUT);
    let [_, client_streaming, server_streaming, both_ways] = [0, 1, 2, 3].map(|at| FIRST + at);
    let mut all = vec![(Kind::Unknown(0), hello(2).encode(&Config::default()))];
    let mut say = |kind, bytes| all.push((kind, bytes));
    say(Kind::Intern, intern(0, "echo", "say"));
    say(Kind::Intern, intern(1, "echo", "shout"));
    // Calls of the peer, 1 to 4.
    for (number, shape) in (1..).zip(SHAPES) {
        let header =
            FrameHeader { flags: shape.flags(), ..FrameHeader::new(Kind::Request, number) };
        say(Kind::Request, frame(header, &ext, b"theirs"));
    }
    let mut table = vec![1];
    [20u32, 8].iter().for_each(|len| table.extend_from_slice(&len.to_le_bytes()));
    let with_attachment = [&ext[..], &[0, 0], &table].concat();
    say(Kind::OneWay, frame(FrameHeader::new(Kind::OneWay, 0), &with_attachment, &[1; 40]));
    say(Kind::Credit, grant(both_ways, FLAG_FROM_CALLEE, 0, 1 << 22));
    say(Kind::Credit, grant(4, 0, 0, 1 << 22));
    say(Kind::Credit, grant(0, 0, 3, 1 << 30));
    // Chunks of both directions, short ones and long ones on two lanes, with a ping between the
    // pieces.
    say(Kind::Data, data(2, 0, b"one"));
    say(Kind::Data, first(Kind::Data, 4, 0, 0, 70, &[]));
    say(Kind::Data, first(Kind::Data, both_ways, FLAG_FROM_CALLEE, 1, 40, &[]));
    say(Kind::Fragment, fragment(0, 0, &[2; 48]));
    say(Kind::Ping, bare(Kind::Ping, 9));
    say(Kind::Fragment, fragment(1, 0, &[3; 40]));
    say(Kind::Fragment, fragment(0, 0, &[2; 22]));
    say(Kind::Data, data(server_streaming, FLAG_FROM_CALLEE, &[]));
    say(Kind::Data, data(server_streaming, FLAG_FROM_CALLEE | FLAG_END, &[]));
    say(Kind::Data, data(2, FLAG_END, &[]));
    say(Kind::Gossip, frame(FrameHeader::new(Kind::Gossip, 0), &[], b"rumour"));
    // A long chunk is given up, and its call with it.
    say(Kind::Data, first(Kind::Data, 4, 0, 2, 100, &[]));
    say(Kind::Fragment, fragment(2, 0, &[4; 16]));
    say(Kind::Fragment, fragment(2, FLAG_ABORT, &[]));
    say(Kind::Cancel, bare(Kind::Cancel, 4));
    // Answers: in pieces, as a status, and short; then one that comes late.
    say(Kind::Response, first(Kind::Response, client_streaming, 0, 3, 33, &ext));
    say(Kind::Fragment, fragment(3, 0, &[5; 33]));
    let refusal = FrameHeader {
        code: Code::AppError.get(),
        ..FrameHeader::new(Kind::Response, server_streaming)
    };
    say(Kind::Response, frame(refusal, &ext, b"no"));
    say(Kind::Response, frame(FrameHeader::new(Kind::Response, FIRST), &ext, b"yes"));
    say(Kind::Data, data(client_streaming, FLAG_FROM_CALLEE, b"late"));
    say(Kind::GoAway, bare(Kind::GoAway, 0));
    all
}

/// What the connection says of `bytes` in these pieces, what it counts, and what it sends, answers
/// to the calls of the peer included.
fn told(bytes: &[u8], pieces: impl Iterator<Item = usize>) -> (Vec<String>, Stats, Vec<u8>) {
    let (mut end, calls) = caller();
    let mut from = 0;
    for to in pieces.chain([bytes.len()]) {
        deliver(&mut end, start(), &bytes[from..to], usize::MAX);
        from = to;
    }
    let mut all = Vec::new();
    let heard = events(&mut end);
    for event in heard {
        all.push(format!("{event:?}"));
        match event {
            Event::Request { id, .. } => {
                let is_open = end.respond(start(), id, Ok(b"answer".into()));
                all.push(format!("{is_open:?}"));
            }
            Event::Chunk { held, .. } => end.release(start(), held),
            _ => {}
        }
    }
    for call in calls {
        all.push(format!("{:?}", end.send(start(), StreamRef::Call(call), b"more".into(), &[])));
    }
    let sent = drain(&mut end, start());
    (all, end.stats(), sent)
}

#[test]
fn an_exchange_of_every_shape_split_at_every_byte_gives_the_same() {
    let frames = script();
    let bytes: Vec<u8> = frames.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let expected = told(&bytes, [].into_iter());
    let (said, stats, sent) = &expected;
    // The script is heard to its end, and does what it says.
    for (name, count) in [
        ("Connected", 1),
        ("Request", 4),
        ("OneWay", 1),
        ("Gossip", 1),
        ("Sendable", 2),
        ("Chunk", 4),
        ("Finished", 2),
        ("Cancelled", 1),
        ("Response", 3),
        ("GoAway", 1),
        ("Closed", 0),
    ] {
        let found =
            said.iter().filter(|event| event.split([' ', '(']).next() == Some(name)).count();
        assert_eq!(found, count, "{name}: {said:#?}");
    }
    assert!(stats.late_chunks == 1 && sent.len() > 500, "{stats:?}");
    for at in 0..=bytes.len() {
        assert!(told(&bytes, [at].into_iter()) == expected, "split at {at} of {}", bytes.len());
    }
    for step in [1, 2, 15, 16, 17] {
        assert!(told(&bytes, (0..bytes.len()).step_by(step)) == expected, "pieces of {step}");
    }
}
