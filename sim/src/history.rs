//! What clients asked and what they were answered, and whether one order of all of it explains
//! every answer.
//!
//! ```
//! use chinwag_sim::history::{History, Register, RegisterOp::{Read, Write}};
//!
//! let history = History::<Register>::default();
//! let write = history.begin(Write(7));   // at every call
//! let read = history.begin(Read);        // at the same time, by another client
//! write.ok(None);                        // ended, with an answer
//! read.ok(Some(7));
//! // No answer: it may have taken effect, now or later, or not.
//! drop(history.begin(Write(8)));
//! history.check().expect("linearizable");
//! ```
//!
//! The search is that of Wing and Gong, with Lowe's memory of what was tried; its cost grows with
//! the operations that overlap, so it is for short histories of few clients: hundreds of
//! operations, a dozen open at once. A model that names independent parts ([`Model::part`]: the
//! keys of a store) is searched part by part.

mod models;
mod search;

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

pub use models::{KeyValue, KeyValueOp, Register, RegisterOp};

use crate::node::lock;

/// What the operations mean, one at a time.
pub trait Model: 'static {
    /// What they work on.
    type State: Clone + Eq + Hash + Default;
    /// What is asked.
    type Op: Clone + fmt::Debug;
    /// What is answered.
    type Answer: Clone + Eq + fmt::Debug;

    /// Does `op`, and gives the answer to it.
    fn apply(state: &mut Self::State, op: &Self::Op) -> Self::Answer;

    /// The part of the state that `op` is about. Operations on different parts have nothing to do
    /// with each other.
    fn part(op: &Self::Op) -> u64 {
        let _one_whole = op;
        0
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<A> {
    /// With this answer.
    Ok(A),
    /// It certainly took no effect, and never will.
    Fail,
    /// Nobody knows: it may have taken effect, or may still, or not.
    Unknown,
}

/// An operation as its client saw it.
pub struct Operation<M: Model> {
    /// What was asked.
    pub op: M::Op,
    /// How it ended.
    pub outcome: Outcome<M::Answer>,
    /// When it was asked, and when it ended, as places in the order of all of these.
    pub called: usize,
    /// See `called`; `None` if it never did.
    pub ended: Option<usize>,
}

impl<M: Model> Clone for Operation<M> {
    fn clone(&self) -> Self {
        let Self { op, outcome, called, ended } = self;
        Self { op: op.clone(), outcome: outcome.clone(), called: *called, ended: *ended }
    }
}

/// Records operations; clones record into the same history.
pub struct History<M: Model> {
    book: Arc<Mutex<Book<M>>>,
}

struct Book<M: Model> {
    operations: Vec<Operation<M>>,
    moments: usize,
}

impl<M: Model> Default for History<M> {
    fn default() -> Self {
        Self { book: Arc::new(Mutex::new(Book { operations: Vec::new(), moments: 0 })) }
    }
}

impl<M: Model> Clone for History<M> {
    fn clone(&self) -> Self {
        Self { book: self.book.clone() }
    }
}

impl<M: Model> History<M> {
    /// A client asks for `op` now.
    pub fn begin(&self, op: M::Op) -> Pending<M> {
        let mut book = lock(&self.book);
        let called = book.moment();
        book.operations.push(Operation { op, outcome: Outcome::Unknown, called, ended: None });
        Pending { history: self.clone(), at: book.operations.len() - 1 }
    }

    /// What was recorded, in the order in which it was asked.
    pub fn operations(&self) -> Vec<Operation<M>> {
        lock(&self.book).operations.clone()
    }

    /// Whether there is an order of all operations, each at one moment between its call and its
    /// end, in which every answer is right.
    ///
    /// # Errors
    /// [`NotLinearizable`], with the part of the history for which there is none.
    pub fn check(&self) -> Result<(), NotLinearizable> {
        search::check::<M>(&self.operations())
    }
}

impl<M: Model> Book<M> {
    fn moment(&mut self) -> usize {
        self.moments += 1;
        self.moments
    }
}

/// An operation that has been asked for. Dropped, nobody knows how it ended.
#[must_use = "say how the operation ends"]
pub struct Pending<M: Model> {
    history: History<M>,
    at: usize,
}

impl<M: Model> Pending<M> {
    /// It ends with this answer.
    pub fn ok(self, answer: M::Answer) {
        self.end(Outcome::Ok(answer));
    }

    /// It took no effect and never will.
    pub fn fail(self) {
        self.end(Outcome::Fail);
    }

    /// It ends, and may have taken effect. So does dropping this.
    pub fn unknown(self) {}

    fn end(self, outcome: Outcome<M::Answer>) {
        let mut book = lock(&self.history.book);
        let ended = book.moment();
        let operation = &mut book.operations[self.at];
        (operation.outcome, operation.ended) = (outcome, Some(ended));
    }
}

/// No order of these operations explains their answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLinearizable {
    /// The operations, one a line, in the order in which they were asked.
    pub operations: Vec<String>,
    /// The most of them that could be put in an order.
    pub explained: usize,
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, explained } = self;
        writeln!(
            f,
            "no order explains these operations, at best {explained} of {}:",
            operations.len()
        )?;
        operations.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl std::error::Error for NotLinearizable {}

#[cfg(test)]
mod tests;
