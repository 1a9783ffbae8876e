//! Who else is a replica (docs/store.md §1.1), and which of them a level selects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag::{
    Client, Code, Consistency, Handler, Member, Message, Node, NodeId, SelectError, State, Status,
    Topology,
};

use crate::config::Config;
use crate::gather::Plan;
use crate::limits::ROSTER_MAX;
use crate::replica::{Replica, Voters, lock};
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
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Of the latest view that somebody selected from: whose turn it is goes on from view to view.
    topology: Option<Arc<Topology>>,
    /// The data centre in which each replica was seen last.
    centers: BTreeMap<NodeId, String>,
}

impl Selection {
    /// Who is asked for a level, and how many must answer (docs/store.md §3.1, §3.8).
    pub(crate) fn plan(
        &self,
        replica: &Replica,
        node: &Node,
        level: Consistency,
        config: &Config,
    ) -> Result<Plan, SelectError> {
        if level == Consistency::None {
            return Ok(Plan::default());
        }
        let topology = self.topology(node);
        let voters = replica.voters().unwrap_or_default();
        let needs = self.needs(&topology, &voters, level, config);
        let order = order(&topology, node, level);
        let of_group = |id: &NodeId| {
            let center = topology.data_center(*id).unwrap_or_default();
            needs.iter().position(|(of, _)| of.as_ref().is_none_or(|of| of == center))
        };
        let order: Vec<(NodeId, usize)> =
            order.iter().filter_map(|id| Some((*id, of_group(id)?))).collect();
        let needs: Vec<usize> = needs.into_iter().map(|(_, need)| need).collect();
        for (group, &required) in needs.iter().enumerate() {
            let live = order.iter().filter(|(_, of)| *of == group).count();
            if live < required {
                return Err(SelectError::NotEnoughNodes { live, required });
            }
        }
        Ok(Plan { needs, order })
    }

    /// How many others must answer: of everybody, or of each data centre that is named.
    fn needs(
        &self,
        topology: &Topology,
        voters: &Voters,
        level: Consistency,
        config: &Config,
    ) -> Vec<(Option<String>, usize)> {
        let total = voters.count(config);
        let local = topology.local_data_center();
        let of_all = |need| vec![(None, need)];
        match level {
            Consistency::None => Vec::new(),
            Consistency::One => of_all(1),
            Consistency::Two => of_all(2),
            Consistency::Three => of_all(3),
            Consistency::Quorum => of_all(total / 2),
            Consistency::All => of_all(total.saturating_sub(1)),
            Consistency::LocalQuorum | Consistency::EachQuorum => {
                let mut centers = self.centers(topology, voters);
                // Who was never seen counts as one of the local data centre, as this replica does.
                let known: usize = centers.values().sum();
                *centers.entry(local.to_owned()).or_default() += total.saturating_sub(known);
                let need = |(center, count): (String, usize)| {
                    let need = if center == local { count / 2 } else { count / 2 + 1 };
                    (Some(center), need)
                };
                let is_asked = |(center, _): &(String, usize)| {
                    level == Consistency::EachQuorum || center == local
                };
                centers.into_iter().filter(is_asked).map(need).collect()
            }
        }
    }

    /// How many of the other replicas are in each data centre, as far as they were seen there.
    fn centers(&self, topology: &Topology, voters: &Voters) -> BTreeMap<String, usize> {
        let seen = lock(&self.seen);
        let mut centers = BTreeMap::new();
        for id in voters.live.iter().chain(&voters.away) {
            let center = topology.data_center(*id).or(seen.centers.get(id).map(String::as_str));
            if let Some(center) = center {
                *centers.entry(center.to_owned()).or_default() += 1;
            }
        }
        centers
    }

    fn topology(&self, node: &Node) -> Arc<Topology> {
        let members = node.members();
        let mut seen = lock(&self.seen);
        if let Some(topology) = &seen.topology
            && topology.version() == members.version()
        {
            return topology.clone();
        }
        let local = members.local();
        let replicas = || members.members().iter().filter(|member| is_replica(member));
        if seen.centers.len() > ROSTER_MAX {
            seen.centers.clear();
        }
        seen.centers.extend(replicas().map(|it| (it.id, it.data_center().to_owned())));
        let others = replicas().map(|member| (member.id, member.data_center()));
        let (version, id, data_center) = (members.version(), local.id, local.data_center());
        let next = Arc::new(match &seen.topology {
            Some(before) => before.next(version, id, data_center, others),
            None => Topology::new(version, id, data_center, others),
        });
        seen.topology = Some(next.clone());
        next
    }
}

/// All live replicas: first those that the node's selector picks, last those that are suspected.
fn order(topology: &Topology, node: &Node, level: Consistency) -> Vec<NodeId> {
    let picks = node.select_on(topology, level);
    let mut order: Vec<NodeId> = picks.into_iter().flatten().collect();
    let others: Vec<NodeId> = topology.iter().filter(|id| !order.contains(id)).collect();
    order.extend(others);
    let members = node.members();
    order.sort_by_key(|id| members.get(*id).is_none_or(|member| member.state != State::Alive));
    order
}

#[cfg(test)]
mod tests;
