//! [`LeaderHint`]: a small extension, and an example of three nodes that run it.
//!
//! `docs/extensions.md` explains it line by line. The extension gives a hint and holds no election:
//! views can differ briefly, and during a partition each side has a leader of its own. Use it for
//! work that should not be done twice. Do not use it for work that must not be done twice.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use chinwag::{ClusterExtension, Event, MetadataError, Node, NodeId, Snapshot, Watch, WeakNode};
use chinwag_tokio::{Config, Node as TokioNode};
use futures_lite::future::or;
use tokio::sync::watch;
use tokio::time::timeout;

/// The metadata entry that says that a member runs this extension.
const RUNS_HERE: &str = "leader-hint";
/// The longest wait for any one condition in the example.
const PATIENCE: Duration = Duration::from_secs(20);

/// The extension. The leader is the live member with the lowest id among those that run it.
pub struct LeaderHint;

impl ClusterExtension for LeaderHint {
    type Output = Leader;
    type Error = MetadataError;

    async fn init(self, node: &Node) -> Result<Leader, MetadataError> {
        // The watch starts before the view is read, so that no change is missed.
        let changes = node.watch();
        node.set_metadata_entry(RUNS_HERE, "1")?;
        let (sender, leader) = watch::channel(Some(leader_of(&node.members())));
        node.spawn(follow(node.downgrade(), changes, sender));
        Ok(Leader { leader })
    }
}

/// The current leader as this node sees it. Clones share one value. The extension stops when the
/// last clone is dropped, or when the node ends.
#[derive(Clone)]
pub struct Leader {
    leader: watch::Receiver<Option<NodeId>>,
}

impl Leader {
    /// Returns the leader in the latest view, or `None` after this node has left or ended.
    pub fn current(&self) -> Option<NodeId> {
        // The task that sends has ended when this is an error.
        self.leader.has_changed().ok()?;
        *self.leader.borrow()
    }

    /// Waits for the next leader. Returns `None` after this node has left or ended.
    pub async fn changed(&mut self) -> Option<NodeId> {
        self.leader.changed().await.ok()?;
        *self.leader.borrow_and_update()
    }

    /// Waits until `node` is the leader. Returns false if this node leaves or ends before that.
    pub async fn becomes(&mut self, node: NodeId) -> bool {
        self.leader
            .wait_for(|leader| *leader == Some(node) || leader.is_none())
            .await
            .is_ok_and(|leader| leader.is_some())
    }
}

/// The extension's task. It holds the node only while it reads the view.
async fn follow(node: WeakNode, mut changes: Watch, sender: watch::Sender<Option<NodeId>>) {
    let handle_dropped = async || {
        sender.closed().await;
        None
    };
    while let Some(event) = or(changes.next(), handle_dropped()).await {
        let Some(node) = node.upgrade() else { break };
        if matches!(event, Event::LeaveCompleted { .. }) {
            break;
        }
        let leader = Some(leader_of(&node.members()));
        sender.send_if_modified(|current| std::mem::replace(current, leader) != leader);
    }
    if let Some(node) = node.upgrade() {
        // This fails if the node has left. Its entry has gone with it then.
        let _ = node.remove_metadata_entry(RUNS_HERE);
    }
}

/// Returns the leader in `view`. Nodes with the same view compute the same leader.
fn leader_of(view: &Snapshot) -> NodeId {
    let others = view.members().iter().filter(|member| member.metadata.get(RUNS_HERE).is_some());
    others.map(|member| member.id).chain([view.local().id]).min().expect("the local node is one")
}

/// Runs three nodes in one process. They agree on a leader, it leaves, and the others agree again.
pub fn main() -> ExitCode {
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(run()).map_err(|error| error.to_string()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "leader_hint: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut nodes: Vec<(TokioNode, Leader)> = Vec::new();
    for id in 1..=3_u64 {
        let seeds: Vec<_> =
            nodes.first().map(|(node, _)| node.local_addr().to_string()).into_iter().collect();
        let builder = TokioNode::builder(id, "127.0.0.1:0".parse()?).cluster("leader-hint");
        let node = builder.config(Config::local()).seeds(seeds).start().await?;
        let leader = node.add_extension(LeaderHint).await?;
        nodes.push((node, leader));
    }
    all_follow(&mut nodes, 1).await?;
    let (node, mut leader) = nodes.remove(0);
    node.leave().await?;
    if timeout(PATIENCE, leader.changed()).await?.is_some() {
        return Err("the node that left still has a leader".into());
    }
    say(format_args!("node 1 has left and has no leader"));
    all_follow(&mut nodes, 2).await?;
    for (node, _) in &nodes {
        node.shutdown().await;
    }
    say(format_args!("leader_hint: ok"));
    Ok(())
}

async fn all_follow(
    nodes: &mut [(TokioNode, Leader)],
    wanted: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    for (node, leader) in nodes {
        if !timeout(PATIENCE, leader.becomes(wanted.into())).await? {
            return Err(format!("node {} ended before it followed node {wanted}", node.id()).into());
        }
        say(format_args!("node {} follows node {wanted}", node.id()));
    }
    Ok(())
}

/// Prints one line. A closed stdout is not an error: the exit code still gives the result.
fn say(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{what}");
}
