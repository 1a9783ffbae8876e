//! The node task on a runtime whose time and datagrams are in the test's hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::SharedHlc;
use chinwag_core::id::Epoch;
use chinwag_core::membership::{
    Config, Local, Member, Membership, Metadata, Plane, State, StreamPeer,
};

use crate::base::runtime::Runtime;
use crate::base::runtime::fake::FakeRuntime;
use crate::base::sync::lock;
use crate::node::handle::Node;

/// A node, and the machine of the one other member, which the test drives.
struct Pair {
    runtime: Arc<FakeRuntime>,
    node: Node,
    other: Membership,
}

const OTHER: &str = "10.0.0.1:2";

impl Pair {
    /// Both see each other.
    fn new() -> Self {
        let runtime = Arc::<FakeRuntime>::default();
        let listen: SocketAddr = "10.0.0.1:1".parse().expect("an address");
        let config = Config { cluster: "test".into(), ..Config::lan() };
        let start = Node::builder(1, listen).config(config.clone());
        let node = runtime.block_on(start.start_on(runtime.clone())).expect("it starts");
        let local = Local {
            id: 2.into(),
            epoch: Epoch::at(runtime.now().wall),
            addr: OTHER.parse().expect("an address"),
            metadata: Metadata::new(),
        };
        let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
        let other = Membership::new(config, local, clock, 1, runtime.now()).expect("it is valid");
        let mut pair = Self { runtime, node, other };
        pair.other.join(pair.runtime.now());
        pair.other.handle_seeds(pair.runtime.now(), &[listen]);
        for _ in 0..2_000 {
            if pair.state().is_some() {
                return pair;
            }
            pair.step(Duration::from_millis(10));
        }
        panic!("the two do not see each other");
    }

    /// What the node thinks of the other member.
    fn state(&self) -> Option<State> {
        self.node.members().get(2.into()).map(|member| member.state)
    }

    /// Time passes, both do what they want, and what they send arrives.
    fn step(&mut self, time: Duration) {
        self.runtime.advance(time);
        self.runtime.run();
        self.hear_node();
        self.other.handle_timeout(self.runtime.now());
        self.answer();
        self.runtime.run();
    }

    /// The other member takes what the node has sent. Returns whether that was anything.
    fn hear_node(&mut self) -> bool {
        let sent = std::mem::take(&mut *lock(&self.runtime.udp.from_node));
        for (datagram, _) in &sent {
            self.other.handle_datagram(self.runtime.now(), self.node.local_addr(), datagram);
        }
        !sent.is_empty()
    }

    /// Puts the datagrams that the other member sends into the node's socket, and hands its frames
    /// to the node as a connection would.
    fn answer(&mut self) {
        let Member { id, epoch, addr, .. } = self.other.local();
        let mut bytes = Vec::new();
        while let Some(transmit) = self.other.poll_transmit(self.runtime.now(), &mut bytes) {
            let sent = bytes.clone();
            match transmit.plane {
                Plane::Datagram => lock(&self.runtime.udp.to_node).push_back((sent, addr)),
                Plane::Stream => {
                    let peer = StreamPeer { id, epoch, addr };
                    assert!(self.node.shared().node.inbox.post_gossip(peer, sent.into()));
                }
            }
        }
    }

    /// Runs until the node has just sent something that the other has not answered.
    fn run_to_a_ping(&mut self) {
        for _ in 0..2_000 {
            self.runtime.advance(Duration::from_millis(10));
            self.runtime.run();
            if !lock(&self.runtime.udp.from_node).is_empty() {
                return;
            }
        }
        panic!("the node sends nothing");
    }
}

const STEP: Duration = Duration::from_millis(10);

/// How many steps after a ping a member that does not answer is suspected.
fn steps_to_a_suspicion() -> usize {
    let mut pair = Pair::new();
    pair.run_to_a_ping();
    for steps in 1..2_000 {
        pair.runtime.advance(STEP);
        pair.runtime.run();
        if pair.state() == Some(State::Suspect) {
            return steps;
        }
    }
    panic!("a member that does not answer is not suspected");
}

/// An answer that arrives just before the time for it is over may be read together with the end of
/// that time, as after a pause of the process. It is read first, so that the pause is not taken for
/// the other member's silence (`docs/protocol.md` §4.4).
#[test]
fn datagrams_that_wait_are_read_before_time_is_told() {
    let steps = steps_to_a_suspicion();
    let mut pair = Pair::new();
    pair.run_to_a_ping();
    for _ in 1..steps {
        pair.runtime.advance(STEP);
        pair.runtime.run();
    }
    assert!(pair.hear_node(), "the ping, which is answered now");
    pair.answer();
    pair.runtime.advance(STEP);
    pair.runtime.run();
    assert_eq!(pair.state(), Some(State::Alive));
}

/// The system picks a TCP port without asking whether the UDP port is free. Only that is tried
/// again, and only where the port is the system's choice.
#[test]
fn a_port_whose_udp_is_taken_is_tried_again() {
    use std::io::ErrorKind::{AddrInUse, PermissionDenied};
    for (listen, refusal, starts) in [
        ("10.0.0.1:0", AddrInUse, true),
        ("10.0.0.1:0", PermissionDenied, false),
        ("10.0.0.1:7", AddrInUse, false),
    ] {
        let runtime = Arc::<FakeRuntime>::default();
        lock(&runtime.refusals).push(refusal);
        let listen: SocketAddr = listen.parse().expect("an address");
        let start = Node::builder(1, listen).cluster("test").start_on(runtime.clone());
        assert_eq!(runtime.block_on(start).is_ok(), starts, "{listen}, {refusal}");
    }
}
