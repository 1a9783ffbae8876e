//! What happened in a run, one record an event: kept only if asked for, written as JSON lines,
//! drawn as a timeline.
//!
//! Nothing here knows what kind of world it was: the protocol level and the node level tell the
//! same records. `docs/simulation.md` shows the lines; [`What`] is their schema.

use std::collections::VecDeque;
use std::io::{self, Write};

use serde::{Serialize, Serializer};

/// Records kept at most, the last ones: about 200 MB. A minute of 50 busy nodes is a tenth of it.
pub const RECORDS_MAX: usize = 2_000_000;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Nanoseconds of true time since the run began; in JSON `t`, in seconds.
    #[serde(rename = "t", serialize_with = "as_seconds")]
    pub at: u64,
    /// The node that it happened to, by index from 0; none for what happens to the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// Which way a payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A datagram.
    Datagram,
    /// A stretch of a stream.
    Stream,
}

/// What a node believes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Belief {
    /// There and answering.
    Alive,
    /// Accused of being gone.
    Suspect,
    /// Gone.
    Dead,
    /// Gone in good order.
    Left,
}

/// The kinds of records; in JSON the name stands under `kind`, in lower case, and its fields beside
/// it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// The process of the node starts.
    Start {
        /// Which run of it.
        epoch: u64,
    },
    /// The process ends.
    Stop {
        /// `crash`, `left`, and the like.
        why: String,
    },
    /// The node sends a payload.
    Send {
        /// To whom.
        peer: u32,
        /// Numbers the payload within the run.
        id: u64,
        /// Which way.
        way: Way,
        /// Bytes.
        len: u32,
        /// A digest of its bytes, so that two runs can be compared.
        digest: u32,
        /// What is in it, in few words.
        says: String,
    },
    /// A copy of the payload `id` reaches the process of the node; a second one is a duplicate.
    Arrive {
        /// From whom.
        peer: u32,
        /// As in `Send`.
        id: u64,
    },
    /// The payload `id`, sent by the node, is lost.
    Drop {
        /// To whom it was sent.
        peer: u32,
        /// As in `Send`.
        id: u64,
        /// `loss`, `partition`, `nobody` and the like.
        why: String,
    },
    /// What the node believes of another changes.
    View {
        /// Of whom.
        peer: u32,
        /// Now.
        state: Belief,
        /// Which run of the other.
        epoch: u64,
        /// Its incarnation.
        incarnation: u32,
    },
    /// The node's own clock runs so from here on: its wall clock shows true time plus `ahead_ns`,
    /// and gains `drift_ppm`.
    Clock {
        /// Nanoseconds ahead of true time.
        ahead_ns: i64,
        /// Parts per million fast.
        drift_ppm: i64,
    },
    /// A fault begins.
    Begin {
        /// Numbers it within the run.
        fault: u32,
        /// Of which family.
        family: String,
        /// Whom it touches: the node, the senders, one side of a partition.
        from: Vec<u32>,
        /// Receivers, or the other side.
        to: Vec<u32>,
        /// In words.
        text: String,
    },
    /// The fault with this number ends.
    End {
        /// As in `Begin`.
        fault: u32,
    },
    /// Something worth a line and a mark: a broadcast, a call, what a user's test notes.
    Note {
        /// In words.
        text: String,
    },
    /// An invariant is violated; the run ends.
    Fail {
        /// Which oracle.
        oracle: String,
        /// What it saw.
        detail: String,
    },
}

fn as_seconds<S: Serializer>(at: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(std::time::Duration::from_nanos(*at).as_secs_f64())
}

/// Keeps records, if it is told to.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    is_on: bool,
    records: VecDeque<Record>,
}

impl Trace {
    /// Keeps records if `is_on`; else costs one branch a record.
    pub const fn new(is_on: bool) -> Self {
        Self { is_on, records: VecDeque::new() }
    }

    /// Whether records are kept.
    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Adds a record at true nanosecond `at`; `what` is only asked if records are kept.
    #[inline]
    pub fn tell(&mut self, at: u64, node: impl Into<Option<u32>>, what: impl FnOnce() -> What) {
        if self.is_on {
            self.add(Record { at, node: node.into(), what: what() });
        }
    }

    #[cold]
    fn add(&mut self, record: Record) {
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// What was kept, in the order in which it happened.
    pub fn into_records(self) -> Vec<Record> {
        self.records.into()
    }
}

/// Writes records as JSON lines.
///
/// # Errors
/// Those of `out`.
pub fn write_lines(records: &[Record], out: &mut impl Write) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut *out, record)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_object_with_time_node_and_kind() {
        let records = [
            Record { at: 1_500_000_250, node: Some(2), what: What::Arrive { peer: 0, id: 7 } },
            Record { at: 2_000_000_000, node: None, what: What::End { fault: 3 } },
            Record {
                at: 3_000_000_000,
                node: Some(1),
                what: What::View { peer: 0, state: Belief::Suspect, epoch: 5, incarnation: 1 },
            },
        ];
        let mut out = Vec::new();
        write_lines(&records, &mut out).expect("a vector takes all");
        let expected = concat!(
            r#"{"t":1.50000025,"node":2,"kind":"arrive","peer":0,"id":7}"#,
            "\n",
            r#"{"t":2.0,"kind":"end","fault":3}"#,
            "\n",
            r#"{"t":3.0,"node":1,"kind":"view","peer":0,"state":"suspect","epoch":5,"incarnation":1}"#,
            "\n",
        );
        assert_eq!(String::from_utf8(out).expect("JSON is text"), expected);
    }

    #[test]
    fn nothing_is_kept_nor_asked_for_when_off() {
        let mut trace = Trace::new(false);
        trace.tell(1, 0, || unreachable!("not asked"));
        assert!(trace.into_records().is_empty());
        let mut trace = Trace::new(true);
        trace.tell(1, None, || What::Note { text: "kept".into() });
        assert_eq!(trace.into_records().len(), 1);
    }
}
