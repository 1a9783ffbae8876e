//! Seeds: both sides of a connection act at random over a byte pipe that is cut at random, compared
//! with a model of what each stream may give: chunks whole, in order, each once, before the end;
//! each call ends once; and when the consumers go on, nothing is stuck.

use alloc::collections::BTreeMap;

use super::*;
use crate::rng::Rng;

const SEEDS: u64 = 150;

/// One half of a stream: what was sent, and how much of it has come.
#[derive(Default)]
struct Track {
    sent: Vec<(u32, Vec<usize>)>,
    came: usize,
    is_finished: bool,
    has_end_come: bool,
    is_over: bool,
}

#[derive(Default)]
struct SideOf {
    /// By the number of the call: the stream as this side knows it.
    open: BTreeMap<u32, StreamRef>,
    /// Requests of the peer that wait for an answer.
    asked: Vec<(InboundId, u32)>,
    /// What is taken and not released.
    held: Vec<Held>,
    made: u32,
    ended: u32,
    told: u32,
}

struct Model {
    rng: Rng,
    now: Now,
    /// Tracks by (who called, number of the call, who sends).
    tracks: BTreeMap<(usize, u32, usize), Track>,
    sides: [SideOf; 2],
    seed: u64,
    next: u32,
    chunks: u32,
}

fn pattern(salt: u32, len: usize) -> Vec<u8> {
    let mut body = salt.to_le_bytes().to_vec();
    body.extend((0..len).map(|at| u8::try_from((at + salt as usize) % 251).expect("small")));
    body
}

fn number(body: &[u8]) -> u32 {
    u32::from_le_bytes(body[..4].try_into().expect("four bytes"))
}

impl Model {
    fn len(&mut self) -> usize {
        match self.rng.below(12) {
            0 => 20_000 + self.rng.index(100_000),
            1 => 8_188 + self.rng.index(3),
            2 => 0,
            _ => self.rng.index(3_000),
        }
    }

    /// The number of the call a stream belongs to, and who called.
    fn call_of(&self, side: usize, of: StreamRef) -> Option<(usize, u32)> {
        let found = self.sides[side].open.iter().find(|(_, stream)| **stream == of)?;
        let caller = if matches!(of, StreamRef::Call(_)) { side } else { 1 - side };
        Some((caller, *found.0 / 2))
    }

    fn act(&mut self, side: usize, of: &mut Connection) {
        match self.rng.below(20) {
            0..=3 => self.open(side, of),
            4..=12 => self.stream(side, of),
            13 => self.answer(side, of),
            14 => self.cancel(side, of),
            _ => self.release(side, of),
        }
    }

    fn open(&mut self, side: usize, of: &mut Connection) {
        let shape =
            Shape { streams_in: self.rng.below(2) == 0, streams_out: self.rng.below(2) == 0 };
        let (len, deadline) =
            (self.len(), (self.rng.below(8) == 0).then(|| MS * self.rng.below(30)));
        let body = pattern(self.next, len);
        let extra = [Bytes::from(pattern(1, 40))];
        let attachments = &extra[..self.rng.index(2)];
        if let Ok(call) =
            of.request(self.now, Request { shape, deadline, attachments, ..request(&body) })
        {
            self.sides[side].open.insert(self.next * 2, StreamRef::Call(call));
            self.sides[side].made += 1;
            for (may, sender) in [(shape.streams_in, side), (shape.streams_out, 1 - side)] {
                if may {
                    self.tracks.insert((side, self.next, sender), Track::default());
                }
            }
            self.next += 1;
        }
    }

    fn stream(&mut self, side: usize, of: &mut Connection) {
        let open: Vec<StreamRef> = self.sides[side].open.values().copied().collect();
        if open.is_empty() {
            return;
        }
        let stream = open[self.rng.index(open.len())];
        let Some((caller, call)) = self.call_of(side, stream) else { return };
        let (len, is_end, salt) = (self.len(), self.rng.below(12) == 0, self.chunks);
        let extra: Vec<Bytes> =
            (0..self.rng.below(12) / 10).map(|at| pattern(at, 30_000).into()).collect();
        let track = self.tracks.get_mut(&(caller, call, side));
        if is_end {
            let result = of.finish(self.now, stream);
            match track {
                Some(track) if result.is_ok() => {
                    assert!(!track.is_finished, "seed {}", self.seed);
                    track.is_finished = true;
                }
                Some(track) => assert!(track.is_finished || result == Err(StreamError::Ended)),
                None => assert!(result.is_err()),
            }
            return;
        }
        let body = pattern(salt, len);
        match (of.send(self.now, stream, body[..].into(), &extra), track) {
            (Ok(()), Some(track)) => {
                track.sent.push((
                    salt,
                    [body.len()].into_iter().chain(extra.iter().map(Bytes::len)).collect(),
                ));
                self.chunks += 1;
            }
            (Ok(()), None) => panic!("a half that is not there took a chunk: seed {}", self.seed),
            (Err(_), _) => {}
        }
    }

    fn answer(&mut self, side: usize, of: &mut Connection) {
        let asked = &mut self.sides[side].asked;
        if asked.is_empty() {
            return;
        }
        let (id, call) = asked.swap_remove(self.rng.index(asked.len()));
        let len = self.len();
        let is_open = of.respond(self.now, id, Ok(pattern(call, len).into())).is_ok();
        if is_open && let Some(track) = self.tracks.get_mut(&(1 - side, call, side)) {
            track.is_over = true;
        }
        self.sides[side].open.retain(|_, stream| *stream != StreamRef::Inbound(id));
    }

    fn cancel(&mut self, side: usize, of: &mut Connection) {
        let ours: Vec<(u32, CallId)> =
            self.sides[side]
                .open
                .iter()
                .filter_map(|(key, stream)| {
                    if let StreamRef::Call(call) = stream { Some((*key, *call)) } else { None }
                })
                .collect();
        if ours.is_empty() || self.rng.below(3) > 0 {
            return;
        }
        let (key, call) = ours[self.rng.index(ours.len())];
        if of.cancel(self.now, call) {
            self.sides[side].open.remove(&key);
            self.sides[side].ended += 1;
        }
    }

    fn release(&mut self, side: usize, of: &mut Connection) {
        for _ in 0..self.rng.index(6) {
            let held = &mut self.sides[side].held;
            if !held.is_empty() {
                let held = held.swap_remove(self.rng.index(held.len()));
                of.release(self.now, held);
            }
        }
    }

    fn take(&mut self, side: usize, of: &mut Connection) {
        let seed = self.seed;
        for event in events(of) {
            match event {
                Event::Request { id, body, .. } => {
                    let call = number(&body);
                    assert_eq!(body, pattern(call, body.len() - 4), "seed {seed}");
                    let before = self.sides[side].open.insert(call * 2 + 1, StreamRef::Inbound(id));
                    assert!(before.is_none(), "a request comes once: seed {seed}");
                    self.sides[side].asked.push((id, call));
                }
                Event::Chunk { stream, body, attachments, held } => {
                    let (caller, call) = self.call_of(side, stream).expect("of an open call");
                    let track = self
                        .tracks
                        .get_mut(&(caller, call, 1 - side))
                        .expect("of a half that sends");
                    let (salt, lens) = &track.sent[track.came];
                    assert_eq!(body, pattern(*salt, lens[0] - 4), "in order, whole: seed {seed}");
                    let beside: Vec<usize> = attachments.iter().map(Bytes::len).collect();
                    assert_eq!(beside, lens[1..], "seed {seed}");
                    assert!(!track.has_end_come, "seed {seed}");
                    track.came += 1;
                    self.sides[side].held.push(held);
                    self.sides[side].told += 1;
                }
                Event::Finished(stream) => {
                    let (caller, call) = self.call_of(side, stream).expect("of an open call");
                    let track = self
                        .tracks
                        .get_mut(&(caller, call, 1 - side))
                        .expect("of a half that sends");
                    assert!(
                        track.is_finished && track.came == track.sent.len(),
                        "after all: seed {seed}"
                    );
                    assert!(
                        !core::mem::replace(&mut track.has_end_come, true),
                        "once: seed {seed}"
                    );
                }
                Event::Sendable(stream) => {
                    assert!(self.call_of(side, stream).is_some(), "of an open call: seed {seed}");
                }
                Event::Cancelled(id) => {
                    self.sides[side].asked.retain(|(other, _)| *other != id);
                    self.sides[side].open.retain(|_, stream| *stream != StreamRef::Inbound(id));
                }
                Event::Response { call, result, held, .. } => {
                    let (_, number_of) =
                        self.call_of(side, StreamRef::Call(call)).expect("ends once");
                    self.sides[side].open.retain(|_, stream| *stream != StreamRef::Call(call));
                    self.sides[side].ended += 1;
                    self.sides[side].held.push(held);
                    if let Ok(body) = result {
                        assert_eq!(body, pattern(number_of, body.len() - 4), "seed {seed}");
                        if let Some(track) = self.tracks.get(&(side, number_of, 1 - side)) {
                            assert!(
                                track.is_over && track.came == track.sent.len(),
                                "the last: seed {seed}"
                            );
                        }
                    }
                }
                Event::Connected(_) => {}
                other => panic!("seed {seed}: {other:?}"),
            }
        }
    }
}

/// Some bytes, cut anywhere, go from one to the other.
fn carry(model: &mut Model, from: &mut End, to: &mut End, pipe: &mut Vec<u8>, is_all: bool) {
    if pipe.len() < 300_000 {
        let mut out = Transmit::new();
        from.poll_transmit(model.now, &mut out);
        pipe.extend_from_slice(&write(&mut out));
    }
    let len = if is_all { pipe.len() } else { model.rng.index(pipe.len() + 1) };
    deliver(to, model.now, &pipe[..len], 1 + model.rng.index(70_000));
    pipe.drain(..len);
}

fn config(rng: &mut Rng) -> Config {
    let window = (16 * 1024) << rng.below(3);
    Config {
        in_flight_max: 1 + rng.below(20),
        transmit_len_max: 4_096 << rng.below(7),
        fragment_len: (16 * 1024) << rng.below(3),
        interleaved_max: u8::try_from(1 + rng.below(4)).expect("small"),
        stream_window: window,
        stream_window_max: window * 2,
        stream_pool_max: window * 8,
        stream_reserve_max: 8 << 20,
        request_budget: 32 << 20,
        response_window: window,
        outbound_len_max: (64 * 1024) << rng.below(5),
        ..Config::default()
    }
}

fn run(seed: u64) -> (u32, u32) {
    let mut rng = Rng::new(seed);
    let mut pair = Pair::with(config(&mut rng), config(&mut rng));
    let mut model = Model {
        rng,
        now: pair.now,
        tracks: BTreeMap::new(),
        sides: [SideOf::default(), SideOf::default()],
        seed,
        next: 0,
        chunks: 0,
    };
    let (mut a_to_b, mut b_to_a) = (Vec::new(), Vec::new());
    for _ in 0..600 {
        match model.rng.below(40) {
            0..=13 => model.act(0, &mut pair.a),
            14..=27 => model.act(1, &mut pair.b),
            28..=32 => carry(&mut model, &mut pair.a, &mut pair.b, &mut a_to_b, false),
            33..=37 => carry(&mut model, &mut pair.b, &mut pair.a, &mut b_to_a, false),
            _ => {
                pair.now = later(pair.now, MS * model.rng.below(4));
                model.now = pair.now;
                pair.a.handle_timeout(pair.now);
                pair.b.handle_timeout(pair.now);
            }
        }
        model.take(0, &mut pair.a);
        model.take(1, &mut pair.b);
    }
    // The consumers go on, every call is answered: all that was sent comes, and nothing is left.
    for round in 0.. {
        for (side, of) in [(0, &mut pair.a), (1, &mut pair.b)] {
            model.take(side, of);
            core::mem::take(&mut model.sides[side].held)
                .into_iter()
                .for_each(|held| of.release(model.now, held));
            while !model.sides[side].asked.is_empty() && round % 3 == 2 {
                model.answer(side, of);
            }
        }
        let before = pair.a.stats().bytes_in + pair.b.stats().bytes_in;
        carry(&mut model, &mut pair.a, &mut pair.b, &mut a_to_b, true);
        carry(&mut model, &mut pair.b, &mut pair.a, &mut b_to_a, true);
        let is_done = pair.a.calls_open() + pair.b.calls_open() == 0
            && pair.a.queued_len() + pair.b.queued_len() + a_to_b.len() + b_to_a.len() == 0;
        let is_quiet = before == pair.a.stats().bytes_in + pair.b.stats().bytes_in;
        if is_done && is_quiet {
            break;
        }
        assert!(round < 3_000, "stuck: seed {seed}: {:?} {:?}", pair.a.machine, pair.b.machine);
    }
    model.take(0, &mut pair.a);
    model.take(1, &mut pair.b);
    for (side, of) in model.sides.iter_mut().zip([&mut pair.a, &mut pair.b]) {
        side.held.drain(..).for_each(|held| of.release(model.now, held));
        nothing_is_held(of);
        assert_eq!(side.made, side.ended, "each call ended once: seed {seed}");
        assert_eq!(u64::from(side.made), of.stats().calls_out_ended, "seed {seed}");
        assert_eq!((of.inbound_open(), of.is_closed()), (0, false), "seed {seed}");
    }
    for track in model.tracks.values().filter(|track| track.is_over && track.came > 0) {
        assert!(track.came <= track.sent.len());
    }
    (model.next, model.sides[0].told + model.sides[1].told)
}

#[test]
fn any_scripts_over_any_pipe_give_what_the_model_says() {
    let (mut calls, mut chunks) = (0, 0);
    for seed in 0..SEEDS {
        let (made, came) = run(seed);
        calls += made;
        chunks += came;
    }
    assert!(
        calls > 3_000 && chunks > 3_000,
        "the seeds reach something: {calls} calls, {chunks} chunks"
    );
}
