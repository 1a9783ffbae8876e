//! [`Input`]: a fuzzer's bytes, read as numbers.

/// Takes numbers off a fuzzer's bytes. Past their end everything is 0, so that a cut input is the
/// same story, told less far.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Over all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all has been taken.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been taken.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.rest.split_at(self.rest.len().min(N));
        self.rest = rest;
        let mut array = [0; N];
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// One bit of one byte.
    pub fn bit(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// One byte as a number below `count`, which is 1 to 256.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.u8()) % count
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A length of two bytes, and as many bytes, or what is left.
    pub fn slice(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16()).min(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    /// A number of any size whose small values, and those near `u64::MAX`, are likely: a byte says
    /// how many bits are kept.
    pub fn uneven(&mut self) -> u64 {
        let bits = self.u8();
        let raw = self.u64();
        let kept = u32::from(bits & 127).min(64);
        let small = raw.checked_shr(64 - kept).unwrap_or(0);
        if bits < 128 { small } else { u64::MAX - small }
    }
}

/// What [`Input`] takes, written: for seeds.
pub mod put {
    /// A length of two bytes, and the bytes; only the first 65,535 of them.
    pub fn slice(out: &mut Vec<u8>, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&bytes[..usize::from(len)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_end_everything_is_zero() {
        let mut input = Input::new(&[7, 1]);
        assert_eq!((input.u32(), input.u64(), input.u8()), (0x0107, 0, 0));
        assert!(input.is_empty() && input.slice().is_empty() && input.uneven() == 0);
    }

    #[test]
    fn slices_are_read_as_they_are_written() {
        let mut bytes = Vec::new();
        put::slice(&mut bytes, b"abc");
        put::slice(&mut bytes, b"");
        bytes.extend_from_slice(&[9, 0, b'x']);
        let mut input = Input::new(&bytes);
        assert_eq!([input.slice(), input.slice(), input.slice()], [&b"abc"[..], b"", b"x"]);
    }

    #[test]
    fn uneven_numbers_reach_both_ends() {
        let of = |bytes: &[u8]| Input::new(bytes).uneven();
        assert_eq!(of(&[3, 255, 255, 255, 255, 255, 255, 255, 255]), 7);
        assert_eq!([of(&[0, 255]), of(&[128, 255]), of(&[130])], [0, u64::MAX, u64::MAX]);
        assert_eq!([of(&[64, 1]), of(&[127, 1])], [1, 1]);
    }
}
