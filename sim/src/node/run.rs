//! One run at node level: a cluster under the standard workload, from its seed to what it came to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cluster::{Cluster, Setup};
use super::ledger::Ledger;
use super::oddities::Square;
use super::workload::User;
use chinwag::Secret;

use crate::checker::deaths::{converges_within, seconds};
use crate::checker::{Check, Violation, ensure};
use crate::choices::{Choices, Seeded};
use crate::clock::nanos;
use crate::mutant::Defect;
use crate::run::{Failure, Outcome, Scenario, plan_of, unhealed};
use crate::trace::record::What as Told;

const SECOND: u64 = 1_000_000_000;
/// How often convergence is looked for.
const LOOK_EVERY: u64 = 100_000_000;
/// So long a cluster must stay as it is once it has converged, in the calm after the faults.
const STAYS_FOR: u64 = 10 * SECOND;
/// Nanoseconds between one node's start and the next's.
const START_EVERY: usize = 10_000_000;
/// The longest until everybody who is well can call everybody else: connections that went silent
/// are found out (`keepalive_idle` and `keepalive_timeout`), dials are bounded (`hello_timeout`)
/// and wait for one another (`BACKOFF_MAX`).
const REACHES_WITHIN: u64 = 60 * SECOND;
/// The longest that calls without a deadline take to end while a fault between nodes goes on that
/// keeps nobody apart.
const QUIET_WITHIN: u64 = 300 * SECOND;
/// A node that was shut down is gone by then, whatever it did.
const ENDS_WITHIN: u64 = 2 * SECOND;

/// Runs a scenario at node level under its seed.
pub fn run(scenario: &Scenario) -> Outcome {
    run_with(scenario, Box::new(Seeded::new(scenario.seed)))
}

/// Runs a scenario at node level with other choices than those of its seed.
pub fn run_with(scenario: &Scenario, mut choices: Box<dyn Choices>) -> Outcome {
    let plan = plan_of(scenario, &mut *choices);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut run = Run::new(scenario, plan.clone(), choices, is_over);
    let ended = run.drive(scenario);
    run.square.clear();
    if let Err(Violation { oracle, detail }) = &ended {
        let told = Told::Fail { oracle: (*oracle).into(), detail: detail.clone() };
        run.cluster.engine.with(|state| state.trace.tell(state.now, None, || told));
    }
    let Run { mut cluster, converged, healed, .. } = run;
    let failure = ended.err().map(|violation| Failure {
        violation,
        at: cluster.engine.now(),
        event: cluster.tally().events,
    });
    Outcome {
        hash: cluster.engine.hash(),
        virtual_nanos: cluster.engine.now(),
        failure,
        converged,
        healed,
        tally: cluster.tally(),
        detections: cluster.deaths.detections().collect(),
        false_suspicions: cluster.deaths.false_suspicions,
        false_deaths: cluster.deaths.false_deaths,
        excused: cluster.deaths.excused.clone(),
        flaps: cluster.deaths.flaps,
        struck: cluster.struck(),
        trace: cluster.engine.with(|state| std::mem::take(&mut state.trace)).into_records(),
        story: std::mem::take(&mut cluster.story).into_lines(),
        tape: cluster.engine.take_tape(),
        calls: Some(cluster.ledger.calls()),
        plan,
    }
}

struct Run {
    cluster: Cluster,
    is_over: Arc<AtomicBool>,
    square: Arc<Square>,
    converged: Option<u64>,
    healed: Option<u64>,
}

impl Run {
    fn new(
        scenario: &Scenario,
        plan: crate::fault::Plan,
        choices: Box<dyn Choices>,
        is_over: Arc<AtomicBool>,
    ) -> Self {
        let setup = Setup {
            nodes: scenario.nodes,
            seed: scenario.seed,
            config: scenario.config.clone(),
            configure: Arc::new(|builder, _| builder),
            boot: Arc::new(|_, _| Ok(())),
            story_lines: scenario.story_lines,
            traces: scenario.traces,
            mutant: scenario.mutant,
            absent: scenario.absent.clone(),
        };
        let mut cluster = Cluster::new(setup, plan, choices);
        let square = Arc::new(Square::default());
        let user = user(&cluster, &is_over, &square, 0);
        let on = square.clone();
        let secret = scenario.is_encrypted.then(|| Secret::from_bytes([7; 32]));
        cluster.setup.configure = Arc::new(move |builder, host| {
            let builder = on.watch(builder, host);
            match &secret {
                Some(secret) => builder.secret(secret.clone()),
                None => builder,
            }
        });
        cluster.setup.boot = Arc::new(move |node, host| User { host, ..user.clone() }.boot(node));
        for (host, at) in (0..cluster.hosts()).zip((0_usize..).step_by(START_EVERY)) {
            cluster.start_at(at as u64, host);
        }
        Self { cluster, is_over, square, converged: None, healed: None }
    }

    fn drive(&mut self, scenario: &Scenario) -> Check {
        let cluster = &mut self.cluster;
        while self.converged.is_none() && cluster.engine.now() < scenario.span {
            cluster.run_until((cluster.engine.now() + LOOK_EVERY).min(scenario.span))?;
            if cluster.unconverged().is_none() {
                self.converged = Some(cluster.engine.now());
            }
        }
        cluster.run_until(scenario.span)?;
        self.is_over.store(true, Ordering::SeqCst);
        if !scenario.calms || cluster.plan.forges() {
            return Ok(());
        }
        let calls = cluster.ledger.calls();
        ensure(scenario.span < 20 * SECOND || calls.answered > 0, "vacuity", || {
            format!("no call was ever answered: {calls:?}")
        })?;
        if cluster.can_meet() && !cluster.plan.breaks_calls_for_ever() {
            self.healed = Some(calm(scenario, cluster)?);
            self.reach_each_other()?;
        }
        self.end()
    }

    /// Everybody who is well can call everybody else.
    fn reach_each_other(&mut self) -> Check {
        let well = self.cluster.well();
        let mut users = Vec::new();
        for &host in &well {
            let user = user(&self.cluster, &self.is_over, &self.square, host);
            users.extend(self.cluster.node(host).map(|node| (user, node.clone())));
        }
        let story = async move {
            for (user, node) in users {
                for &to in &well {
                    while !user.reaches(&node, to).await {
                        node.sleep(std::time::Duration::from_millis(100)).await;
                    }
                }
            }
        };
        self.tell(REACHES_WITHIN, "rpc_heals", story)
    }

    /// Nobody waits for a call any more. A fault between nodes that never ends may slow down those
    /// that have no deadline.
    fn falls_quiet(&mut self, well: &[u32]) -> Check {
        let is_slow = self.cluster.plan.disturbs_for_ever();
        let until = self.cluster.engine.now() + if is_slow { QUIET_WITHIN } else { 0 };
        while self.cluster.engine.now() < until && self.cluster.ledger.is_quiet(well).is_err() {
            self.cluster.run_until(self.cluster.engine.now() + SECOND)?;
        }
        self.cluster.ledger.is_quiet(well)
    }

    /// Every node ends, and leaves no task and no socket. Nobody waits for a call, and no handler
    /// runs.
    fn end(&mut self) -> Check {
        let stays = self.cluster.engine.now() + 6 * SECOND;
        self.cluster.run_until(stays)?;
        let well = self.cluster.well();
        if !self.cluster.plan.breaks_calls_for_ever() {
            self.falls_quiet(&well)?;
        }
        let nodes: Vec<_> =
            well.iter().filter_map(|&host| self.cluster.node(host).cloned()).collect();
        self.square.clear();
        let (mutant, now) = (self.cluster.setup.mutant, self.cluster.engine.now());
        let stays = mutant
            .is_some_and(|mutant| well.iter().any(|&host| mutant.has(host, now, Defect::StaysUp)));
        self.cluster.shutdown();
        let story = async move {
            if stays {
                std::future::pending::<()>().await;
            }
            for node in nodes {
                node.shutdown().await;
            }
        };
        self.tell(ENDS_WITHIN, "shutdown", story)?;
        let ends = self.cluster.engine.now() + ENDS_WITHIN;
        self.cluster.run_until(ends)?;
        for host in well {
            self.cluster.nothing_is_left(host)?;
        }
        self.cluster.ledger.check()
    }

    /// Runs a story that must end within so many nanoseconds.
    fn tell(
        &mut self,
        within: u64,
        oracle: &'static str,
        story: impl Future<Output = ()>,
    ) -> Check {
        let until = self.cluster.engine.now() + within;
        let mut story: Pin<Box<dyn Future<Output = ()>>> = Box::pin(story);
        self.cluster.engine.begin_story();
        loop {
            if self.cluster.engine.poll_story(story.as_mut()).is_some() {
                return Ok(());
            }
            if !self.cluster.step(until)? && !self.cluster.engine.is_anybody_woken() {
                let detail = format!("not within {:.0} s of the calm", seconds(within));
                return Err(Violation { oracle, detail });
            }
        }
    }
}

fn user(cluster: &Cluster, is_over: &Arc<AtomicBool>, square: &Arc<Square>, host: u32) -> User {
    let ledger: Ledger = cluster.ledger.clone();
    let world = cluster.engine.inner().clone();
    User {
        world,
        ledger,
        host,
        hosts: cluster.hosts(),
        mutant: cluster.setup.mutant,
        is_over: is_over.clone(),
        square: square.clone(),
    }
}

/// No more faults, and no help: all views must become the truth, and stay so.
fn calm(scenario: &Scenario, cluster: &mut Cluster) -> Result<u64, Violation> {
    let within = nanos(converges_within(&scenario.config, scenario.nodes));
    // What a fault held back arrives now, perhaps from a process that will not say anything again:
    // agreement counts after that.
    cluster.run_until(cluster.engine.now() + LOOK_EVERY)?;
    while let Some(reason) = cluster.unconverged() {
        if cluster.engine.now() - scenario.span > within {
            return Err(unhealed(&reason, &cluster.groups(), within));
        }
        cluster.run_until(cluster.engine.now() + LOOK_EVERY)?;
    }
    let healed = cluster.engine.now() - scenario.span;
    cluster.run_until(cluster.engine.now() + STAYS_FOR)?;
    match cluster.unconverged() {
        None => Ok(healed),
        Some(reason) => {
            let detail =
                format!("{reason}, although all had agreed {} s before", STAYS_FOR / SECOND);
            Err(Violation { oracle: "convergence", detail })
        }
    }
}
