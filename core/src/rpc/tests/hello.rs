//! §5.1.

use super::*;

#[test]
fn s5_1_1_both_greet_at_once_and_hold_the_rest_until_the_peer_has() {
    let mut pair = Pair::new();
    let call = pair.a.request(pair.now, request(b"early")).expect("taken before the hello");
    pair.a.gossip(pair.now, b"news").expect("taken before the hello");
    let before = drain(&mut pair.a, pair.now);
    assert_eq!(before, hello(1).encode(&Config::default()), "nothing but the hello leaves");
    deliver(&mut pair.b, pair.now, &before, usize::MAX);
    pair.pump();

    let at_b = events(&mut pair.b);
    assert!(
        matches!(&at_b[..], [Event::Connected(_), Event::Gossip(_), Event::Request { .. }]),
        "{at_b:?}"
    );
    pair.b.respond(pair.now, inbound_ids(&at_b)[0], Ok(b"late".into())).expect("open");
    pair.pump();
    assert_eq!(response(&mut pair.a), (call, Ok("late".into())));
}

#[test]
fn s5_1_1_a_waiting_call_counts_its_deadline_and_can_be_cancelled() {
    let mut pair = Pair::new();
    let short = pair.a.request(pair.now, within(5 * MS, b"short")).expect("taken");
    let long = pair.a.request(pair.now, within(50 * MS, b"long")).expect("taken");
    let cancelled = pair.a.request(pair.now, request(b"cancelled")).expect("taken");
    assert!(pair.a.cancel(pair.now, cancelled));
    pair.pass(10 * MS);
    let (call, result) = response(&mut pair.a);
    assert_eq!(call, short);
    let status = result.expect_err("expired");
    assert!(status.code == Code::DeadlineExceeded && status.never_sent());

    pair.pump();
    let at_b = events(&mut pair.b);
    let [Event::Connected(_), Event::Request { deadline, id, .. }] = &at_b[..] else {
        panic!("{at_b:?}")
    };
    assert_eq!(*deadline, Some(start().mono + 50 * MS), "40 ms were left after 10 ms");
    pair.b.respond(pair.now, *id, Ok(Body::EMPTY)).expect("open");
    pair.pump();
    assert_eq!(response(&mut pair.a).0, long);
    assert_eq!(pair.a.queued_len(), 0);
}

#[test]
fn s5_1_2_the_hello_says_who_where_and_within_which_limits() {
    let config = Config {
        in_flight_max: 3,
        message_len_max: 2_000,
        headers_len_max: 300,
        methods_max: 5,
        ..Config::default()
    };
    let mut pair = Pair::with(config, Config::default());
    pair.pump();
    let Some(Event::Connected(peer)) = pair.b.poll_event() else { panic!("not connected") };
    let limits = (peer.in_flight_max, peer.message_len_max, peer.headers_len_max, peer.methods_max);
    assert_eq!(limits, (3, 2_000, 300, 5));
    assert_eq!((peer.id, peer.epoch, peer.addr), (NodeId::new(1), Epoch::new(7), hello(1).addr));
    assert_eq!(peer.version, STREAM_VERSION_MAX);
    assert_eq!(pair.b.peer(), Some(&peer));

    let bytes = hello(1).encode(&Config::default());
    assert_eq!(bytes[..8], MAGIC);
    assert_eq!(bytes.len() % 16, 0);
    assert_eq!(bytes[16..20], [1, 1, archive_format(), 4]);
    assert_eq!(bytes[96..100], *b"test");
}

#[test]
fn s5_1_2_addresses_of_both_families_travel_and_what_follows_is_skipped() {
    for addr in ["[2001:db8::1]:9", "10.1.2.3:65535"] {
        let mut from = hello(2);
        from.addr = addr.parse().expect("an address");
        let mut bytes = from.encode(&Config::default());
        // A later version's fields.
        let payload_len = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        bytes.truncate(16 + payload_len as usize);
        bytes.extend_from_slice(&[0xab; 100]);
        bytes[8..12].copy_from_slice(&(payload_len + 100).to_le_bytes());
        bytes.resize(padded(bytes.len()), 0);
        let mut connection = connection(1, Config::default());
        deliver(&mut connection, start(), &bytes, usize::MAX);
        let Some(Event::Connected(peer)) = connection.poll_event() else { panic!("not connected") };
        assert_eq!(peer.addr, from.addr);
    }
}

#[test]
fn s5_1_3_a_stream_that_is_not_ours_ends_at_its_first_wrong_byte() {
    for at in 0..MAGIC.len() {
        let mut bytes = MAGIC[..=at].to_vec();
        bytes[at] ^= 1;
        let mut connection = connection(1, Config::default());
        deliver(&mut connection, start(), &bytes, 1);
        assert_eq!(closed(&mut connection), Some(CloseReason::NotChinwag));
    }
}

fn refusal(
    theirs: &Hello,
    config: &Config,
    change: impl FnOnce(&mut Vec<u8>),
) -> Option<CloseReason> {
    let mut bytes = theirs.encode(config);
    change(&mut bytes);
    let mut connection = connection(1, Config::default());
    deliver(&mut connection, start(), &bytes, usize::MAX);
    closed(&mut connection)
}

#[test]
fn s5_1_4_each_mismatch_is_named() {
    let config = Config::default();
    let foreign = Hello { cluster: "other".into(), ..hello(2) };
    let reason = CloseReason::ForeignCluster { ours: "test".into(), theirs: "other".into() };
    assert_eq!(refusal(&foreign, &config, |_| {}), Some(reason));

    let newer = Config { version_min: 5, version_max: 9, ..Config::default() };
    let reason = CloseReason::Version { ours: (1, 1), theirs: (5, 9) };
    assert_eq!(refusal(&hello(2), &newer, |_| {}), Some(reason));

    let reason = CloseReason::Format { ours: archive_format(), theirs: archive_format() ^ 1 };
    assert_eq!(refusal(&hello(2), &config, |bytes| bytes[18] ^= 1), Some(reason));

    let is_protocol = |reason| matches!(reason, Some(CloseReason::Protocol(_)));
    assert!(is_protocol(
        refusal(&hello(2), &config, |bytes| bytes[8..12].copy_from_slice(&1_025u32.to_le_bytes()))
    ));
    assert!(is_protocol(
        refusal(&hello(2), &config, |bytes| bytes[8..12].copy_from_slice(&60u32.to_le_bytes()))
    ));
    assert!(
        is_protocol(refusal(&hello(2), &config, |bytes| bytes[46] = 0xff)),
        "an epoch past 47 bits"
    );
}

#[test]
fn s5_1_4_the_highest_common_version_is_used() {
    let range = |version_min, version_max| Config { version_min, version_max, ..Config::default() };
    for (a, b, agreed) in [((1, 3), (2, 5), 3), ((1, 1), (1, 9), 1), ((4, 6), (4, 4), 4)] {
        let mut pair = Pair::with(range(a.0, a.1), range(b.0, b.1));
        pair.pump();
        for side in [&pair.a, &pair.b] {
            assert_eq!(side.peer().map(|peer| peer.version), Some(agreed));
        }
    }
}

#[test]
fn s5_1_5_both_sides_name_the_mismatch() {
    let mut pair = Pair::new();
    pair.b = End::new(
        Side::Acceptor,
        Arc::new(Config::default()),
        Hello { cluster: "other".into(), ..hello(2) },
        Arc::new(SharedHlc::new(MS)),
        pair.now,
    );
    pair.pump();
    for side in [&mut pair.a, &mut pair.b] {
        assert!(matches!(closed(side), Some(CloseReason::ForeignCluster { .. })));
        assert_eq!(side.poll_timeout(), None);
    }
}

#[test]
fn s5_1_6_silence_ends_the_greeting() {
    let mut connection = connection(1, Config::default());
    let call = connection.request(start(), request(b"x")).expect("taken");
    let at = connection.poll_timeout().expect("a timer");
    assert_eq!(at, start().mono + Config::default().hello_timeout);
    deliver(&mut connection, later(start(), MS), &MAGIC, usize::MAX);
    connection.handle_timeout(later(start(), Config::default().hello_timeout - MS));
    assert!(!connection.is_closed());
    connection.handle_timeout(later(start(), Config::default().hello_timeout));
    let all = events(&mut connection);
    let [
        Event::Response { call: ended, result: Err(status), .. },
        Event::Closed(CloseReason::HelloTimeout),
    ] = &all[..]
    else {
        panic!("{all:?}")
    };
    assert!(*ended == call && status.code == Code::Unavailable && status.never_sent());
}

/// A body whose length does not fit the fields, or that the peer would end the connection for, is
/// refused here.
#[test]
fn s5_1_2_a_limit_beyond_all_that_can_be_read_is_none() {
    let mut connection = connection(1, Config::default());
    let mut greeting = hello(2).encode(&Config::default());
    greeting[16 + 52..16 + 56].fill(0xff);
    deliver(&mut connection, start(), &greeting, usize::MAX);
    let Some(Event::Connected(peer)) = connection.poll_event() else { panic!("it fits") };
    assert_eq!(peer.message_len_max, crate::rpc::config::MESSAGE_LEN_CEILING);
}
