//! What a second reading of the machine against `docs/protocol.md` has found, each case by the rule
//! it touches.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::forge::Forge;
use super::net::{Net, addr, id, millis, secs};
use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::{
    Config, MESSAGE_LEN_MAX, Membership, Metadata, Plane, Planes, STREAM_LEN_MAX, State, StreamPeer,
};
use crate::wire::Reader;
use crate::wire::datagram::{self, Header, Message, Next, Run, encode};
use crate::wire::update::{Accusers, Details, Update};

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
    Update {
        id: about,
        epoch,
        incarnation,
        state,
        accusers: Accusers::new(),
        age: Some(age),
        details: Some(details),
    }
}

/// §2.1: a speaker whose own tombstone is pushed out by the payload it sends is no reason to panic.
#[test]
fn a_payload_that_makes_its_speaker_forgotten_is_survived() {
    let config = Config { tombstones_max: 16, ..Config::lan() };
    let mut net = Net::converged(1, config, 3);
    net.checks_folds = false;
    let own = net.hosts[0].machine.local();
    let forge = Forge::of(&net, 2);
    let gone = departure(id(2), forge.header.epoch, State::Left, 2, 0);
    let bytes = forge.payload(|bytes| encode::update(bytes, &gone));
    net.inject(0, addr(2), &bytes);
    let others =
        (0..16).map(|count| departure(NodeId::new(99 + count), Epoch::new(9), State::Left, 99, 0));
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
        others.for_each(|another| encode::update(bytes, &another));
        encode::update(bytes, &accusation);
    });
    net.inject(0, addr(2), &bytes);
    assert_eq!(net.hosts[0].machine.get(id(2)), None, "forgotten");
    assert_eq!(net.hosts[0].machine.local().incarnation, Incarnation::new(1), "refuted");
}

/// §2.3, B2: what goes along with a long message does not make it too long.
#[test]
fn a_long_message_to_a_suspect_keeps_to_the_datagram() {
    let mut net = Net::converged(2, Config::lan(), 5);
    let subject = net.hosts[3].machine.local();
    let accusers: Vec<NodeId> = [1, 2, 4].map(id).into();
    let accusation =
        Forge::of(&net, 1).accusation(subject.id, subject.epoch, subject.incarnation, &accusers);
    let now = net.clock();
    let machine = &mut net.hosts[0].machine;
    machine.handle_datagram(now, addr(1), &accusation);
    let mut buf = Vec::new();
    while machine.poll_transmit(now, &mut buf).is_some() {}
    let room = machine.config().datagram_len_max - 42;
    for len in room - 600..=room + 1 {
        machine.send_to(subject.id, Bytes::from(vec![7; len])).unwrap();
        while let Some(sent) = machine.poll_transmit(now, &mut buf) {
            assert!(
                buf.len() <= machine.config().datagram_len_max || sent.plane == Plane::Stream,
                "{len}"
            );
        }
    }
    // A message that waits for the member that now accuses this node, which would answer it on that
    // message.
    for len in [room - 100, room, room + 1, MESSAGE_LEN_MAX] {
        let own = machine.local();
        let accused = Forge { header: Forge::of_member(&subject, "chinwag") }.accusation(
            own.id,
            own.epoch,
            own.incarnation,
            &[subject.id],
        );
        machine.send_to(subject.id, Bytes::from(vec![7; len])).unwrap();
        machine.handle_datagram(now, subject.addr, &accused);
        let mut is_answered = false;
        while let Some(sent) = machine.poll_transmit(now, &mut buf) {
            assert!(
                buf.len() <= machine.config().datagram_len_max || sent.plane == Plane::Stream,
                "{len}"
            );
            let own = machine.local();
            is_answered |= messages(&buf).iter().any(|message| {
                matches!(message, Message::Update(update) if update.id == own.id && update.incarnation == own.incarnation)
            });
        }
        assert!(is_answered, "{len}: the accuser hears the refutation");
    }
}

/// §2.3: a stream payload keeps to one frame, however long datagrams may be.
#[test]
fn rumours_do_not_make_a_stream_payload_too_long() {
    let config = Config { planes: Planes::StreamOnly, datagram_len_max: 65_507, ..Config::lan() };
    let mut net = Net::converged(3, config, 2);
    let forge = Forge::of(&net, 1);
    let now = net.clock();
    let machine = &mut net.hosts[0].machine;
    let mut forge = forge;
    for count in 0..3_000 {
        let id = NodeId::new(1_000 + count as u64);
        let bytes = forge.alive(id, Epoch::new(5), Incarnation::ZERO, addr(count));
        machine.handle_datagram(now, addr(1), &bytes);
    }
    let now = crate::time::Now { mono: now.mono + millis(200), ..now };
    machine.handle_timeout(now);
    let mut buf = Vec::new();
    while let Some(sent) = machine.poll_transmit(now, &mut buf) {
        assert_eq!(sent.plane, Plane::Stream);
        assert!(buf.len() <= STREAM_LEN_MAX, "{}", buf.len());
    }
}

/// §4.4.1: a node that was alone for long was not asleep.
#[test]
fn a_node_that_waited_alone_was_not_asleep() {
    let mut net = Net::new(4, Config::lan());
    net.start(0, &[0]);
    net.run_for(secs(600));
    net.start(1, &[0]);
    assert!(net.run_until(secs(5), Net::is_converged));
    net.run_for(secs(10));
    assert_eq!(net.hosts[0].machine.stats().pauses, 0);
    // Nor was one that was alone for a while in between.
    net.crash(1);
    net.run_for(secs(600));
    net.start(1, &[0]);
    net.run_for(secs(10));
    assert!(net.is_converged());
    assert_eq!((net.hosts[0].machine.stats().pauses, net.hosts[0].machine.awareness()), (0, 0));
}

/// §4.4.1, §4.1: what a peer says of the past does not make a node think it was asleep.
#[test]
fn a_told_age_is_no_pause() {
    let mut net = Net::new(5, Config::lan());
    // The node's clock has run for longer than the ages that it is told.
    net.now = net.now + secs(30 * 24 * 3_600);
    (0..5).for_each(|host| net.start(host, &[0]));
    assert!(net.run_until(secs(10), Net::is_converged));
    net.crash(4);
    assert!(net.run_until(secs(20), |net| net.told(0, 4).contains(&"suspected")));
    let forge = Forge::of(&net, 1);
    for (member, age) in [(3, 25 * 3_600), (2, u32::MAX)] {
        let gone = departure(
            id(member),
            net.hosts[member].machine.local().epoch,
            State::Left,
            member,
            age,
        );
        let bytes = forge.payload(|bytes| encode::update(bytes, &gone));
        net.inject(0, addr(1), &bytes);
    }
    net.run_for(millis(10));
    assert_eq!(net.hosts[0].machine.stats().pauses, 0);
    assert!(net.run_until(secs(30), |net| net.told(0, 4).contains(&"died")), "suspicions run on");
}

/// §4.1: the age of a tombstone travels, also to a node that has not run for as long.
#[test]
fn a_tombstone_older_than_its_holder_keeps_its_age() {
    let config = Config { tombstone_lifetime: secs(3_600), ..Config::lan() };
    let mut net = Net::converged(6, config, 3);
    let forge = Forge::of(&net, 1);
    for (member, age) in [(90, 3_000), (91, 4_000)] {
        let gone = departure(NodeId::new(member), Epoch::new(1), State::Dead, 90, age);
        let bytes = forge.payload(|bytes| encode::update(bytes, &gone));
        net.inject(0, addr(1), &bytes);
    }
    assert!(net.hosts[0].machine.get(NodeId::new(90)).is_some());
    assert_eq!(net.hosts[0].machine.get(NodeId::new(91)), None, "past its lifetime");
    net.run_for(secs(590));
    assert!(net.hosts[0].machine.get(NodeId::new(90)).is_some());
    net.run_for(secs(20));
    assert_eq!(net.hosts[0].machine.get(NodeId::new(90)), None, "its lifetime did not begin again");
}

/// §4.5.1: the doubt that a told death began, heard second-hand, is no accusation: the death does
/// not end it.
#[test]
fn a_doubt_told_on_is_no_accusation() {
    let mut net = Net::converged(7, Config::lan(), 5);
    let subject = net.hosts[3].machine.local();
    net.cut.insert((0, 3));
    let doubt = Forge::of(&net, 2).accusation(subject.id, subject.epoch, subject.incarnation, &[]);
    net.inject(0, addr(2), &doubt);
    let death =
        Forge::of(&net, 1).claim(subject.id, subject.epoch, subject.incarnation, State::Dead, None);
    net.inject(0, addr(1), &death);
    assert_eq!(net.hosts[0].machine.get(subject.id).unwrap().state, State::Suspect);
}

/// §4.5.1: two halves that think each other dead bury nobody when they meet again, whichever way
/// the word goes round.
#[test]
fn healed_halves_bury_nobody() {
    for seed in 0..5 {
        let mut net = Net::converged(seed, Config::lan(), 12);
        let (a, b): (Vec<usize>, Vec<usize>) = (0..12).partition(|host| host % 2 == 0);
        net.partition(&a, &b);
        net.run_for(secs(120));
        let before = net.count_told("died");
        net.cut.clear();
        assert!(net.run_until(secs(30), Net::is_converged));
        net.run_for(secs(60));
        assert_eq!(net.count_told("died"), before, "seed {seed}");
    }
}

/// §4.8.2, §4.5.1: the dead and the doubted are told so with Lifeguard's Buddy off, too.
#[test]
fn the_dead_are_told_without_buddy() {
    let mut net = Net::converged(8, Config::lan().without_lifeguard(), 6);
    for host in 0..6 {
        net.hosts[host].seeds.clear();
    }
    net.partition(&[0, 1, 2], &[3, 4, 5]);
    net.run_for(secs(600));
    assert_eq!(net.hosts[0].machine.live_count(), 2);
    net.cut.clear();
    assert!(net.run_until(secs(30), Net::is_converged));
}

/// §4.7: a node that was found, and has never asked anybody, exchanges tables too.
#[test]
fn a_node_that_was_found_exchanges_too() {
    let mut net = Net::converged(9, Config::lan(), 4);
    net.run_for(secs(120));
    for host in &net.hosts {
        assert!(host.machine.stats().syncs >= 3, "{}", host.machine.stats().syncs);
    }
}

/// §4.7: a difference that no exchange can settle does not make exchanges go on without pause.
#[test]
fn a_lasting_difference_is_not_asked_about_without_end() {
    let mut net = Net::converged(10, Config::lan(), 4);
    // Node 0 knows of a later run of node 3 elsewhere, and so does everybody else; node 3 does not
    // follow (§4.9.3).
    let rival = Epoch::at(net.clock().wall);
    let claim = Forge::of(&net, 1).alive(id(3), rival, Incarnation::ZERO, addr(50));
    for host in 0..3 {
        net.inject(host, addr(1), &claim);
    }
    // The rival answers whatever it is asked: its own machine.
    net.start_as(4, id(3), addr(50), rival, &[0]);
    net.run_for(secs(60));
    let before: Vec<u64> = net.hosts.iter().map(|host| host.machine.stats().syncs).collect();
    net.run_for(secs(60));
    for (host, before) in net.hosts.iter().zip(before).take(4) {
        let grown = host.machine.stats().syncs - before;
        assert!(grown <= 12, "{grown} exchanges in a minute");
    }
}

/// §4.3.1: a round trip that is longer than the wait is measured too, or the wait would never grow
/// to it.
#[test]
fn a_longer_round_trip_is_learnt() {
    let mut net = Net::converged(11, Config { stream_pings: false, ..Config::lan() }, 2);
    net.run_for(secs(10));
    net.cut.insert((1, 0));
    let lan = Config::lan();
    let wait = |net: &Net| {
        net.hosts[0].machine.round_trip.timeout(lan.probe_timeout_min, lan.probe_timeout_max)
    };
    assert_eq!(wait(&net), millis(100));
    let forge = Forge::of(&net, 1);
    for _ in 0..20 {
        net.tap = Some(Vec::new());
        let pinged = |net: &Net| {
            net.tap.as_ref().unwrap().iter().filter(|(from, ..)| *from == 0).find_map(
                |(_, _, bytes)| {
                    messages(bytes).iter().find_map(|message| match message {
                        Message::Ping { seq, target } => Some((*seq, *target)),
                        _ => None,
                    })
                },
            )
        };
        assert!(net.run_until(secs(3), |net| pinged(net).is_some()));
        let (seq, subject) = pinged(&net).unwrap();
        net.run_for(millis(250));
        let ack = forge.payload(|bytes| encode::ack(bytes, seq, subject));
        net.inject(0, addr(1), &ack);
    }
    assert!(wait(&net) >= millis(250), "{:?}", wait(&net));
}

/// §4.11: with nobody left to tell, a farewell is over.
#[test]
fn a_whole_cluster_can_leave_at_once() {
    let mut late = 0;
    for seed in 0..20 {
        let mut net = Net::converged(seed, Config::lan(), 6);
        for host in 0..6 {
            net.with(host, |machine, now| machine.leave(now));
            net.run_for(millis(1));
        }
        net.run_for(secs(2));
        late += net.hosts.iter().filter(|host| !host.machine.leave.is_done()).count();
        net.run_for(secs(4));
        assert!(net.hosts.iter().all(|host| host.machine.leave.is_done()));
        assert_eq!(net.count_told("died"), 0);
    }
    // Whoever has not heard that a member has gone silent in good order asks it until the time is
    // over.
    assert!(late <= 6, "{late} of 120 waited for nobody");
}

/// A configuration that `validate` takes never makes arithmetic overflow.
#[test]
fn the_longest_times_do_not_overflow() {
    let most = Duration::MAX;
    let config = Config {
        sync_interval: most,
        sync_interval_min: most,
        sync_timeout: most,
        join_retry_min: most,
        join_retry_max: most,
        reconnect_interval: most,
        seed_interval: most,
        gossip_interval: most,
        tombstone_lifetime: most,
        leave_timeout: most,
        ..Config::lan()
    };
    assert_eq!(config.validate(), Ok(()));
    let mut net = Net::new(13, config);
    net.start(0, &[0]);
    net.start(1, &[0]);
    net.start(2, &[0, 1]);
    net.run_for(secs(30));
    assert!(net.hosts[0].machine.is_joined());
    net.crash(1);
    net.run_for(secs(60));
    net.with(0, |machine, now| machine.leave(now));
    net.run_for(secs(60));
}

/// §4.9.3: a rival that is suspected is a rival still; a node does not take the id over from it.
#[test]
fn a_suspected_rival_is_not_outbid() {
    let mut net = Net::converged(14, Config::lan(), 3);
    let own = net.hosts[0].machine.local();
    let later = Epoch::new(own.epoch.get() + 1_000);
    let claim =
        Forge::of(&net, 1).claim(own.id, later, Incarnation::ZERO, State::Suspect, Some(addr(40)));
    net.inject(0, addr(1), &claim);
    assert_eq!(net.hosts[0].machine.local().epoch, own.epoch);
    assert!(net.told(0, 0).contains(&"conflict"));
    // Once it is dead, the node moves past it.
    let claim =
        Forge::of(&net, 1).claim(own.id, later, Incarnation::ZERO, State::Dead, Some(addr(40)));
    net.inject(0, addr(1), &claim);
    assert_eq!(Some(net.hosts[0].machine.local().epoch), later.next());
}

/// §4.5.1: the death of a later run that this node has not met is a told death too.
#[test]
fn a_told_death_of_a_later_run_is_no_verdict() {
    let mut net = Net::converged(15, Config::lan(), 4);
    let old = net.hosts[3].machine.local();
    let later = Epoch::new(old.epoch.get() + 1);
    let death =
        Forge::of(&net, 1).claim(id(3), later, Incarnation::ZERO, State::Dead, Some(addr(3)));
    net.inject(0, addr(1), &death);
    assert_eq!(net.hosts[0].machine.get(id(3)).unwrap().state, State::Suspect);
    net.run_for(secs(30));
    assert_eq!(net.count_told("died"), 0, "it is told, and moves past it");
    assert!(net.is_converged());
}

/// §4.6: payloads of users do not hold up what keeps the cluster together.
#[test]
fn broadcasts_do_not_hold_up_refutations() {
    let mut net = Net::converged(16, Config::lan(), 20);
    let payload = vec![1; 1_024];
    for _ in 0..200 {
        net.with(0, |machine, now| machine.broadcast(now, &payload).unwrap());
    }
    let subject = net.hosts[0].machine.local();
    let bytes = Forge::of(&net, 1).claim(
        subject.id,
        subject.epoch,
        subject.incarnation,
        State::Suspect,
        None,
    );
    net.inject(0, addr(1), &bytes);
    assert!(net.run_until(secs(2), |net| (1..20).all(|host| {
        net.hosts[host].machine.get(subject.id).unwrap().incarnation == Incarnation::new(1)
    })));
}

/// §4.2: a later epoch is believed only with details; without, there is nowhere to reach it.
#[test]
fn a_later_epoch_without_details_is_not_taken() {
    let mut net = Net::converged(17, Config::lan(), 3);
    let before = net.hosts[0].machine.get(id(2)).unwrap();
    for state in [State::Suspect, State::Dead, State::Left] {
        let later = Epoch::new(before.epoch.get() + 1);
        let bytes = Forge::of(&net, 1).claim(id(2), later, Incarnation::ZERO, state, None);
        net.inject(0, addr(1), &bytes);
        assert_eq!(net.hosts[0].machine.get(id(2)).unwrap(), before);
    }
}

/// The ping under way from host 0, as the tap has it: sequence number and target.
fn ping_of_host_0(net: &Net) -> Option<(u32, Run)> {
    net.tap.as_ref()?.iter().filter(|(from, ..)| *from == 0).find_map(|(_, _, bytes)| {
        messages(bytes).iter().find_map(|message| match message {
            Message::Ping { seq, target } => Some((*seq, *target)),
            _ => None,
        })
    })
}

/// §4.3: word of a later life, heard while a round is under way, is as good as an answer.
#[test]
fn a_later_life_heard_meanwhile_is_not_accused() {
    let mut net = Net::converged(18, Config { stream_pings: false, ..Config::lan() }, 2);
    net.run_for(secs(10));
    net.cut.insert((1, 0));
    net.tap = Some(Vec::new());
    assert!(net.run_until(secs(3), |net| ping_of_host_0(net).is_some()));
    net.run_for(millis(500));
    let subject = net.hosts[1].machine.local();
    let bytes = Forge::of(&net, 1).alive(subject.id, subject.epoch, Incarnation::new(1), addr(1));
    net.inject(0, addr(1), &bytes);
    net.run_for(millis(600));
    assert_eq!(net.hosts[0].machine.stats().probes_failed, 1);
    assert_eq!(net.hosts[0].machine.get(id(1)).unwrap().state, State::Alive);
    net.run_for(millis(1_000));
    assert_eq!(net.hosts[0].machine.get(id(1)).unwrap().state, State::Suspect, "by the next round");
}

/// §4.3: an ack with the right number from a member that was not asked saves nobody.
#[test]
fn an_ack_from_somebody_else_does_not_count() {
    let mut net = Net::converged(19, Config { stream_pings: false, ..Config::lan() }, 3);
    net.run_for(secs(10));
    net.crash(2);
    let target = Run { id: id(2), epoch: net.hosts[2].machine.local().epoch };
    let is_on_trial = |net: &Net| ping_of_host_0(net).is_some_and(|(_, asked)| asked == target);
    for _ in 0..10 {
        net.tap = Some(Vec::new());
        if net.run_until(millis(1_000), is_on_trial) {
            break;
        }
    }
    let (seq, subject) = ping_of_host_0(&net).unwrap();
    assert_eq!(subject, target);
    let before = net.hosts[0].machine.stats().acks_unmatched;
    let ack = Forge::of(&net, 1).payload(|bytes| encode::ack(bytes, seq, subject));
    net.inject(0, addr(1), &ack);
    assert_eq!(net.hosts[0].machine.stats().acks_unmatched, before + 1);
}

/// §4.4: a nack from a member that was not asked does not stand for one that is missing.
#[test]
fn a_nack_from_somebody_else_does_not_count() {
    let mut net = Net::converged(20, Config { stream_pings: false, ..Config::lan() }, 4);
    net.run_for(secs(10));
    for other in 1..4 {
        net.cut.insert((other, 0));
    }
    net.tap = Some(Vec::new());
    assert!(net.run_until(secs(3), |net| ping_of_host_0(net).is_some()));
    let (seq, subject) = ping_of_host_0(&net).unwrap();
    net.run_for(millis(500));
    for stranger in 500..510 {
        let mut forge = Forge::of(&net, 1);
        forge.header.sender = NodeId::new(stranger);
        let nack = forge.payload(|bytes| encode::nack(bytes, seq, subject));
        net.inject(0, addr(1), &nack);
    }
    assert!(net.run_until(secs(1), |net| net.hosts[0].machine.awareness() > 0));
    assert_eq!(net.hosts[0].machine.awareness(), 2);
}

/// §4.3: a relay runs fewer than its limit, and only for members.
/// §4.3.3
#[test]
fn relays_are_bounded_and_for_members_alone() {
    use crate::membership::RELAYS_MAX;
    let mut net = Net::converged(21, Config::lan(), 3);
    let target = Run { id: id(2), epoch: net.hosts[2].machine.local().epoch };
    net.crash(2);
    let forge = Forge::of(&net, 1);
    let ask = |seq| forge.payload(|bytes| encode::ping_req(bytes, seq, target, 1_000));
    net.inject(0, addr(77), &ask(0));
    assert_eq!(net.hosts[0].machine.relays.len(), 0, "not at the member's address");
    for seq in 0..u32::try_from(RELAYS_MAX).unwrap() + 10 {
        net.inject(0, addr(1), &ask(seq));
    }
    assert_eq!(net.hosts[0].machine.relays.len(), RELAYS_MAX);
    assert_eq!(net.hosts[0].machine.stats().relays_refused, 11);
}

/// §4.6: what waited while the node was alone is told to the first that comes.
#[test]
fn what_waited_in_solitude_is_told() {
    let mut net = Net::new(22, Config::lan());
    net.start(0, &[]);
    net.run_for(secs(5));
    let metadata = Metadata::new().with("k", "v").unwrap();
    net.with(0, |machine, now| machine.set_metadata(now, metadata).unwrap());
    assert_eq!(net.hosts[0].machine.gossip_at, None);
    net.start(1, &[0]);
    assert!(net.run_until(millis(50), |net| net.hosts[0].machine.gossip_at.is_some()));
    net.run_for(secs(30));
    assert!(net.hosts[0].machine.claims.rumors().is_empty());
}

/// §4.2: after `leave` a node refutes nothing, and its farewell is acknowledged by distinct
/// members, to this run.
#[test]
fn a_leaving_node_counts_distinct_members_and_refutes_nothing() {
    let mut net = Net::converged(23, Config::lan(), 6);
    (1..6).for_each(|host| {
        net.cut.insert((host, 0));
    });
    net.tap = Some(Vec::new());
    net.with(0, |machine, now| machine.leave(now));
    let sent = net.tap.take().unwrap();
    let seq = sent.iter().find_map(|(_, _, bytes)| {
        messages(bytes).iter().find_map(|message| match message {
            Message::Leave { seq } => Some(*seq),
            _ => None,
        })
    });
    let (seq, own) = (seq.unwrap(), net.hosts[0].machine.local());
    let accusation = Forge::of(&net, 1).accusation(own.id, own.epoch, own.incarnation, &[id(1)]);
    net.inject(0, addr(1), &accusation);
    assert_eq!(net.hosts[0].machine.local(), own);
    let (now, earlier) =
        (Run { id: own.id, epoch: own.epoch }, Run { id: own.id, epoch: Epoch::new(1) });
    let acks = [(1, now), (1, now), (1, now), (2, earlier), (3, earlier), (4, earlier), (2, now)];
    for (host, subject) in acks {
        let ack = Forge::of(&net, host).payload(|bytes| encode::ack(bytes, seq, subject));
        net.inject(0, addr(host), &ack);
        assert!(!net.hosts[0].machine.leave.is_done(), "two of three");
    }
    let ack = Forge::of(&net, 5).payload(|bytes| encode::ack(bytes, seq, now));
    net.inject(0, addr(5), &ack);
    assert!(net.hosts[0].machine.leave.is_done());
}

/// §4.7: a joiner gets the living and no tombstones.
#[test]
fn a_joiner_gets_no_tombstones() {
    let mut net = Net::converged(24, Config::lan(), 4);
    net.crash(3);
    assert!(net.run_until(secs(30), |net| net.told(0, 3).contains(&"died")));
    net.run_for(secs(30));
    net.start(4, &[0]);
    net.run_for(millis(20));
    assert_eq!(net.hosts[4].machine.live_count(), 3);
    assert_eq!(net.hosts[4].machine.get(id(3)), None);
}

/// §4.7: a node that has sent its share sends the next asker on.
#[test]
fn tables_are_sent_at_a_rate() {
    let mut net = Net::converged(25, Config { sync_rate_max: 4_096, ..Config::lan() }, 2);
    let mut forge = Forge::of(&net, 1);
    for count in 0..400 {
        let bytes =
            forge.alive(NodeId::new(1_000 + count), Epoch::new(5), Incarnation::ZERO, addr(500));
        net.inject(0, addr(1), &bytes);
    }
    for host in 2..4 {
        net.start(host, &[0]);
        net.run_for(millis(20));
    }
    assert_eq!(net.hosts[2].machine.live_count(), 402);
    assert_eq!(net.hosts[0].machine.stats().syncs_busy, 1);
    let known = net.hosts[3].machine.live_count();
    assert!((2..=9).contains(&known), "the one it asked and a few more, not {known}");
}

/// §4.7: the asker gives what it had when it asked, and not what it has learnt since.
#[test]
fn the_asker_gives_what_it_had() {
    let mut net = Net::converged(26, Config::lan(), 2);
    net.run_for(secs(30));
    // Gossip would be faster.
    net.no_datagrams = true;
    let mut forge = Forge::of(&net, 0);
    let [early, late] = [1_000, 1_001].map(NodeId::new);
    for member in [early, late] {
        let bytes = forge.alive(member, Epoch::new(5), Incarnation::ZERO, addr(500));
        net.inject(1, addr(0), &bytes);
    }
    net.tap = Some(Vec::new());
    net.with(1, |machine, now| {
        let to = machine.destination(machine.claims.table().find(id(0)).unwrap());
        machine.begin_exchange(now, to, false);
    });
    let bytes = forge.alive(late, Epoch::new(5), Incarnation::new(1), addr(500));
    net.inject(1, addr(0), &bytes);
    net.run_for(millis(30));
    let sent = net.tap.take().unwrap();
    let told: Vec<NodeId> = sent
        .iter()
        .filter(|(from, plane, _)| (*from, *plane) == (1, Plane::Stream))
        .flat_map(|(_, _, bytes)| messages(bytes))
        .filter_map(|message| match message {
            Message::Update(update) => Some(update.id),
            _ => None,
        })
        .collect();
    assert!(told.contains(&early) && !told.contains(&late), "{told:?}");
}

/// §4.7: an exchange is answered by whom it was asked of, and fails when its stream does.
#[test]
fn an_exchange_is_between_two() {
    let mut net = Net::converged(27, Config::lan(), 3);
    net.run_for(secs(300));
    let ask = |machine: &mut Membership, now| {
        let to = machine.destination(machine.claims.table().find(id(0)).unwrap());
        machine.begin_exchange(now, to, false);
    };
    net.tap = Some(Vec::new());
    net.with(1, ask);
    let sent = net.tap.take().unwrap();
    let number = sent.iter().find_map(|(_, _, bytes)| {
        messages(bytes).iter().find_map(|message| match message {
            Message::SyncRequest { exchange, .. } => Some(*exchange),
            _ => None,
        })
    });
    let chunk = |net: &Net, host| {
        Forge::of(net, host)
            .payload(|bytes| encode::sync_chunk(bytes, number.unwrap(), true, true, 0))
    };
    for (host, open) in [(2, 1), (0, 0)] {
        let bytes = chunk(&net, host);
        let local = net.hosts[host].machine.local();
        let peer = StreamPeer { id: local.id, epoch: local.epoch, addr: local.addr };
        net.with(1, |machine, now| machine.handle_stream(now, peer, &bytes));
        assert_eq!(net.hosts[1].machine.exchanges_open(), open);
    }
    net.crash(0);
    net.with(1, ask);
    assert_eq!(net.hosts[1].machine.exchanges_open(), 1);
    net.run_for(millis(10));
    assert_eq!(net.hosts[1].machine.exchanges_open(), 0, "and not only after the timeout");
    assert_eq!(net.hosts[1].machine.stats().syncs_failed, 1);
}

/// §4.4.1: suspicions get as much more time as the node slept.
#[test]
fn a_pause_prolongs_suspicions() {
    let mut net = Net::converged(28, Config::lan(), 5);
    net.crash(4);
    assert!(net.run_until(secs(20), |net| net.told(0, 4).contains(&"suspected")));
    net.partition(&[0], &[1, 2, 3]);
    net.stall(0, secs(120));
    net.run_for(secs(121));
    assert_eq!(net.hosts[0].machine.get(id(4)).unwrap().state, State::Suspect);
    net.run_for(secs(60));
    assert_eq!(net.hosts[0].machine.get(id(4)).map(|member| member.state), Some(State::Dead));
}

/// §4.4.1: a relay that slept says nothing of what it has not looked at.
#[test]
fn a_relay_that_slept_does_not_nack() {
    let mut net = Net::converged(29, Config::lan(), 3);
    net.crash(2);
    let target = Run { id: id(2), epoch: net.hosts[2].machine.local().epoch };
    let ask = Forge::of(&net, 1).payload(|bytes| encode::ping_req(bytes, 7, target, 500));
    net.inject(0, addr(1), &ask);
    net.stall(0, secs(3));
    net.tap = Some(Vec::new());
    net.run_for(secs(4));
    let is_nack =
        |bytes: &Vec<u8>| messages(bytes).iter().any(|m| matches!(m, Message::Nack { seq: 7, .. }));
    assert!(!net.tap.take().unwrap().iter().any(|(_, _, bytes)| is_nack(bytes)));
    assert_eq!(net.hosts[0].machine.relays.len(), 0);
}

/// §4.4.1, §4.9.1: an incumbent whose answer lies unread while the node slept is not replaced.
#[test]
fn a_pause_admits_no_claimant() {
    let mut net = Net::converged(30, Config::lan(), 4);
    let incumbent = net.hosts[2].machine.local();
    net.run_for(millis(50));
    net.tap = Some(Vec::new());
    let epoch = Epoch::at(net.clock().wall);
    net.start_as(4, id(2), addr(44), epoch, &[0]);
    let is_asked = |net: &Net| ping_of_host_0(net).is_some_and(|(_, target)| target.id == id(2));
    while !is_asked(&net) {
        net.run_for(Duration::from_micros(100));
    }
    net.stall(0, secs(3));
    net.run_for(secs(5));
    assert_eq!(net.hosts[0].machine.stats().pauses, 1);
    assert_eq!(net.hosts[0].machine.get(id(2)).unwrap().addr, incumbent.addr);
}
