//! The story of the `kv` example on each runtime, and that it can fail.

use chinwag_examples::kv::story;
use chinwag_examples::process::Program;
use chinwag_examples::runtime::Kind;

use super::common::AGENT;

const KV: &str = env!("CARGO_BIN_EXE_chinwag-kv");

#[tokio::test]
async fn the_kv_demo_ends_well_on_each_runtime() {
    for kind in Kind::EVERY {
        let told = story::tell(&Program::at(KV), kind).await;
        told.unwrap_or_else(|shortfall| panic!("on {}: {shortfall}", kind.name()));
    }
}

#[tokio::test]
async fn a_node_without_a_store_fails_it() {
    let shortfall =
        story::tell(&Program::at(AGENT), Kind::Tokio).await.expect_err("an agent has no store");
    assert!(shortfall.to_string().starts_with("did not start three nodes"), "{shortfall}");
}
