//! [`LeaderHint`]: an extension small enough to be read at once, and three nodes that run it. `docs/extensions.md` walks through it.
//!
//! A hint, not an election: views differ for moments, and each side of a partition has a leader of
//! its own. It is good for work that is better not done twice, and bad for work that must not be.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use chinwag::{ClusterExtension, Event, MetadataError, Node, NodeId, Snapshot, Watch, WeakNode};
use chinwag_tokio::{Config, Node as TokioNode};
use futures_lite::future::or;
use tokio::sync::watch;
use tokio::time::timeout;

/// The entry under which a member says that it runs this extension.
const RUNS_HERE: &str = "leader-hint";
/// Each thing that the example waits for comes within this, or the example fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The extension: the live member with the lowest id, among those that run it.
pub struct LeaderHint;

impl ClusterExtension for LeaderHint {
    type Output = Leader;
    type Error = MetadataError;

    async fn init(self, node: &Node) -> Result<Leader, MetadataError> {
        // Before the view is read, so that no change falls in between.
        let changes = node.watch();
        node.set_metadata_entry(RUNS_HERE, "1")?;
        let (tells, told) = watch::channel(Some(leader_of(&node.members())));
        node.spawn(follow(node.downgrade(), changes, tells));
        Ok(Leader { told })
    }
}

/// Who leads, as far as this node can see. Its clones are told the same; the extension stops when
/// the last is dropped, or with the node.
#[derive(Clone)]
pub struct Leader {
    told: watch::Receiver<Option<NodeId>>,
}

impl Leader {
    /// The leader by the latest view; `None` once this node has left or ended.
    pub fn current(&self) -> Option<NodeId> {
        *self.told.borrow()
    }

    /// The next leader; `None` once this node has left or ended.
    pub async fn changed(&mut self) -> Option<NodeId> {
        self.told.changed().await.ok()?;
        *self.told.borrow_and_update()
    }

    /// Whether `node` comes to lead, before this node leaves or ends.
    pub async fn becomes(&mut self, node: NodeId) -> bool {
        self.told
            .wait_for(|leader| *leader == Some(node) || leader.is_none())
            .await
            .is_ok_and(|leader| leader.is_some())
    }
}

/// The task of the extension. It holds the node only while it looks.
async fn follow(node: WeakNode, mut changes: Watch, tells: watch::Sender<Option<NodeId>>) {
    let is_dropped = async || {
        tells.closed().await;
        None
    };
    while let Some(event) = or(changes.next(), is_dropped()).await {
        let Some(node) = node.upgrade() else { break };
        if matches!(event, Event::LeaveCompleted { .. }) {
            break;
        }
        let leader = Some(leader_of(&node.members()));
        tells.send_if_modified(|told| std::mem::replace(told, leader) != leader);
    }
    tells.send_replace(None);
    if let Some(node) = node.upgrade() {
        // A node that has left says nothing more about itself, and need not.
        let _ = node.remove_metadata_entry(RUNS_HERE);
    }
}

/// The same view gives the same leader on every node.
fn leader_of(view: &Snapshot) -> NodeId {
    let others = view.members().iter().filter(|member| member.metadata.get(RUNS_HERE).is_some());
    others.map(|member| member.id).chain([view.local().id]).min().expect("the local node is one")
}

/// Three nodes in one process: they agree, the leader leaves, they agree again.
pub fn main() -> ExitCode {
    let told = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(tell()).map_err(|error| error.to_string()));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(shortfall) => {
            let _ = writeln!(io::stderr(), "leader_hint: {shortfall}");
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<(), Box<dyn std::error::Error>> {
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
    say(format_args!("node 1 has left, and follows nobody"));
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

/// One line on stdout. Without a reader the story is still told, for its exit code.
fn say(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{what}");
}
