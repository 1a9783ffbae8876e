//! Real processes are given a secret while they run, and change it (`docs/protocol.md` §2.7,
//! §2.10).

use std::path::Path;

use chinwag::Secret;
use chinwag_examples::process::Agent;

use crate::common::{ANY_PORT, Cluster, ask, within};

/// Every agent calls every other one, and nobody was suspected.
async fn all_is_well(cluster: &mut Cluster) {
    cluster.converges().await;
    let ids: Vec<u64> = cluster.iter().map(Agent::id).collect();
    for agent in cluster.iter_mut() {
        let own = agent.id();
        for id in ids.iter().filter(|id| **id != own) {
            for _ in 0..5 {
                let answer = ask(agent, &format!("call {id} on")).await;
                assert_eq!(answer["text"], "on", "{answer}");
            }
        }
        let mut events = agent.events().iter();
        let trouble =
            events.find(|event| event["event"] == "suspected" || event["event"] == "died");
        assert_eq!(trouble, None, "agent {}", agent.id());
    }
}

fn new_secret(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    Secret::generate().and_then(|secret| secret.write_new(&path)).expect("written");
    path.display().to_string()
}

/// The agent at `index` leaves, and is started again with `more` arguments where it was.
async fn restart(cluster: &mut Cluster, index: usize, more: &[&str]) {
    let (id, addr) = (cluster[index].id(), cluster[index].addr().to_owned());
    let seed = cluster[(index + 1) % cluster.len()].addr().to_owned();
    let left = ask(&mut cluster[index], "leave").await;
    assert_eq!(left["acked"], left["needed"], "{left}");
    within("it ends", cluster[index].ends()).await;
    cluster.take(index);
    cluster.start_with(id, &addr, &[seed], more).await;
}

#[tokio::test]
async fn s2_10_5_running_processes_are_given_a_secret_and_change_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = new_secret(folder.path(), "first.key");
    let mut cluster = Cluster::empty();
    for id in 1..=3 {
        let seed = cluster.first().map(|agent| agent.addr().to_owned());
        cluster.start(id, ANY_PORT, seed.as_slice()).await;
    }
    all_is_well(&mut cluster).await;
    assert!(ask(&mut cluster[0], "keys").await["error"].is_string(), "it has no secret");
    for _ in 0..3 {
        // The one that has waited longest: a new one is the last.
        restart(&mut cluster, 0, &["--secret", &first, "--transitional"]).await;
        all_is_well(&mut cluster).await;
        let refused = ask(&mut cluster[2], "require").await;
        let is_last = ask(&mut cluster[2], "keys").await["in_clear"] == serde_json::json!([]);
        assert_eq!(refused["error"].is_null(), is_last, "{refused}");
    }
    for agent in cluster.iter_mut() {
        let answer = ask(agent, "require").await;
        assert_eq!(answer["is_transitional"], false, "{answer}");
    }
    all_is_well(&mut cluster).await;
    for round in 0..10 {
        let secret = new_secret(folder.path(), &format!("{round}.key"));
        let (mut old, mut new) = (String::new(), String::new());
        for agent in cluster.iter_mut() {
            let answer = ask(agent, &format!("install {secret}")).await;
            old = answer["in_use"].as_str().expect("a key").to_owned();
            new = answer["keys"][1].as_str().expect("a second key").to_owned();
        }
        for agent in cluster.iter_mut() {
            let answer = ask(agent, &format!("use {new}")).await;
            assert_eq!(answer["in_use"], *new, "{answer}");
        }
        for agent in cluster.iter_mut() {
            let removed = async {
                // Until it has heard that nobody uses the key.
                while agent.ask(&format!("remove {old}")).await?["error"].is_string() {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                Ok(())
            };
            within("nobody uses the old key", removed).await;
        }
        all_is_well(&mut cluster).await;
    }
}
