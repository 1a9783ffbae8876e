//! A cluster of which some nodes have the secret (`docs/protocol.md` §2.10).

use super::*;

fn transitional(id: u64) -> Seal<RustCrypto> {
    let mut seal = node(id, 0);
    seal.set_mode(Mode::Transitional);
    seal
}

/// What node `from` sends to node `to`: its first byte says whether it is sealed.
fn sent(from: &mut Seal<RustCrypto>, to: u64, secs: u64) -> Vec<u8> {
    let mut datagram = payload(1, secs, 20);
    assert!(from.seal(NodeId::new(to), &mut datagram));
    datagram
}

#[test]
fn s2_10_2_both_kinds_are_read_while_some_have_no_secret() {
    let (mut required, mut open_minded) = (node(2, 0), transitional(2));
    let plain = payload(1, 1, 20);
    assert_eq!(open(&mut required, &plain, 1), Err(Refusal::Plain));
    let opened = open(&mut open_minded, &plain, 1).expect("it is read");
    assert!(!opened.is_sealed() && opened.is_proven());
    assert_eq!(opened.payload(&plain), plain);
    let mut one = node(1, 0);
    let opened = open(&mut open_minded, &sealed(&mut one, 2, 1), 1).expect("it is read");
    assert!(opened.is_sealed());
    // It is a member with the secret, not a door for everything.
    let mut damaged = sealed(&mut one, 2, 1);
    damaged[40] ^= 1;
    assert_eq!(open(&mut open_minded, &damaged, 1), Err(Refusal::Forged));
    let stats = open_minded.stats();
    assert_eq!((stats.plain_in, stats.opened, stats.plain), (1, 1, 0));
    open_minded.set_mode(Mode::Required);
    assert_eq!(open(&mut open_minded, &plain, 1), Err(Refusal::Plain));
}

#[test]
fn s2_10_2_what_is_sent_is_sealed_for_those_that_encrypt() {
    let mut one = transitional(1);
    let (two, key) = (NodeId::new(2), one.key_in_use());
    assert_eq!(sent(&mut one, 2, 1)[0], 1, "nothing is known of it");
    one.handle_member(two, Epoch::new(5), None);
    assert_eq!(sent(&mut one, 2, 1)[0], 1, "it has no secret");
    one.handle_member(two, Epoch::new(5), Some(KeyId::new(9)));
    assert_eq!(sent(&mut one, 2, 1)[0], 1, "it has another secret");
    one.handle_member(two, Epoch::new(5), Some(key));
    assert_eq!(sent(&mut one, 2, 1)[0], 0x81);
    one.handle_gone(two);
    assert_eq!(sent(&mut one, 2, 1)[0], 0x81, "it is told that it died, if it did not");
    one.handle_member(two, Epoch::new(6), None);
    assert_eq!(sent(&mut one, 2, 1)[0], 1, "it was started again without the secret");
    assert_eq!((one.stats().plain_out, one.stats().sealed), (4, 2));
    one.set_mode(Mode::Required);
    assert_eq!(sent(&mut one, 2, 1)[0], 0x81, "whatever it is");
}

/// Who seals is answered so, before anything is heard of it as a member.
#[test]
fn s2_10_1_who_has_been_heard_encrypts() {
    let (mut one, mut two) = (node(1, 0), transitional(2));
    let id = NodeId::new(1);
    two.handle_member(id, Epoch::new(0), None);
    assert_eq!(two.encrypts(id), Some(false));
    // Its epoch is 1: a later run than the one that is held.
    assert!(open(&mut two, &sealed(&mut one, 2, 1), 1).is_ok());
    assert_eq!(two.encrypts(id), Some(true));
    two.handle_member(id, Epoch::new(1), None);
    assert_eq!(two.encrypts(id), Some(true), "nobody takes that back for it");
    two.handle_member(id, Epoch::new(2), None);
    assert_eq!(two.encrypts(id), Some(false));
    // A stranger, and one that could not be told from a replay until it was proven.
    assert_eq!(two.encrypts(NodeId::new(3)), None);
    let mut late = transitional(2);
    let old = sealed(&mut one, 2, 1);
    let opened = open(&mut late, &old, 100).expect("its tag is good");
    assert!(!opened.is_proven());
    assert_eq!(late.encrypts(id), None);
    late.prove(&opened);
    assert_eq!(late.encrypts(id), Some(true));
}
