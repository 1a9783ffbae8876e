//! Which oracles would see that a fault is not borne.

/// The oracles that watch a family of faults most closely, as `docs/simulation.md` names them.
/// Every other one looks, too, unless the fault excuses what it is about.
#[doc(hidden)]
pub fn watched_by(family: &str) -> &'static [&'static str] {
    match family {
        "loss" | "burst" => &["accuracy", "convergence"],
        "delay" => &["accuracy", "convergence", "rpc_deadline"],
        "duplicate" => &["broadcast_once", "event_order"],
        "reorder" => &["incarnation_lattice", "event_order"],
        "corrupt" => &["poll_contract", "panic"],
        "truncate" => &["convergence", "panic"],
        "mtu" | "no_datagrams" => &["convergence"],
        "partition" => &["one_cluster", "no_resurrection", "rpc_pending"],
        "one_way" => &["accuracy", "one_cluster"],
        "flapping" => &["one_cluster", "rests", "rpc_heals"],
        "full_pause" => &["accuracy", "rests", "rpc_deadline"],
        "io_block" => &["accuracy", "suspicion_time", "rpc_pending"],
        "crash" => &["no_resurrection", "rpc_never_ran", "who_is_reached"],
        "clock" => &["hlc_rises", "hlc_bound", "rpc_deadline"],
        "offset" => &["hlc_causality", "hlc_bound"],
        "leave" => &["accuracy", "self_is_alive", "leave"],
        "user" => &["owners_word", "own_life", "broadcast_once"],
        "early_timers" => &["poll_contract", "suspicion_time"],
        "bandwidth" => &["resources", "convergence", "rpc_heals"],
        "half_open" => &["rpc_pending", "rpc_heals"],
        "stream_reset" => &["rpc_once", "rpc_never_ran", "rpc_heals"],
        "slow_reader" => &["resources", "convergence", "rpc_pending"],
        "lookup" | "names_partial" | "names_changing" | "names_slow" | "names_never" => {
            &["one_cluster", "vacuity"]
        }
        "names_foreign" => &["one_cluster", "no_forged_incarnation"],
        "no_streams" => &["accuracy", "convergence", "rpc_pending"],
        "opens_lost" => &["accuracy", "rpc_pending", "rpc_heals"],
        "opens_refused" => &["accuracy", "rpc_never_ran", "rpc_heals"],
        "proxy" => &["accuracy", "rpc_never_ran"],
        "nat" | "other_address" | "mapped" => &["accuracy", "owners_word"],
        "host_moves" => &["one_cluster", "rpc_heals"],
        "take_over" => &["one_cluster", "owners_word", "who_is_reached"],
        "ipv6" => &["convergence", "start"],
        "suspend" => &["rests", "rpc_pending"],
        "suspend_wall" => &["hlc_rises", "rests"],
        "restart_behind" => &["one_cluster", "no_resurrection", "who_is_reached"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{FAMILIES, ODD_FAMILIES};

    /// The document has a row for each family, with these oracles, and a row for each oracle.
    #[test]
    fn every_family_is_watched_as_the_document_says() {
        let doc = include_str!("../../docs/simulation.md");
        let section = doc.split("### Which fault struck").nth(1).expect("the section");
        let mut rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        for family in FAMILIES.into_iter().chain(ODD_FAMILIES) {
            let row = rows.next().expect("a row");
            let mut names = row.split('`').skip(1).step_by(2);
            assert_eq!(names.next(), Some(family), "{row}");
            let oracles: Vec<&str> = names.collect();
            assert_eq!(oracles, watched_by(family), "{row}");
            assert!(!oracles.is_empty(), "nothing watches {family}");
        }
        let described: Vec<&str> = doc.lines().filter(|line| line.starts_with("| `")).collect();
        for oracle in FAMILIES.into_iter().chain(ODD_FAMILIES).flat_map(watched_by) {
            let is_described = described.iter().any(|row| {
                let first = row.split('|').nth(1).unwrap_or_default();
                first.split('`').skip(1).step_by(2).any(|name| name == *oracle)
            });
            assert!(is_described, "{oracle} has no row");
        }
    }
}
