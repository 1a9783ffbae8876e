//! One story under one seed.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::panics::{Caught, caught};
use super::token::{Token, Without};
use super::world::{ClusterOrder, Look, World};
use crate::checker::{Check, Violation};
use crate::choices::{Choices, Seeded};
use crate::clock::nanos;
use crate::fault::{Plan, Timed};
use crate::node::{Cluster, Setup, Unended, message};
use crate::swarm;
use crate::trace::TraceHash;
use crate::trace::record::{Record, What};

/// A story that waits for something waits in vain if nothing has woken it for so long: an hour of
/// virtual time.
const WAIT_MAX: u64 = 3_600_000_000_000;
/// Nanoseconds between one node's start and the next's.
const START_EVERY: u64 = 10_000_000;

/// Which run of a story, and what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) token: Token,
    pub(super) traces: bool,
    pub(super) story_lines: usize,
}

/// How a run of a story failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The oracle that bit, or the test itself.
    pub(super) violation: Violation,
    /// Where the story panicked, if it did: file, line and column.
    pub(super) place: Option<String>,
    /// At which true nanosecond.
    pub(super) at: u64,
}

impl Failed {
    /// Two runs of one seed were not the same; the first ended at this true nanosecond.
    pub(super) fn of_two_runs(at: u64) -> Self {
        let detail = "two runs of this seed were not the same".into();
        Self { violation: Violation { oracle: "determinism", detail }, place: None, at }
    }

    /// Whether two runs of one seed were not the same, and nothing else failed.
    pub(super) fn is_of_two_runs(&self) -> bool {
        self.violation.oracle == "determinism"
    }

    /// What two runs have in common that fail alike.
    pub(super) fn what(self) -> (&'static str, Option<String>) {
        (self.violation.oracle, self.place)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = std::time::Duration::from_nanos(self.at).as_secs_f64();
        write!(f, "{}\n  at {at:.6} s of virtual time", self.violation)?;
        self.place.iter().try_for_each(|place| write!(f, ", {place}"))
    }
}

/// What a run of a story came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The failure, if there was one.
    pub(super) failed: Option<Failed>,
    /// The hash of everything that happened.
    pub(super) hash: TraceHash,
    /// The faults that the story asked for, by number; those that were left out are not in it.
    pub(super) faults: BTreeMap<usize, Timed>,
    /// What happened, if a trace was asked for.
    pub(super) trace: Vec<Record>,
    /// The last lines of what happened.
    pub(super) lines: Vec<String>,
    /// How many nodes there were.
    pub(super) nodes: usize,
    /// The true nanosecond at which the run ended.
    pub(super) ended_at: u64,
}

/// Tells `story` once, under its seed.
pub(super) fn tell<F: Future<Output = ()>>(ask: &Ask, story: impl FnOnce(World) -> F) -> Told {
    let choices = Without { source: Seeded::new(ask.token.seed), calm: ask.token.calm.clone() };
    tell_with(ask, Box::new(choices), story)
}

/// Tells `story` once, with other choices than those of its seed.
pub(super) fn tell_with<F: Future<Output = ()>>(
    ask: &Ask,
    choices: Box<dyn Choices>,
    story: impl FnOnce(World) -> F,
) -> Told {
    let world = World::new(ask.token.seed);
    let begun = caught(|| {
        let mut story: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(story(world.clone()));
        let first = story.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        (story, first)
    });
    let (mut story, order) = match begun {
        Err(panic) => return failed_before(panic_of(&panic), panic.place),
        Ok((_, Poll::Ready(()))) => return Told::default(),
        Ok((story, Poll::Pending)) => (story, world.orders(|orders| orders.cluster.take())),
    };
    let Some(order) = order else {
        let detail =
            "the test waits for something outside of the world; `World::cluster` comes first";
        return failed_before(Violation { oracle: "test", detail: detail.into() }, None);
    };
    let nodes = order.count;
    let mut telling = Telling::new(ask, &world, order, choices);
    let ended = telling.run_to_its_end(story.as_mut());
    let (place, at) = (telling.place.take(), telling.cluster.engine.now());
    let failed = ended.err().map(|violation| Failed { violation, place, at });
    // Its handles of nodes go before the nodes do.
    drop(caught(|| drop(story)));
    let tasks = telling.cluster.engine.tasks_of_users();
    let mut told = telling.told(failed, nodes);
    drop(world.orders(std::mem::take));
    // Everything of the world is gone. Who still holds a waker of a task is not of the world.
    if told.failed.is_none()
        && let Some(detail) = tasks.iter().find_map(Unended::waits_outside)
    {
        let violation = Violation { oracle: "outside", detail };
        told.failed = Some(Failed { violation, place: None, at: told.ended_at });
    }
    told
}

fn failed_before(violation: Violation, place: Option<String>) -> Told {
    Told { failed: Some(Failed { violation, place, at: 0 }), ..Told::default() }
}

fn panic_of(panic: &Caught) -> Violation {
    Violation { oracle: "test", detail: message(&*panic.payload) }
}

struct Telling<'a> {
    ask: &'a Ask,
    world: &'a World,
    cluster: Cluster,
    /// Faults asked for so far, those left out included.
    asked: usize,
    faults: BTreeMap<usize, Timed>,
    /// Where the story panicked.
    place: Option<String>,
}

impl<'a> Telling<'a> {
    fn new(ask: &'a Ask, world: &'a World, order: ClusterOrder, choices: Box<dyn Choices>) -> Self {
        let ClusterOrder { count, config, configure, boot } = order;
        let setup = Setup {
            nodes: count,
            seed: ask.token.seed,
            config,
            configure,
            boot,
            story_lines: ask.story_lines,
            traces: ask.traces,
            mutant: None,
            absent: Vec::new(),
        };
        let cluster = Cluster::new(setup, Plan::default(), choices);
        for host in 0..cluster.hosts() {
            cluster.start_at(u64::from(host) * START_EVERY, host);
        }
        world.is_made(Arc::clone(cluster.engine.inner()));
        Self { ask, world, cluster, asked: 0, faults: BTreeMap::new(), place: None }
    }

    fn run_to_its_end(
        &mut self,
        mut story: Pin<&mut (dyn Future<Output = ()> + '_)>,
    ) -> Result<(), Violation> {
        self.cluster.engine.begin_story();
        let mut until = WAIT_MAX;
        loop {
            if self.cluster.engine.is_story_woken() {
                until = self.cluster.engine.now() + WAIT_MAX;
            }
            let polled = caught(|| self.cluster.engine.poll_story(story.as_mut()));
            match polled {
                Err(panic) => {
                    let violation = panic_of(&panic);
                    self.place = panic.place;
                    return Err(violation);
                }
                Ok(Some(())) => return self.cluster.engine.check_outside(),
                Ok(None) => {}
            }
            self.obey()?;
            if !self.cluster.step(until)? && !self.cluster.engine.is_anybody_woken() {
                let detail = "the test waits for something that does not happen".into();
                return Err(Violation { oracle: "test", detail });
            }
            self.show_nodes();
        }
    }

    /// Does what the story asked for in its last turn.
    fn obey(&mut self) -> Check {
        let (faults, swarm, is_calm, looks, shut_down) = self.world.orders(|orders| {
            let looks = matches!(orders.look, Some(Look::Wanted));
            (
                std::mem::take(&mut orders.faults),
                orders.swarm.take(),
                std::mem::take(&mut orders.calm),
                looks,
                std::mem::take(&mut orders.shut_down),
            )
        });
        shut_down.into_iter().for_each(|host| self.cluster.shut_down(host));
        for timed in faults {
            self.add(timed);
        }
        if let Some(span) = swarm {
            let (now, nodes) = (self.cluster.engine.now(), self.cluster.setup.nodes);
            let plan = self
                .cluster
                .engine
                .with(|state| swarm::plan(state.network().1, nodes, nanos(span)));
            // Drawn as if the world began now.
            let later = |at: u64| if at == u64::MAX { at } else { at.saturating_add(now) };
            for Timed { at, until, fault } in plan.faults {
                if !fault.is_operation() {
                    self.add(Timed { at: later(at), until: later(until), fault });
                }
            }
        }
        if is_calm {
            self.cluster.end_faults()?;
        }
        if looks {
            let reason = self.cluster.unconverged();
            self.world.orders(|orders| orders.look = Some(Look::Done(reason)));
            self.cluster.engine.begin_story();
        }
        Ok(())
    }

    fn add(&mut self, timed: Timed) {
        let number = self.asked;
        self.asked += 1;
        let kept = match &self.ask.token.kept {
            None => Some(timed),
            Some(kept) => {
                kept.iter().find(|kept| kept.number == number).map(|kept| kept.applied(timed))
            }
        };
        if let Some(timed) = kept {
            self.faults.insert(number, timed.clone());
            self.cluster.add_fault(timed);
        }
    }

    fn show_nodes(&mut self) {
        if !std::mem::take(&mut self.cluster.has_new_nodes) {
            return;
        }
        let nodes = (0..self.cluster.hosts())
            .filter_map(|host| Some((host, self.cluster.node(host)?.clone())));
        let nodes: BTreeMap<u32, chinwag::Node> = nodes.collect();
        let old = self.world.orders(|orders| std::mem::replace(&mut orders.nodes, nodes));
        drop(old);
    }

    fn told(mut self, failed: Option<Failed>, nodes: usize) -> Told {
        if let Some(Failed { violation: Violation { oracle, detail }, .. }) = &failed {
            let told = What::Fail { oracle: (*oracle).into(), detail: detail.clone() };
            self.cluster.engine.with(|state| state.trace.tell(state.now, None, || told));
        }
        Told {
            failed,
            hash: self.cluster.engine.hash(),
            faults: self.faults,
            trace: self
                .cluster
                .engine
                .with(|state| std::mem::take(&mut state.trace))
                .into_records(),
            lines: std::mem::take(&mut self.cluster.story).into_lines(),
            nodes,
            ended_at: self.cluster.engine.now(),
        }
    }
}
