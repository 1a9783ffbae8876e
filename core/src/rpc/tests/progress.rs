//! §5.12.10: nothing gets stuck. Two real machines, the bytes between them, and handlers at both
//! ends, under every order of their first moves; and each rule of credit is needed: without it some
//! story gets stuck.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;

use super::*;
use crate::rpc::mutant::Defect;

/// Time after which whatever is open is stuck: several times what any wait may take.
const HORIZON: Duration = Duration::from_secs(60);

/// Moves that are tried in every order, before all take turns.
const FREE_MOVES: u32 = 6;

/// What one end asks of the other.
#[derive(Clone, Copy, Debug)]
enum Ask {
    /// A call of so many bytes, whose handler calls back with as many so many times.
    Hops { count: u8, len: usize },
    /// The same, made again when it is refused.
    Stubborn { len: usize },
    /// A call whose answer has so many bytes; nobody takes it, or it is taken at once.
    Fetch { len: usize, is_taken: bool },
    /// A bidirectional stream of so many chunks, all of which come back.
    Echo { chunks: u8, len: usize },
}

/// Two ends of one configuration, and what each asks.
struct Story {
    config: Config,
    asks: &'static [Ask],
    /// The rules without which it gets stuck.
    needs: &'static [Defect],
}

fn stories() -> Vec<Story> {
    let small = Config {
        message_len_max: 64 * 1024,
        request_budget: 0,
        stream_reserve_max: 4 << 20,
        stream_pool_max: 0,
        stream_window: 16 * 1024,
        response_window: 16 * 1024,
        response_window_max: 16 * 1024,
        ..Config::default()
    };
    vec![
        // Each of the handlers on its way holds what it was sent: more than the budget together.
        Story {
            config: small.clone(),
            asks: &[Ask::Hops { count: 5, len: 60_000 }, Ask::Hops { count: 5, len: 60_000 }],
            needs: &[Defect::BudgetIsWaitedFor],
        },
        // Each of them has a slot, and there are fewer.
        Story {
            config: Config { in_flight_max: 1, ..small.clone() },
            asks: &[Ask::Hops { count: 3, len: 10 }, Ask::Hops { count: 3, len: 10 }],
            needs: &[Defect::RoomWaitHasNoEnd],
        },
        Story {
            config: small.clone(),
            asks: &[
                Ask::Fetch { len: 20_000, is_taken: false },
                Ask::Fetch { len: 20_000, is_taken: true },
                Ask::Fetch { len: 20_000, is_taken: true },
            ],
            needs: &[Defect::UntakenStays],
        },
        // The pool is empty: each stream has what it was promised.
        Story {
            config: small.clone(),
            asks: &[Ask::Echo { chunks: 3, len: 60_000 }, Ask::Echo { chunks: 3, len: 100 }],
            needs: &[Defect::NoReserve],
        },
        Story {
            config: Config { message_len_max: 200_000, ..small.clone() },
            asks: &[Ask::Echo { chunks: 2, len: 70_000 }],
            needs: &[Defect::ChunkExceedsReserve],
        },
        // Calls that wait for the stream's slot must not keep its chunks from the socket.
        Story {
            config: Config {
                in_flight_max: 1,
                outbound_len_max: 64 * 1024,
                room_wait_max: Duration::from_secs(100),
                ..small
            },
            asks: &[
                Ask::Echo { chunks: 3, len: 30_000 },
                Ask::Stubborn { len: 50_000 },
                Ask::Stubborn { len: 50_000 },
            ],
            needs: &[Defect::OneLimitForAll],
        },
    ]
}

/// What an application has under way at one end.
#[derive(Default)]
struct App {
    /// Calls of its own that nobody waits for but the story.
    top: BTreeMap<CallId, Ask>,
    /// Calls of handlers: whose, and the request that the handler holds.
    nested: BTreeMap<CallId, (InboundId, Bytes)>,
    /// Chunks that are to be sent, in order, of the streams here, and whether the end follows.
    sending: BTreeMap<StreamRef, (VecDeque<Bytes>, bool)>,
    /// Answers that nobody takes.
    untaken: Vec<Held>,
}

struct Played {
    pair: Pair,
    apps: [App; 2],
    /// Bytes on their way to each end.
    pipes: [Vec<u8>; 2],
}

fn pad(count: u8, len: usize) -> Vec<u8> {
    let mut body = vec![1; len];
    body[0] = count;
    body
}

impl Played {
    fn new(story: &Story, defect: Option<Defect>) -> Self {
        let mut pair = Pair::connected_with(story.config.clone(), story.config.clone());
        for end in [&mut pair.a, &mut pair.b] {
            defect.into_iter().for_each(|defect| end.make_mutant(defect));
        }
        let mut played = Self { pair, apps: Default::default(), pipes: Default::default() };
        for &ask in story.asks {
            (0..2).for_each(|at| played.ask(at, ask));
        }
        played
    }

    fn end(&mut self, at: usize) -> &mut End {
        if at == 0 { &mut self.pair.a } else { &mut self.pair.b }
    }

    fn ask(&mut self, at: usize, ask: Ask) {
        let now = self.pair.now;
        let (body, shape) = match ask {
            Ask::Hops { count, len } => (pad(count, len), Shape::UNARY),
            Ask::Stubborn { len } => (pad(0, len), Shape::UNARY),
            // What the handler answers with is said in thousands.
            Ask::Fetch { len, .. } => {
                (vec![0, u8::try_from(len / 1_000).expect("few")], Shape::UNARY)
            }
            Ask::Echo { .. } => (vec![0], Shape::BIDIRECTIONAL),
        };
        let request = Request { shape, chunk_len_max: 0, ..request(&body) };
        let Ok(call) = self.end(at).request(now, request) else { return };
        self.apps[at].top.insert(call, ask);
        if let Ask::Echo { chunks, len } = ask {
            let chunks = (0..chunks).map(|_| vec![2; len].into()).collect();
            self.apps[at].sending.insert(StreamRef::Call(call), (chunks, true));
            self.send(at, StreamRef::Call(call));
        }
    }

    /// One of four: bytes to either end, an application at either.
    fn make(&mut self, number: u32) -> bool {
        let at = (number & 1) as usize;
        if number < 2 { self.carry(at) } else { self.work(at) }
    }

    /// What one end has to say goes to the other, as far as that reads.
    fn carry(&mut self, from: usize) -> bool {
        let now = self.pair.now;
        let bytes = drain(self.end(from), now);
        self.pipes[1 - from].extend_from_slice(&bytes);
        let mut pipe = core::mem::take(&mut self.pipes[1 - from]);
        let (to, mut read) = (self.end(1 - from), 0);
        while read < pipe.len() && !to.is_closed() {
            let buffer = to.receiver.buffer();
            let len = buffer.len().min(pipe.len() - read);
            if len == 0 {
                break;
            }
            buffer[..len].copy_from_slice(&pipe[read..][..len]);
            to.machine.handle_received(now, &mut to.receiver, len);
            read += len;
        }
        pipe.drain(..read);
        self.pipes[1 - from] = pipe;
        read > 0
    }

    /// The application does one thing.
    fn work(&mut self, at: usize) -> bool {
        let Some(event) = self.end(at).poll_event() else { return false };
        let now = self.pair.now;
        match event {
            Event::Request { id, body, depth, shape, .. } => {
                self.handle(at, id, body, depth, shape.is_streaming());
            }
            Event::Response { call, result, held, .. } => {
                self.answered(at, call, result.is_ok(), held);
            }
            Event::Chunk { stream, body, held, .. } => {
                self.end(at).release(now, held);
                // The handler gives it back; the caller has had what it sent.
                if matches!(stream, StreamRef::Inbound(_)) {
                    let sending = self.apps[at].sending.entry(stream).or_default();
                    sending.0.push_back(body);
                    self.send(at, stream);
                }
            }
            Event::Finished(stream @ StreamRef::Inbound(_)) => {
                self.apps[at].sending.entry(stream).or_default().1 = true;
                self.send(at, stream);
            }
            Event::Sendable(stream) => self.send(at, stream),
            _ => {}
        }
        true
    }

    fn handle(&mut self, at: usize, id: InboundId, body: Bytes, depth: u8, streams: bool) {
        let now = self.pair.now;
        if streams {
            return;
        }
        if body[0] > 0 {
            let mut further = body.to_vec();
            further[0] -= 1;
            let further = Request { depth: depth + 1, ..request(&further) };
            match self.end(at).request(now, further) {
                Ok(call) => drop(self.apps[at].nested.insert(call, (id, body))),
                Err(_) => {
                    let _ = self.end(at).respond(now, id, Ok((&b"no"[..]).into()));
                }
            }
            return;
        }
        let len = if body.len() == 2 { usize::from(body[1]) * 1_000 } else { 1 };
        let _ = self.end(at).respond(now, id, Ok((&vec![3; len][..]).into()));
    }

    fn answered(&mut self, at: usize, call: CallId, is_ok: bool, held: Held) {
        let now = self.pair.now;
        self.apps[at].sending.remove(&StreamRef::Call(call));
        if let Some((id, _held_until_now)) = self.apps[at].nested.remove(&call) {
            self.end(at).release(now, held);
            let _ = self.end(at).respond(now, id, Ok((&b"done"[..]).into()));
            return;
        }
        match self.apps[at].top.remove(&call) {
            Some(Ask::Fetch { is_taken: false, .. }) => self.apps[at].untaken.push(held),
            Some(ask @ Ask::Stubborn { .. }) if !is_ok => self.ask(at, ask),
            _ => self.end(at).release(now, held),
        }
    }

    /// Sends what a stream may send now. A chunk that is too large ends its call.
    fn send(&mut self, at: usize, stream: StreamRef) {
        let now = self.pair.now;
        let Some((chunks, is_last)) = self.apps[at].sending.get_mut(&stream) else { return };
        let end = if at == 0 { &mut self.pair.a } else { &mut self.pair.b };
        while let Some(chunk) = chunks.front() {
            match end.send(now, stream, Body::Owned(chunk.clone()), &[]) {
                Ok(()) => drop(chunks.pop_front()),
                Err(StreamError::Blocked) => return,
                Err(_) => {
                    self.apps[at].sending.remove(&stream);
                    if let StreamRef::Call(call) = stream {
                        end.cancel(now, call);
                        self.apps[at].top.remove(&call);
                    }
                    return;
                }
            }
        }
        if core::mem::take(is_last) {
            let _ = match stream {
                StreamRef::Call(_) => end.finish(now, stream).is_ok(),
                StreamRef::Inbound(id) => end.respond(now, id, Ok(Body::EMPTY)).is_ok(),
            };
        }
    }

    /// All take turns until the horizon. Whether everything that was asked has ended, over
    /// connections that are still there.
    fn ends_well(&mut self) -> bool {
        while self.pair.now.mono < Instant::ZERO + HORIZON {
            let mut has_moved = false;
            for number in 0..4 {
                has_moved |= self.make(number);
            }
            if has_moved {
                continue;
            }
            if self.is_done() {
                return true;
            }
            let ends = [self.pair.a.poll_timeout(), self.pair.b.poll_timeout()];
            let Some(next) = ends.into_iter().flatten().min() else { return false };
            self.pair.pass(next.since(self.pair.now.mono).max(MS));
        }
        self.is_done()
    }

    fn is_done(&self) -> bool {
        let is_idle = |app: &App| app.top.is_empty() && app.nested.is_empty();
        let ends = [&self.pair.a, &self.pair.b];
        self.apps.iter().all(is_idle)
            && ends.iter().all(|end| !end.is_closed() && end.calls_open() + end.inbound_open() == 0)
    }
}

/// Plays a story in each order of its first moves, the others taking turns. Returns how many orders
/// there are, and how many of them get stuck.
fn play(story: &Story, defect: Option<Defect>, free_moves: u32) -> (u32, u32) {
    let orders = 4_u32.pow(free_moves);
    let stuck = (0..orders).filter(|order| {
        let mut played = Played::new(story, defect);
        for nth in 0..free_moves {
            played.make(order >> (2 * nth) & 3);
        }
        !played.ends_well()
    });
    (orders, u32::try_from(stuck.count()).expect("no more than there are"))
}

#[test]
fn s5_12_10_nothing_gets_stuck_in_any_order_of_the_first_moves() {
    for (at, story) in stories().iter().enumerate() {
        let (orders, stuck) = play(story, None, FREE_MOVES);
        assert_eq!((orders, stuck), (4_096, 0), "story {at}: {:?}", story.asks);
    }
}

#[test]
fn s5_12_10_each_rule_is_needed() {
    let mut seen = Vec::new();
    for (at, story) in stories().iter().enumerate() {
        for &defect in story.needs {
            let (_, stuck) = play(story, Some(defect), 1);
            assert!(stuck > 0, "story {at} does not get stuck without {defect:?}");
            seen.push(defect);
        }
    }
    for defect in Defect::ALL {
        assert!(seen.contains(&defect), "no story needs {defect:?}");
    }
}
