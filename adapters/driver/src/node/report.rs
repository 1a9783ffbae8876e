//! What a node's log says of membership's events. The targets and levels are part of what operators
//! rely on (`docs/troubleshooting.md`).

use chinwag_core::id::NodeId;
use chinwag_core::membership::Event;

/// Logs `event` for an operator of the node `local`, which is in the cluster called `cluster`.
pub(super) fn report(local: NodeId, cluster: &str, event: &Event) {
    match event {
        Event::Joined(member) => {
            let (id, epoch, addr) = (member.id, member.epoch, member.addr);
            tracing::info!(target: "chinwag::node", %local, %id, %epoch, %addr, "joined");
        }
        Event::Suspected(member) => {
            tracing::info!(target: "chinwag::node", %local, id = %member.id, "suspected");
        }
        Event::Recovered(member) => {
            tracing::info!(target: "chinwag::node", %local, id = %member.id, "recovered");
        }
        Event::Died(member) => {
            let (id, epoch) = (member.id, member.epoch);
            tracing::warn!(target: "chinwag::node", %local, %id, %epoch, "died");
        }
        Event::Left(member) => {
            let (id, epoch) = (member.id, member.epoch);
            tracing::info!(target: "chinwag::node", %local, %id, %epoch, "left");
        }
        Event::Updated(member) => {
            tracing::debug!(target: "chinwag::node", %local, id = %member.id, "updated");
        }
        Event::Conflict { id, known, other } => tracing::error!(
            target: "chinwag::node",
            %local,
            "two live nodes have the id {id}, one at {known} and one at {other}: stop one of them, \
             or give it an id of its own"
        ),
        Event::Waiting { addr } => tracing::warn!(
            target: "chinwag::node",
            %local,
            "an earlier run of this node at {addr} is known to the cluster and does not answer: \
             this node is let in once that run is declared dead"
        ),
        Event::Isolated => tracing::warn!(
            target: "chinwag::node",
            %local,
            "the last other member is gone: check this node's network, and whether the others run"
        ),
        Event::ForeignCluster { from, cluster: theirs } => {
            report_foreigner(local, cluster, &from.to_string(), theirs.as_deref());
        }
        Event::Lost(count) => tracing::warn!(
            target: "chinwag::node",
            %local,
            "{count} events were dropped, because nobody read them in time"
        ),
        Event::LeaveCompleted { acked, needed } => {
            tracing::info!(target: "chinwag::node", %local, acked, needed, "this node has left");
        }
        Event::Broadcast { from, payload } | Event::Message { from, payload } => {
            let len = payload.len();
            tracing::trace!(target: "chinwag::node", %local, %from, len, "payload");
        }
        _ => {}
    }
}

fn report_foreigner(local: NodeId, ours: &str, from: &str, theirs: Option<&str>) {
    let theirs = match theirs {
        Some(name) => format!("in the cluster {name:?}"),
        None => "in another cluster".into(),
    };
    tracing::warn!(
        target: "chinwag::node",
        %local,
        "the node at {from} is {theirs} and this node in {ours:?}, so they ignore each other: give \
         both one cluster name, or take the address out of the seeds"
    );
}
