//! Log targets: each line that the driver logs has one, and `docs/troubleshooting.md` has each of
//! them.

/// The level macros of `tracing`, as they are called.
const MACROS: [&str; 7] =
    ["error!(", "warn!(", "info!(", "debug!(", "trace!(", "debug_span!(", "enabled!("];

/// Every call of a level macro in `text`: its line, from 1, and its target, if it says one first.
pub(crate) fn targets(text: &str) -> Vec<(usize, Option<String>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("tracing::") {
        let rest = &text[at + "tracing::".len()..];
        let Some(call) = MACROS.iter().find(|call| rest.starts_with(**call)) else { continue };
        let argument = rest[call.len()..].trim_start();
        let target = argument.strip_prefix("target: \"").and_then(|rest| rest.split('"').next());
        found.push((text[..at].matches('\n').count() + 1, target.map(str::to_owned)));
    }
    found
}

#[test]
fn a_line_without_a_target_is_found() {
    let text =
        "tracing::info!(\n    target: \"a::b\", \"x\");\nuse tracing::Span;\ntracing::warn!(%x);";
    assert_eq!(targets(text), [(1, Some("a::b".to_owned())), (4, None)]);
}
