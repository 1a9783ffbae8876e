//! Which broadcasts have been sent and seen (`docs/protocol.md` §4.10).

use alloc::collections::BTreeMap;
use core::fmt;

use crate::id::{Epoch, NodeId};
use crate::membership::{BROADCAST_LEN_MAX, BROADCAST_WINDOW, BROADCASTS_MAX, MESSAGE_LEN_MAX};
use crate::wire::datagram::Run;

/// Why a broadcast was not taken; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BroadcastError {
    /// The payload is longer than [`BROADCAST_LEN_MAX`].
    TooLong {
        /// Its length.
        len: usize,
    },
    /// [`BROADCASTS_MAX`] broadcasts wait already; later ones have room.
    Full,
    /// The node has left.
    HasLeft,
}

impl fmt::Display for BroadcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => {
                write!(f, "a broadcast of {len} bytes is longer than {BROADCAST_LEN_MAX}")
            }
            Self::Full => write!(f, "{BROADCASTS_MAX} broadcasts wait already"),
            Self::HasLeft => write!(f, "this node has left the cluster"),
        }
    }
}

impl core::error::Error for BroadcastError {}

/// Why a message was not sent; nothing was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The payload is longer than [`MESSAGE_LEN_MAX`].
    TooLong {
        /// Its length.
        len: usize,
    },
    /// No live member has this id.
    UnknownMember(NodeId),
    /// The node has left.
    HasLeft,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => {
                write!(f, "a message of {len} bytes is longer than {MESSAGE_LEN_MAX}")
            }
            Self::UnknownMember(id) => write!(f, "no live member has the id {id}"),
            Self::HasLeft => write!(f, "this node has left the cluster"),
        }
    }
}

impl core::error::Error for SendError {}

/// Words of a [`Window`].
const WORDS: usize = BROADCAST_WINDOW as usize / 64;
const _: () = assert!(
    BROADCAST_WINDOW as usize >= 4 * BROADCASTS_MAX && BROADCAST_WINDOW.is_multiple_of(64),
    "a receiver tells apart more numbers than an origin can have on the way at once"
);

/// Which broadcasts of one origin have been seen: the newest number and those within
/// [`BROADCAST_WINDOW`] of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    epoch: Epoch,
    newest: u32,
    /// Bit `number % BROADCAST_WINDOW`: this number has been seen.
    seen: [u64; WORDS],
}

/// What becomes of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has not been seen.
    New,
    /// It has been seen.
    Seen,
    /// It is so old, or from so far ahead of what its speaker can vouch for, that nothing is known.
    Unknown,
}

impl Window {
    fn new(epoch: Epoch) -> Self {
        Self { epoch, newest: 0, seen: [0; WORDS] }
    }

    /// Counts `number` in. One that would push all that is remembered out of the window is taken
    /// from a speaker at its proven address alone.
    fn admit(&mut self, number: u32, is_proven: bool) -> Verdict {
        let ahead = number.saturating_sub(self.newest);
        if ahead > BROADCAST_WINDOW && !is_proven {
            return Verdict::Unknown;
        }
        if self.newest.saturating_sub(number) >= BROADCAST_WINDOW {
            return Verdict::Unknown;
        }
        if ahead >= BROADCAST_WINDOW {
            self.seen = [0; WORDS];
        } else {
            // The numbers in between take the places of those that leave the window.
            for step in 1..=ahead {
                self.set(self.newest + step, false);
            }
        }
        self.newest = self.newest.max(number);
        if self.is_seen(number) {
            return Verdict::Seen;
        }
        self.set(number, true);
        Verdict::New
    }

    fn place(number: u32) -> (usize, u64) {
        let at = number % BROADCAST_WINDOW;
        ((at / 64) as usize, 1 << (at % 64))
    }

    fn is_seen(&self, number: u32) -> bool {
        let (word, bit) = Self::place(number);
        self.seen[word] & bit != 0
    }

    fn set(&mut self, number: u32, is_seen: bool) {
        let (word, bit) = Self::place(number);
        if is_seen {
            self.seen[word] |= bit;
        } else {
            self.seen[word] &= !bit;
        }
    }
}

/// What has been broadcast and seen. Windows are kept for members and tombstones only, so they are
/// as bounded.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    pub(crate) sent: u32,
    pub(crate) windows: BTreeMap<NodeId, Window>,
}

impl Broadcasts {
    /// Origins whose numbers are remembered.
    pub(crate) fn origins_len(&self) -> usize {
        self.windows.len()
    }

    pub(crate) fn forget(&mut self, origin: NodeId) {
        self.windows.remove(&origin);
    }

    /// Counts broadcast `number` of the run that is held as `origin`.
    pub(crate) fn admit(&mut self, origin: Run, number: u32, is_proven: bool) -> Verdict {
        let fresh = Window::new(origin.epoch);
        let window = self.windows.entry(origin.id).or_insert(fresh);
        if window.epoch != origin.epoch {
            *window = fresh;
        }
        window.admit(number, is_proven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §4.10: each number once, in any order, for as long as it can be told.
    #[test]
    fn a_window_admits_each_number_once_and_no_number_it_cannot_tell() {
        let mut window = Window::new(Epoch::new(1));
        let mut admit = |number| window.admit(number, true);
        assert_eq!(admit(3), Verdict::New);
        assert_eq!(admit(3), Verdict::Seen);
        assert_eq!(admit(1), Verdict::New);
        assert_eq!(admit(1_100), Verdict::New);
        assert_eq!(admit(76), Verdict::Unknown);
        assert_eq!(admit(77), Verdict::New);
        assert_eq!(admit(77), Verdict::Seen);
        assert_eq!(admit(1_027), Verdict::New, "the place of number 3 is free again");
        assert_eq!(admit(u32::MAX), Verdict::New);
        assert_eq!(admit(u32::MAX), Verdict::Seen);
        assert_eq!(admit(1_100), Verdict::Unknown);
    }

    /// §4.10: a number from nowhere does not empty the window.
    #[test]
    fn a_far_number_is_taken_from_a_proven_speaker_alone() {
        let mut window = Window::new(Epoch::new(1));
        assert_eq!(window.admit(1_024, false), Verdict::New);
        assert_eq!(window.admit(u32::MAX, false), Verdict::Unknown);
        assert_eq!(window.admit(2_049, false), Verdict::Unknown);
        assert_eq!(window.admit(1_024, false), Verdict::Seen);
        assert_eq!(window.admit(1, false), Verdict::New);
        assert_eq!(window.admit(2_048, false), Verdict::New);
        assert_eq!(window.admit(90_000, true), Verdict::New);
        assert_eq!(window.admit(89_000, false), Verdict::New);
    }

    /// §4.10: the window agrees with a set of all numbers that were ever admitted.
    #[test]
    fn a_window_is_a_set_of_the_last_numbers() {
        let mut rng = crate::rng::Rng::new(11);
        let mut window = Window::new(Epoch::new(1));
        let (mut all, mut newest) = (alloc::collections::BTreeSet::new(), 0u32);
        for _ in 0..20_000 {
            let number = (newest + 40).saturating_sub(u32::try_from(rng.below_u64(1_200)).unwrap());
            let expected = if number == 0 || newest.saturating_sub(number) >= BROADCAST_WINDOW {
                Verdict::Unknown
            } else if all.insert(number) {
                Verdict::New
            } else {
                Verdict::Seen
            };
            if number > 0 {
                assert_eq!(window.admit(number, false), expected, "{number} of {newest}");
                newest = newest.max(number);
            }
        }
    }
}
