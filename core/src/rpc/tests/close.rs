//! §5.5.4, §5.8, §5.9.

use super::*;
use crate::rpc::frame::NO_TIMEOUT;

#[test]
fn s5_5_4_the_end_says_which_requests_had_left() {
    for is_peer_gone in [false, true] {
        let mut pair = Pair::connected();
        let (left, _) = pair.call(b"left");
        let queued = pair.a.request(pair.now, request(b"queued")).expect("taken");
        if is_peer_gone {
            pair.a.handle_peer_gone(pair.now);
        } else {
            pair.a.handle_closed(pair.now);
        }
        pair.a.handle_closed(pair.now);
        let all = events(&mut pair.a);
        let reason = if is_peer_gone { CloseReason::PeerGone } else { CloseReason::Lost };
        assert!(
            matches!(all.last(), Some(Event::Closed(why)) if *why == reason),
            "§5.9.4: the last event"
        );
        let ended = responses(all);
        assert_eq!(ended.len(), 2, "each call ended once");
        let status = |of| {
            ended
                .iter()
                .find(|(call, _)| *call == of)
                .expect("ended")
                .1
                .clone()
                .expect_err("failed")
        };
        assert!(!status(left).never_sent() && status(left).may_have_run());
        assert!(status(queued).never_sent() && !status(queued).may_have_run());
        let codes = (status(left).code, status(queued).code);
        let expected = if is_peer_gone {
            (Code::PeerGone, Code::PeerGone)
        } else {
            (Code::ConnectionLost, Code::Unavailable)
        };
        assert_eq!(codes, expected);

        assert!(drain(&mut pair.a, pair.now).is_empty());
        assert_eq!(pair.a.request(pair.now, request(b"")), Err(RequestError::Closed));
        assert_eq!(pair.a.gossip(pair.now, b""), Err(GossipError::Closed));
        assert!(!pair.a.cancel(pair.now, left));
        deliver(&mut pair.a, pair.now, &[0xaa; 5_000], usize::MAX);
        pair.a.handle_timeout(later(pair.now, Duration::from_secs(99)));
        assert!(events(&mut pair.a).is_empty() && pair.a.poll_timeout().is_none());
    }
}

#[test]
fn s5_8_1_silence_is_probed_and_then_ends_the_connection() {
    let config = Config::default();
    for (is_in_use, interval) in [(false, config.keepalive_idle), (true, config.keepalive_calls)] {
        let mut pair = Pair::connected();
        if is_in_use {
            pair.call(b"x");
        }
        assert_eq!(pair.a.poll_timeout(), Some(pair.now.mono + interval));
        pair.pass(interval - MS);
        assert_eq!(pair.a_to_b() + pair.b_to_a(), 0);
        pair.pass(MS);
        pair.pump();
        assert!(!pair.a.is_closed(), "answered");
        pair.pass(interval);
        drain(&mut pair.a, pair.now);
        pair.pass(config.keepalive_timeout - MS);
        assert!(!pair.a.is_closed());
        pair.pass(MS);
        let all = events(&mut pair.a);
        assert!(matches!(all.last(), Some(Event::Closed(CloseReason::KeepaliveTimeout))));
        assert_eq!(responses(all).len(), usize::from(is_in_use));
    }
}

#[test]
fn s5_8_1_any_byte_counts() {
    let config = Config::default();
    let mut connection = beside_a_hand_written_peer(config.clone());
    let mut now = later(start(), config.keepalive_idle);
    let gossip = frame(FrameHeader::new(Kind::Gossip, 0), &[], b"");
    for byte in gossip.repeat(10) {
        connection.handle_timeout(now);
        now = later(now, config.keepalive_timeout - MS);
        deliver(&mut connection, now, &[byte], 1);
        now = later(now, config.keepalive_idle);
    }
    assert!(!connection.is_closed());
}

#[test]
fn s5_8_2_early_timeouts_are_no_ops_and_due_ones_move_time_on() {
    let mut pair = Pair::connected();
    pair.a.request(pair.now, within(20 * MS, b"x")).expect("taken");
    let mut fired = 0;
    let mut now = pair.now;
    while let Some(at) = pair.a.poll_timeout() {
        let early = Now { mono: at - MS, wall: now.wall };
        if early.mono > now.mono {
            pair.a.handle_timeout(early);
            assert_eq!(pair.a.poll_timeout(), Some(at));
        }
        now = Now { mono: at, wall: now.wall };
        pair.a.handle_timeout(now);
        assert!(pair.a.poll_timeout().is_none_or(|next| next > at), "a fired timer is over");
        fired += 1;
    }
    assert_eq!(fired, 3, "the call, the ping, the end");
}

#[test]
fn s5_9_1_going_away_lets_open_calls_finish_and_takes_no_new_ones() {
    let mut pair = Pair::connected();
    let (call, inbound) = pair.call(b"open");
    // These cross the go-away.
    let crossing = pair.a.request(pair.now, request(b"crossing")).expect("taken");
    pair.a.one_way(pair.now, request(b"crossing")).expect("taken");
    pair.a.request(pair.now, request(&[1; 20_000])).expect("taken");
    pair.a.one_way(pair.now, request(&[1; 20_000])).expect("taken");
    pair.b.go_away(pair.now);
    pair.b.go_away(pair.now);
    assert_eq!(pair.b.request(pair.now, request(b"")), Err(RequestError::GoingAway));
    pair.pump();
    let all = events(&mut pair.a);
    assert_eq!(all.iter().filter(|event| matches!(event, Event::GoAway)).count(), 1);
    let refused = responses(all);
    assert_eq!((refused.len(), refused[0].0), (2, crossing));
    for (_, result) in refused {
        let status = result.expect_err("refused");
        assert!(status.code == Code::Unavailable && !status.may_have_run() && !status.never_sent());
    }
    assert_eq!(pair.a.request(pair.now, request(b"")), Err(RequestError::GoingAway));
    assert_eq!(pair.b.stats().one_way_dropped, 2);
    assert!(pair.a.gossip(pair.now, b"still").is_ok());
    assert!(!pair.a.is_closed() && !pair.b.is_closed());

    pair.b.respond(pair.now, inbound, Ok(b"done".into())).expect("open");
    pair.pump();
    let all = events(&mut pair.a);
    assert!(matches!(all.last(), Some(Event::Closed(CloseReason::Drained))), "§5.9.2");
    assert_eq!(responses(all), [(call, Ok("done".into()))]);
    let at_b = events(&mut pair.b);
    assert!(matches!(at_b.last(), Some(Event::Closed(CloseReason::Drained))));
}

/// Small frames overtake large ones, and a go-away is small: it must not overtake what is to be
/// read before it.
#[test]
fn s5_9_1_no_request_comes_after_a_go_away() {
    for peer_begins in [true, false] {
        let slow = Config { transmit_len_max: 4_096, ..Config::default() };
        let mut pair = Pair::connected_with(slow, Config::default());
        let calls =
            [0; 3].map(|_: u8| pair.a.request(pair.now, request(&[7; 20_000])).expect("taken"));
        pair.a.one_way(pair.now, request(&[7; 20_000])).expect("taken");
        if peer_begins {
            pair.b.go_away(pair.now);
            pair.b_to_a();
        } else {
            pair.a.go_away(pair.now);
        }
        let mut refused = Vec::new();
        while !pair.a.is_closed() {
            assert!(pair.a_to_b() + pair.b_to_a() > 0, "it goes on");
            for event in events(&mut pair.b) {
                if let Event::Request { id, .. } = event {
                    pair.b.respond(pair.now, id, Ok(b"done".into())).expect("open");
                }
            }
            refused.extend(responses(events(&mut pair.a)));
        }
        refused.extend(responses(events(&mut pair.a)));
        assert_eq!(refused.len(), calls.len(), "{refused:?}");
        for (_, result) in refused {
            match result {
                Ok(body) => assert!(!peer_begins && body == "done"),
                Err(status) => {
                    assert!(
                        peer_begins && status.code == Code::Unavailable && !status.may_have_run()
                    );
                }
            }
        }
        let kinds: Vec<Kind> = parse(&pair.sent_by_a[hello(1).encode(&Config::default()).len()..])
            .iter()
            .map(|(header, ..)| header.kind)
            .collect();
        let away = kinds.iter().position(|&kind| kind == Kind::GoAway).expect("it goes away");
        assert!(
            kinds[away..].iter().all(|kind| !matches!(kind, Kind::Request | Kind::OneWay)),
            "{kinds:?}"
        );
    }
}

#[test]
fn s5_9_2_idle_sides_drain_at_once_whoever_begins() {
    for both in [false, true] {
        let mut pair = Pair::connected();
        pair.a.go_away(pair.now);
        if both {
            pair.b.go_away(pair.now);
        }
        pair.pump();
        assert_eq!(closed(&mut pair.a), Some(CloseReason::Drained));
        assert_eq!(closed(&mut pair.b), Some(CloseReason::Drained));
    }
    let mut pair = Pair::new();
    let call = pair.a.request(pair.now, request(b"")).expect("taken");
    pair.a.go_away(pair.now);
    let (ended, result) = response(&mut pair.a);
    assert!(ended == call && result.expect_err("refused").never_sent());
    pair.pump();
    assert_eq!(closed(&mut pair.a), Some(CloseReason::Drained), "before the hello too");
}

#[test]
fn s5_9_3_a_drain_ends_in_time() {
    let config = Config { drain_timeout: 100 * MS, ..Config::default() };
    let mut pair = Pair::connected_with(config, Config::default());
    let (call, _) = pair.call(b"never answered");
    pair.a.go_away(pair.now);
    pair.pump();
    assert_eq!(pair.a.poll_timeout(), Some(pair.now.mono + 100 * MS));
    pair.pass(100 * MS);
    let all = events(&mut pair.a);
    assert!(matches!(all.last(), Some(Event::Closed(CloseReason::DrainTimeout))));
    assert_eq!(responses(all)[0].0, call);
}

#[test]
fn s5_9_4_the_peers_calls_end_with_the_connection() {
    let mut connection = beside_a_hand_written_peer(Config::default());
    deliver(&mut connection, start(), &raw_request(1, NO_TIMEOUT, b"x"), usize::MAX);
    let id = inbound_ids(&events(&mut connection))[0];
    connection.handle_closed(start());
    assert_eq!(connection.respond(start(), id, Ok(Body::EMPTY)), Err(RespondError::Ended));
    assert!(matches!(events(&mut connection)[..], [Event::Closed(CloseReason::Lost)]));
}
