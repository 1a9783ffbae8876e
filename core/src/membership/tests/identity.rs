//! Who is who (`docs/protocol.md` §4.9): two nodes of one id, restarts, and addresses that change.

use super::forge::Forge;
use super::net::{Net, addr, id, millis, secs};
use crate::id::{Epoch, Incarnation};
use crate::membership::{Config, State};
use crate::time::Instant;

/// Starts host `host` as node 2, at another address than node 2's own.
fn start_twin(net: &mut Net, host: usize, epoch: Epoch, seeds: &[usize]) {
    net.start_as(host, id(2), addr(40 + host), epoch, seeds);
}

fn now(net: &Net) -> Epoch {
    Epoch::at(net.clock().wall)
}

/// Where `observer` knows node 2.
fn home_of_2(net: &Net, observer: usize) -> core::net::SocketAddr {
    net.hosts[observer].machine.get(id(2)).unwrap().addr
}

/// Whether all hosts in `observers` know node 2 live at `at`.
fn know_2_at(net: &Net, observers: &[usize], at: core::net::SocketAddr) -> bool {
    observers.iter().all(|&observer| {
        let known = net.hosts[observer].machine.get(id(2));
        known.is_some_and(|member| member.state == State::Alive && member.addr == at)
    })
}

fn conflicts(net: &Net, host: usize) -> usize {
    net.told(host, 2).iter().filter(|&&told| told == "conflict").count()
}

/// §4.9.2: the incumbent of an id stays for as long as it answers, everywhere and always, and both
/// hear of the conflict, once. Once it is gone, the claimant is let in.
#[test]
fn a_live_incumbent_keeps_its_id() {
    let mut net = Net::converged(13, Config::lan(), 4);
    let incumbent = net.hosts[2].machine.local();
    net.run_for(millis(50));
    let epoch = now(&net);
    start_twin(&mut net, 4, epoch, &[0]);
    for _ in 0..120 {
        net.run_for(millis(500));
        assert!(know_2_at(&net, &[0, 1, 3], incumbent.addr));
    }
    for host in [0, 2, 4] {
        assert_eq!(conflicts(&net, host), 1, "{host} is told once");
    }
    assert!(!net.hosts[4].machine.is_joined());
    assert_eq!(net.hosts[2].machine.local().epoch, incumbent.epoch);
    net.crash(2);
    assert!(net.run_until(secs(40), |net| know_2_at(net, &[0, 1, 3], addr(44))));
}

/// §4.9: the claimant's own record, in whatever it comes, is a claim like any other.
#[test]
fn gossip_of_a_claimant_displaces_nobody() {
    let mut net = Net::converged(14, Config::lan(), 4);
    let incumbent = net.hosts[2].machine.local();
    net.run_for(millis(50));
    let epoch = now(&net);
    start_twin(&mut net, 4, epoch, &[0]);
    net.run_for(millis(50));
    for host in [0, 1, 3] {
        let mut forge = Forge::of(&net, 4);
        let bytes = forge.alive(id(2), epoch, Incarnation::ZERO, addr(44));
        net.inject(host, addr(44), &bytes);
    }
    net.run_for(secs(20));
    assert!(know_2_at(&net, &[0, 1, 3], incumbent.addr));
}

/// §4.9.1: of a run whose process has ended the host refuses: a restart elsewhere takes its place
/// in well under a second, everywhere, and nobody is reported dead.
#[test]
fn a_restart_at_a_new_address_takes_over() {
    for seed in 0..20 {
        let mut net = Net::converged(seed, Config::lan(), 4);
        net.crash(2);
        net.run_for(millis(50));
        let epoch = now(&net);
        start_twin(&mut net, 4, epoch, &[0]);
        assert!(net.run_until(millis(100), |net| know_2_at(net, &[0], addr(44))), "{seed}");
        assert!(net.run_until(secs(1), |net| know_2_at(net, &[0, 1, 3], addr(44))), "{seed}");
        assert_eq!((net.count_told("died"), net.count_told("conflict")), (0, 0), "{seed}");
    }
}

/// §4.9: a restart at the same address is in within two round trips, and one left behind by its
/// clock within four.
#[test]
fn a_restart_at_the_same_address_takes_milliseconds() {
    for seed in 0..20 {
        for is_behind in [false, true] {
            let mut net = Net::converged(seed, Config::lan(), 4);
            let old = net.hosts[2].machine.local().epoch;
            net.crash(2);
            net.run_for(millis(50));
            let epoch = if is_behind { Epoch::new(old.get() - 5_000) } else { now(&net) };
            net.start_as(2, id(2), addr(2), epoch, &[0]);
            // A payload takes 1 to 4 ms each way in this network.
            let is_in = |net: &Net| {
                let known = net.hosts[0].machine.get(id(2)).unwrap();
                known.state == State::Alive && known.epoch > old
            };
            let limit = if is_behind { 1_000 } else { 40 };
            assert!(net.run_until(millis(limit), is_in), "{seed}, {is_behind}");
            assert!(net.run_until(secs(2), Net::is_converged), "{seed}, {is_behind}");
            assert_eq!((net.count_told("died"), net.count_told("conflict")), (0, 0));
        }
    }
}

/// §4.9.2: a node that restarts elsewhere with a clock that is behind is no rival: it learns which
/// run it has to pass, at once.
#[test]
fn a_restart_elsewhere_with_a_clock_behind_is_no_conflict() {
    for seed in 0..20 {
        let mut net = Net::converged(seed, Config::lan(), 4);
        let old = net.hosts[2].machine.local().epoch;
        net.crash(2);
        net.run_for(millis(50));
        start_twin(&mut net, 4, Epoch::new(old.get() - 60_000), &[0, 1]);
        assert!(net.run_until(secs(1), |net| know_2_at(net, &[0, 1, 3], addr(44))), "{seed}");
        assert_eq!((net.count_told("died"), net.count_told("conflict")), (0, 0), "{seed}");
        assert!(net.hosts[4].machine.local().epoch > old);
    }
}

/// §4.9.2: a host that vanished refuses nothing. The claimant says that it waits, and is let in
/// when the old run is declared dead: everywhere, at about the same time.
#[test]
fn a_silent_incumbent_is_waited_for() {
    for seed in 0..10 {
        for is_behind in [false, true] {
            let mut net = Net::converged(seed, Config::lan(), 5);
            let old = net.hosts[2].machine.local();
            net.silent.insert(old.addr);
            net.crash(2);
            net.run_for(millis(50));
            let epoch = if is_behind { Epoch::new(old.epoch.get() - 60_000) } else { now(&net) };
            start_twin(&mut net, 5, epoch, &[0]);
            net.run_for(secs(3));
            assert_ne!(home_of_2(&net, 0), addr(45), "{seed}: what the profile forgives is longer");
            let events = &net.hosts[5].events;
            let waits = events.iter().filter(|(_, event)| event.name() == "waiting").count();
            assert_eq!(waits, 1, "{seed}, {is_behind}");
            let died = |net: &Net| net.told(0, 2).contains(&"died");
            assert!(net.run_until(secs(30), died), "{seed}, {is_behind}");
            let observers = [0, 1, 3, 4];
            let is_in = |net: &Net| know_2_at(net, &observers, addr(45));
            assert!(net.run_until(secs(12), is_in), "{seed}, {is_behind}");
            assert_eq!(net.count_told("conflict"), 0, "{seed}, {is_behind}");
        }
    }
}

/// §4.9.2: an incumbent that was only held up answers its suspicion, and keeps its id.
#[test]
fn an_incumbent_that_was_held_up_keeps_its_id() {
    let mut net = Net::converged(3, Config::lan(), 5);
    let incumbent = net.hosts[2].machine.local();
    net.run_for(millis(50));
    let epoch = now(&net);
    net.stall(2, secs(3));
    start_twin(&mut net, 5, epoch, &[0]);
    net.run_for(secs(40));
    assert!(know_2_at(&net, &[0, 1, 3, 4], incumbent.addr));
    assert_eq!(net.count_told("died"), 0);
    assert!(conflicts(&net, 0) == 1 && conflicts(&net, 5) == 1);
}

/// §4.9.1: a claim that nobody at its address answers for changes nothing, and is reported to
/// nobody.
#[test]
fn a_claim_without_a_claimant_changes_nothing() {
    let mut net = Net::converged(15, Config::lan(), 3);
    let subject = net.hosts[2].machine.local();
    let later = subject.epoch.next().unwrap();
    for (epoch, incarnation, at) in
        [(subject.epoch, 5, addr(66)), (later, 0, addr(66)), (later, 0, subject.addr)]
    {
        let mut forge = Forge::of(&net, 1);
        let bytes = forge.alive(subject.id, epoch, Incarnation::new(incarnation), at);
        net.inject(0, addr(1), &bytes);
        net.run_for(secs(2));
        let known = net.hosts[0].machine.get(subject.id).unwrap();
        assert_eq!((known.addr, known.epoch), (subject.addr, subject.epoch));
        assert_eq!(net.hosts[0].machine.sizes().checks, 0);
    }
    assert_eq!((net.count_told("conflict"), net.count_told("died")), (0, 0));
}

/// §4.9: the farewell of a claimant that was refused takes nobody away.
#[test]
fn a_claimant_that_leaves_takes_nobody_along() {
    let mut net = Net::converged(16, Config::lan(), 3);
    let incumbent = net.hosts[2].machine.local();
    let later = incumbent.epoch.next().unwrap();
    let bytes =
        Forge::of(&net, 1).claim(id(2), later, Incarnation::ZERO, State::Left, Some(addr(66)));
    net.inject(0, addr(1), &bytes);
    net.run_for(secs(5));
    assert!(know_2_at(&net, &[0, 1], incumbent.addr));
    assert!(!net.told(0, 2).contains(&"left"));
}

/// §4.9.3: a node that hears of its id elsewhere asks there. A rival that lives is reported and
/// told, once; the node does not fight.
#[test]
fn a_rival_is_reported_and_told() {
    let mut net = Net::converged(17, Config::lan(), 3);
    let own = net.hosts[2].machine.local();
    let later = Epoch::new(own.epoch.get() + 60_000);
    // A cluster of its own.
    start_twin(&mut net, 3, later, &[]);
    for state in [State::Alive, State::Suspect] {
        let bytes =
            Forge::of(&net, 1).claim(id(2), later, Incarnation::ZERO, state, Some(addr(43)));
        net.inject(2, addr(1), &bytes);
        net.run_for(secs(1));
    }
    assert_eq!((conflicts(&net, 2), conflicts(&net, 3)), (1, 1));
    assert_eq!(net.hosts[2].machine.local(), own);
}

/// §4.9.3: a later run elsewhere that does not answer was the node's own, started by a clock that
/// was ahead: the node passes it. So it does with one that is said to be dead.
#[test]
fn a_later_run_of_its_own_that_is_over_is_passed() {
    for state in [State::Alive, State::Dead] {
        let mut net = Net::converged(18, Config::lan(), 3);
        let later = Epoch::new(net.hosts[2].machine.local().epoch.get() + 60_000);
        let bytes =
            Forge::of(&net, 1).claim(id(2), later, Incarnation::ZERO, state, Some(addr(66)));
        net.inject(2, addr(1), &bytes);
        net.run_for(secs(1));
        assert_eq!(Some(net.hosts[2].machine.local().epoch), later.next());
        assert_eq!(conflicts(&net, 2), 0);
        assert!(net.run_until(secs(5), Net::is_converged));
    }
}

/// §4.9: when two parts of a cluster held two runs of one id, the earliest holds everywhere once
/// they have met; the other one is told.
#[test]
fn the_earliest_of_two_runs_holds_after_a_partition() {
    for seed in 0..5 {
        let mut net = Net::converged(seed, Config::lan(), 6);
        let first = net.hosts[2].machine.local();
        net.partition(&[0, 1, 2], &[3, 4, 5, 6]);
        let is_dead = |net: &Net| {
            net.hosts[3].machine.get(id(2)).is_some_and(|member| member.state == State::Dead)
        };
        assert!(net.run_until(secs(60), is_dead));
        let epoch = now(&net);
        net.partition(&[0, 1, 2], &[6]);
        start_twin(&mut net, 6, epoch, &[3]);
        assert!(net.run_until(secs(20), |net| know_2_at(net, &[3, 4, 5], addr(46))), "{seed}");
        net.cut.clear();
        let holds = |net: &Net| know_2_at(net, &[0, 1, 3, 4, 5], first.addr);
        assert!(net.run_until(secs(300), holds), "{seed}");
        net.run_for(secs(120));
        assert!(holds(&net), "{seed}");
        assert!(conflicts(&net, 6) > 0, "{seed}: the later run is told");
        assert_eq!(net.hosts[2].machine.local().epoch, first.epoch, "{seed}");
    }
}

/// §4.9.2: a conflict that lasts is told again after ten minutes, and not before.
#[test]
fn a_lasting_conflict_is_told_again() {
    let mut net = Net::converged(19, Config::lan(), 3);
    net.run_for(millis(50));
    let epoch = now(&net);
    start_twin(&mut net, 3, epoch, &[0]);
    let since = net.now;
    net.run_for(secs(1_300));
    let told: alloc::vec::Vec<Instant> = net.hosts[0]
        .events
        .iter()
        .filter(|(_, event)| event.name() == "conflict")
        .map(|&(at, _)| at)
        .collect();
    assert_eq!(told.len(), 3, "{since:?} {told:?}");
}
