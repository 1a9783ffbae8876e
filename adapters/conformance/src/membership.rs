//! Who is in the cluster, and how that is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag::{
    AddServiceError, ClusterExtension, Config, Consistency, Event, MetadataError, Node, Planes,
    Snapshot, WaitError, Watch,
};

use crate::Host;
use crate::probe::{PATIENCE, Probe, cluster, cluster_with, echo, sees, start, start_with};
use crate::tools::Tally;

/// The first event that `wanted` knows something of.
async fn hear<T>(watch: &mut Watch, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = watch.next().await.expect("the watcher's node is there");
        if let Some(heard) = wanted(event) {
            return heard;
        }
    }
}

/// And choose each other.
pub async fn three_nodes_see_each_other_and_call_both_ways(host: &dyn Host) {
    let nodes = cluster(host, 3).await;
    for (from, _) in &nodes {
        for (to, _) in &nodes {
            let (from_id, to_id) = (from.id().get(), to.id().get());
            assert_eq!(
                echo(from, to_id).await,
                Ok((from_id, to_id)),
                "{from_id} to {to_id}, itself too"
            );
        }
    }
    let picks = nodes[0].0.select(Consistency::Two).expect("two others");
    assert_eq!(picks.len(), 2);
    assert!(nodes[0].0.select(Consistency::Three).is_err());
}

/// By all others, and never as one that left.
pub async fn a_node_that_is_dropped_is_found_dead(host: &dyn Host) {
    let mut nodes = cluster(host, 3).await;
    let mut watches: Vec<_> = nodes[..2].iter().map(|(node, _)| node.watch()).collect();
    let (victim, _) = nodes.pop().expect("three");
    let id = victim.id();
    drop(victim);
    for watch in &mut watches {
        hear(watch, |event| match event {
            Event::Died(member) if member.id == id => Some(()),
            Event::Left(member) => panic!("{} did not leave", member.id),
            _ => None,
        })
        .await;
    }
    for (node, _) in &nodes {
        sees(node, 1).await;
    }
}

/// At another address, while the old one may still be thought alive.
pub async fn a_restart_replaces_the_old_run(host: &dyn Host) {
    let mut nodes = cluster(host, 3).await;
    assert_eq!(echo(&nodes[0].0, 3).await, Ok((1, 3)));
    let (old, _) = nodes.pop().expect("three");
    let old_epoch = old.epoch();
    drop(old);
    let new = start(host, 3, &[&nodes[0].0]).await;
    new.add_service(Probe::default()).expect("added");
    sees(&new, 2).await;
    let epoch = new.epoch();
    assert!(epoch > old_epoch, "a later run");
    for (node, _) in &nodes {
        let is_new = |view: &chinwag::Snapshot| {
            view.get(3.into()).is_some_and(|member| member.epoch == epoch)
        };
        node.wait_for(is_new, PATIENCE).await.expect("the new run");
        assert_eq!(echo(node, 3).await, Ok((node.id().get(), 3)), "a call reaches the new run");
    }
}

/// Neither the place of the incumbent nor its calls (`docs/protocol.md` §4.9, §4.9.5).
pub async fn a_second_node_with_a_live_id_takes_nothing(host: &dyn Host) {
    let nodes = cluster(host, 2).await;
    let (one, two) = (&nodes[0].0, &nodes[1].0);
    assert_eq!(echo(one, 2).await, Ok((1, 2)));
    let held = two.epoch();
    let (mut at_one, mut at_two) = (one.watch(), two.watch());
    // It has no service, so that a call that reaches it fails.
    let twin = start(host, 2, &[one]).await;
    let conflict = |event| match event {
        Event::Conflict { id, known, other } => Some((id.get(), known, other)),
        _ => None,
    };
    let expected = (2, two.advertised_addr(), twin.advertised_addr());
    assert_eq!(hear(&mut at_one, conflict).await, expected);
    assert_eq!(hear(&mut at_two, conflict).await, expected);
    for _ in 0..20 {
        assert_eq!(echo(one, 2).await, Ok((1, 2)));
        assert_eq!(echo(two, 1).await, Ok((2, 1)));
    }
    assert_eq!(one.members().get(2.into()).map(|member| member.epoch), Some(held));
}

/// By all others; and leaving twice is leaving once.
pub async fn a_leave_is_reported_as_left_and_never_as_died(host: &dyn Host) {
    let nodes = cluster(host, 3).await;
    let mut watches: Vec<_> = nodes[..2].iter().map(|(node, _)| node.watch()).collect();
    let leaver = &nodes[2].0;
    let report = leaver.leave().await.expect("the node is there");
    assert!(report.acked <= 3, "{report:?}");
    assert_eq!(leaver.leave().await, Ok(report), "a second time is the same leave");
    leaver.shutdown().await;
    for watch in &mut watches {
        hear(watch, |event| match event {
            Event::Left(member) if member.id == leaver.id() => Some(()),
            Event::Died(member) => panic!("{} was reported dead", member.id),
            _ => None,
        })
        .await;
    }
    sees(&nodes[0].0, 1).await;
}

/// And `wait_for` ends with its time, or with the node.
pub async fn an_event_comes_after_the_view_that_contains_it(host: &dyn Host) {
    let node = start(host, 1, &[]).await;
    let mut watch = node.watch();
    let lonely = node.wait_for(|view| !view.members().is_empty(), Duration::from_millis(10)).await;
    assert_eq!(lonely.expect_err("alone"), WaitError::TimedOut);
    let peer = start(host, 2, &[&node]).await;
    sees(&node, 1).await;
    // Published after the view that contains it, under one lock, so perhaps a moment later.
    let joined = watch.next().await.expect("an event");
    assert!(matches!(joined, Event::Joined(member) if member.id == peer.id()));
    node.shutdown().await;
    assert_eq!(node.wait_for(|_| false, PATIENCE).await.expect_err("ended"), WaitError::Closed);
}

/// And joins neither. Names are said in clear alone: with secrets, both would know no more than
/// that the other has another key.
pub async fn a_foreign_cluster_is_reported_by_name_on_both_sides(host: &dyn Host) {
    let here = Node::builder(1, host.addr()).cluster("test").config(Config::local());
    let here = here.start_on(host.runtime()).await.expect("starts");
    let mut told_here = here.watch();
    let elsewhere = Node::builder(2, host.addr()).cluster("elsewhere").config(Config::local());
    let elsewhere = elsewhere.seeds([here.advertised_addr().to_string()]);
    let there = elsewhere.start_watched_on(host.runtime()).await;
    let (there, mut told_there) = there.expect("a foreign seed does not fail the start");
    for (watch, wanted) in [(&mut told_here, "elsewhere"), (&mut told_there, "test")] {
        let named = hear(watch, |event| match event {
            Event::ForeignCluster { cluster, .. } => cluster.map(|name| name.to_string()),
            _ => None,
        });
        assert_eq!(named.await, wanted);
    }
    assert!(here.members().members().is_empty() && there.members().members().is_empty());
}

/// Where datagrams do not pass.
pub async fn it_works_on_streams_alone(host: &dyn Host) {
    let config = Config { planes: Planes::StreamOnly, ..Config::local() };
    let mut nodes = cluster_with(host, 3, config.clone()).await;
    assert_eq!(echo(&nodes[2].0, 1).await, Ok((3, 1)));
    assert_eq!(nodes[0].0.stats().membership.datagrams_out, 0);
    drop(nodes.pop());
    sees(&nodes[0].0, 1).await;
    let again = start_with(host, 3, &[&nodes[1].0], config).await;
    sees(&again, 2).await;
}

/// Collects the ids that join.
struct Listen {
    joined: Arc<Mutex<Vec<u64>>>,
    heard: Arc<Tally>,
}

impl ClusterExtension for Listen {
    type Output = usize;
    type Error = AddServiceError;

    async fn init(self, node: &Node) -> Result<usize, AddServiceError> {
        node.add_service(Probe::default())?;
        let mut changes = node.watch();
        let before = changes.members().members().len();
        node.spawn(async move {
            while let Some(event) = changes.next().await {
                if let Event::Joined(member) = event {
                    self.joined.lock().expect("nobody panics with it").push(member.id.get());
                    self.heard.add();
                }
            }
        });
        Ok(before)
    }
}

/// Services, watches and tasks of its own.
pub async fn an_extension_uses_the_node_like_anybody(host: &dyn Host) {
    let node = start(host, 1, &[]).await;
    let (joined, heard) = (Arc::new(Mutex::default()), Arc::new(Tally::default()));
    let listen = || Listen { joined: joined.clone(), heard: heard.clone() };
    assert_eq!(node.add_extension(listen()).await, Ok(0));
    let peer = start(host, 2, &[&node]).await;
    heard.reaches(1).await;
    assert_eq!(*joined.lock().expect("nobody panics with it"), [2]);
    sees(&peer, 1).await;
    assert_eq!(echo(&peer, 1).await, Ok((2, 1)));
    assert_eq!(node.add_extension(listen()).await, Err(AddServiceError::DuplicateService("probe")));

    // It says so in an entry of its own, and leaves those of others alone.
    for (key, value) in [("one", "1"), ("listen", "1"), ("listen", "2")] {
        node.set_metadata_entry(key, value).expect("there is room");
    }
    let too_long = node.set_metadata_entry("listen", &"x".repeat(1_000));
    assert!(matches!(too_long, Err(MetadataError::TooLong { .. })), "{too_long:?}");
    node.remove_metadata_entry("one").expect("it is there");
    let told = |view: &Snapshot| {
        let said = &view.get(1.into())?.metadata;
        Some((said.get("listen").map(str::to_owned), said.get("one").is_none()))
    };
    let wanted = Some((Some("2".to_owned()), true));
    peer.wait_for(|view| told(view) == wanted, PATIENCE).await.expect("the other hears of it");
}
