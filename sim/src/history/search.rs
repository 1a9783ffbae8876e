//! The search for an order (Wing and Gong, "Testing and verifying concurrent objects", 1993; Lowe,
//! "Testing for linearizability", 2017).
//!
//! An order is built from its front. The next operation is one that was called before any other
//! that is left had ended. What was tried is remembered as the set of operations put in order and
//! the state they lead to: two ways to the same pair go on alike.

use std::collections::BTreeMap;
use std::hash::BuildHasherDefault;

use super::{Model, NotLinearizable, Operation, Outcome};

/// A hasher with no seed: whether a pair was tried does not depend on it, and nothing iterates.
type Tried<S> = hashbrown::HashSet<(Vec<u64>, S), BuildHasherDefault<Fnv>>;

/// FNV-1a.
#[derive(Clone)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

pub(super) fn check<M: Model>(operations: &[Operation<M>]) -> Result<(), NotLinearizable> {
    let mut parts: BTreeMap<u64, Vec<&Operation<M>>> = BTreeMap::new();
    for operation in
        operations.iter().filter(|operation| !matches!(operation.outcome, Outcome::Fail))
    {
        parts.entry(M::part(&operation.op)).or_default().push(operation);
    }
    parts.into_values().try_for_each(|mut part| {
        // Those that nobody knows of come last: most of them never happened, and trying them first
        // would try every set of them.
        part.sort_by_key(|operation| (operation.ended.is_none(), operation.called));
        check_part(&part)
    })
}

/// A step of the search: an operation put next, and where the search went on from.
struct Step<S> {
    operation: usize,
    before: S,
}

fn check_part<M: Model>(operations: &[&Operation<M>]) -> Result<(), NotLinearizable> {
    let count = operations.len();
    let must: usize = operations.iter().filter(|operation| operation.ended.is_some()).count();
    let mut placed = vec![0_u64; count.div_ceil(64)];
    let mut state = M::State::default();
    let mut steps: Vec<Step<M::State>> = Vec::new();
    let mut tried: Tried<M::State> = Tried::default();
    let (mut done, mut best, mut from) = (0, 0, 0);
    loop {
        best = best.max(done);
        if done == must {
            return Ok(());
        }
        match next(operations, &placed, from, &state, &tried) {
            Some((at, after)) => {
                placed[at / 64] |= 1 << (at % 64);
                tried.insert((placed.clone(), after.clone()));
                done += usize::from(operations[at].ended.is_some());
                steps.push(Step { operation: at, before: std::mem::replace(&mut state, after) });
                from = 0;
            }
            None => {
                let Some(Step { operation, before }) = steps.pop() else {
                    let operations = operations.iter().map(|operation| line(operation)).collect();
                    return Err(NotLinearizable { operations, explained: best });
                };
                placed[operation / 64] &= !(1 << (operation % 64));
                done -= usize::from(operations[operation].ended.is_some());
                (state, from) = (before, operation + 1);
            }
        }
    }
}

/// The next operation that may come here, from `from` on, and the state after it.
fn next<M: Model>(
    operations: &[&Operation<M>],
    placed: &[u64],
    from: usize,
    state: &M::State,
    tried: &Tried<M::State>,
) -> Option<(usize, M::State)> {
    let is_placed = |at: usize| placed[at / 64] >> (at % 64) & 1 == 1;
    let left = || operations.iter().enumerate().filter(|(at, _)| !is_placed(*at));
    let first_end = left().filter_map(|(_, operation)| operation.ended).min().unwrap_or(usize::MAX);
    for (at, operation) in left().skip_while(|(at, _)| *at < from) {
        if operation.called > first_end {
            continue;
        }
        let mut after = state.clone();
        let answer = M::apply(&mut after, &operation.op);
        let is_right = match &operation.outcome {
            Outcome::Ok(told) => *told == answer,
            Outcome::Unknown => true,
            Outcome::Fail => false,
        };
        if !is_right {
            continue;
        }
        let mut then = placed.to_vec();
        then[at / 64] |= 1 << (at % 64);
        let pair = (then, after);
        if !tried.contains(&pair) {
            return Some((at, pair.1));
        }
    }
    None
}

fn line<M: Model>(operation: &Operation<M>) -> String {
    let Operation { op, outcome, called, ended } = operation;
    let ended = ended.map_or_else(|| "never".to_owned(), |ended| ended.to_string());
    format!("{called} to {ended}: {op:?}: {outcome:?}")
}
