//! [`Lanes`]: messages that come in fragments (`docs/protocol.md` §5.10), four at most.

use super::config::ALIGN;
use super::frame::{FrameHeader, LANES};
use super::pool::Pool;
use super::receive::Large;

/// A rule of §5.10.2 is broken; which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadFragment(pub(super) &'static str);

#[derive(Debug, Default)]
enum Lane {
    #[default]
    Idle,
    Taking(Large),
    /// `rest` bytes are still to be thrown away.
    Skipping {
        rest: usize,
    },
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: [Lane; LANES as usize],
    /// The fragment whose bytes come next: its lane, and how many are missing.
    piece: Option<(usize, usize)>,
    /// The lane whose message has become whole.
    whole: Option<usize>,
}

impl Lanes {
    /// Bytes of memory held.
    pub(super) fn held_len(&self) -> usize {
        let held =
            |lane: &Lane| if let Lane::Taking(large) = lane { large.buffer.len() } else { 0 };
        self.lanes.iter().map(held).sum()
    }

    pub(super) fn is_busy(&self, header: FrameHeader) -> bool {
        !matches!(self.lanes[header.lane()], Lane::Idle)
    }

    pub(super) fn begin(&mut self, large: Large) {
        let lane = large.header.lane();
        self.lanes[lane] = Lane::Taking(large);
    }

    pub(super) fn begin_skipping(&mut self, header: FrameHeader) {
        self.lanes[header.lane()] = Lane::Skipping { rest: header.body_len as usize };
    }

    /// Whether bytes of a fragment come next.
    pub(super) fn is_reading(&self) -> bool {
        self.piece.is_some()
    }

    /// Where the bytes of the fragment go, and how many are missing.
    pub(super) fn reading(&mut self) -> Option<(&mut Large, usize)> {
        let (lane, rest) = self.piece?;
        match &mut self.lanes[lane] {
            Lane::Taking(large) => Some((large, rest)),
            _ => None,
        }
    }

    /// A fragment begins: whether it is wanted, or to be thrown away.
    pub(super) fn admit(&mut self, header: FrameHeader) -> Result<bool, BadFragment> {
        let (at, len) = (header.lane(), header.body_len as usize);
        let rest = match &self.lanes[at] {
            Lane::Idle => return Err(BadFragment("a fragment has a message")),
            Lane::Taking(large) => large.header.body_len as usize - large.filled,
            Lane::Skipping { rest } => *rest,
        };
        if header.extension_len != 0 || len == 0 {
            return Err(BadFragment("a fragment has a body and nothing else"));
        }
        if len > rest {
            return Err(BadFragment("fragments end where their message ends"));
        }
        if len < rest && !len.is_multiple_of(ALIGN) {
            return Err(BadFragment("a fragment before the last is a multiple of 16 long"));
        }
        match &mut self.lanes[at] {
            Lane::Skipping { rest } => {
                *rest -= len;
                if *rest == 0 {
                    self.lanes[at] = Lane::Idle;
                }
                Ok(false)
            }
            _ => {
                self.piece = Some((at, header.body_padded()));
                Ok(true)
            }
        }
    }

    /// These bytes of the fragment are here already.
    pub(super) fn fill(&mut self, mut bytes: &[u8], pool: &mut Pool) {
        while !bytes.is_empty()
            && let Some((large, rest)) = self.reading()
        {
            let room = large.room(rest);
            let len = room.len().min(bytes.len());
            room[..len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            self.filled(len, pool);
        }
    }

    /// `len` bytes were put into the room of the fragment.
    pub(super) fn filled(&mut self, len: usize, pool: &mut Pool) -> usize {
        let Some((large, rest)) = self.reading() else {
            return 0;
        };
        let len = len.min(large.room(rest).len());
        large.fill(len, pool);
        let is_whole = large.filled == large.target;
        if let Some((lane, rest)) = &mut self.piece {
            *rest -= len;
            if is_whole {
                self.whole = Some(*lane);
            }
            if *rest == 0 {
                self.piece = None;
            }
        }
        len
    }

    /// The message that has become whole.
    pub(super) fn finished(&mut self) -> Option<Large> {
        match core::mem::take(&mut self.lanes[self.whole.take()?]) {
            Lane::Taking(large) => Some(large),
            _ => None,
        }
    }

    /// The message on this lane goes no further. Gives its header, if it was wanted.
    pub(super) fn abort(
        &mut self,
        header: FrameHeader,
    ) -> Result<Option<FrameHeader>, BadFragment> {
        match core::mem::take(&mut self.lanes[header.lane()]) {
            Lane::Idle => Err(BadFragment("a fragment has a message")),
            Lane::Taking(large) => Ok(Some(large.header)),
            Lane::Skipping { .. } => Ok(None),
        }
    }
}
