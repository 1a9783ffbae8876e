//! What users write: spans of time, groups of nodes, faults, and replay tokens.

use std::time::Duration;

use chinwag_core::membership::Config;

use crate::clock::nanos;
use crate::fault::{Fault, Nodes, Plan, Timed};
use crate::run::{Faults, Level, Scenario};

/// The presets of [`Config`] by name.
pub const PRESETS: [&str; 3] = ["local", "lan", "wan"];

/// A preset by its name, with plain SWIM's detector if wanted.
pub fn preset(name: &str) -> Option<Config> {
    match name {
        "local" => Some(Config::local()),
        "lan" => Some(Config::lan()),
        "wan" => Some(Config::wan()),
        _ => None,
    }
}

/// A span such as `120s`, `1.5s`, `250ms` or `2m`.
///
/// # Errors
/// What is wrong with it.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a span of time such as 120s, 250ms or 2m");
    let at = text.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())
}

/// Nodes by index from 0, such as `3`, `0,2` or `10-19`.
///
/// # Errors
/// What is wrong with it.
pub fn nodes(text: &str, count: usize) -> Result<Nodes, String> {
    let wrong = || {
        format!(
            "`{text}` are not nodes such as 3, 0,2 or 10-19, out of 0 to {}",
            count.saturating_sub(1)
        )
    };
    let mut nodes = Nodes::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) =
            (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if first > last || last as usize >= count {
            return Err(wrong());
        }
        nodes.extend(first..=last);
    }
    nodes.sort_unstable();
    nodes.dedup();
    Ok(nodes)
}

/// `NODES@T` as crashes that last for ever, or `NODES@T+D` as ones that last for D, and likewise
/// pauses.
///
/// # Errors
/// What is wrong with it.
pub fn stops(text: &str, count: usize, fault: impl Fn(u32) -> Fault) -> Result<Vec<Timed>, String> {
    let (who, when) =
        text.split_once('@').ok_or_else(|| format!("`{text}` is not NODES@T or NODES@T+D"))?;
    let (at, until) = when_of(when)?;
    Ok(nodes(who, count)?.into_iter().map(|node| Timed { at, until, fault: fault(node) }).collect())
}

/// `A|B@T+D` as a partition.
///
/// # Errors
/// What is wrong with it.
pub fn partition(text: &str, count: usize) -> Result<Timed, String> {
    let wrong = || format!("`{text}` is not A|B@T+D");
    let (sides, when) = text.split_once('@').ok_or_else(wrong)?;
    let (from, to) = sides.split_once('|').ok_or_else(wrong)?;
    let (at, until) = when_of(when)?;
    Ok(Timed {
        at,
        until,
        fault: Fault::Cut { from: nodes(from, count)?, to: nodes(to, count)?, one_way: false },
    })
}

fn when_of(text: &str) -> Result<(u64, u64), String> {
    let (at, lasts) = text.split_once('+').map_or((text, None), |(at, lasts)| (at, Some(lasts)));
    let at = nanos(span(at)?);
    let until =
        lasts.map(span).transpose()?.map_or(u64::MAX, |lasts| at.saturating_add(nanos(lasts)));
    Ok((at, until))
}

/// The token from which a run of a swarm can be repeated: version (`v1`, or `n1` at node level;
/// with an `o` behind it the odd swarm, and with an `e` encrypted), preset, nodes, seed,
/// milliseconds, and which faults are kept.
pub fn token(scenario: &Scenario, preset: &str) -> Option<String> {
    let kept = match &scenario.faults {
        Faults::Swarm(None) | Faults::Odd(None) => "all".to_owned(),
        Faults::Swarm(Some(kept)) | Faults::Odd(Some(kept)) if kept.is_empty() => "none".to_owned(),
        Faults::Swarm(Some(kept)) | Faults::Odd(Some(kept)) => {
            kept.iter().map(ToString::to_string).collect::<Vec<_>>().join("-")
        }
        Faults::These(plan) if *plan == Plan::default() => "none".to_owned(),
        Faults::These(_) | Faults::Mild => return None,
    };
    let Scenario { level, nodes, seed, span, .. } = scenario;
    let version = match level {
        Level::Protocol => "v1",
        Level::Node => "n1",
    };
    let odd = if matches!(scenario.faults, Faults::Odd(_)) { "o" } else { "" };
    let encrypted = if scenario.is_encrypted { "e" } else { "" };
    Some(format!("{version}{odd}{encrypted}.{preset}.{nodes}.{seed}.{}.{kept}", span / 1_000_000))
}

/// The run that a token names.
///
/// # Errors
/// What is wrong with it.
pub fn parse_token(text: &str) -> Result<(Scenario, &'static str), String> {
    let wrong = || format!("`{text}` is not a replay token such as v1.lan.5.42.60000.all");
    let parts: Vec<&str> = text.split('.').collect();
    let &[version, name, nodes, seed, millis, kept] = &parts[..] else { return Err(wrong()) };
    let (level, is_odd, is_encrypted) = match version {
        "v1" => (Level::Protocol, false, false),
        "v1o" => (Level::Protocol, true, false),
        "n1" => (Level::Node, false, false),
        "n1o" => (Level::Node, true, false),
        "n1e" => (Level::Node, false, true),
        "n1oe" => (Level::Node, true, true),
        _ => return Err(wrong()),
    };
    let name = PRESETS.into_iter().find(|known| *known == name).ok_or_else(wrong)?;
    let kept = match kept {
        "all" => None,
        "none" => Some(Vec::new()),
        list => Some(
            list.split('-')
                .map(|number| number.parse().map_err(|_| wrong()))
                .collect::<Result<_, _>>()?,
        ),
    };
    let millis: u64 = millis.parse().map_err(|_| wrong())?;
    let nodes: usize = nodes.parse().map_err(|_| wrong())?;
    if !(1..=65_536).contains(&nodes) || millis > 365 * 24 * 3_600_000 {
        return Err(wrong());
    }
    let scenario = Scenario {
        level,
        nodes,
        seed: seed.parse().map_err(|_| wrong())?,
        span: millis * 1_000_000,
        config: preset(name).ok_or_else(wrong)?,
        faults: if is_odd { Faults::Odd(kept) } else { Faults::Swarm(kept) },
        is_encrypted,
        ..Scenario::default()
    };
    Ok((scenario, name))
}

#[cfg(test)]
mod tests;
