//! What users of stores were told, and what must hold of it in the end (docs/store.md §3.2, §3.6,
//! §5).
//!
//! For each key:
//!
//! * what a replica holds, or a read has shown, was written, and not by a write of which its user
//!   was told that it is nowhere;
//! * what is there in the end is not older than any write that a replica which is there in the end,
//!   and kept its storage, has had durably, by what users were told: that is of each write that
//!   succeeded, or failed and was kept, if the machine it was written on is such a one, or more
//!   replicas had it than are gone;
//! * if nothing is there, it was deleted, and no write that must have survived is newer than all
//!   deletes.
//!
//! The second is more than the store promises of `Quorum`: one of the replicas that acknowledged is
//! enough.

use std::collections::{BTreeMap, BTreeSet};

use chinwag::{Bytes, NodeId};
use chinwag_store::{Document, IsKept, Key, Version, WriteError, Written};

/// One write of a user.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: u64,
    /// What was written; `None` is a delete.
    pub(crate) value: Option<Bytes>,
    pub(crate) machine: NodeId,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The process died first, or the error says that it may be kept.
    Unknown,
    /// It is nowhere.
    Nowhere,
    /// So many replicas have it.
    Kept { version: Version, replicas: usize, is_ok: bool },
}

impl From<Result<Written, WriteError>> for Outcome {
    fn from(result: Result<Written, WriteError>) -> Self {
        match result {
            Ok(written) => {
                Self::Kept { version: written.version, replicas: written.replicas, is_ok: true }
            }
            Err(WriteError::Replicas { version, few }) => {
                Self::Kept { version, replicas: few.answered, is_ok: false }
            }
            Err(error) if error.is_kept() == IsKept::No => Self::Nowhere,
            Err(_) => Self::Unknown,
        }
    }
}

/// All that users did.
#[derive(Debug, Default)]
pub(crate) struct Told {
    writes: Vec<Write>,
    /// Keys and values that reads gave.
    reads: BTreeSet<(u64, Bytes)>,
}

impl Told {
    /// A write begins; gives its number.
    pub(crate) fn begin(&mut self, key: u64, value: Option<Bytes>, machine: NodeId) -> usize {
        self.writes.push(Write { key, value, machine, outcome: Outcome::Unknown });
        self.writes.len() - 1
    }

    pub(crate) fn end(&mut self, number: usize, outcome: Outcome) {
        self.writes[number].outcome = outcome;
    }

    pub(crate) fn read(&mut self, key: u64, value: Option<Bytes>) {
        self.reads.extend(value.map(|value| (key, value)));
    }

    /// How many ended well, failed and were kept, were nowhere, and nobody knows of.
    pub(crate) fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for write in &self.writes {
            counts[match write.outcome {
                Outcome::Kept { is_ok: true, .. } => 0,
                Outcome::Kept { is_ok: false, .. } => 1,
                Outcome::Nowhere => 2,
                Outcome::Unknown => 3,
            }] += 1;
        }
        counts
    }

    /// What does not hold, if anything. `gone` are the machines that have lost their storage, or
    /// are down in the end.
    pub(crate) fn check(
        &self,
        held: &BTreeMap<(String, Key), Document>,
        gone: &BTreeSet<NodeId>,
    ) -> Result<(), String> {
        let mut by_key = BTreeMap::<u64, Vec<&Write>>::new();
        self.writes.iter().for_each(|write| by_key.entry(write.key).or_default().push(write));
        let document = |key: u64| held.get(&("k".to_owned(), Key::from(key)));
        for (_, key) in held.keys() {
            let number = key.as_u64().unwrap_or(u64::MAX);
            if !by_key.contains_key(&number) {
                return Err(format!("{key:?} was never written"));
            }
        }
        for (key, value) in &self.reads {
            let writes = by_key.get(key).map(Vec::as_slice).unwrap_or_default();
            is_written(writes, &Some(value.clone()), None)
                .map_err(|why| format!("{key} was read: {why}"))?;
        }
        for (key, writes) in by_key {
            check_key(&writes, document(key), gone).map_err(|why| {
                let told: Vec<String> =
                    writes.iter().map(|write| format!("\n  {write:?}")).collect();
                format!("key {key}: {why}; held: {:?}; writes: {}", document(key), told.concat())
            })?;
        }
        Ok(())
    }
}

fn check_key(
    writes: &[&Write],
    held: Option<&Document>,
    gone: &BTreeSet<NodeId>,
) -> Result<(), String> {
    let must_survive = |write: &&&Write| match write.outcome {
        Outcome::Kept { version, replicas, .. }
            if !gone.contains(&write.machine) || replicas > gone.len() =>
        {
            Some(version)
        }
        _ => None,
    };
    let last = writes.iter().filter_map(|write| must_survive(&write)).max();
    let Some(held) = held else {
        let is_past = |write: &&&Write| match write.outcome {
            Outcome::Kept { version, .. } => Some(version) >= last,
            Outcome::Unknown => true,
            Outcome::Nowhere => false,
        };
        let is_deleted =
            writes.iter().filter(|write| write.value.is_none()).any(|write| is_past(&write));
        return if last.is_none() || is_deleted {
            Ok(())
        } else {
            Err("a write is lost".to_owned())
        };
    };
    is_written(writes, &held.value, Some(held.version))?;
    if Some(held.version) < last {
        return Err(format!("a write is lost, or a delete undone: the last one is {last:?}"));
    }
    Ok(())
}

/// That is a write that may be seen, with that version where its user knows it.
fn is_written(
    writes: &[&Write],
    value: &Option<Bytes>,
    version: Option<Version>,
) -> Result<(), String> {
    let mut why = format!("{value:?} was never written");
    for write in writes.iter().filter(|write| write.value == *value) {
        match write.outcome {
            Outcome::Nowhere => why = format!("{value:?} is nowhere, its user was told"),
            Outcome::Kept { version: told, .. }
                if version.is_some_and(|version| version != told) =>
            {
                why = format!("its version is {told}, its user was told");
            }
            _ => return Ok(()),
        }
    }
    Err(why)
}
