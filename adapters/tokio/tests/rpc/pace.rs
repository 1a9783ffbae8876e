//! Handlers that compute hold up no other call of their connection. What they wait for, on their
//! thread, is the other calls: time decides nothing.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use chinwag_conformance::probe::{PATIENCE, sees};
use chinwag_tokio::protocol::rpc;
use chinwag_tokio::{Client, Code, Context, Handler, Message, Methods, Service, Status, View};

use crate::common::{lock, start};

/// Blocks its thread until so many handlers of it have begun.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Block(u64);

impl Message for Block {
    type Reply = ();
    const NAME: &'static str = "block";
}

/// The same; the program says that it is long.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Long(u64);

impl Message for Long {
    type Reply = ();
    const NAME: &'static str = "long";
}

/// Lets one of them go on.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Pass;

impl Message for Pass {
    type Reply = ();
    const NAME: &'static str = "pass";
}

#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<u64>, Condvar)>);

impl Gate {
    fn add(&self) {
        *lock(&self.0.0) += 1;
        self.0.1.notify_all();
    }

    /// Blocks the thread.
    fn wait_for(&self, count: u64) -> Result<(), Status> {
        let passed = lock(&self.0.0);
        let waited = self.0.1.wait_timeout_while(passed, PATIENCE / 2, |passed| *passed < count);
        match waited.expect("no panic").1.timed_out() {
            true => Err(Status::new(Code::AppError, "the others were held up")),
            false => Ok(()),
        }
    }
}

impl Service for Gate {
    const NAME: &'static str = "gate";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Block>().add::<Long>().add::<Pass>();
    }
}

impl Handler<Block> for Gate {
    async fn handle(&self, _: &Context, block: View<Block>) -> Result<(), Status> {
        self.add();
        self.wait_for(block.0.to_native())
    }
}

impl Handler<Long> for Gate {
    const IS_LONG: bool = true;

    async fn handle(&self, _: &Context, block: View<Long>) -> Result<(), Status> {
        self.add();
        self.wait_for(block.0.to_native())
    }
}

impl Handler<Pass> for Gate {
    async fn handle(&self, _: &Context, _: View<Pass>) -> Result<(), Status> {
        self.add();
        Ok(())
    }
}

/// Runs a story with a client of a gate over one connection, on enough threads.
fn story<F: Future<Output = ()>>(of: impl FnOnce(Client<Gate>, Gate) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(6).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let one = start(1, &[], rpc::Config::default()).await;
        let two = start(2, &[&one], rpc::Config::default()).await;
        let gate = Gate::default();
        two.add_service(gate.clone()).expect("added");
        sees(&one, 1).await;
        of(one.client::<Gate>(2).timeout(PATIENCE), gate).await;
    });
}

/// Three that wait for each other and for a small call that comes after them.
async fn all_at_once<M: Message<Reply = ()>>(
    client: &Client<Gate>,
    gate: &Gate,
    message: fn(u64) -> M,
) where
    Gate: Handler<M>,
{
    let until = *lock(&gate.0.0) + 4;
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call(&message(until)).await.map(drop) })
        })
        .collect();
    tokio::task::yield_now().await;
    client.call::<Pass>(&Pass).await.expect("answered");
    for call in calls {
        assert_eq!(call.await.expect("no panic"), Ok(()));
    }
}

#[test]
fn a_handler_that_computes_runs_beside_its_connection_from_the_first_call_on() {
    story(|client, gate| async move { all_at_once(&client, &gate, Block).await });
}

#[test]
fn a_handler_that_is_said_to_be_long_does_also_after_many_short_calls() {
    story(|client, gate| async move {
        for _ in 0..50 {
            client.call(&Long(0)).await.expect("answered");
        }
        all_at_once(&client, &gate, Long).await;
    });
}

/// It was short, and ran in place: once that took long, it runs beside its connection again.
#[test]
#[expect(clippy::disallowed_methods, reason = "a handler that computes for that long")]
fn a_handler_that_turns_out_to_be_long_does_again() {
    story(|client, gate| async move {
        for _ in 0..50 {
            client.call(&Block(0)).await.expect("answered");
        }
        // In place, it waits for another connection's call, which is the thread below.
        let until = *lock(&gate.0.0) + 2;
        let opener = tokio::task::spawn_blocking({
            let gate = gate.clone();
            move || {
                std::thread::sleep(Duration::from_millis(20));
                gate.add();
            }
        });
        client.call(&Block(until)).await.expect("answered");
        opener.await.expect("no panic");
        all_at_once(&client, &gate, Block).await;
    });
}
