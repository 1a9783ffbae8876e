//! The bytes on the wire (`docs/protocol.md` §2): total decoding, hand-specified encoding, room to
//! grow.
//!
//! A [`Reader`] takes fields off a borrowed slice and answers `None` when the bytes do not hold
//! one; it never panics and never allocates. [`put`] has the matching writers. Everything is
//! little-endian.

pub mod datagram;
#[cfg(feature = "fuzzing")]
pub mod reread;
pub mod update;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The protocol versions this build speaks, lowest and highest. Peers use the highest both speak
/// (§2.2).
pub const VERSION_MIN: u8 = 1;
/// See [`VERSION_MIN`].
pub const VERSION_MAX: u8 = 1;

/// Takes fields off a byte slice. Every method answers `None` if the bytes do not hold such a
/// field.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been taken yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all has been taken.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Six bytes: a 48-bit integer.
    #[inline]
    pub fn u48(&mut self) -> Option<u64> {
        self.array().map(|[a, b, c, d, e, f]| u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A LEB128 integer of at most 32 bits, in its shortest form: longer forms are refused, so that
    /// a value has one encoding (§2.1).
    #[inline]
    pub fn varint(&mut self) -> Option<u32> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                return if is_shortest { u32::try_from(value).ok() } else { None };
            }
        }
        None
    }

    /// A length (varint) and that many bytes.
    #[inline]
    pub fn slice(&mut self) -> Option<&'a [u8]> {
        let len = self.varint()? as usize;
        self.take(len)
    }

    /// A tag byte (4 or 6), the address, and the port.
    #[inline]
    pub fn addr(&mut self) -> Option<SocketAddr> {
        let ip = match self.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, self.u16()?))
    }
}

/// Writers, each the inverse of the [`Reader`] method of the same name.
pub mod put {
    use alloc::vec::Vec;
    use core::net::{IpAddr, SocketAddr};

    /// Two bytes.
    pub fn u16(out: &mut Vec<u8>, value: u16) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(out: &mut Vec<u8>, value: u32) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    /// The low six bytes of `value`.
    pub fn u48(out: &mut Vec<u8>, value: u64) {
        debug_assert!(value < 1 << 48, "48-bit fields hold 48-bit values");
        out.extend_from_slice(&value.to_le_bytes()[..6]);
    }

    /// Eight bytes.
    pub fn u64(out: &mut Vec<u8>, value: u64) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    /// A LEB128 integer in its shortest form.
    pub fn varint(out: &mut Vec<u8>, mut value: u32) {
        while value >= 0x80 {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
    }

    /// A length and the bytes. The caller keeps lengths within 32 bits; limits see to that.
    pub fn slice(out: &mut Vec<u8>, bytes: &[u8]) {
        varint(out, u32::try_from(bytes.len()).expect("every field's limit is far below 4 GiB"));
        out.extend_from_slice(bytes);
    }

    /// A tag byte, the address, and the port. IPv6 flow and scope do not travel.
    pub fn addr(out: &mut Vec<u8>, addr: SocketAddr) {
        match addr.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        u16(out, addr.port());
    }
}

/// Bytes that [`put::varint`] needs for `value`.
pub const fn varint_len(value: u32) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        0x20_0000..=0xfff_ffff => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests;
