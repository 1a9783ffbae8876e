use super::*;

#[test]
fn spans_are_read() {
    for (text, millis) in
        [("120s", 120_000), ("1.5s", 1_500), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000)]
    {
        assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "5", "s", "5d", "-1s", "1s2", "infs", "1e999s"] {
        assert!(span(text).is_err(), "{text}");
    }
}

#[test]
fn groups_of_nodes_are_read() {
    assert_eq!(nodes("3", 5), Ok(vec![3]));
    assert_eq!(nodes("4,0-2,1", 5), Ok(vec![0, 1, 2, 4]));
    for text in ["", "5", "3-1", "a", "0-", "-1", "0,,1"] {
        assert!(nodes(text, 5).is_err(), "{text}");
    }
}

#[test]
fn faults_are_read() {
    let second = 1_000_000_000;
    assert_eq!(
        stops("1,2@10s+5s", 5, Fault::FullPause),
        Ok(vec![
            Timed { at: 10 * second, until: 15 * second, fault: Fault::FullPause(1) },
            Timed { at: 10 * second, until: 15 * second, fault: Fault::FullPause(2) },
        ])
    );
    assert_eq!(stops("0@1s", 5, Fault::FullPause).map(|faults| faults[0].until), Ok(u64::MAX));
    let cut = Fault::Cut { from: vec![0, 1], to: vec![2, 3, 4], one_way: false };
    assert_eq!(
        partition("0,1|2-4@1s+1s", 5),
        Ok(Timed { at: second, until: 2 * second, fault: cut })
    );
    for text in ["0", "0@", "0@1s+", "9@1s"] {
        assert!(stops(text, 5, Fault::FullPause).is_err(), "{text}");
    }
    for text in ["0|1", "0@1s", "0|9@1s"] {
        assert!(partition(text, 5).is_err(), "{text}");
    }
}

#[test]
fn a_token_names_its_run() {
    for text in [
        "v1.lan.5.42.60000.all",
        "v1.local.3.18446744073709551615.1000.none",
        "v1.wan.50.0.1.0-3-17",
        "n1.lan.5.42.60000.all",
    ] {
        let (scenario, name) = parse_token(text).expect("well-formed");
        assert_eq!(token(&scenario, name).as_deref(), Some(text));
    }
    for text in [
        "",
        "v2.lan.5.42.60000.all",
        "v1.lan.0.1.1.all",
        "v1.far.5.1.1.all",
        "v1.lan.5.1.1.x",
        "v1.lan.5.1.1",
        "v1.lan.5.1.99999999999999.all",
    ] {
        assert!(parse_token(text).is_err(), "{text}");
    }
}
