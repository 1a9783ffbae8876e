//! How a node finds the cluster, and parts of it find each other (`docs/protocol.md` §4.8).

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::net::{Net, addr, millis, secs};
use crate::membership::{
    Config, Destination, Event, Membership, Plane, SEED_TRIES_MAX, SEED_TRY_INTERVAL, SEEDS_MAX,
};

/// A lone machine that was told to join.
fn lone(net: &mut Net) -> usize {
    let host = net.hosts.len();
    net.start(host, &[]);
    net.hosts[host].seeds.clear();
    host
}

fn isolated(net: &Net, host: usize) -> usize {
    let events = net.hosts[host].events.iter();
    events.filter(|(_, event)| matches!(event, Event::Isolated)).count()
}

/// §4.8.4: seeds that refuse, and seeds that swallow what is sent, hold up nobody. Tries rotate, so
/// the one good seed is found in one pass, wherever it is in the list.
#[test]
fn one_good_seed_among_many_is_found_in_one_pass() {
    for (others, is_silent, limit) in [
        (19, false, millis(600)),
        (63, false, secs(2)),
        (7, true, SEED_TRY_INTERVAL * 8),
        (19, true, Config::lan().sync_timeout * 2 + secs(3)),
    ] {
        for seed in 0..20 {
            let mut net = Net::converged(seed, Config::lan(), 2);
            let mut seeds: Vec<usize> = (100..100 + others).collect();
            seeds.insert(usize::try_from(seed).unwrap() % others, 0);
            if is_silent {
                net.swallowed
                    .extend(seeds.iter().map(|&host| addr(host)).filter(|&at| at != addr(0)));
            }
            net.start(2, &seeds);
            assert!(net.run_until(limit, Net::is_converged), "{others}, {is_silent}, {seed}");
        }
    }
}

/// §4.8.4: any number of seeds is tried: each round takes the next ones, and none is tried again
/// before all the others were.
#[test]
fn every_seed_is_tried_before_one_is_tried_again() {
    for count in [SEEDS_MAX, SEEDS_MAX * 2 + 44] {
        let mut net = Net::new(count as u64, Config::local());
        let host = lone(&mut net);
        let all: Vec<SocketAddr> = (100..100 + count).map(addr).collect();
        net.hosts[host].seeds.clone_from(&all);
        net.swallowed.extend(&all);
        net.tap_to = Some(Vec::new());
        net.run_for(secs(600));
        let tried = net.tap_to.take().unwrap();
        let first: BTreeSet<_> = tried.iter().take(SEEDS_MAX).collect();
        assert_eq!(first.len(), SEEDS_MAX, "{count}: the first ones are all different");
        let tried: BTreeSet<_> = tried.into_iter().collect();
        assert_eq!(tried.len(), count, "all were tried");
    }
}

/// §4.8.4: no more than so many tries are open, however many seeds are silent.
#[test]
fn few_tries_are_open_at_once() {
    let mut net = Net::new(5, Config::lan());
    let host = lone(&mut net);
    net.hosts[host].seeds = (100..164).map(addr).collect();
    net.swallowed.extend((100..164).map(addr));
    let mut most = 0;
    for _ in 0..600 {
        net.run_for(millis(100));
        most = most.max(net.hosts[host].machine.exchanges_open());
    }
    assert_eq!(most, SEED_TRIES_MAX);
}

/// §4.8.1: names are looked up for as long as a node runs, also when all seeds are in the view,
/// and about as often in a cluster of any size.
#[test]
fn names_are_looked_up_again_for_ever_at_a_rate_that_does_not_grow() {
    for count in [1, 4, 8, 32] {
        let mut net = Net::converged(count as u64, Config::lan(), count.max(2));
        if count == 1 {
            net.crash(1);
            net.run_for(secs(120));
        }
        net.run_for(secs(60));
        for host in &mut net.hosts {
            host.lookups.clear();
        }
        let span = 1_200;
        net.run_for(secs(span));
        let interval = match count {
            1 => Config::lan().join_retry_max,
            count => Config::lan().seed_interval * u32::try_from(count.max(8)).unwrap() / 8,
        };
        for host in net.hosts.iter().filter(|host| host.is_up) {
            let gaps = host.lookups.windows(2).map(|pair| pair[1].since(pair[0]));
            let longest = gaps.max().expect("it looks up again and again");
            assert!(longest <= interval * 5 / 4, "{count}: {longest:?}");
        }
        let lookups: usize = net.hosts.iter().map(|host| host.lookups.len()).sum();
        let most = span * 8 / 15 * 3 / 2;
        assert!(lookups as u64 <= most, "{count} nodes look up {lookups} times in {span} s");
    }
}

/// §4.8.1: two islands, whose names gave each half its own addresses at the start and give all of
/// them to one node of one half later, become one cluster within two look-up intervals.
#[test]
fn islands_meet_within_two_intervals() {
    for seed in 0..10 {
        let mut net = Net::new(seed, Config::lan());
        for host in 0..12 {
            let half = host % 2;
            net.start(host, &[half, half + 2]);
        }
        net.run_for(secs(60));
        let view = |net: &Net| net.hosts.iter().map(|host| host.machine.live_count()).max();
        assert_eq!(view(&net), Some(5), "two islands of six");
        net.hosts[4].seeds = (0..4).map(addr).collect();
        let interval = net.config.seed_interval;
        assert!(net.run_until(interval * 2, Net::is_converged), "{seed}");
    }
}

/// §4.8.1: a zone that was cut off for longer than tombstones live is found again through names.
#[test]
fn a_zone_that_everybody_has_forgotten_is_found_again() {
    let config = Config { tombstone_lifetime: secs(60), ..Config::lan() };
    let mut net = Net::converged(3, config, 6);
    for host in 0..6 {
        // Each side's names give its own side while the other one is away.
        net.hosts[host].seeds = if host < 3 { vec![addr(0)] } else { vec![addr(3)] };
    }
    net.partition(&[0, 1, 2], &[3, 4, 5]);
    net.run_for(secs(600));
    assert_eq!(net.hosts[0].machine.sizes().tombstones, 0, "forgotten");
    net.cut.clear();
    for host in &mut net.hosts {
        host.seeds = vec![addr(0), addr(3)];
    }
    assert!(net.run_until(net.config.seed_interval * 2, Net::is_converged));
}

/// §4.8.1: who finds nobody in the first round is told so, once, and again after it has found and
/// lost others. A node whose only seed is itself has nobody to find.
#[test]
fn who_was_never_joined_is_told_that_it_is_alone() {
    let mut net = Net::new(1, Config::lan());
    net.start(0, &[0]);
    net.run_for(secs(60));
    assert_eq!(isolated(&net, 0), 0, "its own seed");
    net.start(1, &[7]);
    net.run_for(millis(400));
    assert_eq!(isolated(&net, 1), 1, "after the first round");
    net.run_for(secs(120));
    assert_eq!(isolated(&net, 1), 1, "once");
    net.hosts[1].seeds.push(addr(0));
    assert!(net.run_until(secs(15), Net::is_converged));
    net.crash(0);
    net.run_for(secs(120));
    assert_eq!(isolated(&net, 1), 2, "the last other member is gone");
    net.start(2, &[]);
    net.run_for(millis(400));
    assert_eq!(isolated(&net, 2), 1, "its names have no address");
}

/// §4.8.3: an answer that comes late is used when it comes, and addresses that are known are tried
/// without waiting for it.
#[test]
fn each_answer_is_used_when_it_comes() {
    let mut net = Net::new(4, Config::lan());
    net.start(0, &[]);
    let host = lone(&mut net);
    net.run_for(secs(5));
    let sent = |machine: &mut Membership, now| {
        let mut bytes = Vec::new();
        let mut to = Vec::new();
        while let Some(transmit) = machine.poll_transmit(now, &mut bytes) {
            to.extend((transmit.plane == Plane::Stream).then_some(transmit.to.addr));
        }
        to
    };
    let now = net.clock();
    let machine = &mut net.hosts[host].machine;
    machine.join(now);
    machine.handle_timeout(now);
    assert!(machine.poll_lookup());
    machine.handle_seeds(now, &[addr(50)]);
    assert_eq!(sent(machine, now), [addr(50)]);
    machine.handle_seeds(now, &[addr(50), addr(51)]);
    assert_eq!(sent(machine, now), [addr(51)], "and the first one is not tried twice in a round");
    machine.handle_stream_failed(now, Destination { addr: addr(50), id: None });
    machine.handle_timeout(now);
    assert!(sent(machine, now).is_empty(), "nothing is left in this round");
    machine.join(now);
    machine.handle_timeout(now);
    assert_eq!(sent(machine, now), [addr(50)], "without an answer to this round's look-up");
}
