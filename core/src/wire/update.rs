//! One claim about one member on the wire (`docs/protocol.md` §2.5).

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use smallvec::SmallVec;

use crate::id::{Epoch, Incarnation, NodeId};
use crate::wire::{Reader, put};

const STATE_BITS: u8 = 0b11;
const HAS_DETAILS: u8 = 1 << 2;
const DETAILS_ARE_OLDER: u8 = 1 << 3;
const HAS_AGE: u8 = 1 << 4;

/// Distinct accusers that one suspicion carries at most.
pub const ACCUSERS_MAX: usize = 8;
/// Bytes of one encoded [`Metadata`](crate::membership::Metadata), at most: an update that carries
/// it, its header and its address must still fit one datagram beside a ping, with room for others.
pub const METADATA_LEN_MAX: usize = 512;

/// What is believed about a member, in rising precedence within one incarnation (`docs/protocol.md`
/// §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It answers.
    Alive,
    /// Somebody's probe of it failed; it has until the end of the suspicion to refute.
    Suspect,
    /// Its suspicion ran out. It is remembered, so that old news does not bring it back.
    Dead,
    /// It said goodbye.
    Left,
}

impl State {
    /// Whether a member in this state is in the view: [`Alive`](Self::Alive) or
    /// [`Suspect`](Self::Suspect).
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }

    /// The state in lower case, as the `agent` example prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who accuses a suspect.
pub(crate) type Accusers = SmallVec<[NodeId; 4]>;

/// A claim: that `id` was, at this point of its life, in this state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update<'a> {
    pub(crate) id: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: Incarnation,
    pub(crate) state: State,
    /// The distinct members whose probes failed; only of a suspect.
    pub(crate) accusers: Accusers,
    /// Seconds since the death or departure, where the sender knows; only of the dead and the
    /// left.
    pub(crate) age: Option<u32>,
    /// Where the member is and what it says of itself; always there when it is alive.
    pub(crate) details: Option<Details<'a>>,
}

/// The part of a claim that only the member itself makes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Details<'a> {
    /// The incarnation in which the member said this: the claim's own, or an earlier one.
    pub(crate) incarnation: Incarnation,
    /// Protocol versions the member speaks: lowest in the high four bits, highest in the low four.
    pub(crate) versions: u8,
    pub(crate) addr: SocketAddr,
    /// [`Metadata`](crate::membership::Metadata) in its wire form, not yet looked into.
    pub(crate) metadata: &'a [u8],
}

impl<'a> Update<'a> {
    /// Appends the claim to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let older = self.details.filter(|details| details.incarnation != self.incarnation);
        let mut flags = self.state as u8;
        flags |= if self.details.is_some() { HAS_DETAILS } else { 0 };
        flags |= if older.is_some() { DETAILS_ARE_OLDER } else { 0 };
        flags |= if self.age.is_some() { HAS_AGE } else { 0 };
        out.push(flags);
        put::u64(out, self.id.get());
        put::u48(out, self.epoch.get());
        put::varint(out, self.incarnation.get());
        if self.state == State::Suspect {
            let count = self.accusers.len().min(ACCUSERS_MAX);
            out.push(u8::try_from(count).expect("ACCUSERS_MAX is 8"));
            for accuser in &self.accusers[..count] {
                put::u64(out, accuser.get());
            }
        }
        if let Some(age) = self.age {
            put::varint(out, age);
        }
        if let Some(details) = &self.details {
            if older.is_some() {
                put::varint(out, details.incarnation.get());
            }
            out.push(details.versions);
            put::addr(out, details.addr);
            put::slice(out, details.metadata);
        }
    }

    /// Reads a claim; what follows it in its message belongs to later versions and is left alone.
    #[inline]
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Option<Self> {
        let flags = reader.u8()?;
        let state = match flags & STATE_BITS {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Dead,
            _ => State::Left,
        };
        let id = NodeId::new(reader.u64()?);
        let epoch = decode_epoch(reader)?;
        let incarnation = Incarnation::new(reader.varint()?);
        let mut accusers = Accusers::new();
        if state == State::Suspect {
            let count = usize::from(reader.u8()?);
            if count > ACCUSERS_MAX {
                return None;
            }
            for _ in 0..count {
                accusers.push(NodeId::new(reader.u64()?));
            }
        }
        let age = if flags & HAS_AGE != 0 { Some(reader.varint()?) } else { None };
        let details = if flags & HAS_DETAILS != 0 {
            Some(Details::decode(reader, flags, incarnation)?)
        } else {
            None
        };
        if state == State::Alive && details.is_none_or(|details| details.incarnation != incarnation)
        {
            return None;
        }
        Some(Self { id, epoch, incarnation, state, accusers, age, details })
    }
}

impl<'a> Details<'a> {
    #[inline]
    fn decode(reader: &mut Reader<'a>, flags: u8, claimed: Incarnation) -> Option<Self> {
        let incarnation = if flags & DETAILS_ARE_OLDER != 0 {
            Incarnation::new(reader.varint()?)
        } else {
            claimed
        };
        let versions = reader.u8()?;
        let addr = reader.addr()?;
        let metadata = reader.slice()?;
        let is_sound =
            incarnation <= claimed && metadata.len() <= METADATA_LEN_MAX && addr.port() != 0;
        is_sound.then_some(Self { incarnation, versions, addr, metadata })
    }
}

/// An epoch, refused outside its 47 bits: nobody is in a run that nobody can follow (§1).
pub(crate) fn decode_epoch(reader: &mut Reader<'_>) -> Option<Epoch> {
    let raw = reader.u48()?;
    (raw <= Epoch::MAX.get()).then(|| Epoch::new(raw))
}

#[cfg(test)]
pub(in crate::wire) mod tests;
