//! One membership machine of each make, which knows so many members and is told the same things by
//! one of them.
//!
//! Everybody else is played: the datagrams are those that the make's own kind would send, in its
//! own format. No network, no sockets, no time: what is measured is the machine, with the polls by
//! which a driver takes out of it what it wants.

#[cfg(feature = "peers")]
mod foca;
#[cfg(feature = "peers")]
mod kinship;

use chinwag_core::membership::Config;

pub use crate::machines::membership::UPDATES;
use crate::machines::membership::{Node, SEED, ping, updates};
use crate::table::Role;

/// A machine that knows a number of members.
pub trait Machine {
    /// A datagram that says that [`UPDATES`] members are alive, the first of them this one, at an
    /// incarnation.
    fn updates(&self, first: u64, incarnation: u32) -> Vec<u8>;

    /// A datagram comes which is not answered, and what the machine has to tell is taken out.
    fn hear(&mut self, datagram: &[u8]);

    /// A datagram with a ping alone.
    fn ping(&self) -> Vec<u8>;

    /// A ping comes; the bytes of the answer.
    fn answer(&mut self, ping: &[u8]) -> usize;
}

/// Who made a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// The machine of `chinwag-core`.
    Chinwag,
    /// foca 2, with its postcard codec, a socket's address for an identity.
    #[cfg(feature = "peers")]
    Foca,
    /// kinship-core 0.5, without its encryption, which no other here has.
    #[cfg(feature = "peers")]
    Kinship,
}

impl Make {
    /// All that this build has.
    pub const EVERY: &[Self] = &[
        Self::Chinwag,
        #[cfg(feature = "peers")]
        Self::Foca,
        #[cfg(feature = "peers")]
        Self::Kinship,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chinwag => "chinwag",
            #[cfg(feature = "peers")]
            Self::Foca => "foca",
            #[cfg(feature = "peers")]
            Self::Kinship => "kinship",
        }
    }

    /// The one of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::EVERY.iter().copied().find(|make| make.name() == name)
    }

    /// Which side it is on.
    pub fn role(self) -> Role {
        if self == Self::Chinwag { Role::Main } else { Role::Peer }
    }

    /// One that knows so many members and has told what it had to tell of them.
    pub fn start(self, members: u64) -> Box<dyn Machine> {
        let mut machine = self.know(members);
        let ping = machine.ping();
        // News of oneself rides on the answers, until it has been told often enough.
        for _ in 0..200 {
            assert!(machine.answer(&ping) > 0, "{}: a ping is answered", self.name());
        }
        machine
    }

    /// One that knows so many members: what its memory is measured by.
    pub fn know(self, members: u64) -> Box<dyn Machine> {
        match self {
            Self::Chinwag => Box::new(Chinwag::new(members)),
            #[cfg(feature = "peers")]
            Self::Foca => Box::new(foca::Foca::new(members)),
            #[cfg(feature = "peers")]
            Self::Kinship => Box::new(kinship::Kinship::new(members)),
        }
    }
}

struct Chinwag {
    node: Node,
    members: u64,
}

impl Chinwag {
    fn new(members: u64) -> Self {
        Self { node: Node::alone(&Config::lan()).join(members), members }
    }
}

impl Machine for Chinwag {
    fn updates(&self, first: u64, incarnation: u32) -> Vec<u8> {
        updates(SEED + first, self.members, incarnation)
    }

    fn hear(&mut self, datagram: &[u8]) {
        let sent = self.node.answer(datagram);
        debug_assert_eq!(sent, 0, "news is not answered");
    }

    fn ping(&self) -> Vec<u8> {
        ping(SEED)
    }

    fn answer(&mut self, ping: &[u8]) -> usize {
        self.node.answer(ping)
    }
}
