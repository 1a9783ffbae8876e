//! [`AddressBook`]: which host has which address at present, and where others see it.
//!
//! | block | whose |
//! |---|---|
//! | `10.0.0.0/8`, `fd00::/64` | the address that the node advertises |
//! | `11.0.0.0/8` | the host's other address |
//! | `12.0.0.0/8` | where a host is that has moved |
//! | `172.16.0.0/12` | what a translator shows: 16 addresses for each host, in turn |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::clock::nanos;
use crate::fault::{Addresses, Fault};
use crate::host::addr;

/// Addresses that a translator gives one host, in turn.
const NAT_ADDRESSES: u64 = 16;
/// A translator has so many hosts behind it at most.
const NAT_HOSTS: u32 = 1 << 16;

/// See the module.
#[derive(Clone, Debug)]
pub struct AddressBook {
    hosts: u32,
    /// Hosts whose node has an IPv6 address, rising.
    v6: Vec<u32>,
    /// What is odd at present, with the number of its fault.
    odd: Vec<(usize, u32, Addresses)>,
    /// Whose address reaches whom.
    taken: Vec<(usize, u32, u32)>,
}

impl AddressBook {
    /// Every host has the address that its node advertises.
    pub fn new(hosts: usize) -> Self {
        let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
        Self { hosts, v6: Vec::new(), odd: Vec::new(), taken: Vec::new() }
    }

    pub(super) fn begin(&mut self, number: usize, fault: &Fault) {
        match *fault {
            Fault::Addresses { node, odd } => self.odd.push((number, node, odd)),
            Fault::TakeOver { node, by } => self.taken.push((number, node, by)),
            _ => {}
        }
    }

    pub(super) fn end(&mut self, number: usize) {
        self.odd.retain(|odd| odd.0 != number);
        self.taken.retain(|taken| taken.0 != number);
    }

    /// The node of `host` has an IPv6 address in this run.
    pub(crate) fn is_v6(&mut self, host: u32) {
        if let Err(place) = self.v6.binary_search(&host) {
            self.v6.insert(place, host);
        }
    }

    /// The address that the node of `host` advertises on `port`.
    pub fn home(&self, host: u32, port: u16) -> SocketAddr {
        if self.v6.binary_search(&host).is_err() {
            return addr(host, port);
        }
        let [high, low] = [(host >> 16) as u16, (host & 0xffff) as u16];
        SocketAddr::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, high, low).into(), port)
    }

    /// The host whose advertised address this is, whether it is reached there or not.
    pub fn owner(&self, of: SocketAddr) -> Option<u32> {
        let host = match of.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [ten, high, middle, low] = ip.octets();
                (ten == 10).then(|| u32::from_be_bytes([0, high, middle, low]))
            }
            IpAddr::V6(ip) => {
                let [0xfd00, 0, 0, 0, 0, 0, high, low] = ip.segments() else { return None };
                Some(u32::from(high) << 16 | u32::from(low))
            }
        };
        host.filter(|&host| host < self.hosts && self.home(host, 0).ip() == of.ip().to_canonical())
    }

    /// The host that is reached at this address now, in true nanoseconds.
    pub fn host_at(&self, now: u64, to: SocketAddr) -> Option<u32> {
        if let Some(owner) = self.owner(to) {
            if let Some(&(.., by)) = self.taken.iter().find(|(_, node, _)| *node == owner) {
                return Some(by);
            }
            return (!self.has_moved(owner)).then_some(owner);
        }
        let IpAddr::V4(ip) = to.ip().to_canonical() else { return None };
        let [first, high, middle, low] = ip.octets();
        let host = u32::from_be_bytes([0, high, middle, low]);
        let found = match first {
            11 => Some(host),
            12 => Some(host).filter(|&host| self.has_moved(host)),
            172 if (16..32).contains(&high) => {
                let host = u32::from_be_bytes([0, 0, middle, low]);
                let turn = self.turn(now, host)?;
                let age =
                    (turn % NAT_ADDRESSES + NAT_ADDRESSES - u64::from(high - 16)) % NAT_ADDRESSES;
                (age <= 1).then_some(host)
            }
            _ => None,
        };
        found.filter(|&host| host < self.hosts)
    }

    /// Where others see what `host` sends from `bound`, and the family that changed it, if one did.
    pub fn source(
        &self,
        now: u64,
        host: u32,
        bound: SocketAddr,
    ) -> (SocketAddr, Option<&'static str>) {
        let [_, high, middle, low] = host.to_be_bytes();
        let of = |first, second| {
            SocketAddr::new(Ipv4Addr::new(first, second, middle, low).into(), bound.port())
        };
        if self.odd.is_empty() {
            return (bound, None);
        }
        if let Some(turn) = self.turn(now, host) {
            let second = 16 + u8::try_from(turn % NAT_ADDRESSES).unwrap_or(0);
            return (of(172, second), Some("nat"));
        }
        if self.has_moved(host) {
            return (of(12, high), Some("host_moves"));
        }
        if self.is_odd(host, |odd| matches!(odd, Addresses::Other)) {
            return (of(11, high), Some("other_address"));
        }
        (bound, None)
    }

    /// How `host` sees the address of somebody that it hears, and whether that is odd.
    pub fn seen_by(&self, host: u32, from: SocketAddr) -> (SocketAddr, bool) {
        let is_mapped = self.is_odd(host, |odd| matches!(odd, Addresses::Mapped));
        match from.ip() {
            IpAddr::V4(ip) if is_mapped => {
                (SocketAddr::new(ip.to_ipv6_mapped().into(), from.port()), true)
            }
            _ => (from, false),
        }
    }

    /// Whether some host is not reached at the address that its node advertises.
    pub fn has_strays(&self) -> bool {
        !self.taken.is_empty() || self.odd.iter().any(|(.., odd)| *odd == Addresses::Moves)
    }

    fn has_moved(&self, host: u32) -> bool {
        self.is_odd(host, |odd| matches!(odd, Addresses::Moves))
    }

    fn is_odd(&self, host: u32, which: impl Fn(&Addresses) -> bool) -> bool {
        self.odd.iter().any(|(_, node, odd)| *node == host && which(odd))
    }

    /// How often the translator before `host` has changed its address, if there is one.
    fn turn(&self, now: u64, host: u32) -> Option<u64> {
        self.odd.iter().find_map(|&(_, node, odd)| match odd {
            Addresses::Nat(every) if node == host && host < NAT_HOSTS => {
                Some(now / nanos(every).max(1))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
