//! A connection that is cut at every boundary between frames of an exchange, and in the middle of
//! every frame.

use std::sync::Arc;

use chinwag_conformance::probe::{PATIENCE, sees};
use chinwag_conformance::tools::eventually;
use chinwag_tokio::chinwag::Node;
use chinwag_tokio::protocol::rpc;
use chinwag_tokio::{Client, Code, Raw, Runtime, Status, Tokio};

use crate::common::{Blob, Number, Relay, Work, on_threads, start_on};
use crate::proxy::{Cut, Cutting, Plan};

/// Longer than a fragment, so that it comes in some.
const LONG: usize = 150_000;

/// What became of the call with a number.
struct Ended {
    number: u64,
    result: Result<(), Status>,
}

/// One exchange with calls of every shape; their numbers are fresh.
struct Script {
    client: Client<Work>,
    next: u64,
    ended: Vec<Ended>,
}

impl Script {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    async fn run(&mut self) {
        self.unary().await;
        let number = self.number();
        let result = blob(&self.client, number).await;
        self.ended.push(Ended { number, result });
        let number = self.number();
        let result = relay(&self.client, number).await;
        self.ended.push(Ended { number, result });
        self.unary().await;
    }

    /// Three at once.
    async fn unary(&mut self) {
        let numbers = [self.number(), self.number(), self.number()];
        let results = tokio::join!(
            unary(&self.client, numbers[0]),
            unary(&self.client, numbers[1]),
            unary(&self.client, numbers[2])
        );
        let results = [results.0, results.1, results.2];
        self.ended.extend(
            numbers.into_iter().zip(results).map(|(number, result)| Ended { number, result }),
        );
    }
}

async fn unary(client: &Client<Work>, number: u64) -> Result<(), Status> {
    let reply = client.call(&Number(number)).await?;
    assert_eq!(*reply, number);
    Ok(())
}

async fn blob(client: &Client<Work>, number: u64) -> Result<(), Status> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(LONG, 7);
    let reply = client.call_raw::<Blob>(bytes.clone()).await?;
    assert_eq!(reply, bytes);
    Ok(())
}

async fn relay(client: &Client<Work>, number: u64) -> Result<(), Status> {
    let mut relay = client.open(&Relay(number)).await?;
    for (of, len) in [(1, 10), (2, LONG), (3, 0)] {
        let chunk = Raw::from(vec![of; len]);
        relay.send(&chunk).await?;
        match relay.next().await {
            Some(back) => assert_eq!(back?, chunk.0),
            None => break,
        }
    }
    relay.finish();
    assert_eq!(relay.reply().await?.body.to_native(), 3);
    Ok(())
}

/// Whatever is cut: every call ends, those that succeed were handled once and carry what they
/// should, those that were certainly not handled were not, none is handled twice, and the next call
/// has a new connection.
#[test]
fn a_cut_connection_loses_what_was_on_it_and_nothing_else() {
    on_threads(async {
        let (plan, work) = (Plan::new(), Work::default());
        let inner = Arc::new(Tokio::new(tokio::runtime::Handle::current()));
        let runtime: Arc<dyn Runtime> = Arc::new(Cutting { inner, plan: plan.clone() });
        let one = start_on(runtime.clone(), 1, &[], rpc::Config::default()).await;
        let two = start_on(runtime.clone(), 2, &[&one], rpc::Config::default()).await;
        two.add_service(work.clone()).expect("added");
        sees(&one, 1).await;
        sees(&two, 1).await;

        let mut script =
            Script { client: one.client(2).timeout(PATIENCE), next: 0, ended: Vec::new() };
        let mut cuts = 0;
        for frames in 0.. {
            let mut is_over = false;
            for is_in_the_middle in [false, true] {
                let cut = Cut { frames, is_in_the_middle };
                plan.arm(cut);
                eventually(&*runtime, || is_alone(&one) && is_alone(&two)).await;
                let before = script.ended.len();
                script.run().await;
                is_over = plan.disarm();
                check(&script.ended[before..], cut, is_over);
                cuts += usize::from(!is_over);
            }
            if is_over {
                break;
            }
        }
        // Two hellos, a method's name and a message for each of the calls and answers, fragments
        // and chunks.
        assert!(cuts > 2 * 25, "only {cuts} cuts");
        drop((two, script.client));
        for Ended { number, result } in script.ended {
            let runs = work.runs(number);
            match result {
                Ok(()) => assert_eq!(runs, 1, "call {number} succeeded"),
                Err(status) if status.may_have_run() => {
                    assert!(runs <= 1, "call {number}: {status}");
                }
                Err(status) => assert_eq!(runs, 0, "call {number}: {status}"),
            }
        }
    });
}

fn is_alone(node: &Node) -> bool {
    node.stats().connections == 0
}

/// At most what was under way at one time has failed: three calls; and nothing that was not cut.
fn check(ended: &[Ended], cut: Cut, is_over: bool) {
    let failed: Vec<_> = ended.iter().filter_map(|ended| ended.result.as_ref().err()).collect();
    assert!(failed.len() <= if is_over { 0 } else { 3 }, "{cut:?}: {failed:?}");
    for status in failed {
        let is_known = matches!(status.code, Code::ConnectionLost | Code::Unavailable);
        assert!(is_known, "{cut:?}: {status}");
    }
}
