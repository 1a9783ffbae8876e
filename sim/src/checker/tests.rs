//! Each oracle against a broken stream of observations, which it must catch, and a sound one beside
//! it, which it must not.

use chinwag_core::clock::Timestamp;
use chinwag_core::id::{Epoch, Incarnation};
use chinwag_core::membership::{Config, Event, Member, Metadata, Plane, State, Stats};
use chinwag_core::time::{Instant, WallTime};

use super::clocks::{Clocks, Receipt};
use super::deaths::{Deaths, Truth};
use super::machine::{Machines, POLLS_MAX};
use super::suspicions::Suspicions;
use super::views::{Views, Word, id};
use super::{Check, Violation};
use crate::fault::{Fault, Quality};

fn member(node: u32, epoch: u64, incarnation: u32, state: State) -> Member {
    let addr = crate::host::first_addr(node);
    let mut member = Member::new(id(node), Epoch::new(epoch), addr);
    (member.incarnation, member.state) = (Incarnation::new(incarnation), state);
    member
}

fn with_dc(mut member: Member) -> Member {
    member.metadata = dc();
    member
}

/// Three nodes of which node 1 has begun epoch 5, incarnations 0 to 3, and epoch 6; node 0 looks at
/// it.
fn views() -> Views {
    let mut views = Views::new(3, false);
    for (refutations, (epoch, incarnation)) in (0..).zip([(5, 0), (5, 3), (6, 0)]) {
        let own = member(1, epoch, incarnation, State::Alive);
        let word = Word { has_left: false, refutations };
        views.local(1, &own, false).and_then(|()| views.life(1, &own, word)).expect("its own word");
    }
    views
}

fn told(events: &[Event]) -> Check {
    let mut views = views();
    events.iter().try_for_each(|event| views.event(0, event))
}

fn caught(check: Check) -> &'static str {
    check.map_or_else(|Violation { oracle, .. }| oracle, |()| "nothing")
}

fn joined(incarnation: u32) -> Event {
    Event::Joined(member(1, 5, incarnation, State::Alive))
}

fn died(incarnation: u32) -> Event {
    Event::Died(member(1, 5, incarnation, State::Dead))
}

fn dc() -> Metadata {
    Metadata::new().with("dc", "eu").expect("short enough")
}

#[test]
fn a_sound_life_is_let_pass() {
    let life = [
        joined(0),
        Event::Suspected(member(1, 5, 0, State::Suspect)),
        Event::Recovered(member(1, 5, 1, State::Alive)),
        Event::Updated(member(1, 5, 2, State::Alive)),
        Event::Suspected(member(1, 5, 2, State::Suspect)),
        died(2),
        joined(3),
        Event::Joined(member(1, 6, 0, State::Alive)),
        Event::Left(member(1, 6, 0, State::Left)),
    ];
    assert_eq!(told(&life), Ok(()));
}

#[test]
fn views_that_go_back_are_caught() {
    let suspected = Event::Suspected(member(1, 5, 0, State::Suspect));
    let cases = [
        ("incarnation_lattice", vec![joined(1), Event::Updated(member(1, 5, 0, State::Alive))]),
        (
            "incarnation_lattice",
            vec![joined(0), suspected.clone(), Event::Recovered(member(1, 5, 0, State::Alive))],
        ),
        ("incarnation_lattice", vec![Event::Joined(member(1, 6, 0, State::Alive)), died(3)]),
        ("no_resurrection", vec![joined(1), died(1), joined(1)]),
        ("no_resurrection", vec![joined(1), died(1), joined(0)]),
        ("no_forged_incarnation", vec![joined(4)]),
        ("no_forged_incarnation", vec![Event::Joined(member(1, 7, 0, State::Alive))]),
        ("no_forged_incarnation", vec![Event::Joined(member(9, 5, 0, State::Alive))]),
        ("event_order", vec![suspected.clone()]),
        ("event_order", vec![died(0)]),
        ("event_order", vec![joined(0), joined(1)]),
        ("event_order", vec![joined(0), suspected, Event::Updated(member(1, 5, 1, State::Alive))]),
        ("event_order", vec![Event::Joined(member(0, 5, 0, State::Alive))]),
        (
            "owners_word",
            vec![Event::Joined({
                let mut moved = member(1, 5, 0, State::Alive);
                moved.addr = crate::host::first_addr(2);
                moved
            })],
        ),
        ("owners_word", vec![Event::Joined(with_dc(member(1, 5, 0, State::Alive)))]),
        ("resources", vec![Event::Lost(1)]),
    ];
    for (oracle, events) in cases {
        assert_eq!(caught(told(&events)), oracle, "{events:?}");
    }
}

#[test]
fn a_node_that_thinks_ill_of_itself_or_goes_back_is_caught() {
    let check = |node, has_left| caught(views().local(1, &node, has_left));
    assert_eq!(check(member(1, 6, 1, State::Alive), false), "nothing");
    assert_eq!(check(member(1, 6, 1, State::Left), true), "nothing");
    assert_eq!(check(member(1, 6, 1, State::Suspect), false), "self_is_alive");
    assert_eq!(check(member(1, 6, 1, State::Alive), true), "self_is_alive");
    assert_eq!(check(member(1, 5, 9, State::Alive), false), "self_is_alive");
}

#[test]
fn a_life_raised_for_nothing_or_after_the_end_is_caught() {
    let raised = member(1, 6, 1, State::Alive);
    let check = |node: Member, refutations| {
        caught(views().life(1, &node, Word { has_left: false, refutations }))
    };
    assert_eq!(check(member(1, 6, 0, State::Alive), 2), "nothing");
    assert_eq!(check(raised.clone(), 3), "nothing", "it has refuted once more");
    assert_eq!(check(raised.clone(), 2), "own_life");
    assert_eq!(check(with_dc(raised.clone()), 2), "nothing");
    let mut views = views();
    let gone = Word { has_left: true, refutations: 2 };
    assert_eq!(caught(views.life(1, &member(1, 6, 0, State::Left), gone)), "nothing");
    assert_eq!(caught(views.life(1, &raised, Word { refutations: 3, ..gone })), "own_life");
}

#[test]
fn deaths_without_a_long_enough_suspicion_are_caught() {
    let config = Config::lan();
    let least = 4_000_000_000;
    assert_eq!(u128::from(least), (config.probe_interval * config.suspicion_mult).as_nanos());
    let suspected = |epoch| Event::Suspected(member(1, epoch, 0, State::Suspect));
    let after = |events: &[(u64, Event)]| {
        let mut suspicions = Suspicions::new(&config, false);
        caught(
            events
                .iter()
                .try_for_each(|(at, event)| suspicions.event(0, Instant::from_nanos(*at), event)),
        )
    };
    let recovered = Event::Recovered(member(1, 5, 1, State::Alive));
    let learnt = Event::Joined(member(1, 5, 0, State::Suspect));
    for (events, expected) in [
        (vec![(0, suspected(5)), (least, died(0))], "nothing"),
        (vec![(0, learnt), (least, died(0))], "nothing"),
        (vec![(1, suspected(5)), (least, died(0))], "suspicion_time"),
        (vec![(0, suspected(4)), (least, died(0))], "suspicion_time"),
        (vec![(0, suspected(5)), (1, recovered), (least, died(1))], "suspicion_time"),
        (vec![(0, joined(0)), (least, died(0))], "suspicion_time"),
    ] {
        assert_eq!(after(&events), expected, "{events:?}");
    }
}

#[test]
fn a_snapshot_or_a_getter_that_differs_from_the_events_is_caught() {
    let mut views = views();
    views.event(0, &joined(1)).expect("sound");
    let seen = member(1, 5, 1, State::Alive);
    let snapshot = |members: &[Member], count| caught(views.snapshot(0, members, count));
    assert_eq!(snapshot(std::slice::from_ref(&seen), 1), "nothing");
    assert_eq!(snapshot(std::slice::from_ref(&seen), 2), "events_fold");
    assert_eq!(snapshot(&[], 0), "events_fold");
    assert_eq!(snapshot(&[member(1, 5, 2, State::Alive)], 1), "events_fold");
    assert_eq!(snapshot(&[member(2, 5, 1, State::Alive)], 1), "events_fold");
    let got = |got| caught(views.got(0, 1, got));
    assert_eq!(got(Some(&seen)), "nothing");
    assert_eq!(got(None), "events_fold");
    assert_eq!(got(Some(&member(1, 5, 1, State::Dead))), "events_fold");
}

#[test]
fn a_broadcast_given_twice_or_made_up_is_caught() {
    let mut views = views();
    let event =
        |payload: &'static [u8]| Event::Broadcast { from: id(1), payload: payload.to_vec().into() };
    views.broadcast(b"one");
    assert_eq!(caught(views.event(0, &event(b"one"))), "nothing");
    assert_eq!(caught(views.event(0, &event(b"one"))), "broadcast_once");
    assert_eq!(caught(views.event(2, &event(b"two"))), "broadcast_once");
    views.started(0);
    assert_eq!(caught(views.event(0, &event(b"one"))), "nothing", "another run of the node");
}

#[test]
fn clocks_that_run_back_ignore_causes_or_run_away_are_caught() {
    let at = |micros: u64| Timestamp::from_raw(micros << 12);
    let wall = |micros: u64| WallTime::from_nanos(micros * 1_000);
    let mut clocks = Clocks::new(2, 500_000);
    assert_eq!(caught(clocks.sent(0, wall(1_000_000), at(1_000_000))), "nothing");
    assert_eq!(caught(clocks.sent(0, wall(1_000_001), at(1_000_000))), "hlc_rises");
    assert_eq!(caught(clocks.sent(0, wall(1_000_002), at(1_600_000))), "hlc_bound");
    clocks.started(1, false);
    let receipt = |stamp, after, was_refused| Receipt {
        stamp: at(stamp),
        wall: wall(1_000_000),
        after: at(after),
        was_refused,
        was_dropped: false,
    };
    assert_eq!(caught(clocks.received(1, &receipt(1_200_000, 1_200_000, false))), "nothing");
    assert_eq!(caught(clocks.received(1, &receipt(1_300_000, 1_200_000, false))), "hlc_causality");
    assert_eq!(caught(clocks.received(1, &receipt(1_300_000, 1_200_000, true))), "hlc_bound");
    assert_eq!(caught(clocks.received(1, &receipt(1_600_000, 1_200_000, true))), "nothing");
    assert_eq!(caught(clocks.received(1, &receipt(1_600_000, 1_600_000, false))), "hlc_bound");
}

#[test]
fn machines_that_never_rest_talk_too_long_or_shed_are_caught() {
    let now = Instant::from_nanos(5_000_000_000);
    let later = Instant::from_nanos(5_000_000_001);
    let mut machines = Machines::new(1, 1_400);
    assert_eq!(caught(machines.fired(0, now, Some(later))), "nothing");
    let busy = (0..20).try_for_each(|_| machines.fired(0, now, Some(now)));
    assert_eq!(caught(busy), "poll_contract");
    let mut machines = Machines::new(1, 1_400);
    let often =
        (0..10_000).try_for_each(|nanos| machines.fired(0, Instant::from_nanos(nanos), None));
    assert_eq!(caught(often), "poll_contract");
    assert_eq!(caught(machines.fired_early(0, (Some(later), 1), (Some(later), 1), 0)), "nothing");
    assert_eq!(
        caught(machines.fired_early(0, (Some(later), 1), (Some(now), 1), 0)),
        "poll_contract"
    );
    assert_eq!(
        caught(machines.fired_early(0, (Some(later), 1), (Some(later), 2), 0)),
        "poll_contract"
    );
    assert_eq!(
        caught(machines.fired_early(0, (Some(later), 1), (Some(later), 1), 1)),
        "poll_contract"
    );
    assert_eq!(caught(machines.drained(0, POLLS_MAX + 1)), "poll_contract");
    assert_eq!(caught(machines.sent(0, now, Plane::Datagram, 1_400)), "nothing");
    assert_eq!(caught(machines.sent(0, now, Plane::Datagram, 1_401)), "mtu");
    assert_eq!(caught(machines.sent(0, now, Plane::Stream, 32_769)), "mtu");
    let flood = (0..10_000).try_for_each(|_| machines.sent(0, now, Plane::Datagram, 100));
    assert_eq!(caught(flood), "resources");
    assert_eq!(
        (caught(machines.is_aware(0, 8, 8)), caught(machines.is_aware(0, 9, 8))),
        ("nothing", "awareness")
    );
    assert_eq!(caught(machines.counted(0, &Stats::default())), "nothing");
    let mut shed = Stats::default();
    shed.events_shed = 1;
    assert_eq!(caught(machines.counted(0, &shed)), "resources");
}

#[test]
fn deaths_of_the_living_are_caught_unless_a_fault_excuses_them() {
    let with = |faults: &[Fault]| {
        let mut deaths = Deaths::new(4);
        for node in 0..4 {
            deaths.is(node, Truth::Up);
            deaths.epoch(node, 5);
        }
        faults.iter().for_each(|fault| deaths.fault(fault, false));
        deaths
    };
    let loss = |loss| Fault::Link {
        from: vec![],
        to: vec![],
        quality: Quality { loss, ..Quality::default() },
    };
    let edge = Fault::Cut { from: vec![0], to: vec![1], one_way: true };
    for (faults, expected) in [
        (vec![], "accuracy"),
        (vec![loss(50_000)], "accuracy"),
        (vec![loss(200_000)], "nothing"),
        (vec![edge], "accuracy"),
        (vec![Fault::IoBlock(3)], "accuracy"),
        (vec![Fault::IoBlock(0)], "nothing"),
        (vec![Fault::FullPause(1)], "nothing"),
        (vec![Fault::Cut { from: vec![0, 1], to: vec![2, 3], one_way: false }], "nothing"),
    ] {
        assert_eq!(caught(with(&faults).died(9, 0, 1, 5)), expected, "{faults:?}");
    }
    assert_eq!(caught(with(&[]).suspected(9, 0, 1, 5)), "accuracy", "nothing has gone wrong");
    assert_eq!(caught(with(&[loss(1)]).suspected(9, 0, 1, 5)), "nothing");
    assert_eq!(caught(with(&[]).died(9, 0, 1, 4)), "nothing", "an earlier run");
    let mut deaths = with(&[]);
    deaths.fault(&Fault::FullPause(1), true);
    assert_eq!(caught(deaths.died(9, 0, 1, 5)), "accuracy", "a mild plan excuses nothing");
    let mut deaths = with(&[Fault::IoBlock(0)]);
    assert_eq!(caught(deaths.died(9, 0, 1, 5)), "nothing");
    assert_eq!(deaths.excused.into_iter().collect::<Vec<_>>(), [("io_block", 1)]);
    let mut deaths = with(&[]);
    deaths.is(1, Truth::Left);
    assert_eq!(caught(deaths.died(9, 0, 1, 5)), "accuracy", "leaving is no death");
    deaths.is(1, Truth::Down(4));
    assert_eq!(caught(deaths.died(9, 0, 1, 5)), "nothing");
    assert_eq!(deaths.detections().next().and_then(|detection| detection.first), Some(5));
}

/// One blocked link excuses nobody while two others can be asked, and its ends once they cannot,
/// also if they go afterwards.
#[test]
fn accuracy_excuses_a_blocked_link_where_there_is_nobody_to_ask() {
    let edge = Fault::Cut { from: vec![0], to: vec![1], one_way: true };
    for gone in [Truth::Left, Truth::Down(2)] {
        for goes_first in [true, false] {
            let mut deaths = Deaths::new(4);
            (0..4).for_each(|node| deaths.is(node, Truth::Up));
            (0..4).for_each(|node| deaths.epoch(node, 1));
            if goes_first {
                deaths.is(2, gone);
            }
            deaths.fault(&edge, false);
            assert_eq!(deaths.died(3, 0, 1, 1).is_ok(), goes_first);
            deaths.is(2, gone);
            assert!(deaths.died(4, 0, 1, 1).is_ok());
        }
    }
}
