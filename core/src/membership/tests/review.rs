//! What a second reading of the machine against `docs/protocol.md` has found, each case by the rule it touches.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::forge::Forge;
use super::net::{Net, addr, id, millis, secs};
use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::{Config, Event, MESSAGE_LEN_MAX, Plane, Planes, STREAM_LEN_MAX, State};
use crate::wire::datagram::{self, Header, Message, Next, encode};
use crate::wire::update::{Accusers, Details, Update};
use crate::wire::Reader;

fn messages(bytes: &[u8]) -> Vec<Message<'_>> {
    let mut reader = Reader::new(bytes);
    Header::decode(&mut reader).unwrap();
    core::iter::from_fn(|| match datagram::next(&mut reader) {
        Next::Message(message) => Some(message),
        _ => None,
    })
    .collect()
}

/// A claim that `about` is gone for `age` seconds, from `at`.
fn departure(about: NodeId, epoch: Epoch, state: State, at: usize, age: u32) -> Update<'static> {
    let incarnation = Incarnation::ZERO;
    let details = Details { incarnation, versions: 0x11, addr: addr(at), metadata: b"" };
    Update { id: about, epoch, incarnation, state, accusers: Accusers::new(), age: Some(age), details: Some(details) }
}

/// §2.1: a speaker whose own tombstone is pushed out by the payload it sends is no reason to panic.
#[test]
fn a_payload_that_makes_its_speaker_forgotten_is_survived() {
    let config = Config { tombstones_max: 1, ..Config::lan() };
    let mut net = Net::converged(1, config, 3);
    net.checks_folds = false;
    let own = net.hosts[0].machine.local();
    let forge = Forge::of(&net, 2);
    let gone = departure(id(2), forge.header.epoch, State::Left, 2, 0);
    let bytes = forge.payload(|bytes| encode::update(bytes, &gone));
    net.inject(0, addr(2), &bytes);
    let another = departure(NodeId::new(99), Epoch::new(9), State::Left, 99, 0);
    let accusation = Update {
        id: own.id,
        epoch: own.epoch,
        incarnation: own.incarnation,
        state: State::Suspect,
        accusers: Accusers::new(),
        age: None,
        details: None,
    };
    let bytes = forge.payload(|bytes| {
        encode::update(bytes, &another);
        encode::update(bytes, &accusation);
    });
    net.inject(0, addr(2), &bytes);
    assert_eq!(net.hosts[0].machine.get(id(2)), None, "forgotten");
    assert_eq!(net.hosts[0].machine.local().incarnation, Incarnation::new(1), "refuted");
}
