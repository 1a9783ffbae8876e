//! What `docs/protocol.md` says about one node's member table, written down a second time.
//!
//! A differential test gives the same inputs to this model and to
//! `chinwag_core::membership::Membership` and compares what they believe. So the model shares no
//! code with the implementation and was written from the text alone; it is slow and plain, and each
//! rule names its section. Where the text leaves a choice (rounding, which member count a suspicion
//! is measured with, the second of an age), the model gives bounds: [`Window`], and [`Model::open`]
//! for an outcome that may or may not have come.
//!
//! ```
//! use chinwag_fuzz::model::{Claim, Config, Details, Model, Origin, Outcome, Own, State};
//!
//! let address = |port| std::net::SocketAddr::from(([10, 0, 0, 1], port));
//! let mut model = Model::new(Config::lan(), Own::new(1, 1_000, address(1)));
//! let details = Details { incarnation: 0, address: address(2), versions: (1, 1), metadata: Vec::new() };
//! let claim = Claim { id: 2, epoch: 7, incarnation: 0, state: State::Alive, accusers: vec![], age: None, details: Some(details) };
//! assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::Changed);
//! assert_eq!(model.live(), 2);
//! ```
//!
//! Not modelled: who is probed when, how often a rumour is told, what a datagram holds, when tables
//! are exchanged. Their results (a verdict, a claim heard, a check that ended) are inputs.

mod claim;
mod config;
mod holder;
pub mod metadata;
mod others;
mod own;
mod record;
mod suspicion;
#[cfg(test)]
mod tests;
mod time;

use std::collections::BTreeMap;

pub use claim::{Claim, Details, EPOCH_MAX, Origin, State};
pub use config::Config;
pub use holder::{Kept, Verdict};
pub use own::Own;
pub use record::{Record, Window};
pub use suspicion::Suspicion;

/// Nanoseconds of the monotonic clock. Wide and signed: a death that is told of with its age may
/// lie before the clock's zero.
pub type Nanos = i128;

/// An id and an epoch.
pub type Run = (u64, u64);

/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// What an input did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// §2.5: such a claim is no message at all, and ends the payload it is in.
    Malformed,
    /// The claim is not taken.
    Refused(Why),
    /// The claim is not greater and brings nothing (§4.2), or there is nothing to do.
    Nothing,
    /// A record changed.
    Changed,
    /// §4.5.1: a told death shortened a suspicion. The record is as it was, apart from later
    /// details.
    Shortened,
    /// §4.2: about this node, which has raised its incarnation.
    Refuted,
    /// §4.2: about this node, which has moved to a later epoch.
    MovedOn,
    /// §4.2 (D7): an accusation of an earlier life of this node, answered with its present record.
    Answered,
    /// §4.9.1, §4.9.3, §4.9.4: kept aside until addresses have answered, or have not.
    Waits,
}

/// Why a claim was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// §4.2: of an unknown member or a later epoch, without details.
    NoDetails,
    /// §4.2: an unknown member's tombstone, without an age.
    NoAge,
    /// §4.1: a tombstone whose lifetime is over.
    TooOld,
    /// §2.5: metadata that is not pairs of UTF-8 with rising, unique keys that are not empty.
    Metadata,
    /// §4.9.4: that a member that may be forgotten is suspect.
    Forgotten,
    /// §4.9: a claim at the end of all epochs cannot be refuted.
    EndOfEpochs,
    /// §4.9: the held run, elsewhere, without its later word.
    Elsewhere,
}

impl Outcome {
    /// Whether the change is gossiped on; `None` where the text does not say. What came in a table
    /// transfer is told on only while few rumours wait (§4.7), so for such a claim `true` means
    /// "may be".
    pub fn told_on(self) -> Option<bool> {
        match self {
            Outcome::Changed | Outcome::Refuted | Outcome::MovedOn => Some(true),
            Outcome::Shortened | Outcome::Answered => None,
            Outcome::Malformed | Outcome::Refused(_) | Outcome::Nothing | Outcome::Waits => {
                Some(false)
            }
        }
    }
}

/// What may or may not have happened to a member by now, as far as the text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Its suspicion has run out, or ended by a told death.
    Dies,
    /// Its tombstone was forgotten.
    Forgotten,
}

/// One node's table as the text says it should be.
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    own: Own,
    /// All members but the node itself.
    records: BTreeMap<u64, Record>,
    /// §4.9.4: the latest epoch of all tombstones forgotten so far.
    watermark: Option<u64>,
    /// §4.9.1: claims that are kept aside.
    kept: BTreeMap<Run, Kept>,
    open: BTreeMap<u64, Choice>,
}

impl Model {
    /// A node that knows of nobody.
    pub fn new(config: Config, own: Own) -> Model {
        Model {
            config,
            own,
            records: BTreeMap::new(),
            watermark: None,
            kept: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// One claim that has come, about a member or about the node itself.
    pub fn hear(&mut self, now: Nanos, claim: &Claim, origin: Origin) -> Outcome {
        self.open.clear();
        if claim.malformed() {
            return Outcome::Malformed;
        }
        let outcome = if claim.id == self.own.id {
            let outcome = self.own.hear(claim);
            if outcome == Outcome::Waits {
                self.keep(claim, origin);
            }
            outcome
        } else {
            self.hear_of_other(now, claim, origin)
        };
        self.keep_tombstones_max();
        outcome
    }

    /// §4.11. The node's record becomes left.
    pub fn leave(&mut self) {
        self.open.clear();
        self.own.state = State::Left;
    }

    /// §1.3. New metadata, if it is well-formed, is said under the next incarnation.
    pub fn set_metadata(&mut self, metadata: Vec<u8>) -> bool {
        self.open.clear();
        self.own.set_metadata(metadata)
    }

    /// The node itself, as it last said it was.
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// All others: live members and tombstones.
    pub fn records(&self) -> &BTreeMap<u64, Record> {
        &self.records
    }

    /// §4.1: members alive or suspect, this node included until it leaves.
    pub fn live(&self) -> usize {
        let others = self.records.values().filter(|record| record.state.is_live()).count();
        others + usize::from(self.own.state.is_live())
    }

    /// §4.9.4: claims of life up to this epoch about members unknown here have to be vouched for.
    pub fn watermark(&self) -> Option<u64> {
        self.watermark
    }

    /// What the text leaves open after the last input. Whoever compares looks at the implementation
    /// and [`settle`](Self::settle)s each before the next input; what is not settled did not
    /// happen.
    pub fn open(&self) -> &BTreeMap<u64, Choice> {
        &self.open
    }

    /// Decides an open choice.
    pub fn settle(&mut self, now: Nanos, id: u64, happened: bool) {
        let choice = self.open.remove(&id);
        if !happened {
            return;
        }
        match choice {
            Some(Choice::Dies) => self.die(now, id),
            Some(Choice::Forgotten) => self.forget(id),
            None => {}
        }
        self.keep_tombstones_max();
    }
}
