//! §5.12.9: what all peers of a node hold together, when each is the worst that can be.

use super::halves::data;
use super::*;
use crate::rpc::frame::NO_TIMEOUT;

const PEERS: usize = 12;

fn len_of(event: &Event) -> usize {
    match event {
        Event::Request { body, .. } | Event::OneWay { body, .. } | Event::Chunk { body, .. } => {
            body.len()
        }
        _ => 0,
    }
}

/// Fills windows of streams, the budget of requests by deep calls, and lanes with messages that
/// never become whole. Returns the events, which nobody lets go.
fn do_the_worst(end: &mut End) -> Vec<Event> {
    let ext = extension(0, NO_TIMEOUT);
    let mut kept = Vec::new();
    let mut hear = |end: &mut End, bytes: &[u8]| {
        deliver(end, start(), bytes, usize::MAX);
        kept.extend(events(end));
        drain(end, start());
    };
    for call in 0..4 {
        let flags = Shape::CLIENT_STREAMING.flags();
        let header = FrameHeader { flags, ..FrameHeader::new(Kind::Request, call) };
        hear(end, &frame(header, &ext, b"x"));
        hear(end, &data(call, 0, &vec![0; 64 * 1024]));
    }
    for call in 4..16 {
        let header = FrameHeader { code: 2, ..FrameHeader::new(Kind::Request, call) };
        hear(end, &frame(header, &ext, &vec![0; 100_000]));
    }
    for _ in 0..20 {
        hear(end, &frame(FrameHeader::new(Kind::OneWay, 0), &ext, &vec![0; 60_000]));
    }
    kept
}

#[test]
fn s5_12_9_the_worst_peers_together_hold_the_nodes_budget_and_no_more() {
    let config = Config {
        in_flight_max: 16,
        events_max: 64,
        message_len_max: 200_000,
        request_budget: 500_000,
        stream_reserve_max: 512 * 1024,
        stream_pool_max: 256 * 1024,
        ..Config::default()
    };
    for node_max in [300_000, 1 << 20, 3 << 20, 64 << 20] {
        let node = Budget::new(node_max);
        let mut ends = Vec::new();
        for _ in 0..PEERS {
            let mut end = connection(1, config.clone());
            end.draw_on(&node);
            deliver(&mut end, start(), &hello(2).encode(&Config::default()), usize::MAX);
            deliver(&mut end, start(), &intern(0, "echo", "say"), usize::MAX);
            events(&mut end);
            drain(&mut end, start());
            let kept = do_the_worst(&mut end);
            ends.push((end, kept));
        }
        let bodies = ends.iter().flat_map(|(_, kept)| kept).map(len_of);
        let large: usize = bodies.filter(|&len| len > 8_192).sum();
        assert!(node.held() <= node_max && large <= node.held(), "{large} of {node_max} are held");
        if node_max <= 3 << 20 {
            // The peers could fill it several times over.
            assert!(node.held() > node_max - 210_000, "{} of {node_max} are used", node.held());
        }
        // A peer that ended the connection gives back what nobody holds, and all of it goes with
        // the last view.
        drop(ends);
        assert_eq!(node.held(), 0);
    }
}
