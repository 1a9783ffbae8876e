//! Seeds: calls, cancels, deadlines, go-aways and ends in any order. Each call completes exactly
//! once, and a handler runs at most once per call (P1 to P3 of the failure-detection notes).

use alloc::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::rng::Rng;

/// What one side knows of its calls.
#[derive(Default)]
struct Ledger {
    open: BTreeMap<CallId, u32>,
    ended: BTreeSet<u32>,
    /// Bodies of calls that ran here.
    ran: BTreeSet<u32>,
    to_answer: Vec<(InboundId, u32)>,
    is_closed: bool,
    answered_ok: u32,
}

fn number(body: &Bytes) -> u32 {
    u32::from_le_bytes(body[..4].try_into().expect("four bytes"))
}

impl Ledger {
    fn take(&mut self, from: &mut Connection, seed: u64) {
        for event in events(from) {
            assert!(!self.is_closed, "nothing follows Closed: seed {seed}");
            match event {
                Event::Request { id, body, .. } => {
                    assert!(self.ran.insert(number(&body)), "a handler runs once: seed {seed}");
                    self.to_answer.push((id, number(&body)));
                }
                Event::Cancelled(id) => self.to_answer.retain(|(open, _)| *open != id),
                Event::Response { call, result, .. } => {
                    let call = self.open.remove(&call).expect("a call ends once, and was begun");
                    assert!(self.ended.insert(call), "seed {seed}");
                    if let Ok(body) = result {
                        assert_eq!(
                            number(&body),
                            call,
                            "an answer is to its own question: seed {seed}"
                        );
                        self.answered_ok += 1;
                    }
                }
                Event::Closed(_) => {
                    self.is_closed = true;
                    assert!(
                        self.open.is_empty(),
                        "every call ends with the connection: seed {seed}"
                    );
                    self.to_answer.clear();
                }
                _ => {}
            }
        }
    }
}

fn body(rng: &mut Rng, number: u32) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    let len = if rng.below(20) == 0 { 30_000 } else { rng.index(100) };
    body.resize(4 + len, 7);
    body
}

fn act(rng: &mut Rng, of: &mut Connection, ledger: &mut Ledger, now: Now, next: &mut u32) {
    match rng.below(10) {
        0..=4 => {
            let body = body(rng, *next);
            let deadline = (rng.below(2) == 0).then(|| MS * rng.below(20));
            if let Ok(call) = of.request(now, Request { deadline, ..request(&body) }) {
                assert_eq!(
                    ledger.open.insert(call, *next),
                    None,
                    "an open call's id is not given out"
                );
                *next += 1;
            }
        }
        5 => {
            let nth = rng.index(ledger.open.len().max(1));
            let picked = ledger.open.keys().nth(nth).copied();
            if let Some(call) = picked.filter(|&call| of.cancel(now, call)) {
                let number = ledger.open.remove(&call).expect("it was open");
                assert!(ledger.ended.insert(number));
            }
        }
        6..=8 if !ledger.to_answer.is_empty() => {
            let (id, number) = ledger.to_answer.swap_remove(rng.index(ledger.to_answer.len()));
            let result = if rng.below(5) == 0 {
                Err(Status::new(Code::AppError, "no"))
            } else {
                Ok(body(rng, number).into())
            };
            let _is_over = of.respond(now, id, result);
        }
        _ => drop(of.gossip(now, b"news")),
    }
}

fn carry(rng: &mut Rng, from: &mut End, to: &mut End, pipe: &mut Vec<u8>, now: Now) {
    let mut out = Transmit::new();
    from.poll_transmit(now, &mut out);
    pipe.extend_from_slice(&write(&mut out));
    let len = rng.index(pipe.len() + 1);
    deliver(to, now, &pipe[..len], 1 + rng.index(5_000));
    pipe.drain(..len);
}

fn run(seed: u64) -> (u32, u32) {
    let mut rng = Rng::new(seed);
    let config = |rng: &mut Rng| Config {
        in_flight_max: 1 + rng.below(20),
        transmit_len_max: 4_096 << rng.below(6),
        drain_timeout: 50 * MS,
        ..Config::default()
    };
    let mut pair = Pair::with(config(&mut rng), config(&mut rng));
    let (mut at_a, mut at_b) = (Ledger::default(), Ledger::default());
    let (mut a_to_b, mut b_to_a) = (Vec::new(), Vec::new());
    let (mut next_a, mut next_b) = (0, 0);
    for _ in 0..400 {
        match rng.below(200) {
            0..=60 => act(&mut rng, &mut pair.a, &mut at_a, pair.now, &mut next_a),
            61..=120 => act(&mut rng, &mut pair.b, &mut at_b, pair.now, &mut next_b),
            121..=150 => carry(&mut rng, &mut pair.a, &mut pair.b, &mut a_to_b, pair.now),
            151..=180 => carry(&mut rng, &mut pair.b, &mut pair.a, &mut b_to_a, pair.now),
            181..=198 => pair.pass(MS * rng.below(5)),
            _ if rng.below(4) == 0 => pair.a.go_away(pair.now),
            _ => {}
        }
        at_a.take(&mut pair.a, seed);
        at_b.take(&mut pair.b, seed);
    }
    match seed % 3 {
        0 => pair.a.handle_peer_gone(pair.now),
        1 => pair.a.handle_closed(pair.now),
        _ => pair.a.go_away(pair.now),
    }
    // The rest arrives, handlers answer, time ends what is left.
    for _ in 0..40 {
        carry(&mut rng, &mut pair.a, &mut pair.b, &mut a_to_b, pair.now);
        carry(&mut rng, &mut pair.b, &mut pair.a, &mut b_to_a, pair.now);
        pair.pass(5 * MS);
        at_a.take(&mut pair.a, seed);
        at_b.take(&mut pair.b, seed);
    }
    pair.b.handle_closed(pair.now);
    at_b.take(&mut pair.b, seed);
    assert!(at_a.is_closed && at_b.is_closed, "seed {seed}");
    for (ledger, begun, machine) in [(&at_a, next_a, &pair.a), (&at_b, next_b, &pair.b)] {
        assert_eq!(ledger.ended.len(), begun as usize, "every call ended: seed {seed}");
        let stats = machine.stats();
        assert_eq!(
            (stats.calls_out, stats.calls_out_ended),
            (u64::from(begun), u64::from(begun)),
            "seed {seed}"
        );
        assert_eq!(machine.calls_open() + machine.inbound_open(), 0);
    }
    (next_a + next_b, at_a.answered_ok + at_b.answered_ok)
}

#[test]
fn any_schedule_ends_each_call_exactly_once() {
    let (mut begun, mut answered) = (0, 0);
    for seed in 0..400 {
        let run = run(seed);
        begun += run.0;
        answered += run.1;
    }
    assert!(
        begun > 10_000 && answered > 1_000,
        "the seeds reach something: {begun} calls, {answered} answered"
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = || {
        let mut pair = Pair::connected();
        for at in 0..50u8 {
            let (_, id) = pair.call(&[at]);
            pair.b.respond(pair.now, id, Ok(vec![at; 100].into())).expect("open");
            pair.pump();
            events(&mut pair.a);
        }
        (pair.sent_by_a, pair.sent_by_b)
    };
    assert_eq!(bytes(), bytes());
}
