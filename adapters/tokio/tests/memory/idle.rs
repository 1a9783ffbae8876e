//! What a connection costs that nobody uses.

use chinwag_tokio::core::rpc::{Config, Event, Fingerprint, Shape};

use crate::common::{ALLOCATED, KIB, alone, runtime, start};
use crate::dialer::{Dialer, Dialing};

const CONNECTIONS: usize = 1_000;

/// Both ends of it: the node's, with its task, and the dialler's machine. Each has carried a call and its answer.
#[test]
fn a_thousand_idle_connections_cost_less_than_20_kib_each() {
    alone(async {
        let (node, _) = start(1, &[]).await;
        let dialing = Dialing::new(runtime(), Config::default(), node.local_addr());
        // What is there once, whoever comes.
        let first = Dialer::connect(&dialing, 2).await;
        let mut dialers = Vec::with_capacity(CONNECTIONS);
        let before = ALLOCATED.current_usage();
        for id in (3..).take(CONNECTIONS) {
            let mut dialer = Dialer::connect(&dialing, id).await;
            dialer.request(&dialing, "no such method", Fingerprint::new(1), Shape::UNARY);
            assert!(matches!(dialer.next(&dialing).await, Event::Response { .. }));
            dialers.push(dialer);
        }
        let each = ALLOCATED.current_usage().saturating_sub(before) / CONNECTIONS;
        assert_eq!(node.stats().connections, CONNECTIONS + 1);
        assert!(each < 20 * KIB, "{each} bytes each");
        drop((first, dialers));
    });
}
