//! What reading the machine against its rules has shown, each a story that went wrong once.

use alloc::vec::Vec;

use bytes::Bytes;

use super::net::{Net, addr, id, secs};
use crate::id::Incarnation;
use crate::membership::tests::forge::Forge;
use crate::membership::{Config, MESSAGE_LEN_MAX, Plane, State};
use crate::wire::datagram::{Run, encode};
use crate::wire::update::{Accusers, Details, Update};

/// §4.4: the probe timer of a node that was alone is old because nobody was there, not because the
/// node slept.
#[test]
fn meeting_somebody_after_a_long_time_alone_is_no_pause() {
    let mut net = Net::new(1, Config::lan());
    net.start(0, &[0]);
    net.run_for(secs(3_600));
    net.start(1, &[0]);
    net.run_for(secs(5));
    assert!(net.is_converged());
    let (stats, awareness) = (net.hosts[0].machine.stats(), net.hosts[0].machine.awareness());
    assert_eq!((stats.pauses, awareness), (0, 0));
    // The same for a node that was left alone while its probe was under way.
    net.crash(1);
    net.run_for(secs(3_600));
    assert_eq!(net.hosts[0].machine.live_count(), 0);
    net.start(1, &[0]);
    net.run_for(secs(60));
    assert!(net.is_converged());
    assert_eq!(net.hosts[0].machine.stats().pauses, 0);
}

/// §4.7: everybody begins exchanges, also a node that was joined and joined nobody.
#[test]
fn the_first_node_begins_exchanges_too() {
    let mut net = Net::converged(2, Config::lan(), 3);
    net.run_for(secs(120));
    for host in 0..3 {
        assert!(net.hosts[host].machine.stats().syncs_equal > 0, "node {host} asks others");
    }
}

fn departure(net: &Net, subject: usize, age: u32) -> Update<'static> {
    let incarnation = Incarnation::new(9);
    let details = Details { incarnation, versions: 0x11, addr: addr(subject), metadata: b"" };
    Update {
        id: id(subject),
        epoch: net.hosts[0].machine.local().epoch,
        incarnation,
        state: State::Left,
        accusers: Accusers::new(),
        age: Some(age),
        details: Some(details),
    }
}

/// §4.4: a tombstone that is told to be older than any is kept is no timer that the node slept
/// through.
#[test]
fn a_departure_of_any_age_is_no_pause() {
    for age in [0, 59, 60, 300, u32::MAX] {
        let config = Config { tombstone_lifetime: secs(60), ..Config::lan() };
        let mut net = Net::converged(3, config, 3);
        net.run_for(secs(600));
        let about = Update { epoch: net.hosts[2].machine.local().epoch, ..departure(&net, 2, age) };
        let bytes = Forge::of(&net, 1).payload(|bytes| encode::update(bytes, &about));
        net.inject(0, addr(1), &bytes);
        net.run_for(secs(1));
        assert!(net.told(0, 2).contains(&"left"));
        assert_eq!(net.hosts[0].machine.stats().pauses, 0, "age {age}");
    }
}

/// §4.9: a node whose clock began a moment ago does not take a tombstone for young.
#[test]
fn an_old_tombstone_stays_old_at_a_young_node() {
    let mut net = Net::converged(4, Config::lan(), 2);
    for (subject, age, is_kept) in [(7, 3_600, true), (8, 24 * 3_600, false), (9, u32::MAX, false)]
    {
        let bytes = Forge::of(&net, 1)
            .payload(|bytes| encode::update(bytes, &departure(&net, subject, age)));
        net.inject(0, addr(1), &bytes);
        assert_eq!(net.hosts[0].machine.get(id(subject)).is_some(), is_kept, "age {age}");
    }
}

/// B2: what is said of a suspect beside a payload is left out where it would not fit.
/// §4.5.2: what is thought of the suspect goes along, and must fit.
#[test]
fn a_payload_to_a_suspect_keeps_to_the_mtu() {
    let mut net = Net::converged(5, Config::lan(), 3);
    let target = net.hosts[1].machine.local();
    let bytes =
        Forge::of(&net, 2).accusation(target.id, target.epoch, target.incarnation, &[id(2)]);
    net.cut.insert((1, 0));
    net.inject(0, addr(2), &bytes);
    assert_eq!(net.hosts[0].machine.get(id(1)).unwrap().state, State::Suspect);
    net.tap = Some(alloc::vec::Vec::new());
    for len in 1_200..1_400 {
        let payload = Bytes::from(alloc::vec![7; len]);
        net.with(0, |machine, _| machine.send_to(id(1), payload)).unwrap();
    }
    let sent = net.tap.take().unwrap();
    assert_eq!(sent.len(), 200);
    for (_, plane, bytes) in sent {
        assert!(plane == Plane::Stream || bytes.len() <= 1_400, "{} bytes", bytes.len());
    }
}

/// Payloads are given out up to the length that a sender may send, and no longer.
#[test]
fn longer_payloads_than_may_be_sent_are_refused() {
    let mut net = Net::converged(7, Config::lan(), 2);
    net.hosts[0].events.clear();
    let own = net.hosts[0].machine.local();
    let target = Run { id: own.id, epoch: own.epoch };
    for (len, given_out) in [(MESSAGE_LEN_MAX, 1), (MESSAGE_LEN_MAX + 1, 1), (60_000, 1)] {
        let payload = alloc::vec![7; len];
        let bytes = Forge::of(&net, 1).payload(|bytes| encode::payload(bytes, target, &payload));
        net.inject(0, addr(1), &bytes);
        let messages = net.hosts[0].events.iter();
        let messages =
            messages.filter(|(_, event)| matches!(event, crate::membership::Event::Message { .. }));
        assert_eq!(messages.count(), given_out, "{len} bytes");
    }
}

/// §4.6: what a stranger gets is no longer than what it sent, however many questions it puts into
/// it.
#[test]
fn a_stranger_gets_one_answer_to_a_payload() {
    let mut net = Net::converged(8, Config::lan(), 2);
    let forge = Forge::of(&net, 1);
    let own = net.hosts[0].machine.local();
    let target = Run { id: own.id, epoch: own.epoch };
    let pings = |count: u32| {
        forge.payload(|bytes| (0..count).for_each(|seq| encode::ping(bytes, seq, target)))
    };
    let nobody = Run { id: id(9), epoch: own.epoch };
    let relays =
        forge.payload(|bytes| (0..50).for_each(|seq| encode::ping_req(bytes, seq, nobody, 500)));
    for (from, bytes, answers) in
        [(addr(7), pings(50), 1), (addr(7), relays, 1), (addr(1), pings(50), 50)]
    {
        net.tap = Some(Vec::new());
        net.inject(0, from, &bytes);
        let sent = net.tap.take().unwrap();
        let len: usize = sent.iter().map(|(_, _, bytes)| bytes.len()).sum();
        assert_eq!(sent.len(), answers);
        assert!(from == addr(1) || len <= bytes.len(), "{len} bytes answer {}", bytes.len());
    }
}

/// A claim about node 1, with details at its own address.
fn claim_of_1<'a>(
    net: &Net,
    state: State,
    (incarnation, of_details): (u32, u32),
    accusers: &[u64],
    metadata: &'a [u8],
) -> Update<'a> {
    let about = net.hosts[1].machine.local();
    Update {
        id: about.id,
        epoch: about.epoch,
        incarnation: Incarnation::new(incarnation),
        state,
        accusers: accusers.iter().map(|&accuser| crate::id::NodeId::new(accuser)).collect(),
        age: None,
        details: Some(Details {
            incarnation: Incarnation::new(of_details),
            versions: 0x11,
            addr: about.addr,
            metadata,
        }),
    }
}

/// Tells node 0 so, as node 2 would.
fn told(net: &mut Net, update: &Update<'_>) {
    let bytes = Forge::of(net, 2).payload(|bytes| encode::update(bytes, update));
    net.inject(0, addr(2), &bytes);
}

/// §4.2: what a member says of itself in one incarnation does not change; a claim that says
/// otherwise brings its rank alone.
#[test]
fn details_of_the_same_incarnation_do_not_replace_those_known() {
    let mut net = Net::converged(3, Config::lan(), 3);
    let known = net.hosts[0].machine.get(id(1)).unwrap();
    let at = known.incarnation.get();
    let otherwise = claim_of_1(&net, State::Suspect, (at, at), &[2], b"\x01a\x01b");
    told(&mut net, &otherwise);
    let now = net.hosts[0].machine.get(id(1)).unwrap();
    assert_eq!((now.state, &now.metadata), (State::Suspect, &known.metadata));
    // One that is later holds.
    let later = claim_of_1(&net, State::Alive, (at + 1, at + 1), &[], b"\x01a\x01b");
    told(&mut net, &later);
    assert_eq!(net.hosts[0].machine.get(id(1)).unwrap().metadata.get("a"), Some("b"));
}

/// §4.2: a claim that is refused for its details is refused whole, its accusers with it.
#[test]
fn a_refused_claim_adds_no_accusers() {
    let mut net = Net::converged(4, Config::lan(), 5);
    let at = net.hosts[0].machine.get(id(1)).unwrap().incarnation.get();
    // Suspected in a later incarnation, whose details are not known yet.
    let accused =
        Update { details: None, ..claim_of_1(&net, State::Suspect, (at + 1, at), &[2], b"") };
    told(&mut net, &accused);
    let broken = claim_of_1(&net, State::Suspect, (at + 1, at + 1), &[3], b"\x01b\x00\x01a\x00");
    let before = net.hosts[0].machine.poll_timeout();
    let applied = net.hosts[0].machine.stats().updates_applied;
    told(&mut net, &broken);
    let stats = net.hosts[0].machine.stats();
    assert_eq!((stats.updates_applied, stats.updates_refused), (applied, 1));
    assert_eq!(net.hosts[0].machine.poll_timeout(), before);
    // The same accuser in a sound claim counts.
    let sound = claim_of_1(&net, State::Suspect, (at + 1, at + 1), &[3], b"");
    told(&mut net, &sound);
    assert_eq!(net.hosts[0].machine.stats().updates_applied, applied + 1);
}

/// §4.2, §4.5.1: a death that is doubted, of a life that is suspected already, still brings the
/// details that were missing.
#[test]
fn later_details_beside_a_doubted_death_hold() {
    let mut net = Net::converged(4, Config::lan(), 7);
    let at = net.hosts[0].machine.get(id(1)).unwrap().incarnation.get();
    let accused =
        Update { details: None, ..claim_of_1(&net, State::Suspect, (at + 1, at), &[2], b"") };
    told(&mut net, &accused);
    let death = claim_of_1(&net, State::Dead, (at + 1, at + 1), &[], b"\x01a\x01b");
    told(&mut net, &death);
    let now = net.hosts[0].machine.get(id(1)).unwrap();
    assert_eq!((now.state, now.metadata.get("a")), (State::Suspect, Some("b")));
}
