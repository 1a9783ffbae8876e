//! The claims of one node against the model that was written from the protocol's text
//! (`docs/protocol.md` §4.2, §4.5, §4.9), story by story.

use chinwag_core::rng::Rng;
use chinwag_fuzz::claims;

/// Bytes of one story: about as many steps as a story has at most.
const STORY_LEN: usize = 3_000;
const STORIES: u64 = 2_000;

#[test]
fn claims_and_model_agree_whatever_is_claimed() {
    let (mut applied, mut waiting, mut decided, mut refuted) = (0, 0, 0, 0);
    for seed in 0..STORIES {
        let mut rng = Rng::new(seed);
        let story: Vec<u8> =
            (0..STORY_LEN / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        // Shown if it fails.
        println!("story {seed}");
        let reached = claims::run(&story);
        applied += reached.applied;
        waiting += reached.waiting;
        decided += reached.decided;
        refuted += reached.refuted;
    }
    let all = [applied, waiting, decided, refuted];
    assert!(all.iter().all(|&count| count > STORIES / 20), "the stories reach every rule: {all:?}");
}
