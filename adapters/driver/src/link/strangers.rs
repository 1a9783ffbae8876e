//! How many connections those may hold who are not known: [`has_room`] (`docs/protocol.md` §5.7.8).

use std::net::IpAddr;

/// Strangers that any limit allows.
const STRANGERS_MIN: usize = 8;

/// The host that a connection comes from: its address, or of an IPv6 address the 64 bits that a
/// network gives to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host(IpAddr);

impl Host {
    pub(super) fn of(addr: IpAddr) -> Self {
        Self(match addr.to_canonical() {
            IpAddr::V6(addr) => IpAddr::from((addr.to_bits() >> 64 << 64).to_be_bytes()),
            addr => addr,
        })
    }
}

/// Whether a node that may have `connections_max` connections accepts another one from `host`.
/// `connections` counts all it has; `strangers` are those that were accepted, and whose peer is no
/// member that is known, with where each comes from.
pub(super) fn has_room(
    connections_max: usize,
    connections: usize,
    host: Option<Host>,
    strangers: impl Iterator<Item = Option<Host>>,
) -> bool {
    let most_of_host = (connections_max / 8).max(STRANGERS_MIN);
    // The usual case looks at nothing.
    if connections < most_of_host {
        return true;
    }
    let most = (connections_max / 2).max(STRANGERS_MIN);
    let (mut all, mut of_host) = (0, 0);
    for stranger in strangers {
        all += 1;
        of_host += usize::from(stranger == host);
    }
    all < most && of_host < most_of_host
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn host(number: u8) -> Option<Host> {
        Some(Host::of(Ipv4Addr::new(10, 0, 0, number).into()))
    }

    /// Connections that come from everywhere at once, until nobody is let in any more.
    fn let_in(connections_max: usize, hosts: u8, members: usize) -> Vec<Option<Host>> {
        let mut strangers = Vec::new();
        for _ in 0..connections_max {
            for number in 0..hosts {
                let (all, from) = (members + strangers.len(), host(number));
                if has_room(connections_max, all, from, strangers.iter().copied()) {
                    strangers.push(from);
                }
            }
        }
        strangers
    }

    #[test]
    fn s5_7_8_one_host_is_let_in_an_eighth_of_the_way() {
        assert_eq!(let_in(4_096, 1, 0).len(), 512);
        assert_eq!(let_in(4_096, 1, 1_000).len(), 512, "whoever else is there");
        assert_eq!(let_in(16, 1, 0).len(), 8);
    }

    #[test]
    fn s5_7_8_strangers_from_everywhere_leave_half_to_those_that_are_known() {
        let strangers = let_in(256, 100, 0);
        assert_eq!(strangers.len(), 128);
        for number in 0..100 {
            let of_host = strangers.iter().filter(|from| **from == host(number)).count();
            assert!(of_host == 1 || of_host == 2, "all hosts alike: {of_host}");
        }
        // Who was refused is let in when another one goes.
        let fewer = strangers[1..].iter().copied();
        assert!(has_room(256, 127, host(200), fewer));
    }

    #[test]
    fn a_host_has_many_addresses_of_ipv6_and_one_of_ipv4() {
        let six = |text: &str| Host::of(text.parse::<Ipv6Addr>().expect("an address").into());
        assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:2"));
        assert_ne!(six("2001:db8::1"), six("2001:db8:0:1::1"));
        assert_eq!(Some(six("::ffff:10.0.0.7")), host(7));
    }
}
