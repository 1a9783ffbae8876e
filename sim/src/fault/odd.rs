//! Faults of names, addresses and suspended hosts: what a tidy network does not have, and a real
//! one does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fault, text};

/// How the look-ups of one node are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answers {
    /// Every second name is not found. Which ones differs by node: those for which the index of the
    /// node and that of the name add up to an odd number.
    Partial,
    /// Every name is answered with the address of the next seed, and with another one the next
    /// time.
    Changing,
    /// Every name is answered with the node's own address and with one where nobody is.
    Foreign,
    /// The answer comes after this time.
    Slow(#[serde(with = "text::span")] Duration),
    /// A look-up that begins during the fault is never answered, also not after its end.
    Never,
}

/// What is odd about the address of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Addresses {
    /// A translator gives what the node sends another source address. The address changes every so
    /// often. What is sent to the present one or the one before reaches the node.
    Nat(#[serde(with = "text::span")] Duration),
    /// The host has two addresses and sends from the one that the node does not advertise. Both
    /// reach it.
    Other,
    /// The node sees the IPv4 sources of datagrams and connections as IPv4-mapped IPv6 addresses,
    /// as a socket for both does.
    Mapped,
    /// The host has another address until the end, while its process goes on. Nothing that is sent
    /// to the address before arrives, and its connections fall silent.
    Moves,
}

/// The families that only the odd swarm draws ([`swarm::odd`](crate::swarm::odd)), as reports name
/// them.
pub const ODD_FAMILIES: [&str; 18] = [
    "no_streams",
    "opens_lost",
    "opens_refused",
    "proxy",
    "names_partial",
    "names_changing",
    "names_foreign",
    "names_slow",
    "names_never",
    "nat",
    "other_address",
    "mapped",
    "host_moves",
    "take_over",
    "ipv6",
    "suspend",
    "suspend_wall",
    "restart_behind",
];

impl Answers {
    /// The name of its family in [`ODD_FAMILIES`].
    pub const fn family(self) -> &'static str {
        match self {
            Self::Partial => "names_partial",
            Self::Changing => "names_changing",
            Self::Foreign => "names_foreign",
            Self::Slow(_) => "names_slow",
            Self::Never => "names_never",
        }
    }
}

impl Addresses {
    /// The name of its family in [`ODD_FAMILIES`].
    pub const fn family(self) -> &'static str {
        match self {
            Self::Nat(_) => "nat",
            Self::Other => "other_address",
            Self::Mapped => "mapped",
            Self::Moves => "host_moves",
        }
    }
}

/// How a process comes back that has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Return {
    /// On another port.
    pub(crate) moves: bool,
    /// With the bound of its clock that it wrote down.
    pub(crate) keeps_clock: bool,
    /// On a wall clock that was set back by so many milliseconds.
    pub(crate) behind_ms: i64,
}

impl Fault {
    /// How the process that dies of it comes back at its end, if one does.
    pub(crate) fn comes_back(&self) -> Option<Return> {
        match *self {
            Self::Crash { moves, keeps_clock, .. } => {
                Some(Return { moves, keeps_clock, behind_ms: 0 })
            }
            Self::RestartBehind { behind, .. } => Some(Return {
                moves: true,
                keeps_clock: false,
                behind_ms: i64::try_from(behind.as_millis()).unwrap_or(i64::MAX),
            }),
            _ => None,
        }
    }

    /// Whether what is sent to the advertised address of a node reaches nobody, or another node.
    pub(super) const fn strays(&self) -> bool {
        matches!(self, Self::TakeOver { .. } | Self::Addresses { odd: Addresses::Moves, .. })
    }

    /// Whether nothing is sent on streams because of it, or no connection is opened.
    pub(super) const fn stops_streams(&self) -> bool {
        match self {
            Self::Link { quality, .. } => {
                quality.no_streams || quality.opens_lost || quality.opens_refused
            }
            _ => false,
        }
    }

    /// What is wrong with its numbers, if something is.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        match self {
            Self::Addresses { odd: Addresses::Nat(every), .. }
                if *every < Duration::from_millis(1) =>
            {
                Some("a translator that changes more often than once in 1ms")
            }
            Self::TakeOver { node, by } if node == by => Some("a node cannot take over itself"),
            _ => None,
        }
    }
}
