//! §1.2, §2.5: which claims are claims. §4.12: the preset.

use super::*;
use crate::model::{EPOCH_MAX, Why, metadata};

#[test]
fn a_malformed_claim_is_none() {
    let well = full(HER_EPOCH, 3, State::Alive);
    let with = |change: &dyn Fn(&mut Details)| {
        let mut claim = well.clone();
        change(claim.details.as_mut().expect("full"));
        claim
    };
    let table = [
        ("as it should be", well.clone(), false),
        ("the last epoch", full(EPOCH_MAX, 3, State::Alive), false),
        ("past the last epoch", full(EPOCH_MAX + 1, 3, State::Alive), true),
        ("alive without details", bare(HER_EPOCH, 3, State::Alive), true),
        ("suspect without details", bare(HER_EPOCH, 3, State::Suspect), false),
        ("alive with details of before", with(&|details| details.incarnation = 2), true),
        (
            "dead with details of later",
            Claim { state: State::Dead, ..with(&|details| details.incarnation = 4) },
            true,
        ),
        ("details of later", with(&|details| details.incarnation = 4), true),
        (
            "dead with details of before",
            Claim { state: State::Dead, ..with(&|details| details.incarnation = 2) },
            false,
        ),
        ("port 0", with(&|details| details.address.set_port(0)), true),
        (
            "512 bytes",
            with(&|details| details.metadata = metadata::bytes(&[("k", &"v".repeat(508))])),
            false,
        ),
        (
            "513 bytes",
            with(&|details| details.metadata = metadata::bytes(&[("k", &"v".repeat(509))])),
            true,
        ),
        (
            "8 accusers",
            Claim { accusers: (100..108).collect(), ..bare(HER_EPOCH, 3, State::Suspect) },
            false,
        ),
        (
            "9 accusers",
            Claim { accusers: (100..109).collect(), ..bare(HER_EPOCH, 3, State::Suspect) },
            true,
        ),
    ];
    for (name, claim, expected) in table {
        assert_eq!(claim.malformed(), expected, "{name}");
        let outcome = model().hear(0, &claim, Origin::Gossip);
        assert_eq!(outcome == Outcome::Malformed, expected, "{name}: {outcome:?}");
    }
}

#[test]
fn metadata_is_rising_pairs_of_text() {
    let pairs = |pairs: &[(&str, &str)]| metadata::bytes(pairs);
    let table: [(&str, Vec<u8>, bool); 10] = [
        ("none", vec![], true),
        ("two", pairs(&[("a", "1"), ("b", "")]), true),
        ("an empty key", pairs(&[("", "1")]), false),
        ("twice the same key", pairs(&[("a", "1"), ("a", "2")]), false),
        ("falling keys", pairs(&[("b", "1"), ("a", "2")]), false),
        ("a key without a value", vec![1, b'a'], false),
        ("a value cut short", vec![1, b'a', 2, b'b'], false),
        ("no text", vec![1, 0xff, 0], false),
        ("a length in a longer form", vec![0x81, 0, b'a', 0], false),
        ("200 bytes", pairs(&[("a", &"v".repeat(200))]), true),
    ];
    for (name, bytes, is_metadata) in table {
        assert_eq!(metadata::pairs(&bytes).is_some(), is_metadata, "{name}");
        let mut claim = full(HER_EPOCH, 0, State::Alive);
        claim.details.as_mut().expect("full").metadata = bytes;
        let expected = if is_metadata { Outcome::Changed } else { Outcome::Refused(Why::Metadata) };
        assert_eq!(model().hear(0, &claim, Origin::Gossip), expected, "{name}");
    }
    assert_eq!(
        metadata::pairs(&metadata::bytes(&[("k", "v")])),
        Some(vec![("k".into(), "v".into())])
    );
}

#[test]
fn the_preset_is_that_of_the_text() {
    let text = include_str!("../../../../docs/protocol.md");
    let lan = |field: &str| {
        let start = format!("| {field} |");
        let row = text.lines().find(|line| line.starts_with(&start)).expect("§4.12 has the field");
        row.split('|').nth(3).expect("§4.12 has a lan column").trim().to_owned()
    };
    let config = Config::lan();
    assert_eq!(lan("suspicion_mult"), config.suspicion_mult.to_string());
    assert_eq!(lan("suspicion_max_mult"), config.suspicion_max_mult.to_string());
    assert_eq!(lan("probe_interval"), format!("{}s", config.probe_interval / SECOND));
    assert_eq!(lan("probe_timeout_max"), format!("{}ms", config.probe_timeout_max / 1_000_000));
}
