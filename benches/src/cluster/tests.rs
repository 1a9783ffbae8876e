use super::*;

#[test]
fn all_see_all_and_nobody_is_lost() {
    let mut cluster = Cluster::<Chinwag>::new(20);
    while !cluster.is_converged() {
        assert!(cluster.now() < 60 * SECOND, "a join takes seconds");
        cluster.run_for(SECOND / 10);
    }
    let before = cluster.sent();
    assert!(cluster.events(30 * SECOND) > 0);
    assert!(cluster.is_converged());
    let sent = cluster.sent().since(before);
    // Everybody probes once a second and is answered.
    assert!(sent.datagrams >= 20 * 30, "{sent:?}");
}

#[test]
fn a_cluster_is_the_same_twice() {
    let run = || {
        let mut cluster = Cluster::<Chinwag>::new(10);
        let events = cluster.events(20 * SECOND);
        (events, cluster.sent().datagram_bytes)
    };
    assert_eq!(run(), run());
}
