//! A peer that may say anything.

use super::halves::{Half, first, fragment};
use super::*;
use crate::rng::Rng;
use crate::rpc::config::OWED_LEN_MAX;
use crate::rpc::frame::NO_TIMEOUT;

/// Random frames with plausible headers, and random bytes: no panic, no call ended twice, nothing
/// unbounded.
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
                bytes
                    .iter_mut()
                    .for_each(|byte| *byte = u8::try_from(rng.below(256)).expect("a byte"));
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

/// A call id that the peer uses again names another call: what was under way of the first is not a
/// chunk of the second.
#[test]
fn s5_11_4_a_long_chunk_of_a_call_that_is_over_is_no_chunk_of_a_call_of_the_same_id() {
    for begins_again in [false, true] {
        let mut half = Half::open(false, Shape::BIDIRECTIONAL);
        let flags = Shape::BIDIRECTIONAL.flags();
        let header = FrameHeader { flags, ..FrameHeader::new(Kind::Request, 1) };
        let mut bytes = first(Kind::Data, 1, 0, 0, 50_000, &[]);
        bytes.extend(bare(Kind::Cancel, 1));
        bytes.extend(frame(header, &extension(0, NO_TIMEOUT), b"x"));
        if begins_again {
            bytes.extend(first(Kind::Data, 1, 0, 1, 32, &[]));
        }
        bytes.extend(fragment(0, 0, &vec![0; 50_000]));
        let heard = half.hear(&bytes);
        assert!(
            matches!(heard[..], [Event::Cancelled(_), Event::Request { .. }]),
            "{}",
            heard.len()
        );
        if begins_again {
            let heard = half.hear(&fragment(1, 0, &[0; 32]));
            assert!(matches!(heard[..], [Event::Chunk { .. }]), "{}", heard.len());
            for event in heard {
                if let Event::Chunk { held, .. } = event {
                    half.end.release(start(), held);
                }
            }
        }
    }
}
