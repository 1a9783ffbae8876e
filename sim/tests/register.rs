//! A register with a copy on every node, as a user would write it: linearizable whatever goes
//! wrong, and a bug in it that its history tells.
//!
//! It is that of Attiya, Bar-Noy and Dolev ("Sharing memory robustly in message-passing systems",
//! 1995), with many writers: who writes asks a majority for the newest stamp and gives a majority a
//! newer one; who reads gives what is newest to a majority before it answers.

use std::collections::BTreeMap;
use std::env::{current_exe, var_os};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag::{Context, Handler, Message, Methods, Node, NodeId, Service, Status, View};
use chinwag_sim::history::{History, Outcome, Register, RegisterOp};
use chinwag_sim::{World, check, millis, secs};

const NODES: usize = 5;
const MAJORITY: usize = 3;
/// How long a client waits for a majority.
const PATIENCE: Duration = millis(400);

/// A value and its stamp: the how-manieth write, and whose. The zeroth is nobody's.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, rkyv::Archive, rkyv::Serialize)]
struct Stamped {
    count: u64,
    writer: u64,
    value: u64,
}

impl From<&ArchivedStamped> for Stamped {
    fn from(archived: &ArchivedStamped) -> Self {
        let ArchivedStamped { count, writer, value } = archived;
        Self { count: count.to_native(), writer: writer.to_native(), value: value.to_native() }
    }
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Look;

impl Message for Look {
    type Reply = Stamped;
    const NAME: &'static str = "look";
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Keep(Stamped);

impl Message for Keep {
    type Reply = bool;
    const NAME: &'static str = "keep";
}

/// One copy. It outlives its node's process, as a disk does.
#[derive(Clone, Default)]
struct Copy(Arc<Mutex<Stamped>>);

impl Service for Copy {
    const NAME: &'static str = "copy";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Look>();
        methods.add::<Keep>();
    }
}

impl Handler<Look> for Copy {
    async fn handle(&self, _: &Context, _: View<Look>) -> Result<Stamped, Status> {
        Ok(*self.0.lock().expect("whole"))
    }
}

impl Handler<Keep> for Copy {
    async fn handle(&self, _: &Context, keep: View<Keep>) -> Result<bool, Status> {
        let mut copy = self.0.lock().expect("whole");
        let given = Stamped::from(&keep.0);
        let is_newer = given > *copy;
        *copy = given.max(*copy);
        Ok(is_newer)
    }
}

/// A client, on a node that has a copy.
struct Client {
    node: Node,
    members: Vec<NodeId>,
    /// The count of its last write, which a majority need not know of.
    count: u64,
    /// The bug: it reads what its own node has.
    reads_own_copy: bool,
}

impl Client {
    /// The newest value that a majority has; `None` without a majority.
    async fn newest(&self) -> Option<Stamped> {
        let calls = self.node.fan_out::<Copy>(self.members.clone()).timeout(PATIENCE);
        let answers = calls.first(MAJORITY, &Look).await.ok()?;
        answers.iter().map(|(_, copy)| Stamped::from(&**copy)).max()
    }

    /// Whether a majority has it now.
    async fn give(&self, stamped: Stamped) -> bool {
        let calls = self.node.fan_out::<Copy>(self.members.clone()).timeout(PATIENCE);
        calls.keep_rest().first(MAJORITY, &Keep(stamped)).await.is_ok()
    }

    async fn write(&mut self, value: u64, history: &History<Register>) {
        let pending = history.begin(RegisterOp::Write(value));
        let Some(newest) = self.newest().await else { return pending.fail() };
        self.count = newest.count.max(self.count) + 1;
        let stamped = Stamped { count: self.count, writer: self.node.id().get(), value };
        if self.give(stamped).await { pending.ok(None) } else { pending.unknown() }
    }

    async fn read(&self, history: &History<Register>) {
        let pending = history.begin(RegisterOp::Read);
        let read = if self.reads_own_copy {
            let copy = self.node.client::<Copy>(self.node.id()).call(&Look).await;
            copy.ok().map(|copy| Stamped::from(&*copy))
        } else {
            let newest = self.newest().await;
            match newest {
                Some(newest) if self.give(newest).await => Some(newest),
                _ => None,
            }
        };
        match read {
            Some(stamped) => pending.ok((stamped.count > 0).then_some(stamped.value)),
            None => pending.fail(),
        }
    }
}

/// Three clients read and write while the network and the nodes fail. Gives what they were told.
async fn clients_share_a_register(world: &World, reads_own_copy: bool) -> History<Register> {
    let disks = Mutex::new(BTreeMap::<NodeId, Copy>::new());
    let boot = move |node: &Node| {
        node.add_service(disks.lock().expect("whole").entry(node.id()).or_default().clone())
    };
    let nodes = world.cluster(NODES, boot).await;
    let members: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    let begun = world.now();
    world.at(begun + secs(1)).lasting(secs(3)).partition([0, 1], [2, 3, 4]);
    world.at(begun + secs(2)).lasting(secs(4)).loss(0.1);
    world.at(begun + secs(4)).lasting(secs(2)).crash(3);
    world.at(begun + secs(5)).lasting(secs(1)).pause(1);
    world.at(begun + secs(6)).lasting(secs(2)).one_way([4], [0, 1, 2]);
    let history = History::default();
    for (index, node) in nodes[..3].iter().enumerate() {
        let (world, history) = (world.clone(), history.clone());
        let mut client =
            Client { node: node.clone(), members: members.clone(), count: 0, reads_own_copy };
        node.spawn(async move {
            for number in 0..20 {
                if world.choose(2) == 1 {
                    client.write(index as u64 * 100 + number, &history).await;
                } else {
                    client.read(&history).await;
                }
                client.node.sleep(millis(u64::from(100 + world.choose(300)))).await;
            }
        });
    }
    world.run_for(secs(15)).await;
    history
}

/// How many operations ended well, failed, and nobody knows of.
fn outcomes(history: &History<Register>) -> [usize; 3] {
    let mut counts = [0; 3];
    for operation in history.operations() {
        counts[match operation.outcome {
            Outcome::Ok(_) => 0,
            Outcome::Fail => 1,
            Outcome::Unknown => 2,
        }] += 1;
    }
    counts
}

#[test]
fn a_register_of_majorities_is_linearizable() {
    let all = Mutex::new([0; 3]);
    check(0..40, |world| {
        let all = &all;
        async move {
            let history = clients_share_a_register(&world, false).await;
            history.check().unwrap_or_else(|error| panic!("{error}"));
            let counts = outcomes(&history);
            assert!(counts[0] > 20, "{counts:?}");
            let mut all = all.lock().expect("whole");
            (0..3).for_each(|at| all[at] += counts[at]);
        }
    });
    let all = all.into_inner().expect("whole");
    assert!(all.iter().all(|&count| count > 0), "ok, failed, unknown: {all:?}");
}

async fn stale_reads(world: World) {
    let history = clients_share_a_register(&world, true).await;
    history.check().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_history_tells_stale_reads() {
    let failed = std::panic::catch_unwind(|| check(0..40, stale_reads)).expect_err("found");
    let text = failed.downcast_ref::<String>().expect("words");
    assert!(
        text.contains("no order explains these operations") && text.contains("Read: Ok("),
        "{text}"
    );
}

/// Set in the processes in which [`the_environment_has_the_last_word`] runs itself: which story
/// they tell.
const STORY: &str = "CHINWAG_SIM_TEST_STORY";

/// What a process with these variables says, and whether its test passes.
fn process(story: &str, variables: &[(&str, &str)]) -> (String, bool) {
    let mut command = Command::new(current_exe().expect("a test binary"));
    command.args([
        "--exact",
        "the_environment_has_the_last_word",
        "--nocapture",
        "--test-threads=2",
    ]);
    for variable in ["SIM_SEEDS", "SIM_JOBS", "SIM_REPLAY"] {
        command.env_remove(variable);
    }
    let output =
        command.env(STORY, story).envs(variables.iter().copied()).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

/// In such a process: tells the story that is asked for, with other seeds than those that the
/// environment gives.
#[expect(clippy::print_stdout, reason = "one process tells another")]
fn tell(story: &str) {
    if story == "bug" {
        return check(0..1, stale_reads);
    }
    let told = Mutex::new(BTreeMap::new());
    check(0..2, |world| {
        let told = &told;
        async move {
            let history = clients_share_a_register(&world, false).await;
            let operations = history.operations().into_iter();
            let operations: Vec<_> =
                operations.map(|told| (told.op, told.outcome, told.called, told.ended)).collect();
            told.lock().expect("whole").insert(world.seed(), operations);
        }
    });
    for (seed, operations) in told.into_inner().expect("whole") {
        println!("\ntold {seed}: {operations:?}");
    }
}

/// `SIM_SEEDS` says what is run, `SIM_JOBS` changes nothing that happens, and `SIM_REPLAY` repeats
/// a failure to the byte of its trace.
#[test]
fn the_environment_has_the_last_word() {
    if let Some(story) = var_os(STORY) {
        return tell(&story.to_string_lossy());
    }
    let told = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("told ")).map(str::to_owned).collect()
    };
    let seeds = |told: &[String]| -> Vec<String> {
        told.iter().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect()
    };
    let (own, passes) = process("sound", &[]);
    assert!(passes && seeds(&told(&own)) == ["told 0", "told 1"], "{own}");
    let (alone, passes) = process("sound", &[("SIM_SEEDS", "1..4"), ("SIM_JOBS", "1")]);
    assert!(passes && seeds(&told(&alone)) == ["told 1", "told 2", "told 3"], "{alone}");
    let (four, passes) = process("sound", &[("SIM_SEEDS", "1..4"), ("SIM_JOBS", "4")]);
    assert!(passes && told(&four) == told(&alone), "jobs change what happens:\n{alone}\n{four}");
    assert_eq!(told(&own)[1], told(&alone)[0], "a seed is the same in any range");

    let report = |text: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| !line.starts_with("chinwag-sim: seed "));
        lines
            .take_while(|line| !line.trim_start().starts_with("look at it in:"))
            .map(str::to_owned)
            .collect()
    };
    let after = |text: &str, words: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(words).map(str::to_owned))
            .expect("said")
    };
    let trace = |text: &str| {
        let page = after(text, "look at it in: ");
        std::fs::read(page.replace("timeline.html", "trace.jsonl")).expect("it was left")
    };
    let (one, passes) = process("bug", &[("SIM_SEEDS", "0..20"), ("SIM_JOBS", "1")]);
    assert!(!passes && !report(&one).is_empty(), "{one}");
    let first = trace(&one);
    let (two, passes) = process("bug", &[("SIM_SEEDS", "0..20"), ("SIM_JOBS", "2")]);
    assert!(!passes && report(&two) == report(&one) && trace(&two) == first, "{one}\n{two}");
    let command = after(&one, "repeat it with: SIM_REPLAY=");
    let token = command.split(' ').next().expect("a token");
    let (again, passes) = process("bug", &[("SIM_REPLAY", token)]);
    assert!(!passes && report(&again) == report(&one) && trace(&again) == first, "{one}\n{again}");
    assert!(!first.is_empty());
}
