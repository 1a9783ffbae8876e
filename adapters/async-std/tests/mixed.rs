//! One cluster on three runtimes. It is here because no other crate may have async-std in its tree,
//! for tests either.

use std::net::SocketAddr;
use std::sync::Mutex;

use chinwag_async_std::chinwag::{Config, Node};
use chinwag_conformance::probe::{PATIENCE, Probe, echo, sees};
use chinwag_conformance::tools::Tally;

/// What the three tell each other: where the first is, and who has got how far.
#[derive(Default)]
struct Board {
    seed: Mutex<Option<SocketAddr>>,
    is_seeded: Tally,
    has_called: Tally,
    has_seen_the_leave: Tally,
}

/// Each node's story. Node 3 leaves when everybody has called everybody.
async fn live(node: Node, board: &Board) {
    let id = node.id().get();
    node.add_service(Probe::default()).expect("added");
    if id == 1 {
        *board.seed.lock().expect("nobody panics with it") = Some(node.local_addr());
        board.is_seeded.add();
    }
    sees(&node, 2).await;
    for peer in 1..=3 {
        // The peer is there, and adds its service as soon as it has started.
        while let Err(status) = echo(&node, peer).await {
            assert_eq!(
                status.code,
                chinwag_async_std::Code::UnknownService,
                "{id} to {peer}: {status}"
            );
        }
        assert_eq!(echo(&node, peer).await, Ok((id, peer)));
    }
    board.has_called.add();
    board.has_called.reaches(3).await;
    if id == 3 {
        node.leave().await.expect("the node is there");
        node.shutdown().await;
    } else {
        let gone =
            node.wait_for(|view| view.get(3.into()).is_none(), PATIENCE).await.expect("it leaves");
        assert_eq!(gone.members().len(), 1);
        assert_eq!(echo(&node, 3 - id).await, Ok((id, 3 - id)));
        board.has_seen_the_leave.add();
    }
    // Nobody else goes before everybody has seen the one that left.
    board.has_seen_the_leave.reaches(2).await;
}

/// The seed's address, once it is bound.
async fn seed(board: &Board) -> [String; 1] {
    board.is_seeded.reaches(1).await;
    [board.seed.lock().expect("nobody panics with it").expect("seeded").to_string()]
}

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

#[test]
fn a_node_on_each_runtime_makes_one_cluster() {
    let board = &Board::default();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let node = chinwag_tokio::Node::builder(1, anywhere()).config(Config::local());
                live(node.start().await.expect("starts").into(), board).await;
            });
        });
        threads.spawn(move || {
            smol::block_on(async {
                let node = chinwag_smol::Node::builder(2, anywhere()).config(Config::local());
                live(node.seeds(seed(board).await).start().await.expect("starts").into(), board)
                    .await;
            });
        });
        threads.spawn(move || {
            async_std::task::block_on(async {
                let node = chinwag_async_std::Node::builder(3, anywhere()).config(Config::local());
                live(node.seeds(seed(board).await).start().await.expect("starts").into(), board)
                    .await;
            });
        });
    });
}
