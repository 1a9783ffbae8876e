//! §5.11.3, §5.11.4: the state table of a stream's halves, cell by cell, at both ends.

use super::*;
use crate::rpc::frame::{
    FLAG_ABORT, FLAG_END, FLAG_FROM_CALLEE, FLAG_MORE, NO_TIMEOUT, lane_flags,
};

/// A `Data` written by hand.
pub(super) fn data(call: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    frame(FrameHeader { flags, ..FrameHeader::new(Kind::Data, call) }, &[], body)
}

/// The first frame of a message that comes in fragments.
pub(super) fn first(
    kind: Kind,
    call: u32,
    flags: u8,
    lane: u8,
    body_len: u32,
    extension: &[u8],
) -> Vec<u8> {
    let flags = flags | FLAG_MORE | lane_flags(lane);
    let extension_len = u16::try_from(extension.len()).expect("small");
    let header = FrameHeader { flags, body_len, extension_len, ..FrameHeader::new(kind, call) };
    let mut out = header.encode().to_vec();
    out.extend_from_slice(extension);
    out.resize(padded(out.len()), 0);
    out
}

pub(super) fn fragment(lane: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    frame(
        FrameHeader { flags: flags | lane_flags(lane), ..FrameHeader::new(Kind::Fragment, 0) },
        &[],
        body,
    )
}

pub(super) fn grant(call: u32, flags: u8, window: u16, total: u64) -> Vec<u8> {
    frame(
        FrameHeader { flags, code: window, ..FrameHeader::new(Kind::Credit, call) },
        &[],
        &total.to_le_bytes(),
    )
}

/// A call with a stream both ways, or one way only, between a connection and a peer written by
/// hand.
pub(super) struct Half {
    pub(super) end: End,
    pub(super) of: StreamRef,
    pub(super) call: u32,
    /// The flag of what the peer says about it.
    pub(super) flag: u8,
}

impl Half {
    /// `is_ours`: the connection is the caller.
    pub(super) fn open(is_ours: bool, shape: Shape) -> Self {
        let mut end = beside_a_hand_written_peer(Config::default());
        if is_ours {
            let request = Request { shape, chunk_len_max: 0, ..request(b"x") };
            let call = end.request(start(), request).expect("taken");
            drain(&mut end, start());
            return Self { end, of: StreamRef::Call(call), call: FIRST, flag: FLAG_FROM_CALLEE };
        }
        let header = FrameHeader { flags: shape.flags(), ..FrameHeader::new(Kind::Request, 1) };
        deliver(&mut end, start(), &frame(header, &extension(0, NO_TIMEOUT), b"x"), usize::MAX);
        let id = inbound_ids(&events(&mut end))[0];
        Self { end, of: StreamRef::Inbound(id), call: 1, flag: 0 }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Event> {
        deliver(&mut self.end, start(), bytes, usize::MAX);
        events(&mut self.end)
    }

    /// The call ends at the connection's side.
    pub(super) fn end_call(&mut self) {
        match self.of {
            StreamRef::Call(call) => assert!(self.end.cancel(start(), call)),
            StreamRef::Inbound(id) => self.end.respond(start(), id, Ok(Body::EMPTY)).expect("open"),
        }
    }

    /// The call ends at the peer's side.
    pub(super) fn peer_ends_call(&mut self) {
        let kind = if self.flag == 0 { Kind::Cancel } else { Kind::Response };
        assert_eq!(self.hear(&bare(kind, self.call)).len(), 1);
    }
}

/// The shape in which only one side sends: the one that hears nothing, if `is_ours` says who we
/// are.
fn deaf(is_ours: bool) -> Shape {
    if is_ours { Shape::CLIENT_STREAMING } else { Shape::SERVER_STREAMING }
}

/// The first window of a stream that declares no largest chunk.
pub(super) const WINDOW: u32 = 64 * 1024 + 128;

const STATES: [&str; 6] = ["none", "open", "arriving", "finished", "aborted", "no open call"];

fn receiving(state: &str, is_ours: bool) -> Half {
    let shape = if state == "none" { deaf(is_ours) } else { Shape::BIDIRECTIONAL };
    let mut half = Half::open(is_ours, shape);
    let begins = first(Kind::Data, half.call, half.flag, 0, 100, &[]);
    let heard = match state {
        "arriving" => half.hear(&begins),
        "finished" => half.hear(&data(half.call, half.flag | FLAG_END, &[])),
        "aborted" => {
            half.hear(&begins);
            half.hear(&fragment(0, FLAG_ABORT, &[]))
        }
        "no open call" => {
            half.end_call();
            half.hear(&begins)
        }
        _ => Vec::new(),
    };
    assert_eq!(heard.len(), usize::from(state == "finished"), "{state}");
    half
}

/// The table below this line of `docs/protocol.md`: its rows, the head first, as cells.
fn documented(title: &str) -> Vec<Vec<&'static str>> {
    let text = include_str!("../../../../docs/protocol.md");
    let lines = text.lines().map(str::trim).skip_while(|line| *line != title).skip(2);
    let rows =
        lines.take_while(|line| line.starts_with('|')).filter(|line| !line.starts_with("|-"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// §5.11.2, too: an end is no chunk, and a chunk may be empty.
#[test]
fn s5_11_4_each_cell_of_the_half_that_receives() {
    const INPUTS: [&str; 5] = ["chunk", "chunk with more", "end", "last fragment", "abort"];
    let table = documented("4. The half that receives:");
    assert_eq!(table[0][1..], INPUTS);
    let states: Vec<&str> =
        table[1..].iter().map(|row| row[0].split(':').next().unwrap_or_default()).collect();
    assert_eq!(states, STATES);
    for is_ours in [true, false] {
        for (state, row) in STATES.iter().zip(&table[1..]) {
            for (input, cell) in INPUTS.iter().zip(&row[1..]) {
                let expected = match *cell {
                    // A fragment, or an abort, of no message ends the connection in every state.
                    "" | "the connection ends" => "ends",
                    "`Chunk`" | "`Chunk`: open" => "Chunk",
                    "`Finished`: finished" => "Finished",
                    "arriving" | "aborted" | "skipped" | "skipped, counted"
                    | "dropped, counted" => "",
                    other => panic!("no test for {other:?}"),
                };
                let mut half = receiving(state, is_ours);
                let (call, flag, late) = (half.call, half.flag, half.end.stats().late_chunks);
                let bytes = match *input {
                    "chunk" => data(call, flag, b"x"),
                    "chunk with more" => first(Kind::Data, call, flag, 1, 100, &[]),
                    "end" => data(call, flag | FLAG_END, &[]),
                    "last fragment" => fragment(0, 0, &[1; 100]),
                    _ => fragment(0, FLAG_ABORT, &[]),
                };
                let heard = half.hear(&bytes);
                let what = format!("{state}, {input}, ours {is_ours}: {heard:?}");
                match (expected, &heard[..]) {
                    ("", []) => assert!(!half.end.is_closed(), "{what}"),
                    ("Chunk", [Event::Chunk { stream, .. }]) => {
                        assert_eq!(*stream, half.of, "{what}");
                    }
                    ("Finished", [Event::Finished(stream)]) => {
                        assert_eq!(*stream, half.of, "{what}");
                    }
                    ("ends", [.., Event::Closed(CloseReason::Protocol(_))]) => {}
                    _ => panic!("{what}"),
                }
                let is_counted = cell.contains("counted");
                assert_eq!(half.end.stats().late_chunks - late, u64::from(is_counted), "{what}");
            }
        }
    }
}

#[test]
fn s5_11_4_after_an_arrival_the_half_is_open_again_and_after_an_abort_the_call_may_end() {
    for is_ours in [true, false] {
        let mut half = receiving("arriving", is_ours);
        half.hear(&fragment(0, 0, &[1; 100]));
        let more =
            [data(half.call, half.flag, b"x"), data(half.call, half.flag | FLAG_END, &[])].concat();
        assert!(matches!(half.hear(&more)[..], [Event::Chunk { .. }, Event::Finished(_)]));
        receiving("aborted", is_ours).peer_ends_call();
    }
}

#[test]
fn s5_11_4_a_chunk_of_a_unary_call_ends_the_connection() {
    for is_ours in [true, false] {
        for flags in [0, FLAG_END] {
            let mut half = Half::open(is_ours, Shape::UNARY);
            let heard = half.hear(&data(half.call, half.flag | flags, &[]));
            assert!(matches!(heard.last(), Some(Event::Closed(CloseReason::Protocol(_)))));
        }
        let mut half = Half::open(is_ours, Shape::UNARY);
        let heard = half.hear(&grant(half.call, half.flag, 0, 1 << 30));
        assert!(matches!(heard.last(), Some(Event::Closed(CloseReason::Protocol(_)))));
    }
}

/// Sends chunks until there is no credit; how many went.
fn fill(half: &mut Half) -> u32 {
    let mut sent = 0;
    while half.end.send(start(), half.of, (&[0; 1_000]).into(), &[]).is_ok() {
        sent += 1;
    }
    sent
}

/// The cells of the half that sends that say something, by row: each has its assertion in the test
/// named in the last column.
#[test]
fn s5_11_3_each_cell_of_the_half_that_sends_has_its_test() {
    let table = documented("3. The half that sends:");
    let tests = include_str!("halves.rs");
    let expected = [
        ("none", &["`send`", "`finish`", "credit comes"][..], "s5_11_3_none"),
        (
            "held",
            &["`send`", "`finish`", "credit comes", "the request begins", "the call ends"],
            "s5_11_3_held",
        ),
        ("open", &["`send`", "`finish`", "credit comes", "the call ends"], "s5_11_3_open"),
        (
            "finished",
            &["`send`", "`finish`", "credit comes", "the call ends"],
            "s5_11_3_finished_and_ended",
        ),
        ("ended", &["`send`", "`finish`", "credit comes"], "s5_11_3_finished_and_ended"),
    ];
    assert_eq!(table.len() - 1, expected.len());
    for (row, (state, inputs, test)) in table[1..].iter().zip(expected) {
        assert_eq!(row[0].split(':').next(), Some(state));
        let filled = table[0].iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty());
        assert_eq!(filled.map(|(input, _)| *input).collect::<Vec<_>>(), inputs, "{state}");
        assert!(tests.contains(&format!("fn {test}()")), "{test}");
    }
}

fn mute(is_ours: bool) -> Shape {
    if is_ours { Shape::SERVER_STREAMING } else { Shape::CLIENT_STREAMING }
}

#[test]
fn s5_11_3_none() {
    for is_ours in [true, false] {
        let mut half = Half::open(is_ours, mute(is_ours));
        assert_eq!(half.end.send(start(), half.of, b"x".into(), &[]), Err(StreamError::Finished));
        assert_eq!(half.end.finish(start(), half.of), Err(StreamError::Finished));
        let heard = half.hear(&grant(half.call, half.flag, 0, 1 << 30));
        assert!(
            matches!(heard.last(), Some(Event::Closed(CloseReason::Protocol(_)))),
            "credit comes"
        );
    }
}

/// A call with a stream to the peer, made before the peer's hello.
fn held() -> (End, StreamRef, CallId) {
    let mut end = connection(1, Config::default());
    let shape = Shape::CLIENT_STREAMING;
    let request = Request { shape, chunk_len_max: 0, ..request(b"x") };
    let call = end.request(start(), request).expect("taken");
    (end, StreamRef::Call(call), call)
}

/// The request leaves: what the connection says then, and the frames of the call, with whether each
/// is an end.
fn leaves(end: &mut End) -> (Vec<Event>, Vec<(Kind, bool)>) {
    deliver(end, start(), &hello(2).encode(&Config::default()), usize::MAX);
    let heard = events(end);
    let greeting = hello(1).encode(&Config::default()).len();
    let sent = parse(&drain(end, start())[greeting..]);
    let of_call =
        sent.iter().filter(|(header, ..)| matches!(header.kind, Kind::Request | Kind::Data));
    (
        heard,
        of_call
            .map(|(of, ..)| (of.kind, of.kind == Kind::Data && of.flags & FLAG_END != 0))
            .collect(),
    )
}

#[test]
fn s5_11_3_held() {
    // Nothing is wanted: nobody is told, and the half is open.
    let (mut end, of, _) = held();
    let (heard, sent) = leaves(&mut end);
    assert!(matches!(heard[..], [Event::Connected(_)]), "{heard:?}");
    assert_eq!(sent, [(Kind::Request, false)]);
    assert_eq!(end.send(start(), of, b"x".into(), &[]), Ok(()));

    // `send`, and then the request leaves: told once.
    let (mut end, of, _) = held();
    for _ in 0..2 {
        assert_eq!(end.send(start(), of, b"x".into(), &[]), Err(StreamError::Blocked));
    }
    let (heard, sent) = leaves(&mut end);
    assert!(
        matches!(heard[..], [Event::Connected(_), Event::Sendable(to)] if to == of),
        "{heard:?}"
    );
    assert_eq!(sent, [(Kind::Request, false)], "what was refused does not go");

    // `finish`, and then the request leaves: with its end behind it, once.
    let (mut end, of, _) = held();
    assert_eq!(end.finish(start(), of), Ok(()));
    assert_eq!(end.finish(start(), of), Err(StreamError::Finished));
    assert_eq!(end.send(start(), of, b"x".into(), &[]), Err(StreamError::Finished));
    let (heard, sent) = leaves(&mut end);
    assert!(matches!(heard[..], [Event::Connected(_)]), "{heard:?}");
    assert_eq!(sent, [(Kind::Request, false), (Kind::Data, true)]);
    assert_eq!(end.finish(start(), of), Err(StreamError::Finished));
}

#[test]
fn s5_11_3_held_credit_comes_and_the_call_ends() {
    // Before its hello the peer can say nothing.
    for is_finished in [false, true] {
        let (mut end, of, _) = held();
        if is_finished {
            end.finish(start(), of).expect("held");
        }
        deliver(&mut end, start(), &grant(FIRST, FLAG_FROM_CALLEE, 0, 1 << 30), usize::MAX);
        let heard = events(&mut end);
        assert!(matches!(heard[..], [Event::Response { .. }, Event::Closed(_)]), "{heard:?}");
        assert_eq!(end.send(start(), of, b"x".into(), &[]), Err(StreamError::Ended));
    }
    // Right behind the hello it finds the half open: with as much again as there was.
    let (mut end, of, _) = held();
    let window = u64::from(WINDOW);
    let greeting = hello(2).encode(&Config::default());
    let credit = grant(FIRST, FLAG_FROM_CALLEE, 0, 2 * window);
    deliver(&mut end, start(), &[&greeting[..], &credit].concat(), usize::MAX);
    assert!(matches!(events(&mut end)[..], [Event::Connected(_)]));
    let mut sent = 0u64;
    while end.send(start(), of, (&[0; 1_000]).into(), &[]).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 2 * window / (1_008 + 128));

    // The call ends.
    let (mut end, of, call) = held();
    assert_eq!(end.send(start(), of, b"x".into(), &[]), Err(StreamError::Blocked));
    assert!(end.cancel(start(), call));
    assert_eq!(end.send(start(), of, b"x".into(), &[]), Err(StreamError::Ended));
    assert_eq!(end.finish(start(), of), Err(StreamError::Ended));
    let (heard, sent) = leaves(&mut end);
    assert!(matches!(heard[..], [Event::Connected(_)]), "and nobody is told to go on");
    assert!(sent.is_empty(), "{sent:?}");
}

#[test]
fn s5_11_3_open() {
    for is_ours in [true, false] {
        let mut half = Half::open(is_ours, Shape::BIDIRECTIONAL);
        let sent = fill(&mut half);
        assert_eq!(sent, WINDOW / (1_008 + 128), "with credit, queued");
        let whole = [0; 1_000];
        let refused = half.end.send(start(), half.of, (&whole).into(), &[]);
        assert_eq!(refused, Err(StreamError::Blocked));
        drain(&mut half.end, start());
        assert!(events(&mut half.end).is_empty());
        // Credit comes.
        let spent = u64::from(sent) * (1_008 + 128);
        assert!(
            half.hear(&grant(half.call, half.flag, 0, spent + 1_008 + 127)).is_empty(),
            "not enough for it"
        );
        let heard = half.hear(&grant(half.call, half.flag, 0, spent + 1_008 + 128));
        assert!(matches!(heard[..], [Event::Sendable(of)] if of == half.of));
        let more = spent + 1_008 + 129;
        assert!(half.hear(&grant(half.call, half.flag, 0, more)).is_empty(), "told once");
        assert_eq!(fill(&mut half), 1);
        // Finish, though blocked.
        assert_eq!(half.end.finish(start(), half.of), Ok(()));
        let frames = parse(&drain(&mut half.end, start()));
        assert!(frames.last().is_some_and(|(header, ..)| header.flags & FLAG_END != 0));

        // The call ends: the queue is dropped.
        let mut half = Half::open(is_ours, Shape::BIDIRECTIONAL);
        fill(&mut half);
        drain(&mut half.end, start());
        half.hear(&grant(half.call, half.flag, 0, 1 << 20));
        assert!(half.end.send(start(), half.of, (&[0; 60_000]).into(), &[]).is_ok());
        half.peer_ends_call();
        assert_eq!((half.end.queued_len(), drain(&mut half.end, start()).len()), (0, 0));
        assert_eq!(half.end.send(start(), half.of, b"x".into(), &[]), Err(StreamError::Ended));
    }
}

#[test]
fn s5_11_3_finished_and_ended() {
    for is_ours in [true, false] {
        let mut half = Half::open(is_ours, Shape::BIDIRECTIONAL);
        half.end.finish(start(), half.of).expect("open");
        for _ in 0..2 {
            assert_eq!(
                half.end.send(start(), half.of, b"x".into(), &[]),
                Err(StreamError::Finished)
            );
            assert_eq!(half.end.finish(start(), half.of), Err(StreamError::Finished));
            assert!(half.hear(&grant(half.call, half.flag, 0, 1 << 30)).is_empty(), "no matter");
        }
        half.peer_ends_call();
        drain(&mut half.end, start());
        for late in 1..=2 {
            assert_eq!(half.end.send(start(), half.of, b"x".into(), &[]), Err(StreamError::Ended));
            assert_eq!(half.end.finish(start(), half.of), Err(StreamError::Ended));
            assert!(half.hear(&grant(half.call, half.flag, 0, 5)).is_empty());
            assert_eq!(half.end.stats().late_chunks, late, "dropped, counted");
        }
        assert!(drain(&mut half.end, start()).is_empty());
    }
}

#[test]
fn s5_11_1_every_ending_ends_both_halves_once() {
    for is_ours in [true, false] {
        for ending in ["peer", "self", "closed"] {
            let mut half = Half::open(is_ours, Shape::BIDIRECTIONAL);
            half.hear(&data(half.call, half.flag, b"x"));
            fill(&mut half);
            match ending {
                "peer" => half.peer_ends_call(),
                "self" => half.end_call(),
                _ => half.end.handle_closed(start()),
            }
            let heard = events(&mut half.end);
            let expected = usize::from(ending == "closed") * (1 + usize::from(is_ours));
            assert_eq!(heard.len(), expected, "{ending}: {heard:?}");
            assert_eq!(half.end.send(start(), half.of, b"x".into(), &[]), Err(StreamError::Ended));
            assert_eq!(half.end.finish(start(), half.of), Err(StreamError::Ended));
        }
    }
}

#[test]
fn s5_11_1_a_deadline_ends_a_stream_at_both_ends_and_drops_what_is_queued() {
    let mut pair = Pair::connected();
    let shape = Shape::BIDIRECTIONAL;
    let call = pair.a.request(pair.now, Request { shape, ..within(10 * MS, b"x") }).expect("taken");
    pair.pump();
    let id = inbound_ids(&events(&mut pair.b))[0];
    for (side, of) in [(&mut pair.a, StreamRef::Call(call)), (&mut pair.b, StreamRef::Inbound(id))]
    {
        side.send(pair.now, of, (&[1; 100_000]).into(), &[]).expect("credit");
    }
    pair.pass(10 * MS);
    assert_eq!(status(&mut pair.a).code, Code::DeadlineExceeded);
    assert!(matches!(events(&mut pair.b)[..], [Event::Cancelled(_)]));
    pair.pump();
    assert!(events(&mut pair.a).is_empty() && events(&mut pair.b).is_empty());
    assert_eq!(pair.a.queued_len() + pair.b.queued_len(), 0);
}
