use super::*;
use crate::choices::{Seeded, Tape};

const CALM: u64 = 250_000;

fn with(quality: Quality) -> Network {
    let mut network = Network::new(4);
    network.begin(0, &Fault::Link { from: vec![0], to: vec![1], quality });
    network
}

fn arrives(fate: StreamFate) -> u64 {
    let StreamFate::Arrives(at) = fate else { panic!("a sound stream: {fate:?}") };
    at
}

fn copies(network: &mut Network, from: u32, to: u32) -> usize {
    let mut seeded = Seeded::new(1);
    (0..10_000)
        .map(|_| network.datagram(&mut seeded, 0, (from, to), 100).iter().flatten().count())
        .sum()
}

#[test]
fn with_benign_choices_every_ill_is_calm() {
    let every = Quality {
        loss: 900_000,
        burst: Some([900_000; 3]),
        duplicate: 900_000,
        reorder: 900_000,
        corrupt: 900_000,
        truncate: 900_000,
        jitter: Duration::from_secs(1),
        ..Quality::default()
    };
    let mut network = with(every);
    let calm = [Some(Fate { takes: CALM, flips: None, cut_to: None }), None];
    for _ in 0..100 {
        assert_eq!(network.datagram(&mut Tape::default(), 0, (0, 1), 100), calm);
    }
    assert_eq!(network.struck, Struck::default());
    assert_eq!(CALM, nanos(LATENCY_MIN));
}

#[test]
fn each_ill_strikes_as_often_as_it_says_and_one_way_only() {
    let tenth = 100_000;
    type Count = fn(&Struck) -> u64;
    let cases: [(Quality, Count); 5] = [
        (Quality { loss: tenth, ..Quality::default() }, |struck| struck.lost),
        (Quality { duplicate: tenth, ..Quality::default() }, |struck| struck.duplicated),
        (Quality { reorder: tenth, ..Quality::default() }, |struck| struck.reordered),
        (Quality { corrupt: tenth, ..Quality::default() }, |struck| struck.corrupted),
        (Quality { truncate: tenth, ..Quality::default() }, |struck| struck.truncated),
    ];
    for (quality, count) in cases {
        let mut network = with(quality);
        copies(&mut network, 0, 1);
        let struck = count(&network.struck);
        assert!((850..1_150).contains(&struck), "{quality:?}: {struck}");
        assert_eq!(copies(&mut network, 1, 0), 10_000, "the way back is sound");
        network.end(0);
        assert_eq!(copies(&mut network, 0, 1), 10_000, "sound once it is over");
    }
}

#[test]
fn bursts_lose_in_rows() {
    let mut network =
        with(Quality { burst: Some([10_000, 100_000, 1_000_000]), ..Quality::default() });
    let mut seeded = Seeded::new(2);
    let lost: Vec<bool> =
        (0..20_000).map(|_| network.datagram(&mut seeded, 0, (0, 1), 100)[0].is_none()).collect();
    let total = lost.iter().filter(|&&is_lost| is_lost).count();
    let begins = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    assert!((1_200..2_400).contains(&total), "a share of 1 in 11: {total}");
    assert!((7..14).contains(&(total / begins)), "about ten in a row: {total} in {begins}");
}

#[test]
fn a_cut_stops_what_it_says() {
    let mut network = Network::new(4);
    network.begin(0, &Fault::Cut { from: vec![0, 1], to: vec![2, 3], one_way: false });
    network.begin(1, &Fault::Cut { from: vec![0], to: vec![1], one_way: true });
    let expected = |from, to| matches!((from, to), (0 | 1, 2 | 3) | (2 | 3, 0 | 1) | (0, 1));
    for (from, to) in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))) {
        assert_eq!(network.is_cut(from, to), expected(from, to), "{from} to {to}");
    }
    network.end(0);
    assert!(!network.is_cut(0, 2) && network.is_cut(0, 1));
}

#[test]
fn long_datagrams_vanish_where_the_link_is_narrow() {
    let mut network = with(Quality { mtu: Some(500), ..Quality::default() });
    assert_eq!(network.datagram(&mut Tape::default(), 0, (0, 1), 501), [None; 2]);
    assert!(network.datagram(&mut Tape::default(), 0, (0, 1), 500)[0].is_some());
}

#[test]
fn streams_keep_their_order_and_repeat_what_is_lost() {
    let mut network =
        with(Quality { loss: 300_000, jitter: Duration::from_millis(5), ..Quality::default() });
    let mut seeded = Seeded::new(3);
    let arrivals: Vec<u64> =
        (0..1_000).map(|now| arrives(network.stream(&mut seeded, now, (0, 1), 100))).collect();
    assert!(arrivals.windows(2).all(|pair| pair[0] < pair[1]));
    assert!((200..400).contains(&network.struck.retransmitted));
}

#[test]
fn a_narrow_link_queues_and_then_drops() {
    let mut network = with(Quality { bandwidth: Some(10_000), ..Quality::default() });
    let mut takes =
        |now| network.datagram(&mut Tape::default(), now, (0, 1), 1_000)[0].map(|fate| fate.takes);
    let tenth = 100_000_000;
    assert_eq!(takes(0), Some(tenth + CALM), "1,000 bytes at 10,000 a second");
    assert_eq!(takes(0), Some(2 * tenth + CALM), "behind the first");
    assert_eq!(takes(10 * tenth), Some(tenth + CALM), "the queue has drained");
    assert_eq!((0..20).filter_map(|_| takes(20 * tenth)).count(), 6, "half a second is kept");
    assert_eq!(
        network.datagram(&mut Tape::default(), 0, (1, 0), 1_000)[0].map(|fate| fate.takes),
        Some(CALM)
    );
}

#[test]
fn a_half_open_stream_swallows_and_a_reset_one_loses_both_ways() {
    let quality = Quality { half_open: 1_000_000, ..Quality::default() };
    let mut network = with(quality);
    let silent = network.stream(&mut Seeded::new(1), 5, (0, 1), 10);
    assert_eq!(silent, StreamFate::Vanishes(5 + nanos(HALF_OPEN_FOR)));
    network.end(0);
    let later = network.stream(&mut Tape::default(), 6, (0, 1), 10);
    assert_eq!(later, silent, "it stays silent although the fault is over");
    let after = network.stream(&mut Tape::default(), 5 + nanos(HALF_OPEN_FOR), (0, 1), 10);
    assert!(matches!(after, StreamFate::Arrives(_)), "another stream: {after:?}");

    let mut network = with(Quality { reset: 1_000_000, ..Quality::default() });
    assert!(!network.was_reset(0, 1, 0));
    network.stream(&mut Seeded::new(1), 5, (0, 1), 10);
    for (from, to) in [(0, 1), (1, 0)] {
        assert!(network.was_reset(from, to, 5) && !network.was_reset(from, to, 6));
    }
    assert!(!network.was_reset(0, 2, 5));
}

#[test]
fn a_cut_that_flaps_is_on_and_off_by_turns() {
    let mut network = Network::new(4);
    let every = Duration::from_secs(1);
    network.begin(3, &Fault::Flap { from: vec![0], to: vec![1, 2], one_way: false, every });
    assert!(network.is_cut(0, 1) && network.stops(2, 0) && !network.is_cut(1, 2));
    network.flap(3);
    assert!(!network.is_cut(0, 1));
    network.flap(3);
    assert!(network.is_cut(0, 1));
    network.end(3);
    assert!(!network.stops(0, 1));
    assert_eq!(network.struck.cut, [0, 0, 1]);
}

#[test]
fn one_plane_is_closed_and_the_other_open() {
    let mut network = with(Quality { no_streams: true, ..Quality::default() });
    assert_eq!(copies(&mut network, 0, 1), 10_000, "datagrams cross");
    assert!(network.is_stream_cut(0, 1, false) && network.stops_stream(0, 1, false));
    assert!(!network.is_stream_cut(1, 0, false), "one way only");
    assert_eq!(network.struck.planes, [1, 0, 0, 0]);

    let mut network = with(Quality { opens_lost: true, ..Quality::default() });
    assert!(network.stops_stream(0, 1, true) && !network.stops_stream(0, 1, false));
    assert!(!network.refuses(0, 1) && !network.is_proxied(0, 1));
    assert_eq!(network.struck.planes, [0, 1, 0, 0]);

    let mut network = with(Quality { opens_refused: true, proxy: true, ..Quality::default() });
    assert!(network.refuses(0, 1) && !network.refuses(1, 0));
    assert!(network.is_proxied(0, 1) && !network.is_proxied(1, 0));
    assert_eq!(network.struck.planes, [0, 0, 1, 1]);
    network.end(0);
    assert!(!network.refuses(0, 1) && !network.is_proxied(0, 1));
}
