//! [`gather`]: asks replicas until a level is met, with stand-ins for those that fail or are slow
//! (docs/store.md §3.9).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use chinwag::{Node, NodeId, Status};

use crate::replica::lock;

/// Who may be asked, and how many answers are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many answers each group of replicas must give.
    pub(crate) needs: Vec<usize>,
    /// The replicas in the order in which they are asked, each with its group.
    pub(crate) order: Vec<(NodeId, usize)>,
}

impl Plan {
    /// Returns the number of answers that are needed.
    pub(crate) fn needed(&self) -> usize {
        self.needs.iter().sum()
    }
}

/// What came of it.
pub(crate) struct Gathered<T> {
    pub(crate) answers: Vec<(NodeId, T)>,
    pub(crate) failures: Vec<(NodeId, Status)>,
    /// How many of the answers that are needed have come.
    pub(crate) met: usize,
    pub(crate) is_met: bool,
}

type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send + 'a>>;

/// A replica that was asked and has not answered.
struct Open<'a, T> {
    node: NodeId,
    group: usize,
    asking: Asking<'a, T>,
}

struct Gathering<'a, T, F> {
    plan: &'a Plan,
    ask: F,
    /// The places in the plan's order of those that were not asked yet.
    left: VecDeque<usize>,
    open: Vec<Open<'a, T>>,
    have: Vec<usize>,
    answers: Vec<(NodeId, T)>,
    failures: Vec<(NodeId, Status)>,
}

impl<'a, T, F, A> Gathering<'a, T, F>
where
    F: Fn(NodeId) -> A,
    A: Future<Output = Result<T, Status>> + Send + 'a,
{
    /// Asks up to `count` more of a group.
    fn begin(&mut self, group: usize, count: usize) {
        for _ in 0..count {
            let of_group = |at: &usize| self.plan.order[*at].1 == group;
            let Some(place) = self.left.iter().position(of_group) else { return };
            let Some(at) = self.left.remove(place) else { return };
            let node = self.plan.order[at].0;
            self.open.push(Open { node, group, asking: Box::pin((self.ask)(node)) });
        }
    }

    fn is_met(&self) -> bool {
        self.have.iter().zip(&self.plan.needs).all(|(have, need)| have >= need)
    }

    /// For each answer that is still missing one more is asked.
    fn stand_in(&mut self) {
        for group in 0..self.plan.needs.len() {
            let missing = self.plan.needs[group].saturating_sub(self.have[group]);
            self.begin(group, missing);
        }
    }

    /// Polls all that are open until nobody new was asked.
    fn poll(&mut self, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.open.len() {
            match self.open[at].asking.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(result) => {
                    let Open { node, group, .. } = self.open.remove(at);
                    match result {
                        Ok(answer) => {
                            self.answers.push((node, answer));
                            self.have[group] += 1;
                        }
                        Err(status) => {
                            self.failures.push((node, status));
                            let open = self.open.iter().filter(|it| it.group == group).count();
                            // Its stand-in may be under way already.
                            if self.have[group] + open < self.plan.needs[group] {
                                // Polled in this pass: it is the last of those that are open.
                                self.begin(group, 1);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Asks the first of `plan`, and more where these fail or take longer than `patience`. It is ready
/// as soon as enough have answered, or nobody is left to answer.
pub(crate) async fn gather<'a, T, F, A>(
    node: &Node,
    plan: &'a Plan,
    patience: Duration,
    ask: F,
) -> Gathered<T>
where
    T: Send + 'a,
    F: Fn(NodeId) -> A,
    A: Future<Output = Result<T, Status>> + Send + 'a,
{
    let mut gathering = Gathering {
        plan,
        ask,
        left: (0..plan.order.len()).collect(),
        open: Vec::new(),
        have: vec![0; plan.needs.len()],
        answers: Vec::new(),
        failures: Vec::new(),
    };
    for (group, need) in plan.needs.iter().enumerate() {
        gathering.begin(group, *need);
    }
    let mut time: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    poll_fn(|cx| {
        loop {
            gathering.poll(cx);
            if gathering.is_met() || gathering.open.is_empty() {
                return Poll::Ready(());
            }
            if gathering.left.is_empty() {
                return Poll::Pending;
            }
            let sleep = time.get_or_insert_with(|| Box::pin(node.sleep(patience)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            time = None;
            gathering.stand_in();
        }
    })
    .await;
    let met = gathering.have.iter().zip(&plan.needs).map(|(have, need)| have.min(need)).sum();
    let is_met = gathering.is_met();
    Gathered { answers: gathering.answers, failures: gathering.failures, met, is_met }
}

/// How long the latest answers took.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    times: VecDeque<Duration>,
    /// Answers since the wait was computed.
    since: usize,
    wait: Option<Duration>,
}

/// Answers that are remembered: two of them are slower than 99 of 100.
const ANSWERS_MAX: usize = 200;
/// How often the wait is computed, in answers.
const ANSWERS_SINCE_MAX: usize = 20;
/// How long a replica is waited for before anything is known, in parts of the timeout.
const PATIENCE_FIRST: u32 = 50;
/// A shorter wait would ask twice for a hiccup of a scheduler.
const PATIENCE_LEAST: Duration = Duration::from_millis(5);

impl Patience {
    /// Notes that an answer took `time`.
    pub(crate) fn note(&self, time: Duration) {
        let mut latest = lock(&self.latest);
        if latest.times.len() == ANSWERS_MAX {
            latest.times.pop_front();
        }
        latest.times.push_back(time);
        latest.since += 1;
        if latest.since >= ANSWERS_SINCE_MAX {
            let mut times: Vec<Duration> = latest.times.iter().copied().collect();
            times.sort_unstable();
            (latest.wait, latest.since) = (Some(times[(times.len() - 1) * 99 / 100]), 0);
        }
    }

    /// Returns how long an answer is waited for before another replica is asked, too: the time
    /// within which 99 of 100 came, between 5 ms and half of `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Duration {
        let wait = lock(&self.latest).wait.unwrap_or(timeout / PATIENCE_FIRST);
        wait.max(PATIENCE_LEAST).min(timeout / 2)
    }
}

#[cfg(test)]
mod tests;
