//! What real nodes and connections say to each other, for seeds: a few nodes that join, lose one,
//! take it back and part, on virtual time; two connections with calls of every shape.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::SharedHlc;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{Config, Local, Membership, Metadata, Plane, StreamPeer, Transmit};
use chinwag_core::rpc::{self, Event, Fingerprint, Headers, Request, Shape, StreamRef};
use chinwag_core::time::{Instant, Now, WallTime};

use crate::forge::{CLUSTER, WALL_START, home};
use crate::stream::{End, start};

/// A payload, and when and between whom it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Milliseconds since the beginning.
    pub at: u64,
    /// Who sent it.
    pub from: u64,
    /// Where it went.
    pub to: SocketAddr,
    /// How.
    pub plane: Plane,
    /// What it was.
    pub bytes: Vec<u8>,
}

/// Turns of a millisecond that the story takes.
const TURNS: u64 = 40_000;

/// Everything that four nodes say in forty seconds: they join, one of them crashes, comes back and
/// leaves, all broadcast, and one changes its metadata.
pub fn membership() -> Vec<Carried> {
    let mut nodes: BTreeMap<u64, Membership> = BTreeMap::new();
    let (mut said, mut under_way) = (Vec::new(), VecDeque::new());
    for at in 0..TURNS {
        let now = clock(at);
        match at {
            0..4 => drop(nodes.insert(at + 1, node(at + 1, now))),
            8_000 => drop(nodes.remove(&3)),
            20_000 => drop(nodes.insert(3, node(3, now))),
            25_000 => each(&mut nodes, |node| node.broadcast(now, b"good morning").is_ok()),
            26_000 => {
                each(&mut nodes, |node| {
                    node.send_to(NodeId::new(1), vec![7; 2_000].into()).is_ok()
                });
            }
            27_000 => each(&mut nodes, |node| {
                node.set_metadata(now, Metadata::new().with("dc", "us").expect("short")).is_ok()
            }),
            35_000 => nodes.get_mut(&4).into_iter().for_each(|node| node.leave(now)),
            _ => {}
        }
        while let Some(carried) = under_way.pop_front() {
            deliver(&mut nodes, now, &carried);
            said.push(carried);
        }
        for (&id, node) in &mut nodes {
            if node.poll_timeout().is_some_and(|due| due <= now.mono) {
                node.handle_timeout(now);
            }
            if node.poll_lookup() {
                node.handle_seeds(now, &[home(1), home(2)]);
            }
            let mut buf = Vec::new();
            while let Some(Transmit { to, plane }) = node.poll_transmit(now, &mut buf) {
                under_way.push_back(Carried {
                    at,
                    from: id,
                    to: to.addr,
                    plane,
                    bytes: buf.clone(),
                });
            }
            while node.poll_event().is_some() {}
        }
    }
    said
}

fn clock(at: u64) -> Now {
    let since = Duration::from_millis(at);
    Now {
        mono: Instant::from_nanos(1_000_000_000) + since,
        wall: WallTime::from_nanos(WALL_START.as_nanos()) + since,
    }
}

fn node(id: u64, now: Now) -> Membership {
    let metadata = Metadata::new().with("dc", "eu").expect("short");
    let local = Local { id: NodeId::new(id), epoch: Epoch::at(now.wall), addr: home(id), metadata };
    let config = Config { cluster: CLUSTER.into(), ..Config::lan() };
    let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
    let mut node = Membership::new(config, local, clock, id, now).expect("a preset is sound");
    node.join(now);
    node
}

fn each(nodes: &mut BTreeMap<u64, Membership>, act: impl Fn(&mut Membership) -> bool) {
    let _taken = nodes.values_mut().filter_map(|node| act(node).then_some(())).count();
}

fn deliver(nodes: &mut BTreeMap<u64, Membership>, now: Now, carried: &Carried) {
    let sender = nodes.get(&carried.from).map(Membership::local);
    let Some(node) = nodes.values_mut().find(|node| node.local().addr == carried.to) else {
        return;
    };
    match (carried.plane, sender) {
        (Plane::Datagram, _) => node.handle_datagram(now, home(carried.from), &carried.bytes),
        (Plane::Stream, Some(sender)) => {
            let peer = StreamPeer { id: sender.id, epoch: sender.epoch, addr: sender.addr };
            node.handle_stream(now, peer, &carried.bytes);
        }
        (Plane::Stream, None) => {}
    }
}

/// Both directions of a stream over which two nodes call each other in every shape, with short and
/// long bodies, and go away.
pub fn connection() -> [Vec<u8>; 2] {
    let mut ends = [End::new(1, rpc::Config::default()), End::new(2, rpc::Config::default())];
    let mut said = [Vec::new(), Vec::new()];
    talk(&mut ends, &mut said);
    let shapes =
        [Shape::UNARY, Shape::CLIENT_STREAMING, Shape::SERVER_STREAMING, Shape::BIDIRECTIONAL];
    for (at, shape) in shapes.into_iter().enumerate() {
        for len in [10, 9_000, 100_000] {
            let body = vec![3; len];
            let headers = Headers::new().with("key", b"value").expect("short");
            let request = Request {
                service: "echo",
                method: "say",
                fingerprint: Fingerprint::new(9),
                headers,
                deadline: Some(Duration::from_secs(5)),
                body: (&body[..]).into(),
                attachments: &[vec![4; 40].into()],
                shape,
                chunk_len_max: 0,
                depth: 0,
                caller: 0,
            };
            let end = &mut ends[at % 2].machine;
            let call = end.request(start(), request.clone()).expect("few calls");
            end.one_way(start(), request).expect("few messages");
            if shape.streams_in {
                end.send(start(), StreamRef::Call(call), (&body[..]).into(), &[]).ok();
                end.finish(start(), StreamRef::Call(call)).ok();
            }
            talk(&mut ends, &mut said);
        }
    }
    ends[0].machine.gossip(start(), b"rumour").expect("short");
    talk(&mut ends, &mut said);
    ends[0].machine.go_away(start());
    talk(&mut ends, &mut said);
    said
}

/// Carries what both have to say, and answers every call.
fn talk(ends: &mut [End; 2], said: &mut [Vec<u8>; 2]) {
    loop {
        let mut moved = 0;
        for at in [0, 1] {
            let bytes = ends[at].drain(start());
            ends[1 - at].receive(start(), &bytes, usize::MAX);
            moved += bytes.len();
            said[at].extend(bytes);
            while let Some(event) = ends[1 - at].event() {
                answer(&mut ends[1 - at].machine, event);
            }
        }
        if moved == 0 {
            return;
        }
    }
}

fn answer(machine: &mut rpc::Connection, event: Event) {
    match event {
        Event::Request { id, body, shape, .. } => {
            if shape.streams_out {
                machine.send(start(), StreamRef::Inbound(id), (&body[..]).into(), &[]).ok();
                machine.finish(start(), StreamRef::Inbound(id)).ok();
            }
            machine.respond(start(), id, Ok((&body[..]).into())).expect("it is open");
        }
        Event::Chunk { held, .. } | Event::Response { held, .. } => {
            machine.release(start(), held);
        }
        _ => {}
    }
}
