//! Who is really there, who was declared dead, and whether a fault excuses it.

use std::collections::BTreeMap;

use std::time::Duration;

use chinwag_core::membership::{Config, Event};

use super::{Check, ensure};
use crate::fault::Fault;

/// What is true of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Not started yet, or gone for another reason.
    Absent,
    /// Its process runs, paused or not.
    Up,
    /// It crashed, at this true nanosecond.
    Down(u64),
    /// It left in good order.
    Left,
}

/// How one crash was noticed, in nanoseconds after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detection {
    /// The first suspicion at any node.
    pub suspect: Option<u64>,
    /// The first death.
    pub first: Option<u64>,
    /// The last death.
    pub last: Option<u64>,
}

/// Judges deaths.
#[derive(Debug)]
pub struct Deaths {
    truth: Vec<Truth>,
    epochs: Vec<u64>,
    touched: Vec<Option<&'static str>>,
    touched_count: usize,
    /// Both ends of each single link that was blocked while others were there to ask.
    links: Vec<([u32; 2], &'static str)>,
    /// Something has gone wrong, however little.
    has_faulted: bool,
    detections: Vec<(u32, Detection)>,
    /// Suspicions of members that were up, each observer counted.
    pub false_suspicions: u64,
    /// Deaths of members that were up, each observer counted.
    pub false_deaths: u64,
    /// The same by what excused them: the first family of faults that touched the member, or else
    /// the observer.
    pub excused: BTreeMap<&'static str, u64>,
    /// Members that were up and came back from a death or a suspicion.
    pub flaps: u64,
}

impl Deaths {
    /// Nobody is there yet.
    pub fn new(nodes: usize) -> Self {
        Self {
            truth: vec![Truth::Absent; nodes],
            epochs: vec![0; nodes],
            touched: vec![None; nodes],
            touched_count: 0,
            links: Vec::new(),
            has_faulted: false,
            detections: Vec::new(),
            false_suspicions: 0,
            false_deaths: 0,
            excused: BTreeMap::new(),
            flaps: 0,
        }
    }

    /// What is true of `node` from now on, and of which run.
    pub fn is(&mut self, node: u32, truth: Truth) {
        self.truth[node as usize] = truth;
        if matches!(truth, Truth::Down(_)) {
            self.detections.push((node, Detection::default()));
        }
        self.judge_links();
    }

    /// The epoch of the present run of `node`.
    pub fn epoch(&mut self, node: u32, epoch: u64) {
        self.epochs[node as usize] = epoch;
    }

    /// A fault begins. Whom it touches is excused from here on: consequences outlast their cause.
    /// One blocked link between two nodes touches nobody while at least four run, for the
    /// others are there to ask (C10).
    /// A fault of a mild plan ([`Plan::is_mild`](crate::fault::Plan::is_mild)) excuses nobody.
    pub fn fault(&mut self, fault: &Fault, is_of_mild_plan: bool) {
        self.has_faulted |= !fault.is_operation();
        if is_of_mild_plan || !fault.excuses_deaths() {
            return;
        }
        let family = fault.family();
        let nodes = self.truth.len();
        let all = || (0..u32::try_from(nodes).unwrap_or(u32::MAX)).collect::<Vec<_>>();
        let touched = match fault {
            Fault::Cut { from, to, .. } | Fault::Flap { from, to, .. } => {
                match (&from[..], &to[..]) {
                    (&[one], &[other]) => {
                        self.links.push(([one, other], family));
                        return self.judge_links();
                    }
                    (from, to) => [from, to].concat(),
                }
            }
            Fault::Link { from, to, .. } if from.is_empty() || to.is_empty() => all(),
            Fault::Link { from, to, .. } => [&from[..], to].concat(),
            other => other.node().into_iter().collect(),
        };
        self.touch(touched, family);
    }

    /// A blocked link excuses both its ends once there are not two others to ask: at its beginning,
    /// or when they are gone.
    fn judge_links(&mut self) {
        if !self.links.is_empty()
            && self.truth.iter().filter(|&&truth| truth == Truth::Up).count() < 4
        {
            for (ends, family) in std::mem::take(&mut self.links) {
                self.touch(ends, family);
            }
        }
    }

    fn touch(&mut self, nodes: impl IntoIterator<Item = u32>, family: &'static str) {
        for node in nodes {
            let touched = &mut self.touched[node as usize];
            self.touched_count += usize::from(touched.is_none());
            touched.get_or_insert(family);
        }
    }

    /// What `observer` tells of a run of a node: its index and epoch. Where a fault forges, deaths
    /// prove nothing.
    ///
    /// # Errors
    /// As [`suspected`](Self::suspected) and [`died`](Self::died).
    pub fn event(
        &mut self,
        now: u64,
        observer: u32,
        event: &Event,
        (subject, epoch): (u32, u64),
        forges: bool,
    ) -> Check {
        match event {
            Event::Suspected(_) => self.suspected(now, observer, subject, epoch),
            Event::Died(_) if !forges => self.died(now, observer, subject, epoch),
            Event::Recovered(_) => {
                self.recovered(subject);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `observer` suspects a run of `subject`.
    ///
    /// # Errors
    /// `accuracy` if that run is up, and nothing at all has gone wrong yet.
    pub fn suspected(&mut self, now: u64, observer: u32, subject: u32, epoch: u64) -> Check {
        match self.truth[subject as usize] {
            Truth::Down(at) => {
                if let Some(detection) = self.detection(subject) {
                    detection.suspect.get_or_insert(now - at);
                }
            }
            Truth::Up if self.epochs[subject as usize] == epoch => {
                self.false_suspicions += 1;
                return ensure(self.has_faulted, "accuracy", || {
                    format!(
                        "node {observer} suspects node {subject}, and nothing has gone wrong yet"
                    )
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// A member that was suspected or dead is well again in the eyes of somebody.
    pub fn recovered(&mut self, subject: u32) {
        self.flaps += u64::from(self.truth[subject as usize] == Truth::Up);
    }

    /// `observer` declares a run of `subject` dead.
    ///
    /// # Errors
    /// `accuracy` if that run is up, or has left, and no fault has touched the two of them nor two
    /// others.
    pub fn died(&mut self, now: u64, observer: u32, subject: u32, epoch: u64) -> Check {
        let is_run = self.epochs[subject as usize] == epoch;
        match self.truth[subject as usize] {
            Truth::Down(at) => {
                if let Some(detection) = self.detection(subject) {
                    detection.first.get_or_insert(now - at);
                    detection.last = Some(now - at);
                }
                return Ok(());
            }
            Truth::Up | Truth::Left if is_run => {}
            _ => return Ok(()),
        }
        let of_itself = self.touched[subject as usize].or(self.touched[observer as usize]);
        let of_others = (self.touched_count > 1).then_some("two others were touched");
        let excuse = of_itself.or(of_others);
        if self.truth[subject as usize] == Truth::Up {
            self.false_deaths += 1;
            *self.excused.entry(excuse.unwrap_or("nothing")).or_default() += 1;
        }
        ensure(excuse.is_some(), "accuracy", || {
            format!(
                "node {observer} declares node {subject} dead, which is {:?}; \
                 {} nodes were touched by faults",
                self.truth[subject as usize], self.touched_count
            )
        })
    }

    /// How each crash was noticed, in order.
    pub fn detections(&self) -> impl Iterator<Item = Detection> {
        self.detections.iter().map(|&(_, detection)| detection)
    }

    fn detection(&mut self, subject: u32) -> Option<&mut Detection> {
        self.detections
            .iter_mut()
            .rev()
            .find(|(node, _)| *node == subject)
            .map(|(_, detection)| detection)
    }
}

/// The longest time from the end of all faults until all views are the truth (C1, V1, V2). The
/// parts happen one after the other at worst:
///
/// - every round of a node that begins at the highest awareness is answered or not, and awareness
///   falls by one each;
/// - a crashed member is reached by the probe ring within 2n - 1 rounds (§4.3), and its suspicion
///   runs its longest;
/// - dead members are tried one at a time, by each of the nodes, drawn at random: thrice as long as
///   all take in turn;
/// - seeds are tried once in 1.5 intervals, and one exchange follows.
pub fn converges_within(config: &Config, nodes: usize) -> Duration {
    let count = u32::try_from(nodes).unwrap_or(u32::MAX);
    let awareness = u32::from(config.awareness_max);
    let worst_rounds = config.probe_interval * ((awareness + 1) * (awareness + 2) / 2);
    let ring = config.probe_interval * (2 * count.min(64) - 1);
    let least = config.probe_interval * config.suspicion_mult * (count.max(10).ilog10() + 1);
    let suspicion = least * config.suspicion_max_mult;
    let reconnect = config.reconnect_interval * 3 * count.min(64);
    let seeds = config.seed_interval * 2 + config.join_retry_max * 2;
    worst_rounds
        + ring
        + suspicion
        + reconnect
        + seeds
        + config.sync_interval * 2
        + config.sync_timeout * 2
}

/// Seconds of true time, for people.
pub fn seconds(at: u64) -> f64 {
    Duration::from_nanos(at).as_secs_f64()
}
