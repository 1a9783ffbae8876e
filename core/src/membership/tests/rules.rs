//! The rules of `docs/protocol.md` §1, §2 and §4 that no story in the sibling files tells.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::forge::Forge;
use super::net::{Net, addr, id, millis, secs};
use crate::clock::Timestamp;
use crate::id::{Epoch, Fence, Incarnation, NodeId};
use crate::membership::{
    BROADCAST_LEN_MAX, BROADCASTS_MAX, BroadcastError, Config, EVENTS_MAX, Event, MESSAGE_LEN_MAX,
    Metadata, MetadataError, Plane, SendError, State, TimeoutReason,
};
use crate::rng::Rng;
use crate::wire::datagram::{Run, encode};

fn run(net: &Net, host: usize) -> Run {
    let local = net.hosts[host].machine.local();
    Run { id: local.id, epoch: local.epoch }
}

/// §1.3: a claim at the last incarnation sends the node to its next epoch, and the cluster follows.
#[test]
fn incarnations_end_in_the_next_epoch() {
    let mut net = Net::converged(1, Config::lan(), 4);
    let own = net.hosts[0].machine.local();
    let bytes = Forge::of(&net, 1).claim(own.id, own.epoch, Incarnation::MAX, State::Suspect, None);
    net.inject(0, addr(1), &bytes);
    let moved = net.hosts[0].machine.local();
    assert_eq!((Some(moved.epoch), moved.incarnation), (own.epoch.next(), Incarnation::ZERO));
    assert!(net.run_until(secs(5), |net| {
        (1..4).all(|host| net.hosts[host].machine.get(id(0)).unwrap().epoch == moved.epoch)
    }));
    // And a claim at the end of all epochs cannot move it anywhere.
    let bytes = Forge::of(&net, 1).claim(own.id, Epoch::MAX, Incarnation::MAX, State::Dead, None);
    net.inject(0, addr(1), &bytes);
    assert_eq!(net.hosts[0].machine.local().epoch, moved.epoch);
}

/// §1.4: payloads of another cluster change nothing, and are reported once an address.
#[test]
fn foreign_clusters_are_not_heard() {
    let mut net = Net::converged(2, Config::lan(), 3);
    let before = net.hosts[0].machine.snapshot();
    let mut forge = Forge::of(&net, 1);
    forge.header.fence = Fence::of("another");
    let death = forge.claim(id(2), before.members()[1].epoch, Incarnation::ZERO, State::Left, None);
    for _ in 0..3 {
        net.inject(0, addr(1), &death);
    }
    assert_eq!(net.hosts[0].machine.snapshot(), before);
    assert_eq!(net.hosts[0].machine.stats().foreign_cluster, 3);
    let reports = net.hosts[0]
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::ForeignCluster { .. }));
    assert_eq!(reports.count(), 1);
    // A stream's hello tells the name; the port of a dialler is new every time.
    let (one, other) = (addr(50), addr(51));
    for from in [one, other] {
        net.with(0, |machine, _| machine.handle_foreign_hello(from, "another"));
    }
    let named = net.hosts[0].events.iter().filter(|(_, event)| {
        matches!(event, Event::ForeignCluster { cluster: Some(name), .. } if **name == *"another")
    });
    assert_eq!(named.count(), 1);
}

/// §2.2, §2.3: what cannot be heard is counted by reason and changes nothing.
#[test]
fn unreadable_payloads_are_counted_by_reason() {
    let mut net = Net::converged(3, Config::lan(), 3);
    let before = net.hosts[0].machine.snapshot();
    let good = Forge::of(&net, 1).payload(|_| {});
    let mut newer = good.clone();
    newer[0] = 9;
    net.inject(0, addr(1), &newer);
    net.inject(0, addr(1), &good[..20]);
    net.inject(0, addr(1), b"");
    let own = Forge::of(&net, 0).payload(|_| {});
    net.inject(0, addr(1), &own);
    let mut unknown = good.clone();
    unknown.extend_from_slice(&[200, 2, 0, 7, 7]);
    net.inject(0, addr(1), &unknown);
    let stats = net.hosts[0].machine.stats();
    assert_eq!(
        (stats.foreign_version, stats.malformed, stats.misdirected, stats.unknown_kind),
        (1, 2, 1, 1)
    );
    assert_eq!(net.hosts[0].machine.snapshot(), before);
}

/// §2.3: a refused stamp is counted, does not move the clock, and does not hide the payload.
#[test]
fn a_stamp_from_the_future_moves_nothing() {
    let mut net = Net::converged(4, Config::lan(), 2);
    let mut forge = Forge::of(&net, 1);
    forge.header.stamp = Timestamp::MAX;
    let (seq, target) = (7, run(&net, 0));
    let ping = forge.payload(|bytes| encode::ping(bytes, seq, target));
    let sent = net.hosts[0].datagrams_sent;
    net.inject(0, addr(1), &ping);
    assert_eq!(net.hosts[0].machine.stats().stamps_refused, 1);
    assert_eq!(net.hosts[0].datagrams_sent, sent + 1, "the ping is answered");
}

/// §4.2: claims merge to the same table in any order and with any repetition.
#[test]
fn merging_is_order_free() {
    let net = Net::converged(5, Config::lan(), 3);
    let subject = net.hosts[2].machine.local();
    let mut forge = Forge::of(&net, 1);
    let at = |count| Incarnation::new(count);
    let claims: Vec<Vec<u8>> = vec![
        forge.claim(subject.id, subject.epoch, at(2), State::Left, None),
        forge.alive(subject.id, subject.epoch, at(1), subject.addr),
        forge.claim(subject.id, subject.epoch, at(1), State::Suspect, None),
        forge.alive(subject.id, subject.epoch, at(2), subject.addr),
        forge.claim(subject.id, subject.epoch, at(2), State::Suspect, None),
        forge.alive(subject.id, subject.epoch, at(0), subject.addr),
    ];
    let mut rng = Rng::new(5);
    for _ in 0..50 {
        let mut net = Net::converged(5, Config::lan(), 3);
        let mut order: Vec<usize> = (0..claims.len()).chain(0..claims.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, rng.index(at + 1));
        }
        for &claim in &order {
            net.inject(0, addr(1), &claims[claim]);
        }
        let merged = net.hosts[0].machine.get(subject.id).unwrap();
        assert_eq!((merged.state, merged.incarnation), (State::Left, at(2)), "{order:?}");
    }
}

/// §4.2: a clock that ran back does not keep a restarted node out.
#[test]
fn a_restart_with_an_earlier_clock_moves_past_its_old_run() {
    let mut net = Net::converged(6, Config::lan(), 4);
    let old = net.hosts[2].machine.local();
    net.crash(2);
    net.start_as(2, id(2), addr(2), Epoch::new(old.epoch.get() - 5_000_000), &[0]);
    assert!(net.run_until(secs(5), |net| {
        net.is_converged()
            && (0..4).all(|host| {
                host == 2 || net.hosts[host].machine.get(id(2)).unwrap().epoch > old.epoch
            })
    }));
}

/// §4.3: an ack counts only from the subject or a relay, for the round in progress and the run that
/// was asked.
#[test]
fn forged_acks_save_nobody() {
    let mut net = Net::converged(7, Config::lan(), 3);
    let dead = run(&net, 2);
    net.crash(2);
    let forge = Forge::of(&net, 1);
    let began = net.now;
    while net.now.since(began) < secs(20) {
        for seq in [0, 1, u32::MAX] {
            let ack = forge.payload(|bytes| encode::ack(bytes, seq, dead));
            net.inject(0, addr(1), &ack);
        }
        net.run_for(millis(250));
    }
    assert!(net.hosts[0].machine.stats().acks_unmatched > 0);
    assert!(net.run_until(secs(20), |net| net.told(0, 2).contains(&"died")));
}

/// §4.3: a ping for another id is not answered, and one for an earlier run is, with the present
/// record.
#[test]
fn pings_are_answered_by_their_target_alone() {
    let mut net = Net::converged(8, Config::lan(), 2);
    let forge = Forge::of(&net, 1);
    let own = run(&net, 0);
    let other = Run { id: NodeId::new(77), ..own };
    let sent = net.hosts[0].datagrams_sent;
    let bytes = forge.payload(|bytes| encode::ping(bytes, 1, other));
    net.inject(0, addr(1), &bytes);
    assert_eq!(net.hosts[0].datagrams_sent, sent);
    net.tap = Some(Vec::new());
    let earlier = Run { epoch: Epoch::new(1), ..own };
    let bytes = forge.payload(|bytes| encode::ping(bytes, 1, earlier));
    net.inject(0, addr(1), &bytes);
    let answer = net.tap.take().unwrap().remove(0).2;
    assert!(answer.len() > bytes.len(), "its own record goes along");
}

/// §4.4.1: a node that was asleep passes no verdicts for the time it slept.
#[test]
fn a_pause_passes_no_verdict() {
    let mut net = Net::converged(9, Config::lan(), 5);
    for round in 0..5 {
        net.stall(0, secs(6));
        net.run_for(secs(12));
        assert!(net.hosts[0].machine.stats().pauses > round);
    }
    for subject in 1..5 {
        assert!(
            (0..5).all(|observer| net.told(observer, subject) == ["joined"] || observer == subject)
        );
    }
}

/// §4.6: an address that is not known to be the sender's gets no more than it gave.
#[test]
fn strangers_get_no_more_than_they_give() {
    let mut net = Net::converged(10, Config::lan(), 20);
    // Rumours wait, which a member's ack would carry.
    net.with(0, |machine, now| {
        machine.set_metadata(now, Metadata::new().with("k", "v").unwrap()).unwrap();
    });
    let mut forge = Forge::of(&net, 1);
    let (stranger, spoofed) = (addr(200), addr(1));
    let targets = [run(&net, 0), run(&net, 5)];
    for (sender, from) in
        [(NodeId::new(500), stranger), (id(1), stranger), (NodeId::new(500), spoofed)]
    {
        forge.header.sender = sender;
        for target in targets {
            let questions = [
                forge.payload(|bytes| encode::ping(bytes, 1, target)),
                forge.payload(|bytes| encode::ping_req(bytes, 1, target, 500)),
                forge.payload(|bytes| encode::leave(bytes, 1)),
                forge.payload(|bytes| encode::ack(bytes, 1, target)),
            ];
            for question in questions {
                net.tap = Some(Vec::new());
                net.inject(0, from, &question);
                let answered: usize =
                    net.tap.take().unwrap().iter().map(|(_, _, bytes)| bytes.len()).sum();
                assert!(answered <= question.len(), "{answered} for {}", question.len());
            }
        }
    }
}

/// §4.6, B1, B2: rumours die out, and a quiet cluster has an empty queue and no gossip timer.
#[test]
fn rumours_die_out() {
    let mut net = Net::converged(11, Config::lan(), 10);
    net.with(3, |machine, now| {
        machine.set_metadata(now, Metadata::new().with("k", "v").unwrap()).unwrap();
    });
    net.run_for(secs(60));
    for host in &net.hosts {
        assert!(host.machine.claims.rumors().is_empty());
        assert_eq!(host.machine.gossip_at, None);
        assert_ne!(host.machine.timeout_reason(), Some(TimeoutReason::Gossip));
    }
    for observer in (0..10).filter(|&observer| observer != 3) {
        assert_eq!(net.hosts[observer].machine.get(id(3)).unwrap().metadata.get("k"), Some("v"));
    }
}

/// §4.7: equal tables are found equal by one digest, and exchanges grow rare; a difference that
/// gossip missed is found.
#[test]
fn exchanges_move_only_what_differs() {
    let mut net = Net::converged(12, Config::lan(), 8);
    net.run_for(secs(300));
    let before: Vec<u64> =
        net.hosts.iter().map(|host| host.machine.stats().stream_bytes_out).collect();
    net.run_for(secs(300));
    for (host, before) in net.hosts.iter().zip(before) {
        let grown = host.machine.stats().stream_bytes_out - before;
        // Ten digests of 512 bytes and their empty answers, asked and answered; no records.
        assert!(grown < 40 * 700, "{grown} bytes in 300 s");
    }
    // V3: with no gossip at all, exchanges alone carry a change to everybody.
    net.hosts.iter_mut().for_each(|host| host.machine.claims.drop_rumors());
    net.loss_percent = 0;
    net.with(2, |machine, now| {
        machine.set_metadata(now, Metadata::new().with("k", "w").unwrap()).unwrap();
        machine.claims.drop_rumors();
    });
    assert!(net.run_until(secs(300), |net| {
        (0..8).all(|host| {
            host == 2 || net.hosts[host].machine.get(id(2)).unwrap().metadata.get("k") == Some("w")
        })
    }));
}

/// §4.10: on a network without loss, every burst that the origin's queue accepts reaches everybody.
#[test]
fn a_burst_as_long_as_the_queue_reaches_everybody() {
    for seed in 0..3 {
        let mut net = Net::converged(seed, Config::lan(), 16);
        net.with(3, |machine, now| {
            for count in 0..u32::try_from(BROADCASTS_MAX).unwrap() {
                machine.broadcast(now, &count.to_le_bytes()).unwrap();
            }
        });
        net.run_for(secs(60));
        for host in (0..16).filter(|&host| host != 3) {
            let heard = net.hosts[host].events.iter();
            let heard = heard.filter(|(_, event)| matches!(event, Event::Broadcast { .. }));
            assert_eq!(heard.count(), BROADCASTS_MAX, "seed {seed}, host {host}");
        }
    }
}

/// §4.10: what a stranger forges mutes nobody, and a broadcast of a run that is not held is none.
#[test]
fn a_forged_broadcast_mutes_nobody() {
    let mut net = Net::converged(21, Config::lan(), 4);
    let origin = net.hosts[2].machine.local();
    let held = Run { id: origin.id, epoch: origin.epoch };
    let later = Run { epoch: origin.epoch.next().unwrap(), ..held };
    for host in [0, 1, 3] {
        for (run, number) in [(held, u32::MAX), (later, 1), (later, u32::MAX), (held, 0)] {
            let forge = Forge::of(&net, 2);
            let bytes = forge.payload(|bytes| encode::broadcast(bytes, run, number, b"forged"));
            net.inject(host, addr(99), &bytes);
        }
    }
    net.with(2, |machine, now| machine.broadcast(now, b"true").unwrap());
    net.run_for(secs(10));
    for host in [0, 1, 3] {
        let heard: Vec<&[u8]> = net.hosts[host]
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Broadcast { payload, .. } => Some(payload.as_ref()),
                _ => None,
            })
            .collect();
        assert_eq!(heard, [b"true"], "host {host}");
    }
}

/// §4.10.1: a message for a member that is gone is not given to whoever has its address now.
#[test]
fn a_message_is_given_to_the_run_that_it_was_meant_for() {
    let mut net = Net::converged(22, Config::lan(), 4);
    net.crash(3);
    net.start_as(4, id(76), addr(3), Epoch::at(net.clock().wall), &[0]);
    net.run_for(millis(300));
    assert!(net.hosts[0].machine.get(id(3)).unwrap().state.is_live(), "nobody knows better yet");
    net.with(0, |machine, _| machine.send_to(id(3), Bytes::from_static(b"for 3")).unwrap());
    net.with(0, |machine, _| machine.send_to(id(76), Bytes::from_static(b"for 76")).unwrap());
    net.run_for(secs(1));
    let heard: Vec<&[u8]> = net.hosts[4]
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Message { payload, .. } => Some(payload.as_ref()),
            _ => None,
        })
        .collect();
    assert_eq!(heard, [b"for 76"]);
}

/// §4.10: every other node gives a broadcast out exactly once, whatever is lost or repeated on the
/// way.
#[test]
fn a_broadcast_is_given_out_once() {
    for seed in 0..10 {
        let mut net = Net::converged(seed, Config::lan(), 12);
        net.loss_percent = 5;
        for count in 0u8..20 {
            net.with(usize::from(count % 3), |machine, now| {
                machine.broadcast(now, &[count]).unwrap();
            });
        }
        net.run_for(secs(30));
        for host in 0..12 {
            let heard = net.hosts[host].events.iter().filter_map(|(_, event)| match event {
                Event::Broadcast { payload, .. } => Some(payload[0]),
                _ => None,
            });
            let mut heard: Vec<u8> = heard.collect();
            heard.sort_unstable();
            let wanted: Vec<u8> = (0..20).filter(|count| usize::from(count % 3) != host).collect();
            assert_eq!(heard, wanted, "seed {seed} host {host}");
        }
    }
}

/// §4.10, §4.10.1: what does not fit is refused, and says why.
#[test]
fn user_payloads_have_limits() {
    let mut net = Net::converged(17, Config::lan(), 3);
    let long = vec![0; BROADCAST_LEN_MAX + 1];
    let refused = net.with(0, |machine, now| machine.broadcast(now, &long));
    assert_eq!(refused, Err(BroadcastError::TooLong { len: long.len() }));
    let full =
        net.with(0, |machine, now| (0..1_000).find_map(|_| machine.broadcast(now, b"x").err()));
    assert_eq!(full, Some(BroadcastError::Full));
    let huge = Bytes::from(vec![1; MESSAGE_LEN_MAX]);
    net.with(0, |machine, _| machine.send_to(id(2), huge.clone()).unwrap());
    net.run_for(millis(50));
    let got = net.hosts[2].events.iter().any(
        |(_, event)| matches!(event, Event::Message { from, payload } if *from == id(0) && *payload == huge),
    );
    assert!(got, "a long message goes by stream");
    let forge = Forge::of(&net, 1);
    let target = run(&net, 0);
    let forged = forge.payload(|bytes| encode::payload(bytes, target, b"forged"));
    net.inject(0, addr(9), &forged);
    let is_told =
        net.hosts[0].events.iter().any(|(_, event)| matches!(event, Event::Message { .. }));
    assert!(!is_told, "a message from elsewhere than its sender's address is not given out");
    let too_long = Bytes::from(vec![1; MESSAGE_LEN_MAX + 1]);
    let refused = net.with(0, |machine, _| machine.send_to(id(2), too_long));
    assert_eq!(refused, Err(SendError::TooLong { len: MESSAGE_LEN_MAX + 1 }));
    let refused = net.with(0, |machine, _| machine.send_to(NodeId::new(9), Bytes::new()));
    assert_eq!(refused, Err(SendError::UnknownMember(NodeId::new(9))));
    net.with(0, |machine, now| machine.leave(now));
    assert_eq!(
        net.with(0, |machine, now| machine.broadcast(now, b"x")),
        Err(BroadcastError::HasLeft)
    );
    assert_eq!(
        net.with(0, |machine, now| machine.set_metadata(now, Metadata::new())),
        Err(MetadataError::HasLeft)
    );
}

/// §4.11: with nobody there, a leave is done at once; with nobody answering, when its time is over.
#[test]
fn a_leave_always_completes() {
    let completed = |net: &Net| {
        net.hosts[0].events.iter().find_map(|(at, event)| match event {
            Event::LeaveCompleted { acked, needed } => Some((*at, *acked, *needed)),
            _ => None,
        })
    };
    let mut net = Net::new(18, Config::lan());
    net.start(0, &[]);
    net.with(0, |machine, now| machine.leave(now));
    assert_eq!(completed(&net).map(|(_, acked, needed)| (acked, needed)), Some((0, 0)));
    let mut net = Net::converged(18, Config::lan(), 2);
    net.partition(&[0], &[1]);
    let began = net.now;
    net.with(0, |machine, now| machine.leave(now));
    net.run_for(secs(10));
    let (at, acked, needed) = completed(&net).unwrap();
    assert_eq!((at.since(began), acked, needed), (secs(5), 0, 1));
    assert_eq!(net.hosts[0].machine.poll_timeout(), None, "silent afterwards");
}

/// §4.12: the table in the document is the code.
#[test]
fn the_document_states_the_presets() {
    let document = include_str!("../../../../docs/protocol.md");
    let presets = [Config::local(), Config::lan(), Config::wan()];
    let row = |name: &str, value: &dyn Fn(&Config) -> String| {
        let [local, lan, wan] = presets.each_ref().map(value);
        let row = format!("| {name} | {local} | {lan} | {wan} |");
        assert!(document.contains(&row), "docs/protocol.md §4.12 should say {row}");
    };
    let span =
        |field: fn(&Config) -> Duration| move |config: &Config| format!("{:?}", field(config));
    row("probe_interval", &span(|config| config.probe_interval));
    row("probe_timeout_max", &span(|config| config.probe_timeout_max));
    row("probe_timeout_min", &span(|config| config.probe_timeout_min));
    row("suspicion_mult", &|config| config.suspicion_mult.to_string());
    row("suspicion_max_mult", &|config| config.suspicion_max_mult.to_string());
    row("gossip_interval", &span(|config| config.gossip_interval));
    row("gossip_fanout", &|config| config.gossip_fanout.to_string());
    row("retransmit_mult", &|config| config.retransmit_mult.to_string());
    row("sync_interval", &span(|config| config.sync_interval));
    row("sync_interval_min", &span(|config| config.sync_interval_min));
    row("sync_timeout", &span(|config| config.sync_timeout));
    row("join_retry_min", &span(|config| config.join_retry_min));
    row("join_retry_max", &span(|config| config.join_retry_max));
    row("reconnect_interval", &span(|config| config.reconnect_interval));
    row("seed_interval", &span(|config| config.seed_interval));
    row("leave_timeout", &span(|config| config.leave_timeout));
}

/// §4.13: events nobody takes are shed with a `Lost` that says how many, and the snapshot stays
/// right.
#[test]
fn untaken_events_are_shed_and_counted() {
    let mut net = Net::converged(19, Config::lan(), 2);
    let now = net.clock();
    let mut forge = Forge::of(&net, 1);
    let newcomers = EVENTS_MAX + 10;
    let machine = &mut net.hosts[0].machine;
    for count in 0..newcomers {
        let (id, epoch) = (NodeId::new(1_000 + count as u64), Epoch::new(5));
        let bytes = forge.alive(id, epoch, Incarnation::ZERO, addr(count));
        machine.handle_datagram(now, addr(1), &bytes);
    }
    assert_eq!(machine.poll_event(), Some(Event::Lost(EVENTS_MAX as u64)));
    let rest = core::iter::from_fn(|| machine.poll_event()).count();
    assert_eq!(rest, 10);
    assert_eq!(machine.snapshot().members().len(), newcomers + 1);
}

/// DESIGN §2: the same seed and inputs give the same bytes.
#[test]
fn a_seed_is_a_run() {
    let trace = |seed| {
        let mut net = Net::new(seed, Config::lan());
        net.tap = Some(Vec::new());
        for host in 0..8 {
            net.start(host, &[0]);
        }
        net.loss_percent = 3;
        net.run_for(secs(20));
        net.crash(4);
        net.run_for(secs(20));
        net.tap.take().unwrap()
    };
    let (one, same, other): (Vec<(usize, Plane, Vec<u8>)>, _, _) =
        (trace(20), trace(20), trace(21));
    assert!(one == same, "the same seed, the same bytes");
    assert!(one != other, "another seed, other bytes");
}

/// B8: an early timeout does nothing; a timeout that fires moves the deadline on.
#[test]
fn timeouts_make_progress() {
    let mut net = Net::converged(22, Config::lan(), 6);
    net.crash(5);
    for _ in 0..5_000 {
        let now = net.clock();
        let machine = &mut net.hosts[0].machine;
        if let Some(due) = machine.poll_timeout().filter(|&due| due > now.mono) {
            let (before, version) = (machine.stats(), machine.version());
            machine.handle_timeout(now);
            assert_eq!(
                (machine.poll_timeout(), machine.stats(), machine.version()),
                (Some(due), before, version)
            );
        }
        net.run_for(millis(10));
        let due = net.hosts[0].machine.poll_timeout().unwrap();
        assert!(due > net.now, "what was due has been done");
    }
}

/// A hostile peer: arbitrary bytes, and well-formed messages of arbitrary content, never panic and
/// never grow a structure past its limit.
#[test]
fn hostile_payloads_are_survived() {
    for seed in 0..20 {
        let mut net = Net::converged(seed, Config::lan(), 5);
        net.checks_folds = false;
        let mut rng = Rng::new(seed);
        let mut recorded: Vec<Vec<u8>> = Vec::new();
        net.tap = Some(Vec::new());
        net.run_for(secs(5));
        recorded.extend(net.tap.take().unwrap().into_iter().map(|(_, _, bytes)| bytes));
        for _ in 0..2_000 {
            let mut bytes = recorded[rng.index(recorded.len())].clone();
            for _ in 0..rng.index(4) {
                let at = 36 + rng.index(bytes.len().saturating_sub(36).max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.next_u64().to_le_bytes()[0];
                }
            }
            bytes.truncate(bytes.len() - rng.index(3).min(bytes.len()));
            let from = addr(rng.index(8));
            net.inject(0, from, &bytes);
            if rng.index(20) == 0 {
                net.run_for(millis(100));
            }
        }
        let machine = &net.hosts[0].machine;
        assert!(machine.relays.len() <= crate::membership::RELAYS_MAX);
        assert!(machine.exchanges_open() <= crate::membership::EXCHANGES_MAX);
        assert!(
            machine.claims.rumors().len()
                <= machine.claims.table().iter().count() + crate::membership::BROADCASTS_MAX
        );
        assert_eq!(machine.local().state, State::Alive);
    }
}
