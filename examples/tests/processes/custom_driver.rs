//! The core on std's sockets, among agents: a member like any other.

use std::time::Duration;

use chinwag_examples::process::{Agent, Program};
use serde_json::Value;
use tokio::time::timeout;

use crate::common::{ANY_PORT, Cluster, PATIENCE, ask, fold, within};

async fn start(id: u64, seeds: &[&str]) -> Agent {
    let program = Program::at(env!("CARGO_BIN_EXE_chinwag-custom-driver"));
    let id_text = id.to_string();
    let args = [&[&*id_text, ANY_PORT], seeds].concat();
    // The port that it gets for TCP may be another's for UDP: then it ends, and the next is another
    // one.
    for _ in 0..5 {
        if let Ok(agent) =
            timeout(PATIENCE, Agent::start_like(&program, id, &args)).await.expect("in time")
        {
            return agent;
        }
    }
    panic!("it does not listen");
}

/// Waits until the member that cannot be asked has all of `others` in view, by its events.
async fn sees(member: &mut Agent, others: &[u64]) {
    let sees = |events: &[Value]| fold(events).keys().eq(others);
    within("it sees the others", member.until(sees)).await;
}

#[tokio::test]
async fn it_and_agents_find_each_other_and_find_each_other_dead() {
    let mut cluster = Cluster::of(2).await;
    let mut custom = start(3, &[cluster[0].addr()]).await;
    sees(&mut custom, &[1, 2]).await;
    for agent in cluster.iter_mut() {
        within("it joins", agent.reports("joined", 3, custom.epoch())).await;
    }
    // Calls reach it, over the streams that gossip is on. It has no services.
    let answer = ask(&mut cluster[0], "call 3 hello").await;
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("no service")), "{answer}");
    cluster.stay_without_deaths_but_of(&[], Duration::from_secs(4)).await;

    let epoch = cluster[1].epoch();
    cluster.kill(&[2]).await;
    within("the death is reported", custom.reports("died", 2, epoch)).await;
    within("the death is reported", cluster[0].reports("died", 2, epoch)).await;
    assert!(!custom.has_reported("died", 1) && !cluster[0].has_reported("died", 3));

    within("it is killed", custom.kill()).await;
    within("the death is reported", cluster[0].reports("died", 3, custom.epoch())).await;

    // Its next run is another, and joins through what it is told of.
    let mut again = start(3, &[cluster[0].addr()]).await;
    within("it joins", cluster[0].reports("joined", 3, custom.epoch() + 1)).await;
    sees(&mut again, &[1]).await;
}

#[tokio::test]
async fn it_is_a_seed_too_and_sees_who_leaves_and_leaves() {
    let mut custom = start(1, &[]).await;
    let seed = [custom.addr().to_owned()];
    let mut cluster = Cluster::empty();
    for id in 2..=4 {
        cluster.start(id, ANY_PORT, &seed).await;
    }
    sees(&mut custom, &[2, 3, 4]).await;
    for agent in cluster.iter_mut() {
        let sees_all = |events: &[Value]| fold(events).len() == 3;
        within("it sees the others", agent.until(sees_all)).await;
    }
    let epoch = cluster[1].epoch();
    ask(&mut cluster[1], "leave").await;
    within("the leave is reported", custom.reports("left", 3, epoch)).await;
    assert!(!custom.has_reported("died", 3));

    // It leaves in good order as well: its stdin ends, the others know, and then it ends.
    custom.hang_up();
    for agent in [0, 2] {
        within("the leave is reported", cluster[agent].reports("left", 1, custom.epoch())).await;
        assert!(!cluster[agent].has_reported("died", 1));
    }
    assert!(within("it ends by itself", custom.ends()).await.success());
}
