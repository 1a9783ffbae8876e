//! Fields (`docs/protocol.md` §2.1): every writer against its reader, and everything that is not a
//! field.

extern crate std;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::rng::Rng;

fn put_with(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes);
    bytes
}

/// `bytes` is exactly one field with `value`: it reads back, leaves what follows, and no part of it
/// reads at all.
fn is_one_field<T: PartialEq + core::fmt::Debug>(
    bytes: &[u8],
    value: &T,
    mut read: impl for<'a> FnMut(&mut Reader<'a>) -> Option<T>,
) {
    let mut followed = bytes.to_vec();
    followed.extend_from_slice(&[0xa5, 0x5a]);
    let mut reader = Reader::new(&followed);
    assert_eq!(read(&mut reader).as_ref(), Some(value), "{bytes:02x?}");
    assert_eq!(reader.rest(), [0xa5, 0x5a], "{bytes:02x?}: a field takes its own bytes only");
    for len in 0..bytes.len() {
        assert_eq!(read(&mut Reader::new(&bytes[..len])), None, "{:02x?} is cut", &bytes[..len]);
    }
}

fn edges(bits: u32) -> Vec<u64> {
    let mut values: Vec<u64> = vec![0, 0x0123_4567_89ab_cdef & (u64::MAX >> (64 - bits))];
    for bit in 0..bits {
        let power = 1u64 << bit;
        values.extend([power - 1, power, power | 1]);
    }
    values.push(u64::MAX >> (64 - bits));
    values
}

#[test]
fn integers_are_little_endian_and_round_trip() {
    for value in edges(64) {
        is_one_field(&put_with(|out| put::u64(out, value)), &value, |reader| reader.u64());
    }
    for value in edges(48) {
        is_one_field(&put_with(|out| put::u48(out, value)), &value, |reader| reader.u48());
    }
    for value in edges(32).into_iter().map(|value| u32::try_from(value).unwrap()) {
        is_one_field(&put_with(|out| put::u32(out, value)), &value, |reader| reader.u32());
    }
    for value in edges(16).into_iter().map(|value| u16::try_from(value).unwrap()) {
        is_one_field(&put_with(|out| put::u16(out, value)), &value, |reader| reader.u16());
    }
    for value in 0..=u8::MAX {
        is_one_field(&[value], &value, |reader| reader.u8());
    }
    let golden: [(Vec<u8>, &[u8]); 4] = [
        (put_with(|out| put::u16(out, 0x0201)), &[1, 2]),
        (put_with(|out| put::u32(out, 0x0403_0201)), &[1, 2, 3, 4]),
        (put_with(|out| put::u48(out, 0x0605_0403_0201)), &[1, 2, 3, 4, 5, 6]),
        (put_with(|out| put::u64(out, 0x0807_0605_0403_0201)), &[1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    for (bytes, wanted) in golden {
        assert_eq!(bytes, wanted);
    }
}

#[test]
fn varints_have_the_bytes_of_leb128() {
    let table: [(u32, &[u8]); 12] = [
        (0, &[0x00]),
        (1, &[0x01]),
        (0x7f, &[0x7f]),
        (0x80, &[0x80, 0x01]),
        (300, &[0xac, 0x02]),
        (0x3fff, &[0xff, 0x7f]),
        (0x4000, &[0x80, 0x80, 0x01]),
        (0x1f_ffff, &[0xff, 0xff, 0x7f]),
        (0x20_0000, &[0x80, 0x80, 0x80, 0x01]),
        (0xfff_ffff, &[0xff, 0xff, 0xff, 0x7f]),
        (0x1000_0000, &[0x80, 0x80, 0x80, 0x80, 0x01]),
        (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (value, bytes) in table {
        assert_eq!(put_with(|out| put::varint(out, value)), bytes, "{value}");
        assert_eq!(varint_len(value), bytes.len(), "{value}");
        is_one_field(bytes, &value, |reader| reader.varint());
    }
}

#[test]
fn varints_of_any_length_round_trip() {
    let mut rng = Rng::new(1);
    for _ in 0..20_000 {
        let value = u32::try_from(rng.next_u64() >> (32 + rng.below(32))).unwrap();
        let bytes = put_with(|out| put::varint(out, value));
        assert_eq!(varint_len(value), bytes.len(), "{value}");
        is_one_field(&bytes, &value, |reader| reader.varint());
    }
}

#[test]
fn a_value_has_one_varint() {
    let long_forms: [&[u8]; 5] = [
        &[0x80, 0x00],
        &[0xff, 0x00],
        &[0x80, 0x80, 0x00],
        &[0x81, 0x80, 0x80, 0x00],
        &[0xff, 0xff, 0xff, 0xff, 0x00],
    ];
    for bytes in long_forms {
        assert_eq!(Reader::new(bytes).varint(), None, "{bytes:02x?} has a shorter form");
    }
    // Whatever is read is what would have been written: over all of one and two bytes, and random
    // longer ones.
    let mut rng = Rng::new(2);
    let shorts = (0..=u16::MAX).map(|pair| pair.to_le_bytes().to_vec());
    let longs = core::iter::repeat_with(|| {
        let mut bytes = (rng.next_u64() | 0x0080_8080).to_le_bytes().to_vec();
        bytes.truncate(1 + rng.index(8));
        bytes
    });
    for bytes in shorts.chain(longs.take(50_000)) {
        let mut reader = Reader::new(&bytes);
        if let Some(value) = reader.varint() {
            let taken = &bytes[..bytes.len() - reader.rest().len()];
            assert_eq!(put_with(|out| put::varint(out, value)), taken, "{bytes:02x?}");
        }
    }
}

#[test]
fn a_varint_has_at_most_32_bits() {
    let over: [&[u8]; 6] = [
        &[0xff, 0xff, 0xff, 0xff, 0x1f],
        &[0x80, 0x80, 0x80, 0x80, 0x10],
        &[0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0x8f, 0x00],
        &[0xff; 16],
    ];
    for bytes in over {
        assert_eq!(Reader::new(bytes).varint(), None, "{bytes:02x?}");
    }
}

#[test]
fn slices_are_a_length_and_the_bytes() {
    for len in [0, 1, 127, 128, 300, 16_383, 16_384] {
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
        let bytes = put_with(|out| put::slice(out, &content));
        assert_eq!(bytes.len(), varint_len(u32::try_from(len).unwrap()) + len);
        is_one_field(&bytes, &content, |reader| reader.slice().map(<[u8]>::to_vec));
    }
    assert_eq!(put_with(|out| put::slice(out, b"abc")), b"\x03abc");
    // A length that promises 4 GiB costs nothing and gives nothing.
    assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]).slice(), None);
    assert_eq!(Reader::new(&[0x81, 0x00, 7]).slice(), None, "the length has a shorter form");
}

#[test]
fn addresses_round_trip_and_keep_their_family() {
    let golden: [(&str, Vec<u8>); 4] = [
        ("127.0.0.1:80", vec![4, 127, 0, 0, 1, 80, 0]),
        ("255.255.255.255:65535", vec![4, 255, 255, 255, 255, 255, 255]),
        ("[::1]:258", vec![6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 1]),
        ("[::ffff:1.2.3.4]:1", vec![6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4, 1, 0]),
    ];
    for (text, wanted) in golden {
        let addr: SocketAddr = text.parse().unwrap();
        let bytes = put_with(|out| put::addr(out, addr));
        assert_eq!(bytes, wanted, "{text}");
        is_one_field(&bytes, &addr, |reader| reader.addr());
    }
    let mut rng = Rng::new(3);
    for _ in 0..1_000 {
        let port = u16::try_from(rng.below(65_536)).unwrap();
        let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        let ip: [IpAddr; 2] =
            [Ipv4Addr::from(rng.below(u32::MAX)).into(), Ipv6Addr::from(bits).into()];
        for ip in ip {
            let addr = SocketAddr::new(ip, port);
            is_one_field(&put_with(|out| put::addr(out, addr)), &addr, |reader| reader.addr());
        }
    }
}

#[test]
fn the_flow_and_scope_of_an_address_do_not_travel() {
    let scoped = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 7, 8));
    let plain = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 9);
    assert_eq!(put_with(|out| put::addr(out, scoped)), put_with(|out| put::addr(out, plain)));
}

#[test]
fn an_address_of_no_known_family_is_refused() {
    for tag in (0..=u8::MAX).filter(|tag| ![4, 6].contains(tag)) {
        let mut bytes = [1; 32];
        bytes[0] = tag;
        assert_eq!(Reader::new(&bytes).addr(), None, "tag {tag}");
    }
}

#[test]
fn taking_is_exact() {
    let mut reader = Reader::new(b"abcdef");
    assert_eq!(reader.take(0), Some(&b""[..]));
    assert_eq!(reader.take(2), Some(&b"ab"[..]));
    assert_eq!(reader.take(5), None);
    assert_eq!(reader.rest(), b"cdef", "a refused take takes nothing");
    assert_eq!(reader.take(usize::MAX), None);
    assert_eq!(reader.take(4), Some(&b"cdef"[..]));
    assert!(reader.is_empty());
    assert_eq!(reader.u8(), None);
}

#[test]
fn no_bytes_make_a_reader_panic() {
    let mut rng = Rng::new(4);
    for _ in 0..20_000 {
        let len = rng.index(40);
        let bytes: Vec<u8> = (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        let mut reader = Reader::new(&bytes);
        for _ in 0..8 {
            let before = reader.rest().len();
            let got = match rng.below(7) {
                0 => format!("{:?}", reader.u8()),
                1 => format!("{:?}", reader.u16()),
                2 => format!("{:?}", reader.u48()),
                3 => format!("{:?}", reader.u64()),
                4 => format!("{:?}", reader.varint()),
                5 => format!("{:?}", reader.slice()),
                _ => format!("{:?}", reader.addr()),
            };
            assert!(reader.rest().len() <= before);
            assert!(got == "None" || reader.rest().len() < before, "{got} came from nothing");
        }
    }
}
