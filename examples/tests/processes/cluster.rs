//! What happens to clusters of real processes at the `local` preset.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::common::{ANY_PORT, Cluster, program, signal, within};
use chinwag_examples::process::Program;
use chinwag_examples::quickstart;
use chinwag_examples::runtime::Kind;
use rustix::process::Signal;

#[tokio::test]
async fn the_quickstart_ends_well() {
    quickstart::tell(&program(), Kind::Tokio)
        .await
        .unwrap_or_else(|shortfall| panic!("{shortfall}"));
}

#[tokio::test]
async fn a_story_that_falls_short_says_where() {
    let shortfall =
        quickstart::tell(&Program::at("true"), Kind::Tokio).await.expect_err("that is no agent");
    assert_eq!(shortfall.to_string(), "did not start three agents: agent 1 has ended");
}

#[tokio::test]
async fn a_process_stopped_for_two_seconds_is_not_reported_dead_and_reports_nobody() {
    let mut cluster = Cluster::of(5).await;
    signal(&cluster[2], Signal::STOP);
    tokio::time::sleep(Duration::from_secs(2)).await;
    signal(&cluster[2], Signal::CONT);
    cluster.calms_down().await;
    // The shortest suspicion of five is 3 s: one that lingers shows within that.
    cluster.stay_without_deaths_but_of(&[], Duration::from_secs(4)).await;
    cluster.converges().await;
}

#[tokio::test]
async fn two_killed_at_once_are_both_reported_by_all_others_who_report_nobody_else() {
    let mut cluster = Cluster::of(5).await;
    let epochs = [(2, cluster[1].epoch()), (4, cluster[3].epoch())];
    cluster.kill(&[2, 4]).await;
    for agent in cluster.iter_mut() {
        for (id, epoch) in epochs {
            within("a death is reported", agent.reports("died", id, epoch)).await;
        }
    }
    cluster.stay_without_deaths_but_of(&[2, 4], Duration::from_secs(1)).await;
    cluster.converges().await;
}

#[tokio::test]
async fn agents_converge_in_whatever_order_they_start() {
    for order in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 5, 2, 4]] {
        let addrs = [free_addr(), free_addr()];
        let mut cluster = Cluster::empty();
        for id in order {
            // Agents 1 and 2 are everybody's seeds, their own and each other's too.
            let listen = if id <= 2 { addrs[id - 1].as_str() } else { ANY_PORT };
            cluster.start(id as u64, listen, &addrs).await;
        }
        cluster.converges().await;
    }
}

#[tokio::test]
async fn all_but_one_die_and_come_back_elsewhere_through_the_one() {
    let mut cluster = Cluster::of(5).await;
    let epochs: Vec<_> = cluster.iter().skip(1).map(|agent| (agent.id(), agent.epoch())).collect();
    cluster.kill(&[2, 3, 4, 5]).await;
    for &(id, epoch) in &epochs {
        within("a death is reported", cluster[0].reports("died", id, epoch)).await;
    }
    within("it is alone", cluster[0].event(|event| event["event"] == "isolated")).await;

    let seed = [cluster[0].addr().to_owned()];
    for &(id, _) in &epochs {
        cluster.start(id, ANY_PORT, &seed).await;
    }
    cluster.converges().await;
    for &(id, epoch) in &epochs {
        within("a later run has joined", cluster[0].reports("joined", id, epoch + 1)).await;
    }
    let deaths = cluster[0].events().iter().filter(|event| event["event"] == "died").count();
    assert_eq!(deaths, 4, "each died once");
    for agent in &cluster[1..] {
        let mut events = agent.events().iter();
        assert!(
            events.all(|event| event["event"] != "died"),
            "agent {} knows nobody's death",
            agent.id()
        );
    }
}

/// A loopback address that is free for UDP and TCP now, with a port that the system does not give
/// to others by itself.
fn free_addr() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test runs at one time begin apart.
    let offset = u16::try_from(std::process::id() % 600 * 17).expect("below 10,200");
    loop {
        let port = 20_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let addr = format!("127.0.0.1:{port}");
        if TcpListener::bind(&addr).is_ok() && UdpSocket::bind(&addr).is_ok() {
            return addr;
        }
    }
}
