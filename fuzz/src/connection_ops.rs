//! Target `connection_ops`: two real connections that do what their applications may do, over pipes
//! that are carried a piece at a time.
//!
//! Each story is told twice: once with every piece handed over whole, once with each split
//! anywhere. Both sides must hear and send the same to the byte (`docs/protocol.md` §5.2). Every
//! call ends once, a handler runs at most once for a call, what arrives is what was sent and in the
//! order in which it was (§5.4.2, §5.10.7, §5.11), and what has been released can be sent again
//! (§5.12).

mod ledger;

use std::time::Duration;

use bytes::Bytes;
use chinwag_core::rng::Rng;
use chinwag_core::rpc::{Code, Config, Fingerprint, Headers, Request, Shape, Status};
use chinwag_core::time::Now;

use crate::input::Input;
use crate::stream::{End, later, owned, start};
use ledger::Ledger;

/// Steps of one input at most.
const STEPS_MAX: usize = 200;
/// Bytes of all bodies of one input at most: enough for every window to be used up.
const BODIES_LEN_MAX: usize = 2 << 20;
/// Rounds in which two sides that release everything have said all they have to say.
const ROUNDS_MAX: usize = 10_000;

const SHAPES: [Shape; 4] =
    [Shape::UNARY, Shape::CLIENT_STREAMING, Shape::SERVER_STREAMING, Shape::BIDIRECTIONAL];

/// One input: configurations, where pieces are split, and steps.
///
/// # Panics
/// If an invariant does not hold.
pub fn run(data: &[u8]) {
    let (whole, split) = (Story::tell(data, false), Story::tell(data, true));
    let sides: Vec<_> = whole
        .iter()
        .zip(&split)
        .map(|(whole, split)| (whole, split, difference(whole, split)))
        .collect();
    let drains = sides
        .iter()
        .any(|(whole, split, at)| at.is_some_and(|at| drains_earlier(whole, split, at)));
    for (name, (whole, split, at)) in ["the dialler", "the acceptor"].into_iter().zip(sides) {
        let Some(at) = at.filter(|_| !drains) else { continue };
        let of = |ledger: &Ledger| ledger.lines.get(at).cloned().unwrap_or_default();
        let before = whole.lines[..at].join("\n  ");
        panic!(
            "§5.2: {name}, after\n  {before}\nheard whole:\n  {}\nand split:\n  {}",
            of(whole),
            of(split)
        );
    }
}

/// The first line in which the two differ.
fn difference(whole: &Ledger, split: &Ledger) -> Option<usize> {
    let (whole, split) = (&whole.lines, &split.lines);
    let first = whole.iter().zip(split).position(|(whole, split)| whole != split);
    first.or((whole.len() != split.len()).then(|| whole.len().min(split.len())))
}

/// Whether the two differ in nothing but this: split, a connection was found drained (§5.9.2)
/// between two pieces, and what came in the second was of no call: gossip, or a ping that is not
/// answered any more. Of calls both have heard the same until they closed.
fn drains_earlier(whole: &Ledger, split: &Ledger, at: usize) -> bool {
    const CALLS: [&str; 4] = ["heard request", "heard one-way", "heard chunk", "heard response"];
    let has_drained = split.lines.iter().any(|line| line == "heard closed Drained");
    let had_closed = split.closed_at.is_some_and(|closed_at| closed_at <= at);
    let is_of_call = |line: &&String| CALLS.iter().any(|call| line.starts_with(call));
    let of_calls = |ledger: &Ledger| -> Vec<String> {
        let open = ledger.lines[at..].iter().take_while(|line| !line.starts_with("heard closed"));
        open.filter(is_of_call).cloned().collect()
    };
    has_drained && had_closed && of_calls(whole) == of_calls(split)
}

struct Side {
    end: End,
    ledger: Ledger,
    /// Bytes on their way to the other side.
    pipe: Vec<u8>,
}

struct Story {
    sides: [Side; 2],
    now: Now,
    /// Says where pieces are split; `None` if they are not.
    splits: Option<Rng>,
    /// Bytes of bodies so far.
    bodies: usize,
    next: u32,
}

impl Story {
    /// Everything that both sides heard and sent.
    fn tell(data: &[u8], is_split: bool) -> [Ledger; 2] {
        let mut input = Input::new(data);
        let splits = Rng::new(u64::from(input.u16()));
        let configs = [config(&mut input), config(&mut input)];
        let side = |(id, config)| Side {
            end: End::new(id, config),
            ledger: Ledger::default(),
            pipe: Vec::new(),
        };
        let sides = [1, 2].map(|id| side((id, configs[usize::from(id == 2)].clone())));
        let splits = is_split.then_some(splits);
        let mut story = Self { sides, now: start(), splits, bodies: 0, next: 0 };
        for _ in 0..STEPS_MAX {
            if input.is_empty() {
                break;
            }
            story.step(&mut input);
        }
        story.finish(input.u8());
        story.sides.map(|side| side.ledger)
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let now = self.now;
        let byte = input.u8();
        let at = usize::from(byte >> 7);
        match byte & 31 {
            0..=3 => self.request(at, input),
            4 => self.one_way(at, input),
            5 => {
                let body = self.body(input, 0);
                let result = self.sides[at].end.act(|machine| machine.gossip(now, &body));
                self.sides[at].ledger.note(format!("gossip {result:?}"));
            }
            6..=8 => self.send(at, input),
            9 => {
                let side = &mut self.sides[at];
                if let Some(stream) = side.ledger.pick_stream(input.u8()) {
                    let result = side.end.act(|machine| machine.finish(now, stream));
                    side.ledger.finished(stream, result.is_ok());
                    side.ledger.note(format!("finish {stream:?} {result:?}"));
                }
            }
            10..=12 => self.respond(at, input),
            13 => {
                let side = &mut self.sides[at];
                if let Some(call) = side.ledger.pick_call(input.u8()) {
                    let was_open = side.end.act(|machine| machine.cancel(now, call));
                    side.ledger.cancelled(call, was_open);
                }
            }
            14 | 15 => self.release(at, usize::from(input.u8())),
            16..=20 => {
                let side = &mut self.sides[at];
                let before = side.pipe.len();
                side.end.transmit(self.now, &mut side.pipe);
                let digest = chinwag_sim::trace::digest(&side.pipe[before..]);
                side.ledger.note(format!("wrote {} {digest:016x}", side.pipe.len() - before));
            }
            21..=25 => {
                let len = match input.u8() {
                    255 => usize::MAX,
                    byte => usize::from(byte) * usize::from(input.u8()),
                };
                self.carry(at, len);
            }
            26 => self.pass(Duration::from_millis(u64::from(input.u8()))),
            27 => self.pass(Duration::from_millis(u64::from(input.u16()))),
            28 | 29 => self.hear(at),
            30 if input.u8() > 200 => self.sides[at].end.act(|machine| machine.go_away(now)),
            _ => {
                self.carry(at, usize::MAX);
                self.hear(1 - at);
            }
        }
    }

    /// A body that says which it is, of a length that is likely to be near something.
    fn body(&mut self, input: &mut Input<'_>, number: u32) -> Bytes {
        let len = match input.u8() {
            byte @ ..200 => usize::from(byte),
            byte @ ..230 => 8_180 + usize::from(byte - 200),
            byte @ ..240 => 16_380 + usize::from(byte - 230),
            _ => usize::from(input.u16()),
        };
        let len = if self.bodies > BODIES_LEN_MAX { 0 } else { len };
        self.bodies += len;
        owned(ledger::pattern(number, len))
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn request(&mut self, at: usize, input: &mut Input<'_>) {
        let now = self.now;
        let number = self.number();
        let (shape, body, attachments) =
            (input.one_of(&SHAPES), self.body(input, number), attachments(input));
        let method = ["say", "shout"][input.below(2)];
        let deadline = (input.u8() % 4 == 1).then(|| Duration::from_millis(u64::from(input.u8())));
        let side = &mut self.sides[at];
        let request = request(method, &body, &attachments, shape, deadline, input.u8());
        let result = side.end.act(|machine| machine.request(now, request));
        side.ledger.requested(number, shape, result);
    }

    fn one_way(&mut self, at: usize, input: &mut Input<'_>) {
        let now = self.now;
        let number = self.number();
        let (body, attachments) = (self.body(input, number), attachments(input));
        let side = &mut self.sides[at];
        let request = request("tell", &body, &attachments, Shape::UNARY, None, input.u8());
        let result = side.end.act(|machine| machine.one_way(now, request));
        side.ledger.note(format!("one-way {number} {result:?}"));
    }

    fn send(&mut self, at: usize, input: &mut Input<'_>) {
        let now = self.now;
        let picked = input.u8();
        let Some(stream) = self.sides[at].ledger.pick_stream(picked) else { return };
        let number = self.sides[at].ledger.next_chunk(stream);
        let (body, attachments) = (self.body(input, number), attachments(input));
        let side = &mut self.sides[at];
        let result = side.end.act(|machine| machine.send(now, stream, body.into(), &attachments));
        side.ledger.sent(stream, result);
    }

    fn respond(&mut self, at: usize, input: &mut Input<'_>) {
        let now = self.now;
        let picked = input.u8();
        let Some((id, number)) = self.sides[at].ledger.pick_inbound(picked) else { return };
        let (body, attachments) = (self.body(input, number), attachments(input));
        let result = if input.u8() % 8 == 1 {
            Err(Status::new(Code::AppError, "no"))
        } else {
            Ok(body.into())
        };
        let is_ok = result.is_ok();
        let side = &mut self.sides[at];
        let responded = side
            .end
            .act(|machine| machine.respond_with(now, id, &Headers::new(), &attachments, result));
        side.ledger.responded(id, is_ok, responded);
    }

    fn release(&mut self, at: usize, count: usize) {
        let now = self.now;
        let side = &mut self.sides[at];
        for held in side.ledger.take_held(count) {
            side.end.act(|machine| machine.release(now, held));
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = later(self.now, by);
        for side in &mut self.sides {
            side.end.tell_time(self.now);
        }
    }

    /// At most `len` bytes get from side `at` to the other.
    fn carry(&mut self, at: usize, len: usize) {
        let len = len.min(self.sides[at].pipe.len());
        let bytes: Vec<u8> = self.sides[at].pipe.drain(..len).collect();
        let to = &mut self.sides[1 - at].end;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let piece =
                self.splits.as_mut().map_or(rest.len(), |splits| piece(splits).min(rest.len()));
            to.receive(self.now, &rest[..piece], usize::MAX);
            rest = &rest[piece..];
        }
        if to.machine.is_closed() {
            self.sides[1 - at].ledger.note_closed();
        }
    }

    fn hear(&mut self, at: usize) {
        let side = &mut self.sides[at];
        while let Some(event) = side.end.event() {
            side.ledger.hear(event);
        }
    }

    /// Both sides say all they have to say, and take and release all they hear; then the stream
    /// ends, or one side goes away first.
    fn finish(&mut self, how: u8) {
        let now = self.now;
        if how % 4 == 1 {
            self.sides[0].end.act(|machine| machine.go_away(now));
        }
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "two connections that release everything come to rest");
            let mut moved = 0;
            for at in [0, 1] {
                let side = &mut self.sides[at];
                side.end.transmit(self.now, &mut side.pipe);
                moved += side.pipe.len();
                self.carry(at, usize::MAX);
                self.hear(1 - at);
                self.release(1 - at, usize::MAX);
            }
            if moved == 0 {
                break;
            }
        }
        for at in [0, 1] {
            self.sides[at].end.act(|machine| machine.handle_closed(now));
            self.hear(at);
            self.sides[at].ledger.end();
        }
        let [one, other] = &self.sides;
        one.ledger.agrees(&other.ledger);
        other.ledger.agrees(&one.ledger);
    }
}

fn piece(splits: &mut Rng) -> usize {
    match splits.below(4) {
        0 => 1,
        1 => 1 + splits.index(40),
        2 => 16,
        _ => 1 + splits.index(10_000),
    }
}

fn request<'a>(
    method: &'a str,
    body: &'a Bytes,
    attachments: &'a [Bytes],
    shape: Shape,
    deadline: Option<Duration>,
    said: u8,
) -> Request<'a> {
    // The depth of the call, and its largest chunk: the usual one, little, or more than fits.
    let (depth, chunk_len_max) = (said % 4, [0, 20_000, 300_000][usize::from(said / 4 % 3)]);
    let headers = match said {
        byte @ ..16 => Headers::new().with("key", &[byte; 20]).expect("short"),
        byte @ ..18 => Headers::new().with("key", &vec![byte; 600]).expect("short"),
        _ => Headers::new(),
    };
    Request {
        service: "echo",
        method,
        fingerprint: Fingerprint::new(9),
        headers,
        deadline,
        body: body.clone().into(),
        attachments,
        shape,
        chunk_len_max,
        depth,
        caller: u64::from(said % 3),
    }
}

fn attachments(input: &mut Input<'_>) -> Vec<Bytes> {
    let count = if input.u8() % 8 == 1 { input.below(4) } else { 0 };
    (0..count).map(|_| owned(vec![8; usize::from(input.u8())])).collect()
}

fn config(input: &mut Input<'_>) -> Config {
    let small = input.u8();
    let of =
        |bit: u8, small_one: u32, large: u32| if small >> bit & 1 == 1 { small_one } else { large };
    Config {
        in_flight_max: of(0, 2, 100),
        message_len_max: of(1, 20_000, 1 << 20),
        headers_len_max: of(2, 256, 8_192),
        stream_reserve_max: of(3, 128 << 10, 64 << 20),
        stream_pool_max: of(3, 0, 4 << 20),
        stream_window: of(3, 16 << 10, 64 << 10),
        stream_window_max: of(3, 16 << 10, 1 << 20),
        request_budget: of(4, 64 << 10, 4 << 20),
        response_window: of(4, 16 << 10, 1 << 20),
        response_window_max: of(4, 16 << 10, 4 << 20),
        methods_max: if small >> 5 & 1 == 1 { 2 } else { 100 },
        events_max: of(6, 16, 8_192) as usize,
        transmit_len_max: of(7, 4 << 10, 256 << 10) as usize,
        fragment_len: of(7, 16 << 10, 64 << 10) as usize,
        outbound_len_max: of(6, 64 << 10, 8 << 20) as usize,
        answers_out_max: of(6, 64 << 10, 8 << 20) as usize,
        waiting_calls_max: of(0, 3, 100) as usize,
        waiting_len_max: of(6, 64 << 10, 8 << 20) as usize,
        room_wait_max: Duration::from_millis(200),
        answer_wait_max: Duration::from_millis(300),
        drain_timeout: Duration::from_millis(500),
        ..Config::default()
    }
}
