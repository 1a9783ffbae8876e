//! The extension of `docs/extensions.md` in the simulator, and that the document shows the code
//! that runs.

use chinwag::{Node, NodeId};
use chinwag_examples::leader_hint::{Leader, LeaderHint};
use chinwag_sim::{Handles, World, check, secs};

/// Machine 0, whose node has the lowest id, does not run it.
const BYSTANDER: u64 = 1;

/// What the nodes say; a bystander says nothing.
#[derive(Clone)]
struct Hints(Handles<Option<Leader>>);

impl Hints {
    /// Starts `count` nodes. All but the bystander run the extension.
    async fn start(world: &World, count: usize) -> (Vec<Node>, Self) {
        let boot = |node: Node| async move {
            if node.id() == NodeId::from(BYSTANDER) {
                return Ok(None);
            }
            node.add_extension(LeaderHint).await.map(Some)
        };
        let (nodes, hints) = world.cluster_of(count, boot).await;
        (nodes, Self(hints))
    }

    /// Who the node with this id says leads; nobody while it runs no extension.
    fn of(&self, id: u32) -> Option<u64> {
        self.0.get(id - 1).flatten()?.current().map(NodeId::get)
    }

    fn of_all(&self, ids: impl IntoIterator<Item = u32>) -> Vec<Option<u64>> {
        ids.into_iter().map(|id| self.of(id)).collect()
    }
}

#[test]
fn each_side_of_a_partition_has_a_leader_and_the_whole_has_one() {
    check(0..20, |world: World| async move {
        let (_, hints) = Hints::start(&world, 5).await;
        world.run_for(secs(10)).await;
        assert_eq!(hints.of_all(2..=5), [Some(2); 4], "the lowest of those that run it");

        world.now_goes_wrong().partition([0, 1], [2, 3, 4]);
        world.run_for(secs(60)).await;
        assert_eq!(hints.of(2), Some(2), "with the bystander");
        assert_eq!(hints.of_all(3..=5), [Some(3); 3], "the others cannot see it");

        world.calm().converges_within(secs(60)).await;
        world.run_for(secs(10)).await;
        assert_eq!(hints.of_all(2..=5), [Some(2); 4], "healed");
    });
}

#[test]
fn a_leader_that_crashes_is_followed_by_the_next_and_comes_back() {
    check(0..20, |world: World| async move {
        let (_, hints) = Hints::start(&world, 4).await;
        world.run_for(secs(10)).await;
        world.now_goes_wrong().lasting(secs(60)).crash(1);
        world.run_for(secs(50)).await;
        assert_eq!(hints.of_all(3..=4), [Some(3); 2]);
        world.calm().converges_within(secs(60)).await;
        world.run_for(secs(20)).await;
        assert_eq!(hints.of_all(2..=4), [Some(2); 3], "its next run leads");
    });
}

#[test]
fn it_ends_with_its_handle_and_with_a_leave() {
    check(0..5, |world: World| async move {
        let (nodes, hints) = Hints::start(&world, 4).await;
        world.run_for(secs(10)).await;
        drop(hints.0.take(1).expect("it runs"));
        world.run_for(secs(20)).await;
        assert_eq!(hints.of_all(3..=4), [Some(3); 2], "node 2 lives, and runs it no more");
        assert!(nodes[3].members().get(2.into()).is_some());

        let leaver = hints.0.get(2).flatten().expect("it runs");
        world.now_goes_wrong().leave(2);
        world.run_for(secs(20)).await;
        assert_eq!((leaver.current(), hints.of(3)), (None, None), "who has left follows nobody");
        assert_eq!(hints.of(4), Some(4));
    });
}

/// Every block of Rust in the document is in the source, line by line.
#[test]
fn the_document_shows_the_code_that_runs() {
    let document = include_str!("../../docs/extensions.md");
    let source = include_str!("../src/leader_hint.rs");
    let blocks: Vec<&str> = document
        .split("```rust,ignore\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("a split has a first part"))
        .collect();
    assert!(blocks.len() >= 4, "{} blocks", blocks.len());
    for block in blocks {
        assert!(source.contains(block), "examples/src/leader_hint.rs has no such lines:\n{block}");
    }
}
