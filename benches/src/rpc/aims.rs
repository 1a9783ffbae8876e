//! What chinwag sets out to reach, as ratios to the floor in the same run, and whether it does.

use super::report::{Metric, Report, bytes};
use super::{Kind, SIZES};

/// One aim, looked at.
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) limit: String,
    pub(super) holds: bool,
}

#[derive(Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    fn verdict(self, what: String, value: f64) -> Verdict {
        let (holds, limit) = match self {
            Self::AtLeast(least) => (value >= least, format!(">= {least}")),
            Self::AtMost(most) => (value <= most, format!("<= {most}")),
        };
        Verdict { what, value, limit, holds }
    }
}

/// Every aim for which there are figures.
pub(super) fn verdicts(report: &Report) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for kind in report.kinds() {
        let Some(aims) = of_kind(*kind) else { continue };
        for size in report.sizes() {
            for (metric, limit) in aims(*size) {
                let value = match metric {
                    Metric::Allocations => report.median(*kind, metric, *size),
                    _ => report.ratio(*kind, metric, *size),
                };
                if let Some(value) = value {
                    let what = format!("{}, {}, {}", kind.name(), bytes(*size), metric.name());
                    verdicts.push(limit.verdict(what, value));
                }
            }
        }
        for (metric, size, limit) in OF_A_CONNECTION {
            if let Some(value) = report.ratio(*kind, metric, size) {
                verdicts.push(limit.verdict(format!("{}, {}", kind.name(), metric.name()), value));
            }
        }
    }
    verdicts.extend(adapters(report));
    verdicts
}

type Aims = fn(usize) -> Vec<(Metric, Limit)>;

fn of_kind(kind: Kind) -> Option<Aims> {
    match kind {
        Kind::Raw => Some(raw),
        Kind::Typed => Some(typed),
        _ => None,
    }
}

const OF_A_CONNECTION: [(Metric, usize, Limit); 2] = [
    (Metric::BehindP99, SIZES[0], Limit::AtMost(0.35)),
    (Metric::Memory, SIZES[3], Limit::AtMost(2.0)),
];

fn raw(_: usize) -> Vec<(Metric, Limit)> {
    vec![
        (Metric::OneCalls, Limit::AtLeast(0.95)),
        (Metric::FourCalls, Limit::AtLeast(0.95)),
        (Metric::P50, Limit::AtMost(1.1)),
        (Metric::OneCpu, Limit::AtMost(1.1)),
        (Metric::FourCpu, Limit::AtMost(1.1)),
        (Metric::Allocations, Limit::AtMost(2.0)),
    ]
}

fn typed(size: usize) -> Vec<(Metric, Limit)> {
    let throughput = Limit::AtLeast(if size <= SIZES[1] { 0.85 } else { 0.9 });
    vec![
        (Metric::OneCalls, throughput),
        (Metric::FourCalls, throughput),
        (Metric::P50, Limit::AtMost(1.15)),
        (Metric::Allocations, Limit::AtMost(4.0)),
    ]
}

/// No adapter is far behind the best of them.
fn adapters(report: &Report) -> Vec<Verdict> {
    let adapters = [Kind::Typed, Kind::Smol, Kind::Smol2, Kind::AsyncStd];
    let mut verdicts = Vec::new();
    for size in report.sizes() {
        for metric in [Metric::P50, Metric::OneCalls] {
            let values: Option<Vec<f64>> =
                adapters.iter().map(|kind| report.median(*kind, metric, *size)).collect();
            let Some(values) = values else { continue };
            for (kind, value) in adapters.iter().zip(&values) {
                // How many times worse than the best: longer, or fewer.
                let times = match metric {
                    Metric::P50 => value / values.iter().copied().fold(f64::INFINITY, f64::min),
                    _ => values.iter().copied().fold(0.0, f64::max) / value,
                };
                let name = if *kind == Kind::Typed { "tokio" } else { kind.name() };
                let what =
                    format!("{name} to the best adapter, {}, {}", bytes(*size), metric.name());
                verdicts.push(Limit::AtMost(1.3).verdict(what, times));
            }
        }
    }
    verdicts
}
