//! What [`Config::validate`] refuses, and that it names the field.

extern crate std;

use std::string::ToString;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn lan(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
    let mut config = Config::lan();
    change(&mut config);
    config.validate()
}

/// `change` is refused, and the refusal names `field`.
#[track_caller]
fn refused(field: &str, change: impl FnOnce(&mut Config)) {
    let refusal = lan(change).expect_err(field);
    assert_eq!(refusal.field, field, "{refusal}");
    assert!(!refusal.rule.is_empty());
}

#[track_caller]
fn taken(change: impl FnOnce(&mut Config)) {
    assert_eq!(lan(change), Ok(()));
}

#[test]
fn every_preset_is_valid() {
    for preset in [Config::lan(), Config::local(), Config::wan(), Config::default()] {
        assert_eq!(preset.validate(), Ok(()));
        assert_eq!(preset.without_lifeguard().validate(), Ok(()));
    }
    assert_eq!(Config::default(), Config::lan());
}

#[test]
fn without_lifeguard_switches_each_extension_off_and_nothing_else() {
    let plain = Config::wan().without_lifeguard();
    assert_eq!((plain.awareness_max, plain.suspicion_max_mult), (0, 1));
    assert!(!plain.buddy && !plain.nacks && !plain.told_deaths_doubted && !plain.pause_guard);
    let wan = Config::wan();
    let restored = Config {
        awareness_max: wan.awareness_max,
        suspicion_max_mult: wan.suspicion_max_mult,
        buddy: wan.buddy,
        nacks: wan.nacks,
        told_deaths_doubted: wan.told_deaths_doubted,
        pause_guard: wan.pause_guard,
        ..plain
    };
    assert_eq!(restored, wan);
}

#[test]
fn a_refusal_reads_as_a_sentence() {
    let refusal = lan(|config| config.gossip_fanout = 0).unwrap_err();
    assert_eq!(refusal.to_string(), "gossip_fanout must be 1 to 64");
}

#[test]
fn the_cluster_has_a_name() {
    refused("cluster", |config| config.cluster.clear());
    refused("cluster", |config| config.cluster = "x".repeat(256));
    taken(|config| config.cluster = "x".repeat(255));
    taken(|config| config.cluster = "x".into());
    refused("cluster", |config| config.cluster = "é".repeat(128));
}

#[test]
fn datagrams_have_a_length_that_travels() {
    for (len, is_taken) in
        [(0, false), (1_201, false), (1_202, true), (65_507, true), (65_508, false)]
    {
        if is_taken {
            taken(|config| config.datagram_len_max = len);
        } else {
            refused("datagram_len_max", |config| config.datagram_len_max = len);
        }
    }
}

/// D13 of other implementations: a probe timeout past the interval, silently accepted.
#[test]
fn d13_a_probe_leaves_time_for_indirect_ones() {
    let probe = |interval: u32, max: u32, min: u32| {
        move |config: &mut Config| {
            config.probe_interval = MS * interval;
            config.probe_timeout_max = MS * max;
            config.probe_timeout_min = MS * min;
        }
    };
    refused("probe_timeout_max", probe(1_000, 1_001, 100));
    refused("probe_timeout_max", probe(1_000, 1_000, 1));
    refused("probe_timeout_max", probe(1_000, 901, 100));
    taken(probe(1_000, 900, 100));
    refused("probe_timeout_min", probe(1_000, 99, 100));
    taken(probe(1_000, 100, 100));
    refused("probe_timeout_min", |config| config.probe_timeout_max = Duration::ZERO);
    refused("probe_timeout_max", |config| config.probe_timeout_max = Duration::MAX);
    refused("probe_interval", probe(3_600_001, 500, 100));
    taken(probe(3_600_000, 500, 100));
    refused("probe_interval", |config| config.probe_interval = Duration::MAX);
}

#[test]
fn times_that_repeat_are_at_least_a_millisecond() {
    type Field = fn(&mut Config) -> &mut Duration;
    let fields: [(&str, Field); 10] = [
        ("probe_interval", |config| &mut config.probe_interval),
        ("probe_timeout_min", |config| &mut config.probe_timeout_min),
        ("gossip_interval", |config| &mut config.gossip_interval),
        ("sync_interval_min", |config| &mut config.sync_interval_min),
        ("sync_timeout", |config| &mut config.sync_timeout),
        ("join_retry_min", |config| &mut config.join_retry_min),
        ("reconnect_interval", |config| &mut config.reconnect_interval),
        ("seed_interval", |config| &mut config.seed_interval),
        ("tombstone_lifetime", |config| &mut config.tombstone_lifetime),
        ("leave_timeout", |config| &mut config.leave_timeout),
    ];
    for (field, of) in fields {
        for too_short in [Duration::ZERO, Duration::from_nanos(1), MS - Duration::from_nanos(1)] {
            refused(field, |config| *of(config) = too_short);
        }
        if field != "probe_interval" {
            taken(|config| *of(config) = MS);
        }
    }
}

#[test]
fn longest_times_are_not_under_the_shortest() {
    refused("sync_interval", |config| config.sync_interval = config.sync_interval_min - MS);
    taken(|config| config.sync_interval = config.sync_interval_min);
    refused("join_retry_max", |config| config.join_retry_max = config.join_retry_min - MS);
    taken(|config| config.join_retry_max = config.join_retry_min);
}

/// Each number at both ends of its range, and one past them.
#[test]
fn numbers_stay_in_their_ranges() {
    type Set = fn(&mut Config, usize);
    fn u32_of(value: usize) -> u32 {
        u32::try_from(value).unwrap()
    }
    let table: [(&str, Set, usize, usize); 11] = [
        ("indirect_probes", |config, value| config.indirect_probes = value, 0, 16),
        (
            "awareness_max",
            |config, value| config.awareness_max = u8::try_from(value).unwrap(),
            0,
            64,
        ),
        ("suspicion_mult", |config, value| config.suspicion_mult = u32_of(value), 1, 1_000),
        ("suspicion_max_mult", |config, value| config.suspicion_max_mult = u32_of(value), 1, 1_000),
        ("confirmations", |config, value| config.confirmations = value, 0, 7),
        ("gossip_fanout", |config, value| config.gossip_fanout = value, 1, 64),
        ("retransmit_mult", |config, value| config.retransmit_mult = u32_of(value), 1, 100),
        ("join_fanout", |config, value| config.join_fanout = value, 1, 8),
        ("tombstones_max", |config, value| config.tombstones_max = value, 16, 16_384),
        ("leave_acks", |config, value| config.leave_acks = value, 1, 16),
        (
            "sync_rate_max",
            |config, value| config.sync_rate_max = u32_of(value),
            4_096,
            u32::MAX as usize,
        ),
    ];
    for (field, set, least, most) in table {
        taken(|config| set(config, least));
        taken(|config| set(config, most));
        if least > 0 {
            refused(field, |config| set(config, least - 1));
        }
        if field != "sync_rate_max" {
            refused(field, |config| set(config, most + 1));
        }
    }
}
