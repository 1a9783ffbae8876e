//! Fields off a borrowed slice: `None` when the bytes do not hold one, nothing taken then.

/// The next `len` bytes.
pub(super) fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

/// The next `N` bytes.
pub(super) fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

/// One byte.
pub(super) fn u8(rest: &mut &[u8]) -> Option<u8> {
    array(rest).map(|[byte]| byte)
}

/// Two bytes, little-endian.
pub(super) fn u16(rest: &mut &[u8]) -> Option<u16> {
    array(rest).map(u16::from_le_bytes)
}

/// Four bytes, little-endian.
pub(super) fn u32(rest: &mut &[u8]) -> Option<u32> {
    array(rest).map(u32::from_le_bytes)
}

/// Eight bytes, little-endian.
pub(super) fn u64(rest: &mut &[u8]) -> Option<u64> {
    array(rest).map(u64::from_le_bytes)
}
