//! What is said about a member (§2.5), and by whom.

use std::net::SocketAddr;

/// §1.2: the last epoch, 47 bits of milliseconds.
pub const EPOCH_MAX: u64 = (1 << 47) - 1;

/// §2.5: accusers that fit into a claim.
pub(super) const ACCUSERS_MAX: usize = 8;

/// §2.5.
pub(super) const METADATA_LEN_MAX: usize = 512;

/// The state of a member, in the order of §4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// In the view.
    Alive,
    /// In the view, accused.
    Suspect,
    /// A tombstone: it did not refute in time.
    Dead,
    /// A tombstone: it said goodbye.
    Left,
}

impl State {
    /// §4.1: alive and suspect members are live.
    pub fn is_live(self) -> bool {
        self <= State::Suspect
    }
}

/// What a member said of itself in one incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The incarnation in which it was said.
    pub incarnation: u32,
    /// Where the member is.
    pub address: SocketAddr,
    /// The lowest and the highest protocol version it speaks.
    pub versions: (u8, u8),
    /// The content of the metadata slice as on the wire; see
    /// [`metadata::pairs`](super::metadata::pairs).
    pub metadata: Vec<u8>,
}

/// A claim about one member (§2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of whom.
    pub id: u64,
    /// Which run of it.
    pub epoch: u64,
    /// Which life of that run.
    pub incarnation: u32,
    /// What it is said to be.
    pub state: State,
    /// Of a suspect: whose probes failed.
    pub accusers: Vec<u64>,
    /// Seconds since the death or departure.
    pub age: Option<u64>,
    /// What the member said of itself.
    pub details: Option<Details>,
}

impl Claim {
    /// §1.2, §2.5. Whether these bytes are no claim.
    pub fn malformed(&self) -> bool {
        let details_are = match &self.details {
            None => self.state == State::Alive,
            Some(details) => {
                details.incarnation > self.incarnation
                    || (self.state == State::Alive && details.incarnation != self.incarnation)
                    || details.address.port() == 0
                    || details.metadata.len() > METADATA_LEN_MAX
            }
        };
        self.epoch > EPOCH_MAX || self.accusers.len() > ACCUSERS_MAX || details_are
    }

    /// §4.2: the order of claims of one run.
    pub(super) fn rank(&self) -> (u32, State) {
        (self.incarnation, self.state)
    }
}

/// How a claim came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In an Update message of a datagram or a gossip frame, whoever sent it.
    Gossip,
    /// After a `SyncChunk` or a `SyncBusy`: a death in it is always doubted (§4.5.1).
    Transfer,
    /// The same, over the connection of a live member at its run (§4.9).
    MemberTransfer,
    /// The member's own word on a stream of its own, asking for the table (§4.9).
    FirstHand,
    /// It was kept aside, and is taken (§4.9.2).
    Decided,
}

impl Origin {
    /// §4.9.4.
    pub(super) fn is_second_hand(self) -> bool {
        !matches!(self, Origin::FirstHand | Origin::Decided)
    }
}
