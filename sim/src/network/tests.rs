use super::*;
use crate::choices::{Seeded, Tape};

const CALM: u64 = 250_000;

fn with(quality: Quality) -> Network {
    let mut network = Network::new(4);
    network.begin(0, &Fault::Link { from: vec![0], to: vec![1], quality });
    network
}

fn copies(network: &mut Network, from: u32, to: u32) -> usize {
    let mut seeded = Seeded::new(1);
    (0..10_000).map(|_| network.datagram(&mut seeded, from, to, 100).iter().flatten().count()).sum()
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
        assert_eq!(network.datagram(&mut Tape::default(), 0, 1, 100), calm);
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
    let mut network = with(Quality { burst: Some([10_000, 100_000, 1_000_000]), ..Quality::default() });
    let mut seeded = Seeded::new(2);
    let lost: Vec<bool> =
        (0..20_000).map(|_| network.datagram(&mut seeded, 0, 1, 100)[0].is_none()).collect();
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
    assert_eq!(network.datagram(&mut Tape::default(), 0, 1, 501), [None; 2]);
    assert!(network.datagram(&mut Tape::default(), 0, 1, 500)[0].is_some());
}

#[test]
fn streams_keep_their_order_and_repeat_what_is_lost() {
    let mut network = with(Quality { loss: 300_000, jitter: Duration::from_millis(5), ..Quality::default() });
    let mut seeded = Seeded::new(3);
    let arrivals: Vec<u64> = (0..1_000).map(|now| network.stream(&mut seeded, now, 0, 1)).collect();
    assert!(arrivals.windows(2).all(|pair| pair[0] < pair[1]));
    assert!((200..400).contains(&network.struck.retransmitted));
}
