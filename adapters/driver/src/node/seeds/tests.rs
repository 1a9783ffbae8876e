use super::*;

#[test]
fn a_seed_is_a_host_and_a_port() {
    for good in ["10.0.0.1:7000", "[::1]:7000", "db-1:7000", "db_1.eu.example:1", "[fe80::1%2]:9"] {
        assert_eq!(fault_of(good), None, "{good}");
    }
    for (bad, expected) in [
        ("", "no port"),
        ("db-1", "no port"),
        ("10.0.0.1", "no port"),
        (":7000", "no host"),
        ("db-1:", "not a number"),
        ("db-1:http", "not a number"),
        ("db-1:65536", "not a number"),
        ("db-1:0", "port is 0"),
        ("10.0.0.1:0", "port is 0"),
        ("::1:7000", "brackets"),
        ("http://db-1:7000", "neither"),
        ("db 1:7000", "neither"),
    ] {
        let fault = fault_of(bad);
        assert!(fault.is_some_and(|fault| fault.contains(expected)), "{bad}: {fault:?}");
    }
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn seeds(names: &[&str]) -> Seeds {
    Seeds::new(names.iter().map(ToString::to_string).collect(), [addr(1), addr(1)])
}

fn refused() -> Answer {
    Err(io::Error::other("no such name"))
}

#[test]
fn every_seed_is_named_with_what_came_of_it() {
    let mut seeds = seeds(&["127.0.0.1:1", "127.0.0.1:2", "db:3", "gone:4", "empty:5", "mute:6"]);
    let found = [Ok(vec![addr(1)]), Ok(vec![addr(2)]), Ok(vec![addr(3)]), refused(), Ok(vec![])];
    let addrs = seeds.looked_up(found.into_iter().chain([Ok(vec![addr(6)])]).collect());
    assert_eq!(addrs, [addr(1), addr(2), addr(3), addr(6)]);
    seeds.dial_failed(addr(2), "timed out".into());
    seeds.dial_failed(addr(2), "refused".into());
    seeds.dial_failed(addr(3), "refused".into());
    seeds.dial_failed(addr(9), "not a seed's".into());
    assert_eq!(
        seeds.warning(at(0), true).as_deref(),
        Some(
            "no seed has answered yet, and this node keeps trying: 127.0.0.1:2: refused; db:3: \
             refused (at 127.0.0.1:3); gone:4: no such name; empty:5: the name has no address; \
             mute:6: no answer"
        )
    );
}

#[test]
fn a_long_list_is_cut_and_the_rest_counted() {
    let names: Vec<String> = (0..SEEDS_NAMED_MAX + 3).map(|at| format!("db-{at}:7")).collect();
    let mut seeds = Seeds::new(names.clone(), [addr(1), addr(1)]);
    seeds.looked_up(names.iter().map(|_| refused()).collect());
    let text = seeds.warning(at(0), true).expect("nobody was found");
    assert!(text.ends_with("; and 3 more"), "{text}");
    assert_eq!(text.matches("no such name").count(), SEEDS_NAMED_MAX);
}

#[test]
fn the_log_says_it_at_once_and_then_at_a_distance_that_doubles() {
    let mut seeds = seeds(&["db:2"]);
    assert_eq!(seeds.warning(at(0), true), None, "the first round has not been yet");
    seeds.looked_up(vec![refused()]);
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
    seeds.looked_up(vec![Ok(vec![addr(1)])]);
    assert_eq!(seeds.warning(at(0), true), None);
}
