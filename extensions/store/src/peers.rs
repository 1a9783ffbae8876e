//! Who else is a replica (docs/store.md §1.1), and which of them a level selects.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag::{
    Client, Code, Consistency, Handler, Member, Message, Node, NodeId, Picks, SelectError, Status,
    Topology,
};

use crate::replica::{Replica, lock};
use crate::service::StoreService;

/// The entry of metadata that says that a member is a replica, and its value.
pub(crate) const ENTRY: (&str, &str) = ("store", "1");

/// How a replica refuses a call of a node that is no replica as far as it knows.
pub(crate) const NOT_A_REPLICA: &str = "the caller is not a replica in the membership of this node";

/// How long a caller waits before it asks again whether it is known as a replica.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Calls a replica for a user. A replica that has just started is not known to all others yet: it
/// asks again until it is, or until the deadline of `client`.
pub(crate) async fn call<M>(
    replica: &Replica,
    client: &Client<StoreService>,
    message: &M,
) -> Result<chinwag::Received<M::Reply>, Status>
where
    M: Message,
    StoreService: Handler<M>,
{
    loop {
        match client.call(message).await {
            Err(status) if status.code == Code::AppError && status.message == NOT_A_REPLICA => {
                let sleep = replica.node()?.sleep(AGAIN_AFTER);
                sleep.await;
            }
            result => return result,
        }
    }
}

pub(crate) fn is_replica(member: &Member) -> bool {
    member.metadata.get(ENTRY.0).is_some()
}

/// The other live replicas, in the order of their ids.
pub(crate) fn replicas(node: &Node) -> Vec<NodeId> {
    let members = node.members();
    members.members().iter().filter(|member| is_replica(member)).map(|member| member.id).collect()
}

/// Selects among replicas by the node's selector.
#[derive(Default)]
pub(crate) struct Selection {
    /// Of the latest view that somebody selected from: whose turn it is goes on from view to view.
    topology: Mutex<Option<Arc<Topology>>>,
}

impl Selection {
    pub(crate) fn select(&self, node: &Node, level: Consistency) -> Result<Picks, SelectError> {
        node.select_on(&self.topology(node), level)
    }

    fn topology(&self, node: &Node) -> Arc<Topology> {
        let members = node.members();
        let mut latest = lock(&self.topology);
        if let Some(topology) = &*latest
            && topology.version() == members.version()
        {
            return topology.clone();
        }
        let local = members.local();
        let replicas = members.members().iter().filter(|member| is_replica(member));
        let others = replicas.map(|member| (member.id, member.data_center()));
        let (version, id, data_center) = (members.version(), local.id, local.data_center());
        let next = Arc::new(match &*latest {
            Some(before) => before.next(version, id, data_center, others),
            None => Topology::new(version, id, data_center, others),
        });
        *latest = Some(next.clone());
        next
    }
}
