//! What an author of a test can do wrong, and the message that each mistake gets. A failure that
//! was seen once is never taken back, and a run that depends on something outside of its seed
//! fails.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use chinwag::{AddServiceError, Context, Handler, Message, Methods, Node, Service, Status, View};
use chinwag_sim::{World, check, secs};

/// Returns the report of a check of these seeds.
fn report<S: Future<Output = ()>>(
    seeds: std::ops::Range<u64>,
    story: impl Fn(World) -> S + Sync,
) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| check(seeds, story)));
    failed.expect_err("the check fails").downcast_ref::<String>().expect("a text").clone()
}

fn nothing(_: &Node) -> Result<(), AddServiceError> {
    Ok(())
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "the report should say {part:?}:\n{text}");
    }
}

/// What every report of a run that is not repeated asks its author to look for.
const LOOK_FOR: [&str; 5] = [
    "Something outside of the seed changes the run",
    "the order of a HashMap",
    "the real clock",
    "threads",
    "keeps state from one run to the next",
];

#[derive(rkyv::Archive, rkyv::Serialize)]
struct First;

impl Message for First {
    type Reply = u64;
    const NAME: &'static str = "first";
}

/// Answers with a number that it is given.
struct Board(Box<dyn Fn() -> u64 + Send + Sync>);

impl Service for Board {
    const NAME: &'static str = "board";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<First>();
    }
}

impl Handler<First> for Board {
    async fn handle(&self, _: &Context, _: View<First>) -> Result<u64, Status> {
        Ok((self.0)())
    }
}

/// Node 1 asks node 2 for a number, for a few seconds.
async fn ask<F: Fn() -> u64 + Send + Sync + Clone + 'static>(world: World, number: F) -> u64 {
    let boot = move |node: &Node| node.add_service(Board(Box::new(number.clone())));
    let nodes = world.cluster(2, boot).await;
    world.run_for(secs(1)).await;
    nodes[0].client::<Board>(2).call(&First).await.expect("answered").to_native()
}

/// The first run fails, and no other: its failure is what the test reports.
#[test]
fn a_failure_that_comes_once_is_not_swallowed() {
    for runs_before in [0, 1] {
        let runs = AtomicU64::new(0);
        let text = report(0..1, |world| {
            let is_chosen = runs.fetch_add(1, Ordering::SeqCst) == runs_before;
            async move {
                world.cluster(2, nothing).await;
                world.run_for(secs(1)).await;
                assert!(!is_chosen, "failed by chance");
            }
        });
        assert_says(
            &text,
            &["seed 0 fails: test: failed by chance", "It failed once and not again"],
        );
        assert_says(&text, &["mistakes.rs:", "SIM_SEEDS=0..1 SIM_TWICE=all cargo test"]);
        assert_says(&text, &LOOK_FOR);
    }
}

/// It fails often enough to be seen, and not while it is made small.
#[test]
fn a_failure_that_goes_while_it_is_made_small_is_not_swallowed() {
    let runs = AtomicU64::new(0);
    let text = report(0..1, |world| {
        let fails = runs.fetch_add(1, Ordering::SeqCst) < 4;
        async move {
            world.cluster(2, nothing).await;
            world.at(secs(1)).lasting(secs(1)).loss(0.5);
            world.run_for(secs(4)).await;
            assert!(!fails, "failed for a while");
        }
    });
    assert_says(&text, &["seed 0 fails: test: failed for a while"]);
    assert_says(&text, &["It failed again in 2 of 3 more runs of the seed"]);
    assert_says(&text, &LOOK_FOR);
}

#[test]
fn the_order_of_a_hash_map_is_found() {
    #[expect(clippy::disallowed_types, reason = "the mistake that this test is about")]
    let number = || {
        let names: std::collections::HashMap<u64, u64> =
            (1..=1_000).map(|name| (name, name)).collect();
        names.into_keys().next().expect("it holds a thousand")
    };
    let text = report(0..1, |world| async move {
        ask(world, number).await;
    });
    assert_says(&text, &["seed 0 fails: determinism: two runs of this seed were not the same"]);
    assert_says(&text, &["Two runs of the seed parted:", "the last event that both runs have: {"]);
    assert_says(&text, &["the next event of one run: {", "the next event of the other: {"]);
    assert_says(&text, &LOOK_FOR);
}

#[test]
fn the_real_clock_is_found() {
    #[expect(clippy::disallowed_types, reason = "the mistake that this test is about")]
    #[expect(clippy::disallowed_methods, reason = "the mistake that this test is about")]
    let text = {
        let begun = std::time::Instant::now();
        let number =
            move || u64::try_from(begun.elapsed().as_nanos()).expect("the test is not so old");
        report(0..1, |world| async move {
            ask(world, number).await;
        })
    };
    assert_says(&text, &["seed 0 fails: determinism"]);
    assert_says(&text, &LOOK_FOR);
}

#[test]
fn a_counter_that_outlives_a_run_is_found() {
    let counter = Arc::new(AtomicU64::new(0));
    let text = report(0..1, |world| {
        let counter = counter.clone();
        async move {
            ask(world, move || counter.fetch_add(1, Ordering::SeqCst)).await;
        }
    });
    assert_says(&text, &["seed 0 fails: determinism"]);
    assert_says(&text, &LOOK_FOR);
}

/// A future that a thread completes.
fn of_a_thread() -> impl Future<Output = ()> + Send {
    let mut is_begun = false;
    let is_done = Arc::new(AtomicU64::new(0));
    poll_fn(move |cx| {
        if is_done.load(Ordering::SeqCst) > 0 {
            return Poll::Ready(());
        }
        if !is_begun {
            is_begun = true;
            let (waker, is_done) = (cx.waker().clone(), is_done.clone());
            #[expect(clippy::disallowed_methods, reason = "the mistake that this test is about")]
            std::thread::spawn(move || {
                is_done.store(1, Ordering::SeqCst);
                waker.wake();
            })
            .join()
            .expect("the thread ends");
        }
        Poll::Pending
    })
}

#[test]
fn a_task_that_another_thread_wakes_fails_the_run() {
    let line = line!() + 4;
    let text = report(0..1, |world| async move {
        let nodes = world.cluster(2, nothing).await;
        world.run_for(secs(1)).await;
        nodes[0].spawn(of_a_thread());
        world.run_for(secs(1)).await;
    });
    assert_says(&text, &["seed 0 fails: outside: ", "was woken by a thread outside of the world"]);
    assert_says(&text, &["a task of node 0", &format!("mistakes.rs:{line}:")]);
}

/// A thread may be slower than the whole run: then it wakes nobody, and the run would pass.
#[test]
fn a_task_that_waits_for_something_outside_fails_the_run() {
    let (end, is_over) = std::sync::mpsc::channel::<()>();
    let is_over = Arc::new(std::sync::Mutex::new(is_over));
    let line = line!() + 6;
    let text = report(0..1, |world| {
        let is_over = is_over.clone();
        async move {
            let nodes = world.cluster(2, nothing).await;
            world.run_for(secs(1)).await;
            nodes[1].spawn(poll_fn(move |cx| {
                let (waker, is_over) = (cx.waker().clone(), is_over.clone());
                #[expect(clippy::disallowed_methods, reason = "the mistake of this test")]
                std::thread::spawn(move || {
                    let _ = is_over.lock().expect("no thread panics").recv();
                    waker.wake();
                });
                Poll::Pending
            }));
            world.run_for(secs(1)).await;
        }
    });
    drop(end);
    let says = "still waits for something outside of the world";
    assert_says(&text, &["seed 0 fails: outside: a task of node 1", says]);
    assert_says(&text, &[&format!("mistakes.rs:{line}:")]);
}

/// A task may wait for what the world could bring, or for nothing.
#[test]
fn a_task_that_waits_for_something_in_the_world_fails_nothing() {
    check(0..2, |world| async move {
        let nodes = world.cluster(3, nothing).await;
        let slot = Arc::new(std::sync::Mutex::new(None));
        let kept = slot.clone();
        nodes[0].spawn(poll_fn(move |cx| {
            *kept.lock().expect("no thread panics") = Some(cx.waker().clone());
            Poll::Pending
        }));
        nodes[0].spawn(pending());
        nodes[1].spawn(nodes[1].sleep(secs(3_600)));
        let own = nodes[2].clone();
        nodes[2].spawn(async move {
            own.sleep(secs(3_600)).await;
            drop(slot);
        });
        let mut watch = nodes[1].watch();
        nodes[1].spawn(async move { while watch.next().await.is_some() {} });
        world.run_for(secs(5)).await;
    });
}

#[test]
fn a_story_that_another_thread_wakes_fails_the_run() {
    let text = report(0..1, |world| async move {
        world.cluster(2, nothing).await;
        of_a_thread().await;
        world.run_for(secs(1)).await;
    });
    assert_says(&text, &["seed 0 fails: outside: the test itself was woken by a thread outside"]);
}

#[test]
fn a_story_that_waits_in_vain_fails_the_run() {
    let text = report(0..1, |world| async move {
        world.cluster(1, nothing).await;
        pending::<()>().await;
    });
    assert_says(&text, &["seed 0 fails: test: the test waits for something that does not happen"]);
}

/// Inside of another runtime its timers and sockets exist; a world still has none of them.
#[test]
fn a_timer_of_tokio_fails_the_run_inside_of_tokio_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let text = report(0..1, |world| async move {
            let nodes = world.cluster(2, nothing).await;
            nodes[1].spawn(async { tokio::time::sleep(Duration::from_millis(1)).await });
            world.run_for(secs(1)).await;
        });
        assert_says(&text, &["seed 0 fails: ", "there is no reactor running"]);
        let text = report(0..1, |world| async move {
            world.cluster(2, nothing).await;
            drop(tokio::net::UdpSocket::bind("127.0.0.1:0").await);
        });
        assert_says(&text, &["seed 0 fails: ", "there is no reactor running"]);
    });
}
