//! Payloads (`docs/protocol.md` §2.3, §2.4): golden bytes, round trips, what is skipped, and what
//! is refused.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;
use crate::membership::{METADATA_LEN_MAX, State};
use crate::rng::Rng;
use crate::wire::update::Accusers;
use crate::wire::update::tests::random_update;

const RUN: Run =
    Run { id: NodeId::new(0x0807_0605_0403_0201), epoch: Epoch::new(0x1615_1413_1211) };
/// [`RUN`] on the wire.
const RUN_BYTES: [u8; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16];
const SEQ: u32 = 0x2423_2221;

fn header() -> Header {
    Header {
        version: 1,
        fence: Fence::from_raw(0xa8a7_a6a5_a4a3_a2a1),
        sender: RUN.id,
        epoch: RUN.epoch,
        incarnation: Incarnation::new(0x3433_3231),
        stamp: Timestamp::from_raw(0x4847_4645_4443_4241),
    }
}

fn encoded(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes
}

/// Writes `message` with the encoder of its kind.
fn put(out: &mut Vec<u8>, message: &Message<'_>) {
    match message {
        Message::Ping { seq, target } => encode::ping(out, *seq, *target),
        Message::PingReq { seq, target, budget_ms } => {
            encode::ping_req(out, *seq, *target, *budget_ms);
        }
        Message::Ack { seq, subject } => encode::ack(out, *seq, *subject),
        Message::Nack { seq, subject } => encode::nack(out, *seq, *subject),
        Message::Update(update) => encode::update(out, update),
        Message::Broadcast { origin, seq, payload } => {
            encode::broadcast(out, *origin, *seq, payload);
        }
        Message::Payload { target, payload } => encode::payload(out, *target, payload),
        Message::SyncRequest { exchange, is_joining, digest, own } => {
            let mut buckets = [0; BUCKETS];
            for (bucket, bytes) in buckets.iter_mut().zip(digest.0.chunks_exact(8)) {
                *bucket = u64::from_le_bytes(bytes.try_into().unwrap());
            }
            encode::sync_request(out, *exchange, *is_joining, &buckets, own);
        }
        Message::SyncChunk { exchange, is_reply, is_last, mask } => {
            encode::sync_chunk(out, *exchange, *is_reply, *is_last, *mask);
        }
        Message::SyncBusy { exchange } => encode::sync_busy(out, *exchange),
        Message::Leave { seq } => encode::leave(out, *seq),
        Message::Conflict { rival, addr, is_awaited } => {
            encode::conflict(out, *rival, *addr, *is_awaited);
        }
    }
}

fn random_run(rng: &mut Rng) -> Run {
    Run { id: NodeId::new(rng.next_u64()), epoch: Epoch::new(rng.next_u64() >> 17) }
}

/// A message of any kind, its payloads cut from `store`, which holds at least a digest.
fn random_message<'a>(rng: &mut Rng, store: &'a [u8]) -> Message<'a> {
    let seq = rng.below(u32::MAX);
    let payload = &store[..rng.index(store.len() + 1)];
    let metadata = &store[..store.len().min(METADATA_LEN_MAX)];
    match rng.below(12) {
        0 => Message::Ping { seq, target: random_run(rng) },
        1 => Message::PingReq { seq, target: random_run(rng), budget_ms: rng.below(u32::MAX) },
        2 => Message::Ack { seq, subject: random_run(rng) },
        3 => Message::Nack { seq, subject: random_run(rng) },
        4 => Message::Update(random_update(rng, metadata)),
        5 => Message::Broadcast { origin: random_run(rng), seq, payload },
        6 => Message::Payload { target: random_run(rng), payload },
        7 => {
            let (is_joining, digest) = (rng.below(2) == 0, Digest(&store[..BUCKETS * 8]));
            Message::SyncRequest {
                exchange: seq,
                is_joining,
                digest,
                own: random_update(rng, metadata),
            }
        }
        8 => {
            let (is_reply, is_last) = (rng.below(2) == 0, rng.below(2) == 0);
            Message::SyncChunk { exchange: seq, is_reply, is_last, mask: rng.next_u64() }
        }
        9 => Message::SyncBusy { exchange: seq },
        10 => Message::Leave { seq },
        _ => {
            let addr = SocketAddr::from((rng.below(u32::MAX).to_le_bytes(), 9));
            Message::Conflict { rival: random_run(rng), addr, is_awaited: rng.below(2) == 0 }
        }
    }
}

fn random_store(rng: &mut Rng) -> Vec<u8> {
    (0..BUCKETS).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn a_header_has_these_bytes() {
    let wanted = [
        1, 0, // version, flags
        0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, // fence
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // sender
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, // epoch
        0x31, 0x32, 0x33, 0x34, // incarnation
        0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, // stamp
    ];
    assert_eq!(encoded(&header()), wanted);
    assert_eq!(wanted.len(), HEADER_LEN);
    let mut reader = Reader::new(&wanted);
    assert_eq!(Header::decode(&mut reader), Ok(header()));
    assert!(reader.is_empty());
}

#[test]
fn a_header_is_refused_cut_of_another_version_or_of_no_epoch() {
    let bytes = encoded(&header());
    for len in 0..bytes.len() {
        assert_eq!(
            Header::decode(&mut Reader::new(&bytes[..len])),
            Err(HeaderError::Malformed),
            "{len}"
        );
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Header::decode(&mut Reader::new(&bytes))
    };
    for version in (0..=u8::MAX).filter(|&version| version != 1) {
        assert_eq!(with(0, version), Err(HeaderError::ForeignVersion), "version {version}");
    }
    assert_eq!(
        Header::decode(&mut Reader::new(&[2])),
        Err(HeaderError::ForeignVersion),
        "whatever follows"
    );
    assert_eq!(with(23, 0x80), Err(HeaderError::Malformed), "the epoch has 48 bits");
    assert_eq!(with(23, 0x7f).map(|header| header.epoch), Ok(Epoch::new(0x7f15_1413_1211)));
    assert_eq!(with(1, 0xff), Ok(header()), "flags of later versions are ignored");
}

#[test]
fn messages_have_these_bytes() {
    let death = Update {
        id: RUN.id,
        epoch: RUN.epoch,
        incarnation: Incarnation::new(5),
        state: State::Dead,
        accusers: Accusers::new(),
        age: None,
        details: None,
    };
    let death_bytes = concat(&[&[0x02], &RUN_BYTES, &[5]]);
    let seq = &[0x21, 0x22, 0x23, 0x24][..];
    let digest: Vec<u8> = (0..64u64).flat_map(|bucket| (bucket | 0xee00).to_le_bytes()).collect();
    let addr = SocketAddr::from(([10, 1, 2, 3], 0x1f90));
    let mask = 0x5857_5655_5453_5251;
    let mask_bytes = &[0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58][..];
    let sync_request = |is_joining| Message::SyncRequest {
        exchange: SEQ,
        is_joining,
        digest: Digest(&digest),
        own: death.clone(),
    };
    let chunk = |is_reply, is_last| Message::SyncChunk { exchange: SEQ, is_reply, is_last, mask };
    let table: [(Message<'_>, Vec<u8>); 17] = [
        (Message::Ping { seq: SEQ, target: RUN }, concat(&[&[1, 18, 0], seq, &RUN_BYTES])),
        (
            Message::PingReq { seq: SEQ, target: RUN, budget_ms: 300 },
            concat(&[&[2, 20, 0], seq, &RUN_BYTES, &[0xac, 0x02]]),
        ),
        (Message::Ack { seq: SEQ, subject: RUN }, concat(&[&[3, 18, 0], seq, &RUN_BYTES])),
        (Message::Nack { seq: SEQ, subject: RUN }, concat(&[&[4, 18, 0], seq, &RUN_BYTES])),
        (Message::Update(death.clone()), concat(&[&[5, 16, 0], &death_bytes])),
        (
            Message::Broadcast { origin: RUN, seq: SEQ, payload: b"abc" },
            concat(&[&[6, 22, 0], &RUN_BYTES, seq, b"\x03abc"]),
        ),
        (
            Message::Payload { target: RUN, payload: b"hello" },
            concat(&[&[7, 20, 0], &RUN_BYTES, b"\x05hello"]),
        ),
        (sync_request(false), concat(&[&[8, 0x15, 2], seq, &[0], &digest, &death_bytes])),
        (sync_request(true), concat(&[&[8, 0x15, 2], seq, &[1], &digest, &death_bytes])),
        (chunk(false, false), concat(&[&[9, 13, 0], seq, &[0], mask_bytes])),
        (chunk(true, false), concat(&[&[9, 13, 0], seq, &[1], mask_bytes])),
        (chunk(false, true), concat(&[&[9, 13, 0], seq, &[2], mask_bytes])),
        (chunk(true, true), concat(&[&[9, 13, 0], seq, &[3], mask_bytes])),
        (Message::SyncBusy { exchange: SEQ }, concat(&[&[10, 4, 0], seq])),
        (Message::Leave { seq: SEQ }, concat(&[&[11, 4, 0], seq])),
        (
            Message::Conflict { rival: RUN, addr, is_awaited: false },
            concat(&[&[12, 22, 0], &RUN_BYTES, &[4, 10, 1, 2, 3, 0x90, 0x1f, 0]]),
        ),
        (
            Message::Conflict { rival: RUN, addr, is_awaited: true },
            concat(&[&[12, 22, 0], &RUN_BYTES, &[4, 10, 1, 2, 3, 0x90, 0x1f, 1]]),
        ),
    ];
    for (message, wanted) in table {
        let mut bytes = Vec::new();
        put(&mut bytes, &message);
        assert_eq!(bytes, wanted, "{message:?}");
        let mut reader = Reader::new(&wanted);
        assert_eq!(next(&mut reader), Next::Message(message));
        assert_eq!(next(&mut reader), Next::End);
    }
}

#[test]
fn payloads_of_many_messages_round_trip() {
    let mut rng = Rng::new(1);
    for _ in 0..300 {
        let store = random_store(&mut rng);
        let messages: Vec<_> =
            (0..rng.index(12)).map(|_| random_message(&mut rng, &store)).collect();
        let mut bytes = encoded(&header());
        for message in &messages {
            put(&mut bytes, message);
        }
        let mut reader = Reader::new(&bytes);
        assert_eq!(Header::decode(&mut reader), Ok(header()));
        for message in messages {
            assert_eq!(next(&mut reader), Next::Message(message));
        }
        assert_eq!(next(&mut reader), Next::End);
        assert_eq!(next(&mut reader), Next::End);
    }
}

#[test]
fn trailing_fields_of_later_versions_are_skipped() {
    let mut rng = Rng::new(2);
    for _ in 0..500 {
        let store = random_store(&mut rng);
        let message = random_message(&mut rng, &store);
        let mut bytes = Vec::new();
        put(&mut bytes, &message);
        let extra = 1 + rng.index(20);
        bytes.extend((0..extra).map(|at| store[at]));
        let len = u16::try_from(bytes.len() - MESSAGE_HEADER_LEN).unwrap();
        bytes[1..3].copy_from_slice(&len.to_le_bytes());
        encode::leave(&mut bytes, 7);
        let mut reader = Reader::new(&bytes);
        assert_eq!(next(&mut reader), Next::Message(message));
        assert_eq!(next(&mut reader), Next::Message(Message::Leave { seq: 7 }));
        assert_eq!(next(&mut reader), Next::End);
    }
}

#[test]
fn unknown_kinds_are_skipped() {
    for kind in (0..=u8::MAX).filter(|kind| !(1..=12).contains(kind)) {
        for len in [0u8, 1, 200] {
            let mut bytes = vec![kind, len, 0];
            bytes.extend_from_slice(&vec![0xff; usize::from(len)]);
            encode::leave(&mut bytes, 7);
            let mut reader = Reader::new(&bytes);
            assert_eq!(next(&mut reader), Next::UnknownKind, "kind {kind}");
            assert_eq!(next(&mut reader), Next::Message(Message::Leave { seq: 7 }), "kind {kind}");
            assert_eq!(next(&mut reader), Next::End);
        }
        assert_eq!(next(&mut Reader::new(&[kind, 1, 0])), Next::Malformed, "cut, of kind {kind}");
    }
}

#[test]
fn a_message_cut_in_any_way_is_malformed() {
    let mut rng = Rng::new(3);
    for _ in 0..300 {
        let store = random_store(&mut rng);
        let message = random_message(&mut rng, &store);
        let mut bytes = Vec::new();
        put(&mut bytes, &message);
        for len in 1..bytes.len() {
            assert_eq!(
                next(&mut Reader::new(&bytes[..len])),
                Next::Malformed,
                "{len} of {message:?}"
            );
        }
        // A length that says less than the fields take.
        for len in 0..bytes.len() - MESSAGE_HEADER_LEN {
            let mut shortened = bytes.clone();
            shortened[1..3].copy_from_slice(&u16::try_from(len).unwrap().to_le_bytes());
            assert_eq!(
                next(&mut Reader::new(&shortened)),
                Next::Malformed,
                "{len} for {message:?}"
            );
        }
    }
}

/// Reads a whole payload as a receiver does. Answers how many messages it held.
fn read_all(bytes: &[u8]) -> usize {
    let mut reader = Reader::new(bytes);
    if Header::decode(&mut reader).is_err() {
        return 0;
    }
    for count in 0.. {
        let before = reader.rest().len();
        if matches!(next(&mut reader), Next::Malformed | Next::End) {
            return count;
        }
        assert!(
            reader.rest().len() + MESSAGE_HEADER_LEN <= before,
            "every step takes a message's header"
        );
    }
    unreachable!("a payload is finite")
}

#[test]
fn flipped_bits_and_cuts_never_panic() {
    let mut rng = Rng::new(4);
    for _ in 0..15 {
        let store = random_store(&mut rng);
        let mut bytes = encoded(&header());
        while bytes.len() < 600 {
            put(&mut bytes, &random_message(&mut rng, &store));
        }
        let whole = read_all(&bytes);
        assert!(whole > 0);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            read_all(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..bytes.len() {
            assert!(read_all(&bytes[..len]) < whole || len == bytes.len());
        }
    }
    for _ in 0..20_000 {
        let mut bytes = encoded(&header());
        for _ in 0..rng.index(60) {
            let bound = if rng.below(2) == 0 { 256 } else { 16 };
            bytes.push(u8::try_from(rng.below(bound)).unwrap());
        }
        read_all(&bytes);
    }
}

#[test]
fn runs_outside_47_bits_are_refused() {
    for kind in [1, 2, 3, 4] {
        let mut bytes = concat(&[&[kind, 19, 0], &[0; 4], &RUN_BYTES, &[0]]);
        assert!(matches!(next(&mut Reader::new(&bytes)), Next::Message(_)), "kind {kind}");
        bytes[3 + 4 + 13] = 0x80;
        assert_eq!(next(&mut Reader::new(&bytes)), Next::Malformed, "kind {kind}");
    }
}

#[test]
fn a_digest_names_the_buckets_that_differ() {
    let own: [u64; BUCKETS] = core::array::from_fn(|at| crate::rng::mix(at as u64));
    let bytes = |buckets: &[u64; BUCKETS]| {
        buckets.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<u8>>()
    };
    assert_eq!(Digest(&bytes(&own)).differing(&own), 0);
    for bit in [0, 7, 8, 31, 63] {
        for at in 0..BUCKETS {
            let mut other = own;
            other[at] ^= 1 << bit;
            assert_eq!(Digest(&bytes(&other)).differing(&own), 1 << at);
        }
    }
    let others = own.map(|bucket| !bucket);
    assert_eq!(Digest(&bytes(&others)).differing(&own), u64::MAX);
}
