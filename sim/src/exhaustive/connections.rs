//! Every order of what two connections and their applications may do (`docs/protocol.md` §5.12.10):
//! the machines of core, the bytes between them, and calls from both ends.
//!
//! A step is one of [`Act`]: one write or one read of a stream, one event heard by an application,
//! one answer, one answer taken, one call given up, or time that passes until the next timer. Time
//! passes when nothing else can happen; so often as `hurries` says it also passes earlier, so that
//! a timer overtakes what is under way. The search goes depth first and plays every way again from
//! its beginning, because machines are not cloned.
//!
//! Two states are the same if a hash of 128 bits over all that can matter later says so: what the
//! machines hold, private fields included, what their readers hold, the bytes on their way, what
//! the applications hold, and the time. The stamps of the causal clock stand still.
//!
//! A state is stuck if no way leads from it to the end, in which every call has ended over
//! connections that are still there; giving calls up is no way.

mod pair;
mod stories;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use chinwag_core::rpc::Defect;

use pair::{ACTS, Act, Pair};
pub use stories::{Story, stories};

/// What is searched.
#[derive(Clone, Debug)]
pub struct Search {
    /// Whether and how often time passes before all else has happened.
    pub hurries: u32,
    /// Calls that each end gives up at most.
    pub drops: u32,
    /// The search gives up at so many states.
    pub states_max: usize,
    /// The rule that both machines leave out.
    pub defect: Option<Defect>,
}

impl Default for Search {
    fn default() -> Self {
        Self { hurries: 1, drops: 1, states_max: 1_000_000, defect: None }
    }
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Distinct states.
    pub states: usize,
    /// Steps taken from them.
    pub steps: u64,
    /// Of the steps, those that led to a state that was known.
    pub merged: u64,
    /// States in which every call has ended.
    pub ends: usize,
    /// Steps of the longest way.
    pub deepest: usize,
    /// Whether all was searched.
    pub is_complete: bool,
    /// States from which no way leads to an end, of those that were searched.
    pub stuck: usize,
    /// The way to one of them.
    pub order: Option<Vec<Act>>,
}

/// A state that was reached: whence, and by what.
struct Reached {
    parent: u32,
    act: Option<Act>,
    is_end: bool,
    /// Nothing can move.
    is_over: bool,
}

/// A state on the way that is being searched, and the step that is to be tried next.
struct Here {
    at: u32,
    next: usize,
    /// What may happen, as bits of [`ACTS`].
    enabled: u16,
}

struct Graph<'a> {
    search: &'a Search,
    story: &'a Story,
    known: BTreeMap<u128, u32>,
    reached: Vec<Reached>,
    /// From, to.
    edges: Vec<(u32, u32)>,
    way: Vec<Here>,
    found: Found,
}

/// Searches every order of one story. Of a mutant, to the first state in which nothing can move.
pub fn search(story: &Story, search: &Search) -> Found {
    let mut graph = Graph {
        search,
        story,
        known: BTreeMap::new(),
        reached: Vec::new(),
        edges: Vec::new(),
        way: Vec::new(),
        found: Found { is_complete: true, ..Found::default() },
    };
    graph.walk();
    graph.judge()
}

impl Graph<'_> {
    fn walk(&mut self) {
        let mut pair = Pair::new(self.story, self.search);
        self.enter(&pair, None);
        // Whether `pair` is the last state of the way.
        let mut is_here = true;
        while let Some(here) = self.way.last_mut() {
            let Some(nth) = (here.next..ACTS.len()).find(|nth| here.enabled >> nth & 1 == 1) else {
                self.way.pop();
                is_here = false;
                continue;
            };
            here.next = nth + 1;
            if !is_here {
                pair = self.replayed();
            }
            pair.act(ACTS[nth]);
            self.found.steps += 1;
            is_here = self.enter(&pair, Some(ACTS[nth]));
            if self.known.len() >= self.search.states_max {
                self.found.is_complete = false;
                return;
            }
            let is_stuck = |of: &Reached| of.is_over && !of.is_end;
            if self.search.defect.is_some() && self.reached.last().is_some_and(is_stuck) {
                self.found.is_complete = false;
                return;
            }
        }
    }

    /// The state at the end of the way, played from its beginning.
    fn replayed(&self) -> Pair {
        let mut pair = Pair::new(self.story, self.search);
        for here in &self.way {
            self.reached[here.at as usize].act.into_iter().for_each(|act| pair.act(act));
        }
        pair
    }

    /// Whether this state is new, and now the end of the way.
    fn enter(&mut self, pair: &Pair, act: Option<Act>) -> bool {
        let parent = self.way.last().map_or(0, |here| here.at);
        let next = u32::try_from(self.reached.len()).expect("fewer than 2^32 states");
        let at = *self.known.entry(pair.digest()).or_insert(next);
        if act.is_some_and(|act| !matches!(act, Act::Drop(_))) {
            self.edges.push((parent, at));
        }
        if at != next {
            self.found.merged += 1;
            return false;
        }
        let is_end = pair.is_done();
        let enabled = if is_end { 0 } else { pair.enabled() };
        self.reached.push(Reached { parent, act, is_end, is_over: pair.is_over() });
        self.way.push(Here { at, next: 0, enabled });
        self.found.ends += usize::from(is_end);
        self.found.deepest = self.found.deepest.max(self.way.len() - 1);
        true
    }

    /// Which states are stuck. Of a search that was given up, those in which nothing can move.
    fn judge(mut self) -> Found {
        self.found.states = self.reached.len();
        let mut is_good: Vec<bool> = self.reached.iter().map(|state| state.is_end).collect();
        if self.found.is_complete {
            self.edges.sort_unstable_by_key(|&(_, to)| to);
            let mut open: Vec<u32> =
                (0..).zip(&is_good).filter(|of| *of.1).map(|of| of.0).collect();
            while let Some(to) = open.pop() {
                let first = self.edges.partition_point(|edge| edge.1 < to);
                for &(from, _) in self.edges[first..].iter().take_while(|edge| edge.1 == to) {
                    if !std::mem::replace(&mut is_good[from as usize], true) {
                        open.push(from);
                    }
                }
            }
        } else {
            is_good.iter_mut().zip(&self.reached).for_each(|(good, of)| *good |= !of.is_over);
        }
        self.found.stuck = is_good.iter().filter(|is_good| !**is_good).count();
        self.found.order = is_good.iter().position(|is_good| !is_good).map(|at| self.way_to(at));
        self.found
    }

    fn way_to(&self, mut at: usize) -> Vec<Act> {
        let mut way = Vec::new();
        while let Some(act) = self.reached[at].act {
            way.push(act);
            at = self.reached[at].parent as usize;
        }
        way.reverse();
        way
    }
}
