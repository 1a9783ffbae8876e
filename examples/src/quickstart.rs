//! The story of three processes: they find each other, call each other, lose one, take it back, and
//! see one leave.
//!
//! Every step has a bound. One that misses it ends the story with what fell short; the agents end
//! with the story in any case.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use chinwag::Secret;
use clap::Parser;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::process::{Agent, Program};
use crate::runtime::Kind;
use crate::story::{self, Shortfall, line};

/// The name of the agents' cluster, and of the one in the README's program.
const CLUSTER: &str = "demo";
/// Where agent 1 listens if it is to stay. The README's program names it as its seed.
const STAY_LISTEN: &str = "127.0.0.1:7001";
/// Where the cluster's secret is if it is to stay, from where the command is run. The README's
/// program reads it.
const STAY_SECRET: &str = "target/quickstart.key";

const START_MAX: Duration = Duration::from_secs(5);
const CONVERGE_MAX: Duration = Duration::from_secs(8);
const CALLS_MAX: Duration = Duration::from_secs(5);
const STAMPS_MAX: Duration = Duration::from_secs(4);
/// A suspicion with two observers lasts 9 s at most, after a probe that failed and with the scaling
/// of a busy machine.
const DEATH_MAX: Duration = Duration::from_secs(20);
const RETURN_MAX: Duration = Duration::from_secs(8);
const LEAVE_MAX: Duration = Duration::from_secs(8);
/// After the leave: longer than a probe and its timeouts, so that a death that hides behind the
/// leave shows.
const AFTERMATH: Duration = Duration::from_secs(1);

const _: () = assert!(
    START_MAX.as_secs()
        + CONVERGE_MAX.as_secs()
        + CALLS_MAX.as_secs()
        + STAMPS_MAX.as_secs()
        + DEATH_MAX.as_secs()
        + RETURN_MAX.as_secs()
        + LEAVE_MAX.as_secs()
        + AFTERMATH.as_secs()
        < 60,
    "the story ends within a minute, come what may"
);

/// Three processes become a cluster, lose one, take it back, and see one leave.
#[derive(Debug, Parser)]
#[command(name = "quickstart")]
struct Args {
    /// What the agents run on
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Kind,
    /// Keep agents 1 and 3 running after the story, until ctrl-C, with agent 1 on 127.0.0.1:7001
    #[arg(long)]
    stay: bool,
}

/// Tells the story on stdout. `program` is what the agents run; `args` are the command line, the
/// program's own name first.
pub fn main(program: io::Result<Program>, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = Args::parse_from(args);
    story::main("quickstart", program, async |program: &Program| {
        if args.stay {
            // Of an earlier story.
            let _removed_or_not_there = fs::remove_file(STAY_SECRET);
            fs::create_dir_all("target")?;
            let secret = Path::new(STAY_SECRET);
            run(program, args.runtime, STAY_LISTEN, secret).await?.stay().await
        } else {
            tell(program, args.runtime).await
        }
    })
}

/// Tells the story, all but its last line.
///
/// # Errors
/// The first step that fell short.
pub async fn tell(program: &Program, runtime: Kind) -> Result<(), Shortfall> {
    let folder = tempfile::tempdir()?;
    run(program, runtime, "127.0.0.1:0", &folder.path().join("cluster.key")).await.map(drop)
}

/// Tells the story with agent 1 at `listen`, in a cluster with a new secret, which is written to
/// the file `secret`. Returns it with the agents that run at its end.
async fn run<'a>(
    program: &'a Program,
    runtime: Kind,
    listen: &'a str,
    secret: &Path,
) -> Result<Story<'a>, Shortfall> {
    line(format_args!(
        "chinwag: three processes on {} become an encrypted cluster, lose one, take it back, and \
            see one leave.\n",
        runtime.name()
    ));
    let written = Secret::generate().and_then(|new| new.write_new(secret));
    written.map_err(|error| Shortfall(error.to_string()))?;
    let (began, secret) = (Instant::now(), secret.display().to_string());
    let mut story = Story { began, program, runtime, listen, secret, agents: Vec::new() };
    story.step("start three agents", START_MAX, Story::start).await?;
    story.step("see every agent report the other two", CONVERGE_MAX, Story::converge).await?;
    story.step("hear every answer", CALLS_MAX, Story::call).await?;
    story.step("see stamps rise along the calls", STAMPS_MAX, Story::compare_stamps).await?;
    story.step("see both others report agent 3 as died", DEATH_MAX, Story::kill).await?;
    story.step("see agent 3 join again, in a later epoch", RETURN_MAX, Story::restart).await?;
    story.step("see both others report agent 2 as left", LEAVE_MAX, Story::leave).await?;
    story.look_back().await?;
    Ok(story)
}

struct Story<'a> {
    began: Instant,
    program: &'a Program,
    runtime: Kind,
    /// The address that agent 1 listens on.
    listen: &'a str,
    /// The file with the cluster's secret.
    secret: String,
    /// Agents 1, 2 and 3.
    agents: Vec<Agent>,
}

impl Story<'_> {
    /// One step within its bound.
    async fn step(
        &mut self,
        wanted: &str,
        bound: Duration,
        step: impl AsyncFnOnce(&mut Self) -> Result<(), Shortfall>,
    ) -> Result<(), Shortfall> {
        let Err(Shortfall(mut reason)) = story::within(bound, wanted, step(self)).await else {
            return Ok(());
        };
        for agent in &self.agents {
            let last = agent.events().last().map(Value::to_string).unwrap_or_default();
            reason.push_str(&format!("\n  the last event of agent {}: {last}", agent.id()));
        }
        Err(Shortfall(reason))
    }

    /// Says what happened and when.
    fn say(&self, what: &str, how: fmt::Arguments<'_>) {
        story::say(self.began, what, how);
    }

    /// Says more of what was said last.
    fn say_more(&self, more: fmt::Arguments<'_>) {
        line(format_args!("{:>21}{more}", ""));
    }

    async fn start_agent(&self, id: u64) -> Result<Agent, Shortfall> {
        // Agent 1 is the first one there; the others join through it.
        let seeds: Vec<_> = self.agents.first().map(Agent::addr).into_iter().collect();
        let runtime = self.runtime.name();
        let more = ["--cluster", CLUSTER, "--secret", &self.secret, "--runtime", runtime];
        let listen = if id == 1 { self.listen } else { "127.0.0.1:0" };
        Ok(Agent::start(self.program, id, listen, &seeds, &more).await?)
    }

    async fn start(&mut self) -> Result<(), Shortfall> {
        for id in 1..=3 {
            let agent = self.start_agent(id).await?;
            let pid = agent.pid().unwrap_or_default();
            self.say(
                "start",
                format_args!("agent {id} listens on {}, process {pid}", agent.addr()),
            );
            self.agents.push(agent);
        }
        Ok(())
    }

    async fn converge(&mut self) -> Result<(), Shortfall> {
        let runs: Vec<_> = self.agents.iter().map(|agent| (agent.id(), agent.epoch())).collect();
        for agent in &mut self.agents {
            for &(id, epoch) in &runs {
                if id != agent.id() {
                    agent.reports("joined", id, epoch).await?;
                }
            }
        }
        self.say("joined", format_args!("each of the three has reported the other two"));
        Ok(())
    }

    async fn call(&mut self) -> Result<(), Shortfall> {
        for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
            let text = format!("hello from {from}");
            let answer = self.ask(from, &format!("call {to} {text}")).await?;
            if answer["text"] != text {
                return Err(Shortfall(format!("agent {to} answered {from} with {answer}")));
            }
            self.say(
                "call",
                format_args!("{from} -> {to} and back in {} µs", answer["round_trip_us"]),
            );
        }
        Ok(())
    }

    /// A call carries the caller's stamp there and the callee's back, so stamps rise along a chain
    /// of calls, whatever the clocks of the machines say.
    async fn compare_stamps(&mut self) -> Result<(), Shortfall> {
        let mut stamps: Vec<(u64, String)> = Vec::new();
        for (from, to) in [(1, 2), (2, 3), (3, 1)] {
            let answer = self.ask(from, &format!("call {to} stamp")).await?;
            for (at, name) in [(from, "before"), (to, "there")] {
                let stamp = answer["stamps"][name].as_str().unwrap_or_default();
                stamps.push((at, stamp.to_owned()));
            }
        }
        self.say("stamps", format_args!("along 1 -> 2 -> 3 -> 1:"));
        for (at, stamp) in &stamps {
            self.say_more(format_args!("{stamp} at agent {at}"));
        }
        // As text they sort as they do as numbers.
        if stamps.is_sorted_by(|(_, before), (_, after)| before < after) {
            Ok(())
        } else {
            Err(Shortfall("a stamp is not later than the one before".to_owned()))
        }
    }

    async fn kill(&mut self) -> Result<(), Shortfall> {
        let (id, epoch) = (3, self.agents[2].epoch());
        self.agents[2].kill().await?;
        let killed = Instant::now();
        self.say("kill -9", format_args!("agent {id}"));
        for at in 0..2 {
            self.agents[at].reports("died", id, epoch).await?;
            let after = killed.elapsed().as_secs_f64();
            self.say(
                "died",
                format_args!("agent {} has reported agent {id}, after {after:.1} s", at + 1),
            );
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Shortfall> {
        let (id, epoch) = (3, self.agents[2].epoch());
        self.agents[2] = self.start_agent(id).await?;
        self.say("start", format_args!("agent {id} again, on {}", self.agents[2].addr()));
        for at in 0..2 {
            let joined = self.agents[at].reports("joined", id, epoch + 1).await?;
            let now = &joined["epoch"];
            self.say(
                "joined",
                format_args!(
                    "agent {} has reported agent {id} in epoch {now}, past {epoch}",
                    at + 1
                ),
            );
        }
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), Shortfall> {
        let (id, epoch) = (2, self.agents[1].epoch());
        let answer = self.ask(id, "leave").await?;
        let (acked, needed) = (&answer["acked"], &answer["needed"]);
        self.say(
            "leave",
            format_args!("agent {id}; {acked} of {needed} wanted have acknowledged it"),
        );
        let status = self.agents[1].ends().await?;
        if !status.success() {
            return Err(Shortfall(format!("agent {id} ended with {status}")));
        }
        for at in [0, 2] {
            self.agents[at].reports("left", id, epoch).await?;
            self.say("left", format_args!("agent {} has reported agent {id}", at + 1));
        }
        Ok(())
    }

    /// Nobody was reported dead but the one that was killed, and it once by each of the others.
    async fn look_back(&mut self) -> Result<(), Shortfall> {
        tokio::time::sleep(AFTERMATH).await;
        for (at, deaths_max) in [(0, 1), (2, 0)] {
            let agent = &mut self.agents[at];
            // The answer comes after whatever was reported before it.
            timeout(AFTERMATH, agent.ask("members"))
                .await
                .map_err(|_| Shortfall("no answer".to_owned()))??;
            let deaths: Vec<_> =
                agent.events().iter().filter(|event| event["event"] == "died").collect();
            if deaths.len() > deaths_max || deaths.iter().any(|event| event["id"] != 3) {
                return Err(Shortfall(format!(
                    "agent {} reported deaths that were none: {deaths:?}",
                    agent.id()
                )));
            }
        }
        self.say(
            "look back",
            format_args!("nobody was reported as died but the one that was killed\n"),
        );
        Ok(())
    }

    /// Keeps agents 1 and 3 running, and reports whom agent 1 sees join, leave and die. Returns
    /// only when agent 1 has ended.
    async fn stay(mut self) -> Result<(), Shortfall> {
        let agent = &mut self.agents[0];
        line(format_args!(
            "quickstart: ok; agents 1 and 3 stay in the cluster \"{CLUSTER}\", agent 1 on {}, \
                its secret in {STAY_SECRET}; press ctrl-C to end them",
            agent.addr()
        ));
        let mut reported = agent.events().len();
        loop {
            agent.until(|events| events.len() > reported).await?;
            for event in &agent.events()[reported..] {
                if let Some(what @ ("joined" | "left" | "died")) = event["event"].as_str() {
                    let text = format_args!("agent 1 has reported node {}", event["id"]);
                    story::say(self.began, what, text);
                }
            }
            reported = agent.events().len();
        }
    }

    async fn ask(&mut self, id: u64, command: &str) -> Result<Value, Shortfall> {
        story::ask(&mut self.agents, id, command).await
    }
}
