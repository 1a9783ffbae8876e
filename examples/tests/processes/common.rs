//! Clusters of agents, each a process of its own. Waiting is for conditions, with a bound that a
//! busy machine keeps to.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use chinwag_examples::process::{Agent, Program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const ANY_PORT: &str = "127.0.0.1:0";
/// The path of the agent.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_chinwag-agent");

pub(crate) fn program() -> Program {
    Program::at(AGENT)
}

/// What `future` gives, in time.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = io::Result<T>>) -> T {
    let ended = timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    ended.unwrap_or_else(|error| panic!("{what}: {error}"))
}

pub(crate) async fn ask(agent: &mut Agent, command: &str) -> Value {
    within(command, agent.ask(command)).await
}

pub(crate) fn signal(agent: &Agent, signal: Signal) {
    let pid = agent.pid().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).expect("it runs");
    kill_process(pid, signal).expect("it is ours");
}

/// Agents of one test. If the test fails, it ends with what each of them reported.
pub(crate) struct Cluster(Vec<Agent>);

impl Cluster {
    /// Agents 1 to `count`, all of which have joined through the first.
    pub(crate) async fn of(count: u64) -> Self {
        let mut cluster = Self(Vec::new());
        for id in 1..=count {
            let seed = cluster.first().map(|agent| agent.addr().to_owned());
            cluster.start(id, ANY_PORT, seed.as_slice()).await;
        }
        cluster.converges().await;
        cluster
    }

    pub(crate) fn empty() -> Self {
        Self(Vec::new())
    }

    pub(crate) async fn start(&mut self, id: u64, listen: &str, seeds: &[String]) -> &mut Agent {
        self.start_with(id, listen, seeds, &[]).await
    }

    pub(crate) async fn start_with(
        &mut self,
        id: u64,
        listen: &str,
        seeds: &[String],
        more: &[&str],
    ) -> &mut Agent {
        let seeds: Vec<_> = seeds.iter().map(String::as_str).collect();
        self.start_as(&program(), id, listen, seeds.as_slice(), more).await
    }

    /// An agent that is started in another way than by its path alone.
    pub(crate) async fn start_as(
        &mut self,
        program: &Program,
        id: u64,
        listen: &str,
        seeds: &[&str],
        more: &[&str],
    ) -> &mut Agent {
        let agent = within("it listens", Agent::start(program, id, listen, seeds, more)).await;
        self.push(agent)
    }

    /// The agent at `index` is no longer of the cluster.
    pub(crate) fn take(&mut self, index: usize) -> Agent {
        self.0.remove(index)
    }

    pub(crate) fn push(&mut self, agent: Agent) -> &mut Agent {
        self.0.push(agent);
        self.0.last_mut().expect("it was pushed")
    }

    /// Waits until every agent's events fold to all the others in their present runs, and checks
    /// that `members` says the same.
    pub(crate) async fn converges(&mut self) {
        let runs: BTreeMap<_, _> = self.iter().map(|agent| (agent.id(), agent.epoch())).collect();
        for agent in &mut self.0 {
            let mut others = runs.clone();
            others.remove(&agent.id());
            within("it sees all others", agent.until(|events| fold(events) == others)).await;
            let answer = ask(agent, "members").await;
            let members = answer["members"].as_array().into_iter().flatten();
            let listed: BTreeMap<_, _> = members.filter_map(run).collect();
            assert_eq!(listed, fold(agent.events()), "agent {}", agent.id());
        }
    }

    /// Waits until no agent suspects anybody.
    pub(crate) async fn calms_down(&mut self) {
        let others = self.len() - 1;
        for agent in &mut self.0 {
            let calm = async {
                loop {
                    let answer = agent.ask("members").await?;
                    let members = answer["members"].as_array().into_iter().flatten();
                    if members.filter(|member| member["state"] == "alive").count() == others {
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            within("nobody is suspected", calm).await;
        }
    }

    /// Reads what the agents have said for a while, and then checks that they reported no deaths
    /// but those of `dead`.
    pub(crate) async fn stay_without_deaths_but_of(&mut self, dead: &[u64], time: Duration) {
        tokio::time::sleep(time).await;
        for agent in &mut self.0 {
            // The answer comes after whatever was reported before it.
            ask(agent, "now").await;
            let mut deaths = agent.events().iter().filter(|event| event["event"] == "died");
            let wrong = deaths.find(|event| !dead.iter().any(|&id| event["id"] == id));
            assert_eq!(wrong, None, "agent {}", agent.id());
        }
    }

    /// Kills all of `ids` before it waits for any of them to be gone; they are no longer of the
    /// cluster.
    pub(crate) async fn kill(&mut self, ids: &[u64]) {
        let (mut killed, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|agent| ids.contains(&agent.id()));
        self.0 = left;
        for agent in &killed {
            signal(agent, Signal::KILL);
        }
        for agent in &mut killed {
            within("it is killed", agent.kill()).await;
        }
    }
}

impl Deref for Cluster {
    type Target = [Agent];

    fn deref(&self) -> &[Agent] {
        &self.0
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut [Agent] {
        &mut self.0
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stdout, reason = "the test's own output, shown if it fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for agent in &self.0 {
                println!("agent {}:", agent.id());
                agent.events().iter().for_each(|event| println!("  {event}"));
            }
        }
    }
}

/// Ids and epochs of the members that the events leave.
pub(crate) fn fold(events: &[Value]) -> BTreeMap<u64, u64> {
    let mut view = BTreeMap::new();
    for event in events {
        let Some((id, epoch)) = run(event) else { continue };
        match event["event"].as_str() {
            Some("joined" | "suspected" | "recovered" | "updated") => _ = view.insert(id, epoch),
            Some("died" | "left") => _ = view.remove(&id),
            _ => {}
        }
    }
    view
}

fn run(of: &Value) -> Option<(u64, u64)> {
    Some((of["id"].as_u64()?, of["epoch"].as_u64()?))
}
