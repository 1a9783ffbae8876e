//! Faults in few words, for people.

use std::fmt;

use super::{Addresses, Answers, Fault, Nodes, text};

/// Nodes as people write them: 0-3,7; all if there are none.
fn side(nodes: &Nodes) -> String {
    let mut text = String::new();
    for stretch in nodes.chunk_by(|a, b| a + 1 == *b) {
        let comma = if text.is_empty() { "" } else { "," };
        text += &match stretch {
            [one] => format!("{comma}{one}"),
            [first, .., last] => format!("{comma}{first}-{last}"),
            [] => String::new(),
        };
    }
    if text.is_empty() { "all".into() } else { text }
}

/// In few words, for a person.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = |one_way: &bool| if *one_way { "→" } else { "|" };
        match self {
            Self::Link { from, to, quality } => {
                let ills = serde_json::to_string(quality)
                    .map_err(|_| fmt::Error)?
                    .replace(['{', '}', '"'], "");
                write!(
                    f,
                    "{} → {}: {}",
                    side(from),
                    side(to),
                    ills.replace(',', ", ").replace(':', " ")
                )
            }
            Self::Cut { from, to, one_way } => {
                write!(f, "{} {} {}", side(from), arrow(one_way), side(to))
            }
            Self::Flap { from, to, one_way, every } => {
                let every = text::span_text(*every);
                write!(f, "{} {} {} on and off every {every}", side(from), arrow(one_way), side(to))
            }
            Self::FullPause(node) => write!(f, "node {node} paused"),
            Self::IoBlock(node) => write!(f, "node {node} I/O blocked"),
            Self::SlowReader { node, every } => {
                write!(f, "node {node} reads once in {}", text::span_text(*every))
            }
            Self::Crash { node, moves, keeps_clock } => {
                let moves = if *moves { ", back elsewhere" } else { "" };
                write!(
                    f,
                    "node {node} crashed{moves}{}",
                    if *keeps_clock { ", clock kept" } else { "" }
                )
            }
            Self::RestartBehind { node, behind } => {
                let behind = text::span_text(*behind);
                write!(f, "node {node} crashed, back elsewhere with a clock {behind} behind")
            }
            Self::Clock { node, step_ms, drift_ppm } => {
                write!(f, "clock of node {node} {step_ms:+} ms, {drift_ppm:+} ppm")
            }
            Self::Offset { node, ms } => write!(f, "clock of node {node} off by {ms:+} ms"),
            Self::LookupFails(node) => write!(f, "node {node} finds no names"),
            Self::Names { node, answers } => write!(f, "node {node} {answers}"),
            Self::Addresses { node, odd } => write!(f, "node {node} {odd}"),
            Self::TakeOver { node, by } => {
                write!(f, "the address of node {node} reaches node {by}")
            }
            Self::Ipv6(node) => write!(f, "node {node} has an IPv6 address"),
            Self::Suspend { node, wall_stops } => {
                let clocks = if *wall_stops { "both clocks stop" } else { "monotonic clock stops" };
                write!(f, "node {node} suspended, {clocks}")
            }
            Self::Leave(node) => write!(f, "node {node} leaves"),
            Self::Metadata(node) => write!(f, "node {node} sets metadata"),
            Self::Broadcast(node) => write!(f, "node {node} broadcasts"),
            Self::EarlyTimers(node) => write!(f, "node {node} wakes early"),
        }
    }
}

/// What a node finds, after its name.
impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partial => write!(f, "finds every second name"),
            Self::Changing => write!(f, "finds other addresses every time"),
            Self::Foreign => write!(f, "finds its own address and nobody's"),
            Self::Slow(after) => write!(f, "finds names after {}", text::span_text(*after)),
            Self::Never => write!(f, "waits for names for ever"),
        }
    }
}

/// What is odd, after the name of the node.
impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nat(every) => {
                write!(f, "sends from a new address every {}", text::span_text(*every))
            }
            Self::Other => write!(f, "sends from its other address"),
            Self::Mapped => write!(f, "sees IPv4-mapped sources"),
            Self::Moves => write!(f, "has another address"),
        }
    }
}
