//! Claims on the wire (`docs/protocol.md` §2.5): golden bytes, round trips, and what is refused.

extern crate std;

use core::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::rng::Rng;

const ADDR: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)), 0x1f90);

/// The smallest claim: a death without details.
fn death() -> Update<'static> {
    Update {
        id: NodeId::new(0x0807_0605_0403_0201),
        epoch: Epoch::new(0x1615_1413_1211),
        incarnation: Incarnation::new(5),
        state: State::Dead,
        accusers: Accusers::new(),
        age: None,
        details: None,
    }
}

fn details(incarnation: u32) -> Details<'static> {
    Details {
        incarnation: Incarnation::new(incarnation),
        versions: 0x11,
        addr: ADDR,
        metadata: b"\x02dc\x02eu",
    }
}

fn encoded(update: &Update<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    update.encode(&mut bytes);
    bytes
}

fn decoded(bytes: &[u8]) -> Option<Update<'_>> {
    Update::decode(&mut Reader::new(bytes))
}

/// A claim that may stand on the wire, drawn over all of its shapes.
pub(in crate::wire) fn random_update<'a>(rng: &mut Rng, metadata: &'a [u8]) -> Update<'a> {
    let state = [State::Alive, State::Suspect, State::Dead, State::Left][rng.index(4)];
    let incarnation = u32::try_from(rng.next_u64() >> (32 + rng.below(32))).unwrap();
    let has_details = state == State::Alive || rng.below(2) == 0;
    let details = has_details.then(|| {
        let is_own = state == State::Alive || rng.below(2) == 0;
        let ip = if rng.below(2) == 0 {
            Ipv4Addr::from(rng.below(u32::MAX)).into()
        } else {
            Ipv6Addr::from(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).into()
        };
        Details {
            incarnation: Incarnation::new(if is_own {
                incarnation
            } else {
                rng.below(incarnation)
            }),
            versions: rng.next_u64().to_le_bytes()[0],
            addr: SocketAddr::new(ip, u16::try_from(1 + rng.below(65_535)).unwrap()),
            metadata: &metadata[..rng.index(metadata.len() + 1)],
        }
    });
    let accusers = if state == State::Suspect { rng.index(ACCUSERS_MAX + 1) } else { 0 };
    Update {
        id: NodeId::new(rng.next_u64()),
        epoch: Epoch::new(rng.next_u64() >> 17),
        incarnation: Incarnation::new(incarnation),
        state,
        accusers: (0..accusers).map(|_| NodeId::new(rng.next_u64())).collect(),
        age: (!state.is_live() && rng.below(2) == 0).then(|| rng.below(u32::MAX)),
        details,
    }
}

#[test]
fn a_death_has_these_bytes() {
    let wanted = [
        0x02, // dead, nothing else
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // id
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, // epoch
        0x05, // incarnation
    ];
    assert_eq!(encoded(&death()), wanted);
    assert_eq!(decoded(&wanted), Some(death()));
}

#[test]
fn an_alive_claim_has_these_bytes() {
    let update = Update {
        state: State::Alive,
        incarnation: Incarnation::new(300),
        details: Some(details(300)),
        ..death()
    };
    let wanted = [
        0x04, // alive, with details
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // id
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, // epoch
        0xac, 0x02, // incarnation
        0x11, // versions
        0x04, 0x0a, 0x01, 0x02, 0x03, 0x90, 0x1f, // address
        0x06, 0x02, b'd', b'c', 0x02, b'e', b'u', // metadata
    ];
    assert_eq!(encoded(&update), wanted);
    assert_eq!(decoded(&wanted), Some(update));
}

#[test]
fn a_suspicion_has_these_bytes() {
    let update = Update {
        state: State::Suspect,
        accusers: Accusers::from_slice(&[NodeId::new(0xaa), NodeId::new(0xbb00)]),
        details: Some(details(4)),
        ..death()
    };
    let wanted = [
        0x0d, // suspect, with details of an earlier incarnation
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // id
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, // epoch
        0x05, // incarnation
        0x02, // accusers
        0xaa, 0, 0, 0, 0, 0, 0, 0, //
        0x00, 0xbb, 0, 0, 0, 0, 0, 0,    //
        0x04, // incarnation of the details
        0x11, // versions
        0x04, 0x0a, 0x01, 0x02, 0x03, 0x90, 0x1f, // address
        0x06, 0x02, b'd', b'c', 0x02, b'e', b'u', // metadata
    ];
    assert_eq!(encoded(&update), wanted);
    assert_eq!(decoded(&wanted), Some(update));
}

#[test]
fn a_departure_with_its_age_has_these_bytes() {
    let update = Update { state: State::Left, age: Some(200), ..death() };
    let wanted = [
        0x13, // left, with an age
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, // id
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, // epoch
        0x05, // incarnation
        0xc8, 0x01, // age
    ];
    assert_eq!(encoded(&update), wanted);
    assert_eq!(decoded(&wanted), Some(update));
}

#[test]
fn claims_round_trip_and_leave_what_follows() {
    let (mut rng, metadata) = (Rng::new(1), [0x5a; METADATA_LEN_MAX]);
    for _ in 0..5_000 {
        let update = random_update(&mut rng, &metadata);
        let mut bytes = encoded(&update);
        bytes.extend_from_slice(b"later");
        let mut reader = Reader::new(&bytes);
        assert_eq!(Update::decode(&mut reader), Some(update));
        assert_eq!(reader.rest(), b"later");
    }
}

#[test]
fn a_cut_claim_is_none() {
    let (mut rng, metadata) = (Rng::new(2), [0x5a; 24]);
    for _ in 0..1_000 {
        let bytes = encoded(&random_update(&mut rng, &metadata));
        for len in 0..bytes.len() {
            assert_eq!(decoded(&bytes[..len]), None, "{len} of {bytes:02x?}");
        }
    }
}

#[test]
fn a_flipped_bit_never_panics_and_what_is_read_is_sound() {
    let (mut rng, metadata) = (Rng::new(3), [0x5a; 24]);
    let mut read = 0;
    for _ in 0..500 {
        let mut bytes = encoded(&random_update(&mut rng, &metadata));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Some(update) = decoded(&bytes) {
                read += 1;
                assert!(update.accusers.len() <= ACCUSERS_MAX);
                assert!(update.epoch <= Epoch::MAX);
                assert!(update.state != State::Alive || update.details.is_some());
                let is_sound = |details: &Details<'_>| {
                    details.incarnation <= update.incarnation
                        && details.addr.port() != 0
                        && details.metadata.len() <= METADATA_LEN_MAX
                };
                assert!(update.details.iter().all(is_sound), "{update:?}");
                assert_eq!(decoded(&encoded(&update)), Some(update.clone()), "it can be passed on");
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert!(read > 10_000, "most flips leave a claim: {read}");
}

#[test]
fn flags_of_later_versions_are_ignored() {
    let mut bytes = encoded(&death());
    for flag in [0x20, 0x40, 0x80] {
        bytes[0] |= flag;
        assert_eq!(decoded(&bytes), Some(death()));
    }
}

#[test]
fn an_epoch_out_of_47_bits_is_refused() {
    let at = 1 + 8;
    let mut bytes = encoded(&Update { epoch: Epoch::MAX, ..death() });
    assert_eq!(decoded(&bytes).map(|update| update.epoch), Some(Epoch::MAX));
    bytes[at + 5] = 0x80;
    assert_eq!(decoded(&bytes), None);
    bytes[at..at + 6].copy_from_slice(&[0, 0, 0, 0, 0, 0x80]);
    assert_eq!(decoded(&bytes), None, "2^47 is one too many");
    assert_eq!(decode_epoch(&mut Reader::new(&[0, 0, 0, 0, 0, 0x80])), None);
    assert_eq!(decode_epoch(&mut Reader::new(&[0xff; 6])), None);
}

#[test]
fn alive_needs_details_of_its_own_incarnation() {
    let alive = |details| Update { state: State::Alive, details, ..death() };
    assert_eq!(decoded(&encoded(&alive(None))), None);
    assert_eq!(decoded(&encoded(&alive(Some(details(4))))), None, "of an earlier one");
    assert!(decoded(&encoded(&alive(Some(details(5))))).is_some());
}

#[test]
fn details_newer_than_the_claim_are_refused() {
    for state in [State::Alive, State::Suspect, State::Dead, State::Left] {
        for (incarnation, is_read) in
            [(4, state != State::Alive), (5, true), (6, false), (u32::MAX, false)]
        {
            let update = Update { state, details: Some(details(incarnation)), ..death() };
            let read = decoded(&encoded(&update)).is_some();
            assert_eq!(read, is_read, "{state} in incarnation 5, details of {incarnation}");
        }
    }
}

#[test]
fn port_0_is_refused() {
    for (port, is_read) in [(0, false), (1, true), (256, true), (u16::MAX, true)] {
        let addr = SocketAddr::new(ADDR.ip(), port);
        let update = Update { details: Some(Details { addr, ..details(5) }), ..death() };
        assert_eq!(decoded(&encoded(&update)).is_some(), is_read, "port {port}");
    }
}

#[test]
fn accusers_over_the_max_are_refused_and_not_sent() {
    let accusers: Accusers = (0..20).map(NodeId::new).collect();
    let update = Update { state: State::Suspect, accusers: accusers.clone(), ..death() };
    let mut bytes = encoded(&update);
    let sent = decoded(&bytes).unwrap().accusers;
    assert_eq!(sent[..], accusers[..ACCUSERS_MAX]);
    let at = 1 + 8 + 6 + 1;
    assert_eq!(usize::from(bytes[at]), ACCUSERS_MAX);
    bytes.extend_from_slice(&[7; 8 * 256]);
    for count in 0..=u8::MAX {
        bytes[at] = count;
        let is_read = usize::from(count) <= ACCUSERS_MAX;
        assert_eq!(decoded(&bytes).is_some(), is_read, "{count} accusers");
    }
}

#[test]
fn metadata_over_the_max_is_refused() {
    for (len, is_read) in [(0, true), (METADATA_LEN_MAX, true), (METADATA_LEN_MAX + 1, false)] {
        let metadata = vec![1; len];
        let details = Details { metadata: &metadata, ..details(5) };
        let update = Update { details: Some(details), ..death() };
        assert_eq!(decoded(&encoded(&update)).is_some(), is_read, "{len} bytes");
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = Rng::new(4);
    let mut outcomes = Vec::new();
    for _ in 0..50_000 {
        let len = rng.index(80);
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        // Half of them begin like a claim that means something.
        if let (Some(flags), 0) = (bytes.first_mut(), rng.below(2)) {
            *flags &= 0x1f;
        }
        outcomes.push(decoded(&bytes).is_some());
    }
    let read = outcomes.iter().filter(|&&read| read).count();
    assert!(read > 0 && read < outcomes.len(), "{}", format!("{read} of {}", outcomes.len()));
}
