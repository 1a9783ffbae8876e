//! The suite runs every case there is.

/// Each file's cases, in the order they are written, against the list in `suite!`.
#[test]
fn every_case_is_in_the_suite() {
    let parts = [
        ("timers", include_str!("timers.rs")),
        ("tasks", include_str!("tasks.rs")),
        ("udp", include_str!("udp.rs")),
        ("tcp", include_str!("tcp.rs")),
        ("names", include_str!("names.rs")),
        ("membership", include_str!("membership.rs")),
        ("calls", include_str!("calls.rs")),
        ("clients", include_str!("clients.rs")),
        ("streams", include_str!("streams.rs")),
        ("services", include_str!("services.rs")),
        ("life", include_str!("life.rs")),
        ("leaving", include_str!("leaving.rs")),
    ];
    let suite = include_str!("lib.rs");
    for (part, source) in parts {
        let listed =
            suite.split_once(&format!("            {part} {{")).expect("the part is listed").1;
        let listed: Vec<&str> =
            listed.split_once('}').expect("its end").0.split_whitespace().collect();
        let written: Vec<&str> = source
            .lines()
            .filter_map(|line| {
                line.strip_prefix("pub async fn ")?.strip_suffix("(host: &dyn Host) {")
            })
            .collect();
        assert_eq!(listed, written, "{part}");
    }
}
