//! [`Report`]: what was measured, as tables, aims and JSON.

use std::fmt::{self, Write};

use serde_json::{Value, json};

use super::aims::{self, Verdict};
use super::{Kind, SIZES};

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    /// Microseconds of a call, one at a time.
    P50,
    P99,
    /// Calls a second on one connection, and their CPU in microseconds each.
    OneCalls,
    OneCpu,
    /// The same on four.
    FourCalls,
    FourCpu,
    /// Microseconds of a small call behind large ones.
    BehindP50,
    BehindP99,
    /// Large calls a second before it.
    BehindCalls,
    /// Allocations of a call on both sides, and their bytes.
    Allocations,
    Allocated,
    /// Bytes of the process at most.
    Memory,
}

impl Metric {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::OneCalls => "calls/s, 1 connection",
            Self::OneCpu => "CPU a call, 1 connection",
            Self::FourCalls => "calls/s, 4 connections",
            Self::FourCpu => "CPU a call, 4 connections",
            Self::BehindP50 => "p50 behind 1 MiB",
            Self::BehindP99 => "p99 behind 1 MiB",
            Self::BehindCalls => "calls/s of 1 MiB beside small ones",
            Self::Allocations => "allocations a call",
            Self::Allocated => "bytes allocated a call",
            Self::Memory => "peak memory",
        }
    }
}

struct Cell {
    kind: Kind,
    metric: Metric,
    size: usize,
    /// One a round.
    values: Vec<f64>,
}

/// What was measured. Displays as tables.
pub struct Report {
    kinds: Vec<Kind>,
    sizes: Vec<usize>,
    rounds: usize,
    cells: Vec<Cell>,
}

impl Report {
    pub(super) fn new(kinds: &[Kind], sizes: &[usize], rounds: usize) -> Self {
        Self { kinds: kinds.to_vec(), sizes: sizes.to_vec(), rounds, cells: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: Kind, metric: Metric, size: usize, value: f64) {
        match self
            .cells
            .iter_mut()
            .find(|cell| (cell.kind, cell.metric, cell.size) == (kind, metric, size))
        {
            Some(cell) => cell.values.push(value),
            None => self.cells.push(Cell { kind, metric, size, values: vec![value] }),
        }
    }

    pub(super) fn values(&self, kind: Kind, metric: Metric, size: usize) -> Option<&[f64]> {
        let cell = self
            .cells
            .iter()
            .find(|cell| (cell.kind, cell.metric, cell.size) == (kind, metric, size))?;
        Some(&cell.values)
    }

    /// The median of the rounds.
    pub(super) fn median(&self, kind: Kind, metric: Metric, size: usize) -> Option<f64> {
        Some(median(self.values(kind, metric, size)?.to_vec()))
    }

    /// To the floor: the median of the rounds' ratios, so that what disturbs a whole round does not
    /// show.
    pub(super) fn ratio(&self, kind: Kind, metric: Metric, size: usize) -> Option<f64> {
        let values = self.values(kind, metric, size)?;
        let floor = self.values(Kind::Floor, metric, size)?;
        Some(median(values.iter().zip(floor).map(|(value, floor)| value / floor).collect()))
    }

    pub(super) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(super) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// How many aims were looked at, and how many were missed.
    pub fn aims(&self) -> (usize, usize) {
        let verdicts = aims::verdicts(self);
        (verdicts.len(), verdicts.iter().filter(|verdict| !verdict.holds).count())
    }

    /// Everything: each cell with its values, round by round, each aim, and the tables of the page
    /// of benchmarks.
    pub fn json(&self) -> Value {
        let cells = self.cells.iter().map(|cell| {
            json!({
                "contender": cell.kind.name(),
                "metric": cell.metric.name(),
                "size": cell.size,
                "values": cell.values,
                "median": median(cell.values.clone()),
                "ratio": self.ratio(cell.kind, cell.metric, cell.size),
            })
        });
        let aims = aims::verdicts(self).into_iter().map(|Verdict { what, value, limit, holds }| {
            json!({ "aim": what, "value": value, "limit": limit, "holds": holds })
        });
        json!({
            "rounds": self.rounds,
            "cells": cells.collect::<Vec<_>>(),
            "aims": aims.collect::<Vec<_>>(),
            "tables": super::tables::of(self),
        })
    }

    /// `value (x ratio)`, or as many spaces.
    fn entry(&self, kind: Kind, metric: Metric, size: usize, scale: f64, width: usize) -> String {
        let mut entry = String::new();
        if let Some(value) = self.median(kind, metric, size) {
            entry = figure(value * scale);
            if let Some(ratio) = self.ratio(kind, metric, size) {
                let _ = write!(entry, " ({ratio:.2})");
            }
        }
        format!("{entry:>width$}")
    }

    fn calls_table(&self, f: &mut fmt::Formatter<'_>, size: usize) -> fmt::Result {
        let four = super::in_flight(size, super::CONNECTIONS);
        writeln!(f, "\n{}", bytes(size))?;
        writeln!(
            f,
            "{:<12}{:>16}{:>16}{:>20}{:>9}{:>16}{:>20}{:>9}{:>16}{:>18}",
            "",
            "p50 us (x)",
            "p99 us (x)",
            format!("1 x {}: calls/s (x)", super::in_flight(size, 1)),
            "MB/s",
            "cpu us (x)",
            format!("4 x {four}: calls/s (x)"),
            "MB/s",
            "cpu us (x)",
            "allocs (kB)"
        )?;
        for kind in &self.kinds {
            let entry = |metric, width| self.entry(*kind, metric, size, 1.0, width);
            let rate = |metric| {
                let calls = self.median(*kind, metric, size);
                calls.map_or(String::new(), |calls| figure(calls * size as f64 / 1e6))
            };
            let allocations = match (
                self.median(*kind, Metric::Allocations, size),
                self.median(*kind, Metric::Allocated, size),
            ) {
                (Some(count), Some(bytes)) => format!("{count:.1} ({})", figure(bytes / 1e3)),
                _ => String::new(),
            };
            let row = format!(
                "{:<12}{}{}{}{:>9}{}{}{:>9}{}{:>18}",
                kind.name(),
                entry(Metric::P50, 16),
                entry(Metric::P99, 16),
                entry(Metric::OneCalls, 20),
                rate(Metric::OneCalls),
                entry(Metric::OneCpu, 16),
                entry(Metric::FourCalls, 20),
                rate(Metric::FourCalls),
                entry(Metric::FourCpu, 16),
                allocations
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }

    fn others_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n32 B behind four callers of 1 MiB on the same connection; peak memory of a process \
                with both sides"
        )?;
        writeln!(
            f,
            "{:<12}{:>18}{:>18}{:>22}{:>18}",
            "", "p50 us (x)", "p99 us (x)", "1 MiB calls/s (x)", "peak MB (x)"
        )?;
        for kind in self.kinds.iter().filter(|kind| kind.is_multiplexed()) {
            let row = format!(
                "{:<12}{}{}{}{}",
                kind.name(),
                self.entry(*kind, Metric::BehindP50, SIZES[0], 1.0, 18),
                self.entry(*kind, Metric::BehindP99, SIZES[0], 1.0, 18),
                self.entry(*kind, Metric::BehindCalls, SIZES[3], 1.0, 22),
                self.entry(*kind, Metric::Memory, SIZES[3], 1e-6, 18)
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Medians of {} round(s), in turns. (x) is the ratio to the floor, the median of each round's. MB/s: 10^6 payload bytes each way.\n\
             cpu: user and system time of both sides. One connection: one server. Four: four \
             servers, or four connections to one (floor).",
            self.rounds
        )?;
        let is_other = |metric| {
            matches!(
                metric,
                Metric::BehindP50 | Metric::BehindP99 | Metric::BehindCalls | Metric::Memory
            )
        };
        for size in &self.sizes {
            if self.cells.iter().any(|cell| cell.size == *size && !is_other(cell.metric)) {
                self.calls_table(f, *size)?;
            }
        }
        if self.cells.iter().any(|cell| is_other(cell.metric)) {
            self.others_table(f)?;
        }
        let verdicts = aims::verdicts(self);
        if verdicts.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nAims")?;
        for Verdict { what, value, limit, holds } in verdicts {
            writeln!(
                f,
                "{what:<58}{value:>8.2}  {limit:<9}{}",
                if holds { "holds" } else { "MISSED" }
            )?;
        }
        Ok(())
    }
}

/// Three digits that count, or the whole number.
fn figure(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A size as people say it.
pub(super) fn bytes(size: usize) -> String {
    match size {
        0..1_024 => format!("{size} B"),
        1_024..1_048_576 => format!("{} KiB", size >> 10),
        _ => format!("{} MiB", size >> 20),
    }
}

/// Of at least one value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(low, high)
}
