//! Which oracles watch what a family of faults may bring about.

/// The oracles that a defect in bearing this family shows in first; the others look as well. Those
/// whose names begin with `rpc_` look at the node level.
pub fn watched_by(family: &str) -> &'static [&'static str] {
    match family {
        "loss" | "burst" | "delay" | "bandwidth" | "mtu" | "no_datagrams" | "truncate" => {
            &["accuracy", "convergence", "rests"]
        }
        "duplicate" | "reorder" => &["broadcast_once", "incarnation_lattice", "event_order"],
        "corrupt" => &["resources", "poll_contract"],
        "partition" | "one_way" | "flapping" | "host_moves" | "take_over" => {
            &["accuracy", "convergence", "rpc_once", "rpc_heals"]
        }
        "full_pause" | "io_block" | "slow_reader" => &["accuracy", "convergence", "rpc_deadline"],
        "suspend" | "suspend_wall" => &["accuracy", "hlc_rises", "rpc_deadline", "convergence"],
        "crash" => &["no_resurrection", "own_life", "rpc_never_ran", "rpc_pending"],
        "clock" | "offset" => &["hlc_rises", "hlc_causality", "hlc_bound"],
        "leave" => &["event_order", "accuracy", "rpc_pending"],
        "user" => &["owners_word", "broadcast_once"],
        "early_timers" => &["poll_contract"],
        "half_open" | "stream_reset" => &["rpc_never_ran", "rpc_chunks", "rpc_heals"],
        "lookup" | "names_partial" | "names_changing" | "names_foreign" | "names_slow"
        | "names_never" => &["convergence"],
        "no_streams" | "opens_lost" | "opens_refused" | "proxy" => {
            &["accuracy", "rpc_never_ran", "rpc_heals"]
        }
        "nat" | "other_address" | "mapped" | "ipv6" => &["accuracy", "owners_word", "convergence"],
        _ => &[],
    }
}
