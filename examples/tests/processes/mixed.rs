//! One cluster on several runtimes, each node a process of its own.

use std::time::Duration;

use chinwag_examples::quickstart;
use chinwag_examples::runtime::Kind;
use serde_json::json;

use crate::common::{ANY_PORT, Cluster, ask, program, within};

/// Agents 1 to 3, one on each runtime, and agent 4 on the `fourth`: all have joined.
async fn mixed(fourth: Kind) -> Cluster {
    let mut cluster = Cluster::empty();
    for (id, kind) in (1..).zip(Kind::EVERY.into_iter().chain([fourth])) {
        let seed = cluster.first().map(|agent| agent.addr().to_owned());
        cluster.start_with(id, ANY_PORT, seed.as_slice(), &["--runtime", kind.name()]).await;
    }
    cluster.converges().await;
    cluster
}

/// Everybody calls everybody, and the stamps rise along each call.
async fn all_call_all(cluster: &mut Cluster) {
    let ids: Vec<u64> = cluster.iter().map(|agent| agent.id()).collect();
    for from in cluster.iter_mut() {
        for &to in &ids {
            let text = format!("from {} to {to}", from.id());
            let answer = ask(from, &format!("call {to} {text}")).await;
            assert_eq!((&answer["text"], &answer["id"]), (&json!(text), &json!(to)), "{answer}");
            let stamps = ["before", "there", "after"]
                .map(|name| answer["stamps"][name].as_str().expect("a stamp"));
            assert!(stamps.is_sorted_by(|earlier, later| earlier < later), "{answer}");
        }
    }
}

#[tokio::test]
async fn agents_on_three_runtimes_make_one_cluster() {
    let mut cluster = mixed(Kind::Smol).await;
    all_call_all(&mut cluster).await;

    // One on each runtime in turn is killed, found dead by the two others, and comes back on the
    // next runtime.
    for (at, kind) in [(1, Kind::AsyncStd), (2, Kind::Tokio), (0, Kind::Smol)] {
        let (id, epoch) = (cluster[at].id(), cluster[at].epoch());
        cluster.kill(&[id]).await;
        for agent in cluster.iter_mut() {
            within("a death is reported", agent.reports("died", id, epoch)).await;
        }
        let seed = [cluster[0].addr().to_owned()];
        cluster.start_with(id, ANY_PORT, &seed, &["--runtime", kind.name()]).await;
        cluster.converges().await;
        // Where it was: the order of starting is lost, the places are not.
        cluster.sort_by_key(|agent| agent.id());
    }
    all_call_all(&mut cluster).await;
    cluster.stay_without_deaths_but_of(&[1, 2, 3], Duration::from_secs(1)).await;

    let epoch = cluster[1].epoch();
    let leave = ask(&mut cluster[1], "leave").await;
    assert_eq!(leave["acked"], leave["needed"], "{leave}");
    assert!(within("it ends", cluster[1].ends()).await.success());
    for at in [0, 2, 3] {
        within("it is reported", cluster[at].reports("left", 2, epoch)).await;
    }
}

#[tokio::test]
async fn the_quickstart_ends_well_on_the_other_runtimes_too() {
    for kind in [Kind::Smol, Kind::AsyncStd] {
        let told = quickstart::tell(&program(), kind).await;
        told.unwrap_or_else(|shortfall| panic!("{}: {shortfall}", kind.name()));
    }
}
