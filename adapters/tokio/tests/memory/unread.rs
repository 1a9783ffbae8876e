//! A peer that asks for much and takes nothing.

use chinwag_conformance::tools::eventually;
use chinwag_tokio::protocol::rpc::{Config, Shape};
use chinwag_tokio::{Method, Streaming};

use crate::common::{ALLOCATED, CHUNK_LEN, MIB, Pour, alone, runtime, start};
use crate::dialer::{Dialer, Dialing};

const STREAMS: usize = 200;

/// Looks at a count, with pauses, until it has stayed as it is for this many.
const LOOKS: usize = 40;

/// Opens streams whose handlers send for ever, and never reads. What the node holds at most, once
/// nothing moves any more and handlers have sent `least` bytes or more.
async fn unread(config: Config, least: usize) -> usize {
    let (node, flow) = start(1, &[]).await;
    let dialing = Dialing::new(runtime(), config, node.local_addr());
    let mut dialer = Dialer::connect(&dialing, 2).await;
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    for _ in 0..STREAMS {
        dialer.request(&dialing, Pour::NAME, Pour::STREAM_FINGERPRINT, Shape::SERVER_STREAMING);
    }
    dialer.write(&dialing).await;
    flow.sent.reaches(least / CHUNK_LEN).await;
    let (mut seen, mut looks) = (0, 0);
    eventually(&*dialing.runtime, || {
        let sent = flow.sent.count();
        looks = if sent == seen { looks + 1 } else { 0 };
        seen = sent;
        looks == LOOKS
    })
    .await;
    let held = ALLOCATED.peak_usage().saturating_sub(before);
    assert_eq!(node.stats().connections, 1, "the connection is still there");
    held
}

/// What each stream was granted at first, and the chunk in its handler's hands: no more than that.
#[test]
fn a_peer_that_never_reads_is_owed_its_windows_at_most() {
    alone(async {
        let window = STREAMS * (CHUNK_LEN + 128);
        let held = unread(Config::default(), window / 2).await;
        let bound = window + (STREAMS + 1) * (CHUNK_LEN + 4 * 1_024) + MIB;
        assert!(held < bound, "{held} bytes, over {bound}");
    });
}

/// The node's own limit holds where the peer's windows are as large as can be.
#[test]
fn a_peer_with_boundless_windows_is_owed_what_the_node_queues_at_most() {
    alone(async {
        let config = Config {
            stream_window: 16 << 20,
            stream_window_max: 16 << 20,
            stream_pool_max: 1 << 30,
            ..Config::default()
        };
        let queue = Config::default().outbound_len_max;
        let held = unread(config, queue / 2).await;
        let bound = queue + (STREAMS + 1) * (CHUNK_LEN + 4 * 1_024) + MIB;
        assert!(held < bound, "{held} bytes, over {bound}");
    });
}
