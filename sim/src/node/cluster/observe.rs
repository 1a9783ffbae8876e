//! What the oracles see of a node after every poll of one of its machine's tasks.

use chinwag::protocol::clock::DRIFT_MAX_DEFAULT;
use chinwag::protocol::rng::mix;
use chinwag::{Event, State};

use super::{Cluster, Post, Process};
use crate::checker::deaths::Truth;
use crate::checker::views::{Word, id, rank};
use crate::checker::{Check, Violation, ensure};
use crate::fault::{Fault, Return};
use crate::mutant::Defect;
use crate::node::tasks::lock;
use crate::trace::record::What as Told;
use crate::world::told_as;

/// Counters past 4,096 stamps a microsecond carry into the microseconds; no run is near so many.
const SLACK_MICROS: u64 = 1_000;

impl Cluster {
    /// Looks at what a task of `host` may have changed.
    pub(super) fn observe(&mut self, host: u32) -> Check {
        let (now, clear_since) = (self.engine.now(), self.clear.since());
        self.ledger.watch(now, clear_since, |host| self.is_well(host))?;
        if let Some((host, words)) = self.engine.with(|state| state.panics.pop()) {
            return Err(Violation {
                oracle: "panic",
                detail: format!("a task of node {host}: {words}"),
            });
        }
        self.take_post()?;
        self.deafen();
        let Some(mut process) = self.sites[host as usize].process.take() else { return Ok(()) };
        let looked = self.look(host, &mut process);
        self.sites[host as usize].process = Some(process);
        looked
    }

    /// A mutant that takes nothing in is cut off behind the oracles' back, for good: the driver's
    /// own way in is not to be altered.
    fn deafen(&mut self) {
        let now = self.engine.now();
        let deaf =
            self.setup.mutant.filter(|mutant| mutant.defect == Defect::Deaf && now >= mutant.since);
        let Some(node) = deaf.and_then(|mutant| mutant.node) else { return };
        if self.setup.mutant.take().is_some() {
            self.shun((0..self.hosts()).filter(|&other| other != node).collect(), node);
        }
    }

    fn shun(&self, from: Vec<u32>, to: u32) {
        self.engine.begin_fault(usize::MAX, &Fault::Cut { from, to: vec![to], one_way: true });
    }

    /// Takes in who has started and who has left.
    fn take_post(&mut self) -> Check {
        let Post { started, left, shut_down } = std::mem::take(&mut *lock(&self.post));
        for (host, run, started) in started {
            if self.engine.with(|state| state.machine(host).process) != run {
                continue;
            }
            let (node, watch) = started.map_err(|error| Violation {
                oracle: "start",
                detail: format!("node {host} does not start: {error}"),
            })?;
            self.views.started(host);
            let epoch = node.epoch().get();
            (0..self.hosts()).for_each(|subject| {
                self.ledger.holds(host, subject, (subject == host).then_some(epoch));
            });
            self.engine.with(|state| {
                state.tell_clock(host);
                state.trace.tell(state.now, host, || Told::Start { epoch });
            });
            self.deaths.is(host, Truth::Up);
            (self.setup.boot)(&node, host).map_err(|error| Violation {
                oracle: "start",
                detail: format!("node {host}: {error}"),
            })?;
            self.has_new_nodes = true;
            let last_stamp = self.sites[host as usize].floor;
            let keeps_clock = std::mem::take(&mut self.sites[host as usize].keeps_clock);
            self.sites[host as usize].process = Some(Process {
                node,
                watch,
                version: u64::MAX,
                last_stamp: if keeps_clock { last_stamp } else { chinwag::Timestamp::default() },
                has_left: false,
                known: std::collections::BTreeMap::new(),
            });
        }
        for (host, run, number) in left {
            if self.engine.with(|state| state.machine(host).process) == run {
                self.deaths.is(host, Truth::Left);
                self.engine.with(|state| {
                    state.trace.tell(state.now, host, || Told::Stop { why: "left".into() });
                });
                self.has_new_nodes = true;
                self.sites[host as usize].process = None;
                self.sites[host as usize].crashed_by = Some(number);
                if self.is_over[number] {
                    self.come_back(host, number, Return::default());
                }
            }
        }
        for (host, run) in shut_down {
            if self.engine.with(|state| state.machine(host).process) == run {
                self.deaths.is(host, Truth::Down(self.engine.now()));
                self.engine.with(|state| {
                    state.trace.tell(state.now, host, || Told::Stop { why: "shut down".into() });
                });
                self.has_new_nodes = true;
                self.sites[host as usize].process = None;
                self.nothing_is_left(host)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, host: u32, process: &mut Process) -> Check {
        let view = process.node.members();
        let has_changed = view.version() != process.version;
        if has_changed {
            process.version = view.version();
            for subject in 0..self.hosts() {
                // A node that moves past a run of its own is in another epoch from then on.
                let held = match view.get(id(subject)) {
                    _ if subject == host => Some(view.local().epoch.get()),
                    member => member.map(|member| member.epoch.get()),
                };
                self.ledger.holds(host, subject, held);
            }
            let mut altered = view.local().clone();
            if let Some(mutation) = &self.mutation {
                mutation.local(host, self.engine.now(), &mut altered);
            }
            let local = &altered;
            self.deaths.epoch(host, local.epoch.get());
            let has_left = process.has_left && local.state == State::Left;
            let word = Word { has_left, refutations: process.node.stats().membership.refutations };
            self.views.life(host, local, word)?;
            self.views.local(host, local, has_left)?;
        }
        while let Some(event) = process.watch.try_next() {
            let now = self.engine.now();
            match self.mutation.as_mut().and_then(|mutation| mutation.event(host, now, &event)) {
                Some(others) => {
                    others.iter().try_for_each(|other| self.hear(host, process, other))?;
                }
                None => self.hear(host, process, &event)?,
            }
        }
        if has_changed {
            self.views.snapshot(host, view.members(), view.members().len())?;
        }
        self.look_at_clock(host, process)
    }

    /// The clock never runs back, stays near the wall clock it could have heard of, and is written
    /// down where it asks to be.
    fn look_at_clock(&mut self, host: u32, process: &mut Process) -> Check {
        let clock = process.node.clock();
        let (now, last) = (self.engine.now(), clock.last());
        let last = self.mutation.as_ref().map_or(last, |mutation| mutation.stands(host, now, last));
        let before = std::mem::replace(&mut process.last_stamp, last);
        // A clock that was kept begins past its last stamp with the first that it gives.
        ensure(before <= last || last == chinwag::Timestamp::default(), "hlc_rises", || {
            format!("node {host} stood at {before}, then at {last}")
        })?;
        let drift_max = u64::try_from(DRIFT_MAX_DEFAULT.as_micros()).unwrap_or(u64::MAX);
        let most = self.engine.with(|state| state.wall_max()) + 2 * drift_max + SLACK_MICROS;
        ensure(last.micros() <= most, "hlc_bound", || {
            format!(
                "node {host} stands at {last}, and no wall clock was ever past {most} less the \
                    drift allowed"
            )
        })?;
        if let Some(bound) = clock.persist_bound() {
            self.sites[host as usize].persisted = bound;
        }
        Ok(())
    }

    fn hear(&mut self, host: u32, process: &mut Process, event: &Event) -> Check {
        self.tell(|| format!("node {host}: {event:?}"));
        self.count(event);
        if let Some(member) = event.member() {
            let (epoch, incarnation, state) = rank(member);
            let claim =
                mix(epoch << 2 | state as u64) ^ u64::from(incarnation) ^ mix(member.id.get());
            self.engine.with(|world| world.hash.add(world.now, 8 << 32 | u64::from(host), claim));
        }
        if let (Event::Died(member), Some(mutation)) = (event, &self.mutation) {
            let subject = self.views.index(member.id);
            if let Some(subject) =
                subject.filter(|_| mutation.has(host, self.engine.now(), Defect::NeverForgives))
            {
                self.shun(vec![subject], host);
            }
        }
        self.views.event(host, event)?;
        let Some((member, subject)) =
            event.member().and_then(|member| Some((member, self.views.index(member.id)?)))
        else {
            return Ok(());
        };
        process.known.insert(subject, member.addr);
        self.engine.with(|state| state.tell_view(host, subject, member));
        let now = self.engine.now();
        let run = (subject, member.epoch.get());
        self.deaths.event(now, host, event, run, self.plan.forges())
    }

    fn count(&mut self, event: &Event) {
        match told_as(event) {
            Some(kind) => self.told[kind] += 1,
            None => self.broadcasts += u64::from(matches!(event, Event::Broadcast { .. })),
        }
    }
}
