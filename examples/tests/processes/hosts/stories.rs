//! What happens to clusters whose network is not a perfect one.

use std::io::{self, Write as _};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::wire::Line;
use super::{Network, listen};
use crate::common::{Cluster, ask, within};

const CUT: Line = Line {
    is_cut: true,
    loss_percent: 0,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
    without_udp: false,
    without_tcp: false,
};

/// Longer than the longest suspicion among five at the `local` preset: a member that is suspected
/// and cannot refute dies within that.
const LONG: Duration = Duration::from_secs(12);

/// Every agent calls every other, and is answered.
async fn all_call_all(cluster: &mut Cluster) {
    let ids: Vec<u64> = cluster.iter().map(|agent| agent.id()).collect();
    for from in cluster.iter_mut() {
        for to in &ids {
            let answer = ask(from, &format!("call {to} hello")).await;
            assert_eq!(answer["text"], "hello", "{} to {to}: {answer}", from.id());
        }
    }
}

/// [`all_call_all`] where there was no way a moment ago: a call may still be lost with the stream
/// that it is on, or wait longer than it has time for TCP to try again.
async fn all_reach_all(cluster: &mut Cluster) {
    let ids: Vec<u64> = cluster.iter().map(|agent| agent.id()).collect();
    for from in cluster.iter_mut() {
        for to in &ids {
            let answered = async {
                while from.ask(&format!("call {to} hello")).await?["text"] != "hello" {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(())
            };
            within("a call is answered again", answered).await;
        }
    }
}

/// Says whether the machine allows the others, past what the test harness captures: everybody who
/// runs the tests is to see what was skipped.
#[tokio::test]
async fn what_this_machine_allows() {
    let said = match Network::make(2) {
        Ok(network) => {
            let mut cluster = network.agents().await;
            cluster.converges().await;
            let counts = network.wire.counts();
            format!("hosts in network namespaces: this machine allows them, {counts:?}")
        }
        Err(reason) => format!("skipped: hosts in network namespaces: {reason}"),
    };
    writeln!(io::stderr(), "{said}").expect("stderr is open");
}

/// A machine that has neither `ip` nor `nsenter` is one that does not.
#[test]
fn where_a_machine_does_not_allow_them_a_line_says_so() {
    let this = std::env::current_exe().expect("a test is a program");
    let args = ["--exact", "hosts::stories::what_this_machine_allows"];
    let output = Command::new(this).args(args).env("PATH", "/nowhere").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let is_said =
        said.lines().any(|line| line.starts_with("skipped: hosts in network namespaces: `"));
    assert!(output.status.success() && is_said, "{said}");
}

#[tokio::test]
async fn a_partition_divides_and_heals() {
    let Some(network) = Network::of(5) else { return };
    let mut cluster = network.agents().await;
    cluster.converges().await;
    let (small, large) = ([1, 2], [3, 4, 5]);
    network.wire.set_between(&small, &large, CUT);
    for (ones, others) in [(&small[..], &large[..]), (&large[..], &small[..])] {
        for one in ones {
            for other in others {
                let agent = &mut cluster[usize::from(one - 1)];
                within("the other side is dead to it", agent.reports("died", u64::from(*other), 0))
                    .await;
            }
        }
    }
    for agent in cluster.iter_mut() {
        let here = if small.contains(&u8::try_from(agent.id()).expect("small")) { 1 } else { 2 };
        let members = ask(agent, "members").await;
        assert_eq!(members["members"].as_array().map(Vec::len), Some(here), "{members}");
    }
    network.wire.set_between(&small, &large, Line::default());
    // The same runs as before: nobody has started anew.
    cluster.converges().await;
    all_reach_all(&mut cluster).await;
}

#[tokio::test]
async fn a_host_that_vanishes_is_found_dead_and_welcome_when_it_is_back() {
    let Some(network) = Network::of(4) else { return };
    let mut cluster = network.agents().await;
    cluster.converges().await;
    all_call_all(&mut cluster).await;
    let epoch = cluster[3].epoch();
    // No packet says that it is gone: no reset, no unreachable port.
    network.wire.set_between(&[4], &[1, 2, 3], CUT);
    for agent in &mut cluster[..3] {
        within("its death is reported", agent.reports("died", 4, epoch)).await;
    }
    let answer = ask(&mut cluster[0], "call 4 hello").await;
    assert!(answer["error"].is_string(), "{answer}");
    cluster.stay_without_deaths_but_of(&[1, 2, 3, 4], Duration::ZERO).await;
    for agent in &cluster[..3] {
        assert!(
            (1..=3).all(|id| !agent.has_reported("died", id)),
            "agent {} lost another",
            agent.id()
        );
    }
    network.wire.set_between(&[4], &[1, 2, 3], Line::default());
    cluster.converges().await;
    all_reach_all(&mut cluster).await;
}

async fn nobody_dies_with(line: Line) {
    let Some(network) = Network::of(5) else { return };
    let all = [1, 2, 3, 4, 5];
    network.wire.set_between(&all, &all, line);
    let mut cluster = network.agents().await;
    cluster.converges().await;
    all_call_all(&mut cluster).await;
    cluster.stay_without_deaths_but_of(&[], LONG).await;
    cluster.converges().await;
    let counts = network.wire.counts();
    assert!(counts.udp_lost > 0 && counts.udp > counts.udp_lost, "{counts:?}");

    // And one that does die is found out all the same.
    let epoch = cluster[4].epoch();
    cluster.kill(&[5]).await;
    for agent in cluster.iter_mut() {
        within("its death is reported", agent.reports("died", 5, epoch)).await;
    }
    cluster.stay_without_deaths_but_of(&[5], Duration::ZERO).await;
}

#[tokio::test]
async fn one_percent_of_loss_kills_nobody() {
    let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(5));
    nobody_dies_with(Line { loss_percent: 1, delay, jitter, ..Line::default() }).await;
}

#[tokio::test]
async fn ten_percent_of_loss_kills_nobody() {
    let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(5));
    nobody_dies_with(Line { loss_percent: 10, delay, jitter, ..Line::default() }).await;
}

#[tokio::test]
async fn without_udp_the_streams_carry_everything() {
    let Some(network) = Network::of(4) else { return };
    let all = [1, 2, 3, 4];
    network.wire.set_between(&all, &all, Line { without_udp: true, ..Line::default() });
    let mut cluster = network.agents().await;
    cluster.converges().await;
    all_call_all(&mut cluster).await;
    cluster.stay_without_deaths_but_of(&[], LONG).await;
    let epoch = cluster[3].epoch();
    cluster.kill(&[4]).await;
    for agent in cluster.iter_mut() {
        within("its death is reported", agent.reports("died", 4, epoch)).await;
    }
    cluster.stay_without_deaths_but_of(&[4], Duration::ZERO).await;
    let counts = network.wire.counts();
    assert!(counts.udp == 0 && counts.udp_lost > 0 && counts.tcp > 0, "{counts:?}");
}

#[tokio::test]
async fn without_tcp_nobody_is_declared_dead() {
    let Some(network) = Network::of(4) else { return };
    let all = [1, 2, 3, 4];
    let mut cluster = network.agents().await;
    cluster.converges().await;
    all_call_all(&mut cluster).await;
    network.wire.set_between(&all, &all, Line { without_tcp: true, ..Line::default() });
    cluster.stay_without_deaths_but_of(&[], LONG).await;
    let counts = network.wire.counts();
    assert!(counts.udp > 0 && counts.tcp_lost > 0, "something was blocked: {counts:?}");
    network.wire.set_between(&all, &all, Line::default());
    cluster.converges().await;
    all_reach_all(&mut cluster).await;
}

#[tokio::test]
async fn a_link_that_is_cut_one_way_kills_nobody() {
    let Some(network) = Network::of(4) else { return };
    let mut cluster = network.agents().await;
    cluster.converges().await;
    network.wire.set_one_way(1, 2, CUT);
    cluster.stay_without_deaths_but_of(&[], LONG).await;
    let counts = network.wire.counts();
    assert!(counts.udp_lost > 0, "something was cut: {counts:?}");
    network.wire.set_one_way(1, 2, Line::default());
    cluster.converges().await;
    all_reach_all(&mut cluster).await;
}

#[tokio::test]
async fn a_host_comes_back_with_another_address() {
    let Some(network) = Network::of(3) else { return };
    let mut cluster = network.agents().await;
    cluster.converges().await;
    let epoch = cluster[2].epoch();
    cluster.kill(&[3]).await;
    network.move_to(2, 33).expect("it moves");
    network.start(&mut cluster, 2, 3, 33, &[&listen(1)]).await;
    for agent in &mut cluster[..2] {
        let joined = within("the later run joins", agent.reports("joined", 3, epoch + 1)).await;
        assert_eq!(joined["addr"], Value::from(listen(33)));
    }
    cluster.converges().await;
    // A dial to where it was, which nobody answers, holds no call up.
    all_call_all(&mut cluster).await;
    // Whether it was found dead before it was back or not: nobody takes the new run for the old
    // one.
    let is_wrong =
        |event: &Value| event["event"] == "died" && event["epoch"].as_u64() > Some(epoch);
    assert!(cluster.iter().all(|agent| !agent.events().iter().any(is_wrong)));
}
