//! Many calls at once, and handlers that never return.

use std::sync::Arc;
use std::time::Duration;

use chinwag_conformance::probe::{PATIENCE, sees};
use chinwag_conformance::tools::Tally;
use chinwag_tokio::chinwag::Node;
use chinwag_tokio::protocol::rpc;
use chinwag_tokio::protocol::time::Instant;
use chinwag_tokio::{Code, Event, Status};
use rustix::time::{ClockId, clock_gettime};

use crate::common::{Blob, Never, Number, Work, on_threads, pair, start};

/// Far more than a connection takes at once: they wait, and each gets its own answer.
#[test]
fn a_hundred_thousand_calls_at_once_all_end_well() {
    const CALLS: u64 = 100_000;
    on_threads(async {
        let rpc = rpc::Config {
            // One caller may have half of them.
            waiting_calls_max: 200_000,
            room_wait_max: 4 * PATIENCE,
            ..rpc::Config::default()
        };
        let (one, _two, work) = pair(rpc).await;
        let client = one.client::<Work>(2).timeout(4 * PATIENCE);
        let calls = (0..CALLS).map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                client.call(&Number(number)).await.map(|reply| reply.to_native())
            })
        });
        for (number, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(call.await.expect("no panic"), Ok(number as u64));
        }
        assert_eq!(work.runs_of_all() as u64, CALLS, "each was handled once");
    });
}

/// Neither those beside them, nor the end of the node.
#[test]
fn handlers_that_never_return_hold_nobody_up() {
    on_threads(async {
        let (one, two, work) = pair(rpc::Config::default()).await;
        let client = one.client::<Work>(2).timeout(PATIENCE);
        let patient = one.client::<Work>(2).without_timeout();
        // As many as may be open of calls that no handler makes, less one.
        let calls = (0..767).map(|number| {
            let patient = patient.clone();
            tokio::spawn(async move { patient.call(&Never(number)).await.map(drop) })
        });
        let calls: Vec<_> = calls.collect();
        work.waiting.reaches(calls.len()).await;
        for number in 0..100 {
            assert_eq!(
                client.call(&Number(number)).await.map(|reply| reply.to_native()),
                Ok(number)
            );
        }
        let hurried = one.client::<Work>(2).timeout(Duration::from_millis(20));
        assert_eq!(hurried.call(&Never(0)).await.expect_err("never").code, Code::DeadlineExceeded);

        assert!(work.dropped.count() <= 1, "only the hurried one's handler is gone");
        two.shutdown().await;
        for call in calls {
            let status = call.await.expect("no panic").expect_err("never answered");
            assert!(status.may_have_run(), "{status}");
        }
        work.dropped.reaches(work.waiting.count()).await;
    });
}

/// A node on a runtime of its own that can be frozen: its sockets stay open, and nobody reads or
/// writes them any more. To the others that is a machine that has lost its power.
struct Freezable {
    freeze: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<tokio::runtime::Runtime>,
}

impl Freezable {
    /// What keeps the sockets open.
    fn freeze(self) -> tokio::runtime::Runtime {
        self.freeze.send(()).expect("it runs");
        self.thread.join().expect("no panic")
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a runtime that is to stop needs a thread to be stopped"
)]
fn freezable(node: impl Future<Output = Node> + Send + 'static) -> Freezable {
    let (freeze, frozen) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let _node = node.await;
            let _ = frozen.await;
            // The node's end is only asked for here: from now on no task of it runs.
        });
        runtime
    });
    Freezable { freeze, thread }
}

/// CPU time of this process: what the machine does besides does not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// All of them end within 100 ms of the death's report, each once, and as what they are. That is
/// 100 ms of this process's own time, so that a busy machine fails nobody; by the clock it is
/// before the first timer that could end them, so that nobody waits for one.
#[test]
fn ten_thousand_calls_end_at_once_when_their_peer_is_declared_dead() {
    const CALLS: usize = 10_000;
    on_threads(async {
        let rpc = rpc::Config { in_flight_max: 16_384, ..rpc::Config::default() };
        let first_timer = rpc.keepalive_calls;
        let one = start(1, &[], rpc.clone()).await;
        let work = Work::default();
        let peer = freezable({
            let (one, work) = (one.clone(), work.clone());
            async move {
                let two = start(2, &[&one], rpc).await;
                two.add_service(work).expect("added");
                two
            }
        });
        sees(&one, 1).await;
        let mut changes = one.watch();
        let (client, ended) = (one.client::<Work>(2).without_timeout(), Arc::new(Tally::default()));
        let calls = (0..CALLS).map(|number| {
            let (client, ended, one) = (client.clone(), ended.clone(), one.clone());
            tokio::spawn(async move {
                let result = client.call(&Never(number as u64)).await.map(drop);
                ended.add();
                (result, one.now().mono)
            })
        });
        let calls: Vec<_> = calls.collect();
        work.waiting.reaches(CALLS).await;
        assert_eq!(ended.count(), 0);
        let frozen = peer.freeze();

        let died_at = died(&mut changes, &one).await;
        let cpu = cpu_time();
        ended.reaches(CALLS).await;
        let cpu = cpu_time() - cpu;
        let mut last = Instant::ZERO;
        for call in calls {
            let (result, at) = call.await.expect("no panic");
            let status = result.expect_err("never answered");
            assert_eq!((status.code, status.may_have_run()), (Code::PeerGone, true), "{status}");
            last = last.max(at);
        }
        let took = last.since(died_at);
        assert!(
            cpu < Duration::from_millis(100),
            "the last call ended {cpu:?} of CPU time after the death"
        );
        assert!(took < first_timer, "the last call ended {took:?} after the death");
        assert_eq!((ended.count(), work.runs_of_all()), (CALLS, CALLS), "each once");
        frozen.shutdown_background();
    });
}

/// When node 2's death was reported.
async fn died(changes: &mut chinwag_tokio::Watch, node: &Node) -> Instant {
    loop {
        if let Event::Died(member) = changes.next().await.expect("the node lives") {
            assert_eq!(member.id.get(), 2);
            return node.now().mono;
        }
    }
}

/// Far more than is queued at once, both ways: they wait, and none is refused.
#[test]
fn many_large_calls_at_once_wait_for_room() {
    on_threads(async {
        let rpc = rpc::Config { room_wait_max: PATIENCE, ..rpc::Config::default() };
        let (one, _two, _) = pair(rpc).await;
        let client = one.client::<Work>(2).timeout(PATIENCE);
        let calls = (0..64).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..4 {
                    let reply = client.call_raw::<Blob>(vec![7; 1 << 20]).await?;
                    assert_eq!(reply.len(), 1 << 20);
                }
                Ok::<_, Status>(())
            })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.expect("no panic"), Ok(()));
        }
    });
}
