//! Calls between nodes, and of a node to itself.

use std::time::Duration;

use chinwag::Code;
use futures_lite::future::{or, zip};

use crate::Host;
use crate::probe::{CallBack, Echo, Hang, PATIENCE, Panic, Probe, cluster, echo};
use crate::tools::{eventually, sleep_until, spawn};

/// Both dial at once, so there may be two connections; both sides keep the same one.
pub async fn many_calls_at_once_from_both_sides_all_end_well(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let runtime = host.runtime();
    let calls = (0..200).map(|_| {
        let (one, two) = (nodes[0].0.clone(), nodes[1].0.clone());
        spawn(&*runtime, async move { (echo(&one, 2).await, echo(&two, 1).await) })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await, (Ok((1, 2)), Ok((2, 1))));
    }
    eventually(&*runtime, || nodes.iter().all(|(node, _)| node.stats().connections == 1)).await;
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    assert_eq!(echo(&nodes[1].0, 1).await, Ok((2, 1)));
    assert_eq!(nodes.iter().map(|(node, _)| node.stats().connections).sum::<usize>(), 2);
}

/// Up to the limit, which fails the call and nothing else.
pub async fn large_messages_arrive_whole(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let text = "x".repeat(3_000_000);
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Probe>(peer).timeout(PATIENCE);
        let reply = client.call(&Echo { text: text.clone() }).await;
        assert!(reply.expect("answered").text == *text);
        let too_large = Echo { text: "x".repeat(17 << 20) };
        let echo = Echo { text: String::new() };
        let attached = (0..17).fold(client.request::<Echo>(&echo), |call, _| call.attach(vec![1]));
        let headed = client.clone().header("key", &[1; 9_000]).expect("a header");
        let ended = [
            client.call(&too_large).await.map(drop),
            attached.send().await.map(drop),
            headed.call(&echo).await.map(drop),
            client.one_way(&too_large),
        ];
        for (case, result) in ended.into_iter().enumerate() {
            let status = result.expect_err("over the limit");
            assert_eq!(
                (status.code, status.may_have_run()),
                (Code::TooLarge, false),
                "{peer} {case}"
            );
        }
    }
}

/// Neither here nor there, and the handler is not even begun.
pub async fn a_deadline_that_has_passed_runs_nothing(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Probe>(peer).timeout(Duration::ZERO);
        let status = client.call(&Hang).await.expect_err("too late");
        assert_eq!((status.code, status.may_have_run()), (Code::DeadlineExceeded, false), "{peer}");
        client.one_way(&Hang).expect("dropped, which is no error");
        // Whatever was sent before it has been handled.
        assert_eq!(echo(&nodes[0].0, peer).await, Ok((1, peer)));
    }
    for (_, probe) in &nodes {
        assert_eq!(probe.begun.count(), 0);
    }
}

/// Before it answers, over the same connection.
pub async fn a_handler_calls_its_caller_back(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let reply =
        nodes[0].0.client::<Probe>(2).timeout(PATIENCE).call(&CallBack).await.expect("answered");
    assert_eq!(*reply, *"back from 1");
}

/// At its first poll, in the connection's task, or later, in its own.
pub async fn a_panicking_handler_fails_its_call_alone(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    for peer in [1, 2] {
        for before_waiting in [true, false] {
            let client = nodes[0].0.client::<Probe>(peer).timeout(PATIENCE);
            let status = client.call(&Panic { before_waiting }).await.expect_err("panics");
            assert_eq!(status.code, Code::Internal, "{status}");
        }
        assert_eq!(echo(&nodes[0].0, peer).await, Ok((1, peer)));
    }
}

/// Wherever it runs. The call has no deadline, so that nothing but its drop ends the handler.
pub async fn dropping_a_call_drops_its_handler(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let runtime = host.runtime();
    for peer in [1, 2] {
        let probe = &nodes[peer - 1].1;
        let client = nodes[0].0.client::<Probe>(peer as u64).without_timeout();
        let call = async {
            panic!("it hangs, but {:?}", client.call(&Hang).await.map(drop));
        };
        or(call, probe.begun.reaches(1)).await;
        let late = async {
            sleep_until(&*runtime, runtime.now().mono + PATIENCE).await;
            panic!("the handler at node {peer} outlives its call");
        };
        or(probe.dropped.reaches(1), late).await;
    }
}

/// On both sides.
pub async fn a_deadline_ends_the_call_and_its_handler(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Probe>(peer).timeout(Duration::from_millis(50));
        let status = client.call(&Hang).await.expect_err("never answered");
        assert_eq!(status.code, Code::DeadlineExceeded);
    }
    // Node 2's handler may not have begun at all: then there is none to drop.
    let probe = &nodes[1].1;
    probe.dropped.reaches(probe.begun.count()).await;
}

/// By another node and by this one.
pub async fn one_way_messages_are_handled(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    for peer in [1, 2] {
        nodes[0].0.client::<Probe>(peer as u64).one_way(&Hang).expect("queued");
        nodes[peer - 1].1.begun.reaches(1).await;
    }
}

/// Without asking the network.
pub async fn nobody_there_is_known_at_once(host: &dyn Host) {
    let nodes = cluster(host, 1).await;
    let status = echo(&nodes[0].0, 9).await.expect_err("no such member");
    assert_eq!((status.code, status.never_sent()), (Code::Unavailable, true));
}

/// Also those without a deadline.
pub async fn pending_calls_end_when_the_peer_does(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let client = nodes[0].0.client::<Probe>(2).without_timeout();
    let ends = async {
        nodes[1].1.begun.reaches(1).await;
        nodes[1].0.shutdown().await;
    };
    let status = zip(client.call(&Hang), ends).await.0.expect_err("nobody answers");
    assert!(
        matches!(status.code, Code::ConnectionLost | Code::PeerGone | Code::Unavailable),
        "{status}"
    );
    nodes[1].1.dropped.reaches(1).await;
}

/// By however much the caller's clock is ahead.
pub async fn a_stamp_after_a_call_is_later_than_one_before_it(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let before = nodes[0].0.clock().now_at(nodes[0].0.now().wall + Duration::from_millis(200));
    assert_eq!(echo(&nodes[0].0, 2).await, Ok((1, 2)));
    assert!(nodes[1].0.clock().now() > before, "the call carried the stamp");
    assert!(nodes[1].0.clock().now_coarse() > before);
}
