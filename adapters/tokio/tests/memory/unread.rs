//! A peer that asks for much and takes nothing.

use chinwag_conformance::tools::eventually;
use chinwag_tokio::protocol::rpc::{Config, Shape};
use chinwag_tokio::{Method, Streaming};

use crate::common::{ALLOCATED, CHUNK_LEN, MIB, Pour, alone, runtime, start};
use crate::dialer::{Dialer, Dialing};

const STREAMS: usize = 200;

/// Looks at a count, with pauses, until it has stayed as it is for this many.
const LOOKS: usize = 40;

/// Opens streams whose handlers send for ever, grants them what `grants` says, and never reads.
/// What the node holds at most, once nothing moves any more and handlers have sent `least` bytes or
/// more.
async fn unread(least: usize, grants: Option<u64>) -> usize {
    let (node, flow) = start(1, &[]).await;
    let dialing = Dialing::new(runtime(), Config::default(), node.local_addr());
    let mut dialer = Dialer::connect(&dialing, 2).await;
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let calls: Vec<_> = (0..STREAMS)
        .map(|_| {
            let shape = Shape::SERVER_STREAMING;
            dialer.request(&dialing, Pour::NAME, Pour::STREAM_FINGERPRINT, shape)
        })
        .collect();
    dialer.write(&dialing).await;
    if let Some(total) = grants {
        for call in calls {
            dialer.grant(call, total).await;
        }
    }
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
        let held = unread(window / 2, None).await;
        let bound = window + (STREAMS + 1) * (CHUNK_LEN + 4 * 1_024) + MIB;
        assert!(held < bound, "{held} bytes, over {bound}");
    });
}

/// The node's own limit holds where the peer grants as much as can be: what it queues, and for each
/// stream one chunk beyond that (docs/protocol.md §5.7.4) and the chunk in its handler's hands.
#[test]
fn a_peer_with_boundless_windows_is_owed_what_the_node_queues_at_most() {
    alone(async {
        let queue = Config::default().outbound_len_max;
        let held = unread(queue + STREAMS * CHUNK_LEN / 2, Some(1 << 40)).await;
        let bound = queue + 2 * (STREAMS + 1) * (CHUNK_LEN + 4 * 1_024) + MIB;
        assert!(held < bound, "{held} bytes, over {bound}");
    });
}
