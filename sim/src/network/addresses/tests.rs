use std::time::Duration;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn odd(host: u32, odd: Addresses) -> AddressBook {
    let mut book = AddressBook::new(300);
    book.begin(7, &Fault::Addresses { node: host, odd });
    book
}

#[test]
fn an_address_is_its_owners_in_either_family_and_mapped() {
    let mut book = AddressBook::new(300);
    book.is_v6(299);
    for host in [0, 1, 255, 256, 299] {
        let home = book.home(host, 7_000);
        assert_eq!(home.is_ipv6(), host == 299, "{home}");
        assert_eq!((book.owner(home), book.host_at(0, home)), (Some(host), Some(host)));
    }
    let mapped: SocketAddr = "[::ffff:10.0.1.0]:7000".parse().expect("an address");
    assert_eq!(book.host_at(0, mapped), Some(256));
    for nobodys in
        ["10.0.1.43:1", "10.0.1.44:1", "9.0.0.1:1", "[fd00::1]:1", "12.0.0.1:1", "172.16.0.1:1"]
    {
        assert_eq!(book.host_at(0, nobodys.parse().expect("an address")), None, "{nobodys}");
    }
}

#[test]
fn a_translator_changes_its_address_and_the_one_before_still_works() {
    let mut book = odd(3, Addresses::Nat(Duration::from_secs(10)));
    let home = book.home(3, 7_000);
    let at = |book: &AddressBook, second: u64| book.source(second * SECOND, 3, home).0;
    let first = at(&book, 5);
    assert!(first != home && first != at(&book, 15) && first.port() == 7_000);
    for (second, reached) in [(5, Some(3)), (15, Some(3)), (25, None), (165, Some(3))] {
        assert_eq!(book.host_at(second * SECOND, first), reached, "{second} s");
    }
    assert_eq!(book.host_at(0, home), Some(3), "the advertised address works all the time");
    assert_eq!(book.source(0, 4, home), (home, None), "of that host alone");
    book.end(7);
    assert_eq!((at(&book, 5), book.host_at(5, first)), (home, None));
}

#[test]
fn a_host_is_reached_where_it_is() {
    let moved = odd(3, Addresses::Moves);
    let home = moved.home(3, 7_000);
    let (elsewhere, why) = moved.source(0, 3, home);
    assert_eq!(why, Some("host_moves"));
    assert_eq!((moved.host_at(0, home), moved.host_at(0, elsewhere)), (None, Some(3)));
    let other = odd(3, Addresses::Other);
    let (elsewhere, why) = other.source(0, 3, home);
    assert_eq!(why, Some("other_address"));
    assert_eq!((other.host_at(0, home), other.host_at(0, elsewhere)), (Some(3), Some(3)));
    let mut taken = AddressBook::new(5);
    taken.begin(1, &Fault::TakeOver { node: 3, by: 4 });
    assert_eq!((taken.host_at(0, home), taken.owner(home)), (Some(4), Some(3)));
    taken.end(1);
    assert_eq!(taken.host_at(0, home), Some(3));
}

#[test]
fn a_socket_for_both_families_sees_mapped_sources() {
    let book = odd(3, Addresses::Mapped);
    let from = book.home(1, 7_000);
    assert_eq!(
        book.seen_by(3, from),
        ("[::ffff:10.0.0.1]:7000".parse().expect("an address"), true)
    );
    assert_eq!(book.seen_by(2, from), (from, false));
}
