//! The story of three processes with a store each: what one writes the others read; one is killed
//! and misses writes, comes back with what it had, and catches up; all are killed at once, and
//! nothing is lost.
//!
//! Every step has a bound. One that misses it ends the story with what was expected; the processes
//! and their files end with the story in any case.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::process::{Agent, Program};
use crate::runtime::Kind;
use crate::story::{self, Shortfall, line};

const STEP_MAX: Duration = Duration::from_secs(10);
/// A suspicion with two observers lasts 9 s at most, after a probe that failed and with the scaling
/// of a busy machine.
const DEATH_MAX: Duration = Duration::from_secs(20);
/// Replicas compare themselves every 10 s or so when nothing calls for it sooner.
const CATCH_UP_MAX: Duration = Duration::from_secs(40);
/// How often a replica is asked for what no event tells.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Written while one is away.
const BULK: u64 = 2_000;

/// Three processes keep the same documents, through kill -9 of one and of all.
#[derive(Debug, Parser)]
#[command(name = "kv --demo")]
struct Args {
    /// What the nodes run on
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Kind,
}

/// Tells the story on stdout. `program` is what the nodes run; `args` are the command line, the
/// program's own name first.
pub fn main(program: io::Result<Program>, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = Args::parse_from(args);
    story::main("kv", program, async |program: &Program| tell(program, args.runtime).await)
}

/// Tells the story, all but its last line.
///
/// # Errors
/// The first step that fell short.
pub async fn tell(program: &Program, runtime: Kind) -> Result<(), Shortfall> {
    line(format_args!(
        "chinwag: three processes on {} keep the same documents, through kill -9 of one and of \
            all.\n",
        runtime.name()
    ));
    let files = tempfile::tempdir()?;
    let mut story = Story { began: Instant::now(), program, runtime, files, nodes: Vec::new() };
    story
        .step("start three nodes that know each other as replicas", STEP_MAX, Story::start)
        .await?;
    story.step("read on 2 and 3 what was put on 1", STEP_MAX, Story::put_and_read).await?;
    story.step("see both others report node 3 as died", DEATH_MAX, Story::kill).await?;
    story.step("write without node 3", STEP_MAX, Story::write_without).await?;
    story.step("find in the file of node 3 what it had", STEP_MAX, Story::restart).await?;
    story.step("see node 3 hold what the others hold", CATCH_UP_MAX, Story::catch_up).await?;
    story.step("see a delete on 3 everywhere", STEP_MAX, Story::delete).await?;
    story
        .step("find everything again after all three were killed", CATCH_UP_MAX, Story::kill_all)
        .await?;
    story.step("end in good order", STEP_MAX, Story::leave).await
}

struct Story<'a> {
    began: Instant,
    program: &'a Program,
    runtime: Kind,
    /// Where each node has a file.
    files: TempDir,
    /// Nodes 1, 2 and 3.
    nodes: Vec<Agent>,
}

impl Story<'_> {
    /// One step within its bound.
    async fn step(
        &mut self,
        wanted: &str,
        bound: Duration,
        step: impl AsyncFnOnce(&mut Self) -> Result<(), Shortfall>,
    ) -> Result<(), Shortfall> {
        story::within(bound, wanted, step(self)).await
    }

    /// Says what happened and when.
    fn say(&self, what: &str, how: fmt::Arguments<'_>) {
        story::say(self.began, what, how);
    }

    // ---- the steps ----

    async fn start(&mut self) -> Result<(), Shortfall> {
        for id in 1..=3 {
            let node = self.start_node(id).await?;
            let pid = node.pid().unwrap_or_default();
            self.say("start", format_args!("node {id} listens on {}, process {pid}", node.addr()));
            self.nodes.push(node);
        }
        self.all_are_replicas().await
    }

    async fn put_and_read(&mut self) -> Result<(), Shortfall> {
        self.put(1, "color", "blue").await?;
        self.put(1, "short-lived", "yes").await?;
        for id in [2, 3] {
            self.reads(id, "color", Some("blue")).await?;
        }
        // Each on its own: what a majority has, the third gets in the background.
        for id in 1..=3 {
            self.ask(id, "at none").await?;
            self.comes_to_read(id, "short-lived", "yes").await?;
            self.ask(id, "at quorum").await?;
        }
        self.say("spread", format_args!("every replica has both"));
        Ok(())
    }

    async fn kill(&mut self) -> Result<(), Shortfall> {
        let epoch = self.nodes[2].epoch();
        self.nodes[2].kill().await?;
        self.say("kill -9", format_args!("node 3"));
        for at in 0..2 {
            self.nodes[at].reports("died", 3, epoch).await?;
        }
        self.say("died", format_args!("nodes 1 and 2 have reported node 3"));
        Ok(())
    }

    async fn write_without(&mut self) -> Result<(), Shortfall> {
        self.put(1, "color", "red").await?;
        self.delete_at(2, "short-lived").await?;
        let filled = self.ask(2, &format!("fill {BULK}")).await?;
        expect(&filled["replicas"], &json!(2), "replicas of the last batch")?;
        self.say("fill", format_args!("{BULK} documents on node 2"));
        self.reads(2, "color", Some("red")).await
    }

    async fn restart(&mut self) -> Result<(), Shortfall> {
        self.nodes[2] = self.start_node(3).await?;
        let opened = self.nodes[2].event(|event| event["event"] == "opened").await?;
        expect(&opened["documents"], &json!(2), "documents in the file of node 3")?;
        self.say("start", format_args!("node 3 again, with the 2 documents of its file"));
        Ok(())
    }

    async fn catch_up(&mut self) -> Result<(), Shortfall> {
        let contents = self.are_equal().await?;
        expect(&contents["documents"], &json!(BULK + 1), "documents")?;
        self.ask(3, "at none").await?;
        self.reads(3, "color", Some("red")).await?;
        self.reads(3, "short-lived", None).await?;
        self.ask(3, "at quorum").await?;
        Ok(())
    }

    async fn delete(&mut self) -> Result<(), Shortfall> {
        self.delete_at(3, "color").await?;
        for id in 1..=3 {
            self.reads(id, "color", None).await?;
        }
        self.put(2, "color", "green").await?;
        self.are_equal().await?;
        Ok(())
    }

    async fn kill_all(&mut self) -> Result<(), Shortfall> {
        for node in &mut self.nodes {
            node.kill().await?;
        }
        self.nodes.clear();
        self.say("kill -9", format_args!("all three"));
        for id in 1..=3 {
            let mut node = self.start_node(id).await?;
            let opened = node.event(|event| event["event"] == "opened").await?;
            expect(&opened["documents"], &json!(BULK + 1), "documents in a file")?;
            self.nodes.push(node);
        }
        self.say("start", format_args!("all three again, each with {} documents", BULK + 1));
        self.all_are_replicas().await?;
        for id in 1..=3 {
            self.reads(id, "color", Some("green")).await?;
            self.reads(
                id,
                &format!("fill-{}", BULK - 1),
                Some(&format!("document {} of {BULK}", BULK - 1)),
            )
            .await?;
        }
        self.are_equal().await?;
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), Shortfall> {
        for id in 1..=3 {
            self.ask(id, "leave").await?;
            let status = story::find(&mut self.nodes, id)?.ends().await?;
            if !status.success() {
                return Err(Shortfall(format!("node {id} ended with {status}")));
            }
        }
        self.say("leave", format_args!("one after the other\n"));
        Ok(())
    }

    // ---- their parts ----

    async fn start_node(&self, id: u64) -> Result<Agent, Shortfall> {
        // Node 1 is the first one there; the others join through it.
        let seeds: Vec<_> = self.nodes.first().map(Agent::addr).into_iter().collect();
        let file = self.files.path().join(format!("node-{id}")).display().to_string();
        let more = ["--cluster", "kv", "--runtime", self.runtime.name(), "--data", &file];
        Ok(Agent::start(self.program, id, "127.0.0.1:0", &seeds, &more).await?)
    }

    /// Waits until each knows both others.
    async fn all_are_replicas(&mut self) -> Result<(), Shortfall> {
        for id in 1..=3 {
            while self.ask(id, "contents").await?["replicas"]
                .as_array()
                .is_none_or(|others| others.len() < 2)
            {
                sleep(ASK_EVERY).await;
            }
        }
        self.say("joined", format_args!("each replica knows both others"));
        Ok(())
    }

    /// Waits until all three hold the same, and gives it.
    async fn are_equal(&mut self) -> Result<Value, Shortfall> {
        let begun = Instant::now();
        loop {
            let mut contents = Vec::new();
            for id in 1..=3 {
                contents.push(self.ask(id, "contents").await?);
            }
            if contents.windows(2).all(|pair| pair[0]["digest"] == pair[1]["digest"]) {
                let (documents, digest) = (&contents[0]["documents"], &contents[0]["digest"]);
                let digest = digest.as_str().unwrap_or_default();
                let after = begun.elapsed().as_secs_f64();
                self.say(
                    "equal",
                    format_args!(
                        "all hold {documents} documents, digest {digest}, after {after:.3} s"
                    ),
                );
                return Ok(contents.remove(0));
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn put(&mut self, id: u64, key: &str, text: &str) -> Result<(), Shortfall> {
        let answer = self.ask(id, &format!("put {key} {text}")).await?;
        self.say(
            "put",
            format_args!("{key}={text} on node {id}, kept by {} replicas", answer["replicas"]),
        );
        if answer["replicas"].as_u64().is_none_or(|replicas| replicas < 2) {
            return Err(Shortfall(format!("expected two replicas at least: {answer}")));
        }
        Ok(())
    }

    async fn delete_at(&mut self, id: u64, key: &str) -> Result<(), Shortfall> {
        let answer = self.ask(id, &format!("delete {key}")).await?;
        self.say(
            "delete",
            format_args!("{key} on node {id}, kept by {} replicas", answer["replicas"]),
        );
        Ok(())
    }

    async fn reads(&mut self, id: u64, key: &str, wanted: Option<&str>) -> Result<(), Shortfall> {
        let answer = self.ask(id, &format!("get {key}")).await?;
        expect(&answer["text"], &json!(wanted), &format!("{key} on node {id}"))?;
        self.say("get", format_args!("{key} on node {id}: {}", wanted.unwrap_or("nothing")));
        Ok(())
    }

    async fn comes_to_read(&mut self, id: u64, key: &str, wanted: &str) -> Result<(), Shortfall> {
        while self.ask(id, &format!("get {key}")).await?["text"] != wanted {
            sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    async fn ask(&mut self, id: u64, command: &str) -> Result<Value, Shortfall> {
        story::ask(&mut self.nodes, id, command).await
    }
}

fn expect(found: &Value, wanted: &Value, what: &str) -> Result<(), Shortfall> {
    if found == wanted {
        Ok(())
    } else {
        Err(Shortfall(format!("{what}: expected {wanted}, found {found}")))
    }
}
