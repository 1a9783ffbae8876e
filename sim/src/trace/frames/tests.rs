use super::*;

/// A frame as `docs/protocol.md` §5.2.1 has it.
fn frame(kind: u8, flags: u8, call: u32, method: u16, code: u16, parts: (&[u8], &[u8])) -> Vec<u8> {
    let (extension, body) = parts;
    let mut out = Vec::new();
    out.extend(u32::try_from(body.len()).expect("short").to_le_bytes());
    out.extend(call.to_le_bytes());
    out.extend([kind, flags]);
    out.extend(method.to_le_bytes());
    out.extend(u16::try_from(extension.len()).expect("short").to_le_bytes());
    out.extend(code.to_le_bytes());
    for part in if flags & MORE != 0 { vec![extension] } else { vec![extension, body] } {
        out.extend(part);
        out.resize(out.len().next_multiple_of(UNIT), 0);
    }
    out
}

fn hello() -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(83_u32.to_le_bytes());
    out.extend([0; 4]);
    out.extend([7; 96]);
    out
}

fn name(service: &str, method: &str) -> Vec<u8> {
    let mut body = vec![1; 8];
    for name in [service, method] {
        body.push(u8::try_from(name.len()).expect("short"));
        body.extend(name.as_bytes());
    }
    frame(5, 0, 0, 0, 0, (&[], &body))
}

/// What each side sends: a caller that puts, gets, and says something long, and its callee.
fn talk() -> [Vec<u8>; 2] {
    let there = [
        hello(),
        name("kv", "put"),
        frame(1, 0, 3, 0, 0, (&[9; 17], &[8; 33])),
        name("kv", "get"),
        frame(1, 0, 1 << 14 | 4, 1, 0, (&[9; 16], &[])),
        // A long one on lane 2, in two pieces.
        frame(2, MORE | 2 << 5, 0, 0, 0, (&[9; 16], &[8; 24])),
        frame(7, 0, 5, 0, 0, (&[], &[])),
        frame(17, 2 << 5, 0, 0, 0, (&[], &[8; 16])),
        frame(17, 2 << 5, 0, 0, 0, (&[], &[8; 8])),
        frame(16, FROM_CALLEE, 77, 0, 0, (&[], b"chunk")),
        frame(4, 0, 1 << 14 | 4, 0, 0, (&[], &[])),
        frame(99, 0, 0, 0, 0, (&[], &[3; 40])),
    ];
    let back = [
        hello(),
        frame(3, 0, 3, 0, 0, (&[9; 16], &[8; 5])),
        frame(3, 1, 1 << 14 | 4, 0, 8, (&[9; 16], b"too large")),
    ];
    [there.concat(), back.concat()]
}

const THERE: [&str; 12] = [
    "hello",
    "name kv.put",
    "request kv.put call 3 of node 4",
    "name kv.get",
    "request kv.get call 16388 of node 4",
    "one-way message kv.put",
    "ping",
    "fragment kv.put",
    "fragment kv.put",
    "chunk call 77 of node 6",
    "cancel kv.get call 16388 of node 4",
    "unknown frame",
];
const BACK: [&str; 3] =
    ["hello", "answer kv.put call 3 of node 4", "answer kv.get call 16388 of node 4: TooLarge"];

#[test]
fn every_frame_is_named_wherever_the_bytes_are_cut() {
    let [there, back] = talk();
    for len in 1..there.len() {
        let mut frames = Frames::new(1, 4, 6);
        let mut read = |side, bytes: &[u8]| -> Vec<String> {
            let pieces = bytes.chunks(len).flat_map(|piece| frames.read(side, piece));
            let named = pieces.filter(|frame| frame.frame != Kind::Rest);
            named.map(|frame| frame.to_string()).collect()
        };
        assert_eq!(read(0, &there), THERE, "pieces of {len}");
        assert_eq!(read(1, &back), BACK, "pieces of {len}");
    }
}

#[test]
fn the_rest_of_a_frame_says_whose_it_is() {
    let mut frames = Frames::new(1, 4, 6);
    frames.read(0, &[hello(), name("kv", "put")].concat());
    let long = frame(1, 0, 3, 0, 0, (&[9; 16], &[8; 900]));
    assert_eq!(words(&frames.read(0, &long[..100])), "request kv.put call 3 of node 4");
    assert_eq!(words(&frames.read(0, &long[100..500])), "rest kv.put call 3 of node 4");
    let ping = frame(7, 0, 5, 0, 0, (&[], &[]));
    let end = [&long[500..], &ping].concat();
    assert_eq!(words(&frames.read(0, &end)), "rest kv.put call 3 of node 4, ping");
}

#[test]
fn what_is_no_such_stream_has_no_frames() {
    let mut frames = Frames::new(1, 0, 1);
    assert_eq!(frames.read(0, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"), []);
    assert_eq!(frames.read(0, &hello()), [], "nor later");
    // A name that says it is longer than any, and text that is none.
    let mut frames = Frames::new(1, 0, 1);
    let mut long = frame(5, 0, 0, 0, 0, (&[], &[0xff; 2_000]));
    long.extend(frame(7, 0, 0, 0, 0, (&[], &[])));
    assert_eq!(words(&frames.read(1, &[hello(), long].concat())), "hello, name, ping");
}
