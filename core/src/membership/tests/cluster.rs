//! Clusters that form, lose members, take them back, split and heal.

use super::net::{Net, millis, secs};
use crate::membership::{Config, Planes};

#[test]
fn join_is_one_round_trip_to_a_full_view() {
    let mut net = Net::converged(1, Config::lan(), 5);
    net.start(5, &[0]);
    net.run_for(millis(20));
    assert_eq!(net.hosts[5].machine.live_count(), 5);
    assert!(net.run_until(secs(2), Net::is_converged));
}

/// §4.3.4: a round without an ack accuses the member.
#[test]
fn a_crashed_member_is_declared_dead_everywhere_and_only_it() {
    let mut net = Net::converged(2, Config::lan(), 10);
    net.crash(3);
    assert!(net.run_until(secs(40), Net::is_converged));
    for observer in (0..10).filter(|&observer| observer != 3) {
        assert_eq!(net.told(observer, 3), ["joined", "suspected", "died"], "at {observer}");
    }
    assert_eq!(net.count_told("died"), 9);
}

#[test]
fn two_members_that_crash_at_once_are_both_declared_dead() {
    let mut net = Net::converged(3, Config::local(), 5);
    net.crash(1);
    net.crash(2);
    assert!(net.run_until(secs(30), Net::is_converged));
}

#[test]
fn a_member_stalled_for_two_seconds_is_not_declared_dead() {
    for seed in 0..20 {
        let mut net = Net::converged(seed, Config::local(), 5);
        net.stall(2, secs(2));
        net.run_for(secs(15));
        assert_eq!(net.count_told("died"), 0, "seed {seed}");
        assert!(net.is_converged(), "seed {seed}");
    }
}

#[test]
fn a_restart_replaces_the_old_run_at_once() {
    let mut net = Net::converged(4, Config::lan(), 5);
    net.crash(2);
    net.run_for(millis(100));
    net.start(2, &[0]);
    assert!(net.run_until(secs(3), Net::is_converged));
    assert_eq!(net.count_told("died"), 0);
    assert_eq!(net.told(0, 2), ["joined", "joined"]);
}

#[test]
fn all_restart_at_new_ports_through_one_seed() {
    use crate::id::Epoch;
    let mut net = Net::converged(5, Config::local(), 5);
    for host in 1..5 {
        net.crash(host);
    }
    assert!(net.run_until(secs(60), Net::is_converged), "the one that stays sees the others go");
    for host in 1..5 {
        let mut at = super::net::addr(host);
        at.set_port(8_000);
        let epoch = Epoch::at(net.clock().wall);
        net.start_as(host, super::net::id(host), at, epoch, &[0]);
    }
    assert!(net.run_until(secs(10), Net::is_converged));
}

#[test]
fn a_partition_of_any_length_heals_by_itself() {
    for (seed, span) in [(6, secs(60)), (7, secs(3_600))] {
        let mut net = Net::converged(seed, Config::lan(), 12);
        let (a, b): (alloc::vec::Vec<usize>, alloc::vec::Vec<usize>) =
            (0..12).partition(|host| host % 2 == 0);
        net.partition(&a, &b);
        net.run_for(span);
        assert_eq!(net.hosts[0].machine.live_count(), 5, "each side sees the other dead");
        net.cut.clear();
        assert!(net.run_until(secs(30), Net::is_converged), "after {span:?}");
    }
}

#[test]
fn streams_alone_are_enough() {
    let mut net = Net::new(8, Config { planes: Planes::StreamOnly, ..Config::lan() });
    net.no_datagrams = true;
    for host in 0..6 {
        net.start(host, &[0]);
    }
    assert!(net.run_until(secs(10), Net::is_converged));
    net.run_for(secs(30));
    assert_eq!(net.count_told("suspected"), 0);
    net.crash(4);
    assert!(net.run_until(secs(40), Net::is_converged));
}

/// §4.3.2: the ping over the stream plane finds the member alive.
#[test]
fn a_blocked_datagram_plane_kills_nobody() {
    let mut net = Net::converged(9, Config::lan(), 6);
    net.no_datagrams = true;
    net.run_for(secs(60));
    assert_eq!(net.count_told("died"), 0);
}

#[test]
fn loss_kills_nobody() {
    for seed in 0..5 {
        let mut net = Net::converged(seed, Config::lan(), 20);
        net.loss_percent = 10;
        net.run_for(secs(120));
        assert_eq!(net.count_told("died"), 0, "seed {seed}");
    }
}

#[test]
fn a_leave_is_never_a_death() {
    for seed in 0..20 {
        let mut net = Net::converged(seed, Config::lan(), 6);
        net.loss_percent = 5;
        net.with(2, |machine, now| machine.leave(now));
        assert!(net.run_until(secs(5), |net| {
            net.hosts[2].events.iter().any(|(_, event)| {
                matches!(event, crate::membership::Event::LeaveCompleted { acked: 3, needed: 3 })
            })
        }));
        net.crash(2);
        net.run_for(secs(30));
        assert_eq!(net.count_told("died"), 0, "seed {seed}");
        for observer in [0, 1, 3, 4, 5] {
            assert_eq!(net.told(observer, 2).last(), Some(&"left"), "seed {seed} at {observer}");
        }
    }
}

#[test]
fn nodes_started_in_any_order_converge() {
    for seed in 0..20 {
        let mut net = Net::new(seed, Config::local());
        let mut rng = crate::rng::Rng::new(seed);
        let mut order = [0usize, 1, 2, 3, 4];
        for at in (1..5).rev() {
            order.swap(at, rng.index(at + 1));
        }
        // Hosts are numbered by the order of their start; the seed is whichever comes at its turn.
        let seed_host = order[0];
        for host in 0..5 {
            net.start(host, &[seed_host]);
            net.run_for(millis(700));
        }
        assert!(net.run_until(secs(10), Net::is_converged), "seed {seed}");
    }
}

#[test]
fn connections_of_two_nodes_say_who_they_are() {
    use crate::membership::StreamPeer;
    use crate::rpc::{Side, Transmit};
    let net = Net::converged(9, Config::local(), 2);
    let now = net.clock();
    let connection =
        |host: usize, side| net.hosts[host].machine.connection(side, Default::default(), now);
    let ((mut one, _), (mut two, mut receiver)) =
        (connection(0, Side::Dialer), connection(1, Side::Acceptor));
    let mut out = Transmit::new();
    assert!(one.poll_transmit(now, &mut out) > 0);
    for bytes in out.slices() {
        receiver.buffer()[..bytes.len()].copy_from_slice(bytes);
        two.handle_received(now, &mut receiver, bytes.len());
    }
    let local = net.hosts[0].machine.local();
    let expected = StreamPeer { id: local.id, epoch: local.epoch, addr: local.addr };
    assert_eq!(two.peer().map(StreamPeer::from), Some(expected));
}
