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
            Self::Clock { node, step_ms, drift_ppm } => {
                write!(f, "clock of node {node} {step_ms:+} ms, {drift_ppm:+} ppm")
            }
            Self::Offset { node, ms } => write!(f, "clock of node {node} off by {ms:+} ms"),
            Self::LookupFails(node) => write!(f, "node {node} finds no names"),
            Self::Names { node, answers } => match answers {
                Answers::Partial => write!(f, "node {node} finds every second name"),
                Answers::Changing => write!(f, "node {node} finds other addresses every time"),
                Answers::Foreign => write!(f, "node {node} finds its own address and nobody's"),
                Answers::Slow(after) => {
                    write!(f, "node {node} finds names after {}", text::span_text(*after))
                }
                Answers::Never => write!(f, "node {node} waits for names for ever"),
            },
            Self::Addresses { node, odd } => match odd {
                Addresses::Nat(every) => {
                    let every = text::span_text(*every);
                    write!(f, "node {node} sends from a new address every {every}")
                }
                Addresses::Other => write!(f, "node {node} sends from its other address"),
                Addresses::Mapped => write!(f, "node {node} sees IPv4-mapped sources"),
                Addresses::Moves => write!(f, "node {node} has another address"),
            },
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
