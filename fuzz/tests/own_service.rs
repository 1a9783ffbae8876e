//! `chinwag_sim::check_bytes`: the bytes are what the world chooses, and a story that does not hold
//! fails.

use std::panic::catch_unwind;

use chinwag::{AddServiceError, Node};
use chinwag_sim::{World, check_bytes, secs};

/// A story that holds as long as nothing is chosen but what is benign.
fn story(bytes: &[u8]) {
    check_bytes(bytes, |world: World| async move {
        let nodes = world.cluster(3, |_: &Node| Ok::<(), AddServiceError>(())).await;
        assert_eq!(nodes.len(), 3);
        world.run_for(secs(5)).await;
        let chosen = (0..4).map(|_| world.choose(5)).max();
        assert_eq!(chosen, Some(0), "the bytes chose");
    });
}

#[test]
fn no_bytes_are_a_calm_world_and_others_choose() {
    story(&[]);
    let failed =
        catch_unwind(|| story(&[3; 20_000])).expect_err("something else than 0 was chosen");
    let text = failed.downcast_ref::<String>().expect("it says what failed");
    assert!(text.contains("the bytes chose"), "{text}");
}
