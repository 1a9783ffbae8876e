use super::*;

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn seeds(names: &[&str]) -> Seeds {
    let mut list = SeedList::default();
    for name in names {
        list.add((*name).into(), Source::of(name).expect("a host and a port"));
    }
    let mut seeds = Seeds::new([addr(1), addr(1)]);
    seeds.set_list(&list);
    seeds
}

/// A round in which the seeds of these names are answered so.
fn round(seeds: &mut Seeds, answers: Vec<(&str, Answer)>) {
    seeds.begin_round(at(0), false, NodeId::new(1));
    for (number, (name, answer)) in (1..).zip(answers) {
        let seed = seeds.all.iter_mut().find(|seed| seed.name == name).expect("it is a seed");
        (seed.is_due, seed.lookup) = (false, Some(number));
        seeds.answered(number, answer);
    }
}

fn refused() -> Answer {
    Err(io::Error::other("no such name"))
}

#[test]
fn every_seed_is_named_with_what_came_of_it() {
    let names = ["127.0.0.1:1", "127.0.0.1:2", "db:3", "gone:4", "empty:5", "mute:6", "slow:7"];
    let mut seeds = seeds(&names);
    round(
        &mut seeds,
        vec![
            ("db:3", Ok(vec![addr(3)])),
            ("gone:4", refused()),
            ("empty:5", Ok(vec![])),
            ("mute:6", Ok(vec![addr(6)])),
        ],
    );
    assert_eq!(seeds.addrs(), [addr(1), addr(2), addr(3), addr(6)]);
    assert!(seeds.dial_failed(addr(2), "timed out".into()));
    assert!(seeds.dial_failed(addr(2), "refused".into()));
    assert!(seeds.dial_failed(addr(3), "refused".into()));
    assert!(!seeds.dial_failed(addr(9), "not a seed's".into()));
    assert_eq!(
        seeds.warning(at(0), true).as_deref(),
        Some(
            "no seed has answered yet, and this node keeps trying: 127.0.0.1:2: refused; db:3: \
             refused (at 127.0.0.1:3); gone:4: no such name; empty:5: the name has no address; \
             mute:6: no answer; slow:7: its look-up is not answered yet"
        )
    );
}

#[test]
fn a_long_list_is_cut_and_the_rest_counted() {
    let names: Vec<String> = (0..SEEDS_NAMED_MAX + 3).map(|at| format!("db-{at}:7")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut seeds = seeds(&names);
    round(&mut seeds, names.iter().map(|name| (*name, refused())).collect());
    let text = seeds.warning(at(0), true).expect("nobody was found");
    assert!(text.ends_with("; and 3 more"), "{text}");
    assert_eq!(text.matches("no such name").count(), SEEDS_NAMED_MAX);
}

/// `docs/protocol.md` §4.8.3: a look-up that fails forgets nothing, and one that gives other
/// addresses replaces those before.
#[test]
fn a_failed_look_up_forgets_nothing() {
    let mut seeds = seeds(&["db:3"]);
    round(&mut seeds, vec![("db:3", Ok(vec![addr(3), addr(4)]))]);
    for answer in [refused(), Ok(vec![])] {
        round(&mut seeds, vec![("db:3", answer)]);
        assert_eq!(seeds.addrs(), [addr(3), addr(4)]);
    }
    assert!(seeds.dial_failed(addr(4), "refused".into()));
    round(&mut seeds, vec![("db:3", Ok(vec![addr(5)]))]);
    assert_eq!(seeds.addrs(), [addr(5)]);
    assert!(seeds.failures.is_empty(), "of an address that is no seed's any more");
}

/// `docs/protocol.md` §4.8.3: an answer to a look-up that nobody waits for changes nothing.
#[test]
fn an_answer_for_a_seed_that_was_taken_out_is_dropped() {
    let mut seeds = seeds(&["db:3"]);
    seeds.all[0].lookup = Some(1);
    seeds.set_list(&SeedList::default());
    assert!(!seeds.answered(1, refused()), "it is not counted either");
    assert!(seeds.addrs().is_empty());
}

#[test]
fn the_log_says_it_at_once_and_then_at_a_distance_that_doubles() {
    let mut seeds = seeds(&["db:2"]);
    assert_eq!(seeds.warning(at(0), true), None, "the first round has not been yet");
    round(&mut seeds, vec![("db:2", refused())]);
    let said: Vec<u64> =
        (1..3_600 * 6).filter(|&second| seeds.warning(at(second), true).is_some()).collect();
    let distances: Vec<u64> = said.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(distances[..9], [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560]);
    assert_eq!(distances[9..], [3_600, 3_600, 3_600, 3_600][..distances.len() - 9]);
    assert!(distances.len() > 10);
    assert_eq!(said[0], 1);
    // Somebody was found, and is gone again.
    assert_eq!(seeds.warning(at(50_000), false), None);
    assert!(seeds.warning(at(50_001), true).is_some());
    assert!(seeds.warning(at(50_011), true).is_some());
}

#[test]
fn a_node_that_is_its_own_only_seed_is_not_warned() {
    let mut seeds = seeds(&["127.0.0.1:1"]);
    round(&mut seeds, vec![]);
    assert_eq!(seeds.warning(at(0), true), None);
}
