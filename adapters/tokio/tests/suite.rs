//! tokio passes the suite of all runtimes, on one thread and on several; and what only tokio has.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use chinwag_conformance::probe::{cluster, sees};
use chinwag_conformance::{Host, Story};
use chinwag_tokio::{Config, Node, Runtime, Secret, StartError, Tokio};
use tokio::runtime::{Builder, Runtime as Executor};

/// The runtime, and whether the clusters on it are encrypted.
struct OnTokio(Executor, bool);

impl Host for OnTokio {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(Tokio::new(self.0.handle().clone()))
    }

    fn block_on(&self, story: Story<'_>) {
        self.0.block_on(story);
    }

    fn secret(&self) -> Option<Secret> {
        self.1.then(|| Secret::from_bytes([1; 32]))
    }
}

fn one_thread() -> OnTokio {
    OnTokio(Builder::new_current_thread().enable_all().build().expect("a runtime"), false)
}

fn threads() -> OnTokio {
    let executor = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    OnTokio(executor.expect("a runtime"), false)
}

fn encrypted() -> OnTokio {
    OnTokio(threads().0, true)
}

mod on_one_thread {
    chinwag_conformance::suite!(super::super::one_thread());
}

mod on_threads {
    chinwag_conformance::suite!(super::super::threads());
}

mod encrypted {
    chinwag_conformance::suite!(super::super::encrypted());
}

/// On the runtime around it, and on none where there is none.
#[test]
fn a_node_starts_on_the_runtime_it_is_started_in() {
    async fn start(id: u64, seeds: Vec<String>) -> Result<Node, StartError> {
        let builder =
            Node::builder(id, ([127, 0, 0, 1], 0).into()).config(Config::local()).seeds(seeds);
        builder.start().await
    }
    one_thread().0.block_on(async {
        let one = start(1, Vec::new()).await.expect("starts");
        let two = start(2, vec![one.local_addr().to_string()]).await.expect("starts");
        sees(&one, 1).await;
        sees(&two, 1).await;
    });
    let mut outside = std::pin::pin!(start(1, Vec::new()));
    let started =
        outside.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(started, Poll::Ready(Err(StartError::NoRuntime(_)))));
}

/// As tokio counts them, with whatever it needs for chinwag.
#[test]
fn no_task_is_left() {
    let host = one_thread();
    let tasks = || host.0.metrics().num_alive_tasks();
    host.0.block_on(async {
        let nodes = cluster(&host, 3).await;
        assert!(tasks() >= 3);
        drop(nodes);
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if tasks() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
}
