//! Users' tests: the example of the documentation, one of a service with a bug that is found and
//! made small, and what fails them loudly.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chinwag::{AddServiceError, Context, Handler, Message, Methods, Node, Service, Status, View};
use chinwag_sim::fault::Quality;
use chinwag_sim::{World, check, millis, secs, step};

/// Hands out numbers, each once: or so it thinks.
#[derive(Clone, Default)]
struct Tickets {
    next: Arc<AtomicU64>,
    is_sound: bool,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Draw;

impl Message for Draw {
    type Reply = u64;
    const NAME: &'static str = "draw";
}

impl Service for Tickets {
    const NAME: &'static str = "tickets";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Draw>();
    }
}

impl Handler<Draw> for Tickets {
    async fn handle(&self, cx: &Context, _: View<Draw>) -> Result<u64, Status> {
        if self.is_sound {
            return Ok(self.next.fetch_add(1, Ordering::SeqCst));
        }
        // The bug: others run between the look and the change.
        let number = self.next.load(Ordering::SeqCst);
        if let Some(node) = cx.node() {
            node.sleep(millis(1)).await;
        }
        self.next.store(number + 1, Ordering::SeqCst);
        Ok(number)
    }
}

/// Two clients draw; nobody may get the number of another.
async fn numbers_are_drawn_once(world: World, is_sound: bool) {
    let boot = move |node: &Node| node.add_service(Tickets { is_sound, ..Tickets::default() });
    let nodes = world.cluster(3, boot).await;
    world.at(secs(5)).lasting(secs(2)).delay(millis(20), millis(50));
    world.at(secs(6)).pause(1);
    let drawn = Arc::new(Mutex::new(Vec::new()));
    for node in &nodes[1..] {
        let (client, own, drawn) = (node.client::<Tickets>(1), node.clone(), drawn.clone());
        node.spawn(async move {
            for _ in 0..50 {
                if let Ok(number) = client.call(&Draw).await {
                    drawn.lock().expect("whole").push(number.to_native());
                }
                own.sleep(millis(100)).await;
            }
        });
    }
    world.run_for(secs(20)).await;
    let mut drawn = drawn.lock().expect("whole").clone();
    drawn.sort_unstable();
    assert!(drawn.len() > 20, "{} were drawn", drawn.len());
    assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]), "a number was drawn twice");
}

#[test]
fn the_example_of_the_design_holds() {
    check(0..5, |world| async move {
        let nodes = world.cluster(5, |node: &Node| node.add_service(Tickets::default())).await;
        world.at(secs(10)).partition([0, 1], [2, 3, 4]);
        world.at(secs(20)).clock(4, step(secs(5)).drift_ppm(200));
        world.run_for(secs(60)).await;
        assert_eq!(nodes[0].members().members().len(), 1, "cut off");
        world.calm().converges_within(secs(60)).await;
        assert_eq!(nodes[0].members().members().len(), 4);
    });
}

#[test]
fn a_sound_service_holds() {
    check(0..10, |world| numbers_are_drawn_once(world, true));
}

#[test]
fn a_bug_in_a_service_is_found_and_its_seed_repeats_it() {
    let failed =
        std::panic::catch_unwind(|| check(0..100, |world| numbers_are_drawn_once(world, false)));
    let panic = failed.expect_err("found");
    let text = panic.downcast_ref::<String>().expect("words");
    assert!(text.contains("a number was drawn twice"), "{text}");
    // The bug takes no fault and no chance: nothing that the story asked for is left.
    assert!(!text.contains("it needs: "), "{text}");
    assert!(text.contains(".none.calm-") && text.contains(" cargo test"), "{text}");
    let page = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("look at it in: "))
        .expect("a timeline");
    assert!(
        std::fs::read_to_string(page).expect("it is there").contains("a number was drawn twice")
    );
}

#[test]
fn nodes_crash_come_back_and_run_what_they_ran() {
    check(0..5, |world| async move {
        let nodes = world.cluster(3, |node: &Node| node.add_service(Tickets::default())).await;
        let first = nodes[2].epoch();
        world.at(secs(3)).lasting(secs(30)).crash(2);
        world.at(secs(4)).leave(1);
        world.run_for(secs(32)).await;
        assert!(world.node(2).is_none() && world.node(1).is_none());
        assert!(nodes[0].members().members().is_empty());
        world.run_for(secs(3)).await;
        world.calm().converges_within(secs(60)).await;
        let again = world.node(2).expect("it came back");
        assert!(again.epoch() > first);
        assert_eq!(*nodes[0].client::<Tickets>(3).call(&Draw).await.expect("with its service"), 0);
    });
}

#[test]
fn the_swarm_strikes_users_too() {
    let struck = Mutex::new(BTreeSet::new());
    check(0..5, |world| {
        let struck = &struck;
        async move {
            world.cluster(4, |_: &Node| Ok::<(), AddServiceError>(())).await;
            world.swarm(secs(30));
            world.run_for(secs(30)).await;
            world.calm().converges_within(secs(200)).await;
            struck.lock().expect("whole").insert(world.seed());
        }
    });
    assert_eq!(struck.lock().expect("whole").len(), 5);
}

/// Bits that flip past the checksum are forgeries, and excuse what members are said to be; also
/// when a story asks for them as it runs.
#[test]
fn forged_bytes_are_the_networks_fault() {
    check(0..4, |world| async move {
        let nodes = world.cluster(5, |_: &Node| Ok::<(), AddServiceError>(())).await;
        let quality = Quality { corrupt: 300_000, ..Quality::default() };
        world.at(secs(1)).lasting(secs(60)).links(quality);
        world.run_for(secs(61)).await;
        let foreign: u64 = nodes.iter().map(|node| node.stats().membership.malformed).sum();
        assert!(foreign > 0, "bytes were flipped");
    });
}

/// Numbers are kept in memory: a crash makes node 0 draw them again. What else goes wrong has no
/// part in it.
#[test]
fn of_the_faults_only_those_that_a_failure_needs_are_kept() {
    let failed = std::panic::catch_unwind(|| {
        check(0..1, |world| async move {
            world.at(secs(2)).lasting(secs(2)).delay(millis(20), millis(50));
            world.at(secs(3)).lasting(millis(500)).pause(2);
            world.at(secs(4)).lasting(millis(500)).crash(0);
            world.at(secs(9)).lasting(secs(1)).block_io(1);
            numbers_are_drawn_once(world, true).await;
        });
    });
    let panic = failed.expect_err("found");
    let text = panic.downcast_ref::<String>().expect("words");
    let needed: Vec<&str> = text.lines().filter(|line| line.contains("it needs: ")).collect();
    assert!(needed.len() == 1 && needed[0].contains("crash"), "{text}");
    // A crash of a moment is enough, and it was of half a second.
    assert!(text.contains("SIM_REPLAY=0.2h"), "{text}");
}

/// Fails at every seed past 2, for a fault of the story and the seed's own number.
///
/// It fails on purpose, so it does nothing unless [`the_environment_has_the_last_word`] runs it.
#[test]
fn a_planted_failure() {
    if std::env::var_os("SIM_TESTS_PLANTED").is_none() {
        return;
    }
    check(0..3, |world| async move {
        let nodes = world.cluster(2, |node: &Node| node.add_service(Tickets::default())).await;
        world.at(secs(3)).lasting(secs(1)).loss(0.5);
        world.at(secs(4)).lasting(secs(40)).partition([0], [1]);
        world.run_for(secs(30)).await;
        let is_alone = nodes[0].members().members().is_empty();
        assert!(world.seed() < 3 || !is_alone, "planted");
    });
}

/// The harness as a user meets it: what a failing test prints, and what the environment makes of
/// it.
#[test]
fn the_environment_has_the_last_word() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "a_planted_failure", "--nocapture"]).env("SIM_TESTS_PLANTED", "1");
        command.env_remove("SIM_SEEDS").env_remove("SIM_JOBS").env_remove("SIM_REPLAY");
        command.envs(variables.iter().copied());
        let output = command.output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (holds, text) = run(&[]);
    assert!(holds, "its own seeds hold: {text}");
    let (holds, text) = run(&[("SIM_SEEDS", "2..9"), ("SIM_JOBS", "2")]);
    assert!(!holds && text.contains("seed 3 fails: test: planted"), "{text}");
    let needed: Vec<&str> = text.lines().filter(|line| line.contains("it needs: ")).collect();
    assert!(needed.len() == 1 && needed[0].contains("4s to "), "{text}");
    let token = text.split("SIM_REPLAY=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let token = token.expect("a command to repeat it");
    assert!(token.starts_with("3.1"), "{token}");
    let (holds, again) = run(&[("SIM_REPLAY", token)]);
    assert!(!holds && again.contains("seed 3 fails: test: planted"), "{again}");
    let (holds, healed) = run(&[("SIM_REPLAY", "3.none")]);
    assert!(holds, "without the fault it holds: {healed}");
    for (name, wrong) in [("SIM_REPLAY", "x"), ("SIM_SEEDS", "3"), ("SIM_JOBS", "many")] {
        let (holds, text) = run(&[(name, wrong)]);
        assert!(!holds && text.contains(&format!("{name}={wrong}")), "{text}");
    }
}

/// What a check of one seed says that fails.
fn failure<S: Future<Output = ()>>(story: impl Fn(World) -> S + Sync) -> String {
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(7..8, story)));
    failed.expect_err("it fails").downcast_ref::<String>().expect("words").clone()
}

/// Without the fault, the second assertion fails in place of the first: that is another failure,
/// and not a smaller run of this one.
#[test]
fn a_failure_is_made_small_by_the_same_assertion() {
    let at = line!();
    let text = failure(|world| async move {
        let nodes = world.cluster(2, |_: &Node| Ok::<(), AddServiceError>(())).await;
        world.at(secs(4)).lasting(secs(40)).partition([0], [1]);
        world.run_for(secs(30)).await;
        assert!(!nodes[0].members().members().is_empty(), "alone");
        assert!(nodes[0].members().members().is_empty(), "together");
    });
    assert!(
        text.contains("seed 7 fails: test: alone") && text.contains("it needs: 4s to "),
        "{text}"
    );
    let place = format!("{}:{}:", file!(), at + 5);
    assert!(text.contains(&place), "where it failed, {place}, is said: {text}");
}

fn assert_no_reactor(text: &str) {
    for words in ["seed 7 fails: ", "there is no reactor running", "SIM_REPLAY=7", " cargo test"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_stray_sleep_of_tokio_fails_loudly() {
    assert_no_reactor(&failure(|world| async move {
        world.cluster(2, |_: &Node| Ok::<(), AddServiceError>(())).await;
        tokio::time::sleep(millis(1)).await;
    }));
    let in_a_task = failure(|world| async move {
        let nodes = world.cluster(2, |_: &Node| Ok::<(), AddServiceError>(())).await;
        nodes[1].spawn(async { tokio::time::sleep(millis(1)).await });
        world.run_for(secs(1)).await;
    });
    assert_no_reactor(&in_a_task);
}

#[test]
fn a_stray_socket_of_tokio_fails_loudly() {
    assert_no_reactor(&failure(|world| async move {
        world.cluster(2, |_: &Node| Ok::<(), AddServiceError>(())).await;
        drop(tokio::net::UdpSocket::bind("127.0.0.1:0").await);
    }));
    let in_a_task = failure(|world| async move {
        let nodes = world.cluster(2, |_: &Node| Ok::<(), AddServiceError>(())).await;
        nodes[0].spawn(async { drop(tokio::net::TcpListener::bind("127.0.0.1:0").await) });
        world.run_for(secs(1)).await;
    });
    assert_no_reactor(&in_a_task);
}

#[test]
fn what_never_happens_is_a_failure_and_no_hang() {
    let waits = std::panic::catch_unwind(|| {
        check(0..1, |world| async move {
            world.cluster(1, |_: &Node| Ok::<(), AddServiceError>(())).await;
            std::future::pending::<()>().await;
        });
    });
    let panic = waits.expect_err("it waits for ever");
    assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("does not happen")));
}
