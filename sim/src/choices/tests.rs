use super::*;

fn key(site: Site, nth: u32) -> Key {
    Key { site, who: 1, whom: 2, nth }
}

#[test]
fn a_seed_answers_a_key_the_same_in_any_order() {
    let mut one = Seeded::new(7);
    let forward: Vec<u32> =
        (0..100).map(|nth| one.choose(key(Site::Jitter, nth), Odds::up_to(255))).collect();
    let backward: Vec<u32> =
        (0..100).rev().map(|nth| one.choose(key(Site::Jitter, nth), Odds::up_to(255))).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    assert!(forward.windows(2).any(|pair| pair[0] != pair[1]));
}

/// Golden values: a change here changes what every seed means.
#[test]
fn a_seed_means_the_same_for_ever() {
    let mut seeded = Seeded::new(1);
    let drawn: Vec<u32> =
        (0..4).map(|nth| seeded.choose(key(Site::Loss, nth), Odds::up_to(999))).collect();
    assert_eq!(drawn, GOLDEN);
}

const GOLDEN: [u32; 4] = [301, 539, 870, 801];

#[test]
fn odds_are_kept() {
    let mut seeded = Seeded::new(3);
    let hits =
        (0..100_000).filter(|&nth| seeded.choose(key(Site::Loss, nth), Odds::chance(50_000)) == 1);
    let count = hits.count();
    assert!((4_700..5_300).contains(&count), "5 % of 100,000: {count}");
    assert_eq!(seeded.choose(key(Site::Loss, 0), Odds::chance(0)), 0);
    let mut seen = [0u32; 4];
    for nth in 0..4_000 {
        seen[seeded.choose(key(Site::Plan, nth), Odds::up_to(3)) as usize] += 1;
    }
    assert!(seen.iter().all(|&count| (800..1_200).contains(&count)), "uniform: {seen:?}");
}

#[test]
fn domains_are_drawn_apart() {
    let (mut one, mut other) = (Seeded::new(1), Seeded::new(1).with_domain(Domain::Network, 2));
    let differ = |one: &mut Seeded, other: &mut Seeded, site| {
        (0..64).any(|nth| {
            one.choose(key(site, nth), Odds::up_to(1_000))
                != other.choose(key(site, nth), Odds::up_to(1_000))
        })
    };
    assert!(differ(&mut one, &mut other, Site::Loss));
    assert!(!differ(&mut one, &mut other, Site::Plan));
    assert!(!differ(&mut one, &mut other, Site::EarlyWake));
}

#[test]
fn bytes_answer_in_bounds_and_end_calm() {
    let mut bytes = Bytes::new(&[0, 1, 255, 255, 255, 7, 9]);
    assert_eq!(bytes.choose(key(Site::Loss, 0), Odds::chance(1)), 0);
    assert_eq!(bytes.choose(key(Site::Loss, 1), Odds::chance(1)), 1);
    assert_eq!(bytes.choose(key(Site::Loss, 2), Odds { per_million: 5, most: 3 }), 3);
    assert_eq!(bytes.choose(key(Site::Plan, 0), Odds::up_to(1_000_000)), 1_000_000);
    let value = bytes.choose(key(Site::Plan, 1), Odds::up_to(1_000));
    assert!((1..=1_000).contains(&value));
    assert!((0..100).all(|nth| bytes.choose(key(Site::Loss, nth), Odds::up_to(u32::MAX)) == 0));
}

#[test]
fn a_tape_is_what_was_not_benign_and_replays_it() {
    let mut recorder = Recorder::new(Seeded::new(9));
    let odds = Odds { per_million: 100_000, most: 40 };
    let first: Vec<u32> =
        (0..500).map(|nth| recorder.choose(key(Site::Reorder, nth), odds)).collect();
    let tape = recorder.take_tape().expect("a recorder writes down");
    assert_eq!(tape.len(), first.iter().filter(|&&value| value != 0).count());
    let mut read: Tape = tape.to_text().parse().expect("its own text");
    assert_eq!(read, tape);
    let again: Vec<u32> = (0..500).map(|nth| read.choose(key(Site::Reorder, nth), odds)).collect();
    assert_eq!(again, first);
    read.retain(|_| false);
    assert!(read.is_empty());
    assert!((0..500).all(|nth| read.choose(key(Site::Reorder, nth), odds) == 0));
}

#[test]
fn a_text_that_is_no_tape_is_refused_with_its_line() {
    for (text, line) in [
        ("x", 1),
        ("0 1 2 3 4\n99 1 2 3 4", 2),
        ("0 1 2 3", 1),
        ("0 1 2 3 4 5", 1),
        ("0 1 2 3 -4", 1),
    ] {
        assert_eq!(text.parse::<Tape>(), Err(TapeError { line }), "{text}");
    }
}
