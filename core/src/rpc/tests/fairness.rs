//! §5.12.2: callers whose calls wait for room take turns, and leave room for each other.

use alloc::collections::BTreeMap;

use super::*;

fn of(caller: u64, body: &[u8]) -> Request<'_> {
    Request { caller, ..request(body) }
}

/// Two ends of which the second takes so many calls at once; the first has one that holds a slot.
fn pair_with_slots(in_flight_max: u32) -> Pair {
    Pair::connected_with(Config::default(), Config { in_flight_max, ..Config::default() })
}

/// The bodies of the requests that have come to the second end, with which to answer them.
fn arrived(pair: &mut Pair) -> Vec<(InboundId, Bytes)> {
    pair.pump();
    let requests = events(&mut pair.b).into_iter().filter_map(|event| match event {
        Event::Request { id, body, .. } => Some((id, body)),
        _ => None,
    });
    requests.collect()
}

/// Answers each request as it comes, until none does: their bodies, in order.
fn served(pair: &mut Pair) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    loop {
        let requests = arrived(pair);
        if requests.is_empty() {
            return bodies;
        }
        for (id, body) in requests {
            bodies.push(body.to_vec());
            pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("open");
        }
        pair.pump();
        drop(events(&mut pair.a));
    }
}

#[test]
fn s5_12_2_callers_take_turns_and_the_calls_of_one_stay_in_order() {
    let mut pair = pair_with_slots(1);
    let asked: &[(u64, &[u8])] = &[
        (1, b"a1"),
        (1, b"a2"),
        (1, b"a3"),
        (1, b"a4"),
        (2, b"b1"),
        (2, b"b2"),
        (3, b"c1"),
        (1, b"a5"),
        (3, b"c2"),
    ];
    for &(caller, body) in asked {
        pair.a.request(pair.now, of(caller, body)).expect("taken");
    }
    // The first has the slot; the queue begins with its caller, who asked first.
    let expected: [&[u8]; 9] = [b"a1", b"a2", b"b1", b"c1", b"a3", b"b2", b"c2", b"a4", b"a5"];
    assert_eq!(served(&mut pair), expected);
}

/// However many calls one caller makes, another one's call waits for one of them.
#[test]
fn s5_12_2_a_caller_with_many_calls_holds_up_no_other_one() {
    for len in [10, 9_000] {
        let mut pair = pair_with_slots(4);
        for _ in 0..3_000 {
            pair.a.request(pair.now, of(1, &vec![1; len])).expect("taken");
        }
        let mut before = Vec::new();
        for _ in 0..3 {
            pair.a.request(pair.now, of(2, &vec![2; len])).expect("taken");
            before.push(arrived_before(&mut pair, 2));
        }
        // Those under way, the one whose turn it is, and those whose slots become free at once.
        assert!(before.iter().all(|&count| count <= 8), "{before:?} of {len} bytes");
    }
}

/// Answers until a request whose body begins with `first` has come: how many came before it.
fn arrived_before(pair: &mut Pair, first: u8) -> usize {
    let mut count = 0;
    loop {
        let requests = arrived(pair);
        assert!(!requests.is_empty(), "it never comes");
        let is_in = requests.iter().any(|(_, body)| body[0] == first);
        count += requests.iter().filter(|(_, body)| body[0] != first).count();
        for (id, body) in requests {
            drop(body);
            pair.b.respond(pair.now, id, Ok(Body::EMPTY)).expect("open");
        }
        pair.pump();
        drop(events(&mut pair.a));
        if is_in {
            return count;
        }
    }
}

/// One caller cannot fill the queue, and what it gives up is free again.
#[test]
fn s5_12_2_a_caller_leaves_room_for_others() {
    let few = Config { waiting_calls_max: 100, ..Config::default() };
    let mut pair = Pair::connected_with(few, Config { in_flight_max: 1, ..Config::default() });
    pair.call(b"holds the slot");
    let mut calls = BTreeMap::<u64, Vec<CallId>>::new();
    for caller in 1..=4 {
        while let Ok(call) = pair.a.request(pair.now, of(caller, b"x")) {
            calls.entry(caller).or_default().push(call);
        }
    }
    let counts: Vec<usize> = calls.values().map(Vec::len).collect();
    assert_eq!(counts, [50, 25, 13, 6], "each has half of what was left");
    for call in calls.remove(&1).expect("it has some") {
        pair.a.cancel(pair.now, call);
    }
    for _ in 0..20 {
        pair.a.request(pair.now, of(4, b"x")).expect("there is room again");
    }
}

/// The same of bytes; one call is taken as long as there is room for it.
#[test]
fn s5_12_2_a_caller_leaves_bytes_for_others() {
    let few = Config { waiting_len_max: 1 << 20, ..Config::default() };
    let mut pair = Pair::connected_with(few, Config { in_flight_max: 1, ..Config::default() });
    pair.call(b"holds the slot");
    pair.a.request(pair.now, of(1, &[1; 700_000])).expect("room for one");
    assert_eq!(pair.a.request(pair.now, of(1, b"x")), Err(RequestError::Full));
    pair.a.request(pair.now, of(2, &[2; 100_000])).expect("room");
    assert_eq!(pair.a.request(pair.now, of(2, &[2; 200_000])), Err(RequestError::Full));
    pair.a.request(pair.now, of(3, &[3; 200_000])).expect("room");
}

/// A request that waits because of what others hold is sent in time, whoever else waits
/// (§5.12.3).
#[test]
fn s5_12_2_a_large_call_of_a_caller_with_few_is_sent_after_a_quarter_of_the_wait() {
    let config =
        Config { message_len_max: 64 * 1024, request_budget: 256 * 1024, ..Config::default() };
    let mut pair = Pair::connected_with(Config::default(), config);
    for _ in 0..40 {
        pair.a.request(pair.now, of(1, &[1; 40_000])).expect("taken");
    }
    pair.a.request(pair.now, of(2, &[2; 40_000])).expect("taken");
    let held = arrived(&mut pair);
    assert!(!held.is_empty() && held.iter().all(|(_, body)| body[0] == 1));
    let quarter = Config::default().room_wait_max / 4;
    pair.pass(quarter - MS);
    pair.pump();
    let sent_before = pair.a.stats().frames_out;
    pair.pass(MS);
    pair.pump();
    assert!(pair.a.stats().frames_out > sent_before, "the callee is asked");
    let (fitting, refused) = (arrived(&mut pair), responses(events(&mut pair.a)));
    let counts = (held.len(), fitting.len(), refused.len());
    assert_eq!(counts, (2, 1, 38), "all of them were sent");
}

/// By chance: calls of several callers, given up, answered and late. Each ends once, the calls of a
/// caller begin in order, and the queues stay as short as what waits.
#[test]
fn s5_12_2_whatever_callers_do_each_call_ends_once_and_in_the_order_of_its_caller() {
    for seed in 0..60 {
        let mut rng = crate::rng::Rng::new(seed);
        let mut pair = pair_with_slots(3);
        let (mut open, mut last) = (BTreeMap::new(), BTreeMap::new());
        let (mut numbers, mut ended) = (0_u32, 0);
        let mut handled = Vec::new();
        for _ in 0..2_000 {
            match rng.below(8) {
                0..4 => {
                    let caller = u64::from(rng.below(4));
                    let mut body = vec![u8::try_from(caller).expect("few")];
                    body.extend_from_slice(&numbers.to_le_bytes());
                    body.resize([10, 9_000][rng.index(2)], 0);
                    if let Ok(call) = pair.a.request(pair.now, of(caller, &body)) {
                        open.insert(call, numbers);
                        numbers += 1;
                    }
                }
                4 => {
                    let nth = open.keys().nth(rng.index(open.len().max(1))).copied();
                    if let Some(call) = nth.filter(|call| pair.a.cancel(pair.now, *call)) {
                        open.remove(&call);
                        ended += 1;
                    }
                }
                5 => pair.pass(Duration::from_millis(rng.below_u64(900))),
                _ if !handled.is_empty() => {
                    let (id, body) = handled.swap_remove(rng.index(handled.len()));
                    drop(body);
                    let _ = pair.b.respond(pair.now, id, Ok(Body::EMPTY));
                }
                _ => {}
            }
            for (id, body) in arrived(&mut pair) {
                let number = u32::from_le_bytes(body[1..5].try_into().expect("four"));
                // Calls of more than 8 KiB have queues of their own.
                let place = (body[0], body.len() > 8_192);
                let before = last.insert(place, number);
                assert!(before.is_none_or(|before| before < number), "seed {seed}: {place:?}");
                handled.push((id, body));
            }
            for (call, _) in responses(events(&mut pair.a)) {
                assert!(open.remove(&call).is_some(), "seed {seed}: it ends once");
                ended += 1;
            }
            let waiting = pair.a.room.queued();
            assert!(waiting <= 12 * 64 + 2 * open.len(), "seed {seed}: {waiting} are queued");
        }
        pair.a.handle_closed(pair.now);
        ended += u32::try_from(responses(events(&mut pair.a)).len()).expect("few");
        assert_eq!(ended, numbers, "seed {seed}");
        assert_eq!(pair.a.room.queued(), 0);
    }
}

/// Queues of one depth take turns too: however many small calls wait, a large one and a stream are
/// not kept out, and the other way round.
#[test]
fn s5_12_2_calls_of_one_class_keep_no_other_class_out() {
    for crowd in [10, 9_000] {
        let mut pair = pair_with_slots(4);
        for _ in 0..500 {
            pair.a.request(pair.now, of(1, &vec![1; crowd])).expect("taken");
        }
        let (other, shape) = (if crowd == 10 { 9_000 } else { 10 }, Shape::CLIENT_STREAMING);
        pair.a.request(pair.now, of(2, &vec![2; other])).expect("taken");
        let stream = Request { shape, chunk_len_max: 0, ..of(3, b"\x03") };
        pair.a.request(pair.now, stream).expect("taken");
        let order = served(&mut pair);
        let at = |first| order.iter().position(|body| body[0] == first).expect("it comes");
        assert!(at(2) <= 10 && at(3) <= 10, "{} and {} beside {crowd} bytes", at(2), at(3));
    }
}

/// A message that takes the socket for long keeps no other call from it (§5.7.4).
#[test]
fn s5_12_2_a_large_message_that_waits_for_the_socket_holds_up_no_call() {
    let small = Config { outbound_len_max: 64 * 1024, ..Config::default() };
    let mut pair = Pair::connected_with(small, Config::default());
    pair.a.request(pair.now, of(1, &vec![1; 8 << 20])).expect("taken");
    for len in [10, 100_000] {
        let call = pair.a.request(pair.now, of(2, &vec![2; len])).expect("taken");
        assert!(pair.a.number_of(call).is_some(), "a call of {len} bytes has begun");
    }
    // Those that could not go on at once wait: they have not been sent.
    let mut begun = 0;
    for _ in 0..10 {
        let call = pair.a.request(pair.now, of(2, &vec![2; 100_000])).expect("taken");
        begun += u32::from(pair.a.number_of(call).is_some());
    }
    assert_eq!(begun, 1, "as many as may be under way at once");
    let call = pair.a.request(pair.now, of(2, b"small")).expect("taken");
    assert!(pair.a.number_of(call).is_some());
}
