//! Names that mislead nodes, and what becomes of it once they are right again
//! (`docs/protocol.md` §4.8).

use std::time::Duration;

use chinwag_sim::fault::{Answers, Fault};
use chinwag_sim::{World, check, secs};

const NODES: u32 = 6;

/// Two look-up intervals of a node of a small cluster, with their jitter.
const TWO_INTERVALS: Duration = Duration::from_millis(2 * 15_000 * 5 / 4);

/// All nodes restart at once, and `answers` is what their resolvers say for a minute.
async fn restart_with(world: &World, answers: Answers) {
    world.cluster(NODES as usize, |_| Ok::<(), String>(())).await;
    for node in 0..NODES {
        world.at(secs(1)).lasting(secs(60)).fault(Fault::Names { node, answers });
        world.at(secs(2)).lasting(secs(1)).crash(node);
    }
    world.run_for(secs(60)).await;
}

fn live(world: &World, node: u32) -> usize {
    world.node(node).expect("it runs").members().live()
}

/// Names that give each half of the nodes its own half of the seeds make two clusters. Once the
/// names are right, they become one within two look-up intervals, although each node has long been
/// joined and has all the seeds it knew of in its view.
#[test]
fn islands_that_names_have_made_become_one_cluster() {
    check(0..8, |world: World| async move {
        restart_with(&world, Answers::Partial).await;
        for node in 0..NODES {
            assert_eq!(live(&world, node), 3, "two islands");
        }
        world.calm().converges_within(TWO_INTERVALS).await;
    });
}

/// A resolver that never answers costs its own look-ups and nothing else: once it answers, the
/// nodes find each other.
#[test]
fn names_that_were_never_answered_are_asked_again() {
    check(0..8, |world: World| async move {
        restart_with(&world, Answers::Never).await;
        for node in 0..NODES {
            let node = world.node(node).expect("it runs");
            assert_eq!(node.members().live(), 1, "nobody knows an address");
            assert!(node.stats().lookups_failed > 0);
        }
        world.calm().converges_within(TWO_INTERVALS).await;
    });
}
