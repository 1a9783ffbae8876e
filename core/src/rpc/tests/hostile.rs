//! A peer that may say anything.

use super::*;
use crate::rng::Rng;
use crate::rpc::config::OWED_LEN_MAX;

/// Random frames with plausible headers, and random bytes: no panic, no call ended twice, nothing unbounded.
#[test]
fn random_frames_and_random_bytes_are_survived() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let config = Config { in_flight_max: 8, events_max: 64, ..Config::default() };
        let mut connection = beside_a_hand_written_peer(config);
        let mut now = start();
        let (mut begun, mut ended) = (0u64, 0u64);
        for _ in 0..200 {
            let kind = rng.below(12);
            let mut bytes = FrameHeader {
                body_len: rng.below(40),
                call: rng.below(10) | rng.below(3) << 14,
                kind: Kind::Ping,
                flags: u8::try_from(rng.below(2)).expect("small"),
                method: u16::try_from(rng.below(50) / 49).expect("small"),
                extension_len: u16::try_from(rng.below(24)).expect("small"),
                code: u16::try_from(rng.below(3)).expect("small"),
            }
            .encode()
            .to_vec();
            bytes[8] = u8::try_from(kind).expect("small");
            if kind == 5 && rng.below(8) > 0 {
                continue; // Definitions are mostly wrong here, and end the story.
            }
            bytes.resize(16 + 16 * rng.index(6), u8::try_from(rng.below(2)).expect("small"));
            if rng.below(60) == 0 {
                bytes.iter_mut().for_each(|byte| *byte = u8::try_from(rng.below(256)).expect("a byte"));
            }
            deliver(&mut connection, now, &bytes, 1 + rng.index(64));
            if connection.request(now, within(MS * rng.below(20), b"x")).is_ok() {
                begun += 1;
            }
            now = later(now, MS * rng.below(3));
            connection.handle_timeout(now);
            assert!(connection.queued_len() < OWED_LEN_MAX);
            if rng.below(4) == 0 {
                ended += responses(events(&mut connection)).len() as u64;
                drain(&mut connection, now);
            }
        }
        connection.handle_closed(now);
        ended += responses(events(&mut connection)).len() as u64;
        assert_eq!((begun, begun), (ended, connection.stats().calls_out_ended), "seed {seed}");
    }
}

#[test]
fn a_stranger_costs_little_and_noise_ends_at_once() {
    let mut connection = connection(1, Config::default());
    assert!(connection.receiver.buffer().len() <= 2_048, "a stranger gets no slab");
    deliver(&mut connection, start(), b"GET / HTTP/1.1\r\n", usize::MAX);
    assert_eq!(closed(&mut connection), Some(CloseReason::NotChinwag));
}
